//! Fewer and larger files. What is made becomes part of the next checkpoint.
//!
//! ```text
//! manifest, files ─▶ plan ─▶ read, merge, write ─▶ what takes the place of what
//! ```

use super::beside::Job;
use super::files::{FileEntry, Kind};
use super::free::prefix;
use super::manifest::{Manifest, StateEntry};
use super::names::{read_texts, write_texts};
use super::restore::{RestoredRows, checked};
use anyhow::Context;
use millrace_connectors::lake::{BytesFile, Compression, Unfinished, merge_events, merge_quarantine};
use millrace_connectors::store::{Store, StoreError};
use millrace_dataflows::context::Shared;
use millrace_dataflows::durable::{Compaction, RowWriter, read_rows};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// So many small files of one folder are worth a larger one.
const FEW_FILES: usize = 8;
/// What is merged at once is in memory. After so many rows the next checkpoint has its turn.
const ROWS_MOST: u64 = 500_000;
const FILES_MOST: usize = 256;
const STATE_FILE_BYTES: usize = 16 << 20;
/// So many small files of the state are named one by one in each manifest, and read one by one by who starts. Where assertions are
/// on, few, so that what joins them is at work in every test.
const STATE_FILES_MOST: usize = if cfg!(debug_assertions) { 6 } else { 32 };
/// A file of names that is no longer small.
const NAMES_FILE_BYTES: u64 = 1 << 20;
/// About so many rows of sessions are at hand at a time: in memory are those that are forgotten, 144 bytes each.
const SLICE_ROWS: u64 = 500_000;
const ROW_GROUP_ROWS: usize = 512 << 10;

/// What takes the place of what.
#[derive(Debug, Default)]
pub struct Replacement {
    pub added: Vec<FileEntry>,
    pub removed: Vec<String>,
    pub state: Option<StateReplacement>,
    /// Files of the state with the same rows or names in fewer of them.
    pub joined: Vec<Joined>,
}

/// One file of the state for several.
#[derive(Debug)]
pub struct Joined {
    file: FileEntry,
    of: BTreeSet<String>,
}

impl Joined {
    /// Where the first of them was: the order of names counts.
    pub fn apply(self, state: &mut StateEntry) {
        for files in [&mut state.deltas, &mut state.names] {
            if let Some(first) = files.iter().position(|file| self.of.contains(&file.key)) {
                files.retain(|file| !self.of.contains(&file.key));
                files.insert(first, self.file.clone());
            }
        }
    }
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
    /// Files of the quarantine that are on the list and not there any more.
    pub gone: BTreeSet<String>,
}

impl Compactor {
    /// # Errors
    /// Where a file cannot be read or written. What was made before counts.
    pub fn work(&mut self, job: &Job, replacement: &mut Replacement) -> anyhow::Result<()> {
        let (mut files, mut rows) = (job.files.clone(), 0);
        loop {
            files.retain(|file| !self.gone.contains(&file.key));
            let planned = plan(&files, self.target_bytes);
            if planned.is_empty() || rows >= ROWS_MOST {
                break;
            }
            let mut of = BTreeSet::new();
            for small in planned {
                if rows >= ROWS_MOST {
                    break;
                }
                let Some(merged) = self.merge(job, &small)? else { continue };
                rows += merged.rows;
                replacement.added.push(merged);
                of.extend(small.into_iter().map(|file| file.key));
            }
            files.retain(|file| !of.contains(&file.key));
            replacement.removed.extend(of);
        }
        // Nothing is forgotten before there is a watermark.
        if let Some(watermark) = job.manifest.state.read_under
            && self.shared.context.horizons.any()
            && is_due(&job.manifest.state, self.state_rows_least)
        {
            replacement.state = Some(self.compact_state(&job.manifest, watermark)?);
        } else {
            self.join_deltas(&job.manifest, &mut replacement.joined)?;
        }
        replacement.joined.extend(self.join_names(&job.manifest)?);
        Ok(())
    }

    /// Small files of rows as larger ones, with all their rows.
    fn join_deltas(&mut self, manifest: &Manifest, joined: &mut Vec<Joined>) -> anyhow::Result<()> {
        let mut left = manifest.state.deltas.clone();
        while let Some(small) = small_deltas(&left) {
            let mut writer = RowWriter::default();
            for file in &small {
                read_rows(&checked(&*self.store, file)?, |kept| writer.push(&kept.event, kept.needed))
                    .with_context(|| format!("reading {}", file.key))?;
            }
            let file = self.state_file(manifest, "accepted", &mut writer)?;
            let of: BTreeSet<String> = small.into_iter().map(|file| file.key).collect();
            left.retain(|file| !of.contains(&file.key));
            joined.push(Joined { file, of });
        }
        Ok(())
    }

