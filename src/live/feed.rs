//! The feed: what was read, stamped with epochs, for whichever worker is free.
//!
//! ```text
//! reader ──chunk──▶ [epoch clock: stamp] ──▶ read queue ──▶ workers
//!                        ▲      ▲                             │
//!     time, committer ───┘      └── watermark ── ledger ◀─────┘ event times heard, epochs closed
//!                                                   └── closed epochs ──▶ publisher
//! ```
//! Each of the three decides without locks, threads or time. The feed is what connects them: one lock, so that a chunk has the stamp that
//! is open when it is queued; the clock; and the wakers of those who wait.

use super::cluster::{Moved, Told};
use super::epoch_clock::EpochClock;
pub use super::epoch_clock::{Numbering, Rules, Stamp};
pub use super::ledger::Closed;
use super::ledger::Ledger;
use super::pace::Pace;
pub use super::read_queue::Work;
use super::read_queue::{ReadQueue, in_parts};
use super::wakers::Wakers;
use super::watermarks::Watermarks;
use crate::checkpoint::{CommitListener, Late, LookedUp, Merging};
use crate::clock::Clock;
use crate::ingest::EventTimes;
use crate::memory::Memory;
use crate::numbers::{Epoch, Offset};
use millrace_connectors::source::{Chunk, PartitionInfo, Remembered, SourceStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

struct State {
    epochs: EpochClock,
    queue: ReadQueue,
    ledger: Ledger,
    /// Which processes have read all that they will.
    finished: BTreeSet<usize>,
    /// Records that other processes have read.
    records_elsewhere: u64,
    /// By process, why it cannot reach its source.
    down_elsewhere: BTreeMap<usize, String>,
}

/// What the reader and the workers of a process need of a feed, whether it is the one that decides or one that follows it.
pub trait Feeding: Send + Sync {
    /// The calling worker is woken when there is something new.
    fn register(&self);
    /// What a worker is to do next, and the stamp that it has.
    fn next(&self) -> (Stamp, Work);
    /// The chunk of a partition that begins at an offset has events of these times, or none.
    fn heard(&self, epoch: Epoch, place: (u16, Offset), times: EventTimes);
    /// A worker has closed every epoch before `open`.
    fn close(&self, worker: usize, open: Epoch) -> Progress;
    /// Takes a chunk under the open epoch, if there is one, and how far reading has come in the partitions where it has
    /// moved. The reader asks for room before.
    fn push(&self, chunk: Option<Chunk>, moved: &[(u16, Offset)]);
    /// Does what time asks for. Returns how long nothing need be done unless records come.
    fn tick(&self) -> Duration;
    /// Waits until a chunk can be taken, `timeout` at most. False where it cannot.
    fn wait_for_room(&self, timeout: Duration) -> bool;
    /// Everything there is has been read, for now.
    fn caught_up(&self);
    /// The reader has found partitions: all there are, and where reading begins in each.
    fn found_partitions(&self, infos: &[PartitionInfo], begins: &[u64]);
    /// Partitions that another process has found, once.
    fn told_partitions(&self) -> Option<(Vec<PartitionInfo>, Vec<u64>)> {
        None
    }
    /// The reader reads nothing more.
    fn finish(&self);
}

/// The other processes of a cluster, from the one that decides.
struct Crew {
    processes: usize,
    tell: Box<dyn Fn(&Told) + Send + Sync>,
}

/// What a worker is told when it has closed epochs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// There is more that could have been read: nobody waits for this epoch more than for those after it.
    pub is_behind: bool,
    /// Of the epochs that it has closed since it was last told, those that end a report, ascending.
    pub report_ends: Vec<Epoch>,
}

pub struct Feed {
    rules: Rules,
    clock: Arc<dyn Clock>,
    source: Arc<SourceStatus>,
    memory: Arc<Memory>,
    state: Mutex<State>,
    room: Condvar,
    workers: Wakers,
    crew: Option<Crew>,
}

