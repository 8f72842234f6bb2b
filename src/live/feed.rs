//! The feed: what was read, stamped with epochs, for whichever worker is free.
//!
//! ```text
//! reader ──chunk──▶ [stamp with the open epoch] ──▶ queue ──▶ workers
//! what was pending, and what is recalled for it ──▶ ┘               │
//! time, closed epochs ──▶ [cut: the next epoch begins]            │ event times heard
//!                              └── watermark ◀────────────────────┘
//! ```
//! This is the clock of all workers: a chunk's epoch is decided here, before anybody decodes it, so which record is in which epoch
//! does not depend on the workers. Epochs in the queue never fall.

use super::again::ReadAgain;
use super::checkpoints::Checkpoints;
use super::pace::{Moment, Pace};
use super::watermarks::Watermarks;
use crate::checkpoint::{CommitListener, Late, LookedUp, Merging};
use crate::clock::Clock;
use crate::ingest::EventTimes;
use crate::memory::{Level, Memory};
use crate::numbers::{Epoch, Offset};
use millrace_connectors::source::{Chunk, Remembered, SourceStatus};
use millrace_dataflows::durable::Kept;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::Thread;
use std::time::Duration;

/// Rows that a worker remembers again at a time. Where assertions are on, one: a visit is in the hands of several workers then.
const RECALLED_AT_ONCE: usize = if cfg!(debug_assertions) { 1 } else { 4_096 };
/// Chunks that may wait for a worker, and how many where memory is scarce.
const QUEUE_CHUNKS: usize = 16;
const QUEUE_CHUNKS_SCARCE: usize = 2;
/// While reading is behind, a worker nets the changes of so many milliseconds of the clock before it reports them. All workers end a
/// report with the same epochs, those that are the last of such a time, so that there are epochs up to which all have reported everything.
const REPORT_MS: u64 = 2_000;

/// What a record is read under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub epoch: Epoch,
    /// The wall-clock time of the epoch: when it began, in milliseconds since 1970. Whatever was read before is in by then. Where only what
    /// an earlier run has read is read, it is that run's: see [`Rules::read_at_ms`].
    pub at_ms: u64,
    /// How far everything was complete when the epoch began, UTC microseconds.
    pub watermark: i64,
    /// The last epoch before it that ends a checkpoint, if one does.
    pub checkpoint: Epoch,
    /// Whether anything is forgotten at its end.
    pub forgets: bool,
    /// It is counted on from the last checkpoint, for what an earlier run may have read is read again.
    pub again: bool,
}

/// What a worker finds.
#[derive(Debug)]
pub enum Work {
    Chunk(Chunk),
    /// Records that were pending until now.
    Late(Chunk),
    /// Events that are to be remembered again.
    Recalled(Vec<Kept>),
    /// Nothing for now. What is to come has this stamp or a later one.
    Nothing,
    /// Nothing will come any more. The last epoch has this stamp, and it ends a checkpoint.
    Done,
}

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

struct State {
    queue: VecDeque<(Stamp, Work)>,
    /// The epoch that records are stamped with.
    open: Stamp,
    opened_ms: u64,
    /// Of all epochs.
    all_records: u64,
    records: u64,
    /// While it goes on, epochs are counted on from the last checkpoint, so that none is called like a later one of an earlier run
    /// and holds less.
    again: ReadAgain,
    caught_up: bool,
    /// Epochs that are cut and not closed.
    in_flight: VecDeque<Stamp>,
    /// The first open epoch of each worker.
    open_of: Vec<Epoch>,
    /// The last epochs of reports, of those that some worker has not closed. See [`REPORT_MS`].
    report_ends: VecDeque<Epoch>,
    /// What closed and is not published.
    closed: VecDeque<Closed>,
    /// Event times by epoch, by partition and the first offset of their chunks: the order of the records, whoever decoded them first.
    heard: BTreeMap<Epoch, BTreeMap<(u16, Offset), EventTimes>>,
    /// What was read: epoch, partition, the offset after it.
    read: VecDeque<(Epoch, u16, Offset)>,
    watermarks: Watermarks,
    checkpoints: Checkpoints,
    merging: Merging,
    /// Files whose records were pending: epoch, file.
    merged: VecDeque<(Epoch, String)>,
    done: bool,
}

