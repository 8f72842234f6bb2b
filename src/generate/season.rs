//! When people shop: the hours of the day and the days of the week.
//!
//! Time is stretched so that visits arrive evenly in it: an hour of evening counts for fifteen of the night. Where the
//! next visit falls is then one exponential step in stretched time.

use super::options::{MICROS_PER_DAY, MICROS_PER_HOUR};

/// Quiet at 4, busiest at 20, by UTC hour; the mean does not matter.
const BY_HOUR: [f64; 24] = [
    0.35, 0.22, 0.15, 0.12, 0.12, 0.18, 0.35, 0.60, 0.85, 1.05, 1.15, 1.20, // midnight to noon
    1.25, 1.20, 1.15, 1.15, 1.20, 1.30, 1.45, 1.70, 1.85, 1.75, 1.30, 0.75, // noon to midnight
];
/// Monday to Sunday.
const BY_WEEKDAY: [f64; 7] = [1.00, 0.97, 0.96, 0.98, 0.95, 1.04, 1.15];
/// 1970-01-01 was a Thursday.
const WEEKDAY_OF_DAY_0: i64 = 3;
const SLOT_MICROS: i64 = MICROS_PER_HOUR / 4;
const SLOTS_PER_DAY: i64 = MICROS_PER_DAY / SLOT_MICROS;

/// The rate of visits over time, relative to an arbitrary unit; constant within a quarter of an hour.
#[derive(Clone, Copy, Debug)]
pub struct Season {
    pub flat: bool,
}

impl Season {
    /// Moves on from `time` by `amount` of stretched microseconds.
    pub fn advance(self, mut time: i64, mut amount: f64) -> i64 {
        loop {
            let slot = time.div_euclid(SLOT_MICROS);
            let slot_end = (slot + 1) * SLOT_MICROS;
            let rate = self.rate(slot);
            let left_in_slot = rate * (slot_end - time) as f64;
            if amount < left_in_slot {
                return time + (amount / rate) as i64;
            }
            amount -= left_in_slot;
            time = slot_end;
        }
    }

    /// The stretched microseconds between two instants that are whole days apart.
    pub fn total(self, start: i64, days: u32) -> f64 {
        let first = start.div_euclid(SLOT_MICROS);
        (first..first + i64::from(days) * SLOTS_PER_DAY).map(|slot| self.rate(slot) * SLOT_MICROS as f64).sum()
    }

    fn rate(self, slot: i64) -> f64 {
        if self.flat {
            return 1.0;
        }
        let (day, slot) = (slot.div_euclid(SLOTS_PER_DAY), slot.rem_euclid(SLOTS_PER_DAY));
        let (hour, quarter) = ((slot / 4) as usize, (slot % 4) as f64 / 4.0);
        let by_hour = BY_HOUR[hour] * (1.0 - quarter) + BY_HOUR[(hour + 1) % 24] * quarter;
        by_hour * BY_WEEKDAY[(day + WEEKDAY_OF_DAY_0).rem_euclid(7) as usize]
    }
}
