//! When a call is tried again.

use super::StoreError;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    pub first_pause: Duration,
    pub longest_pause: Duration,
    /// From the first try on.
    pub deadline: Duration,
}

impl Retry {
    pub const DEFAULT: Retry = Retry {
        first_pause: Duration::from_millis(50),
        longest_pause: Duration::from_secs(2),
        deadline: Duration::from_secs(60),
    };

    /// How long to wait before the next try, if there is one: after so many failed ones, so long after the first.
    pub fn pause(&self, failed: u32, elapsed: Duration, error: &StoreError) -> Option<Duration> {
        let pause = self.first_pause.saturating_mul(1 << failed.saturating_sub(1).min(16)).min(self.longest_pause);
        (error.is_passing() && elapsed + pause < self.deadline).then_some(pause)
    }

    /// Calls until it works, fails for good, or it has been too long.
    ///
    /// # Errors
    /// That of the last call.
    pub fn run<T>(&self, mut call: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let started = std::time::Instant::now();
        let mut failed = 0;
        loop {
            match call() {
                Ok(done) => return Ok(done),
                Err(error) => {
                    failed += 1;
                    let Some(pause) = self.pause(failed, started.elapsed(), &error) else { return Err(error) };
                    std::thread::sleep(pause);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_until_the_deadline() {
        let millis = Duration::from_millis;
        let retry = Retry { first_pause: millis(10), longest_pause: millis(50), deadline: millis(200) };
        let error = |is_passing| StoreError::Remote {
            what: "write",
            place: "p".to_owned(),
            key: "k".to_owned(),
            message: "m".to_owned(),
            is_passing,
        };
        assert_eq!(retry.pause(1, millis(0), &error(true)), Some(millis(10)));
        assert_eq!(retry.pause(3, millis(30), &error(true)), Some(millis(40)));
        assert_eq!(retry.pause(9, millis(100), &error(true)), Some(millis(50)));
        assert_eq!(retry.pause(9, millis(160), &error(true)), None);
        assert_eq!(retry.pause(1, millis(0), &error(false)), None);
        let mut calls = 0;
        let done = retry.run(|| {
            calls += 1;
            if calls < 3 { Err(error(true)) } else { Ok(calls) }
        });
        assert_eq!(done.ok(), Some(3));
    }
}
