//! The log: a directory of partitioned, append-only JSON lines. The smallest thing that behaves like a broker.
//!
//! ```text
//! DIR/log.json                                           {"format":"millrace-log","version":1,"partitions":2}
//! DIR/partition=00000/00000000000000000000.jsonl         a segment, named by the offset of its first byte
//! DIR/partition=00000/00000000000134217799.jsonl
//! DIR/partition=00001/00000000000000000000.jsonl
//! ```
//! An offset is a byte position in the partition across its segments. A line is there when its newline is: a reader
//! never yields a torn last line, and a writer that starts anew cuts it off.
//!
//! A log only grows. Of one that was cut, or written anew in its place, reading stops with an error: what it holds is not
//! what was read, even where it has grown as long again.

mod descriptors;
mod mark;
mod reader;
mod segments;
mod stream;
mod tail;
mod writer;

pub use reader::LogReader;
pub use tail::LogTail;
pub use writer::{LogError, LogWriter};

use super::SourceError;
use crate::short::short;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The file that makes a directory a log.
pub const LOG_MARKER: &str = "log.json";
const FORMAT: &str = "millrace-log";
const VERSION: u32 = 1;
/// Far more than a marker has.
const MARKER_BYTES: u64 = 64 << 10;
/// The ordinals of partitions are 16 bits wide.
pub const PARTITIONS_MAX: u32 = 4_096;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    format: String,
    version: u32,
    partitions: u32,
}

impl Marker {
    fn new(partitions: u32) -> Marker {
        Marker { format: FORMAT.to_owned(), version: VERSION, partitions }
    }

    /// # Errors
    /// [`SourceError`] where the marker is missing, broken or of another version.
    fn read(directory: &Path) -> Result<Marker, SourceError> {
        let path = directory.join(LOG_MARKER);
        let mut text = Vec::new();
        let file = File::open(&path).map_err(SourceError::unreadable(&path))?;
        // One that is longer is none of ours: what is cut off is no JSON.
        file.take(MARKER_BYTES).read_to_end(&mut text).map_err(SourceError::unreadable(&path))?;
        let bad = |reason: String| SourceError::BadLog { path: directory.to_owned(), reason };
        let marker: Marker =
            serde_json::from_slice(&text).map_err(|error| bad(short(&format!("{LOG_MARKER}: {error}"))))?;
        if marker.format != FORMAT || marker.version != VERSION {
            let (format, version) = (&marker.format, marker.version);
            return Err(bad(short(&format!(
                "{LOG_MARKER} says {format} version {version}, this program reads {FORMAT} version {VERSION}"
            ))));
        }
        if !(1..=PARTITIONS_MAX).contains(&marker.partitions) {
            let count = marker.partitions;
            return Err(bad(format!(
                "{LOG_MARKER} names {count} partitions, between 1 and {PARTITIONS_MAX} are possible"
            )));
        }
        Ok(marker)
    }
}

/// Where the whole lines of a partition end, by its folder; `None` where no log is to be seen there.
pub fn partition_end(partition: &Path) -> Option<u64> {
    segments::segments(partition).ok()?.last()?;
    segments::end_of_lines(partition).ok()
}

fn partition_directory(directory: &Path, partition: u32) -> PathBuf {
    directory.join(format!("partition={partition:05}"))
}
