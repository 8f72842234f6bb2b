//! The feed of a process that follows: what is read is stamped with the epoch that was last heard of, and what becomes of it is said to the
//! process that decides.
//!
//! Everything that is said of an epoch is said before a worker here closes it, on one ordered link: where the one that decides hears that
//! all have closed an epoch, it knows all that was read in it.

use super::super::feed::{Feeding, Progress, Stamp, Work};
use super::super::pace::Pace;
use super::super::read_queue::ReadQueue;
use super::super::wakers::Wakers;
use super::said::{Moved, Said};
use crate::ingest::EventTimes;
use crate::memory::Memory;
use crate::numbers::{Epoch, Offset};
use millrace_connectors::source::{Chunk, Connection, Deal, PartitionInfo, SourceStatus};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long nothing need be done: epochs begin when they are told of.
const TICK: Duration = Duration::from_millis(50);
/// How often it is said how reading stands, also where it does not go on.
const STANDS_EVERY: Duration = Duration::from_millis(500);

/// Where what is said goes. It does not block.
pub type Say = Box<dyn Fn(&Said) + Send + Sync>;

struct State {
    open: Stamp,
    queue: ReadQueue,
    /// Records of the open epoch.
    records: u64,
    /// Whether everything there was had been read in the open epoch.
    caught_up: bool,
    /// The last epochs of reports, of those that some worker here has not closed.
    report_ends: VecDeque<Epoch>,
    /// The first open epoch of each worker here.
    open_of: Vec<Epoch>,
    is_done: bool,
    /// When it was last said how reading stands.
    said_at: Option<Instant>,
    told: Option<(Vec<PartitionInfo>, Vec<u64>)>,
}

pub struct Following {
    pace: Pace,
    source: Arc<SourceStatus>,
    memory: Arc<Memory>,
    deal: Deal,
    /// The number of the first worker here.
    first_worker: usize,
    say: Say,
    state: Mutex<State>,
    room: Condvar,
    workers: Wakers,
}

impl Following {
    /// Begins with the stamp that is open.
    pub fn new(
        pace: Pace,
        source: Arc<SourceStatus>,
        memory: Arc<Memory>,
        deal: Deal,
        workers: usize,
        open: Stamp,
        say: Say,
    ) -> Following {
        let state = State {
            open,
            queue: ReadQueue::new(false),
            records: 0,
            caught_up: false,
            report_ends: VecDeque::new(),
            open_of: vec![Epoch::NONE; workers],
            is_done: false,
            said_at: None,
            told: None,
        };
        Following {
            pace,
            source,
            memory,
            deal,
            first_worker: deal.process * workers,
            say,
            state: Mutex::new(state),
            room: Condvar::new(),
            workers: Wakers::default(),
        }
    }

    /// An epoch is open from now on; the one before ends a report, or does not.
    pub fn open(&self, stamp: Stamp, ends_report: bool) {
        let mut state = self.lock();
        assert!(state.open.epoch < stamp.epoch, "epochs rise");
        if ends_report {
            let ended = state.open.epoch;
            state.report_ends.push_back(ended);
        }
        (state.open, state.records, state.caught_up) = (stamp, 0, false);
        drop(state);
        self.room.notify_one();
        self.workers.wake();
    }

    /// The open epoch is the last.
    pub fn done(&self, stamp: Stamp) {
        let mut state = self.lock();
        assert_eq!(state.open.epoch, stamp.epoch, "the last epoch is the one that is open");
        state.is_done = true;
        drop(state);
        self.workers.wake();
    }

    /// Partitions that the process which finds them has found.
    pub fn told(&self, infos: Vec<PartitionInfo>, begins: Vec<u64>) {
        self.lock().told = Some((infos, begins));
    }