impl Feed {
    /// Epochs begin after `last_epoch`, and are counted on from it while it `reads_again` what an earlier run may have read.
    pub fn new(
        rules: Rules,
        clock: Arc<dyn Clock>,
        source: Arc<SourceStatus>,
        watermarks: Watermarks,
        workers: usize,
        last_epoch: Epoch,
        reads_again: bool,
    ) -> Feed {
        let epochs = EpochClock::new(rules, clock.now_ms(), watermarks.whole(), last_epoch, reads_again);
        let queue = ReadQueue::new(rules.reads_pending);
        let state = Mutex::new(State {
            epochs,
            queue,
            ledger: Ledger::new(workers, watermarks),
            finished: BTreeSet::new(),
            records_elsewhere: 0,
            down_elsewhere: BTreeMap::new(),
        });
        let (room, workers) = (Condvar::new(), Wakers::default());
        Feed { rules, clock, source, memory: Arc::default(), state, room, workers, crew: None }
    }

    /// One that decides for so many processes, and tells the others of it. They are told in the order of what is decided; `tell` does not
    /// block.
    pub fn of_cluster(self, processes: usize, tell: impl Fn(&Told) + Send + Sync + 'static) -> Feed {
        let state = self.state.into_inner().expect("no holder of the feed panics");
        let state = Mutex::new(State { epochs: state.epochs.of_processes(processes), ..state });
        Feed { state, crew: Some(Crew { processes, tell: Box::new(tell) }), ..self }
    }

    fn tell(&self, told: &Told) {
        self.crew.iter().for_each(|crew| (crew.tell)(told));
    }

    /// The stamp that is open.
    pub fn stamp(&self) -> Stamp {
        self.lock().epochs.open()
    }

    /// Another process has read records of an epoch, or found where its partitions end.
    pub fn read_elsewhere(&self, epoch: Epoch, records: u64, moved: &[Moved]) {
        let mut state = self.lock();
        let now_ms = self.clock.now_ms();
        let positions: Vec<(u16, Offset)> =
            moved.iter().filter(|one| one.is_read).map(|one| (one.partition, Offset(one.next))).collect();
        state.ledger.moved(epoch, &positions);
        self.source.with(|source| {
            for one in moved {
                let known = source.partitions.get_mut(usize::from(one.partition));
                let known = known.expect("no partition is read elsewhere that is not known here");
                (known.next, known.end, known.lost) = (one.next, one.end, one.lost);
                known.fault.clone_from(&one.fault);
                known.marks.push(one.mark.clone());
            }
        });
        moved.iter().filter(|one| one.has_records).for_each(|one| state.ledger.arrived(one.partition, now_ms));
        state.records_elsewhere += records;
        if epoch == state.epochs.open().epoch {
            state.epochs.stamped(records);
        }
        state.epochs.moved(&self.source);
        self.cut_if_due(&mut state, now_ms);
        drop(state);
        self.workers.wake();
    }

    /// How reading stands in another process. Of what cannot be reached it is not known whether there is more.
    pub fn stands_elsewhere(&self, process: usize, moved: &[Moved], down: Option<String>) {
        let mut state = self.lock();
        self.source.with(|source| {
            for one in moved {
                let known = source.partitions.get_mut(usize::from(one.partition));
                let known = known.expect("no partition is read elsewhere that is not known here");
                // Where it stands was said with what was read, in order.
                known.end = if down.is_some() { None } else { one.end };
                known.fault.clone_from(&one.fault);
            }
        });
        match down {
            Some(reason) => drop(state.down_elsewhere.insert(process, reason)),
            None => drop(state.down_elsewhere.remove(&process)),
        }
    }

    /// Why the source cannot be reached from some other process, where it cannot.
    pub fn down_elsewhere(&self) -> Option<String> {
        let state = self.lock();
        let first = state.down_elsewhere.iter().next();
        first.map(|(process, reason)| format!("from process {process}: {reason}"))
    }

    /// Whether this process reads nothing more, and has told the others so.
    pub fn is_finishing(&self) -> bool {
        self.lock().finished.contains(&0)
    }

    /// Another process has found nothing more to read in an epoch.
    pub fn caught_up_elsewhere(&self, process: usize, epoch: Epoch) {
        let mut state = self.lock();
        if epoch == state.epochs.open().epoch {
            state.epochs.caught_up(process, &self.source);
        }
    }

