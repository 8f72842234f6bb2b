//! What operators share on one worker besides their streams.

use crate::settings::ViewContext;
use millrace_schema::calendar::{Calendar, Hour, MICROS_PER_MINUTE};
use millrace_schema::{Name, NameCache, Named, Names};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

/// Names that stand for an absence. They are ordinary names: a category that is called so is the same group.
pub const NONE_TEXT: &str = "(none)";
pub const UNKNOWN_TEXT: &str = "(unknown)";

/// Which source each partition (by its ordinal) belongs to. Append-only; an entry is made before the partition is read.
#[derive(Debug, Default)]
pub struct Partitions(RwLock<Vec<Name>>);

impl Partitions {
    pub fn set(&self, partition: u16, source: Name) {
        let mut sources = self.0.write().expect("no holder of the partition table panics");
        let index = usize::from(partition);
        if sources.len() <= index {
            sources.resize(index + 1, Name::NONE);
        }
        sources[index] = source;
    }

    pub fn source(&self, partition: u16) -> Name {
        let sources = self.0.read().expect("no holder of the partition table panics");
        sources.get(usize::from(partition)).copied().unwrap_or(Name::NONE)
    }
}

/// How many records a run is thought to have, 0 where that is not known. Tables are sized by it; no answer depends on
/// it.
#[derive(Debug, Default)]
pub struct Expected(AtomicUsize);

impl Expected {
    pub fn set(&self, records: usize) {
        self.0.store(records, Ordering::Relaxed);
    }

    pub fn records(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// How much the workers of a process keep in memory. For reports; no answer depends on it.
#[derive(Debug, Default)]
pub struct Held([AtomicUsize; HELD.len()]);

/// What is counted, in the order of [`Keeps`].
pub const HELD: [&str; 5] = ["event_ids", "sessions", "settled_contributions", "orders", "users"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    EventIds,
    Sessions,
    SettledContributions,
    Orders,
    Users,
}

impl Held {
    pub fn get(&self, what: Keeps) -> usize {
        self.0[what as usize].load(Ordering::Relaxed)
    }

    /// By name.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, usize)> + '_ {
        HELD.iter().zip(&self.0).map(|(name, count)| (*name, count.load(Ordering::Relaxed)))
    }

    /// Takes one operator's count; `last` is what it said before.
    pub fn set(&self, what: Keeps, last: &mut usize, now: usize) {
        // Wraps where it falls, and so does the sum: it comes out right.
        self.0[what as usize].fetch_add(now.wrapping_sub(*last), Ordering::Relaxed);
        *last = now;
    }
}

/// Settings, dictionary and partition table.
#[derive(Clone, Debug)]
pub struct Shared {
    pub context: Arc<ViewContext>,
    pub names: Arc<Names>,
    pub partitions: Arc<Partitions>,
    pub expected: Arc<Expected>,
    pub held: Arc<Held>,
    /// The key of `(none)`.
    pub none: Name,
    /// The key of `(unknown)`.
    pub unknown: Name,
    /// Whether the texts of users who order are in the dictionary: some view shows them.
    pub keeps_users: bool,
    /// So many names of the dictionary every worker is told at the beginning, and no reader tells them again.
    pub known: usize,
}

impl Shared {
    pub fn new(context: Arc<ViewContext>, names: Arc<Names>, partitions: Arc<Partitions>) -> Shared {
        let intern = |text| names.intern(text).expect("the first names of a dictionary do not collide");
        let (none, unknown) = (intern(NONE_TEXT), intern(UNKNOWN_TEXT));
        let (expected, held) = (Arc::default(), Arc::default());
        Shared { context, names, partitions, expected, held, none, unknown, keeps_users: false, known: 0 }
    }

    #[must_use]
    pub fn keeping_users(self, keeps_users: bool) -> Shared {
        Shared { keeps_users, ..self }
    }

    /// What is in the dictionary now is what every worker is told at the beginning: see [`Shared::known`].
    #[must_use]
    pub fn knowing_names(self) -> Shared {
        Shared { known: self.names.len(), ..self }
    }

    /// What every worker is told at the beginning, by one of them.
    pub fn known(&self) -> impl Iterator<Item = Named> + use<> {
        let known = self.names.since(0).into_iter().take(self.known);
        known.filter_map(|(name, text)| Named::of(name, &text))
    }

    /// A reader's way to the dictionary.
    pub fn name_cache(&self) -> NameCache {
        NameCache::new(self.names.clone()).keeping_users(self.keeps_users).knowing(self.known)
    }

    /// The name to group by: `(none)` where there is none.
    pub fn shown(&self, name: Name) -> Name {
        if name.is_none() { self.none } else { name }
    }
}

/// The buckets that hold an instant, as parts of a key. Remembers the last hour: neighbouring events share it.
#[derive(Debug)]
pub struct Buckets {
    calendar: Calendar,
    hour: Hour,
    month: i64,
}

/// The buckets of one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Bucket {
    /// First instant, UTC microseconds.
    pub minute: i64,
    /// First instant, UTC microseconds.
    pub hour: i64,
    /// Days since 1970-01-01 in the store's calendar.
    pub day: i64,
    /// The month's first day.
    pub month: i64,
}

impl Bucket {
    /// The lengths of time that are told apart in [`Bucket::apart_from`], by the number of their bit.
    pub const MINUTE: u8 = 0;
    pub const HOUR: u8 = 1;
    pub const DAY: u8 = 2;
    pub const ALL: u8 = 3;

    /// In which lengths of time none of the others is in the same bucket: a bit for each. Of all time, where there is no other.
    pub fn apart_from<'a>(self, others: impl Iterator<Item = &'a Bucket>) -> u8 {
        others.fold(0b1111, |apart, other| {
            let same = u8::from(self.minute == other.minute) << Self::MINUTE
                | u8::from(self.hour == other.hour) << Self::HOUR
                | u8::from(self.day == other.day) << Self::DAY
                | 1 << Self::ALL;
            apart & !same
        })
    }
}

impl Buckets {
    pub fn new(calendar: Calendar) -> Buckets {
        let hour = calendar.hour(0);
        Buckets { calendar, hour, month: Calendar::month_of_day(hour.day) }
    }

    pub fn of(&mut self, time: i64) -> Bucket {
        if !self.hour.holds(time) {
            let day = self.hour.day;
            // An hour ends where the clock is turned, so all of it is of one day.
            self.hour = self.calendar.hour(time);
            if self.hour.day != day {
                self.month = Calendar::month_of_day(self.hour.day);
            }
        }
        let Hour { start, day, .. } = self.hour;
        Bucket { minute: time - time.rem_euclid(MICROS_PER_MINUTE), hour: start, day, month: self.month }
    }

    /// What is next to an instant in its day where instants of another day lie between: of somebody's instants the last
    /// before a limit, or the first from a limit on. Together with its two neighbours in time it says whether others are of its
    /// minute, hour and day.
    pub fn beyond_gap(
        &mut self,
        time: i64,
        last_before: impl FnOnce(i64) -> Option<i64>,
        first_from: impl FnOnce(i64) -> Option<i64>,
    ) -> Option<i64> {
        let day = self.of(time).day;
        let (from, to) = self.calendar.gap(day)?;
        if time < from { first_from(to) } else { last_before(from) }
    }
}
