//! Rows of a Parquet file as native JSON lines, so that one decoder judges every input.
//!
//! - An absent value is left out.
//! - A column `extra` that holds a JSON object is merged back at the top level.
//! - In the lake's own files the columns that the engine added (where the record was read, and when) are left out, and the
//!   time of a dimension record goes by its own name, `updated_at`.
//! - A column of the logical type UUID is text, as people write it: its 16 bytes are none.
//! - Offsets are row numbers.

use super::chunk::{Chunk, Layout, Offsets};
use super::json_text::{write_key, write_value};
use super::{Progress, ReadOptions, SourceError};
use crate::lake::event_schema::{ENGINE_COLUMNS, LAKE_FORMAT_KEY};
use crate::short::short;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use millrace_schema::Kind;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::LogicalType;
use parquet::schema::types::SchemaDescriptor;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const BATCH_ROWS: usize = 4_096;

pub(crate) struct ParquetRows {
    path: PathBuf,
    partition: u16,
    options: ReadOptions,
    progress: Progress,
    batches: ParquetRecordBatchReader,
    is_lake_file: bool,
    /// The columns that hold UUIDs.
    uuids: Vec<String>,
    batch: Option<Rows>,
    /// The next row of the file.
    row: u64,
    rows: u64,
    file_bytes: u64,
    counted_bytes: u64,
    failed: bool,
    /// What is said once everything before it has been handed out.
    fault: Option<String>,
}

impl ParquetRows {
    pub(crate) fn open(
        file: File,
        path: &Path,
        partition: u16,
        options: &ReadOptions,
        progress: &Progress,
        counted_bytes: u64,
    ) -> Result<ParquetRows, SourceError> {
        let file_bytes = file.metadata().map_err(SourceError::unreadable(path))?.len();
        let failed = |error: parquet::errors::ParquetError| SourceError::Parquet {
            path: path.to_owned(),
            row: 0,
            message: short(&error.to_string()),
        };
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?;
        let metadata = builder.metadata().file_metadata();
        let marked =
            metadata.key_value_metadata().is_some_and(|pairs| pairs.iter().any(|pair| pair.key == LAKE_FORMAT_KEY));
        let has_all = ENGINE_COLUMNS[..4].iter().all(|name| builder.schema().column_with_name(name).is_some());
        let rows = u64::try_from(metadata.num_rows()).unwrap_or(0);
        let uuids = uuids(builder.parquet_schema());
        let batch_rows = BATCH_ROWS.min(options.max_records.max(1) as usize);
        let batches = builder.with_batch_size(batch_rows).build().map_err(failed)?;
        Ok(ParquetRows {
            path: path.to_owned(),
            partition,
            options: options.clone(),
            progress: progress.clone(),
            batches,
            is_lake_file: marked || has_all,
            uuids,
            batch: None,
            row: 0,
            rows,
            file_bytes,
            counted_bytes,
            failed: false,
            fault: None,
        })
    }

    pub(crate) fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        if let Some(message) = self.fault.take() {
            return Err(SourceError::Parquet { path: self.path.clone(), row: self.row, message });
        }
        if self.failed {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(self.options.chunk_bytes + self.options.chunk_bytes / 8);
        let mut ends = Vec::new();
        let mut records = 0;
        while bytes.len() < self.options.chunk_bytes && records < self.options.max_records.max(1) {
            let Some(batch) = &mut self.batch else {
                if records > 0 && records + BATCH_ROWS as u32 > self.options.max_records {
                    break;
                }
                match self.batches.next() {
                    None => break,
                    Some(Ok(batch)) => self.batch = Some(Rows::new(&batch, self.is_lake_file, &self.uuids)),
                    Some(Err(error)) => {
                        // What came before it is handed out first.
                        self.failed = true;
                        self.fault = Some(short(&error.to_string()));
                        break;
                    }
                }
                continue;
            };
            if batch.write_next(&mut bytes) {
                records += 1;
                ends.push(bytes.len());
            } else {
                self.batch = None;
            }
        }
        if records == 0 && self.fault.is_some() {
            return self.next_chunk();
        }
        if records == 0 {
            self.count_to(self.file_bytes);
            return Ok(None);
        }
        let base_offset = self.row;
        self.row += u64::from(records);
        self.count_to((self.file_bytes as f64 * (self.row as f64 / self.rows.max(1) as f64)) as u64);
        let range = 0..bytes.len();
        Ok(Some(Chunk {
            partition: self.partition,
            base_offset,
            records,
            default_kind: None,
            cut_line_bytes: None,
            next_offset: self.row,
            layout: Layout::Lines { ends: ends.into(), offsets: Offsets::Rows },
            buffer: Arc::new(bytes.into()),
            range,
        }))
    }

