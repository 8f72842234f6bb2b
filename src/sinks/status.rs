//! How far a topic is: for metrics and for people. Whoever publishes writes it, anybody reads it.

use crate::numbers::Epoch;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Debug, Default)]
pub struct SinkStatus {
    /// The topic.
    pub name: String,
    epoch: AtomicU64,
    /// Milliseconds since 1970 at which a checkpoint was seen that the topic does not have; 0: it has the newest.
    behind_since_ms: AtomicU64,
    published: AtomicU64,
    transactions: AtomicU64,
    failures: AtomicU64,
}

impl SinkStatus {
    pub(super) fn new(topic: &str) -> SinkStatus {
        SinkStatus { name: topic.to_owned(), ..SinkStatus::default() }
    }

    /// For how many milliseconds there has been a checkpoint that the topic does not have; 0 where it has the newest.
    pub fn lag_ms(&self, now_ms: u64) -> u64 {
        match self.behind_since_ms.load(Relaxed) {
            0 => 0,
            since => now_ms.saturating_sub(since),
        }
    }

    /// The epoch of the frontier; 0 where it is not known yet.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Relaxed)
    }

    /// Changes and dead letters that this run has published.
    pub fn published(&self) -> u64 {
        self.published.load(Relaxed)
    }

    /// Transactions that this run has committed.
    pub fn transactions(&self) -> u64 {
        self.transactions.load(Relaxed)
    }

    /// Times that publishing failed and was begun anew.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    pub(super) fn is_at(&self, epoch: Epoch) {
        self.epoch.store(epoch.0, Relaxed);
    }

    pub(super) fn has_published(&self, messages: u64) {
        self.published.fetch_add(messages, Relaxed);
        self.transactions.fetch_add(1, Relaxed);
    }

    pub(super) fn has_failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// It lacks a checkpoint, seen now.
    pub(super) fn is_behind(&self, now_ms: u64) {
        // Since the first that it lacks.
        let _ = self.behind_since_ms.compare_exchange(0, now_ms.max(1), Relaxed, Relaxed);
    }

    pub(super) fn has_all(&self) {
        self.behind_since_ms.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_lags_from_the_first_checkpoint_that_it_lacks() {
        let status = SinkStatus::new("out");
        assert_eq!(status.lag_ms(5_000), 0);
        status.is_behind(5_000);
        status.is_behind(7_000);
        assert_eq!((status.lag_ms(9_000), status.lag_ms(4_000)), (4_000, 0));
        status.has_all();
        assert_eq!(status.lag_ms(9_000), 0);
    }
}
