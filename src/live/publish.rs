//! From the workers' reports to published versions: an epoch shows when all workers have closed it.

use super::feed::{Closed, Feed};
use super::watermarks::Watermarks;
use super::worker::{Changes, Report};
use crate::serve::{Commit, Publisher, SourcePositions};
use millrace_connectors::source::PartitionInfo;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

/// Publishing takes at most about a fifth of the time: where it is dear, several epochs show at once.
const REST: u32 = 4;

/// The table of partitions, which grows.
pub type PartitionTable = Arc<RwLock<Vec<PartitionInfo>>>;

/// Puts the reports of all workers together.
pub struct Collector {
    /// The first open epoch of each worker.
    open: Vec<u64>,
    /// By the first epoch that they are not of.
    waiting: BTreeMap<u64, Changes>,
    /// By partition ordinal.
    positions: Vec<u64>,
}

impl Collector {
    /// `positions` are the offsets where reading begins, by partition ordinal.
    pub fn new(workers: usize, positions: Vec<u64>) -> Collector {
        Collector { open: vec![0; workers], waiting: BTreeMap::new(), positions }
    }

    /// Takes a report. Returns the first epoch that some worker has not closed.
    pub fn report(&mut self, report: Report) -> u64 {
        self.open[report.worker] = report.open;
        self.waiting.entry(report.open).or_default().extend(report.changes);
        self.open.iter().copied().min().unwrap_or(0)
    }

    /// What all workers have reported, as one commit.
    pub fn commit(&mut self, closed: &Closed, partitions: &[PartitionInfo]) -> Commit {
        let open = self.open.iter().copied().min().unwrap_or(0);
        let later = self.waiting.split_off(&open.saturating_add(1));
        let changes = std::mem::replace(&mut self.waiting, later).into_values().flatten().collect();
        for (&partition, &next) in &closed.positions {
            let index = usize::from(partition);
            if self.positions.len() <= index {
                self.positions.resize(index + 1, 0);
            }
            self.positions[index] = next;
        }
        Commit {
            epoch: closed.epoch,
            watermark: (closed.watermark != Watermarks::UNKNOWN).then_some(closed.watermark),
            positions: (!closed.positions.is_empty()).then(|| by_source(&self.positions, partitions)),
            changes,
        }
    }
}

/// Positions by ordinal, as positions by source and partition.
pub fn by_source(positions: &[u64], partitions: &[PartitionInfo]) -> Arc<[SourcePositions]> {
    let mut sources: Vec<SourcePositions> = Vec::new();
    for (info, &next) in partitions.iter().zip(positions) {
        let at = sources.iter().position(|known| known.source == info.source).unwrap_or_else(|| {
            sources.push(SourcePositions { source: info.source.clone(), next_offsets: Vec::new() });
            sources.len() - 1
        });
        let offsets = &mut sources[at].next_offsets;
        let partition = info.partition as usize;
        if offsets.len() <= partition {
            offsets.resize(partition + 1, 0);
        }
        offsets[partition] = next;
    }
    sources.into()
}

/// Publishes until all workers are gone.
pub fn publish(
    reports: &Receiver<Report>,
    feed: &Feed,
    partitions: &PartitionTable,
    mut collector: Collector,
    mut publisher: Publisher,
) {
    // When it was last published, and for how long it rests.
    let mut published: Option<(Instant, Duration)> = None;
    let mut unpublished = false;
    loop {
        let timeout = match published {
            Some((at, rest)) if unpublished => (at + rest).saturating_duration_since(Instant::now()),
            _ => Duration::from_secs(1),
        };
        match reports.recv_timeout(timeout) {
            Ok(report) => {
                let mut open = collector.report(report);
                // All that has come meanwhile.
                reports.try_iter().for_each(|report| open = collector.report(report));
                if let Some(closed) = feed.take_closed(open) {
                    let partitions = partitions.read().expect("no holder of the partitions panics");
                    publisher.add(collector.commit(&closed, &partitions));
                    unpublished = true;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                if unpublished {
                    publisher.publish();
                }
                return;
            }
        }
        let now = Instant::now();
        if unpublished && published.is_none_or(|(at, rest)| now >= at + rest) {
            publisher.publish();
            unpublished = false;
            published = Some((Instant::now(), now.elapsed() * REST));
        }
    }
}
