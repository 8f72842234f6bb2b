//! Tables as Parquet files.

use super::part_file::{PartFile, Unfinished};
use super::{Column, Columns, Compression, LakeError, LakeFile, TextColumn};
use crate::store::Store;
use arrow::array::*;
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::*;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use std::collections::HashMap;
use std::sync::Arc;

const BATCH_ROWS: usize = 65_536;
const ROW_GROUP_ROWS: usize = 1 << 20;
/// Room for some hundred thousand distinct texts in a row group; past it they are written out.
const DICTIONARY_BYTES: usize = 8 << 20;
/// Any sum of 64 bits fits, whatever the places.
const DECIMAL_PRECISION: u8 = 38;

/// A table file that grows by some rows at a time.
pub struct TableWriter {
    key: String,
    schema: SchemaRef,
    file: PartFile,
}

impl TableWriter {
    /// Begins a file. Of `columns` only names and types count.
    ///
    /// # Errors
    /// [`LakeError`] where the columns are not Parquet's.
    pub fn create(
        store: &Arc<dyn Store>,
        key: &str,
        columns: &Columns,
        compression: Compression,
    ) -> Result<TableWriter, LakeError> {
        let columns = || columns.names.iter().zip(&columns.columns);
        let fields = columns().map(|(name, column)| Field::new(name, data_type(column), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let mut properties = WriterProperties::builder()
            .set_compression(compression.parquet())
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_write_batch_size(8_192)
            .set_data_page_row_count_limit(BATCH_ROWS)
            .set_dictionary_page_size_limit(DICTIONARY_BYTES)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
        for (name, column) in columns() {
            // A dotted name would be a path into a struct: it keeps the defaults.
            let is_text = matches!(column, Column::Text(_));
            properties = properties.set_column_dictionary_enabled(name.as_str().into(), is_text);
            if is_text {
                properties = properties.set_column_statistics_enabled(name.as_str().into(), EnabledStatistics::None);
            }
        }
        let file = PartFile::create(store, key.to_owned(), Arc::clone(&schema), properties.build())?;
        Ok(TableWriter { key: key.to_owned(), schema, file })
    }

    /// Appends rows. Each time their columns have dictionaries of their own.
    ///
    /// # Errors
    /// [`LakeError`] where the columns do not fit together or are not those of the file, or it cannot be written.
    pub fn write(&mut self, rows: &Columns) -> Result<(), LakeError> {
        rows.check()?;
        let dictionaries: Vec<Option<ArrayRef>> = rows.columns.iter().map(dictionary).collect();
        for start in (0..rows.rows()).step_by(BATCH_ROWS) {
            let range = start..(start + BATCH_ROWS).min(rows.rows());
            let columns = rows.columns.iter().zip(&dictionaries);
            let arrays = columns.map(|(column, dictionary)| array(column, dictionary.as_ref(), range.clone()));
            let arrays = arrays.collect::<Result<_, _>>().map_err(LakeError::arrow(&self.key))?;
            let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays);
            self.file.write(&batch.map_err(LakeError::arrow(&self.key))?)?;
        }
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`LakeError`] where it cannot be written.
    pub fn end(self) -> Result<Unfinished, LakeError> {
        self.file.end()
    }
}

/// Writes a whole table, as [`TableWriter`] does.
///
/// # Errors
/// [`LakeError`] where the columns do not fit together, or the file cannot be written.
pub fn write_table(
    store: &Arc<dyn Store>,
    key: &str,
    table: &Columns,
    compression: Compression,
) -> Result<LakeFile, LakeError> {
    table.check()?;
    let mut file = TableWriter::create(store, key, table, compression)?;
    file.write(table)?;
    Ok(file.end()?.finish()?)
}

fn data_type(column: &Column) -> DataType {
    match column {
        Column::Text(_) => DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8)),
        Column::Bytes(_) => DataType::Binary,
        Column::Int(_) => DataType::Int64,
        Column::Float(_) => DataType::Float64,
        Column::Bool(_) => DataType::Boolean,
        Column::Date(_) => DataType::Date32,
        Column::Timestamp(_) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Column::Decimal { scale, .. } => DataType::Decimal128(DECIMAL_PRECISION, *scale as i8),
    }
}

