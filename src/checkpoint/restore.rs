//! From the files of a manifest to memory: names, the rows of views, the rows of the state.

use super::at::kept_manifests;
use super::files::{FileEntry, Kind};
use super::manifest::{Manifest, ViewEntry};
use super::open::files_of;
use super::present::advice;
use super::sums::Sums;
use super::view_rows;
use crate::numbers::Epoch;
use crate::serve::Building;
use anyhow::Context;
use bytes::Bytes;
use millrace_connectors::lake::{EventKeys, EventPlace, read_event_records, select_events};
use millrace_connectors::source::Deal;
use millrace_connectors::store::Store;
use millrace_dataflows::durable::{Kept, Needed, Wanted, read_rows};
use millrace_dataflows::rows::{Key, Measures, State};
use millrace_dataflows::views::View;
use millrace_schema::decode::DecodeSettings;
use millrace_schema::{Id, NameCache, Names, Place};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes of a file, which are what the manifest says.
///
/// # Errors
/// Where it cannot be read, or has others.
pub fn checked(store: &dyn Store, file: &FileEntry) -> anyhow::Result<Bytes> {
    let bytes = match store.get(&file.key) {
        Err(error) if error.is_not_found() && !is_named(store, &file.key) => Err(error).with_context(|| {
            format!(
                "reading {}: the checkpoint that names it has expired meanwhile, for it was read without a pin; read a newer one, raise lake.keep_checkpoints of the engine that writes to {}, or stop it",
                file.key,
                store.place()
            )
        }),
        bytes => bytes.with_context(|| {
            format!(
                "reading {}: {}",
                file.key,
                advice(&store.place(), &[file])
            )
        }),
    }?;
    anyhow::ensure!(
        file.is(&bytes),
        "{} in {} is not what its manifest says ({} bytes, checksum {}): it was changed or damaged; {}",
        file.key,
        store.place(),
        file.bytes,
        file.checksum,
        advice(&store.place(), &[file])
    );
    Ok(bytes)
}

/// Whether a manifest that is there names a file, as far as can be seen. One that a pin holds is.
fn is_named(store: &dyn Store, key: &str) -> bool {
    let names = |manifest: &Manifest| {
        let files = files_of(store, manifest)?;
        anyhow::Ok(manifest.own_files().chain(&files).any(|file| file.key == key))
    };
    kept_manifests(store, &mut |_| {}).map_or(true, |kept| kept.iter().rev().any(|kept| names(kept).unwrap_or(true)))
}

/// # Errors
/// Where the rows are of another version of the view.
pub fn check_version(entry: &ViewEntry, view: &dyn View) -> anyhow::Result<()> {
    let current = view.version();
    anyhow::ensure!(
        entry.version == current,
        "the rows of {} are of version {}, not {current}: replay again",
        entry.name,
        entry.version
    );
    Ok(())
}

/// The rows of a view at a manifest, by key, each once.
///
/// # Errors
/// Where they cannot be read, or are of another version of the view.
pub fn rows_of(
    store: &dyn Store,
    entry: &ViewEntry,
    view: &dyn View,
    names: &Names,
) -> anyhow::Result<Vec<(Key, Measures)>> {
    check_version(entry, view)?;
    let read = |file: &FileEntry| view_rows::read(&file.key, checked(store, file)?, view, names);
    let mut rows = entry.snapshot.as_ref().map(read).transpose()?.unwrap_or_default();
    if entry.changes.is_empty() {
        return Ok(rows);
    }
    let mut sum: State = rows.drain(..).collect();
    for file in &entry.changes {
        read(file)?.iter().for_each(|(key, measures)| sum.merge(key, measures.sums()));
    }
    let mut rows: Vec<(Key, Measures)> = sum.iter().map(|(key, sums)| (*key, sums.to_measures())).collect();
    millrace_dataflows::rows::sort_by_key(&mut rows, |(key, _)| key);
    Ok(rows)
}

/// The state of a manifest, shared by the workers that take it in.
pub struct RestoredRows {
    store: Arc<dyn Store>,
    /// Where the files are the lake's own events.
    lake: Option<OfLake>,
    files: Vec<FileEntry>,
    sums: Option<FileEntry>,
    next: AtomicUsize,
    /// Which of the files are read here.
    deal: Deal,
    /// The epoch that all of it is of.
    pub epoch: Epoch,
    pub watermark: Option<i64>,
    /// Is told how many rows have been read.
    building: Option<Arc<Building>>,
}

impl RestoredRows {
    pub fn new(store: Arc<dyn Store>, manifest: &Manifest) -> RestoredRows {
        let state = &manifest.state;
        RestoredRows {
            store,
            lake: None,
            files: state.base.iter().chain(&state.deltas).cloned().collect(),
            sums: state.sums.clone(),
            next: AtomicUsize::new(0),
            deal: Deal::ALL,
            epoch: manifest.epoch,
            watermark: manifest.watermark,
            building: None,
        }
    }

    /// All accepted events, from the files of the lake: whole, whatever has been forgotten of them.
    pub fn of_lake(
        store: Arc<dyn Store>,
        manifest: &Manifest,
        files: &[FileEntry],
        decode: DecodeSettings,
    ) -> RestoredRows {
        let is_event = |file: &&FileEntry| matches!(Kind::of(&file.key), Some(Kind::Events | Kind::Dimensions));
        let partitions = (0..).zip(&manifest.sources.partitions);
        let ordinals = partitions.map(|(ordinal, entry)| ((entry.source.clone(), entry.partition), ordinal)).collect();
        RestoredRows {
            files: files.iter().filter(is_event).cloned().collect(),
            sums: None,
            lake: Some(OfLake { decode, ordinals, whole_until: manifest.state.whole_until }),
            ..RestoredRows::new(store, manifest)
        }
    }

