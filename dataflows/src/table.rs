//! An answer: named columns, rows of values.

use millrace_schema::{Cents, Currency};
use std::cmp::Ordering;
use std::sync::Arc;

/// One cell of an answer. Days, hours and months are texts (`2019-10-01`, `2019-10-01T07:00:00+00:00`, `2019-10`).
#[derive(Clone, Debug)]
pub enum Value {
    Null,
    Int(i64),
    Float(f64),
    Money(Cents, Currency),
    Text(Arc<str>),
}

/// `above / below`: equal fractions are the same double, so that rows of one ratio tie in a ranking.
pub fn quotient(above: u128, below: u128) -> f64 {
    /// Up to here doubles have every integer, and a division is rounded once.
    const EXACT: u128 = 1 << 53;
    if above <= EXACT && below <= EXACT {
        return above as f64 / below as f64;
    }
    let (mut divisor, mut rest) = (above, below);
    while rest != 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    (above / divisor) as f64 / (below / divisor) as f64
}

impl Value {
    pub fn text(text: impl AsRef<str>) -> Value {
        Value::Text(Arc::from(text.as_ref()))
    }

    /// `a / b`; null over 0.
    pub fn ratio(a: i64, b: i64) -> Value {
        if b == 0 {
            return Value::Null;
        }
        let size = quotient(a.unsigned_abs().into(), b.unsigned_abs().into());
        Value::Float(if (a < 0) == (b < 0) || a == 0 { size } else { -size })
    }

    /// Nulls first, then numbers by value, then texts in byte order. Total: answers are sorted by it.
    pub fn order(&self, other: &Value) -> Ordering {
        use Value::{Float, Int, Money, Null, Text};
        let class = |value: &Value| match value {
            Null => 0,
            Int(_) | Float(_) | Money(..) => 1,
            Text(_) => 2,
        };
        match (self, other) {
            (Int(a), Int(b)) => a.cmp(b),
            (Money(a, x), Money(b, y)) => (x, a).cmp(&(y, b)),
            (Text(a), Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (a, b) if class(a) == 1 && class(b) == 1 => a.as_f64().total_cmp(&b.as_f64()),
            (a, b) => class(a).cmp(&class(b)),
        }
    }

    fn as_f64(&self) -> f64 {
        match self {
            Value::Int(value) => *value as f64,
            Value::Float(value) => *value,
            Value::Money(minor, currency) => *minor as f64 / 10_f64.powi(currency.digits() as i32),
            Value::Null | Value::Text(_) => f64::NAN,
        }
    }
}

/// Equal by value; floats to the bit.
impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other) && self.order(other) == Ordering::Equal
    }
}

/// Money prints as a plain decimal, a float with the shortest digits that read back, null as nothing.
impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Null => Ok(()),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value}"),
            Value::Money(minor, currency) => f.write_str(&currency.format(*minor)),
            Value::Text(text) => f.write_str(text),
        }
    }
}

/// An answer. Every row has one value a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Value>>,
}

impl Table {
    pub fn new<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Table {
        Table { columns: columns.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }
}
