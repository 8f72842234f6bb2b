//! What a replay is asked for, and what it came to.

use crate::live::RejectExample;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What to replay, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayRequest {
    /// Files and folders, as given.
    pub paths: Vec<PathBuf>,
    pub data_dir: PathBuf,
    /// `--workers`, else `replay.workers`; at least 1.
    pub workers: usize,
}

/// What a replay did. As JSON it is one object of exactly these fields, `warnings` left out.
///
/// Invariant: `read = accepted + duplicates + quarantined + pending`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReplaySummary {
    pub read: u64,
    pub accepted: u64,
    pub duplicates: u64,
    pub quarantined: u64,
    pub pending: u64,
    /// Of the wall clock, from the start of the command's work to the last durable byte.
    pub seconds: f64,
    /// User and system time of the process.
    pub cpu_seconds: f64,
    /// `read / seconds`.
    pub events_per_second: f64,
    pub peak_rss_bytes: u64,
    /// The last closed epoch.
    pub epoch: u64,
    /// What each rule has rejected, the commonest first.
    #[serde(default)]
    pub rejected: Vec<RejectedRule>,
    /// For people: a line each, such as `quantity_zero: 12`.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// What one rule has rejected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedRule {
    pub rule: String,
    pub records: u64,
    /// None where all were rejected by an earlier run.
    pub example: Option<RejectExample>,
}
