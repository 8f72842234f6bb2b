//! What is counted of checkpoints: atomics that the committer sets, and that whoever asks reads.

use super::files::{FOLDERS, FileEntry, Kind};
use super::manifest::Manifest;
use super::open::Lake;
use super::patient::Waiting;
use crate::durations::{Durations, OF_WRITING};
use crate::numbers::Epoch;
use crate::serve::status::LakeStatus;
use millrace_schema::calendar::parse_rfc3339;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counts of one run on a lake.
pub struct Counts {
    waiting: Arc<Waiting>,
    epoch: AtomicU64,
    /// 0 where there is none.
    written_ms: AtomicU64,
    took: Durations,
    failed: AtomicU64,
    compactions: AtomicU64,
    /// In the order of [`FOLDERS`].
    files: [AtomicU64; FOLDERS.len()],
}

impl Counts {
    /// Of a lake as it was taken over.
    pub fn of(lake: &Lake) -> Counts {
        let counts = Counts {
            waiting: lake.waiting.clone(),
            epoch: AtomicU64::new(0),
            written_ms: AtomicU64::new(0),
            took: Durations::new(&OF_WRITING),
            failed: AtomicU64::new(0),
            compactions: AtomicU64::new(0),
            files: Default::default(),
        };
        counts.show(&lake.manifest, &lake.files);
        counts
    }

    /// This is the last checkpoint.
    fn show(&self, manifest: &Manifest, files: &[FileEntry]) {
        self.epoch.store(manifest.epoch.0, Relaxed);
        if manifest.epoch > Epoch::NONE {
            let micros = parse_rfc3339(&manifest.written_at).unwrap_or(0);
            self.written_ms.store(u64::try_from(micros / 1_000).unwrap_or(0), Relaxed);
        }
        let mut counts = [0; FOLDERS.len()];
        // What a view rests on is listed with its log, too.
        let named: BTreeSet<&str> = manifest.own_files().chain(files).map(|file| file.key.as_str()).collect();
        for key in named {
            let folder = key.split('/').next().unwrap_or_default();
            if let Some(at) = FOLDERS.iter().position(|known| *known == folder) {
                counts[at] += 1;
            }
        }
        counts.iter().zip(&self.files).for_each(|(count, files)| files.store(*count, Relaxed));
    }

    /// A checkpoint is committed, in so much time.
    pub fn committed(&self, manifest: &Manifest, files: &[FileEntry], took: Duration) {
        self.show(manifest, files);
        self.took.add(took);
    }

    /// A commit has failed for good.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// Files were merged.
    pub fn compacted(&self) {
        self.compactions.fetch_add(1, Relaxed);
    }

    pub fn status(&self) -> LakeStatus {
        let kinds = FOLDERS.iter().filter_map(|folder| Kind::of(folder)).map(Kind::as_str);
        LakeStatus {
            epoch: self.epoch.load(Relaxed),
            written_ms: Some(self.written_ms.load(Relaxed)).filter(|millis| *millis > 0),
            took: self.took.histogram(),
            failures: self.failed.load(Relaxed) + self.waiting.failures(),
            files: kinds.zip(&self.files).map(|(kind, count)| (kind.to_owned(), count.load(Relaxed))).collect(),
            compactions: self.compactions.load(Relaxed),
        }
    }
}
