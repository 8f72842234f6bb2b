//! Black-box tests of the connectors, as one binary.

#[path = "cases/events.rs"]
mod events;
#[path = "cases/files.rs"]
mod files;
#[path = "cases/log.rs"]
mod log;
#[path = "cases/tables.rs"]
mod tables;

use millrace_connectors::source::{ReadOptions, Source, SourceError, open};
use std::path::PathBuf;

/// Options with chunks so small that every line crosses one.
pub fn tiny(chunk_bytes: usize, max_records: u32) -> ReadOptions {
    ReadOptions { chunk_bytes, max_records, max_line_bytes: 1 << 20 }
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

pub fn read_all(paths: &[PathBuf], options: ReadOptions) -> Result<Vec<Read>, (Vec<Read>, SourceError)> {
    let max_records = options.max_records;
    let mut reader = open(paths, options).map_err(|error| (Vec::new(), error))?;
    drain(&mut reader, max_records)
}

pub fn texts(records: &[Read]) -> Vec<String> {
    records.iter().map(|(_, _, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect()
}
