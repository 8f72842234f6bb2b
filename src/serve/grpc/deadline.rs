//! When a call has to be answered: its own deadline, within the server's.

use super::super::settings::ServeSettings;
use std::time::Duration;
use tokio::time::Instant;
use tonic::Status;
use tonic::metadata::MetadataMap;

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

    /// Of a call that has just arrived.
    pub fn deadline(&self, metadata: &MetadataMap) -> Deadline {
        let after = asked(metadata).unwrap_or(self.default).min(self.most);
        Deadline { at: Instant::now() + after - (after / 20).min(MARGIN_MAX), after }
    }
}

impl Deadline {
    /// # Errors
    /// Where it has passed.
    pub fn check(&self, what: &str) -> Result<(), Status> {
        if Instant::now() < self.at { Ok(()) } else { Err(self.passed(what)) }
    }

    pub fn passed(&self, what: &str) -> Status {
        Status::deadline_exceeded(format!("{what} within {} ms: give the call more time", self.after.as_millis()))
    }
}

/// The `grpc-timeout` of a call: up to eight digits and a unit. What is none is left to the transport to complain of.
pub fn asked(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8 && !digits.starts_with('+'))?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_a_unit_and_a_limit() {
        let limits = Limits { default: Duration::from_secs(10), most: Duration::from_secs(60) };
        let of = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().expect("ASCII"));
            limits.deadline(&metadata).after
        };
        assert_eq!(of("250m"), Duration::from_millis(250));
        assert_eq!(of("7S"), Duration::from_secs(7));
        assert_eq!(of("99999999H"), Duration::from_secs(60));
        for none in ["", "S", "7", "7x", "+7S", "123456789S"] {
            assert_eq!(of(none), Duration::from_secs(10), "{none:?}");
        }
    }
}
