//! The time of day, as an argument: live, epochs are its milliseconds.

/// Milliseconds since 1970.
pub trait Clock: Send + Sync {
    fn now_ms(&self) -> u64;
}

/// The machine's.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the time of day comes in")]
    fn now_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// One that stands where a test has set it.
#[cfg(test)]
#[derive(Debug, Default)]
pub struct SetClock(pub std::sync::atomic::AtomicU64);

#[cfg(test)]
impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}
