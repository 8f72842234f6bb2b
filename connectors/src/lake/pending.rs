//! Valid records that were older than a horizon: their bytes, until they are repaired.

use super::gather::Places;
use super::part_file::Unfinished;
use super::table_file::TableWriter;
use super::{Column, Columns, Compression, LakeError, TextBuilder, TextColumn, read_table};
use crate::source::PartitionInfo;
use crate::store::Store;
use millrace_schema::Kind;
use millrace_schema::calendar::format_day;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A file has so many records at most: they are merged a file at a time.
const FILE_RECORDS: usize = 50_000;

/// One pending record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRecord {
    /// An index into the table of partitions.
    pub partition: u16,
    pub offset: u64,
    /// The day of its event time in the store's calendar, since 1970.
    pub day: i32,
    pub event_time: i64,
    pub received_at: Option<i64>,
    /// What it is where it does not say so itself.
    pub default_kind: Option<Kind>,
    pub bytes: Box<[u8]>,
}

/// Collects records by day.
pub struct PendingFiles {
    store: Arc<dyn Store>,
    name: String,
    next_number: usize,
    compression: Compression,
    places: Places,
    days: BTreeMap<i32, Vec<PendingRecord>>,
}

impl PendingFiles {
    /// All files are called `name` and a number: no other writer may have that name.
    pub fn new(store: Arc<dyn Store>, name: &str, compression: Compression) -> PendingFiles {
        let (name, places) = (name.to_owned(), Places::new(&[]));
        PendingFiles { store, name, next_number: 0, compression, places, days: BTreeMap::new() }
    }

    /// The table of partitions that records index, where it has grown.
    pub fn partitions(&mut self, partitions: &[PartitionInfo]) {
        self.places = Places::new(partitions);
    }

    pub fn push(&mut self, record: PendingRecord) {
        self.days.entry(record.day).or_default().push(record);
    }

    /// Ends a file for each day.
    ///
    /// # Errors
    /// [`LakeError`] where a partition is not known, or a file cannot be written.
    pub fn end(&mut self) -> Result<Vec<Unfinished>, LakeError> {
        let mut ended = Vec::new();
        let days = std::mem::take(&mut self.days);
        for (day, records) in
            days.iter().flat_map(|(day, records)| records.chunks(FILE_RECORDS).map(|some| (*day, some)))
        {
            let key = format!(
                "pending/event_date={}/{}-{:06}.parquet",
                format_day(i64::from(day)),
                self.name,
                self.next_number
            );
            self.next_number += 1;
            let ordinals: Vec<u16> = records.iter().map(|record| record.partition).collect();
            self.places.check(&ordinals)?;
            let table = self.table(records);
            let mut file = TableWriter::create(&self.store, &key, &table, self.compression)?;
            file.write(&table)?;
            ended.push(file.end()?);
        }
        Ok(ended)
    }

    fn table(&self, records: &[PendingRecord]) -> Columns {
        let (mut sources, mut kinds) = (TextBuilder::default(), TextBuilder::default());
        for record in records {
            sources.push(Some(self.places.source(record.partition)));
            kinds.push(record.default_kind.map(Kind::as_str));
        }
        let mut columns = Columns::default();
        columns.push("source", Column::Text(sources.finish()));
        let number = |record: &PendingRecord| Some(i64::from(self.places.number(record.partition)));
        columns.push("partition", Column::Int(records.iter().map(number).collect()));
        columns.push("ordinal", Column::Int(records.iter().map(|record| Some(record.partition.into())).collect()));
        columns.push("offset", Column::Int(records.iter().map(|record| Some(record.offset as i64)).collect()));
        columns.push("event_time", Column::Timestamp(records.iter().map(|record| Some(record.event_time)).collect()));
        columns.push("received_at", Column::Timestamp(records.iter().map(|record| record.received_at).collect()));
        columns.push("default_type", Column::Text(kinds.finish()));
        columns.push("bytes", Column::Bytes(records.iter().map(|record| Some(record.bytes.clone())).collect()));
        columns
    }
}

/// Reads a file of pending records. Their days are not in it: 0.
///
/// # Errors
/// [`LakeError`] where it is none.
pub fn read_pending(key: &str, bytes: bytes::Bytes) -> Result<Vec<PendingRecord>, LakeError> {
    let table = read_table(key, bytes)?;
    let lacks = |name: &str| LakeError::Decode { key: key.to_owned(), message: format!("there is no column {name}") };
    let ints = |name: &str| match table.column(name) {
        Some(Column::Int(values) | Column::Timestamp(values)) => Ok(values),
        _ => Err(lacks(name)),
    };
    let (ordinals, offsets) = (ints("ordinal")?, ints("offset")?);
    let (times, received) = (ints("event_time")?, ints("received_at")?);
    let none = TextColumn::default();
    let kinds = match table.column("default_type") {
        Some(Column::Text(kinds)) => kinds,
        _ => &none,
    };
    let Some(Column::Bytes(bytes)) = table.column("bytes") else { return Err(lacks("bytes")) };
    let record = |row: usize| {
        Some(PendingRecord {
            partition: u16::try_from(ordinals[row]?).ok()?,
            offset: u64::try_from(offsets[row]?).ok()?,
            day: 0,
            event_time: times[row]?,
            received_at: received[row],
            default_kind: kinds.keys.get(row).and_then(|_| kinds.get(row)).and_then(Kind::parse),
            bytes: bytes[row].clone()?,
        })
    };
    // A later program may know more kinds. To take a record for one without a kind would be to reject it.
    let unknown = (0..kinds.keys.len()).filter_map(|row| kinds.get(row)).find(|name| Kind::parse(name).is_none());
    let failed = |message: String| LakeError::Decode { key: key.to_owned(), message };
    if let Some(unknown) = unknown {
        return Err(failed(format!("default_type {unknown:?} is no kind of event that this program knows")));
    }
    let bad = || failed("a row is not whole".to_owned());
    (0..table.rows()).map(|row| record(row).ok_or_else(bad)).collect()
}
