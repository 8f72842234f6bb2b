//! Several files of one folder as one, all of it in order.

use super::event_schema::event_properties;
use super::part_file::{PartFile, Unfinished};
use super::quarantine::quarantine_properties;
use super::{Compression, LakeError};
use crate::store::Store;
use arrow::array::{Array, RecordBatch};
use arrow::compute::{SortColumn, concat, interleave_record_batch, lexsort_to_indices};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use std::sync::Arc;

/// Rows that are encoded together.
const BATCH_ROWS: usize = 65_536;

/// Merges event files by session. They are in memory with all their rows meanwhile.
///
/// # Errors
/// [`LakeError`] where one is no event file.
pub fn merge_events(
    store: &Arc<dyn Store>,
    key: String,
    files: Vec<(String, Bytes)>,
    compression: Compression,
    row_group_rows: usize,
) -> Result<Unfinished, LakeError> {
    let by = ["session_id", "event_time", "source", "partition", "offset"];
    merge(store, key, files, &by, event_properties(compression, row_group_rows))
}

/// Merges files of rejected records by place. They are in memory with all their rows meanwhile.
///
/// # Errors
/// [`LakeError`] where one is no such file.
pub fn merge_quarantine(
    store: &Arc<dyn Store>,
    key: String,
    files: Vec<(String, Bytes)>,
    compression: Compression,
) -> Result<Unfinished, LakeError> {
    merge(store, key, files, &["source", "partition", "offset"], quarantine_properties(compression))
}

fn merge(
    store: &Arc<dyn Store>,
    key: String,
    files: Vec<(String, Bytes)>,
    by: &[&str],
    properties: WriterProperties,
) -> Result<Unfinished, LakeError> {
    let mut batches = Vec::new();
    for (key, bytes) in files {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(LakeError::decode(&key))?;
        let reader = reader.with_batch_size(BATCH_ROWS).build().map_err(LakeError::decode(&key))?;
        for batch in reader {
            batches.push(batch.map_err(|error| LakeError::Decode { key: key.clone(), message: error.to_string() })?);
        }
    }
    let Some(schema) = batches.first().map(RecordBatch::schema) else {
        return Err(LakeError::BadTable("there is nothing to merge".to_owned()));
    };
    // Only what is sorted by is put together: everything, twice, would be much.
    let columns = by.iter().map(|name| {
        let absent = || LakeError::Decode { key: key.clone(), message: format!("there is no column {name}") };
        let parts = batches.iter().map(|batch| batch.column_by_name(name).map(|column| &**column));
        let parts = parts.collect::<Option<Vec<&dyn Array>>>().ok_or_else(absent)?;
        let values = concat(&parts).map_err(LakeError::arrow(&key))?;
        Ok(SortColumn { values, options: None })
    });
    let columns = columns.collect::<Result<Vec<_>, LakeError>>()?;
    let order = lexsort_to_indices(&columns, None).map_err(LakeError::arrow(&key))?;
    drop(columns);
    let places = (0..).zip(&batches).flat_map(|(number, batch)| (0..batch.num_rows()).map(move |row| (number, row)));
    let places: Vec<(usize, usize)> = places.collect();
    let parts: Vec<&RecordBatch> = batches.iter().collect();
    let mut file = PartFile::create(store, key.clone(), schema, properties)?;
    for start in (0..order.len()).step_by(BATCH_ROWS) {
        let part = order.slice(start, BATCH_ROWS.min(order.len() - start));
        let part: Vec<(usize, usize)> = part.values().iter().map(|&row| places[row as usize]).collect();
        file.write(&interleave_record_batch(&parts, &part).map_err(LakeError::arrow(&key))?)?;
    }
    file.end()
}
