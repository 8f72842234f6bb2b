//! Fewer and larger files. What is made becomes part of the next checkpoint.
//!
//! ```text
//! manifest, files ─▶ plan ─▶ read, merge, write ─▶ what takes the place of what
//! ```

use super::beside::Job;
use super::files::{FileEntry, Kind};
use super::manifest::{Manifest, StateEntry};
use super::restore::RestoredRows;
use super::sweep::prefix;
use millrace_connectors::lake::{Compression, Unfinished, merge_events};
use millrace_connectors::store::Store;
use millrace_dataflows::context::Shared;
use millrace_dataflows::durable::{Compaction, RowWriter};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// So many small files of one folder are worth a larger one.
const FEW_FILES: usize = 8;
/// What is merged at once is in memory. After so many rows the next checkpoint has its turn.
const ROWS_MOST: u64 = 500_000;
const FILES_MOST: usize = 256;
const STATE_FILE_BYTES: usize = 16 << 20;
/// Rows of which those that are forgotten are in memory at a time, 128 bytes each.
const GATHERED_MOST: u64 = 500_000;
const ROW_GROUP_ROWS: usize = 512 << 10;

/// What takes the place of what.
#[derive(Debug, Default)]
pub struct Replacement {
    pub added: Vec<FileEntry>,
    pub removed: Vec<String>,
    pub state: Option<StateReplacement>,
}

/// Of the state: the deltas that are in the new base.
#[derive(Debug)]
pub struct StateReplacement {
    base: Vec<FileEntry>,
    sums: FileEntry,
    deltas: BTreeSet<String>,
}

impl StateReplacement {
    pub fn apply(self, state: &mut StateEntry) {
        state.base = self.base;
        state.sums = Some(self.sums);
        state.deltas.retain(|file| !self.deltas.contains(&file.key));
    }
}

pub struct Compactor {
    pub store: Arc<dyn Store>,
    pub shared: Shared,
    pub compression: Compression,
    pub target_bytes: u64,
    /// A state with fewer new rows is left as it is.
    pub state_rows_least: u64,
    /// Numbers the files.
    pub next_file: usize,
}

impl Compactor {
    /// # Errors
    /// Where a file cannot be read or written. What was made before counts.
    pub fn work(&mut self, job: &Job, replacement: &mut Replacement) -> anyhow::Result<()> {
        let (mut files, mut rows) = (job.files.clone(), 0);
        while rows < ROWS_MOST
            && let Some(small) = plan(&files, self.target_bytes)
        {
            rows += small.iter().map(|file| file.rows).sum::<u64>();
            replacement.added.push(self.merge(job, &small)?);
            let gone: BTreeSet<String> = small.into_iter().map(|file| file.key).collect();
            files.retain(|file| !gone.contains(&file.key));
            replacement.removed.extend(gone);
        }
        // Nothing is forgotten before there is a watermark.
        if let Some(watermark) = job.manifest.state.read_under
            && self.shared.context.horizons.any()
            && is_due(&job.manifest.state, self.state_rows_least)
        {
            replacement.state = Some(self.compact_state(&job.manifest, watermark)?);
        }
        Ok(())
    }

    fn name(&mut self, manifest: &Manifest) -> String {
        self.next_file += 1;
        format!("{}-m-{:06}", prefix(manifest.generation), self.next_file)
    }

    fn merge(&mut self, job: &Job, files: &[FileEntry]) -> anyhow::Result<FileEntry> {
        let folder = folder_of(&files[0].key);
        let key = format!("{folder}/{}.parquet", self.name(&job.manifest));
        let read = |file: &FileEntry| -> anyhow::Result<_> {
            let bytes = self.store.get(&file.key)?;
            anyhow::ensure!(file.is(&bytes), "{} is not what its manifest says", file.key);
            Ok((file.key.clone(), bytes))
        };
        let bytes = files.iter().map(read).collect::<anyhow::Result<_>>()?;
        let merged = merge_events(&self.store, key, bytes, self.compression, ROW_GROUP_ROWS)?;
        let epoch = files.iter().map(|file| file.epoch).max().unwrap_or(0);
        Ok(FileEntry::of(merged.finish()?, epoch))
    }

