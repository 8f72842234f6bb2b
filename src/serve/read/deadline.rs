//! When a call has to be answered: its own deadline, within the server's.

use super::error::{Kind, ReadError};
use crate::serve::settings::ServeSettings;
use std::time::Duration;
use tokio::time::Instant;

/// How early the server gives up, so that the caller still hears why: a twentieth of the time, at most this.
const MARGIN_MAX: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    default: Duration,
    most: Duration,
}

#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    pub at: Instant,
    /// From the call's arrival.
    pub after: Duration,
}

impl Limits {
    pub fn of(settings: &ServeSettings) -> Limits {
        let most = Duration::from_millis(settings.deadline_max_ms);
        Limits { default: Duration::from_millis(settings.deadline_default_ms).min(most), most }
    }

    /// Of a call that has just arrived, and of the time that it gives.
    pub fn deadline(&self, asked: Option<Duration>) -> Deadline {
        let after = asked.unwrap_or(self.default).min(self.most);
        Deadline { at: Instant::now() + after - (after / 20).min(MARGIN_MAX), after }
    }
}

impl Deadline {
    /// # Errors
    /// Where it has passed.
    pub fn check(&self, what: &str) -> Result<(), ReadError> {
        if Instant::now() < self.at { Ok(()) } else { Err(self.passed(what)) }
    }

    /// What is said where it has.
    pub fn passed(&self, what: &str) -> ReadError {
        let after_ms = self.after.as_millis();
        ReadError::new(Kind::Late, format!("{what} within {after_ms} ms: give the call more time"))
            .with("after_ms", after_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_its_own_time_and_the_server_the_last_word() {
        let limits = Limits { default: Duration::from_secs(10), most: Duration::from_secs(60) };
        let of = |asked| limits.deadline(asked).after;
        assert_eq!(of(None), Duration::from_secs(10));
        assert_eq!(of(Some(Duration::from_millis(250))), Duration::from_millis(250));
        assert_eq!(of(Some(Duration::from_secs(3_600))), Duration::from_secs(60));
        let passed = limits.deadline(Some(Duration::ZERO)).check("nothing").expect_err("it has passed");
        assert_eq!(passed.kind, Kind::Late);
    }
}
