//! Black-box tests of the connectors, as one binary.

#[path = "cases/events.rs"]
mod events;
#[path = "cases/files.rs"]
mod files;
#[path = "cases/kafka/mod.rs"]
mod kafka;
#[path = "cases/log.rs"]
mod log;
#[path = "cases/merge.rs"]
mod merge;
#[path = "cases/parquet.rs"]
mod parquet_types;
#[path = "cases/store/mod.rs"]
mod store;
#[path = "cases/tables.rs"]
mod tables;

use millrace_connectors::source::{Chunk, LiveSource, PartitionInfo, Progress, ReadOptions, Source, SourceError, open};
use std::path::PathBuf;

/// Options with chunks so small that every line crosses one.
pub fn tiny(chunk_bytes: usize, max_records: u32) -> ReadOptions {
    ReadOptions { chunk_bytes, max_records, max_line_bytes: 1 << 20, ..ReadOptions::default() }
}

/// A record as (partition, offset, bytes).
pub type Read = (u16, u64, Vec<u8>);

/// Every record until the source has none, checking what every chunk must keep to.
pub fn drain(source: &mut impl Source, max_records: u32) -> Result<Vec<Read>, (Vec<Read>, SourceError)> {
    let mut records = Vec::new();
    loop {
        match source.next_chunk() {
            Err(error) => return Err((records, error)),
            Ok(None) => return Ok(records),
            Ok(Some(chunk)) => {
                assert!(usize::from(chunk.partition) < source.partitions().len());
                assert!(chunk.records > 0 && chunk.records <= max_records);
                assert_eq!(chunk.records().count(), chunk.records as usize);
                for record in chunk.records() {
                    assert!(record.offset >= chunk.base_offset && record.offset < chunk.next_offset());
                    records.push((chunk.partition, record.offset, record.bytes.to_vec()));
                }
            }
        }
    }
}

/// A source that goes on, held to its contract at every call.
pub struct Checked<S> {
    pub source: S,
    table: Vec<PartitionInfo>,
    /// By ordinal, the offset after the last chunk.
    next: Vec<Option<u64>>,
    /// Whether offsets may be missing between two chunks: a broker uses some up itself.
    gaps: bool,
}

impl<S: LiveSource> Checked<S> {
    pub fn new(source: S) -> Checked<S> {
        Checked { source, table: Vec::new(), next: Vec::new(), gaps: false }
    }

    pub fn with_gaps(source: S) -> Checked<S> {
        Checked { gaps: true, ..Checked::new(source) }
    }
}

impl<S: LiveSource> Source for Checked<S> {
    fn partitions(&self) -> &[PartitionInfo] {
        self.source.partitions()
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        let chunk = self.source.next_chunk();
        let table = self.source.partitions();
        assert!(table.starts_with(&self.table), "the table only grows");
        self.table = table.to_vec();
        self.next.resize(table.len(), None);
        let state = self.source.status().get();
        assert_eq!(state.partitions.len(), table.len());
        let Some(chunk) = chunk? else { return Ok(None) };
        let (ordinal, base) = (usize::from(chunk.partition), chunk.base_offset);
        let expected = self.next[ordinal].replace(chunk.next_offset()).unwrap_or(base);
        assert!(base == expected || base > expected && self.gaps, "{base} after {expected}");
        assert_eq!(state.partitions[ordinal].next, chunk.next_offset());
        assert!(chunk.records > 0);
        let offsets: Vec<u64> = chunk.records().map(|record| record.offset).collect();
        assert_eq!(offsets.len(), chunk.records as usize);
        assert!(offsets.is_sorted_by(|before, behind| before < behind), "{offsets:?}");
        assert!(offsets[0] >= base && *offsets.last().unwrap() < chunk.next_offset());
        Ok(Some(chunk))
    }

    fn progress(&self) -> Progress {
        self.source.progress()
    }
}

pub fn read_all(paths: &[PathBuf], options: ReadOptions) -> Result<Vec<Read>, (Vec<Read>, SourceError)> {
    let max_records = options.max_records;
    let mut reader = open(paths, options).map_err(|error| (Vec::new(), error))?;
    drain(&mut reader, max_records)
}

pub fn texts(records: &[Read]) -> Vec<String> {
    records.iter().map(|(_, _, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect()
}
