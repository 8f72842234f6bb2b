//! What was asked of the server, counted by method.

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

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    errors: AtomicU64,
    nanos: AtomicU64,
}

/// Since the server started.
#[derive(Debug, Default)]
pub struct ServeMetrics {
    methods: [Counters; METHODS.len()],
}

/// What was counted of one method.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MethodCounts {
    pub method: &'static str,
    pub requests: u64,
    /// Those that were refused or failed before the first byte of an answer.
    pub errors: u64,
    /// From the request to the first byte of the answer, summed up.
    pub seconds: f64,
}

impl ServeMetrics {
    /// The methods that were called at all.
    pub fn counts(&self) -> Vec<MethodCounts> {
        let counts = METHODS.iter().zip(&self.methods).map(|(method, counters)| MethodCounts {
            method,
            requests: counters.requests.load(Relaxed),
            errors: counters.errors.load(Relaxed),
            seconds: Duration::from_nanos(counters.nanos.load(Relaxed)).as_secs_f64(),
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
        counters.requests.fetch_add(1, Relaxed);
        counters.errors.fetch_add(u64::from(failed), Relaxed);
        counters.nanos.fetch_add(took.as_nanos() as u64, Relaxed);
    }
}
