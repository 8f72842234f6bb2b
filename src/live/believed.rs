//! Which event times are believed to say how far a source is: not that of one wrong clock.
//!
//! A time that `received_at` vouches for has been checked against it when it was decoded, and is believed. Of events
//! without one, only the others can say whether a time is right. Two rules, for two situations:
//!
//! - [`InOrder`], of a partition that is read on: a time far ahead is a candidate until what comes after it agrees.
//! - [`Altogether`], of a history that is read to its end: decided by all times together, in whatever order they came.

use crate::ingest::EventTimes;
use std::collections::{BTreeMap, VecDeque};

/// How many of the last events are asked.
const WINDOW: usize = 128;
/// Of a partition that begins, fewer than so many events say nothing, unless there are no more.
pub const FEW: usize = 32;
/// One in so many of them has to be as late as a time that is believed.
const SHARE: usize = 8;
/// A silence that is longer than any before it and than this is a mistake, whoever comes after it.
const YEAR_MICROS: i64 = 366 * 86_400_000_000;

/// The times of one partition in the order of its records. What is believed does not depend on how that is cut.
#[derive(Clone, Debug, Default)]
pub struct InOrder {
    latest: Option<i64>,
    /// Times up to `jump` beyond it are believed: three of four events are no earlier, from the first one on that is not.
    level: Option<i64>,
    recent: VecDeque<i64>,
    /// Events without `received_at` so far, up to [`WINDOW`].
    seen: usize,
    /// So many more come before the others are asked again: a doubt costs little then, however many there are.
    rest: usize,
}

impl InOrder {
    /// One that goes on where the latest time that is believed was this. What follows has to be as many as in a long one.
    pub fn resumed(latest: Option<i64>) -> InOrder {
        let seen = if latest.is_some() { WINDOW } else { 0 };
        InOrder { latest, level: latest, seen, ..InOrder::default() }
    }

    /// The latest time that is believed.
    pub fn latest(&self) -> Option<i64> {
        self.latest
    }

    /// Whether it stands on so few events that others know better.
    pub fn is_weak(&self) -> bool {
        self.seen < FEW
    }

    /// Takes what follows. Nothing later than `most` is believed.
    pub fn take(&mut self, times: &EventTimes, jump: i64, most: i64) {
        if let Some(vouched) = times.vouched.map(|time| time.min(most)) {
            // Those without one have to be many then.
            self.seen = WINDOW;
            self.latest = self.latest.max(Some(vouched));
            self.level = self.level.max(Some(vouched));
        }
        let Some(&highest) = times.unvouched.iter().max() else { return };
        if self.believes(highest, jump) && self.recent.iter().all(|&time| self.believes(time, jump)) {
            // The usual case: nobody is doubted, and the order does not matter.
            self.latest = self.latest.max(Some(highest.min(most)));
            let last = times.unvouched.len().saturating_sub(WINDOW);
            times.unvouched[last..].iter().for_each(|&time| self.remember(time));
            self.seen = (self.seen + last).min(WINDOW);
            self.rest = self.rest.saturating_sub(last);
            return;
        }
        for &time in &times.unvouched {
            self.remember(time);
            if self.believes(time, jump) {
                self.latest = self.latest.max(Some(time.min(most)));
            } else if self.rest == 0 && (self.level.is_some() || self.seen >= FEW) {
                self.ask(jump, most);
            }
        }
    }

    /// Whether nothing is believed for there are few events.
    pub fn waits_for_more(&self) -> bool {
        self.level.is_none() && !self.recent.is_empty()
    }

    /// There are no more for now: the few decide.
    pub fn ask_few(&mut self, jump: i64, most: i64) {
        self.ask(jump, most);
    }

    fn believes(&self, time: i64, jump: i64) -> bool {
        self.level.is_some_and(|level| time <= level.saturating_add(jump))
    }

    fn remember(&mut self, time: i64) {
        if self.recent.len() == WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(time);
        self.seen = (self.seen + 1).min(WINDOW);
        self.rest = self.rest.saturating_sub(1);
    }

    /// Finds the level anew: the largest time that an eighth of the last events are no earlier than, and three of four from the
    /// first of these on. After a pause all events are later, so it moves. Wrong clocks have right ones between them.
    fn ask(&mut self, jump: i64, most: i64) {
        let mut latest_first: Vec<(i64, usize)> = self.recent.iter().copied().zip(0..).collect();
        latest_first.sort_unstable_by(|a, b| b.cmp(a));
        let least = self.seen.div_ceil(SHARE);
        self.rest = least / 2;
        let mut first = usize::MAX;
        let level = latest_first.iter().zip(1..).find_map(|(&(time, at), no_earlier)| {
            first = first.min(at);
            let earlier = self.recent.len() - first - no_earlier;
            (no_earlier >= least && 3 * earlier <= no_earlier).then_some(time)
        });
        self.level = self.level.max(level.map(|level| level.min(most)));
        let believed = self.recent.iter().copied().filter(|&time| self.believes(time, jump)).max();
        self.latest = self.latest.max(believed.map(|time| time.min(most)));
    }
}

/// All times of all partitions.
#[derive(Clone, Debug, Default)]
pub struct Altogether {
    vouched: Option<i64>,
    /// By spans as long as a jump: how many, the first and the last.
    spans: BTreeMap<i64, (u64, i64, i64)>,
}

impl Altogether {
    pub fn take(&mut self, times: &EventTimes, jump: i64) {
        self.vouched = self.vouched.max(times.vouched);
        for &time in &times.unvouched {
            let (count, first, last) =
                self.spans.entry(time.div_euclid(jump.max(1))).or_insert((0, i64::MAX, i64::MIN));
            *count += 1;
            (*first, *last) = ((*first).min(time), (*last).max(time));
        }
    }

    /// The latest time that is believed: from the lower quartile on, up to the first silence that is too long. It is not where there
    /// was one before it half as long, or where many come after it within a year: an eighth of all, or 128.
    pub fn latest(&self, jump: i64) -> Option<i64> {
        let all: u64 = self.spans.values().map(|(count, ..)| count).sum();
        let (mut up_to_here, mut longest) = (0, jump / 2);
        let mut latest: Option<i64> = None;
        for &(count, first, last) in self.spans.values() {
            if let Some(latest) = latest.filter(|_| up_to_here > all.saturating_sub(1) / 4) {
                let silence = first.saturating_sub(latest);
                let after = all - up_to_here;
                let many = after >= (WINDOW as u64).min(all.div_ceil(SHARE as u64)) && silence <= YEAR_MICROS;
                if !many && silence > longest.saturating_mul(2) {
                    break;
                }
                longest = longest.max(silence);
            }
            up_to_here += count;
            latest = Some(last);
        }
        latest.max(self.vouched)
    }
}

#[cfg(test)]
mod tests;
