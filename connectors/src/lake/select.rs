//! The rows of an event file that somebody wants, by their ids: most of a file is passed over without being looked at.

use super::event_schema::event_properties;
use super::{Compression, LakeError};
use arrow::array::{AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, ParquetRecordBatchReaderBuilder, RowFilter};
use parquet::arrow::{ArrowWriter, ProjectionMask};

/// Rows that are looked at together.
const BATCH_ROWS: usize = 8_192;

/// The ids of an event as texts; empty where it has none.
#[derive(Clone, Copy, Debug)]
pub struct EventKeys<'a> {
    pub event: &'a str,
    pub session: &'a str,
    pub user: &'a str,
}

/// An event file of those rows alone, in the same order; `None` where there are none.
///
/// # Errors
/// [`LakeError`] where it is no event file.
pub fn select_events(
    key: &str,
    bytes: Bytes,
    mut wanted: impl FnMut(EventKeys) -> bool + Send + 'static,
) -> Result<Option<Bytes>, LakeError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(LakeError::decode(key))?;
    let schema = reader.schema().clone();
    let mask = ProjectionMask::columns(reader.parquet_schema(), ["event_id", "session_id", "user_id"]);
    let predicate = ArrowPredicateFn::new(mask, move |batch| select(&batch, &mut wanted));
    let reader = reader.with_batch_size(BATCH_ROWS).with_row_filter(RowFilter::new(vec![Box::new(predicate)]));
    let mut file = None;
    for batch in reader.build().map_err(LakeError::decode(key))? {
        let batch = batch.map_err(LakeError::arrow(key))?;
        let file = match &mut file {
            Some(file) => file,
            None => {
                let properties = event_properties(Compression::Snappy, BATCH_ROWS);
                file.insert(
                    ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties))
                        .map_err(LakeError::decode(key))?,
                )
            }
        };
        file.write(&batch).map_err(LakeError::decode(key))?;
    }
    file.map(|file| file.into_inner().map(Bytes::from)).transpose().map_err(LakeError::decode(key))
}

fn select(batch: &RecordBatch, wanted: &mut impl FnMut(EventKeys) -> bool) -> Result<BooleanArray, ArrowError> {
    let column = |name: &str| -> Result<&StringArray, ArrowError> {
        let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        column.ok_or_else(|| ArrowError::SchemaError(format!("there is no column {name} of texts")))
    };
    let (events, sessions, users) = (column("event_id")?, column("session_id")?, column("user_id")?);
    let rows = events.iter().zip(sessions).zip(users).map(|((event, session), user)| {
        let [event, session, user] = [event, session, user].map(Option::unwrap_or_default);
        Some(wanted(EventKeys { event, session, user }))
    });
    Ok(rows.collect())
}
