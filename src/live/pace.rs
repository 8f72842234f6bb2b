//! How long an epoch is: a decision, without a clock of its own.
//!
//! Where everything that came has been read, an epoch lasts one tick, so answers are fresh. Under load the next epoch is not
//! cut before the one but last is closed: epochs grow by themselves to what the dataflow can take. As long as reading is
//! behind, nobody waits for this epoch more than for the next, and epochs are as large as is cheap. Without records there is
//! still an epoch now and then, which says that nothing came. Where memory is short, epochs are small, and one is on its way at
//! a time: what is in flight is all that waiting can free.

use crate::memory::Level;
use crate::settings::LiveSettings;
use std::time::Duration;

/// Smaller epochs are not worth their work.
const EPOCH_RECORDS_LEAST: u64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The shortest epoch that holds records.
    pub tick_ms: u64,
    /// The longest epoch as long as reading is behind.
    pub behind_tick_ms: u64,
    /// The longest epoch without records.
    pub idle_tick_ms: u64,
    /// The most records of an epoch; reading waits beyond it.
    pub epoch_records: u64,
    /// Epochs that may be cut and not closed.
    pub epochs_in_flight: usize,
}

/// What is decided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Since the last cut.
    pub elapsed_ms: u64,
    /// Records since the last cut.
    pub records: u64,
    /// Since the last cut, everything there was had been read at some moment.
    pub caught_up: bool,
    /// Epochs that are cut and not closed.
    pub in_flight: usize,
}

impl Pace {
    /// As the settings say.
    pub fn of(live: &LiveSettings) -> Pace {
        Pace {
            tick_ms: live.tick_ms,
            behind_tick_ms: live.behind_tick_ms,
            idle_tick_ms: live.idle_tick_ms,
            epoch_records: live.epoch_records as u64,
            epochs_in_flight: live.epochs_in_flight,
        }
    }

    /// The pace where so much memory is left.
    pub fn under(self, level: Level) -> Pace {
        let divisor = match level {
            Level::Free => return self,
            Level::Tight => 4,
            Level::Scarce | Level::Over => 16,
        };
        let epoch_records = (self.epoch_records / divisor).max(EPOCH_RECORDS_LEAST).min(self.epoch_records);
        Pace { epoch_records, epochs_in_flight: 1, ..self }
    }

    /// Whether the epoch is to be cut now.
    pub fn is_due(&self, moment: &Moment) -> bool {
        if moment.in_flight >= self.epochs_in_flight {
            return false;
        }
        moment.elapsed_ms >= self.tick(moment) || moment.records >= self.epoch_records
    }

    fn tick(&self, moment: &Moment) -> u64 {
        match (moment.records, moment.caught_up) {
            (0, _) => self.idle_tick_ms,
            (_, true) => self.tick_ms,
            (_, false) => self.behind_tick_ms,
        }
    }

    /// Whether the epoch may take more records.
    pub fn has_room(&self, moment: &Moment) -> bool {
        moment.records < self.epoch_records
    }

    /// When to look again, if nothing happens before.
    pub fn look_again(&self, moment: &Moment) -> Duration {
        Duration::from_millis(self.tick(moment).saturating_sub(moment.elapsed_ms).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace =
        Pace { tick_ms: 10, behind_tick_ms: 200, idle_tick_ms: 100, epoch_records: 1_000, epochs_in_flight: 2 };

    fn check(elapsed_ms: u64, records: u64, in_flight: usize, due: bool, look_again_ms: u64) {
        let moment = Moment { elapsed_ms, records, caught_up: true, in_flight };
        assert_eq!(PACE.is_due(&moment), due, "{moment:?}");
        assert_eq!(PACE.look_again(&moment), Duration::from_millis(look_again_ms), "{moment:?}");
    }

    #[test]
    fn where_memory_is_short_little_is_in_flight() {
        let pace = Pace { epoch_records: 80_000, ..PACE };
        assert_eq!(pace.under(Level::Free), pace);
        let of = |level| (pace.under(level).epoch_records, pace.under(level).epochs_in_flight);
        assert_eq!([of(Level::Tight), of(Level::Scarce), of(Level::Over)], [(20_000, 1), (5_000, 1), (5_000, 1)]);
        let small = |epoch_records| Pace { epoch_records, ..PACE }.under(Level::Scarce).epoch_records;
        assert_eq!([small(2_000), small(300)], [1_000, 300]);
    }

    #[test]
    fn epochs_are_short_when_idle_and_grow_under_load() {
        check(0, 0, 0, false, 100);
        check(100, 0, 0, true, 1);
        check(3, 1, 1, false, 7);
        check(10, 1, 1, true, 1);
        check(500, 900, 2, false, 1);
        check(1, 1_000, 1, true, 9);
        let behind = |elapsed_ms, records| Moment { elapsed_ms, records, caught_up: false, in_flight: 1 };
        assert!(!PACE.is_due(&behind(199, 999)) && PACE.is_due(&behind(200, 1)) && PACE.is_due(&behind(1, 1_000)));
        assert!(PACE.has_room(&behind(0, 999)) && !PACE.has_room(&behind(0, 1_000)));
    }
}