    fn count_to(&mut self, bytes: u64) {
        let bytes = bytes.min(self.file_bytes);
        self.progress.add(bytes.saturating_sub(self.counted_bytes));
        self.counted_bytes = self.counted_bytes.max(bytes);
    }
}

/// A batch on its way to text.
struct Rows {
    columns: Vec<(String, ArrayRef)>,
    extra: Option<ArrayRef>,
    /// `event_time` and `event_type`, where a dimension's time has to be renamed.
    renamed: Option<(ArrayRef, ArrayRef)>,
    row: usize,
    rows: usize,
}

impl Rows {
    fn new(batch: &RecordBatch, is_lake_file: bool, uuids: &[String]) -> Rows {
        let mut rows = Rows { columns: Vec::new(), extra: None, renamed: None, row: 0, rows: batch.num_rows() };
        let kind = batch.column_by_name("event_type").and_then(text_column);
        let own_time = batch.column_by_name("updated_at").is_some_and(|column| column.null_count() < column.len());
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            let name = field.name().as_str();
            if column.null_count() == column.len() || is_lake_file && ENGINE_COLUMNS.contains(&name) {
                continue;
            }
            match (name, &kind) {
                ("extra", _) if text_column(column).is_some() => rows.extra = text_column(column),
                ("event_time", Some(kind)) if !own_time => rows.renamed = Some((Arc::clone(column), Arc::clone(kind))),
                _ if uuids.iter().any(|uuid| uuid == name) => rows.columns.push((name.to_owned(), uuid_texts(column))),
                _ => rows.columns.push((name.to_owned(), without_dictionary(column))),
            }
        }
        rows
    }

    /// Appends the next row as a line; false where there is none.
    fn write_next(&mut self, out: &mut Vec<u8>) -> bool {
        if self.row >= self.rows {
            return false;
        }
        let row = self.row;
        self.row += 1;
        out.push(b'{');
        let mut first = true;
        for (name, column) in &self.columns {
            if column.is_valid(row) {
                write_key(name, &mut first, out);
                write_value(column.as_ref(), row, out);
            }
        }
        if let Some((time, kind)) = self.renamed.as_ref().filter(|(time, _)| time.is_valid(row)) {
            let is_dimension =
                kind.is_valid(row) && Kind::parse(kind.as_string::<i32>().value(row)).is_some_and(Kind::is_dimension);
            write_key(if is_dimension { "updated_at" } else { "event_time" }, &mut first, out);
            write_value(time.as_ref(), row, out);
        }
        if let Some(extra) = self.extra.as_ref().filter(|extra| extra.is_valid(row)) {
            let text = extra.as_string::<i32>().value(row).trim();
            match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).map(str::trim) {
                Some("") => {}
                Some(fields) => {
                    if !std::mem::take(&mut first) {
                        out.push(b',');
                    }
                    // A line break between two fields is as good as a space; inside a text JSON allows none.
                    out.extend(fields.bytes().map(|byte| if byte == b'\n' || byte == b'\r' { b' ' } else { byte }));
                }
                None => {
                    write_key("extra", &mut first, out);
                    write_value(extra.as_ref(), row, out);
                }
            }
        }
        out.extend_from_slice(b"}\n");
        true
    }
}

/// The columns of the logical type UUID.
fn uuids(schema: &SchemaDescriptor) -> Vec<String> {
    let is_uuid = |column: &&_| {
        let column: &parquet::schema::types::ColumnDescPtr = column;
        column.path().parts().len() == 1 && matches!(column.logical_type_ref(), Some(LogicalType::Uuid))
    };
    schema.columns().iter().filter(is_uuid).map(|column| column.name().to_owned()).collect()
}

/// `01234567-89ab-cdef-0123-456789abcdef`.
fn uuid_texts(column: &ArrayRef) -> ArrayRef {
    let Some(bytes) = column.as_fixed_size_binary_opt() else { return Arc::clone(column) };
    let text = |bytes: Option<&[u8]>| {
        let hex: String = bytes?.iter().map(|byte| format!("{byte:02x}")).collect();
        let part = |from, to| hex.get(from..to);
        let parts = [part(0, 8)?, part(8, 12)?, part(12, 16)?, part(16, 20)?, part(20, 32)?];
        Some(parts.join("-"))
    };
    Arc::new(bytes.iter().map(text).collect::<StringArray>())
}

fn without_dictionary(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Dictionary(_, values) => cast(column, values).unwrap_or_else(|_| Arc::clone(column)),
        _ => Arc::clone(column),
    }
}

/// The column as plain text, where it is one.
fn text_column(column: &ArrayRef) -> Option<ArrayRef> {
    let is_text = match column.data_type() {
        DataType::Dictionary(_, values) => values.is_string(),
        other => other.is_string(),
    };
    if !is_text {
        return None;
    }
    cast(column, &DataType::Utf8).ok()
}
