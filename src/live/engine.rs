//! The running engine, as serving sees it.

use super::feed::Feed;
use super::rejects::{RecentRejects, RejectExample};
use crate::checkpoint::{CommitListener, Counts, Merging};
use crate::ingest::{PartitionTable, QUARANTINE_COLUMNS};
use crate::memory::{Memory, usage};
use crate::numbers::Epoch;
use crate::serve::status::{Engine, EngineStatus, PartitionStatus};
use millrace_connectors::source::{Connection, PartitionInfo, PartitionState, SourceStatus};
use millrace_dataflows::context::Shared;
use millrace_dataflows::table::Table;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

pub struct LiveEngine {
    pub(super) feed: Arc<Feed>,
    pub(super) source: Arc<SourceStatus>,
    pub(super) shared: Shared,
    pub(super) partitions: PartitionTable,
    pub(super) rejects: Arc<RecentRejects>,
    pub(super) workers: usize,
    pub(super) started_at_ms: i64,
    /// The effective settings as they may be shown.
    pub(super) settings: String,
    pub(super) memory: Arc<Memory>,
    pub(super) stop: Arc<AtomicBool>,
    /// Of its lake, if it has one.
    pub(super) counts: Option<Arc<Counts>>,
    /// Why its first thread that failed has.
    pub(super) failed: OnceLock<String>,
}

impl LiveEngine {
    /// A thread has failed: what is read is closed, and all end.
    pub(super) fn fail(&self, error: &anyhow::Error) {
        // The first explains the others.
        let _ = self.failed.set(format!("{error:#}"));
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Records that have been read.
    pub fn records(&self) -> u64 {
        self.feed.records_read()
    }

    /// Begins to merge what is pending. False where it does already, or has ended.
    pub fn merge_pending(&self) -> bool {
        self.feed.ask_to_merge()
    }

    pub fn is_merging(&self) -> bool {
        self.feed.merging() != Merging::No
    }

    /// The epoch of the last checkpoint that is safe.
    pub fn last_committed(&self) -> Epoch {
        self.feed.last_committed()
    }

    /// A rejected record of each rule that has rejected something in this run.
    pub fn reject_examples(&self) -> BTreeMap<&'static str, RejectExample> {
        self.rejects.examples(&self.partitions.read().expect("no holder of the partitions panics"))
    }

    fn partitions(&self) -> Vec<PartitionStatus> {
        let watermarks = self.feed.partitions();
        let source = self.source.get();
        let table = self.partitions.read().expect("no holder of the partitions panics");
        let states = source.partitions.into_iter();
        let status = |(ordinal, (info, state)): (usize, (&PartitionInfo, PartitionState))| {
            let (watermark, idle) = watermarks.get(ordinal).copied().unwrap_or_default();
            PartitionStatus {
                source: info.source.clone(),
                partition: info.partition,
                next_offset: state.next,
                end_offset: state.end,
                watermark,
                idle,
                lost: state.lost.records,
                fault: state.fault,
            }
        };
        table.iter().zip(states).enumerate().map(status).collect()
    }
}

impl Engine for LiveEngine {
    fn status(&self) -> EngineStatus {
        let (epoch, in_flight) = self.feed.epochs();
        EngineStatus {
            epoch: epoch.0,
            epochs_in_flight: in_flight as u64,
            workers: self.workers,
            started_at_ms: self.started_at_ms,
            memory_bytes: usage::rss_bytes(),
            memory_limit_bytes: self.memory.limit(),
            cpu_seconds: usage::cpu_time().as_secs_f64(),
            source_down: self
                .source
                .with(|source| match &source.connection {
                    Connection::Up => None,
                    Connection::Down(reason) => Some(reason.clone()),
                })
                .or_else(|| self.feed.down_elsewhere()),
            partitions: self.partitions(),
            held: self.shared.held.all().map(|(name, count)| (name.to_owned(), count as u64)).collect(),
            standing_by: false,
            draining: self.stop.load(Ordering::Relaxed),
            failed: self.failed.get().cloned(),
            lake: self.counts.as_ref().map(|counts| counts.status()),
        }
    }

    fn drain(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn refuses_reads(&self) -> Option<String> {
        self.memory.refuses_reads()
    }

    fn quarantine(&self) -> Table {
        self.rejects.table(&self.partitions.read().expect("no holder of the partitions panics"))
    }

    fn quarantine_columns(&self) -> Vec<String> {
        QUARANTINE_COLUMNS.map(str::to_owned).to_vec()
    }

    fn settings(&self) -> String {
        self.settings.clone()
    }
}
