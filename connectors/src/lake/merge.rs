//! Several files of one folder as one, all of it in order. Columns go by their names: files of an earlier or a later program have
//! others, in another order.

use super::event_schema::{EVENT_SCHEMA, event_properties};
use super::part_file::{PartFile, Unfinished};
use super::quarantine::{QUARANTINE_SCHEMA, quarantine_properties};
use super::{Compression, LakeError};
use crate::store::Store;
use arrow::array::{Array, RecordBatch, new_null_array};
use arrow::compute::*;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
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

/// The columns of a merged file: those that files have today, in today's order, and behind them what only files of another program
/// have, which is not ours to drop. A column is known by its name.
///
/// ```text
/// today  a b c     earlier  c a     later  a x b c     merged  a b c x
/// ```
struct Union {
    fields: Vec<Field>,
    /// By field: which file it was first seen in; none for today's own.
    seen_in: Vec<Option<String>>,
}

impl Union {
    fn new(today: &SchemaRef) -> Union {
        let fields: Vec<Field> = today.fields().iter().map(|field| Field::clone(field)).collect();
        Union { seen_in: vec![None; fields.len()], fields }
    }

    /// # Errors
    /// Where a column is of a type that the one of this name is not read as, or one is missing that no row may be without.
    fn add(&mut self, key: &str, schema: &Schema) -> Result<(), LakeError> {
        let failed = |message| Err(LakeError::Decode { key: key.to_owned(), message });
        for field in schema.fields() {
            let (name, data_type) = (field.name(), field.data_type());
            let Some(at) = self.fields.iter().position(|known| known.name() == name) else {
                self.fields.push(Field::clone(field).with_nullable(true));
                self.seen_in.push(Some(key.to_owned()));
                continue;
            };
            let known = self.fields[at].data_type();
            if !is_read_as(data_type, known) {
                let by = self.seen_in[at].as_deref().map_or("it is".to_owned(), |first| format!("in {first} it is"));
                return failed(format!("the column {name} is of type {data_type}, and {by} {known}"));
            }
        }
        let lacks = |field: &&Field| !field.is_nullable() && schema.column_with_name(field.name()).is_none();
        match self.fields.iter().find(lacks) {
            Some(field) => failed(format!("there is no column {}, and no row may be without it", field.name())),
            None => Ok(()),
        }
    }

    /// The columns of a batch by their names, with nulls for those that it lacks.
    fn conform(&self, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
        // What does not fit is an error, not an absent value.
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let columns = self.fields.iter().map(|field| match batch.column_by_name(field.name()) {
            Some(column) => cast_with_options(column, field.data_type(), &options)
                .map_err(|error| ArrowError::CastError(format!("the column {}: {error}", field.name()))),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        });
        RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)
    }
}

/// Whether values of one type mean the same as values of another: texts, whole numbers, amounts, instants. A text that reads like a
/// number is none.
fn is_read_as(from: &DataType, to: &DataType) -> bool {
    let plain = |of: &DataType| match of {
        DataType::Dictionary(_, values) => (**values).clone(),
        of => of.clone(),
    };
    let (from, to) = (plain(from), plain(to));
    let is_instant = |of: &DataType| matches!(of, DataType::Timestamp(_, _));
    let is_bytes = |of: &DataType| matches!(of, DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    from == to
        || from == DataType::Null
        || from.is_string() && to.is_string()
        || from.is_integer() && to.is_integer()
        || from.is_decimal() && to.is_decimal()
        || is_instant(&from) && is_instant(&to)
        || is_bytes(&from) && is_bytes(&to)
}

fn merge(
    store: &Arc<dyn Store>,
    key: String,
    files: Vec<(String, Bytes)>,
    schema: &SchemaRef,
    by: &[&str],
    properties: WriterProperties,
) -> Result<Unfinished, LakeError> {
    // All heads before any rows: what all files have together is known then.
    let (mut union, mut readers) = (Union::new(schema), Vec::new());
    for (key, bytes) in files {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(LakeError::decode(&key))?;
        union.add(&key, reader.schema())?;
        readers.push((reader.with_batch_size(BATCH_ROWS).build().map_err(LakeError::decode(&key))?, key));
    }
    let schema = Arc::new(Schema::new(union.fields.clone()));
    let mut batches = Vec::new();
    for (reader, key) in readers {
        for batch in reader {
            let batch = batch.and_then(|batch| union.conform(&batch, &schema));
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
    let mut file = PartFile::create(store, key.clone(), schema, properties)?;
    for start in (0..order.len()).step_by(BATCH_ROWS) {
        let part = order.slice(start, BATCH_ROWS.min(order.len() - start));
        let part: Vec<(usize, usize)> = part.values().iter().map(|&row| places[row as usize]).collect();
        file.write(&interleave_record_batch(&parts, &part).map_err(LakeError::arrow(&key))?)?;
    }
    file.end()
}
