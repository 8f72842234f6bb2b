//! Rows of a view as JSON: the columns of its Parquet files, in their order.
//!
//! Texts are texts, counts are numbers, money is a plain decimal with the places of its currency, days are `2026-12-01`, instants are UTC.
//! What a row does not have is null. The group columns are the key.

use crate::checkpoint::view_rows;
use millrace_connectors::lake::Column;
use millrace_dataflows::rows::{Key, Sums};
use millrace_dataflows::views::View;
use millrace_schema::calendar::{format_day, rfc3339_micros};
use millrace_schema::{Currency, Names};
use std::collections::BTreeSet;
use std::fmt::Write;

/// The column that says how many places money has.
const CURRENCY: &str = "currency";

/// A row as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rendered {
    /// An object of the group columns.
    pub key: String,
    /// An object of all columns.
    pub row: String,
}

/// Rows in the order in which they are given. Money of the currencies that are `untrusted`, by their codes, is null.
pub(super) fn render(
    view: &dyn View,
    rows: &[(Key, Sums<'_>)],
    untrusted: &BTreeSet<u64>,
    names: &Names,
) -> Vec<Rendered> {
    let table = view_rows::table(view, rows, untrusted, names);
    let measures = &view.schema().measures;
    let groups = table.names.len() - measures.len();
    // As they are in every row.
    let labels: Vec<String> = table.names.iter().map(|name| format!("{}:", quoted(name))).collect();
    let currency = match table.column(CURRENCY) {
        Some(Column::Text(texts)) => Some(texts),
        _ => None,
    };
    (0..rows.len())
        .map(|row| {
            let digits = currency.and_then(|texts| Currency::read_back(texts.get(row)?)).map_or(0, Currency::digits);
            let mut text = String::from("{");
            let mut key = String::new();
            for (at, (label, column)) in labels.iter().zip(&table.columns).enumerate() {
                if at == groups {
                    key = format!("{text}}}");
                }
                if at > 0 {
                    text.push(',');
                }
                text.push_str(label);
                push_value(&mut text, column, row, digits);
            }
            text.push('}');
            Rendered { key: if groups == table.names.len() { text.clone() } else { key }, row: text }
        })
        .collect()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn push_value(text: &mut String, column: &Column, row: usize, digits: u32) {
    let done = match column {
        Column::Text(texts) => texts.get(row).map(|value| text.push_str(&quoted(value))),
        Column::Int(values) => values[row].map(|value| text.push_str(&value.to_string())),
        Column::Date(values) => values[row].map(|day| text.push_str(&quoted(&format_day(i64::from(day))))),
        Column::Timestamp(values) => values[row].map(|time| text.push_str(&quoted(&rfc3339_micros(time)))),
        Column::Decimal { scale, values } => values[row].map(|value| push_decimal(text, value, *scale, digits)),
        Column::Bytes(_) | Column::Float(_) | Column::Bool(_) => unreachable!("rows of views have no such columns"),
    };
    if done.is_none() {
        text.push_str("null");
    }
}

/// A value in units of 10^-`scale`, with so many places, or more where it has more.
fn push_decimal(text: &mut String, value: i128, scale: u32, digits: u32) {
    let unit = 10_u128.pow(scale);
    let (whole, mut rest) = (value.unsigned_abs() / unit, value.unsigned_abs() % unit);
    let mut places = scale;
    while places > digits && rest % 10 == 0 {
        (rest, places) = (rest / 10, places - 1);
    }
    let sign = if value < 0 { "-" } else { "" };
    // Writing to a text does not fail.
    let _ = match places {
        0 => write!(text, "{sign}{whole}"),
        places => write!(text, "{sign}{whole}.{rest:0places$}", places = places as usize),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use millrace_dataflows::rows::Measures;
    use millrace_dataflows::views::{VIEWS, view};
    use serde_json::Value;

    #[test]
    fn money_has_the_places_of_its_currency() {
        for (value, digits, shown) in [
            (1_990_000, 2, "199.00"),
            (-50, 2, "-0.005"),
            (-100, 2, "-0.01"),
            (12_340_000, 0, "1234"),
            (15_000, 3, "1.500"),
            (0, 2, "0.00"),
            (0, 0, "0"),
            (7, 4, "0.0007"),
        ] {
            let mut text = String::new();
            push_decimal(&mut text, value, 4, digits);
            assert_eq!(text, shown);
            assert!(serde_json::from_str::<Value>(&text).is_ok_and(|value| value.is_number()));
        }
    }

    #[test]
    fn a_row_of_every_view_is_json_and_its_key_is_a_part_of_it() {
        let context = Settings::default().validate().expect("the defaults are good").views;
        for (name, _) in VIEWS {
            let view = view(name, &context).expect("it is in the list");
            let measures = Measures::of(&vec![3; view.schema().measures.len()]);
            let keys: Vec<Key> =
                (0..view.schema().tables.len()).map(|table| Key { table: table as u8, parts: [0; 5] }).collect();
            let rows: Vec<_> = keys.iter().map(|key| (*key, measures.sums())).collect();
            let rendered = render(&*view, &rows, &BTreeSet::new(), &Names::default());
            assert_eq!(rendered.len(), rows.len(), "{name}");
            for Rendered { key, row } in rendered {
                let parse = |text: &str| serde_json::from_str::<serde_json::Map<String, Value>>(text).expect(text);
                let (key, row) = (parse(&key), parse(&row));
                assert!(key.iter().all(|(column, value)| row[column] == *value), "{name}");
                assert_eq!(row.len(), key.len() + view.schema().measures.len(), "{name}");
            }
        }
    }
}
