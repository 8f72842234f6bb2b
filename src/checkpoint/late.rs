//! Pending records of a checkpoint, and what the engine has to remember again before it can merge them.
//!
//! ```text
//! pending files ─▶ records, so many at a time ─▶ days ─▶ event files of those days ─▶ rows to recall
//! ```
//! Most of the files are looked through while the engine goes on as ever, those that came meanwhile at later checkpoints. Only for the last
//! of them must nothing be forgotten any more.

use super::beside::Job;
use super::files::{FileEntry, Kind};
use super::manifest::Manifest;
use super::restore::RestoredRows;
use anyhow::Context;
use bytes::Bytes;
use millrace_connectors::lake::{Column, PendingRecord, read_pending, read_table};
use millrace_connectors::source::{Chunk, MessageChunk};
use millrace_connectors::store::Store;
use millrace_dataflows::context::Shared;
use millrace_dataflows::durable::{Kept, Recall};
use millrace_schema::calendar::format_day;
use millrace_schema::decode::{Bump, DecodeSettings, decode};
use millrace_schema::{Event, Name, NameCache, Named, Names, Place};
use std::collections::BTreeSet;
use std::sync::Arc;

/// So many pending records are merged at a time, and the rest of a file. What is recalled for them is in memory.
pub const LATE_AT_ONCE: usize = 50_000;
const CHUNK_RECORDS: usize = 4_096;
/// So many rows are looked through while nothing is forgotten.
const FEW_ROWS: u64 = if cfg!(debug_assertions) { 100 } else { 200_000 };
/// Where more comes than is looked through, it ends all the same.
const LOOKS_MOST: u32 = 6;

/// What is to be merged in one epoch.
#[derive(Debug)]
pub struct Late {
    /// What has to be remembered first.
    pub recalled: Vec<Kept>,
    /// The records.
    pub chunks: Vec<Chunk>,
    /// The names that the recalled events carry.
    pub names: Vec<Named>,
    /// The files that they are from: no longer pending once the epoch is in.
    pub files: Vec<String>,
}

/// How far it has come.
#[derive(Debug)]
pub enum LookedUp {
    /// Much was looked through, and as much may have come meanwhile: there is to be another look, at a later checkpoint.
    Much,
    /// Little is left. From now on nothing is to be forgotten, and the rest is looked up at a checkpoint after that.
    Most,
    /// What there is to merge; `None` where there is nothing, or it cannot be.
    All(Option<Late>),
}

/// Looks for what is pending at a checkpoint, and for what it joins in the files of that checkpoint and of later ones.
pub struct Lookup {
    chunks: Vec<Chunk>,
    pending: Vec<String>,
    recall: Recall,
    /// Of what is read to look it up.
    names: NameCache,
    dictionary: Arc<Names>,
    /// Event files that have been looked through.
    looked: BTreeSet<String>,
    looks: u32,
}

impl Lookup {
    /// `None` where nothing is pending.
    ///
    /// # Errors
    /// Where a file of pending records cannot be read.
    pub fn begin(
        store: &dyn Store,
        files: &[FileEntry],
        shared: &Shared,
        decoding: &DecodeSettings,
    ) -> anyhow::Result<Option<Lookup>> {
        let (mut records, mut pending) = (Vec::new(), Vec::new());
        for file in files.iter().filter(|file| Kind::of(&file.key) == Some(Kind::Pending)) {
            if records.len() >= LATE_AT_ONCE {
                break;
            }
            records.extend(pending_of(store, file)?);
            pending.push(file.key.clone());
        }
        if records.is_empty() {
            return Ok(None);
        }
        let chunks = chunks_of(records);
        let recall = Recall::new(shared, &events_of(&chunks, shared, decoding));
        let (names, dictionary) = (shared.name_cache(), shared.names.clone());
        Ok(Some(Lookup { chunks, pending, recall, names, dictionary, looked: BTreeSet::new(), looks: 0 }))
    }

    /// Looks through the files of a checkpoint that have not been. Until all has been found, none of them may be merged into another.
    /// Whether it was much.
    ///
    /// # Errors
    /// Where the lake cannot be read, or does not hold all accepted events.
    pub fn look(
        &mut self,
        store: &Arc<dyn Store>,
        Job { manifest, files }: &Job,
        decoding: &DecodeSettings,
    ) -> anyhow::Result<bool> {
        check_whole(&store.place(), manifest, files)?;
        self.recall.forgotten_under(manifest.watermark);
        let lake = RestoredRows::of_lake(store.clone(), manifest, files, decoding.clone());
        let mut rows = 0;
        if manifest.state.whole_until.is_some() {
            // A session that was counted whole may be of any days.
            self.look_in("events/", &lake, &mut rows)?;
        }
        // What is found may ask for more days.
        let mut through = BTreeSet::new();
        while let Some(day) = self.recall.days().difference(&through).next().copied() {
            through.insert(day);
            self.look_in(&format!("events/event_date={}/", format_day(day)), &lake, &mut rows)?;
        }
        self.looks += 1;
        Ok(rows > FEW_ROWS && self.looks < LOOKS_MOST)
    }

