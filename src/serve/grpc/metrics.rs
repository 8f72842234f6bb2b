//! What was asked of the server, counted by method.

use crate::durations::{Durations, Histogram, OF_ANSWERS};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The methods that are counted by name; all others are counted together.
pub const METHODS: [&str; 10] = [
    "millrace.v1.Analytics/GetRelatedProducts",
    "millrace.v1.Analytics/GetSales",
    "millrace.v1.Analytics/GetFunnel",
    "millrace.v1.Analytics/Query",
    "millrace.v1.Analytics/Subscribe",
    "millrace.v1.Analytics/ListViews",
    "millrace.v1.Analytics/GetStatus",
    "millrace.v1.Admin/Drain",
    "millrace.v1.Admin/GetSettings",
    "other",
];

#[derive(Debug)]
struct Counters {
    errors: AtomicU64,
    took: Durations,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters { errors: AtomicU64::new(0), took: Durations::new(&OF_ANSWERS) }
    }
}

/// Since the server started.
#[derive(Debug, Default)]
pub struct ServeMetrics {
    methods: [Counters; METHODS.len()],
}

/// What was counted of one method.
#[derive(Clone, Debug, PartialEq)]
pub struct MethodCounts {
    pub method: &'static str,
    pub requests: u64,
    /// Those that were refused or failed before the first byte of an answer.
    pub errors: u64,
    /// From the request to the first byte of the answer.
    pub took: Histogram,
}

/// What a server says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServeStatus {
    /// The methods that were called at all.
    pub methods: Vec<MethodCounts>,
    pub subscriptions: u64,
    pub connections: u64,
    pub draining: bool,
}

/// Asks a server, for as long as it is there.
pub type AskServer = Arc<dyn Fn() -> Option<ServeStatus> + Send + Sync>;

impl ServeMetrics {
    /// The methods that were called at all.
    pub fn counts(&self) -> Vec<MethodCounts> {
        let counts = METHODS.iter().zip(&self.methods).map(|(method, counters)| {
            // Before the requests: no more fail than there are.
            let errors = counters.errors.load(Relaxed);
            let took = counters.took.histogram();
            MethodCounts { method, requests: took.count(), errors, took }
        });
        counts.filter(|counts| counts.requests > 0).collect()
    }

    /// The place of a method in [`METHODS`], by the path of its requests.
    pub(super) fn method(path: &str) -> usize {
        let name = path.strip_prefix('/').unwrap_or(path);
        METHODS.iter().position(|method| *method == name).unwrap_or(METHODS.len() - 1)
    }

    pub(super) fn count(&self, method: usize, failed: bool, took: Duration) {
        let counters = &self.methods[method];
        counters.took.add(took);
        counters.errors.fetch_add(u64::from(failed), Relaxed);
    }
}
