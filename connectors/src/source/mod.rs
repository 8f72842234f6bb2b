//! Where records come from. A [`Source`] yields [`Chunk`]s: whole lines of one partition, with their offsets.
//!
//! What a path is, is seen from what is there: a log directory by its `log.json`, gzip, zstd and Parquet by their first
//! bytes, anything else is lines of text. What other formats begin with is refused: it is no text.

mod buffer;
mod chunk;
mod compression;
mod cutter;
mod error;
mod files;
mod gzip;
mod json_text;
pub mod kafka;
mod kept;
mod listing;
mod live;
pub mod log;
mod once;
mod parquet_rows;
mod progress;
mod reader;

pub use chunk::{Chunk, MessageChunk, RawRecord, Records};
pub use error::SourceError;
pub use kept::{Lost, Mark, Marks, Remembered};
pub use live::{Connection, LiveSource, PartitionState, SourceState, SourceStatus};
pub use once::{Failures, Once};
pub use progress::Progress;
pub use reader::{Reader, open};

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One ordered, replayable run of records: a file, a partition of a log or of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionInfo {
    /// What reports call it: the path as it was given, a topic's name.
    pub source: String,
    /// Its number within the source (for files, the ordinal among all that are read).
    pub partition: u32,
    pub path: PathBuf,
}

/// Where reading begins, of partitions that have no position yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
    /// At the first record that the transport received then or later, UTC microseconds.
    Timestamp(i64),
}

/// What an earlier run has left: its table of partitions, and of each the next offset. The ordinals stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    pub partitions: Vec<PartitionInfo>,
    pub positions: Vec<u64>,
    /// What else is kept of each; shorter where nothing is.
    pub kept: Vec<Remembered>,
}

impl Resume {
    /// The ordinal and the position of a partition that was read before.
    pub fn find(&self, source: &str, partition: u32) -> Option<(usize, u64)> {
        let known = |info: &PartitionInfo| info.source == source && info.partition == partition;
        let ordinal = self.partitions.iter().position(known)?;
        Some((ordinal, self.positions[ordinal]))
    }

    /// What is known of the partitions before anything is read.
    pub fn states(&self) -> Vec<PartitionState> {
        let state = |(ordinal, &next): (usize, &u64)| {
            let Remembered { mark, lost } = self.kept.get(ordinal).cloned().unwrap_or_default();
            let mut state = PartitionState { next, lost, ..PartitionState::default() };
            state.marks.push(mark);
            state
        };
        self.positions.iter().enumerate().map(state).collect()
    }
}

/// Which partitions are read here, where several processes share a source: each knows all of them, and reads those that it is dealt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deal {
    /// From 0 on.
    pub process: usize,
    /// How many there are.
    pub processes: usize,
}

impl Deal {
    /// To one process that reads everything.
    pub const ALL: Deal = Deal { process: 0, processes: 1 };

    /// Whether the partition of an ordinal is read here.
    pub fn reads(self, ordinal: usize) -> bool {
        assert!(self.process < self.processes, "process {} of {}", self.process, self.processes);
        ordinal % self.processes == self.process
    }

    /// Whether it is found out here which partitions there are. The others are told: so all have the same ordinals.
    pub fn discovers(self) -> bool {
        self.process == 0
    }
}

/// How chunks are cut, and of which partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// About how many bytes of whole lines a chunk holds.
    pub chunk_bytes: usize,
    /// The most records a chunk holds.
    pub max_records: u32,
    /// Of a longer line only so many bytes are kept, so that one line cannot fill the memory. More than the
    /// decoder's own limit of a record, or a line that was cut could pass for a whole one.
    pub max_line_bytes: usize,
    pub deal: Deal,
}

impl Default for ReadOptions {
    fn default() -> ReadOptions {
        ReadOptions { chunk_bytes: 512 << 10, max_records: 8_192, max_line_bytes: 16 << 20, deal: Deal::ALL }
    }
}

/// A reader of one or many partitions.
///
/// # Contract
/// - The `partition` of a chunk is an index into [`Source::partitions`]; the table only ever grows.
/// - Chunks of one partition come in the order of their offsets, and no record is left out between two of them.
///   Nothing is promised about the order between partitions.
/// - `None` says that nothing is left, or for a source that is tailed, that there is nothing for now: ask again later.
/// - An error is about one partition, and everything before the fault was handed out before it. A further call goes on
///   with the other partitions.
pub trait Source: Send {
    fn partitions(&self) -> &[PartitionInfo];

    /// # Errors
    /// [`SourceError`] where a partition cannot be read on.
    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError>;

    fn progress(&self) -> Progress;
}