    fn look_in(&mut self, folder: &str, lake: &RestoredRows, rows: &mut u64) -> anyhow::Result<()> {
        for file in lake.files_in(folder) {
            if self.looked.insert(file.key().to_owned()) {
                *rows += file.rows();
                lake.read_wanted(&file, self.recall.wanted(), &mut self.names, |kept| self.recall.look(&kept))?;
                // Of few of these rows the names are told, at the end.
                self.names.drain_new().for_each(drop);
            }
        }
        Ok(())
    }

    pub fn finish(self) -> Late {
        let recalled = self.recall.finish();
        let names = names_of(&recalled, &self.dictionary);
        Late { recalled, chunks: self.chunks, names, files: self.pending }
    }
}

/// # Errors
/// Where the lake does not hold all accepted events.
pub fn check_whole(place: &str, manifest: &Manifest, files: &[FileEntry]) -> anyhow::Result<()> {
    let of_events = |file: &&FileEntry| matches!(Kind::of(&file.key), Some(Kind::Events | Kind::Dimensions));
    let events: u64 = files.iter().filter(of_events).map(|file| file.rows).sum();
    let accepted = manifest.accounted.accepted;
    anyhow::ensure!(
        i64::try_from(events).ok() == Some(accepted),
        "{place} holds {events} of {accepted} accepted events, and a repair needs them all: lake.events = true and lake.keep_days = 0 from the start"
    );
    Ok(())
}

/// The records of a file.
///
/// # Errors
/// Where it cannot be read.
pub fn pending_of(store: &dyn Store, file: &FileEntry) -> anyhow::Result<Vec<PendingRecord>> {
    let bytes = store.get(&file.key).with_context(|| format!("reading {}", file.key))?;
    anyhow::ensure!(file.is(&bytes), "{} is not what its manifest says: it was changed or damaged", file.key);
    Ok(read_pending(&file.key, bytes)?)
}

/// The records of a file that no manifest tells of, with the partitions that they are of.
///
/// # Errors
/// Where it cannot be read.
pub fn pending_table(key: &str, bytes: Bytes) -> anyhow::Result<Vec<(String, u32, PendingRecord)>> {
    let table = read_table(key, bytes.clone())?;
    let (Some(Column::Text(sources)), Some(Column::Int(partitions))) =
        (table.column("source"), table.column("partition"))
    else {
        anyhow::bail!("{key} does not say which partitions its records are of");
    };
    let place = |row: usize| {
        let partition = partitions[row].and_then(|partition| u32::try_from(partition).ok());
        Some((sources.get(row)?.to_owned(), partition?))
    };
    let records = read_pending(key, bytes)?.into_iter().enumerate();
    let whole = |(row, record)| place(row).map(|(source, partition)| (source, partition, record));
    records.map(|one| whole(one).with_context(|| format!("a row of {key} is not whole"))).collect()
}

/// The records as a source would hand them over.
pub fn chunks_of(mut records: Vec<PendingRecord>) -> Vec<Chunk> {
    records.sort_by_key(|record| (record.partition, record.offset));
    let mut chunks = Vec::new();
    let alike = |a: &PendingRecord, b: &PendingRecord| (a.partition, a.default_kind) == (b.partition, b.default_kind);
    for run in records.chunk_by(alike) {
        for run in run.chunks(CHUNK_RECORDS) {
            let mut chunk = MessageChunk::new(run[0].partition, run[0].default_kind, usize::MAX);
            run.iter().for_each(|record| chunk.push(record.offset, record.received_at, &record.bytes));
            chunks.extend(chunk.finish());
        }
    }
    chunks
}

/// Who remembers the events may have heard of their names from nobody: each is told once more.
fn names_of(recalled: &[Kept], dictionary: &Names) -> Vec<Named> {
    let names: BTreeSet<Name> = recalled.iter().flat_map(|kept| kept.event.names()).collect();
    names.into_iter().filter_map(|name| Named::of(name, &dictionary.text(name))).collect()
}

fn events_of(chunks: &[Chunk], shared: &Shared, decoding: &DecodeSettings) -> Vec<Event> {
    let (mut names, arena, mut events) = (shared.name_cache(), Bump::new(), Vec::new());
    for chunk in chunks {
        let decoding =
            DecodeSettings { default_kind: chunk.default_kind.or(decoding.default_kind), ..decoding.clone() };
        for raw in chunk.records() {
            // What does not decode any more becomes a row of the quarantine, and recalls nothing.
            let record = decode(raw.bytes, raw.received_at, &decoding, &arena).ok();
            let place = Place::new(chunk.partition, raw.offset);
            events.extend(record.and_then(|record| record.to_event(place, &mut names).ok()));
        }
    }
    events
}
