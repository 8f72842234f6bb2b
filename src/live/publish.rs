//! From the workers' reports to published versions: an epoch shows when all workers have closed it.

use super::feed::{Closed, Feed};
use super::watermarks::Watermarks;
use super::worker::Report;
use crate::checkpoint::Cut;
use crate::serve::{Commit, Published, Publisher, SourcePositions};
use millrace_connectors::source::PartitionInfo;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
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
    waiting: Vec<Report>,
    /// By partition ordinal.
    positions: Vec<u64>,
    /// Files whose records were pending and are in, since the last checkpoint.
    merged: Vec<String>,
}

impl Collector {
    /// `positions` are the offsets where reading begins, by partition ordinal.
    pub fn new(workers: usize, positions: Vec<u64>) -> Collector {
        Collector { open: vec![0; workers], waiting: Vec::new(), positions, merged: Vec::new() }
    }

    pub fn report(&mut self, report: Report) {
        self.open[report.worker] = report.open;
        self.waiting.push(report);
    }

    /// The first epoch of which some worker has not reported all, or only together with what is later.
    pub fn boundary(&self) -> u64 {
        let mut boundary = self.open.iter().copied().min().unwrap_or(0);
        while let Some(across) = self.waiting.iter().find(|report| report.from < boundary && boundary < report.open) {
            boundary = across.from;
        }
        boundary
    }

    /// What all workers have reported of the epochs up to one that has closed, as one commit.
    pub fn commit(&mut self, closed: &Closed, boundary: u64, partitions: &[PartitionInfo]) -> Commit {
        // There is no epoch between it and the boundary, unless a checkpoint ends with it: then a report does, too.
        let until = if closed.checkpoint.is_some() { closed.epoch + 1 } else { boundary };
        let changes = self.waiting.extract_if(.., |report| report.open <= until).flat_map(|report| report.changes);
        let changes = changes.collect();
        for (&partition, &next) in &closed.positions {
            let index = usize::from(partition);
            if self.positions.len() <= index {
                self.positions.resize(index + 1, 0);
            }
            self.positions[index] = next;
        }
        self.merged.extend(closed.merged.iter().cloned());
        Commit {
            epoch: closed.epoch,
            watermark: known(closed.watermark),
            positions: (!closed.positions.is_empty()).then(|| by_source(&self.positions, partitions)),
            changes,
        }
    }
}

fn known(watermark: i64) -> Option<i64> {
    (watermark != Watermarks::UNKNOWN).then_some(watermark)
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

/// How often it is looked whether a checkpoint is committed that a version waits for.
const LOOK: Duration = Duration::from_millis(20);

/// Where the publisher says what it knows at checkpoints.
pub type Cuts = Option<Sender<Cut>>;

/// Publishes until all workers are gone. While what an earlier run may have read is read again, a version shows when a checkpoint has it:
/// killed before, the next run would give its epoch to other records.
pub fn publish(
    reports: &Receiver<Report>,
    feed: &Feed,
    partitions: &PartitionTable,
    mut collector: Collector,
    mut publisher: Publisher,
    cuts: &Cuts,
) {
    // When it was last published, and for how long it rests.
    let mut published: Option<(Instant, Duration)> = None;
    let mut unpublished = false;
    // The last epoch is of what is read again; the version that shows once it is committed.
    let mut is_again = false;
    let mut withheld: Option<Published> = None;
    loop {
        let timeout = match published {
            Some((at, rest)) if unpublished && !is_again => (at + rest).saturating_duration_since(Instant::now()),
            _ if withheld.is_some() => LOOK,
            _ => Duration::from_secs(1),
        };
        match reports.recv_timeout(timeout) {
            Ok(report) => {
                collector.report(report);
                // All that has come meanwhile.
                reports.try_iter().for_each(|report| collector.report(report));
                let boundary = collector.boundary();
                while let Some(closed) = feed.take_closed(boundary) {
                    let partitions = partitions.read().expect("no holder of the partitions panics");
                    publisher.add(collector.commit(&closed, boundary, &partitions));
                    (unpublished, is_again) = (true, closed.again);
                    if let (Some(cuts), Some(latests)) = (cuts, closed.checkpoint) {
                        let read_under = known(closed.read_under);
                        let merged = std::mem::take(&mut collector.merged);
                        let (version, positions) = (publisher.version(), collector.positions.clone());
                        if is_again {
                            withheld = Some(version.clone());
                        } else {
                            publisher.show(version.clone());
                        }
                        // Where nobody listens, the committer has failed, and says so itself.
                        let _ = cuts.send(Cut {
                            version,
                            read_under,
                            positions,
                            latests,
                            merged,
                            partitions: partitions.clone(),
                        });
                    }
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
        if !is_again {
            withheld = None;
        } else if let Some(version) = withheld.take_if(|version| version.epoch <= feed.last_committed()) {
            publisher.show(version);
        }
        let now = Instant::now();
        if unpublished && !is_again && published.is_none_or(|(at, rest)| now >= at + rest) {
            publisher.publish();
            unpublished = false;
            published = Some((Instant::now(), now.elapsed() * REST));
        }
    }
}
