//! Rejected records: why, from where, and their bytes up to a stated limit.

use super::gather::Places;
use super::part_file::{PartFile, Unfinished};
use super::{Compression, LakeError};
use crate::source::PartitionInfo;
use crate::store::Store;
use arrow::array::*;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit};
use millrace_schema::Reject;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use std::sync::{Arc, LazyLock};

/// What a row costs in memory besides its texts and bytes.
const ROW_BYTES: usize = 128;
const BATCH_ROWS: usize = 8_192;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineSettings {
    pub compression: Compression,
    /// How much of a record is kept.
    pub record_bytes: usize,
    /// What may be held in memory before a file is written.
    pub buffer_bytes: usize,
}

impl Default for QuarantineSettings {
    fn default() -> QuarantineSettings {
        QuarantineSettings { compression: Compression::Snappy, record_bytes: 4_096, buffer_bytes: 64 << 20 }
    }
}

/// One rejected record.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// An index into the table of partitions.
    pub partition: u16,
    pub offset: u64,
    pub reject: Reject,
    pub received_at: Option<i64>,
    /// The first bytes of the record.
    pub bytes: Box<[u8]>,
    /// The record's whole length.
    pub total_bytes: u64,
}

pub(super) static QUARANTINE_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    Arc::new(Schema::new(vec![
        Field::new("source", text(), false),
        Field::new("partition", DataType::Int32, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("rule", text(), false),
        Field::new("field", text(), true),
        Field::new("message", DataType::Utf8, false),
        Field::new("received_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("bytes", DataType::Binary, false),
        Field::new("bytes_total", DataType::Int64, false),
    ]))
});

pub(super) fn quarantine_properties(compression: Compression) -> WriterProperties {
    WriterProperties::builder()
        .set_compression(compression.parquet())
        .set_statistics_enabled(EnabledStatistics::None)
        .set_column_dictionary_enabled("bytes".into(), false)
        .set_column_dictionary_enabled("offset".into(), false)
        .build()
}

/// Collects rows and writes them, sorted by place, a file whenever the buffer is full. No rows, no file.
pub struct QuarantineFiles {
    store: Arc<dyn Store>,
    name: String,
    next_number: usize,
    places: Places,
    settings: QuarantineSettings,
    rows: Vec<Rejected>,
    buffered_bytes: usize,
    ended: Vec<Unfinished>,
}

impl QuarantineFiles {
    /// All files are called `name` and a number: no other writer may have that name.
    pub fn new(store: Arc<dyn Store>, name: &str, settings: QuarantineSettings) -> QuarantineFiles {
        QuarantineFiles {
            store,
            name: name.to_owned(),
            next_number: 0,
            places: Places::new(&[]),
            settings,
            rows: Vec::new(),
            buffered_bytes: 0,
            ended: Vec::new(),
        }
    }

    /// The table of partitions that rows index, where it has grown.
    pub fn partitions(&mut self, partitions: &[PartitionInfo]) {
        self.places = Places::new(partitions);
    }

    /// # Errors
    /// [`LakeError`] where the partition is unknown, or a full buffer cannot be written.
    pub fn push(&mut self, row: Rejected) -> Result<(), LakeError> {
        self.places.check(&[row.partition])?;
        let bytes = &row.bytes[..row.bytes.len().min(self.settings.record_bytes)];
        self.buffered_bytes += bytes.len() + row.reject.message.len() + ROW_BYTES;
        let bytes = if bytes.len() == row.bytes.len() { row.bytes } else { bytes.into() };
        self.rows.push(Rejected { bytes, ..row });
        if self.buffered_bytes >= self.settings.buffer_bytes { self.spill() } else { Ok(()) }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`LakeError`] where it cannot be written.
    pub fn end(&mut self) -> Result<Vec<Unfinished>, LakeError> {
        self.spill()?;
        Ok(std::mem::take(&mut self.ended))
    }

    fn spill(&mut self) -> Result<(), LakeError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut rows = std::mem::take(&mut self.rows);
        self.buffered_bytes = 0;
        rows.sort_by_key(|row| (row.partition, row.offset));
        let key = format!("quarantine/{}-{:06}.parquet", self.name, self.next_number);
        self.next_number += 1;
        let properties = quarantine_properties(self.settings.compression);
        let mut file = PartFile::create(&self.store, key.clone(), Arc::clone(&QUARANTINE_SCHEMA), properties)?;
        for rows in rows.chunks(BATCH_ROWS) {
            file.write(&self.batch(rows).map_err(LakeError::arrow(&key))?)?;
        }
        self.ended.push(file.end()?);
        Ok(())
    }

    fn batch(&self, rows: &[Rejected]) -> Result<RecordBatch, arrow::error::ArrowError> {
        let sources: DictionaryArray<Int32Type> = rows.iter().map(|row| self.places.source(row.partition)).collect();
        let rules: DictionaryArray<Int32Type> = rows.iter().map(|row| row.reject.rule.as_str()).collect();
        let fields: DictionaryArray<Int32Type> = rows.iter().map(|row| row.reject.field).collect();
        let received_at: TimestampMicrosecondArray = rows.iter().map(|row| row.received_at).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(sources),
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| self.places.number(row.partition)))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.offset as i64))),
            Arc::new(rules),
            Arc::new(fields),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.reject.message))),
            Arc::new(received_at.with_timezone("UTC")),
            Arc::new(BinaryArray::from_iter_values(rows.iter().map(|row| &row.bytes))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.total_bytes as i64))),
        ];
        RecordBatch::try_new(Arc::clone(&QUARANTINE_SCHEMA), columns)
    }
}
