//! From the workers' reports to published versions: an epoch shows when all workers have closed it.

use super::feed::{Closed, Feed};
use super::watermarks::Watermarks;
use super::worker::Report;
use crate::checkpoint::Cut;
use crate::ingest::PartitionTable;
use crate::numbers::{Epoch, Offset};
use crate::serve::{Commit, Published, Publisher, SourcePositions};
use millrace_connectors::source::PartitionInfo;
use millrace_schema::Name;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// Publishing takes at most about a fifth of the time: where it is dear, several epochs show at once.
const REST: u32 = 4;

/// Puts the reports of all workers together.
pub struct Collector {
    /// The first open epoch of each worker.
    open: Vec<Epoch>,
    waiting: Vec<Report>,
    /// By partition ordinal.
    positions: Vec<Offset>,
    /// The sources of so many partitions have been named.
    partitions_named: usize,
    /// Files whose records were pending and are in, since the last checkpoint.
    merged: Vec<String>,
}

impl Collector {
    /// `positions` are the offsets where reading begins, by partition ordinal.
    pub fn new(workers: usize, positions: Vec<Offset>) -> Collector {
        let open = vec![Epoch::NONE; workers];
        Collector { open, waiting: Vec::new(), positions, partitions_named: 0, merged: Vec::new() }
    }

    pub fn report(&mut self, report: Report) {
        self.open[report.worker] = report.open;
        self.waiting.push(report);
    }

    /// The first epoch of which some worker has not reported all, or only together with what is later.
    pub fn boundary(&self) -> Epoch {
        let mut boundary = self.open.iter().copied().min().unwrap_or_default();
        while let Some(across) = self.waiting.iter().find(|report| report.from < boundary && boundary < report.open) {
            boundary = across.from;
        }
        boundary
    }

    /// What all workers have reported of the epochs up to one that has closed, as one commit.
    pub fn commit(&mut self, closed: &Closed, boundary: Epoch, partitions: &[PartitionInfo]) -> Commit {
        // There is no epoch between it and the boundary, unless a checkpoint ends with it: then a report does, too.
        let until = if closed.checkpoint.is_some() { closed.epoch.next() } else { boundary };
        let (mut changes, mut names) = (Vec::new(), self.new_sources(partitions));
        for report in self.waiting.extract_if(.., |report| report.open <= until) {
            changes.extend(report.changes);
            names.extend(report.names);
        }
        for (&partition, &next) in &closed.positions {
            let index = usize::from(partition);
            if self.positions.len() <= index {
                self.positions.resize(index + 1, Offset(0));
            }
            self.positions[index] = next;
        }
        self.merged.extend(closed.merged.iter().cloned());
        Commit {
            epoch: closed.epoch.0,
            at_ms: closed.at_ms,
            watermark: known(closed.watermark),
            positions: (!closed.positions.is_empty()).then(|| by_source(&self.positions, partitions)),
            names,
            changes,
        }
    }

    /// The sources of partitions that are new: what is counted of records carries their names.
    fn new_sources(&mut self, partitions: &[PartitionInfo]) -> Vec<(Name, Arc<str>)> {
        let new = partitions.get(self.partitions_named..).unwrap_or_default();
        self.partitions_named += new.len();
        new.iter().map(|info| (Name::of(&info.source), Arc::from(&*info.source))).collect()
    }
}

fn known(watermark: i64) -> Option<i64> {
    (watermark != Watermarks::UNKNOWN).then_some(watermark)
}

/// Positions by ordinal, as positions by source and partition.
pub fn by_source(positions: &[Offset], partitions: &[PartitionInfo]) -> Arc<[SourcePositions]> {
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
        offsets[partition] = next.0;
    }
    sources.into()
}

/// How often it is looked whether a checkpoint is committed that a version waits for.
const LOOK: Duration = Duration::from_millis(20);

/// Where the publisher says what it knows at checkpoints.
pub type Cuts = Option<Sender<Cut>>;

