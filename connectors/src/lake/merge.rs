//! Several event files of one folder as one, all of it in order of the sessions.

use super::event_schema::event_properties;
use super::part_file::{PartFile, Unfinished};
use super::{Compression, LakeError};
use crate::store::Store;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::sync::Arc;

/// Rows that are encoded together.
const BATCH_ROWS: usize = 65_536;

/// Merges files, which are in memory with all their rows meanwhile.
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
    let rows = concat_batches(&schema, &batches).map_err(LakeError::arrow(&key))?;
    drop(batches);
    let columns = ["session_id", "event_time", "source", "partition", "offset"].iter().map(|name| {
        let column = |values: &ArrayRef| SortColumn { values: values.clone(), options: None };
        rows.column_by_name(name)
            .map(column)
            .ok_or_else(|| LakeError::Decode { key: key.clone(), message: format!("there is no column {name}") })
    });
    let order = lexsort_to_indices(&columns.collect::<Result<Vec<_>, _>>()?, None).map_err(LakeError::arrow(&key))?;
    let mut file = PartFile::create(store, key.clone(), schema, event_properties(compression, row_group_rows))?;
    for start in (0..order.len()).step_by(BATCH_ROWS) {
        let part = order.slice(start, BATCH_ROWS.min(order.len() - start));
        file.write(&take_record_batch(&rows, &part).map_err(LakeError::arrow(&key))?)?;
    }
    file.end()
}