    /// The small files of names at the end of the list as one.
    fn join_names(&mut self, manifest: &Manifest) -> anyhow::Result<Option<Joined>> {
        let names = &manifest.state.names;
        let large = names.iter().rposition(|file| file.bytes >= NAMES_FILE_BYTES).map_or(0, |last| last + 1);
        let small = &names[large..];
        if small.len() <= STATE_FILES_MOST {
            return Ok(None);
        }
        let read = small.iter().map(|file| read_texts(&*self.store, file));
        let texts = read.collect::<anyhow::Result<Vec<_>>>()?.concat();
        let name = self.name(manifest);
        let file = write_texts(&self.store, &name, &texts, manifest.epoch)?;
        let of = small.iter().map(|file| file.key.clone()).collect();
        Ok(Some(Joined { file, of }))
    }

    fn name(&mut self, manifest: &Manifest) -> String {
        self.next_file += 1;
        format!("{}-m-{:06}", prefix(manifest.generation), self.next_file)
    }

    /// `None` where some of them are gone: what of the quarantine is old the store may have been told to remove by itself.
    fn merge(&mut self, job: &Job, files: &[FileEntry]) -> anyhow::Result<Option<FileEntry>> {
        let folder = folder_of(&files[0].key);
        let key = format!("{folder}/{}.parquet", self.name(&job.manifest));
        let is_quarantine = Kind::of(&files[0].key) == Some(Kind::Quarantine);
        let mut read = Vec::new();
        for file in files {
            match checked(&*self.store, file) {
                Err(error) if is_quarantine && is_not_found(&error) => {
                    self.gone.insert(file.key.clone());
                }
                bytes => read.push((file.key.clone(), bytes?)),
            }
        }
        if read.len() < files.len() {
            return Ok(None);
        }
        let merged = match is_quarantine {
            true => merge_quarantine(&self.store, key, read, self.compression)?,
            false => merge_events(&self.store, key, read, self.compression, ROW_GROUP_ROWS)?,
        };
        let epoch = files.iter().map(|file| file.epoch).max().unwrap_or_default();
        Ok(Some(FileEntry::of(merged.finish()?, epoch)))
    }