/// Which versions no reader may see before a checkpoint has them: killed before, the next run would not have what they have.
#[derive(Default)]
struct Withheld {
    /// The last epoch is of what is read again. The next run would give it to other records.
    again: bool,
    /// The last epoch with records that were pending. The next run would have them pending again.
    merged: Option<Epoch>,
    /// What shows once it is committed.
    version: Option<Published>,
}

impl Withheld {
    fn closed(&mut self, closed: &Closed) {
        self.again = closed.again;
        if !closed.merged.is_empty() {
            self.merged = Some(closed.epoch);
        }
    }

    /// Whether the last epoch may not show yet.
    fn any(&self) -> bool {
        self.again || self.merged.is_some()
    }

    /// The last checkpoint is that of `epoch`. Returns what may show now.
    fn committed(&mut self, epoch: Epoch) -> Option<Published> {
        self.merged = self.merged.filter(|merged| *merged > epoch);
        if !self.any() {
            // What comes next is newer.
            self.version = None;
        }
        self.version.take_if(|version| version.epoch <= epoch.0)
    }
}

/// Publishes until all workers are gone.
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
    let mut withheld = Withheld::default();
    loop {
        let timeout = match published {
            _ if withheld.any() => LOOK,
            Some((at, rest)) if unpublished => (at + rest).saturating_duration_since(Instant::now()),
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
                    unpublished = true;
                    withheld.closed(&closed);
                    if let (Some(cuts), Some(latests)) = (cuts, closed.checkpoint) {
                        let read_under = known(closed.read_under);
                        let merged = std::mem::take(&mut collector.merged);
                        let (version, positions) = (publisher.version(), collector.positions.clone());
                        let kept = feed.kept(&positions);
                        if withheld.any() {
                            withheld.version = Some(version.clone());
                        } else {
                            publisher.show(version.clone());
                        }
                        // Where nobody listens, the committer has failed, and says so itself.
                        let _ = cuts.send(Cut {
                            version,
                            read_under,
                            positions,
                            latests,
                            kept,
                            merged,
                            partitions: partitions.clone(),
                        });
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if let Some(version) = withheld.committed(feed.last_committed()) {
            publisher.show(version);
        }
        let now = Instant::now();
        if unpublished && !withheld.any() && published.is_none_or(|(at, rest)| now >= at + rest) {
            publisher.publish();
            unpublished = false;
            published = Some((Instant::now(), now.elapsed() * REST));
        }
    }
    // The last checkpoint has all there is, if it is committed.
    while withheld.any() {
        let is_over = feed.commits_are_over();
        if let Some(version) = withheld.committed(feed.last_committed()) {
            publisher.show(version);
        }
        if is_over {
            return;
        }
        std::thread::sleep(LOOK);
    }
    if unpublished {
        publisher.publish();
    }
}

#[cfg(test)]
mod tests {
    use super::super::feed::{Feeding, Numbering, Rules};
    use super::super::pace::Pace;
    use super::*;
    use crate::checkpoint::{CommitListener, Late, LookedUp};
    use crate::clock::SetClock;
    use crate::settings::Settings;
    use millrace_connectors::source::{MessageChunk, SourceStatus};
    use millrace_dataflows::context::{Partitions, Shared};
    use millrace_schema::Names;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc::channel;

    #[test]
    fn a_commit_carries_the_names_that_are_new_with_it() {
        let mut collector = Collector::new(2, vec![Offset(0)]);
        let named = |text: &&str| (Name::of(text), Arc::from(*text));
        let report = |worker, from, open, names: &[&str]| Report {
            worker,
            from: Epoch(from),
            open: Epoch(open),
            changes: Vec::new(),
            names: names.iter().map(named).collect(),
        };
        let partitions = [PartitionInfo { source: "shop".to_owned(), partition: 0, path: Default::default() }];
        let mut commit = |reports: [Report; 2], epoch| {
            reports.into_iter().for_each(|report| collector.report(report));
            let closed = Closed {
                epoch: Epoch(epoch),
                at_ms: 0,
                watermark: 0,
                read_under: 0,
                positions: Default::default(),
                merged: Vec::new(),
                again: false,
                checkpoint: None,
            };
            let boundary = collector.boundary();
            collector.commit(&closed, boundary, &partitions).names
        };
        // Up to epoch 5 both have reported; what one says of 6 and 7 waits for the other.
        let first = commit([report(0, 0, 6, &["tea"]), report(1, 0, 6, &["mug"])], 5);
        assert_eq!(first, ["shop", "tea", "mug"].iter().map(named).collect::<Vec<_>>());
        let second = commit([report(0, 6, 8, &["jug"]), report(1, 6, 7, &["jug"])], 5);
        assert!(second.is_empty(), "{second:?}");
        let third = commit([report(1, 7, 8, &[]), report(0, 8, 9, &["cup"])], 7);
        assert_eq!(third, ["jug", "jug"].iter().map(named).collect::<Vec<_>>());
    }

    /// Killed before, the next run would have them pending.
    #[test]
    fn what_was_pending_shows_once_it_is_committed() {
        let pace = Pace { tick_ms: 10, behind_tick_ms: 10, idle_tick_ms: 10, epoch_records: 100, epochs_in_flight: 9 };
        let rules = Rules {
            pace,
            numbering: Numbering::Clock,
            checkpoint_ms: Some(1_000_000),
            only_the_end_counts: false,
            reads_pending: false,
            read_at_ms: None,
            ahead_ms: None,
        };
        let (clock, status) = (Arc::new(SetClock(AtomicU64::new(2_000_000))), Arc::new(SourceStatus::default()));
        status.with(|source| source.partitions.resize_with(1, Default::default));
        let feed =
            Feed::new(rules, clock.clone(), status, Watermarks::new(0, 0, 86_400_000_000), 1, Epoch::NONE, false);
        let context = Settings::default().validate().expect("the defaults hold").views;
        let shared = Shared::new(Arc::new(context), Arc::new(Names::default()), Arc::new(Partitions::default()));
        let publisher = Publisher::new(&shared, &["quality"], Duration::ZERO);
        let board = publisher.board();
        let (reports, reported) = channel();
        let (cuts, cut) = channel();
        std::thread::scope(|scope| {
            let shown = &feed;
            scope.spawn(move || {
                let collector = Collector::new(1, vec![Offset(0)]);
                publish(&reported, shown, &PartitionTable::default(), collector, publisher, &Some(cuts));
            });
            let mut from = Epoch::NONE;
            // Ends the open epoch. Returns it, and whether it shows in time.
            let mut epoch = || {
                clock.0.fetch_add(20, Ordering::Relaxed);
                feed.tick();
                let open = feed.next().0.epoch;
                feed.close(0, open);
                let ended = Epoch(open.0 - 20);
                let _ = reports.send(Report { worker: 0, from, open, changes: Vec::new(), names: Vec::new() });
                from = open;
                let shows = (0..50).any(|_| {
                    std::thread::sleep(Duration::from_millis(5));
                    board.current().epoch >= ended.0
                });
                (ended, shows)
            };
            // The first epoch ends a checkpoint.
            assert!(epoch().1 && epoch().1);
            feed.committed(Epoch(cut.recv().expect("there is one").version.epoch));
            assert!(feed.ask_to_merge());
            feed.found(LookedUp::Most);
            assert!(epoch().1);
            let on_the_way = Epoch(cut.recv().expect("it does not wait").version.epoch);
            let mut chunk = MessageChunk::new(0, None, usize::MAX);
            chunk.push(7, None, b"{}");
            let chunks = chunk.finish().into_iter().collect();
            let files = vec!["pending/a".to_owned()];
            feed.found(LookedUp::All(Some(Late { recalled: Vec::new(), chunks, names: Vec::new(), files })));
            assert!(matches!(feed.next().1, super::super::feed::Work::Late(_)));
            let (merged, shows) = epoch();
            assert!(!shows && !epoch().1);
            let cut = cut.recv().expect("it does not wait");
            assert_eq!((cut.version.epoch, &*cut.merged), (merged.0, &["pending/a".to_owned()][..]));
            feed.committed(on_the_way);
            assert!(!epoch().1, "it is not in that one");
            feed.committed(merged);
            assert!(epoch().1);
            drop(reports);
            feed.commits_end();
        });
    }
}