    /// What there is to say of the partitions that are read here; of which of them records were read.
    fn states(&self, moved: &[(u16, Offset)], records_of: Option<u16>) -> Vec<Moved> {
        self.source.with(|source| {
            let here = (0..).zip(&source.partitions).filter(|(ordinal, _)| self.deal.reads(usize::from(*ordinal)));
            let wanted = here.map(|(ordinal, state)| {
                let is_read = moved.iter().any(|(partition, _)| *partition == ordinal);
                Moved::of(ordinal, state, is_read, records_of == Some(ordinal))
            });
            // Where nothing has moved, all are told of: their ends may have.
            wanted.filter(|one| moved.is_empty() || one.is_read).collect()
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the feed panics")
    }
}

impl Feeding for Following {
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
            None if state.is_done => (state.open, Work::Done),
            None => (state.open, Work::Nothing),
        }
    }

    fn heard(&self, epoch: Epoch, place: (u16, Offset), times: EventTimes) {
        (self.say)(&Said::Heard { epoch, place, times });
    }

    fn close(&self, worker: usize, open: Epoch) -> Progress {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.open_of[worker - self.first_worker], open);
        assert!(before <= open, "worker {worker} has closed the epochs before {before} already: {open} is before that");
        let report_ends = state.report_ends.iter().copied().filter(|end| (before..open).contains(end)).collect();
        let all = state.open_of.iter().copied().min().unwrap_or_default();
        while state.report_ends.pop_front_if(|end| *end < all).is_some() {}
        let is_behind = !state.caught_up && state.records > 0 && !state.is_done;
        // In order: what was read of these epochs was said under this lock.
        (self.say)(&Said::Closed { worker, open });
        Progress { is_behind, report_ends }
    }

    fn push(&self, chunk: Option<Chunk>, moved: &[(u16, Offset)]) {
        let mut state = self.lock();
        let stamp = state.open;
        let (partition, records) =
            chunk.as_ref().map_or((None, 0), |chunk| (Some(chunk.partition), u64::from(chunk.records)));
        (self.say)(&Said::Read { epoch: stamp.epoch, records, moved: self.states(moved, partition) });
        if let Some(chunk) = chunk {
            state.records += records;
            state.queue.push(stamp, chunk);
        }
        drop(state);
        self.workers.wake();
    }

    fn tick(&self) -> Duration {
        let mut state = self.lock();
        if state.said_at.is_none_or(|at| at.elapsed() >= STANDS_EVERY) {
            state.said_at = Some(Instant::now());
            let down = self.source.with(|source| match &source.connection {
                Connection::Up => None,
                Connection::Down(reason) => Some(reason.clone()),
            });
            (self.say)(&Said::Stands { moved: self.states(&[], None), down });
        }
        TICK
    }

    fn wait_for_room(&self, timeout: Duration) -> bool {
        let pace = self.pace;
        let full = |state: &mut State| {
            let level = self.memory.level();
            state.queue.is_full(level) || state.records >= pace.under(level).epoch_records
        };
        let state = self.lock();
        let (mut state, _) = self.room.wait_timeout_while(state, timeout, full).expect("no holder of the feed panics");
        !full(&mut state)
    }

    fn caught_up(&self) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.caught_up, true) {
            let epoch = state.open.epoch;
            (self.say)(&Said::Read { epoch, records: 0, moved: self.states(&[], None) });
            (self.say)(&Said::CaughtUp { epoch });
        }
    }

    fn found_partitions(&self, _infos: &[PartitionInfo], _begins: &[u64]) {
        // They were told of.
    }

    fn told_partitions(&self) -> Option<(Vec<PartitionInfo>, Vec<u64>)> {
        self.lock().told.take()
    }

    fn finish(&self) {
        (self.say)(&Said::Finished);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::watermarks::Watermarks;
    use millrace_connectors::source::{MessageChunk, PartitionState};

    fn stamp(epoch: u64) -> Stamp {
        Stamp {
            epoch: Epoch(epoch),
            at_ms: epoch,
            watermark: Watermarks::UNKNOWN,
            checkpoint: Epoch::NONE,
            forgets: true,
            again: false,
        }
    }

    fn chunk(partition: u16, offset: u64) -> Chunk {
        let mut chunk = MessageChunk::new(partition, None, 100);
        chunk.push(offset, None, b"{}");
        chunk.finish().expect("it has a record")
    }

    /// Process 1 of 2, of two workers each, with four partitions of which two are its own.
    fn following() -> (Arc<Following>, Arc<Mutex<Vec<String>>>) {
        let source = Arc::new(SourceStatus::default());
        source.with(|state| state.partitions.resize_with(4, PartitionState::default));
        let pace = Pace { tick_ms: 1, behind_tick_ms: 1, idle_tick_ms: 1, epoch_records: 2, epochs_in_flight: 2 };
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = said.clone();
        let say: Say = Box::new(move |said: &Said| {
            let text = match said {
                Said::Read { epoch, records, moved } => {
                    let moved: Vec<(u16, u64, bool)> =
                        moved.iter().map(|one| (one.partition, one.next, one.is_read)).collect();
                    format!("{epoch}: read {records} {moved:?}")
                }
                Said::Closed { worker, open } => format!("{worker} closed before {open}"),
                Said::CaughtUp { epoch } => format!("{epoch}: caught up"),
                other => format!("{other:?}"),
            };
            heard.lock().expect("nobody panics").push(text);
        });
        let deal = Deal { process: 1, processes: 2 };
        let feed = Following::new(pace, source, Arc::default(), deal, 2, stamp(5), say);
        (Arc::new(feed), said)
    }

    /// The one that decides can rely on it: what was read in an epoch is said before a worker closes it.
    #[test]
    fn what_is_read_is_said_before_its_epoch_is_closed() {
        let (feed, said) = following();
        feed.source.with(|state| state.partitions[1].next = 8);
        feed.push(Some(chunk(1, 7)), &[(1, Offset(8))]);
        feed.open(stamp(9), true);
        assert!(
            matches!(feed.next(), (at, Work::Chunk(_)) if at.epoch == Epoch(5)),
            "it has the stamp it was read under"
        );
        assert!(matches!(feed.next(), (at, Work::Nothing) if at.epoch == Epoch(9)));
        assert_eq!(feed.close(2, Epoch(9)).report_ends, [Epoch(5)]);
        assert_eq!(feed.close(3, Epoch(9)).report_ends, [Epoch(5)], "each worker is told");
        assert_eq!(feed.close(2, Epoch(11)).report_ends, [], "and once");
        feed.caught_up();
        feed.caught_up();
        feed.finish();
        feed.done(stamp(9));
        assert!(matches!(feed.next(), (_, Work::Done)));
        let said = said.lock().expect("nobody panics");
        let expected = [
            "5: read 1 [(1, 8, true)]",
            "2 closed before 9",
            "3 closed before 9",
            "2 closed before 11",
            "9: read 0 [(1, 8, false), (3, 0, false)]",
            "9: caught up",
            "Finished",
        ];
        assert_eq!(*said, expected, "of its own partitions alone");
    }

    /// It takes no more than an epoch holds, however long it hears of none.
    #[test]
    fn an_epoch_that_is_full_waits_for_the_next() {
        let (feed, _) = following();
        assert!(feed.wait_for_room(Duration::ZERO));
        for offset in 0..2 {
            feed.push(Some(chunk(3, offset)), &[(3, Offset(offset + 1))]);
        }
        assert!(!feed.wait_for_room(Duration::ZERO));
        feed.open(stamp(6), false);
        assert!(feed.wait_for_room(Duration::ZERO));
    }

    #[test]
    #[should_panic(expected = "epochs rise")]
    fn epochs_that_are_told_of_rise() {
        following().0.open(stamp(5), false);
    }

    #[test]
    #[should_panic(expected = "has closed the epochs before")]
    fn a_worker_does_not_take_back_what_it_closed() {
        let (feed, _) = following();
        feed.close(2, Epoch(9));
        feed.close(2, Epoch(8));
    }
}
