//! What a start serves before its engine runs: the answers of the lake, and why it does not run yet.

use super::engine::LiveEngine;
use super::restore::resume_of;
use crate::checkpoint::Manifest;
use crate::clock::{Clock, SystemClock};
use crate::ingest::QUARANTINE_COLUMNS;
use crate::memory::usage;
use crate::serve::status::{Engine, EngineStatus, PartitionStatus};
use millrace_connectors::source::{PartitionInfo, Resume};
use millrace_dataflows::table::Table;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The engine, once there is one.
pub struct Standby {
    engine: OnceLock<Arc<LiveEngine>>,
    /// Why there is none yet.
    reason: Mutex<String>,
    /// Where reading will go on.
    partitions: Mutex<Vec<PartitionStatus>>,
    workers: usize,
    started_at_ms: i64,
    settings: String,
    stop: AtomicBool,
}

impl Standby {
    pub fn new(workers: usize, settings: String) -> Standby {
        Standby {
            engine: OnceLock::new(),
            reason: Mutex::new("it is starting".to_owned()),
            partitions: Mutex::default(),
            workers,
            started_at_ms: i64::try_from(SystemClock.now_ms()).unwrap_or(i64::MAX),
            settings,
            stop: AtomicBool::new(false),
        }
    }

    pub fn is_told_to_end(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub fn waits_for(&self, error: &anyhow::Error) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = format!("it is starting: {error:#}");
    }

    pub fn shows(&self, manifest: &Manifest) {
        let Resume { partitions, positions, .. } = resume_of(manifest);
        let status = |(info, next_offset): (PartitionInfo, u64)| PartitionStatus {
            source: info.source,
            partition: info.partition,
            next_offset,
            ..PartitionStatus::default()
        };
        *self.partitions.lock().unwrap_or_else(PoisonError::into_inner) =
            partitions.into_iter().zip(positions).map(status).collect();
    }

    pub fn runs(&self, engine: Arc<LiveEngine>) {
        if self.is_told_to_end() {
            engine.drain();
        }
        // It is given once.
        let _ = self.engine.set(engine);
    }
}

impl Engine for Standby {
    fn status(&self) -> EngineStatus {
        if let Some(engine) = self.engine.get() {
            return engine.status();
        }
        EngineStatus {
            workers: self.workers,
            started_at_ms: self.started_at_ms,
            memory_bytes: usage::rss_bytes(),
            cpu_seconds: usage::cpu_time().as_secs_f64(),
            source_down: Some(self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            partitions: self.partitions.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            standing_by: true,
            draining: self.is_told_to_end(),
            ..EngineStatus::default()
        }
    }

    fn drain(&self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(engine) = self.engine.get() {
            engine.drain();
        }
    }

    fn refuses_reads(&self) -> Option<String> {
        self.engine.get()?.refuses_reads()
    }

    fn quarantine(&self) -> Table {
        self.engine.get().map_or_else(|| Table::new(QUARANTINE_COLUMNS), |engine| engine.quarantine())
    }

    fn quarantine_columns(&self) -> Vec<String> {
        QUARANTINE_COLUMNS.map(str::to_owned).to_vec()
    }

    fn settings(&self) -> String {
        self.settings.clone()
    }
}
