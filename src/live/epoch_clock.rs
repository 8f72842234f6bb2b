//! The epoch clock: when epochs, checkpoints and reports end. What is read gets its stamp from here, and from nowhere else.
//!
//! ```text
//! time, records, closed epochs ──▶ [cut: the next epoch begins] ──▶ stamp ──▶ whatever is read from now on
//! ```
//! A chunk's epoch is decided before anybody decodes it, so which record is in which epoch does not depend on the workers. It has no
//! lock, no threads and no time of its own: see [`super::feed::Feed`].

use super::again::ReadAgain;
use super::checkpoints::Checkpoints;
use super::pace::{Moment, Pace};
use crate::checkpoint::Merging;
use crate::numbers::Epoch;
use millrace_connectors::source::SourceStatus;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};

/// While reading is behind, a worker nets the changes of so many milliseconds of the clock before it reports them. All workers end a
/// report with the same epochs, those that are the last of such a time, so that there are epochs up to which all have reported everything.
const REPORT_MS: u64 = 2_000;

/// What a record is read under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

impl Numbering {
    fn next(self, last: Epoch, now_ms: u64, reading_again: bool) -> Epoch {
        match self {
            Numbering::Clock if !reading_again => Epoch(now_ms).max(last.next()),
            Numbering::Clock | Numbering::Count => last.next(),
        }
    }
}

/// Which epoch is open, and which are on their way.
pub struct EpochClock {
    rules: Rules,
    /// The epoch that records are stamped with.
    open: Stamp,
    opened_ms: u64,
    /// Records of the open epoch.
    records: u64,
    /// While it goes on, epochs are counted on from the last checkpoint, so that none is called like a later one of an earlier run
    /// and holds less.
    again: ReadAgain,
    /// How many processes read.
    processes: usize,
    /// Which of them have found nothing more to read in the open epoch.
    caught_up: BTreeSet<usize>,
    /// Epochs that are cut and not closed.
    in_flight: VecDeque<Stamp>,
    /// The last epochs of reports, of those that some worker has not closed. See [`REPORT_MS`].
    report_ends: VecDeque<Epoch>,
    pub checkpoints: Checkpoints,
    merging: Merging,
    done: bool,
}

impl EpochClock {
    /// Epochs begin after `last_epoch`, and are counted on from it while it `reads_again` what an earlier run may have read.
    pub fn new(rules: Rules, now_ms: u64, watermark: i64, last_epoch: Epoch, reads_again: bool) -> EpochClock {
        // A running engine begins with a checkpoint of where it begins.
        let is_live = rules.numbering == Numbering::Clock;
        let checkpoints = if is_live { Checkpoints::new(0, true) } else { Checkpoints::new(now_ms, false) };
        EpochClock {
            rules,
            open: Stamp {
                epoch: rules.numbering.next(last_epoch, now_ms, reads_again),
                at_ms: rules.read_at_ms.unwrap_or(now_ms),
                watermark,
                checkpoint: Epoch::NONE,
                forgets: true,
                again: is_live && reads_again,
            },
            opened_ms: now_ms,
            records: 0,
            again: ReadAgain::new(reads_again),
            processes: 1,
            caught_up: BTreeSet::new(),
            in_flight: VecDeque::new(),
            report_ends: VecDeque::new(),
            checkpoints,
            merging: Merging::No,
            done: false,
        }
    }

    /// Of so many processes that read.
    #[must_use]
    pub fn of_processes(self, processes: usize) -> EpochClock {
        EpochClock { processes, ..self }
    }

    /// What is read now is stamped with this.
    pub fn open(&self) -> Stamp {
        self.open
    }

    /// How many epochs are cut and not closed.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// So many records more have the open stamp.
    pub fn stamped(&mut self, records: u64) {
        self.records += records;
    }

    /// Something was read, or positions moved. Called by the reader alone.
    pub fn moved(&mut self, source: &SourceStatus) {
        self.checkpoints.moved();
        self.again.look(source);
    }

    /// Everything there is has been read by a process, for now. Called by the reader alone, or where another process says so.
    pub fn caught_up(&mut self, process: usize, source: &SourceStatus) {
        self.caught_up.insert(process);
        self.again.look(source);
    }

    /// Nothing more comes: the open epoch is the last.
    pub fn finish(&mut self) {
        self.done = true;
    }

    pub fn is_done(&self) -> bool {
        self.done
    }

