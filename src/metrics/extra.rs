//! Figures that other parts of a process set: those of the cluster that it is in, and of sinks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// What others set. A process that is told nothing is the one of its cluster, and was never started again.
#[derive(Debug)]
pub struct Extra {
    expected: AtomicU64,
    connected: AtomicU64,
    restarts: AtomicU64,
    sinks: Mutex<BTreeMap<String, Arc<SinkFigures>>>,
}

impl Default for Extra {
    fn default() -> Extra {
        let one = || AtomicU64::new(1);
        Extra { expected: one(), connected: one(), restarts: AtomicU64::new(0), sinks: Mutex::default() }
    }
}

impl Extra {
    /// How many processes the cluster has, and how many of them are connected with each other as this one sees it; itself is one.
    pub fn set_processes(&self, expected: u64, connected: u64) {
        self.expected.store(expected, Relaxed);
        self.connected.store(connected, Relaxed);
    }

    /// Expected, and connected.
    pub fn processes(&self) -> (u64, u64) {
        (self.expected.load(Relaxed), self.connected.load(Relaxed))
    }

    /// How often the engine was started again under its parent. It only rises.
    pub fn set_restarts(&self, restarts: u64) {
        self.restarts.fetch_max(restarts, Relaxed);
    }

    pub fn restarts(&self) -> u64 {
        self.restarts.load(Relaxed)
    }

    /// The figures of a sink, which are shown from now on.
    pub fn sink(&self, name: &str) -> Arc<SinkFigures> {
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        sinks.entry(name.to_owned()).or_default().clone()
    }

    /// By name.
    pub fn sinks(&self) -> Vec<(String, Arc<SinkFigures>)> {
        let sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        sinks.iter().map(|(name, figures)| (name.clone(), figures.clone())).collect()
    }
}

/// How it goes with a sink.
#[derive(Debug, Default)]
pub struct SinkFigures {
    /// Milliseconds since 1970; 0 where nothing waits.
    waits_since_ms: AtomicU64,
    published: AtomicU64,
    failures: AtomicU64,
}

impl SinkFigures {
    /// Since when the oldest that is not published waits, in milliseconds since 1970; `None` where nothing does. A sink that hangs says
    /// nothing more, and its lag goes on rising.
    pub fn waits_since(&self, since_ms: Option<u64>) {
        self.waits_since_ms.store(since_ms.unwrap_or(0), Relaxed);
    }

    /// So many records more are published.
    pub fn published(&self, records: u64) {
        self.published.fetch_add(records, Relaxed);
    }

    /// A try has failed.
    /// As whoever publishes counts them: what it is behind in milliseconds, what it has published, and how often it failed.
    pub fn are(&self, now_ms: u64, lag_ms: u64, published: u64, failures: u64) {
        self.waits_since((lag_ms > 0).then(|| now_ms.saturating_sub(lag_ms)));
        self.published.store(published, Relaxed);
        self.failures.store(failures, Relaxed);
    }

    pub fn failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// In seconds.
    pub fn lag(&self, now_ms: u64) -> f64 {
        match self.waits_since_ms.load(Relaxed) {
            0 => 0.0,
            since => now_ms.saturating_sub(since) as f64 / 1_000.0,
        }
    }

    /// Records that are published, and tries that have failed.
    pub fn counts(&self) -> (u64, u64) {
        (self.published.load(Relaxed), self.failures.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_that_says_nothing_more_falls_behind() {
        let extra = Extra::default();
        let sink = extra.sink("sales");
        sink.published(3);
        sink.failed();
        assert_eq!((sink.lag(9_000), sink.counts()), (0.0, (3, 1)));
        extra.sink("sales").waits_since(Some(5_000));
        assert_eq!((sink.lag(9_000), sink.lag(4_000), extra.sinks().len()), (4.0, 0.0, 1));
        sink.waits_since(None);
        assert_eq!(sink.lag(9_000), 0.0);
    }

    #[test]
    fn a_process_alone_is_a_cluster_of_one() {
        let extra = Extra::default();
        assert_eq!((extra.processes(), extra.restarts()), ((1, 1), 0));
        extra.set_processes(3, 2);
        extra.set_restarts(2);
        extra.set_restarts(1);
        assert_eq!((extra.processes(), extra.restarts()), ((3, 2), 2));
    }
}
