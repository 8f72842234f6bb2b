//! Short ways to write the hand-checked examples of the oracles.

use super::{Observed, Outcome};
use crate::query::{Query, QueryError};
use crate::settings::ViewContext;
use crate::table::Table;
use millrace_schema::calendar::parse_rfc3339;
use millrace_schema::{Cents, Kind, OwnedRecord, Page, Place};

pub fn context() -> ViewContext {
    ViewContext::default()
}

/// `2T07:30` is 07:30 UTC on 2 October 2019.
pub fn at(text: &str) -> i64 {
    let (day, clock) = text.split_once('T').expect("<day>T<clock>");
    parse_rfc3339(&format!("2019-10-{day:0>2}T{clock}:00Z")).expect("a time")
}

/// An event of session `s`; its id is its time and product.
pub fn event(kind: Kind, time: &str, product: &str) -> OwnedRecord {
    OwnedRecord {
        event_id: format!("{time}/{product}"),
        time: at(time),
        session_id: if kind == Kind::Refund { String::new() } else { "s".to_owned() },
        product_id: product.to_owned(),
        quantity: 1,
        ..OwnedRecord::empty(kind)
    }
}

pub fn view(time: &str, product: &str) -> OwnedRecord {
    OwnedRecord { page: Page::ProductDetail, ..event(Kind::PageView, time, product) }
}

pub fn purchase(time: &str, order: &str, product: &str, quantity: i32, amount: Cents) -> OwnedRecord {
    OwnedRecord { order_id: order.to_owned(), quantity, amount, ..event(Kind::Purchase, time, product) }
}

pub fn refund(time: &str, order: &str, product: &str, quantity: i32, amount: Cents) -> OwnedRecord {
    OwnedRecord { order_id: order.to_owned(), quantity, amount, ..event(Kind::Refund, time, product) }
}

pub fn product(time: &str, product: &str, category: &str) -> OwnedRecord {
    let (product_id, category) = (product.to_owned(), category.to_owned());
    OwnedRecord { time: at(time), product_id, category, ..OwnedRecord::empty(Kind::Product) }
}

/// The records, all accepted, of source `shop`.
pub fn accepted(records: impl IntoIterator<Item = OwnedRecord>) -> Vec<Observed> {
    let observe = |(offset, record): (u64, OwnedRecord)| Observed {
        source: "shop".to_owned(),
        place: Place::new(0, offset),
        received_at: record.received_at,
        record: Some(record),
        outcome: Outcome::Accepted,
    };
    (0..).zip(records).map(observe).collect()
}

/// The rows of an answer: the values separated by spaces, `-` for null, floats to four places.
pub fn rows(table: &Table) -> Vec<String> {
    let show = |value: &crate::table::Value| match value {
        crate::table::Value::Null => "-".to_owned(),
        crate::table::Value::Float(value) => format!("{value:.4}"),
        value => value.to_string(),
    };
    table.rows.iter().map(|row| row.iter().map(show).collect::<Vec<_>>().join(" ")).collect()
}

pub type Answer = fn(&ViewContext, &[Observed], &Query) -> Result<Table, QueryError>;

pub fn check(answer: Answer, observed: &[Observed], query: &Query, expected: &[&str]) {
    let table = answer(&context(), observed, query).expect("the question can be answered");
    assert_eq!(rows(&table), expected, "{}", table.columns.join(" "));
}
