//! Several files of one folder as one, all of it in order.

use super::event_schema::{EVENT_SCHEMA, event_properties};
use super::part_file::{PartFile, Unfinished};
use super::quarantine::{QUARANTINE_SCHEMA, quarantine_properties};
use super::{Compression, LakeError};
use crate::store::Store;
use arrow::array::{Array, RecordBatch, new_null_array};
use arrow::compute::*;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
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
    merge(store, key, files, &EVENT_SCHEMA, &by, event_properties(compression, row_group_rows))
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
    let by = ["source", "partition", "offset"];
    merge(store, key, files, &QUARANTINE_SCHEMA, &by, quarantine_properties(compression))
}

/// The columns of a batch by their names, as files have them today: an earlier program may have written others, in another
/// order or of other types.
fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    // What does not fit is an error, not an absent value.
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => cast_with_options(column, field.data_type(), &options),
        // Where it must not be absent, the batch is refused.
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)
}

fn merge(
    store: &Arc<dyn Store>,
    key: String,
    files: Vec<(String, Bytes)>,
    schema: &SchemaRef,
    by: &[&str],
    properties: WriterProperties,
) -> Result<Unfinished, LakeError> {
    let mut batches = Vec::new();
    for (key, bytes) in files {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(LakeError::decode(&key))?;
        let reader = reader.with_batch_size(BATCH_ROWS).build().map_err(LakeError::decode(&key))?;
        for batch in reader {
            let batch = batch.and_then(|batch| conform(&batch, schema));
            batches.push(batch.map_err(|error| LakeError::Decode { key: key.clone(), message: error.to_string() })?);
        }
    }
    if batches.is_empty() {
        return Err(LakeError::BadTable("there is nothing to merge".to_owned()));
    }
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
    let mut file = PartFile::create(store, key.clone(), Arc::clone(schema), properties)?;
    for start in (0..order.len()).step_by(BATCH_ROWS) {
        let part = order.slice(start, BATCH_ROWS.min(order.len() - start));
        let part: Vec<(usize, usize)> = part.values().iter().map(|&row| places[row as usize]).collect();
        file.write(&interleave_record_batch(&parts, &part).map_err(LakeError::arrow(&key))?)?;
    }
    file.end()
}
