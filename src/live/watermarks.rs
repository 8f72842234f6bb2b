//! How far the sources are complete: a watermark of each partition, and the least of those that have something to say.
//!
//! A partition's watermark is its largest event time that is believed ([`super::believed`]) less the allowed lateness. A partition
//! that has been read to its end and had no event for a while is *idle*: it holds nobody back. One that has not been read yet
//! holds everybody back, so that what waits in it does not come too late. The whole's watermark never falls.
//!
//! Of a history that is read to its end it is the largest of all partitions, and counts only at the end.

use super::believed::{Altogether, InOrder};
use crate::ingest::EventTimes;

/// Event times in UTC microseconds, arrivals in milliseconds of the clock.
#[derive(Clone, Debug)]
pub struct Watermarks {
    lateness: i64,
    idle_ms: u64,
    /// How far ahead of others an event's time may be, microseconds.
    jump: i64,
    /// Of a history.
    altogether: Option<Altogether>,
    partitions: Vec<Partition>,
    watermark: i64,
}

#[derive(Clone, Debug, Default)]
struct Partition {
    times: InOrder,
    /// Of a history: the latest of all times.
    last: Option<i64>,
    /// When something was read last that may have had events.
    arrived_ms: Option<u64>,
    /// What was heard last had no event, as records of dimensions have none: more of that says nothing of the time.
    is_mute: bool,
}

impl Partition {
    fn is_idle(&self, now_ms: u64, idle_ms: u64) -> bool {
        self.arrived_ms.is_none_or(|arrived_ms| now_ms.saturating_sub(arrived_ms) >= idle_ms)
    }
}

impl Watermarks {
    /// Before anything is known.
    pub const UNKNOWN: i64 = i64::MIN;

    /// `lateness` and `jump` in microseconds.
    pub fn new(lateness: i64, idle_ms: u64, jump: i64) -> Watermarks {
        let (altogether, partitions) = (None, Vec::new());
        Watermarks { lateness, idle_ms, jump, altogether, partitions, watermark: Watermarks::UNKNOWN }
    }

    /// Of a history that is read to its end.
    pub fn of_history(self) -> Watermarks {
        Watermarks { altogether: Some(Altogether::default()), ..self }
    }

    /// As they were at a checkpoint: of the whole, and the latest event time of each partition.
    pub fn resume(&mut self, watermark: i64, latests: &[Option<i64>]) {
        self.watermark = watermark;
        self.partitions = latests
            .iter()
            .map(|&latest| Partition { times: InOrder::resumed(latest), ..Partition::default() })
            .collect();
    }

    /// The whole's, as it was last advanced to.
    pub fn whole(&self) -> i64 {
        self.watermark
    }

    /// By partition, the latest event time that is in and believed.
    pub fn latests(&self) -> Vec<Option<i64>> {
        let believed = self.altogether.as_ref().and_then(|altogether| altogether.latest(self.jump));
        self.partitions.iter().map(|partition| partition.last.min(believed).max(partition.times.latest())).collect()
    }

    /// Records of a partition were read.
    pub fn arrived(&mut self, partition: u16, now_ms: u64) {
        let partition = self.partition(partition);
        if !partition.is_mute {
            partition.arrived_ms = Some(now_ms);
        }
    }

    /// Events of a partition with these times are in, or records that were none. No time after `most` is believed.
    pub fn heard(&mut self, partition: u16, times: &EventTimes, most: i64, now_ms: u64) {
        let jump = self.jump;
        if let Some(altogether) = &mut self.altogether {
            altogether.take(times, jump);
            let last = times.unvouched.iter().copied().max().max(times.vouched);
            let partition = self.partition(partition);
            partition.last = partition.last.max(last);
            return;
        }
        let partition = self.partition(partition);
        partition.times.take(times, jump, most);
        if partition.is_mute && !times.is_empty() {
            partition.arrived_ms = Some(now_ms);
        }
        partition.is_mute = times.is_empty();
    }

    fn partition(&mut self, partition: u16) -> &mut Partition {
        let index = usize::from(partition);
        if self.partitions.len() <= index {
            self.partitions.resize(index + 1, Partition::default());
        }
        &mut self.partitions[index]
    }

    /// The whole's watermark now. `is_read` says of each partition there is whether all of it has been read.
    pub fn advance(&mut self, now_ms: u64, is_read: &[bool]) -> i64 {
        if let Some(last) = is_read.len().checked_sub(1) {
            self.partition(last as u16);
        }
        if let Some(latest) = self.altogether.as_ref().and_then(|altogether| altogether.latest(self.jump)) {
            self.watermark = latest.saturating_sub(self.lateness);
        } else if let Some(complete) = self.complete(now_ms, is_read) {
            self.watermark = self.watermark.max(complete.saturating_sub(self.lateness));
        }
        self.watermark
    }

    /// Of partitions that have few events, those decide where there is no more: where all `is_heard`.
    pub fn ask_few(&mut self, is_heard: impl Fn(u16) -> bool, most: i64) {
        for (ordinal, partition) in (0..).zip(&mut self.partitions) {
            if partition.times.waits_for_more() && is_heard(ordinal) {
                partition.times.ask_few(self.jump, most);
            }
        }
    }

    /// Up to when all partitions have been heard. `None` where one is still to be.
    fn complete(&self, now_ms: u64, is_read: &[bool]) -> Option<i64> {
        let mut least_active: Option<i64> = None;
        for (partition, is_read) in self.partitions.iter().zip(is_read) {
            if *is_read && partition.is_idle(now_ms, self.idle_ms) {
                continue;
            }
            let latest = self.latest_of(partition)?;
            least_active = Some(least_active.map_or(latest, |least| least.min(latest)));
        }
        least_active.or_else(|| self.partitions.iter().filter_map(|partition| self.latest_of(partition)).max())
    }