    /// Only the files that a process is dealt: what is in them goes to whoever owns it.
    #[must_use]
    pub fn dealt(self, deal: Deal) -> RestoredRows {
        RestoredRows { deal, next: AtomicUsize::new(deal.process), ..self }
    }

    #[must_use]
    pub fn telling(self, building: Option<Arc<Building>>) -> RestoredRows {
        RestoredRows { building, ..self }
    }

    /// A file has been read to its end.
    pub fn has_read(&self, file: &RestoredFile<'_>) {
        self.building.iter().for_each(|building| building.advance(file.rows()));
    }

    /// Whether the rows are to be written as state anew.
    pub fn is_of_lake(&self) -> bool {
        self.lake.is_some()
    }

    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// A file that no other worker has taken.
    pub fn take(&self) -> Option<RestoredFile<'_>> {
        let number = self.next.fetch_add(self.deal.processes, Ordering::Relaxed);
        self.files.get(number).map(|entry| RestoredFile { number: number as u64, entry })
    }

    /// The files in a folder.
    pub fn files_in(&self, folder: &str) -> impl Iterator<Item = RestoredFile<'_>> {
        let files = self.files.iter().zip(0..).filter(move |(entry, _)| entry.key.starts_with(folder));
        files.map(|(entry, number)| RestoredFile { number, entry })
    }

    /// Hands over the rows of a file. `names` are those of whoever reads: of rows of the state all are told at the beginning, of the
    /// lake's events some may be new.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn read(&self, file: &RestoredFile<'_>, names: &mut NameCache, each: impl FnMut(Kept)) -> anyhow::Result<()> {
        let entry = file.entry;
        if let Some(lake) = &self.lake {
            return lake.read(&entry.key, &checked(&*self.store, entry)?, names, each);
        }
        read_rows(&checked(&*self.store, entry)?, each).with_context(|| format!("reading {}", entry.key))
    }

    /// Hands over those rows of an event file that are wanted, and passes the others over.
    ///
    /// # Errors
    /// Where it cannot be read, or the rows are not those of the lake.
    pub fn read_wanted(
        &self,
        file: &RestoredFile<'_>,
        wanted: Arc<Wanted>,
        names: &mut NameCache,
        each: impl FnMut(Kept),
    ) -> anyhow::Result<()> {
        let entry = file.entry;
        let lake = self.lake.as_ref().context("only rows of the lake have their ids")?;
        let is_wanted =
            move |keys: EventKeys| wanted.holds(Id::of(keys.event), Id::of(keys.session), Id::of(keys.user));
        match select_events(&entry.key, checked(&*self.store, entry)?, is_wanted)? {
            Some(bytes) => lake.read(&entry.key, &bytes, names, each),
            None => Ok(()),
        }
    }

    /// What a compaction has left of forgotten sessions.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn sums(&self) -> anyhow::Result<Sums> {
        self.sums.as_ref().map_or(Ok(Sums::default()), |file| Ok(Sums(checked(&*self.store, file)?)))
    }
}

/// What it takes to read events from the lake.
struct OfLake {
    decode: DecodeSettings,
    /// By source and number.
    ordinals: BTreeMap<(String, u32), u16>,
    /// Events up to this epoch are of sessions that were counted whole.
    whole_until: Option<Epoch>,
}

impl OfLake {
    fn read(&self, key: &str, bytes: &Bytes, names: &mut NameCache, mut each: impl FnMut(Kept)) -> anyhow::Result<()> {
        let mut last: Option<(String, u32, u16)> = None;
        read_event_records(key, bytes.clone(), self.decode.default_currency, |place, record| {
            let EventPlace { source, partition, offset, epoch } = place;
            // Neighbouring rows are mostly of one partition.
            let ordinal = match &last {
                Some((of, number, ordinal)) if of == source && *number == partition => *ordinal,
                _ => {
                    let ordinal = self.ordinals.get(&(source.to_owned(), partition)).copied();
                    let ordinal =
                        ordinal.with_context(|| format!("{partition} of {source} is no partition of the lake"))?;
                    last = Some((source.to_owned(), partition, ordinal));
                    ordinal
                }
            };
            let event = record.to_event(Place::new(ordinal, offset), names)?;
            let whole = self.whole_until.is_some_and(|until| Epoch(epoch) <= until);
            each(Kept { event, needed: Needed::ALL.with(Needed::WHOLE, whole) });
            Ok(())
        })
    }
}

/// One of the files, in the order in which they are taken.
pub struct RestoredFile<'a> {
    pub number: u64,
    entry: &'a FileEntry,
}

impl RestoredFile<'_> {
    pub fn key(&self) -> &str {
        &self.entry.key
    }

    pub fn rows(&self) -> u64 {
        self.entry.rows
    }
}

/// The rows of a view, by key and each once.
pub type ViewRowsByKey = Vec<(Key, Measures)>;

/// The rows of all views at a manifest: of those that there are in `views`, by their positions there.
///
/// # Errors
/// As [`rows_of`].
pub fn load_views(
    store: &dyn Store,
    manifest: &Manifest,
    views: &[Arc<dyn View>],
    names: &Names,
) -> anyhow::Result<Vec<(usize, ViewRowsByKey)>> {
    let mut loaded = Vec::new();
    for (position, view) in views.iter().enumerate() {
        if let Some(entry) = manifest.views.iter().find(|entry| entry.name == view.name()) {
            loaded.push((position, rows_of(store, entry, &**view, names)?));
        }
    }
    Ok(loaded)
}