fn dictionary(column: &Column) -> Option<ArrayRef> {
    let Column::Text(texts) = column else { return None };
    Some(Arc::new(StringArray::from_iter_values(&texts.dictionary)))
}

fn array(
    column: &Column,
    dictionary: Option<&ArrayRef>,
    rows: std::ops::Range<usize>,
) -> Result<ArrayRef, arrow::error::ArrowError> {
    Ok(match column {
        Column::Text(texts) => {
            let keys: UInt32Array = primitive(&texts.keys[rows]);
            let values = dictionary.expect("every text column has its dictionary");
            Arc::new(DictionaryArray::try_new(keys, Arc::clone(values))?)
        }
        Column::Bytes(values) => Arc::new(BinaryArray::from_iter(values[rows].iter().map(Option::as_deref))),
        Column::Int(values) => Arc::new(primitive::<Int64Type>(&values[rows])),
        Column::Float(values) => Arc::new(primitive::<Float64Type>(&values[rows])),
        Column::Bool(values) => Arc::new(values[rows].iter().copied().collect::<BooleanArray>()),
        Column::Date(values) => Arc::new(primitive::<Date32Type>(&values[rows])),
        Column::Timestamp(values) => {
            Arc::new(primitive::<TimestampMicrosecondType>(&values[rows]).with_timezone("UTC"))
        }
        Column::Decimal { scale, values } => {
            let values = primitive::<Decimal128Type>(&values[rows]);
            let values = values.with_precision_and_scale(DECIMAL_PRECISION, *scale as i8)?;
            values.validate_decimal_precision(DECIMAL_PRECISION)?;
            Arc::new(values)
        }
    })
}

/// Arrow's own collecting looks for an absent value row by row.
fn primitive<T: ArrowPrimitiveType>(values: &[Option<T::Native>]) -> PrimitiveArray<T> {
    let present = BooleanBuffer::collect_bool(values.len(), |row| values[row].is_some());
    let nulls = Some(NullBuffer::new(present)).filter(|nulls| nulls.null_count() > 0);
    let plain: Vec<T::Native> = values.iter().map(|value| value.unwrap_or_default()).collect();
    PrimitiveArray::new(plain.into(), nulls)
}

/// Reads one table file; `key` is what errors call it.
///
/// # Errors
/// [`LakeError`] where it is no Parquet file, or has a column of a type that no table has.
pub fn read_table(key: &str, bytes: Bytes) -> Result<Columns, LakeError> {
    let metadata = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new()).map_err(LakeError::decode(key))?;
    // Texts come as dictionaries, so that each distinct one is looked at once a batch.
    let fields = metadata.schema().fields().iter().map(|field| {
        let text = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let is_text = field.data_type() == &DataType::Utf8;
        if is_text { field.as_ref().clone().with_data_type(text) } else { field.as_ref().clone() }
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = ArrowReaderOptions::new().with_schema(Arc::clone(&schema));
    let metadata =
        ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options).map_err(LakeError::decode(key))?;
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata);
    let reader = reader.with_batch_size(BATCH_ROWS).build().map_err(LakeError::decode(key))?;
    let bad = |message: String| LakeError::Decode { key: key.to_owned(), message };
    let mut readers = Vec::new();
    for field in schema.fields() {
        let column = empty_column(field.data_type());
        let unknown = || bad(format!("column {} is of type {}, which no table has", field.name(), field.data_type()));
        readers.push((column.ok_or_else(unknown)?, Known::default()));
    }
    for batch in reader {
        let batch = batch.map_err(|error| bad(error.to_string()))?;
        for ((column, known), array) in readers.iter_mut().zip(batch.columns()) {
            read_array(column, known, array).map_err(|error| bad(error.to_string()))?;
        }
    }
    let names = schema.fields().iter().map(|field| field.name().clone()).collect();
    Ok(Columns { names, columns: readers.into_iter().map(|(column, _)| column).collect() })
}

