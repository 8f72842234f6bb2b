//! `query`: a question to the rows that a run has left.

use super::results;
use super::run::Run;
use anyhow::Context;
use millrace_connectors::lake::{Column, Columns, read_tables};
use millrace_dataflows::context::{Partitions, Shared};
use millrace_dataflows::query::Query;
use millrace_dataflows::table::{Table, Value};
use millrace_dataflows::views::{AnswerContext, view};
use millrace_schema::Names;
use millrace_schema::calendar::{format_day, rfc3339_micros};
use std::path::Path;
use std::sync::Arc;

/// The rejected records, which can be asked like a view.
pub const QUARANTINE: &str = "quarantine";

/// What is kept of a rejected record.
pub const QUARANTINE_COLUMNS: [&str; 9] =
    ["source", "partition", "offset", "rule", "field", "message", "received_at", "bytes", "bytes_total"];

/// Answers from a data directory. Besides the views there is `quarantine`.
///
/// # Errors
/// Where there are no rows of that view, or the question does not fit it.
pub fn query(data_dir: &Path, name: &str, query: &Query) -> anyhow::Result<Table> {
    let run = Run::read(data_dir)?;
    if name == QUARANTINE {
        return quarantine(data_dir, query);
    }
    let context = Arc::new(run.settings.validate()?.views);
    let view = view(name, &context).with_context(|| format!("there is no view {name}"))?;
    if let Some((_, version)) = run.views.iter().find(|(known, _)| known == name) {
        let current = view.version();
        anyhow::ensure!(
            *version == current,
            "the rows of {name} are of version {version}, not {current}: replay again"
        );
    }
    let names = Arc::new(Names::default());
    let shared = Shared::new(context, names.clone(), Arc::new(Partitions::default()));
    let state = results::read(&data_dir.join("views"), &*view, &names)?;
    let context = AnswerContext { shared, watermark: run.watermark };
    Ok(view.answer(&state, &context, query)?)
}

/// The quarantine as it is stored; filters are on the columns' texts.
fn quarantine(data_dir: &Path, query: &Query) -> anyhow::Result<Table> {
    let folder = data_dir.join("quarantine");
    let stored = if folder.exists() { read_tables(&folder)? } else { Columns::default() };
    let mut table = Table::new(QUARANTINE_COLUMNS);
    for row in 0..stored.rows() {
        let cell = |name: &&str| stored.column(name).map_or(Value::Null, |column| value(column, row));
        table.rows.push(QUARANTINE_COLUMNS.iter().map(cell).collect());
    }
    Ok(query.list(QUARANTINE, table)?)
}

fn value(column: &Column, row: usize) -> Value {
    let value = match column {
        Column::Text(texts) => texts.get(row).map(Value::text),
        Column::Bytes(values) => values[row].as_deref().map(|bytes| Value::text(String::from_utf8_lossy(bytes))),
        Column::Int(values) => values[row].map(Value::Int),
        Column::Float(values) => values[row].map(Value::Float),
        Column::Bool(values) => values[row].map(|value| Value::Int(i64::from(value))),
        Column::Date(values) => values[row].map(|day| Value::text(format_day(i64::from(day)))),
        Column::Timestamp(values) => values[row].map(|time| Value::text(rfc3339_micros(time))),
        Column::Decimal { scale, values } => {
            values[row].map(|value| Value::Float(value as f64 / 10_f64.powi(*scale as i32)))
        }
    };
    value.unwrap_or(Value::Null)
}
