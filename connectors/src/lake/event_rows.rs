//! Event files read back: the records as lines, and where they came from.

use super::{Column, LakeError, read_table};
use crate::source::{ReadOptions, Source, SourceError, open};
use bytes::Bytes;
use std::io::Write;

/// One record of an event file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    pub source: String,
    /// Its number within the source.
    pub partition: u32,
    pub offset: u64,
    pub epoch: u64,
    /// As a line of JSON.
    pub line: Box<[u8]>,
}

#[derive(Debug, thiserror::Error)]
pub enum EventRowsError {
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("cannot put {key} aside to read it: {error}")]
    Aside { key: String, error: std::io::Error },
}

/// Reads a file; `key` is what errors call it.
///
/// # Errors
/// [`EventRowsError`] where it is not an event file.
pub fn read_event_rows(key: &str, bytes: &Bytes) -> Result<Vec<EventRow>, EventRowsError> {
    let table = read_table(key, bytes.clone())?;
    let lacks = |name: &str| LakeError::Decode { key: key.to_owned(), message: format!("there is no column {name}") };
    let ints = |name: &str| match table.column(name) {
        Some(Column::Int(values)) => Ok(values),
        _ => Err(lacks(name)),
    };
    let Some(Column::Text(sources)) = table.column("source") else { return Err(lacks("source").into()) };
    let (partitions, offsets, epochs) = (ints("partition")?, ints("offset")?, ints("epoch")?);
    let aside = |error| EventRowsError::Aside { key: key.to_owned(), error };
    let mut file = tempfile::Builder::new().suffix(".parquet").tempfile().map_err(aside)?;
    file.write_all(bytes).map_err(aside)?;
    let mut reader = open(&[file.path().to_owned()], ReadOptions::default())?;
    let mut rows = Vec::with_capacity(table.rows());
    while let Some(chunk) = reader.next_chunk()? {
        for raw in chunk.records() {
            let row = rows.len();
            let number = |values: &[Option<i64>]| values.get(row).copied().flatten().unwrap_or(0);
            rows.push(EventRow {
                source: sources.get(row).unwrap_or_default().to_owned(),
                partition: u32::try_from(number(partitions)).unwrap_or(0),
                offset: u64::try_from(number(offsets)).unwrap_or(0),
                epoch: u64::try_from(number(epochs)).unwrap_or(0),
                line: raw.bytes.into(),
            });
        }
    }
    Ok(rows)
}