/// Reads several files of one table, in that order; no columns where there is none.
///
/// # Errors
/// [`LakeError`] where one cannot be read, or their columns differ.
pub fn read_tables<'a>(store: &dyn Store, keys: impl IntoIterator<Item = &'a str>) -> Result<Columns, LakeError> {
    let mut table: Option<Columns> = None;
    for key in keys {
        let next = read_table(key, store.get(key)?)?;
        match &mut table {
            None => table = Some(next),
            Some(table) => {
                let other = || LakeError::OtherColumns { key: key.to_owned() };
                if next.names != table.names {
                    return Err(other());
                }
                for (column, next) in table.columns.iter_mut().zip(next.columns) {
                    if !column.append(next) {
                        return Err(other());
                    }
                }
            }
        }
    }
    Ok(table.unwrap_or_default())
}

fn empty_column(data_type: &DataType) -> Option<Column> {
    Some(match data_type {
        DataType::Dictionary(_, _) => Column::Text(TextColumn::default()),
        DataType::Binary => Column::Bytes(Vec::new()),
        other if other.is_integer() => Column::Int(Vec::new()),
        other if other.is_floating() => Column::Float(Vec::new()),
        DataType::Boolean => Column::Bool(Vec::new()),
        DataType::Date32 => Column::Date(Vec::new()),
        DataType::Timestamp(_, _) => Column::Timestamp(Vec::new()),
        DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) | DataType::Decimal128(_, scale) => {
            Column::Decimal { scale: u32::try_from(*scale).ok()?, values: Vec::new() }
        }
        _ => return None,
    })
}

fn read_array(column: &mut Column, known: &mut Known, array: &ArrayRef) -> Result<(), arrow::error::ArrowError> {
    // What does not fit is an error, not an absent value.
    let cast =
        |array, to: &DataType| cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() });
    let utc_micros = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    match column {
        Column::Text(texts) => read_texts(texts, known, array.as_dictionary::<Int32Type>()),
        Column::Bytes(values) => values.extend(array.as_binary::<i32>().iter().map(|bytes| bytes.map(Box::from))),
        Column::Int(values) => values.extend(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().iter()),
        Column::Float(values) => values.extend(cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().iter()),
        Column::Bool(values) => values.extend(array.as_boolean().iter()),
        Column::Date(values) => values.extend(array.as_primitive::<Date32Type>().iter()),
        Column::Timestamp(values) => {
            values.extend(cast(array, &utc_micros())?.as_primitive::<TimestampMicrosecondType>().iter());
        }
        Column::Decimal { scale, values } => {
            let wide = DataType::Decimal128(DECIMAL_PRECISION, *scale as i8);
            values.extend(cast(array, &wide)?.as_primitive::<Decimal128Type>().iter());
        }
    }
    Ok(())
}

/// The keys in the table of the texts of one file.
#[derive(Default)]
struct Known {
    keys: HashMap<String, u32>,
    /// The dictionary of the last batch, and the key of each of its entries: batches of one row group share it.
    last: Option<(ArrayData, Vec<u32>)>,
}

/// Looks at each entry of a dictionary once.
fn read_texts(texts: &mut TextColumn, known: &mut Known, array: &DictionaryArray<Int32Type>) {
    let dictionary = array.values().to_data();
    if known.last.as_ref().is_none_or(|(last, _)| !last.ptr_eq(&dictionary)) {
        let entries = array.values().as_string::<i32>().iter().map(|text| {
            let text = text.unwrap_or_default();
            if let Some(&key) = known.keys.get(text) {
                return key;
            }
            let key = texts.dictionary.len() as u32;
            texts.dictionary.push(text.to_owned());
            known.keys.insert(text.to_owned(), key);
            key
        });
        known.last = Some((dictionary, entries.collect()));
    }
    let entries = known.last.as_ref().map_or(&[][..], |(_, entries)| entries);
    texts.keys.extend(array.keys().iter().map(|key| key.map(|key| entries[key as usize])));
}