/// What a worker is told when it has closed epochs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// There is more that could have been read: nobody waits for this epoch more than for those after it.
    pub is_behind: bool,
    /// Of the epochs that it has closed since it was last told, those that end a report, ascending.
    pub report_ends: Vec<Epoch>,
}

/// What a feed goes by.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub pace: Pace,
    pub numbering: Numbering,
    /// Time between two checkpoints; `None` where there are none but the last.
    pub checkpoint_ms: Option<u64>,
    /// Nobody waits for an answer before the end.
    pub only_the_end_counts: bool,
    /// All that is read was pending until now.
    pub reads_pending: bool,
    /// When what is read was read first, in milliseconds since 1970, where an earlier run has read all of it: answers are no fresher for
    /// being made anew.
    pub read_at_ms: Option<u64>,
    /// How far an event's time may be ahead of the clock and still say how complete the sources are, in milliseconds; `None` where
    /// the clock decides nothing.
    pub ahead_ms: Option<u64>,
}

/// What an epoch is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// The milliseconds of the clock when it began.
    Clock,
    /// One more than the one before: the same epochs whenever it runs.
    Count,
}

pub struct Feed {
    rules: Rules,
    clock: Arc<dyn Clock>,
    source: Arc<SourceStatus>,
    memory: Arc<Memory>,
    state: Mutex<State>,
    room: Condvar,
    workers: Mutex<Vec<Thread>>,
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
        let now_ms = clock.now_ms();
        let epoch = rules.numbering.next(last_epoch, now_ms, reads_again);
        // A running engine begins with a checkpoint of where it begins.
        let is_live = rules.numbering == Numbering::Clock;
        let checkpoints = if is_live { Checkpoints::new(0, true) } else { Checkpoints::new(now_ms, false) };
        let state = State {
            queue: VecDeque::new(),
            open: Stamp {
                epoch,
                at_ms: rules.read_at_ms.unwrap_or(now_ms),
                watermark: watermarks.whole(),
                checkpoint: Epoch::NONE,
                forgets: true,
                again: is_live && reads_again,
            },
            opened_ms: now_ms,
            all_records: 0,
            records: 0,
            again: ReadAgain::new(reads_again),
            caught_up: false,
            in_flight: VecDeque::new(),
            open_of: vec![Epoch::NONE; workers],
            report_ends: VecDeque::new(),
            closed: VecDeque::new(),
            heard: BTreeMap::new(),
            read: VecDeque::new(),
            watermarks,
            checkpoints,
            merging: Merging::No,
            merged: VecDeque::new(),
            done: false,
        };
        let (memory, workers) = (Arc::default(), Mutex::default());
        Feed { rules, clock, source, memory, state: Mutex::new(state), room: Condvar::new(), workers }
    }

    /// One that takes less where memory is short.
    pub fn within(self, memory: Arc<Memory>) -> Feed {
        Feed { memory, ..self }
    }

    fn pace(&self) -> Pace {
        self.rules.pace.under(self.memory.level())
    }

    /// The calling worker is woken when there is something new.
    pub fn register(&self) {
        self.workers.lock().expect("no holder of the workers panics").push(std::thread::current());
    }

    /// Takes a chunk under the open epoch, if there is one, and how far reading has come in the partitions where it has
    /// moved. The reader asks for room before.
    pub fn push(&self, chunk: Option<Chunk>, moved: &[(u16, Offset)]) {
        let mut state = self.lock();
        let now_ms = self.clock.now_ms();
        let stamp = state.open;
        state.checkpoints.moved();
        state.read.extend(moved.iter().map(|&(partition, next)| (stamp.epoch, partition, next)));
        if let Some(chunk) = chunk {
            state.watermarks.arrived(chunk.partition, now_ms);
            state.records += u64::from(chunk.records);
            state.all_records += u64::from(chunk.records);
            state
                .queue
                .push_back((stamp, if self.rules.reads_pending { Work::Late(chunk) } else { Work::Chunk(chunk) }));
        }
        state.again.look(&self.source);
        self.cut_if_due(&mut state, now_ms);
        drop(state);
        self.wake();
    }

    /// Cuts if it is time to. Returns how long nothing need be done unless records come.
    pub fn tick(&self) -> Duration {
        let mut state = self.lock();
        let now_ms = self.clock.now_ms();
        let cut = self.cut_if_due(&mut state, now_ms);
        let look_again = self.pace().look_again(&moment(&state, now_ms));
        drop(state);
        if cut {
            self.wake();
        }
        look_again
    }

    /// Has what is pending merged. False where that is on its way, or nothing more comes.
    pub fn ask_to_merge(&self) -> bool {
        let mut state = self.lock();
        let begins = state.merging == Merging::No && !state.done;
        if begins {
            state.merging = Merging::Asked;
            state.checkpoints.hurry();
        }
        begins
    }

    /// How far looking up what is pending has come.
    pub fn found(&self, found: LookedUp) {
        match found {
            LookedUp::Much => self.lock().checkpoints.hurry(),
            LookedUp::Most => self.hold(),
            LookedUp::All(late) => self.merge(late),
        }
    }

    /// From the next epoch on nothing is forgotten, until [`Feed::release`].
    fn hold(&self) {
        let mut state = self.lock();
        state.merging = if state.done { Merging::No } else { Merging::Held(state.open.epoch) };
        state.checkpoints.hurry();
    }

    /// Has what was pending merged, in one epoch with what it takes to do so. Where there is nothing, things are forgotten again.
    fn merge(&self, late: Option<Late>) {
        let late = late.map(|Late { recalled, chunks, files }| (in_parts(recalled), chunks, files));
        let mut state = self.lock();
        match late {
            Some((recalled, chunks, files)) if !state.done => {
                let stamp = state.open;
                state.queue.extend(recalled.into_iter().map(|rows| (stamp, Work::Recalled(rows))));
                state.records += chunks.iter().map(|chunk| u64::from(chunk.records)).sum::<u64>();
                state.queue.extend(chunks.into_iter().map(|chunk| (stamp, Work::Late(chunk))));
                state.merged.extend(files.into_iter().map(|file| (stamp.epoch, file)));
                state.checkpoints.hurry();
            }
            _ => state.merging = Merging::No,
        }
        drop(state);
        self.wake();
    }

    /// Everything there is has been read, for now.
    pub fn caught_up(&self) {
        let mut state = self.lock();
        state.caught_up = true;
        state.again.look(&self.source);
    }

    /// Waits until the feed can take a chunk, `timeout` at most. False where it cannot.
    pub fn wait_for_room(&self, timeout: Duration) -> bool {
        let full = |state: &mut State| {
            let queue_most = match self.memory.level() {
                Level::Free | Level::Tight => QUEUE_CHUNKS,
                Level::Scarce => QUEUE_CHUNKS_SCARCE,
                Level::Over => 0,
            };
            state.queue.len() >= queue_most || !self.pace().has_room(&moment(state, state.opened_ms))
        };
        let state = self.lock();
        let (mut state, _) = self.room.wait_timeout_while(state, timeout, full).expect("no holder of the feed panics");
        !full(&mut state)
    }

    /// Nothing more comes.
    pub fn finish(&self) {
        self.lock().done = true;
        self.wake();
    }

    /// What a worker is to do next, and the stamp that it has.
    pub fn next(&self) -> (Stamp, Work) {
        let mut state = self.lock();
        match state.queue.pop_front() {
            Some(next) => {
                self.room.notify_one();
                next
            }
            None if state.done => (state.open, Work::Done),
            None => (state.open, Work::Nothing),
        }
    }

    /// The chunk of a partition that begins at an offset has events of these times, or none.
    pub fn heard(&self, epoch: Epoch, (partition, offset): (u16, Offset), times: EventTimes) {
        self.lock().heard.entry(epoch).or_default().insert((partition, offset), times);
    }

    /// A worker has closed every epoch before `open`.
    pub fn close(&self, worker: usize, open: Epoch) -> Progress {
        let mut state = self.lock();
        let last_open = std::mem::replace(&mut state.open_of[worker], open);
        assert!(
            last_open <= open,
            "worker {worker} has closed the epochs before {last_open} already: {open} is before that"
        );
        let report_ends = state.report_ends.iter().copied().filter(|end| (last_open..open).contains(end)).collect();
        let open = state.open_of.iter().copied().min().unwrap_or_default();
        // All have been told of them.
        while state.report_ends.pop_front_if(|end| *end < open).is_some() {}
        let now_ms = self.clock.now_ms();
        let cut = self.close_before(&mut state, open, now_ms);
        let is_behind = self.rules.only_the_end_counts || !state.caught_up && state.records > 0 && !state.done;
        drop(state);
        if cut {
            self.wake();
        }
        Progress { is_behind, report_ends }
    }

    /// Closes the epochs before `open`. Returns whether another was cut.
    fn close_before(&self, state: &mut State, open: Epoch, now_ms: u64) -> bool {
        let mut closed_any = false;
        while let Some(stamp) = state.in_flight.pop_front_if(|stamp| stamp.epoch < open) {
            self.close_epoch(state, stamp, now_ms);
            closed_any = true;
        }
        if state.done && open == Epoch::END {
            let last = state.open;
            state.checkpoints.end_with(last.epoch);
            self.close_epoch(state, last, now_ms);
            closed_any = true;
        }
        if closed_any {
            self.room.notify_one();
        }
        closed_any && self.cut_if_due(state, now_ms)
    }

    fn close_epoch(&self, state: &mut State, stamp: Stamp, now_ms: u64) {
        let Stamp { epoch, at_ms, watermark: read_under, again, .. } = stamp;
        let most = self.most(now_ms);
        while let Some(entry) = state.heard.first_entry().filter(|entry| *entry.key() <= epoch) {
            for ((partition, _), times) in entry.remove() {
                state.watermarks.heard(partition, &times, most, now_ms);
            }
        }
        let mut positions = BTreeMap::new();
        while let Some((_, partition, next)) = state.read.pop_front_if(|(of, ..)| *of <= epoch) {
            positions.insert(partition, next);
        }
        let mut merged = Vec::new();
        while let Some((_, file)) = state.merged.pop_front_if(|(of, _)| *of <= epoch) {
            merged.push(file);
        }
        let (is_read, read) = (self.is_read(), &state.read);
        let is_on_the_way = |ordinal| read.iter().any(|(_, partition, _)| *partition == ordinal);
        let is_heard = |ordinal: u16| is_read.get(usize::from(ordinal)) == Some(&true) && !is_on_the_way(ordinal);
        state.watermarks.ask_few(is_heard, most);
        let watermark = state.watermarks.advance(now_ms, &is_read);
        let checkpoint = state.checkpoints.closed(epoch).then(|| state.watermarks.latests());
        state.closed.push_back(Closed { epoch, at_ms, watermark, read_under, positions, merged, again, checkpoint });
    }

    /// Takes what closed before `open`, as one, up to the end of a checkpoint. `None` where that is nothing.
    pub fn take_closed(&self, open: Epoch) -> Option<Closed> {
        let mut state = self.lock();
        let mut all: Option<Closed> = None;
        while all.as_ref().is_none_or(|all| all.checkpoint.is_none())
            && let Some(closed) = state.closed.pop_front_if(|closed| closed.epoch < open)
        {
            let (mut positions, mut merged) = all.map_or_else(Default::default, |all| (all.positions, all.merged));
            positions.extend(closed.positions);
            merged.extend(closed.merged);
            all = Some(Closed { positions, merged, ..closed });
        }
        all
    }

    /// The epoch of the last checkpoint that is safe.
    pub fn last_committed(&self) -> Epoch {
        self.lock().checkpoints.last_committed()
    }

    /// No checkpoint is committed any more.
    pub fn commits_end(&self) {
        self.lock().checkpoints.end();
    }

    pub fn commits_are_over(&self) -> bool {
        self.lock().checkpoints.are_over()
    }

    /// Records that have been read.
    pub fn records_read(&self) -> u64 {
        self.lock().all_records
    }

    /// The open epoch, and how many are in flight.
    pub fn epochs(&self) -> (Epoch, usize) {
        let state = self.lock();
        (state.open.epoch, state.in_flight.len())
    }

    /// The watermark of each partition, and whether it is idle.
    pub fn partitions(&self) -> Vec<(Option<i64>, bool)> {
        let is_read = self.is_read();
        let state = self.lock();
        let now_ms = self.clock.now_ms();
        (0..).zip(is_read).map(|(partition, is_read)| state.watermarks.of(partition, now_ms, is_read)).collect()
    }

    fn cut_if_due(&self, state: &mut State, now_ms: u64) -> bool {
        // Workers have been told, once it is done, that the open epoch is the last.
        if state.done || !self.pace().is_due(&moment(state, now_ms)) {
            return false;
        }
        let watermark = self.advance(state, now_ms);
        let epoch = state.open.epoch;
        state.in_flight.push_back(state.open);
        let is_waited_for = state.merging != Merging::No;
        if self.rules.checkpoint_ms.is_some_and(|interval| state.checkpoints.is_due(now_ms, interval, is_waited_for)) {
            state.checkpoints.cut(epoch, now_ms);
            state.open.checkpoint = epoch;
        }
        // Where nobody waits for an answer before the end, reports end with checkpoints alone.
        if !self.rules.only_the_end_counts && state.opened_ms / REPORT_MS != now_ms / REPORT_MS {
            state.report_ends.push_back(epoch);
        }
        state.open = Stamp {
            at_ms: self.rules.read_at_ms.unwrap_or(now_ms),
            epoch: self.rules.numbering.next(epoch, now_ms, state.again.is_on()),
            watermark,
            forgets: !matches!(state.merging, Merging::Held(_)),
            again: self.rules.numbering == Numbering::Clock && state.again.is_on(),
            ..state.open
        };
        state.opened_ms = now_ms;
        state.records = 0;
        state.caught_up = false;
        self.room.notify_one();
        true
    }

    fn advance(&self, state: &mut State, now_ms: u64) -> i64 {
        let is_read = self.is_read();
        state.watermarks.advance(now_ms, &is_read)
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

    fn wake(&self) {
        self.workers.lock().expect("no holder of the workers panics").iter().for_each(Thread::unpark);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the feed panics")
    }
}

impl CommitListener for Feed {
    fn committed(&self, epoch: Epoch) {
        self.lock().checkpoints.committed(epoch);
    }

    fn release(&self) {
        self.lock().merging = Merging::No;
    }

    fn merging(&self) -> Merging {
        self.lock().merging
    }
}

/// Each part has room for its own rows and no more.
fn in_parts(recalled: Vec<Kept>) -> Vec<Vec<Kept>> {
    let mut rows = recalled.into_iter();
    std::iter::from_fn(|| {
        Some(rows.by_ref().take(RECALLED_AT_ONCE).collect()).filter(|part: &Vec<Kept>| !part.is_empty())
    })
    .collect()
}

impl Numbering {
    fn next(self, last: Epoch, now_ms: u64, reading_again: bool) -> Epoch {
        match self {
            Numbering::Clock if !reading_again => Epoch(now_ms).max(last.next()),
            Numbering::Clock | Numbering::Count => last.next(),
        }
    }
}

fn moment(state: &State, now_ms: u64) -> Moment {
    Moment {
        elapsed_ms: now_ms.saturating_sub(state.opened_ms),
        records: state.records,
        caught_up: state.caught_up,
        in_flight: state.in_flight.len(),
    }
}

#[cfg(test)]
mod tests;