    /// Two passes over all rows, a file at a time, for each slice of the sessions.
    fn compact_state(&mut self, manifest: &Manifest, watermark: i64) -> anyhow::Result<StateReplacement> {
        let store = self.store.clone();
        let rows = || RestoredRows::new(store.clone(), manifest);
        let slices = rows().rows() / SLICE_ROWS + 1;
        let mut compaction = Compaction::new(&self.shared, watermark).in_slices(slices);
        let (mut writer, mut base, mut names) = (RowWriter::default(), Vec::new(), self.shared.name_cache());
        loop {
            let all = rows();
            while let Some(file) = all.take() {
                all.read(&file, &mut names, |kept| compaction.look(&kept))?;
            }
            let all = rows();
            while let Some(file) = all.take() {
                all.read(&file, &mut names, |kept| {
                    if let Some(kept) = compaction.keep(&kept) {
                        writer.push(&kept.event, kept.needed);
                    }
                })?;
                if writer.len() >= STATE_FILE_BYTES {
                    base.push(self.state_file(manifest, "base", &mut writer)?);
                }
            }
            if !compaction.next_slice() {
                break;
            }
        }
        if !writer.is_empty() {
            base.push(self.state_file(manifest, "base", &mut writer)?);
        }
        let key = format!("_state/sums/{}.sums", self.name(manifest));
        let mut sums = BytesFile::create(&self.store, key);
        rows().sums()?.write_with(compaction.finish(), &mut sums)?;
        let sums = FileEntry::of(sums.end(0).finish()?, manifest.epoch);
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

fn is_not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref::<StoreError>().is_some_and(StoreError::is_not_found)
}

fn folder_of(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The files that are to become one, of each folder with enough small ones that fit into one; that with the most comes first. All at
/// once, for there may be thousands.
fn plan(files: &[FileEntry], target_bytes: u64) -> Vec<Vec<FileEntry>> {
    let mut folders: BTreeMap<&str, Vec<&FileEntry>> = BTreeMap::new();
    let is_small = |file: &&FileEntry| {
        matches!(Kind::of(&file.key), Some(Kind::Events | Kind::Dimensions | Kind::Quarantine))
            && file.bytes < target_bytes / 2
            && file.rows < ROWS_MOST / 2
    };
    for file in files.iter().filter(is_small) {
        folders.entry(folder_of(&file.key)).or_default().push(file);
    }
    let mut folders: Vec<Vec<&FileEntry>> = folders.into_values().filter(|small| small.len() >= FEW_FILES).collect();
    folders.sort_by_key(|small| std::cmp::Reverse(small.len()));
    let chosen = folders.into_iter().map(|small| fitting(small, target_bytes, ROWS_MOST));
    chosen.filter(|chosen| chosen.len() >= FEW_FILES).collect()
}

/// The files of rows that are to become one, where there are too many small ones.
fn small_deltas(files: &[FileEntry]) -> Option<Vec<FileEntry>> {
    let is_small = |file: &&FileEntry| file.bytes < STATE_FILE_BYTES as u64 / 2;
    let small: Vec<&FileEntry> = files.iter().filter(is_small).collect();
    (small.len() > STATE_FILES_MOST).then(|| fitting(small, STATE_FILE_BYTES as u64, u64::MAX))
}

/// The smallest files that together have no more than so many bytes and rows.
fn fitting(mut files: Vec<&FileEntry>, bytes_most: u64, rows_most: u64) -> Vec<FileEntry> {
    files.sort_by_key(|file| file.bytes);
    let (mut bytes, mut rows) = (0, 0);
    let fits = |file: &&FileEntry| {
        bytes += file.bytes;
        rows += file.rows;
        bytes <= bytes_most && rows <= rows_most
    };
    files.into_iter().take(FILES_MOST).take_while(fits).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::Epoch;
    use crate::settings::Settings;
    use millrace_connectors::store::Local;
    use millrace_dataflows::context::Partitions;
    use millrace_dataflows::durable::{Kept, Needed};
    use millrace_dataflows::settings::{Horizons, ViewContext};
    use millrace_schema::{Body, Event, Id, Name, NameCache, Names, Page};

    const PRODUCT: &str = "tea";

    fn first(files: &[FileEntry], target_bytes: u64) -> Option<Vec<FileEntry>> {
        plan(files, target_bytes).into_iter().next()
    }

    fn looks(minute: i64) -> Event {
        let id = Id { high: 1, low: minute as u64 };
        let page = Body::PageView { page: Page::ProductDetail, referrer: Name::NONE, device: Name::NONE };
        Event { id, time: minute * 60_000_000, session: id, product: Name::of(PRODUCT), ..Event::empty(page) }
    }

    fn compactor(store: &Arc<dyn Store>, horizons: Horizons) -> Compactor {
        let context = ViewContext { horizons, ..Settings::default().validate().expect("the defaults hold").views };
        let names = Names::default();
        names.intern(PRODUCT).expect("the dictionary is empty");
        Compactor {
            store: store.clone(),
            shared: Shared::new(Arc::new(context), Arc::new(names), Arc::new(Partitions::default())),
            compression: Compression::Snappy,
            target_bytes: 1_000,
            state_rows_least: 1,
            next_file: 0,
            gone: BTreeSet::new(),
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
        let settings = Settings::default();
        let mut compactor = compactor(&store, horizons);
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
                rows.read(&file, &mut NameCache::new(Arc::default()), &mut of_session).expect("it is read");
            }
            Some(left)
        };
        assert_eq!(compacted(None), None);
        assert_eq!(compacted(Some(minutes(12))), Some(vec![minutes(10), minutes(20)]));
        assert_eq!(compacted(Some(minutes(13))), Some(vec![minutes(20)]));
        assert_eq!(compacted(Some(minutes(30))), Some(Vec::new()));
    }

    fn file(key: &str, bytes: u64) -> FileEntry {
        FileEntry { key: key.to_owned(), rows: bytes / 10, bytes, epoch: Epoch(1), ..FileEntry::default() }
    }

    #[test]
    fn small_files_of_one_folder_become_one() {
        let many = |folder: &str, count: usize, bytes: u64| -> Vec<FileEntry> {
            (0..count).map(|at| file(&format!("{folder}/g1-{at}.parquet"), bytes)).collect()
        };
        let mut files = many("events/event_date=2019-10-01", FEW_FILES - 1, 10);
        assert_eq!(first(&files, 1_000), None);
        files.extend(many("pending/event_date=2019-10-01", 40, 10));
        files.extend(many("events/event_date=2019-10-02", 40, 600));
        assert_eq!(first(&files, 1_000), None, "they are large enough");
        let wanted = many("events/event_date=2019-10-03", 12, 10);
        files.extend(wanted.clone());
        assert_eq!(first(&files, 1_000), Some(wanted.clone()));
        assert_eq!(first(&files, 95).map(|chosen| chosen.len()), Some(9), "no more than the target");
        // A folder whose small files are too large for one another stops no other folder.
        files.extend(many("events/event_date=2019-10-04", 13, 400));
        assert_eq!(first(&files, 1_000), Some(wanted.clone()));
        // Nor does one whose files have so many rows that they are merged no further.
        let of_many_rows = many("events/event_date=2019-10-05", 40, 20);
        files.extend(of_many_rows.into_iter().map(|file| FileEntry { rows: ROWS_MOST / 2, ..file }));
        assert_eq!(first(&files, 1_000), Some(wanted));
        assert!(first(&many("quarantine", 40, 10), 1_000).is_some());
    }

    /// However many checkpoints there are, few files are named and read, and they hold the same.
    #[test]
    fn small_files_of_the_state_are_joined() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store: Arc<dyn Store> = Arc::new(Local::new(directory.path(), false));
        let mut compactor = compactor(&store, Horizons::NONE);
        let mut manifest = Manifest::empty(&Settings::default());
        let (mut most, mut expected) = (0, Vec::new());
        for checkpoint in 0..200_usize {
            let mut writer = RowWriter::default();
            for minute in [checkpoint as i64, 7] {
                writer.push(&looks(minute), Needed::ALL);
                expected.push(looks(minute).time);
            }
            let delta = compactor.state_file(&manifest, "accepted", &mut writer).expect("it is written");
            manifest.state.deltas.push(delta);
            let key = format!("_state/names/{checkpoint}.json");
            let names = Unfinished::of_bytes(&store, key, format!("[\"{checkpoint}\"]").into_bytes(), 1);
            manifest.state.names.push(FileEntry::of(names.finish().expect("it is written"), Epoch(1)));
            let mut replacement = Replacement::default();
            let job = Job { manifest: manifest.clone(), files: Vec::new() };
            compactor.work(&job, &mut replacement).expect("they are joined");
            assert!(replacement.state.is_none());
            replacement.joined.into_iter().for_each(|joined| joined.apply(&mut manifest.state));
            most = most.max(manifest.state.deltas.len()).max(manifest.state.names.len());
        }
        assert!(most <= STATE_FILES_MOST + 1, "{most} files");
        let (rows, mut left) = (RestoredRows::new(store.clone(), &manifest), Vec::new());
        while let Some(file) = rows.take() {
            rows.read(&file, &mut NameCache::new(Arc::default()), |kept| left.push(kept.event.time))
                .expect("it is read");
        }
        left.sort_unstable();
        expected.sort_unstable();
        assert_eq!(left, expected);
        let names = Names::default();
        crate::checkpoint::load_names(&*store, &manifest, &names).expect("they are read");
        let in_order: Vec<String> = (0..200).map(|number| number.to_string()).collect();
        assert_eq!(names.since(0).iter().map(|(_, text)| text.to_string()).collect::<Vec<_>>(), in_order);
    }

    /// They stay on the list, and stop nothing else from being merged.
    #[test]
    fn files_of_the_quarantine_that_the_store_has_removed_are_left_alone() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store: Arc<dyn Store> = Arc::new(Local::new(directory.path(), false));
        let mut compactor = compactor(&store, Horizons::NONE);
        let keys = (0..2 * FEW_FILES).map(|number| format!("quarantine/g1-{number}.parquet"));
        let files: Vec<FileEntry> = keys.map(|key| file(&key, 10)).collect();
        let job = Job { manifest: Manifest::empty(&Settings::default()), files: files.clone() };
        let mut replacement = Replacement::default();
        compactor.work(&job, &mut replacement).expect("nothing else is wrong");
        assert!(replacement.added.is_empty() && replacement.removed.is_empty());
        assert_eq!(compactor.gone, files.into_iter().map(|file| file.key).collect());
    }
}
