//! What the engine says of itself: data only, gathered when somebody asks.

use crate::durations::Histogram;
use millrace_dataflows::table::Table;
use serde::{Deserialize, Serialize};

/// The engine, from the serving side.
pub trait Engine: Send + Sync {
    fn status(&self) -> EngineStatus;

    /// Stops reading, closes what is open and ends. Returns at once; asking twice is fine.
    fn drain(&self);

    /// Why no more reads are taken for now, where that is so.
    fn refuses_reads(&self) -> Option<String> {
        None
    }

    /// The latest rejected records, as `millrace query quarantine` has them.
    fn quarantine(&self) -> Table;

    /// The columns of [`Engine::quarantine`].
    fn quarantine_columns(&self) -> Vec<String>;

    /// The effective settings as `millrace config` prints them, secrets redacted.
    fn settings(&self) -> String;
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineStatus {
    /// The epoch that records are stamped with now.
    pub epoch: u64,
    /// Epochs that are stamped and not closed yet.
    pub epochs_in_flight: u64,
    pub workers: usize,
    pub started_at_ms: i64,
    /// Resident bytes of the process; 0 where the system does not say.
    pub memory_bytes: u64,
    /// What the process may have of it (`limits.memory`); `None` where that is unlimited or not known yet.
    pub memory_limit_bytes: Option<u64>,
    /// User and system time of the process.
    pub cpu_seconds: f64,
    /// Why the source cannot be reached, where it cannot.
    pub source_down: Option<String>,
    pub partitions: Vec<PartitionStatus>,
    /// What is kept in memory, by name (sessions, orders, ids, …): how many.
    pub held: Vec<(String, u64)>,
    /// There is no engine yet: what is said is of what stands by for it.
    pub standing_by: bool,
    /// It was told to end, or ends because a part has failed.
    pub draining: bool,
    /// Why a thread of the engine has failed, where one has.
    pub failed: Option<String>,
    /// How it stands with its lake, where it has one.
    pub lake: Option<LakeStatus>,
}

/// The checkpoints of a lake, and its files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LakeStatus {
    /// The epoch of the last checkpoint; 0 where there is none.
    pub epoch: u64,
    /// When its manifest was written, in milliseconds since 1970, where there is one.
    pub written_ms: Option<u64>,
    /// From when all workers had sealed a checkpoint to when its manifest was there, of those that this process has committed.
    pub took: Histogram,
    /// Calls of the store that failed and were tried again, and commits that failed for good.
    pub failures: u64,
    /// Files that the last manifest names, by kind.
    pub files: Vec<(String, u64)>,
    /// How often files were merged into others.
    pub compactions: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PartitionStatus {
    pub source: String,
    pub partition: u32,
    /// The offset of the next record to be read.
    pub next_offset: u64,
    /// The offset after the last record there is, where known.
    pub end_offset: Option<u64>,
    /// UTC microseconds; `None` before its first record.
    pub watermark: Option<i64>,
    /// It has nothing to read and does not hold the watermark back.
    pub idle: bool,
    /// Records that retention removed before they were read.
    pub lost: u64,
    pub fault: Option<String>,
}