    /// What the pace decides by.
    pub fn moment(&self, now_ms: u64) -> Moment {
        Moment {
            elapsed_ms: now_ms.saturating_sub(self.opened_ms),
            records: self.records,
            caught_up: self.is_caught_up(),
            in_flight: self.in_flight.len(),
        }
    }

    fn is_caught_up(&self) -> bool {
        self.caught_up.len() >= self.processes
    }

    /// Whether the open epoch may take more records.
    pub fn has_room(&self, pace: Pace) -> bool {
        pace.has_room(&self.moment(self.opened_ms))
    }

    /// Whether the open epoch is to end now. Workers have been told, once it is done, that it is the last.
    pub fn is_due(&self, pace: Pace, now_ms: u64) -> bool {
        !self.done && pace.is_due(&self.moment(now_ms))
    }

    /// Ends the open epoch, and perhaps a checkpoint and a report with it. What is read from now on is read under this watermark.
    pub fn cut(&mut self, watermark: i64, now_ms: u64) {
        assert!(!self.done, "the last epoch stays the last: workers have been told");
        let epoch = self.open.epoch;
        self.in_flight.push_back(self.open);
        let is_waited_for = self.merging != Merging::No;
        if self.rules.checkpoint_ms.is_some_and(|interval| self.checkpoints.is_due(now_ms, interval, is_waited_for)) {
            self.checkpoints.cut(epoch, now_ms);
            self.open.checkpoint = epoch;
        }
        // Where nobody waits for an answer before the end, reports end with checkpoints alone.
        if !self.rules.only_the_end_counts && self.opened_ms / REPORT_MS != now_ms / REPORT_MS {
            self.report_ends.push_back(epoch);
        }
        self.open = Stamp {
            epoch: self.rules.numbering.next(epoch, now_ms, self.again.is_on()),
            at_ms: self.rules.read_at_ms.unwrap_or(now_ms),
            watermark,
            forgets: !matches!(self.merging, Merging::Held(_)),
            again: self.rules.numbering == Numbering::Clock && self.again.is_on(),
            ..self.open
        };
        assert!(epoch < self.open.epoch, "epochs rise");
        self.opened_ms = now_ms;
        self.records = 0;
        self.caught_up.clear();
    }

    /// The next epoch that closes where all workers have closed those before `open`; with the last of all, a checkpoint ends.
    pub fn close(&mut self, open: Epoch) -> Option<Stamp> {
        self.in_flight.pop_front_if(|stamp| stamp.epoch < open)
    }

    /// The last epoch of all, which ends a checkpoint, where all workers have closed it.
    pub fn close_last(&mut self, open: Epoch) -> Option<Stamp> {
        let is_last = self.done && open == Epoch::END;
        is_last.then(|| {
            self.checkpoints.end_with(self.open.epoch);
            self.open
        })
    }

    /// Whether an epoch that was just cut ends a report.
    pub fn ends_report(&self, epoch: Epoch) -> bool {
        self.report_ends.back() == Some(&epoch)
    }

    /// Of the epochs from `from` on and before `open`, those that end a report.
    pub fn report_ends(&self, from: Epoch, open: Epoch) -> Vec<Epoch> {
        self.report_ends.iter().copied().filter(|end| (from..open).contains(end)).collect()
    }

    /// All workers have been told of the reports that end before `open`.
    pub fn reports_ended(&mut self, open: Epoch) {
        while self.report_ends.pop_front_if(|end| *end < open).is_some() {}
    }

    /// Whether there is more that could have been read.
    pub fn is_behind(&self) -> bool {
        self.rules.only_the_end_counts || !self.is_caught_up() && self.records > 0 && !self.done
    }

    pub fn merging(&self) -> Merging {
        self.merging
    }

    /// Has what is pending merged. False where that is on its way, or nothing more comes.
    pub fn ask_to_merge(&mut self) -> bool {
        let begins = self.merging == Merging::No && !self.done;
        if begins {
            self.merging = Merging::Asked;
            self.checkpoints.hurry();
        }
        begins
    }

    /// From the next epoch on nothing is forgotten, until [`EpochClock::release`].
    pub fn hold(&mut self) {
        self.merging = if self.done { Merging::No } else { Merging::Held(self.open.epoch) };
        self.checkpoints.hurry();
    }

    /// Things are forgotten again: what was merged is safe, or there was nothing.
    pub fn release(&mut self) {
        self.merging = Merging::No;
    }
}