    /// Two passes over all rows, a file at a time, and more of many.
    fn compact_state(&mut self, manifest: &Manifest, watermark: i64) -> anyhow::Result<StateReplacement> {
        let store = self.store.clone();
        let rows = || RestoredRows::new(store.clone(), manifest);
        let all = rows();
        let slices = all.rows() / GATHERED_MOST + 1;
        let mut compaction = Compaction::new(&self.shared, watermark).in_slices(slices);
        while let Some(file) = all.take() {
            all.read(&file, |kept| compaction.look(&kept))?;
        }
        let (all, mut writer, mut base) = (rows(), RowWriter::default(), Vec::new());
        while let Some(file) = all.take() {
            all.read(&file, |kept| {
                if let Some(kept) = compaction.keep(&kept) {
                    writer.push(&kept.event, kept.needed);
                }
            })?;
            if writer.len() >= STATE_FILE_BYTES {
                base.push(self.state_file(manifest, "base", &mut writer)?);
            }
        }
        if !writer.is_empty() {
            base.push(self.state_file(manifest, "base", &mut writer)?);
        }
        while compaction.next_slice() {
            let all = rows();
            while let Some(file) = all.take() {
                all.read(&file, |kept| compaction.gather_again(&kept))?;
            }
        }
        let sums = rows().sums()?.with(compaction.finish())?;
        let key = format!("_state/sums/{}.sums", self.name(manifest));
        let sums = FileEntry::of(Unfinished::of_bytes(&self.store, key, sums, 0).finish()?, manifest.epoch);
        let deltas = manifest.state.deltas.iter().map(|file| file.key.clone()).collect();
        Ok(StateReplacement { base, sums, deltas })
    }

    fn state_file(&mut self, manifest: &Manifest, folder: &str, writer: &mut RowWriter) -> anyhow::Result<FileEntry> {
        let rows = writer.rows();
        let key = format!("_state/{folder}/{}.rows", self.name(manifest));
        let file = Unfinished::of_bytes(&self.store, key, writer.finish(), rows);
        Ok(FileEntry::of(file.finish()?, manifest.epoch))
    }
}

/// The deltas are as much as what they would be added to.
fn is_due(state: &StateEntry, rows_least: u64) -> bool {
    let rows = |files: &[FileEntry]| files.iter().map(|file| file.rows).sum::<u64>();
    rows(&state.deltas) > rows(&state.base).max(rows_least)
}