    /// A process reads nothing more. What all have read is all there will be.
    pub fn finish_of(&self, process: usize) {
        let mut state = self.lock();
        let first = state.finished.is_empty();
        state.finished.insert(process);
        if first {
            self.tell(&Told::Stop);
        }
        if state.finished.len() >= self.crew.as_ref().map_or(1, |crew| crew.processes) {
            state.epochs.finish();
            self.tell(&Told::Done { stamp: state.epochs.open() });
        }
        drop(state);
        self.workers.wake();
    }

    /// One that takes less where memory is short.
    pub fn within(self, memory: Arc<Memory>) -> Feed {
        Feed { memory, ..self }
    }

    fn pace(&self) -> Pace {
        self.rules.pace.under(self.memory.level())
    }

    /// Has what is pending merged. False where that is on its way, or nothing more comes.
    pub fn ask_to_merge(&self) -> bool {
        self.lock().epochs.ask_to_merge()
    }

    /// How far looking up what is pending has come.
    pub fn found(&self, found: LookedUp) {
        match found {
            LookedUp::Much => self.lock().epochs.checkpoints.hurry(),
            LookedUp::Most => self.lock().epochs.hold(),
            LookedUp::All(late) => self.merge(late),
        }
    }

    /// Has what was pending merged, in one epoch with what it takes to do so. Where there is nothing, things are forgotten again.
    fn merge(&self, late: Option<Late>) {
        // Before the lock: it may be much.
        let late = late.map(|Late { recalled, chunks, names, files }| (in_parts(recalled), chunks, names, files));
        let mut state = self.lock();
        match late {
            Some((recalled, chunks, names, files)) if !state.epochs.is_done() => {
                let stamp = state.epochs.open();
                state.epochs.stamped(chunks.iter().map(|chunk| u64::from(chunk.records)).sum());
                state.queue.push_late(stamp, names, recalled, chunks);
                state.ledger.merged(stamp.epoch, files);
                state.epochs.checkpoints.hurry();
            }
            _ => state.epochs.release(),
        }
        drop(state);
        self.workers.wake();
    }

    /// Closes the epochs before `open`. Returns whether another was cut.
    fn close_before(&self, state: &mut State, open: Epoch, now_ms: u64) -> bool {
        let mut closed_any = false;
        while let Some(stamp) = state.epochs.close(open) {
            self.close_epoch(state, stamp, now_ms);
            closed_any = true;
        }
        if let Some(last) = state.epochs.close_last(open) {
            self.close_epoch(state, last, now_ms);
            closed_any = true;
        }
        if closed_any {
            self.room.notify_one();
        }
        closed_any && self.cut_if_due(state, now_ms)
    }

    fn close_epoch(&self, state: &mut State, stamp: Stamp, now_ms: u64) {
        let ends_checkpoint = state.epochs.checkpoints.closed(stamp.epoch);
        state.ledger.close(stamp, ends_checkpoint, self.most(now_ms), now_ms, &self.is_read());
    }

    /// Takes what closed before `open`, as one, up to the end of a checkpoint. `None` where that is nothing.
    pub fn take_closed(&self, open: Epoch) -> Option<Closed> {
        self.lock().ledger.take_closed(open)
    }

    /// The epoch of the last checkpoint that is safe.
    pub fn last_committed(&self) -> Epoch {
        self.lock().epochs.checkpoints.last_committed()
    }

    /// No checkpoint is committed any more.
    pub fn commits_end(&self) {
        self.lock().epochs.checkpoints.end();
    }

    pub fn commits_are_over(&self) -> bool {
        self.lock().epochs.checkpoints.are_over()
    }

    /// Records that have been read.
    pub fn records_read(&self) -> u64 {
        let state = self.lock();
        state.queue.records() + state.records_elsewhere
    }

    /// The open epoch, and how many are in flight.
    pub fn epochs(&self) -> (Epoch, usize) {
        let state = self.lock();
        (state.epochs.open().epoch, state.epochs.in_flight())
    }

    /// The watermark of each partition, and whether it is idle.
    pub fn partitions(&self) -> Vec<(Option<i64>, bool)> {
        let is_read = self.is_read();
        self.lock().ledger.partitions(self.clock.now_ms(), &is_read)
    }

    fn cut_if_due(&self, state: &mut State, now_ms: u64) -> bool {
        let is_due = state.epochs.is_due(self.pace(), now_ms);
        if is_due {
            let watermark = state.ledger.advance(now_ms, &self.is_read());
            let ended = state.epochs.open().epoch;
            state.epochs.cut(watermark, now_ms);
            self.tell(&Told::Open { stamp: state.epochs.open(), ends_report: state.epochs.ends_report(ended) });
            self.room.notify_one();
        }
        is_due
    }

