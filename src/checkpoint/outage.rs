//! How what is away is tried again, and how that is said.

use crate::clock::{Clock, SystemClock};
use millrace_schema::calendar::rfc3339_micros;
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The pause after so many failures.
pub fn pause(failed: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failed.saturating_sub(1).min(10)).min(LONGEST_PAUSE)
}

/// "since 2026-12-01T09:00:00.000000Z, for 300 s (live.outage_ms)".
pub fn since(started: Instant) -> String {
    let elapsed = started.elapsed();
    let began = SystemClock.now_ms().saturating_sub(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
    let began = rfc3339_micros(i64::try_from(began).unwrap_or(i64::MAX).saturating_mul(1_000));
    format!("since {began}, for {} s (live.outage_ms)", elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit() {
        assert_eq!([1, 2, 3, 30].map(|failed| pause(failed).as_millis()), [100, 200, 400, 5_000]);
    }
}
