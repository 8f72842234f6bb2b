//! The ledger: what belongs to which epoch, from its reading to its close.
//!
//! ```text
//! reader ──positions, arrivals──▶ ┐
//! workers ──event times heard───▶ ├─ by epoch ─▶ [all workers have closed it] ─▶ closed: positions, watermark ─▶ publisher
//!         ──first open epoch────▶ ┘
//! ```
//! Event times count in the order of the records, whichever worker decoded them first: the watermark does not depend on the workers.

use super::epoch_clock::Stamp;
use super::watermarks::Watermarks;
use crate::ingest::EventTimes;
use crate::numbers::{Epoch, Offset};
use std::collections::{BTreeMap, VecDeque};

/// An epoch that has closed, or several that are taken as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The last of them.
    pub epoch: Epoch,
    /// See [`Stamp::at_ms`].
    pub at_ms: u64,
    pub watermark: i64,
    /// The watermark that its records were read under: an earlier one, and no later than that of any epoch after it. `watermark`
    /// may be later than what those in flight meanwhile are read under.
    pub read_under: i64,
    /// Partitions that were read, and the offset after the last record that is in.
    pub positions: BTreeMap<u16, Offset>,
    /// Files whose records were pending and are in.
    pub merged: Vec<String>,
    /// See [`Stamp::again`].
    pub again: bool,
    /// Whether the epoch ends a checkpoint: by partition, the latest event time that is in.
    pub checkpoint: Option<Vec<Option<i64>>>,
}

pub struct Ledger {
    /// The first open epoch of each worker.
    open_of: Vec<Epoch>,
    /// Event times by epoch, by partition and the first offset of their chunks: the order of the records, whoever decoded them first.
    heard: BTreeMap<Epoch, BTreeMap<(u16, Offset), EventTimes>>,
    /// What was read, by epoch: partition, the offset after it.
    read: BTreeMap<Epoch, Vec<(u16, Offset)>>,
    /// Files whose records were pending: epoch, file.
    merged: VecDeque<(Epoch, String)>,
    watermarks: Watermarks,
    /// What closed and is not published.
    closed: VecDeque<Closed>,
}

impl Ledger {
    /// Where nothing is in yet but what these watermarks tell of.
    pub fn new(workers: usize, watermarks: Watermarks) -> Ledger {
        Ledger {
            open_of: vec![Epoch::NONE; workers],
            heard: BTreeMap::new(),
            read: BTreeMap::new(),
            merged: VecDeque::new(),
            watermarks,
            closed: VecDeque::new(),
        }
    }

    /// In this epoch partitions were read up to these positions.
    pub fn moved(&mut self, epoch: Epoch, moved: &[(u16, Offset)]) {
        assert!(
            self.closed.back().is_none_or(|last| last.epoch < epoch),
            "positions are entered before their epoch closes"
        );
        if !moved.is_empty() {
            self.read.entry(epoch).or_default().extend_from_slice(moved);
        }
    }

    /// Records of a partition were read.
    pub fn arrived(&mut self, partition: u16, now_ms: u64) {
        self.watermarks.arrived(partition, now_ms);
    }

    /// In this epoch the records of these files, which were pending, are merged.
    pub fn merged(&mut self, epoch: Epoch, files: Vec<String>) {
        self.merged.extend(files.into_iter().map(|file| (epoch, file)));
    }

    /// The chunk of a partition that begins at an offset has events of these times, or none.
    pub fn heard(&mut self, epoch: Epoch, place: (u16, Offset), times: EventTimes) {
        self.heard.entry(epoch).or_default().insert(place, times);
    }

    /// A worker has closed every epoch before `open`. Returns up to where it had before.
    pub fn close_of(&mut self, worker: usize, open: Epoch) -> Epoch {
        let before = std::mem::replace(&mut self.open_of[worker], open);
        assert!(before <= open, "worker {worker} has closed the epochs before {before} already: {open} is before that");
        before
    }

    /// The first epoch that some worker has not closed.
    pub fn open_of_all(&self) -> Epoch {
        self.open_of.iter().copied().min().unwrap_or_default()
    }

    /// All workers have closed the epoch of a stamp. No event time later than `most` is believed; partitions that were read to their
    /// ends are in `is_read`.
    pub fn close(&mut self, stamp: Stamp, ends_checkpoint: bool, most: i64, now_ms: u64, is_read: &[bool]) {
        let Stamp { epoch, at_ms, watermark: read_under, again, .. } = stamp;
        assert!(self.closed.back().is_none_or(|last| last.epoch < epoch), "epochs close in order, and each once");
        while let Some(entry) = self.heard.first_entry().filter(|entry| *entry.key() <= epoch) {
            for ((partition, _), times) in entry.remove() {
                self.watermarks.heard(partition, &times, most, now_ms);
            }
        }
        let mut positions = BTreeMap::new();
        while let Some(entry) = self.read.first_entry().filter(|entry| *entry.key() <= epoch) {
            positions.extend(entry.remove());
        }
        let mut merged = Vec::new();
        while let Some((_, file)) = self.merged.pop_front_if(|(of, _)| *of <= epoch) {
            merged.push(file);
        }
        let read = &self.read;
        let is_on_the_way = |ordinal| read.values().flatten().any(|(partition, _)| *partition == ordinal);
        let is_heard = |ordinal: u16| is_read.get(usize::from(ordinal)) == Some(&true) && !is_on_the_way(ordinal);
        self.watermarks.ask_few(is_heard, most);
        let watermark = self.watermarks.advance(now_ms, is_read);
        let checkpoint = ends_checkpoint.then(|| self.watermarks.latests());
        self.closed.push_back(Closed { epoch, at_ms, watermark, read_under, positions, merged, again, checkpoint });
    }

    /// Takes what closed before `open`, as one, up to the end of a checkpoint. `None` where that is nothing.
    pub fn take_closed(&mut self, open: Epoch) -> Option<Closed> {
        let mut all: Option<Closed> = None;
        while all.as_ref().is_none_or(|all| all.checkpoint.is_none())
            && let Some(closed) = self.closed.pop_front_if(|closed| closed.epoch < open)
        {
            let (mut positions, mut merged) = all.map_or_else(Default::default, |all| (all.positions, all.merged));
            positions.extend(closed.positions);
            merged.extend(closed.merged);
            all = Some(Closed { positions, merged, ..closed });
        }
        all
    }

    /// How far everything is complete now.
    pub fn advance(&mut self, now_ms: u64, is_read: &[bool]) -> i64 {
        self.watermarks.advance(now_ms, is_read)
    }

    /// The watermark of each partition, and whether it is idle.
    pub fn partitions(&self, now_ms: u64, is_read: &[bool]) -> Vec<(Option<i64>, bool)> {
        (0..).zip(is_read).map(|(partition, is_read)| self.watermarks.of(partition, now_ms, *is_read)).collect()
    }
}