    /// What is kept of the partitions with these positions.
    pub fn kept(&self, positions: &[Offset]) -> Vec<Remembered> {
        self.source.with(|source| {
            let partitions = source.partitions.iter().zip(positions);
            partitions
                .map(|(state, &at)| Remembered { mark: state.marks.at(at.0).cloned(), lost: state.lost })
                .collect()
        })
    }

    /// The latest event time that is believed, UTC microseconds: no clock that is right is far ahead of this one.
    fn most(&self, now_ms: u64) -> i64 {
        self.rules.ahead_ms.and_then(|ahead| i64::try_from((now_ms + ahead) * 1_000).ok()).unwrap_or(i64::MAX)
    }

    fn is_read(&self) -> Vec<bool> {
        self.source.with(|source| source.partitions.iter().map(|partition| partition.is_read()).collect())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the feed panics")
    }
}

impl Feeding for Feed {
    fn register(&self) {
        self.workers.register();
    }

    fn next(&self) -> (Stamp, Work) {
        let mut state = self.lock();
        match state.queue.pop() {
            Some(next) => {
                self.room.notify_one();
                next
            }
            None if state.epochs.is_done() => (state.epochs.open(), Work::Done),
            None => (state.epochs.open(), Work::Nothing),
        }
    }

    fn heard(&self, epoch: Epoch, place: (u16, Offset), times: EventTimes) {
        self.lock().ledger.heard(epoch, place, times);
    }

    fn close(&self, worker: usize, open: Epoch) -> Progress {
        let mut state = self.lock();
        let before = state.ledger.close_of(worker, open);
        let report_ends = state.epochs.report_ends(before, open);
        let open = state.ledger.open_of_all();
        state.epochs.reports_ended(open);
        let now_ms = self.clock.now_ms();
        let cut = self.close_before(&mut state, open, now_ms);
        let is_behind = state.epochs.is_behind();
        drop(state);
        if cut {
            self.workers.wake();
        }
        Progress { is_behind, report_ends }
    }

    fn push(&self, chunk: Option<Chunk>, moved: &[(u16, Offset)]) {
        let mut state = self.lock();
        let now_ms = self.clock.now_ms();
        let stamp = state.epochs.open();
        state.ledger.moved(stamp.epoch, moved);
        if let Some(chunk) = chunk {
            state.ledger.arrived(chunk.partition, now_ms);
            state.epochs.stamped(u64::from(chunk.records));
            state.queue.push(stamp, chunk);
        }
        state.epochs.moved(&self.source);
        self.cut_if_due(&mut state, now_ms);
        drop(state);
        self.workers.wake();
    }

    fn tick(&self) -> Duration {
        let mut state = self.lock();
        let now_ms = self.clock.now_ms();
        let cut = self.cut_if_due(&mut state, now_ms);
        let look_again = self.pace().look_again(&state.epochs.moment(now_ms));
        drop(state);
        if cut {
            self.workers.wake();
        }
        look_again
    }

    fn wait_for_room(&self, timeout: Duration) -> bool {
        let full = |state: &mut State| state.queue.is_full(self.memory.level()) || !state.epochs.has_room(self.pace());
        let state = self.lock();
        let (mut state, _) = self.room.wait_timeout_while(state, timeout, full).expect("no holder of the feed panics");
        !full(&mut state)
    }

    fn caught_up(&self) {
        self.lock().epochs.caught_up(0, &self.source);
    }

    fn found_partitions(&self, infos: &[PartitionInfo], begins: &[u64]) {
        self.tell(&Told::Partitions { infos: infos.to_vec(), begins: begins.to_vec() });
    }

    fn finish(&self) {
        self.finish_of(0);
    }
}

impl CommitListener for Feed {
    fn committed(&self, epoch: Epoch) {
        self.lock().epochs.checkpoints.committed(epoch);
    }

    fn release(&self) {
        self.lock().epochs.release();
    }

    fn merging(&self) -> Merging {
        self.lock().epochs.merging()
    }
}

#[cfg(test)]
mod tests;
