//! The typed reads: from their requests to questions, from tables to their rows.

use super::asked::{days, instant, limit, order};
use super::codec::put_typed_rows;
use crate::serve::read::{Question, ReadError};
use bytes::Bytes;
use millrace_dataflows::query::Query;
use millrace_dataflows::table::{Table, Value};
use millrace_proto::v1;
use prost::Message;

/// `rows` in all typed answers.
const ROWS: u32 = 2;

/// The views of the typed reads.
pub const SALES: &str = "sales";
pub const RELATED: &str = "related_products";
const FUNNEL: &str = "funnel";

pub fn sales(asked: v1::GetSalesRequest) -> Result<Question, ReadError> {
    let filters = [
        ("hour", asked.hour),
        ("day", asked.day),
        ("month", asked.month),
        ("product_id", asked.product_id),
        ("category", asked.category),
        ("category_as_was", asked.category_as_was),
        ("currency", asked.currency),
    ];
    let query = Query {
        group_by: asked.group_by,
        filters: given(filters),
        order_by: order(asked.order_by),
        limit: limit(asked.limit),
        days: days(asked.days.as_ref())?,
        ..Query::default()
    };
    Ok(question(SALES, query))
}

pub fn funnel(asked: v1::GetFunnelRequest) -> Result<Question, ReadError> {
    let filters = [
        ("day", asked.day),
        ("month", asked.month),
        ("category", asked.category),
        ("referrer", asked.referrer),
        ("device", asked.device),
    ];
    let query = Query {
        group_by: asked.group_by,
        filters: given(filters),
        order_by: order(asked.order_by),
        limit: limit(asked.limit),
        days: days(asked.days.as_ref())?,
        as_of: instant(asked.as_of.as_ref())?,
        ..Query::default()
    };
    Ok(question(FUNNEL, query))
}

pub fn related(asked: v1::GetRelatedProductsRequest) -> Result<Question, ReadError> {
    if asked.product_id.is_empty() {
        return Err(ReadError::invalid("product_id is empty: name a product, or ask Query for all"));
    }
    let full = |text: String| Some(text).filter(|text| !text.is_empty());
    let filters = [("product_id", full(asked.product_id)), ("kind", full(asked.kind))];
    let query =
        Query { filters: given(filters), rank_by: full(asked.rank_by), limit: limit(asked.limit), ..Query::default() };
    Ok(question(RELATED, query))
}

fn given<const N: usize>(filters: [(&str, Option<String>); N]) -> Vec<(String, String)> {
    filters.into_iter().filter_map(|(column, value)| Some((column.to_owned(), value?))).collect()
}

fn question(view: &str, query: Query) -> Question {
    Question { view: view.to_owned(), query }
}

pub fn sales_rows(table: &Table) -> Bytes {
    const GROUPS: [&str; 7] = ["hour", "day", "month", "product_id", "category", "category_as_was", "currency"];
    let mut next_value = GROUPS.len() as u32;
    let mut field = |column: &String| match GROUPS.iter().position(|group| group == column) {
        Some(group) => group as u32 + 1,
        // The value columns stand in the order of the fields.
        None => {
            next_value += 1;
            next_value
        }
    };
    let fields: Vec<u32> = table.columns.iter().map(&mut field).collect();
    typed(table, &fields)
}

pub fn related_rows(table: &Table) -> Bytes {
    let fields: [u32; 11] = std::array::from_fn(|column| column as u32 + 1);
    typed(table, &fields)
}

fn typed(table: &Table, fields: &[u32]) -> Bytes {
    let mut out = Vec::with_capacity(table.rows.len() * 128);
    put_typed_rows(&mut out, ROWS, &table.rows, fields);
    out.into()
}

/// `steps` are the names of the funnel's.
pub fn funnel_rows(table: &Table, steps: &[String]) -> Bytes {
    let rows = table.rows.iter().map(|row| funnel_row(&table.columns, row, steps)).collect();
    v1::GetFunnelResponse { at: None, rows }.encode_to_vec().into()
}

fn funnel_row(columns: &[String], row: &[Value], steps: &[String]) -> v1::FunnelRow {
    let cell = |name: &str| columns.iter().position(|column| column == name).map(|index| &row[index]);
    let int = |name: &str| match cell(name) {
        Some(Value::Int(value)) => *value,
        _ => 0,
    };
    let double = |name: &str| match cell(name) {
        Some(Value::Float(value)) => Some(*value),
        _ => None,
    };
    let text = |name: &str| match cell(name) {
        Some(Value::Text(text)) => Some(text.to_string()),
        _ => None,
    };
    let step = |name: &String| v1::FunnelStep {
        name: name.clone(),
        reached: int(&format!("reached_{name}")),
        ordered: int(&format!("ordered_{name}")),
        step_conversion: double(&format!("step_conversion_{name}")),
    };
    v1::FunnelRow {
        day: text("day"),
        month: text("month"),
        category: text("category"),
        referrer: text("referrer"),
        device: text("device"),
        sessions: int("sessions"),
        steps: steps.iter().map(step).collect(),
        carts_abandoned: int("carts_abandoned"),
        cart_abandonment: double("cart_abandonment"),
        overall_conversion: double("overall_conversion"),
        median_seconds_to_purchase: double("median_seconds_to_purchase"),
        p90_seconds_to_purchase: double("p90_seconds_to_purchase"),
        mean_seconds_to_purchase: double("mean_seconds_to_purchase"),
        immature_until: text("immature_until"),
        capped_sessions: int("capped_sessions"),
    }
}
