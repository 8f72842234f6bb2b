//! The feed: what was read, stamped with epochs, for whichever worker is free.
//!
//! ```text
//! reader ──chunk──▶ [stamp with the open epoch] ──▶ queue ──▶ workers
//! time, closed epochs ──▶ [cut: the next epoch begins]            │ event times heard
//!                              └── watermark ◀────────────────────┘
//! ```
//! This is the clock of all workers: a chunk's epoch is decided here, before anybody decodes it, so which record is in which epoch
//! does not depend on the workers. Epochs in the queue never fall.

use super::clock::Clock;
use super::pace::{Moment, Pace};
use super::watermarks::Watermarks;
use millrace_connectors::source::{Chunk, SourceStatus};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::Thread;
use std::time::Duration;

/// Chunks that may wait for a worker.
const QUEUE_CHUNKS: usize = 16;

/// What a record is read under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub epoch: u64,
    /// How far everything was complete when the epoch began, UTC microseconds.
    pub watermark: i64,
}

/// What a worker finds.
#[derive(Debug)]
pub enum Next {
    Chunk(Stamp, Chunk),
    /// Nothing for now. What is to come has this stamp or a later one.
    Nothing(Stamp),
    /// Nothing will come any more.
    Done,
}

/// Epochs that closed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The last of them.
    pub epoch: u64,
    pub watermark: i64,
    /// Partitions that were read, and the offset after the last record that is in.
    pub positions: BTreeMap<u16, u64>,
}

struct State {
    queue: VecDeque<(Stamp, Chunk)>,
    /// The epoch that records are stamped with.
    open: Stamp,
    opened_ms: u64,
    records: u64,
    caught_up: bool,
    /// Epochs that are cut and not closed.
    in_flight: VecDeque<u64>,
    /// The first open epoch of each worker.
    open_of: Vec<u64>,
    /// What closed and is not published.
    closed: VecDeque<Closed>,
    /// Event times by epoch: (partition, latest).
    heard: BTreeMap<u64, Vec<(u16, i64)>>,
    /// What was read: epoch, partition, the offset after it.
    read: VecDeque<(u64, u16, u64)>,
    watermarks: Watermarks,
    done: bool,
}

pub struct Feed {
    pace: Pace,
    clock: Arc<dyn Clock>,
    source: Arc<SourceStatus>,
    state: Mutex<State>,
    room: Condvar,
    workers: Mutex<Vec<Thread>>,
}

impl Feed {
    /// Epochs begin after `last_epoch`.
    pub fn new(
        pace: Pace,
        clock: Arc<dyn Clock>,
        source: Arc<SourceStatus>,
        watermarks: Watermarks,
        workers: usize,
        last_epoch: u64,
    ) -> Feed {
        let now_ms = clock.now_ms();
        let state = State {
            queue: VecDeque::new(),
            open: Stamp { epoch: now_ms.max(last_epoch + 1), watermark: Watermarks::UNKNOWN },
            opened_ms: now_ms,
            records: 0,
            caught_up: false,
            in_flight: VecDeque::new(),
            open_of: vec![0; workers],
            closed: VecDeque::new(),
            heard: BTreeMap::new(),
            read: VecDeque::new(),
            watermarks,
            done: false,
        };
        Feed { pace, clock, source, state: Mutex::new(state), room: Condvar::new(), workers: Mutex::default() }
    }

    /// The calling worker is woken when there is something new.
    pub fn register(&self) {
        self.workers.lock().expect("no holder of the workers panics").push(std::thread::current());
    }

    /// Takes a chunk under the open epoch, if there is one, and how far reading has come in the partitions where it has
    /// moved. The reader asks for room before.
    pub fn push(&self, chunk: Option<Chunk>, moved: &[(u16, u64)]) {
        let mut state = self.lock();
        let now_ms = self.clock.now_ms();
        let stamp = state.open;
        state.read.extend(moved.iter().map(|&(partition, next)| (stamp.epoch, partition, next)));
        if let Some(chunk) = chunk {
            state.watermarks.arrived(chunk.partition, now_ms);
            state.records += u64::from(chunk.records);
            state.queue.push_back((stamp, chunk));
        }
        self.cut_if_due(&mut state, now_ms);
        drop(state);
        self.wake();
    }

