//! The cells that name a row, as the key of a table.

use millrace_dataflows::table::Value;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The cells of the group columns. Whoever holds the key of a row holds no other of its cells.
#[derive(Clone, Debug, PartialEq)]
pub struct RowKey(Arc<[Value]>);

/// Values are equal to the bit, floats included.
impl Eq for RowKey {}

impl Hash for RowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for value in &*self.0 {
            match value {
                Value::Null => state.write_u8(0),
                Value::Int(value) => state.write_i64(*value),
                Value::Float(value) => state.write_u64(value.to_bits()),
                Value::Money(minor, currency) => (minor, currency.code()).hash(state),
                Value::Text(text) => text.hash(state),
            }
        }
    }
}

impl RowKey {
    pub fn of(cells: Vec<Value>) -> RowKey {
        RowKey(cells.into())
    }

    pub fn cells(&self) -> &[Value] {
        &self.0
    }

    /// From the left, as answers are sorted.
    pub fn order(&self, other: &RowKey) -> Ordering {
        let mut orders = self.0.iter().zip(&*other.0).map(|(a, b)| a.order(b));
        orders.find(|order| order.is_ne()).unwrap_or_else(|| self.0.len().cmp(&other.0.len()))
    }

    pub fn bytes(&self) -> usize {
        bytes_of(&self.0)
    }
}

/// What a text takes beside its bytes: its counts, and what the allocator adds.
const TEXT_MORE: usize = 24;

/// About what cells take. A text counts in full, though others may hold it, too.
pub fn bytes_of(cells: &[Value]) -> usize {
    let text = |value: &Value| match value {
        Value::Text(text) => text.len() + TEXT_MORE,
        Value::Null | Value::Int(_) | Value::Float(_) | Value::Money(..) => 0,
    };
    size_of_val(cells) + cells.iter().map(text).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_schema::Currency;
    use std::collections::HashSet;

    #[test]
    fn keys_are_equal_where_their_cells_are() {
        let yen = Currency::parse("JPY").expect("a currency");
        let cells = [
            Value::Null,
            Value::Int(0),
            Value::Int(1),
            Value::Float(0.0),
            Value::Float(-0.0),
            Value::Money(1, Currency::USD),
            Value::Money(1, yen),
            Value::text(""),
            Value::text("1"),
        ];
        let pairs = || cells.iter().flat_map(|a| cells.iter().map(move |b| RowKey::of(vec![a.clone(), b.clone()])));
        let keys: HashSet<RowKey> = pairs().collect();
        assert_eq!(keys.len(), cells.len() * cells.len());
        assert!(pairs().all(|key| keys.contains(&key)));
        assert!(!keys.contains(&RowKey::of(vec![Value::Null])));
    }

    #[test]
    fn keys_stand_in_the_order_of_answers() {
        let key = |day: &str, units| RowKey::of(vec![Value::text(day), Value::Int(units)]);
        let mut keys = [key("b", 1), key("a", 10), key("a", 9)];
        keys.sort_by(RowKey::order);
        assert_eq!(keys, [key("a", 9), key("a", 10), key("b", 1)]);
    }
}
