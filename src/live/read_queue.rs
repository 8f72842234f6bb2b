//! The read queue: what was read, stamped, for whichever worker is free.
//!
//! ```text
//! reader ──chunk, stamp──▶ queue ──▶ workers
//! what was pending, and what is recalled for it ──▶ ┘
//! ```
//! Epochs in it never fall. How much it holds is bounded by chunks, fewer where memory is short.

use super::epoch_clock::Stamp;
use crate::memory::Level;
use millrace_connectors::source::Chunk;
use millrace_dataflows::durable::Kept;
use millrace_schema::Named;
use std::collections::VecDeque;

/// Rows that a worker remembers again at a time. Where assertions are on, one: a visit is in the hands of several workers then.
pub const RECALLED_AT_ONCE: usize = if cfg!(debug_assertions) { 1 } else { 4_096 };
/// Chunks that may wait for a worker, and how many where memory is scarce.
const QUEUE_CHUNKS: usize = 16;
const QUEUE_CHUNKS_SCARCE: usize = 2;

/// What a worker finds.
#[derive(Debug)]
pub enum Work {
    Chunk(Chunk),
    /// Records that were pending until now.
    Late(Chunk),
    /// Names that the events carry which are to be remembered again.
    Names(Vec<Named>),
    /// Events that are to be remembered again.
    Recalled(Vec<Kept>),
    /// Nothing for now. What is to come has this stamp or a later one.
    Nothing,
    /// Nothing will come any more. The last epoch has this stamp, and it ends a checkpoint.
    Done,
}

#[derive(Debug)]
pub struct ReadQueue {
    /// All that is read was pending until now.
    reads_pending: bool,
    waiting: VecDeque<(Stamp, Work)>,
    /// Records that were pushed by the reader, of all epochs.
    records: u64,
}

impl ReadQueue {
    /// Of chunks that were all pending until now, or of new ones.
    pub fn new(reads_pending: bool) -> ReadQueue {
        ReadQueue { reads_pending, waiting: VecDeque::new(), records: 0 }
    }

    /// Takes what was read.
    pub fn push(&mut self, stamp: Stamp, chunk: Chunk) {
        self.records += u64::from(chunk.records);
        self.add(stamp, if self.reads_pending { Work::Late(chunk) } else { Work::Chunk(chunk) });
    }

    /// Takes what was pending, after what it takes to merge it.
    pub fn push_late(&mut self, stamp: Stamp, names: Vec<Named>, recalled: Vec<Vec<Kept>>, chunks: Vec<Chunk>) {
        if !names.is_empty() {
            self.add(stamp, Work::Names(names));
        }
        recalled.into_iter().for_each(|rows| self.add(stamp, Work::Recalled(rows)));
        chunks.into_iter().for_each(|chunk| self.add(stamp, Work::Late(chunk)));
    }

    fn add(&mut self, stamp: Stamp, work: Work) {
        assert!(
            self.waiting.back().is_none_or(|(last, _)| last.epoch <= stamp.epoch),
            "epochs in the queue never fall"
        );
        self.waiting.push_back((stamp, work));
    }

    /// What comes next.
    pub fn pop(&mut self) -> Option<(Stamp, Work)> {
        self.waiting.pop_front()
    }

    /// Whether it takes no more where so much memory is left.
    pub fn is_full(&self, level: Level) -> bool {
        let most = match level {
            Level::Free | Level::Tight => QUEUE_CHUNKS,
            Level::Scarce => QUEUE_CHUNKS_SCARCE,
            Level::Over => 0,
        };
        self.waiting.len() >= most
    }

    /// Records that the reader has read.
    pub fn records(&self) -> u64 {
        self.records
    }
}

/// Each part has room for its own rows and no more.
pub fn in_parts(recalled: Vec<Kept>) -> Vec<Vec<Kept>> {
    let mut rows = recalled.into_iter();
    std::iter::from_fn(|| {
        Some(rows.by_ref().take(RECALLED_AT_ONCE).collect()).filter(|part: &Vec<Kept>| !part.is_empty())
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::Epoch;
    use millrace_connectors::source::MessageChunk;

    #[test]
    fn where_memory_is_short_little_waits() {
        let stamp =
            Stamp { epoch: Epoch(1), at_ms: 0, watermark: 0, checkpoint: Epoch::NONE, forgets: true, again: false };
        let mut queue = ReadQueue::new(false);
        let mut is_full = Vec::new();
        for offset in 0..17 {
            is_full.push([Level::Over, Level::Scarce, Level::Tight].map(|level| queue.is_full(level)));
            let mut chunk = MessageChunk::new(0, None, usize::MAX);
            chunk.push(offset, None, b"{}");
            queue.push(stamp, chunk.finish().expect("it has a record"));
        }
        let first_full = |level: usize| is_full.iter().position(|full| full[level]);
        assert_eq!([0, 1, 2].map(first_full), [Some(0), Some(2), Some(16)]);
        assert_eq!(queue.records(), 17);
    }
}
