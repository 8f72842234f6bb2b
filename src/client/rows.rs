//! Between the wire and tables: a question out, rows in.

use millrace_dataflows::query::Query;
use millrace_dataflows::table::{Table, Value};
use millrace_proto::prost_types::Timestamp;
use millrace_proto::v1;
use millrace_proto::v1::value::Kind;
use millrace_schema::Currency;
use millrace_schema::calendar::format_day;

/// A question as it is sent.
pub fn query_of(view: &str, query: &Query) -> v1::Query {
    let filter = |(column, value): &(String, String)| v1::Filter { column: column.clone(), value: value.clone() };
    let order = |(column, descending): &(String, bool)| v1::OrderBy { column: column.clone(), descending: *descending };
    v1::Query {
        view: view.to_owned(),
        group_by: query.group_by.clone(),
        filters: query.filters.iter().map(filter).collect(),
        days: query.days.map(|(from, to)| v1::DayRange { from: format_day(from), to: format_day(to) }),
        order_by: query.order_by.iter().map(order).collect(),
        rank_by: query.rank_by.clone().unwrap_or_default(),
        limit: query.limit.map_or(0, |limit| u32::try_from(limit).unwrap_or(u32::MAX)),
        as_of: query.as_of.map(|micros| Timestamp {
            seconds: micros.div_euclid(1_000_000),
            nanos: (micros.rem_euclid(1_000_000) * 1_000) as i32,
        }),
    }
}

/// A table with no rows yet.
pub fn table_of(columns: &[v1::Column]) -> Table {
    Table::new(columns.iter().map(|column| column.name.as_str()))
}

/// `None` where a cell is none that a table can hold.
pub fn cells(row: &v1::Row) -> Option<Vec<Value>> {
    row.values.iter().map(cell).collect()
}

fn cell(value: &v1::Value) -> Option<Value> {
    Some(match &value.kind {
        None => Value::Null,
        Some(Kind::IntValue(value)) => Value::Int(*value),
        Some(Kind::DoubleValue(value)) => Value::Float(*value),
        Some(Kind::TextValue(text)) => Value::text(text),
        Some(Kind::MoneyValue(money)) => {
            let currency = Currency::read_back(&money.currency)?;
            Value::Money(minor_units(&money.amount, currency)?, currency)
        }
    })
}

/// `-12.50` of a currency with two places is −1250. All places must be there.
fn minor_units(amount: &str, currency: Currency) -> Option<i64> {
    let digits = currency.digits() as usize;
    let (whole, part) = amount.split_once('.').unwrap_or((amount, ""));
    (part.len() == digits).then(|| format!("{whole}{part}").parse().ok())?
}

/// Rows by their keys, in the order of the keys: what changes fold into.
#[derive(Clone, Debug, Default)]
pub struct KeyedRows {
    columns: Vec<v1::Column>,
    keys: usize,
    /// Sorted by the key's cells.
    rows: Vec<Vec<Value>>,
}

impl KeyedRows {
    pub fn new(columns: Vec<v1::Column>) -> KeyedRows {
        let keys = columns.iter().filter(|column| column.group).count();
        KeyedRows { columns, keys, rows: Vec::new() }
    }

    pub fn table(&self) -> Table {
        Table { rows: self.rows.clone(), ..table_of(&self.columns) }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row before, if there was one.
    pub fn upsert(&mut self, row: Vec<Value>) -> Option<Vec<Value>> {
        match self.find(&row) {
            Ok(at) => Some(std::mem::replace(&mut self.rows[at], row)),
            Err(at) => {
                self.rows.insert(at, row);
                None
            }
        }
    }

    pub fn remove(&mut self, key: &[Value]) -> Option<Vec<Value>> {
        self.find(key).ok().map(|at| self.rows.remove(at))
    }

    fn find(&self, key: &[Value]) -> Result<usize, usize> {
        let keys = self.keys;
        self.rows.binary_search_by(|row| {
            let orders = row.iter().zip(key).take(keys).map(|(a, b)| a.order(b));
            orders.into_iter().find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        let check = |amount: &str, code: &str, expected: Option<i64>| {
            let currency = Currency::parse(code).expect("a currency");
            assert_eq!(minor_units(amount, currency), expected, "{amount} {code}");
        };
        check("-12.50", "USD", Some(-1250));
        check("-0.05", "USD", Some(-5));
        check("7", "JPY", Some(7));
        check("0.125", "KWD", Some(125));
        check("12.5", "USD", None);
        check("12", "USD", None);
        check("x.yz", "USD", None);
    }
}
