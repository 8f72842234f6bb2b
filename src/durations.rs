//! How long things took, counted by bounds: atomics only, so whoever counts waits for nobody.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Bounds of what is answered: a tenth of a millisecond to ten seconds, in seconds.
pub const OF_ANSWERS: [f64; 15] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Bounds of what is written: ten milliseconds to ten minutes, in seconds.
pub const OF_WRITING: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0];

/// Counts of durations, since the process started.
#[derive(Debug)]
pub struct Durations {
    bounds: &'static [f64],
    /// By bound; the last is beyond all of them.
    counts: Vec<AtomicU64>,
    nanos: AtomicU64,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Histogram {
    /// A bound in seconds, and how many took no longer, but longer than the bound before it. The last bound is infinity.
    pub buckets: Vec<(f64, u64)>,
    /// All of them summed up.
    pub seconds: f64,
}

impl Durations {
    /// With bounds in seconds that rise.
    pub fn new(bounds: &'static [f64]) -> Durations {
        assert!(bounds.is_sorted() && bounds.first().is_some_and(|least| *least > 0.0), "{bounds:?}");
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Durations { bounds, counts, nanos: AtomicU64::new(0) }
    }

    pub fn add(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.counts[self.bounds.partition_point(|bound| *bound < seconds)].fetch_add(1, Relaxed);
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    pub fn histogram(&self) -> Histogram {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets = bounds.zip(self.counts.iter().map(|count| count.load(Relaxed))).collect();
        Histogram { buckets, seconds: Duration::from_nanos(self.nanos.load(Relaxed)).as_secs_f64() }
    }
}

impl Histogram {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_once_at_the_first_bound_that_holds_it() {
        let durations = Durations::new(&[0.001, 0.01]);
        for micros in [0, 1_000, 1_001, 10_000, 10_001, 7_000_000] {
            durations.add(Duration::from_micros(micros));
        }
        let histogram = durations.histogram();
        assert_eq!(histogram.buckets, [(0.001, 2), (0.01, 2), (f64::INFINITY, 2)]);
        assert_eq!((histogram.count(), histogram.seconds), (6, 7.022_002));
    }

    #[test]
    fn bounds_rise() {
        for bounds in [&OF_ANSWERS[..], &OF_WRITING] {
            assert_eq!(Durations::new(bounds).histogram().count(), 0);
            assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