    /// One that has hardly an event is not far ahead of all that have many.
    fn latest_of(&self, partition: &Partition) -> Option<i64> {
        let latest = partition.times.latest()?;
        if !partition.times.is_weak() {
            return Some(latest);
        }
        let strong = self.partitions.iter().filter(|other| !other.times.is_weak());
        let known = strong.filter_map(|other| other.times.latest()).max();
        Some(known.map_or(latest, |known| latest.min(known.saturating_add(self.jump))))
    }

    /// Of one partition, and whether it is idle.
    pub fn of(&self, partition: u16, now_ms: u64, is_read: bool) -> (Option<i64>, bool) {
        let Some(partition) = self.partitions.get(usize::from(partition)) else { return (None, is_read) };
        let idle = is_read && partition.is_idle(now_ms, self.idle_ms);
        (partition.times.latest().map(|latest| latest.saturating_sub(self.lateness)), idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(watermarks: &mut Watermarks, partition: u16, vouched: Option<i64>, now_ms: u64) {
        watermarks.heard(partition, &EventTimes { vouched, unvouched: Vec::new() }, i64::MAX, now_ms);
    }

    #[test]
    fn the_least_of_the_partitions_that_are_not_idle() {
        let mut watermarks = Watermarks::new(10, 1_000, 86_400_000_000);
        assert_eq!(watermarks.advance(0, &[false, false]), Watermarks::UNKNOWN);
        watermarks.arrived(0, 5);
        heard(&mut watermarks, 0, Some(500), 0);
        // What was read of it is not heard yet.
        watermarks.arrived(1, 5);
        assert_eq!(watermarks.advance(10, &[true, true]), Watermarks::UNKNOWN);
        let mut watermarks = Watermarks::new(10, 1_000, 86_400_000_000);
        watermarks.arrived(0, 5);
        heard(&mut watermarks, 0, Some(500), 0);
        // The other is still to be read.
        assert_eq!(watermarks.advance(10, &[true, false]), Watermarks::UNKNOWN);
        // It is empty.
        assert_eq!(watermarks.advance(10, &[true, true]), 490);
        watermarks.arrived(1, 20);
        heard(&mut watermarks, 1, Some(300), 0);
        // It never falls.
        assert_eq!(watermarks.advance(20, &[true, true]), 490);
        heard(&mut watermarks, 0, Some(900), 0);
        watermarks.arrived(0, 900);
        heard(&mut watermarks, 1, Some(600), 0);
        assert_eq!(watermarks.advance(900, &[true, true]), 590);
        // Nothing for a second: idle, but not before it has been read to its end.
        assert_eq!(watermarks.advance(1_100, &[true, false]), 590);
        assert_eq!(watermarks.advance(1_100, &[true, true]), 890);
        assert_eq!(watermarks.of(1, 1_100, true), (Some(590), true));
        // All idle: everything there is has been read.
        heard(&mut watermarks, 1, Some(2_000), 0);
        assert_eq!(watermarks.advance(9_000, &[true, true]), 1_990);
        // A new partition holds back until it is read.
        heard(&mut watermarks, 1, Some(3_000), 0);
        watermarks.arrived(1, 9_000);
        assert_eq!(watermarks.advance(9_001, &[true, true, false]), 1_990);
        assert_eq!(watermarks.advance(9_001, &[true, true, true]), 2_990);
    }

    #[test]
    fn one_silent_partition_of_many_does_not_hold_the_rest() {
        let mut watermarks = Watermarks::new(0, 1_000, 86_400_000_000);
        let hour = 3_600_000_000;
        for partition in 0..32 {
            watermarks.arrived(partition, 0);
            heard(&mut watermarks, partition, Some(0), 0);
        }
        let read = [true; 32];
        watermarks.advance(0, &read);
        for minute in 1..=60 {
            let now_ms = minute * 60_000;
            for partition in 0..31 {
                watermarks.arrived(partition, now_ms);
                heard(&mut watermarks, partition, Some(minute as i64 * 60_000_000), 0);
            }
            assert_eq!(watermarks.advance(now_ms, &read), minute as i64 * 60_000_000);
        }
        assert_eq!(watermarks.advance(3_600_000, &read), hour);
    }

    #[test]
    fn a_partition_without_events_holds_nobody() {
        let mut watermarks = Watermarks::new(0, 1_000, 86_400_000_000);
        let read = [true; 2];
        for second in 0..10 {
            watermarks.arrived(0, second * 1_000);
            heard(&mut watermarks, 0, Some(second as i64), second * 1_000);
            // Products, say, several a second.
            for part in 0..4 {
                watermarks.arrived(1, second * 1_000 + part * 250);
                heard(&mut watermarks, 1, None, second * 1_000 + part * 250);
            }
            // At first it may be about to have some.
            let expected = if second == 0 { Watermarks::UNKNOWN } else { second as i64 };
            assert_eq!(watermarks.advance(second * 1_000 + 800, &read), expected, "{second}");
        }
        // Once it has events, it counts.
        heard(&mut watermarks, 1, Some(3), 9_900);
        watermarks.arrived(0, 9_900);
        heard(&mut watermarks, 0, Some(100), 9_900);
        assert_eq!(watermarks.advance(9_950, &read), 9);
    }
}
