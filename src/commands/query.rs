//! `query`: a question to the rows that a lake holds.

use super::kept::{has_results, shared_of, view_of};
use crate::checkpoint::{FileEntry, Kind, NowMs, Pinned, open_store};
use crate::ingest::{QUARANTINE, QUARANTINE_COLUMNS};
use crate::settings::Settings;
use anyhow::Context;
use millrace_connectors::lake::{Column, LakeError, read_tables};
use millrace_connectors::store::Store;
use millrace_dataflows::query::Query;
use millrace_dataflows::table::{Table, Value};
use millrace_dataflows::views::{AnswerContext, filters_of_nothing, view};
use millrace_schema::calendar::{format_day, rfc3339_micros};

/// Answers from a lake. Besides the views there is `quarantine`.
///
/// # Errors
/// Where there are no rows of that view, or the question does not fit it.
pub fn query(
    place: &str,
    settings: &Settings,
    name: &str,
    query: &Query,
    now_ms: NowMs,
    warn: &mut dyn FnMut(String),
) -> anyhow::Result<Table> {
    let store = open_store(place, settings)?;
    let pinned = Pinned::checkpoint(&store, None, "query", now_ms, warn)?;
    let manifest = &pinned.manifest;
    has_results(manifest, place)?;
    if name == QUARANTINE {
        return quarantine(&*store, &pinned.files, query);
    }
    let shared = shared_of(manifest)?;
    let (_, state) = view_of(&*store, manifest, name, &shared)?;
    let view = view(name, &shared.context).with_context(|| format!("there is no view {name}"))?;
    let context = AnswerContext { shared, watermark: manifest.watermark };
    let answer = view.answer(&state, &context, query)?;
    if answer.rows.is_empty() {
        filters_of_nothing(&*view, &state, &context, query).into_iter().for_each(warn);
    }
    Ok(answer)
}

/// The quarantine as it is stored; filters are on the columns' texts.
fn quarantine(store: &dyn Store, files: &[FileEntry], query: &Query) -> anyhow::Result<Table> {
    let keys = files.iter().filter(|file| Kind::of(&file.key) == Some(Kind::Quarantine)).map(|file| &*file.key);
    let mut table = Table::new(QUARANTINE_COLUMNS);
    for key in keys {
        // The store may have removed it by its age.
        let stored = match read_tables(store, [key]) {
            Err(LakeError::Store(error)) if error.is_not_found() => continue,
            stored => stored?,
        };
        for row in 0..stored.rows() {
            let cell = |name: &&str| stored.column(name).map_or(Value::Null, |column| value(column, row));
            table.rows.push(QUARANTINE_COLUMNS.iter().map(cell).collect());
        }
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