    /// Cuts if it is time to. Returns how long nothing need be done unless records come.
    pub fn tick(&self) -> Duration {
        let mut state = self.lock();
        let now_ms = self.clock.now_ms();
        let cut = self.cut_if_due(&mut state, now_ms);
        let look_again = self.pace.look_again(&moment(&state, now_ms));
        drop(state);
        if cut {
            self.wake();
        }
        look_again
    }

    /// Everything there is has been read, for now.
    pub fn caught_up(&self) {
        self.lock().caught_up = true;
    }

    /// Waits until the feed can take a chunk, `timeout` at most. False where it cannot.
    pub fn wait_for_room(&self, timeout: Duration) -> bool {
        let full = |state: &mut State| {
            state.queue.len() >= QUEUE_CHUNKS || !self.pace.has_room(&moment(state, state.opened_ms))
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

    pub fn next(&self) -> Next {
        let mut state = self.lock();
        match state.queue.pop_front() {
            Some((stamp, chunk)) => {
                self.room.notify_one();
                Next::Chunk(stamp, chunk)
            }
            None if state.done => Next::Done,
            None => Next::Nothing(state.open),
        }
    }

    /// A chunk of a partition has events up to this time.
    pub fn heard(&self, epoch: u64, partition: u16, latest: i64) {
        self.lock().heard.entry(epoch).or_default().push((partition, latest));
    }

    /// A worker has closed every epoch before `open`. Returns whether reading is behind: there is more that could have been
    /// read.
    pub fn close(&self, worker: usize, open: u64) -> bool {
        let mut state = self.lock();
        state.open_of[worker] = open;
        let open = state.open_of.iter().copied().min().unwrap_or(0);
        let now_ms = self.clock.now_ms();
        let cut = self.close_before(&mut state, open, now_ms);
        let is_behind = !state.caught_up && state.records > 0 && !state.done;
        drop(state);
        if cut {
            self.wake();
        }
        is_behind
    }

    /// Closes the epochs before `open`. Returns whether another was cut.
    fn close_before(&self, state: &mut State, open: u64, now_ms: u64) -> bool {
        let mut last = None;
        while let Some(epoch) = state.in_flight.pop_front_if(|epoch| *epoch < open) {
            last = Some(epoch);
        }
        if state.done && open == u64::MAX {
            // The open one as well.
            last = Some(state.open.epoch);
        }
        let Some(epoch) = last else { return false };
        while let Some(entry) = state.heard.first_entry().filter(|entry| *entry.key() < open) {
            for (partition, latest) in entry.remove() {
                state.watermarks.heard(partition, latest);
            }
        }
        let mut positions = BTreeMap::new();
        while let Some((_, partition, next)) = state.read.pop_front_if(|(epoch, ..)| *epoch < open) {
            positions.insert(partition, next);
        }
        let watermark = self.advance(state, now_ms);
        state.closed.push_back(Closed { epoch, watermark, positions });
        self.room.notify_one();
        self.cut_if_due(state, now_ms)
    }

    /// Takes what closed before `open`, as one. `None` where that is nothing.
    pub fn take_closed(&self, open: u64) -> Option<Closed> {
        let mut state = self.lock();
        let mut all: Option<Closed> = None;
        while let Some(closed) = state.closed.pop_front_if(|closed| closed.epoch < open) {
            let positions = all.map_or_else(BTreeMap::new, |all| all.positions);
            all = Some(Closed { positions: positions.into_iter().chain(closed.positions).collect(), ..closed });
        }
        all
    }

    /// The open epoch, and how many are in flight.
    pub fn epochs(&self) -> (u64, usize) {
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
        if !self.pace.is_due(&moment(state, now_ms)) {
            return false;
        }
        let watermark = self.advance(state, now_ms);
        state.in_flight.push_back(state.open.epoch);
        state.open = Stamp { epoch: now_ms.max(state.open.epoch + 1), watermark };
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

fn moment(state: &State, now_ms: u64) -> Moment {
    Moment {
        elapsed_ms: now_ms.saturating_sub(state.opened_ms),
        records: state.records,
        caught_up: state.caught_up,
        in_flight: state.in_flight.len(),
    }
}
