//! When a call is tried again. For stores that do not do so themselves: the local one, and the unreliable one.

use super::StoreError;
use std::thread::sleep;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Doubled from try to try.
    pub first_pause: Duration,
    pub longest_pause: Duration,
    /// From the start of the first try; none begins after it.
    pub deadline: Duration,
}

impl Retry {
    pub const DEFAULT: Retry = Retry {
        first_pause: Duration::from_millis(50),
        longest_pause: Duration::from_secs(2),
        deadline: Duration::from_secs(30),
    };

    /// The pause before the next try, where there is one: so many have failed, the first began so long ago, and this is what the
    /// last one said.
    pub fn pause(&self, failed: u32, elapsed: Duration, error: &StoreError) -> Option<Duration> {
        let doublings = failed.saturating_sub(1).min(20);
        let pause = self.first_pause.saturating_mul(1 << doublings).min(self.longest_pause);
        (error.is_passing() && elapsed.saturating_add(pause) < self.deadline).then_some(pause)
    }
}

impl Default for Retry {
    fn default() -> Retry {
        Retry::DEFAULT
    }
}

/// Tries until it works, is refused, or has taken too long. For calls that may be done twice; `put_if_absent` may not:
/// [`Retrying`](super::Retrying) knows how.
///
/// # Errors
/// That of the last try.
pub fn with_retries<T>(retry: &Retry, mut call: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let started = Instant::now();
    let mut failed = 0;
    loop {
        let error = match call() {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        failed += 1;
        let Some(pause) = retry.pause(failed, started.elapsed(), &error) else { return Err(error) };
        sleep(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    const RETRY: Retry = Retry {
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(50),
        deadline: Duration::from_millis(200),
    };

    fn failed(outcome: Outcome) -> StoreError {
        let (place, key, message) = ("p".to_owned(), "k".to_owned(), "m".to_owned());
        StoreError::Failed { what: "write", place, key, message, outcome }
    }

    #[test]
    fn what_may_pass_is_tried_again_until_the_deadline() {
        let pause = |failures, elapsed, outcome| {
            let pause = RETRY.pause(failures, Duration::from_millis(elapsed), &failed(outcome));
            pause.map(|pause| pause.as_millis())
        };
        for outcome in [Outcome::Passing, Outcome::Indefinite] {
            assert_eq!(pause(1, 0, outcome), Some(10));
            assert_eq!(pause(3, 30, outcome), Some(40));
            assert_eq!(pause(4, 30, outcome), Some(50));
            assert_eq!(pause(u32::MAX, 149, outcome), Some(50));
            assert_eq!(pause(9, 150, outcome), None);
        }
        assert_eq!(pause(1, 0, Outcome::Refused), None);
        let not_there = StoreError::NotFound { place: "p".to_owned(), key: "k".to_owned() };
        assert_eq!(RETRY.pause(1, Duration::ZERO, &not_there), None);
    }

    #[test]
    fn the_last_error_is_the_one_that_is_told() {
        let mut outcomes = [Outcome::Passing, Outcome::Indefinite, Outcome::Refused, Outcome::Passing].into_iter();
        let result: Result<(), _> =
            with_retries(&RETRY, || Err(failed(outcomes.next().expect("an outcome for each try"))));
        assert_eq!(result.unwrap_err().outcome(), Outcome::Refused);
        assert_eq!(outcomes.len(), 1);
    }
}
