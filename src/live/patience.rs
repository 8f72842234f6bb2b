//! How long a start waits for what is away: its lake, its source.
//!
//! Waited for is what may pass or be mended while nobody touches the settings: a broker or a store that does not answer, rights
//! that were taken away, no space, no descriptors. What only other settings help is an error at once: a path that is not there, a
//! topic that is unknown, a password that is refused by name.

use crate::checkpoint::outage;
use millrace_connectors::lake::LakeError;
use millrace_connectors::source::SourceError;
use millrace_connectors::source::kafka::KafkaError;
use millrace_connectors::store::StoreError;
use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// How often it is looked whether to go on waiting.
const LOOK: Duration = Duration::from_millis(20);

pub struct Patience<'a> {
    limit: Duration,
    say: &'a dyn Fn(String),
    should_stop: &'a dyn Fn() -> bool,
    started: Option<Instant>,
    failed: u32,
    /// Reasons that have been told.
    said: BTreeSet<String>,
}

impl<'a> Patience<'a> {
    pub fn new(limit_ms: u64, say: &'a dyn Fn(String), should_stop: &'a dyn Fn() -> bool) -> Patience<'a> {
        let limit = Duration::from_millis(limit_ms);
        Patience { limit, say, should_stop, started: None, failed: 0, said: BTreeSet::new() }
    }

    /// Waits a little before the next try.
    ///
    /// # Errors
    /// The one that was given, where waiting does not help it, or has lasted too long.
    pub fn wait(&mut self, error: anyhow::Error) -> anyhow::Result<()> {
        if !is_waited_for(&error) {
            return Err(error);
        }
        let started = *self.started.get_or_insert_with(Instant::now);
        self.failed += 1;
        let until = Instant::now() + outage::pause(self.failed);
        if until >= started + self.limit {
            return Err(error.context(format!("it was tried to start {}", outage::since(started))));
        }
        if self.said.insert(format!("{error:#}")) {
            let limit = self.limit.as_secs();
            (self.say)(format!("warning: {error:#}; trying again for up to {limit} s (live.outage_ms)"));
        }
        while Instant::now() < until {
            anyhow::ensure!(!(self.should_stop)(), "it was told to end before it had started: {error:#}");
            std::thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
        }
        Ok(())
    }
}

/// Whether an error may pass, or be mended by others, while the settings stay as they are.
pub fn is_waited_for(error: &anyhow::Error) -> bool {
    error.chain().any(may_pass)
}

fn may_pass(cause: &(dyn Error + 'static)) -> bool {
    if let Some(error) = cause.downcast_ref::<StoreError>() {
        return error.may_be_mended();
    }
    match cause.downcast_ref::<LakeError>() {
        Some(LakeError::Store(error)) => return error.may_be_mended(),
        Some(LakeError::Write { error, .. } | LakeError::Read { error, .. }) => return is_short_of(error),
        _ => {}
    }
    match cause.downcast_ref::<SourceError>() {
        Some(SourceError::Unreadable { error, .. }) => is_short_of(error),
        Some(SourceError::Kafka(KafkaError::Unreachable { .. })) => true,
        _ => false,
    }
}

/// The machine has not enough of something, or what was mounted does not answer.
fn is_short_of(error: &io::Error) -> bool {
    const OF_THE_MACHINE: [i32; 3] = [libc::EMFILE, libc::ENFILE, libc::EIO];
    let kinds = [
        ErrorKind::StorageFull,
        ErrorKind::QuotaExceeded,
        ErrorKind::OutOfMemory,
        ErrorKind::TimedOut,
        ErrorKind::StaleNetworkFileHandle,
        ErrorKind::ResourceBusy,
    ];
    kinds.contains(&error.kind()) || error.raw_os_error().is_some_and(|code| OF_THE_MACHINE.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};
    use millrace_connectors::store::Outcome;
    use std::cell::RefCell;

    fn store(outcome: Outcome) -> StoreError {
        let (place, key) = ("s3://lake".to_owned(), "the bucket".to_owned());
        StoreError::Failed { what: "reach", place, key, message: "AccessDenied".to_owned(), outcome }
    }

    fn of(error: impl Error + Send + Sync + 'static) -> anyhow::Error {
        Err::<(), _>(error).context("opening").expect_err("it is one")
    }

    #[test]
    fn what_only_other_settings_help_is_not_waited_for() {
        let kafka = |error| of(SourceError::Kafka(error));
        let unreadable = |error: io::Error| of(SourceError::Unreadable { path: "log".into(), error });
        let unreachable = KafkaError::Unreachable {
            brokers: "b:1".to_owned(),
            timeout: Duration::from_secs(1),
            reason: "refused".to_owned(),
        };
        let waited_for = [
            of(store(Outcome::Hindered)),
            of(store(Outcome::Passing)),
            of(LakeError::Store(store(Outcome::Hindered))),
            of(LakeError::Write { path: "lake".into(), error: ErrorKind::StorageFull.into() }),
            kafka(unreachable),
            unreadable(io::Error::from_raw_os_error(libc::EMFILE)),
        ];
        for error in waited_for {
            assert!(is_waited_for(&error), "{error:#}");
        }
        let not = [
            anyhow!("settings"),
            of(store(Outcome::Refused)),
            of(StoreError::NotFound { place: "lake".to_owned(), key: "a".to_owned() }),
            of(LakeError::Locked { path: "lake".into() }),
            of(LakeError::Write { path: "lake".into(), error: ErrorKind::PermissionDenied.into() }),
            kafka(KafkaError::NoSuchTopic { topic: "typo".to_owned(), brokers: "b:1".to_owned() }),
            kafka(KafkaError::NotLetIn { brokers: "b:1".to_owned(), reason: "password".to_owned() }),
            unreadable(ErrorKind::NotFound.into()),
        ];
        for error in not {
            assert!(!is_waited_for(&error), "{error:#}");
        }
    }

    #[test]
    fn it_waits_for_so_long_and_says_each_reason_once() {
        let said = RefCell::new(Vec::new());
        let (say, never) = (|text: String| said.borrow_mut().push(text), || false);
        let mut patience = Patience::new(1_000, &say, &never);
        let begun = Instant::now();
        let error = loop {
            if let Err(error) = patience.wait(of(store(Outcome::Hindered))) {
                break format!("{error:#}");
            }
        };
        let took = begun.elapsed();
        assert!(took < Duration::from_millis(1_500) && took > Duration::from_millis(500), "{took:?}");
        assert!(
            error.contains("AccessDenied") && error.contains("since 2") && error.contains("live.outage_ms"),
            "{error}"
        );
        let said = said.borrow();
        assert!(said.len() == 1 && said[0].contains("AccessDenied"), "{said:?}");
    }

    #[test]
    fn who_is_told_to_end_waits_no_longer() {
        let (say, always) = (|_| {}, || true);
        let mut patience = Patience::new(60_000, &say, &always);
        let error = patience.wait(of(store(Outcome::Passing))).expect_err("it was told to end");
        assert!(format!("{error:#}").contains("told to end"));
    }
}