fn folder_of(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The files that are to become one: of the folder with the most small ones.
fn plan(files: &[FileEntry], target_bytes: u64) -> Option<Vec<FileEntry>> {
    let mut folders: BTreeMap<&str, Vec<&FileEntry>> = BTreeMap::new();
    let is_small = |file: &&FileEntry| {
        matches!(Kind::of(&file.key), Some(Kind::Events | Kind::Dimensions)) && file.bytes < target_bytes / 2
    };
    for file in files.iter().filter(is_small) {
        folders.entry(folder_of(&file.key)).or_default().push(file);
    }
    let mut small = folders.into_values().max_by_key(Vec::len)?;
    small.sort_by_key(|file| file.bytes);
    let (mut bytes, mut rows) = (0, 0);
    let fits = |file: &&&FileEntry| {
        bytes += file.bytes;
        rows += file.rows;
        bytes <= target_bytes && rows <= ROWS_MOST
    };
    let chosen: Vec<FileEntry> = small.iter().take(FILES_MOST).take_while(fits).map(|file| (*file).clone()).collect();
    (chosen.len() >= FEW_FILES).then_some(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_connectors::store::Local;
    use millrace_dataflows::context::Partitions;
    use millrace_dataflows::durable::{Kept, Needed};
    use millrace_dataflows::settings::{Horizons, ViewContext};
    use millrace_schema::{Body, Event, Id, Name, Names, Page, Place, Warnings};

    fn looks(minute: i64) -> Event {
        let id = Id { high: 1, low: minute as u64 };
        let page = Body::PageView { page: Page::ProductDetail, referrer: Name::NONE, device: Name::NONE };
        Event {
            id,
            content: 0,
            warnings: Warnings::default(),
            place: Place::new(0, 0),
            time: minute * 60_000_000,
            received: Event::NOT_RECEIVED,
            session: id,
            user: Id::NONE,
            product: Name(7),
            body: page,
        }
    }

    /// An epoch that is in flight is read under less than is known when the one before it closes: its events may still join what
    /// would be forgotten by that.
    #[test]
    fn what_is_forgotten_is_judged_by_what_the_next_epochs_are_read_under() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store: Arc<dyn Store> = Arc::new(Local::new(directory.path(), false));
        let minutes = |minutes: i64| minutes * 60_000_000;
        let horizons = Horizons { deduplication: Some(minutes(1)), sessions: Some(minutes(1)) };
        let settings = crate::settings::Settings::default();
        let context = ViewContext { horizons, ..settings.validate().expect("the defaults hold").views };
        let shared = Shared::new(Arc::new(context), Arc::new(Names::default()), Arc::new(Partitions::default()));
        let mut compactor = Compactor {
            store: store.clone(),
            shared,
            compression: Compression::Snappy,
            target_bytes: 1,
            state_rows_least: 1,
            next_file: 0,
        };
        let mut writer = RowWriter::default();
        [10, 20].into_iter().for_each(|minute| writer.push(&looks(minute), Needed::ALL));
        let mut manifest = Manifest { watermark: Some(minutes(30)), ..Manifest::empty(&settings) };
        let delta = compactor.state_file(&manifest, "deltas", &mut writer).expect("it is written");
        manifest.state.deltas.push(delta);
        let mut compacted = |read_under: Option<i64>| -> Option<Vec<i64>> {
            let mut job = Job { manifest: manifest.clone(), files: Vec::new() };
            job.manifest.state.read_under = read_under;
            let mut replacement = Replacement::default();
            compactor.work(&job, &mut replacement).expect("it is compacted");
            replacement.state?.apply(&mut job.manifest.state);
            assert!(job.manifest.state.deltas.is_empty());
            let (rows, mut left) = (RestoredRows::new(store.clone(), &job.manifest), Vec::new());
            let mut of_session = |kept: Kept| {
                left.extend(kept.needed.holds(Needed::SESSION).then_some(kept.event.time));
            };
            while let Some(file) = rows.take() {
                rows.read(&file, &mut of_session).expect("it is read");
            }
            Some(left)
        };
        assert_eq!(compacted(None), None);
        assert_eq!(compacted(Some(minutes(12))), Some(vec![minutes(10), minutes(20)]));
        assert_eq!(compacted(Some(minutes(13))), Some(vec![minutes(20)]));
        assert_eq!(compacted(Some(minutes(30))), Some(Vec::new()));
    }

    fn file(key: &str, bytes: u64) -> FileEntry {
        FileEntry { key: key.to_owned(), rows: bytes / 10, bytes, checksum: String::new(), epoch: 1 }
    }

    #[test]
    fn small_files_of_one_folder_become_one() {
        let many = |folder: &str, count: usize, bytes: u64| -> Vec<FileEntry> {
            (0..count).map(|at| file(&format!("{folder}/g1-{at}.parquet"), bytes)).collect()
        };
        let mut files = many("events/event_date=2019-10-01", FEW_FILES - 1, 10);
        assert_eq!(plan(&files, 1_000), None);
        files.extend(many("quarantine", 40, 10));
        files.extend(many("events/event_date=2019-10-02", 40, 600));
        assert_eq!(plan(&files, 1_000), None, "they are large enough");
        let wanted = many("events/event_date=2019-10-03", 12, 10);
        files.extend(wanted.clone());
        assert_eq!(plan(&files, 1_000), Some(wanted.clone()));
        assert_eq!(plan(&files, 95).map(|chosen| chosen.len()), Some(9), "no more than the target");
    }
}
