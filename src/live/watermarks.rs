//! How far the sources are complete: a watermark of each partition, and the least of those that have something to say.
//!
//! A partition's watermark is its largest event time less the allowed lateness. A partition that has been read to its
//! end and had no event for a while is *idle*: it holds nobody back. One that has not been read yet holds everybody back,
//! so that what waits in it does not come too late. The whole's watermark never falls.

/// Event times in UTC microseconds, arrivals in milliseconds of the clock.
#[derive(Clone, Debug)]
pub struct Watermarks {
    lateness: i64,
    idle_ms: u64,
    partitions: Vec<Partition>,
    watermark: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Partition {
    latest: Option<i64>,
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

    pub fn new(lateness: i64, idle_ms: u64) -> Watermarks {
        Watermarks { lateness, idle_ms, partitions: Vec::new(), watermark: Watermarks::UNKNOWN }
    }

    /// As they were at a checkpoint: of the whole, and the latest event time of each partition.
    pub fn resume(&mut self, watermark: i64, latests: &[Option<i64>]) {
        self.watermark = watermark;
        self.partitions = latests.iter().map(|&latest| Partition { latest, ..Partition::default() }).collect();
    }

    /// The whole's, as it was last advanced to.
    pub fn whole(&self) -> i64 {
        self.watermark
    }

    /// By partition, the latest event time that is in.
    pub fn latests(&self) -> Vec<Option<i64>> {
        self.partitions.iter().map(|partition| partition.latest).collect()
    }

    /// Records of a partition were read.
    pub fn arrived(&mut self, partition: u16, now_ms: u64) {
        let partition = self.partition(partition);
        if !partition.is_mute {
            partition.arrived_ms = Some(now_ms);
        }
    }

    /// Events of a partition up to this time are in, or records that were none.
    pub fn heard(&mut self, partition: u16, latest: Option<i64>, now_ms: u64) {
        let partition = self.partition(partition);
        partition.latest = partition.latest.max(latest);
        if partition.is_mute && latest.is_some() {
            partition.arrived_ms = Some(now_ms);
        }
        partition.is_mute = latest.is_none();
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
        let mut least_active: Option<i64> = None;
        for (partition, is_read) in self.partitions.iter().zip(is_read) {
            if *is_read && partition.is_idle(now_ms, self.idle_ms) {
                continue;
            }
            let Some(latest) = partition.latest else { return self.watermark };
            least_active = Some(least_active.map_or(latest, |least| least.min(latest)));
        }
        let complete = least_active.or_else(|| self.partitions.iter().filter_map(|partition| partition.latest).max());
        if let Some(complete) = complete {
            self.watermark = self.watermark.max(complete - self.lateness);
        }
        self.watermark
    }

    /// Of one partition, and whether it is idle.
    pub fn of(&self, partition: u16, now_ms: u64, is_read: bool) -> (Option<i64>, bool) {
        let Some(partition) = self.partitions.get(usize::from(partition)) else { return (None, is_read) };
        let idle = is_read && partition.is_idle(now_ms, self.idle_ms);
        (partition.latest.map(|latest| latest - self.lateness), idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_the_partitions_that_are_not_idle() {
        let mut watermarks = Watermarks::new(10, 1_000);
        assert_eq!(watermarks.advance(0, &[false, false]), Watermarks::UNKNOWN);
        watermarks.arrived(0, 5);
        watermarks.heard(0, Some(500), 0);
        // What was read of it is not heard yet.
        watermarks.arrived(1, 5);
        assert_eq!(watermarks.advance(10, &[true, true]), Watermarks::UNKNOWN);
        let mut watermarks = Watermarks::new(10, 1_000);
        watermarks.arrived(0, 5);
        watermarks.heard(0, Some(500), 0);
        // The other is still to be read.
        assert_eq!(watermarks.advance(10, &[true, false]), Watermarks::UNKNOWN);
        // It is empty.
        assert_eq!(watermarks.advance(10, &[true, true]), 490);
        watermarks.arrived(1, 20);
        watermarks.heard(1, Some(300), 0);
        // It never falls.
        assert_eq!(watermarks.advance(20, &[true, true]), 490);
        watermarks.heard(0, Some(900), 0);
        watermarks.arrived(0, 900);
        watermarks.heard(1, Some(600), 0);
        assert_eq!(watermarks.advance(900, &[true, true]), 590);
        // Nothing for a second: idle, but not before it has been read to its end.
        assert_eq!(watermarks.advance(1_100, &[true, false]), 590);
        assert_eq!(watermarks.advance(1_100, &[true, true]), 890);
        assert_eq!(watermarks.of(1, 1_100, true), (Some(590), true));
        // All idle: everything there is has been read.
        watermarks.heard(1, Some(2_000), 0);
        assert_eq!(watermarks.advance(9_000, &[true, true]), 1_990);
        // A new partition holds back until it is read.
        watermarks.heard(1, Some(3_000), 0);
        watermarks.arrived(1, 9_000);
        assert_eq!(watermarks.advance(9_001, &[true, true, false]), 1_990);
        assert_eq!(watermarks.advance(9_001, &[true, true, true]), 2_990);
    }

    #[test]
    fn one_silent_partition_of_many_does_not_hold_the_rest() {
        let mut watermarks = Watermarks::new(0, 1_000);
        let hour = 3_600_000_000;
        for partition in 0..32 {
            watermarks.arrived(partition, 0);
            watermarks.heard(partition, Some(0), 0);
        }
        let read = [true; 32];
        watermarks.advance(0, &read);
        for minute in 1..=60 {
            let now_ms = minute * 60_000;
            for partition in 0..31 {
                watermarks.arrived(partition, now_ms);
                watermarks.heard(partition, Some(minute as i64 * 60_000_000), 0);
            }
            assert_eq!(watermarks.advance(now_ms, &read), minute as i64 * 60_000_000);
        }
        assert_eq!(watermarks.advance(3_600_000, &read), hour);
    }

    #[test]
    fn a_partition_without_events_holds_nobody() {
        let mut watermarks = Watermarks::new(0, 1_000);
        let read = [true; 2];
        for second in 0..10 {
            watermarks.arrived(0, second * 1_000);
            watermarks.heard(0, Some(second as i64), second * 1_000);
            // Products, say, several a second.
            for part in 0..4 {
                watermarks.arrived(1, second * 1_000 + part * 250);
                watermarks.heard(1, None, second * 1_000 + part * 250);
            }
            // At first it may be about to have some.
            let expected = if second == 0 { Watermarks::UNKNOWN } else { second as i64 };
            assert_eq!(watermarks.advance(second * 1_000 + 800, &read), expected, "{second}");
        }
        // Once it has events, it counts.
        watermarks.heard(1, Some(3), 9_900);
        watermarks.arrived(0, 9_900);
        watermarks.heard(0, Some(100), 9_900);
        assert_eq!(watermarks.advance(9_950, &read), 9);
    }
}
