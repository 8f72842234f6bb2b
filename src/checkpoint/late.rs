//! Pending records of a checkpoint, and what the engine has to remember again before it can merge them.
//!
//! ```text
//! pending files ─▶ records, so many at a time ─▶ days ─▶ event files of those days ─▶ rows to recall
//! ```

use super::beside::Job;
use super::files::{FileEntry, Kind};
use super::manifest::Manifest;
use super::restore::RestoredRows;
use anyhow::Context;
use millrace_connectors::lake::{PendingRecord, read_pending};
use millrace_connectors::source::{Chunk, MessageChunk};
use millrace_connectors::store::Store;
use millrace_dataflows::context::Shared;
use millrace_dataflows::durable::{Kept, Recall};
use millrace_schema::calendar::format_day;
use millrace_schema::decode::{Bump, DecodeSettings, decode};
use millrace_schema::{Event, NameCache, Place};
use std::collections::BTreeSet;
use std::sync::Arc;

/// So many pending records are merged at a time, and the rest of a file. What is recalled for them is in memory.
pub const LATE_AT_ONCE: usize = 50_000;
const CHUNK_RECORDS: usize = 4_096;

/// What is to be merged in one epoch.
#[derive(Debug)]
pub struct Late {
    /// What has to be remembered first.
    pub recalled: Vec<Kept>,
    /// The records.
    pub chunks: Vec<Chunk>,
    /// The files that they are from: no longer pending once the epoch is in.
    pub files: Vec<String>,
}

/// Looks for what is pending at a checkpoint; `None` where nothing is.
///
/// # Errors
/// Where the lake cannot be read, or does not hold all accepted events.
pub fn find_late(
    store: &Arc<dyn Store>,
    Job { manifest, files }: &Job,
    shared: &Shared,
    decoding: &DecodeSettings,
) -> anyhow::Result<Option<Late>> {
    check_whole(&store.place(), manifest, files)?;
    let (mut records, mut keys) = (Vec::new(), Vec::new());
    for file in files.iter().filter(|file| Kind::of(&file.key) == Some(Kind::Pending)) {
        if records.len() >= LATE_AT_ONCE {
            break;
        }
        records.extend(pending_of(&**store, file)?);
        keys.push(file.key.clone());
    }
    if records.is_empty() {
        return Ok(None);
    }
    let chunks = chunks_of(records);
    let mut recall = Recall::new(shared, &events_of(&chunks, shared, decoding), manifest.watermark);
    let rows = RestoredRows::of_lake(store.clone(), manifest, files, decoding.clone(), shared.names.clone());
    let mut looked = BTreeSet::new();
    if manifest.state.whole_until.is_some() {
        // A session that was counted whole may be of any days.
        for file in rows.files_in("events/") {
            rows.read_wanted(&file, recall.wanted(), |kept| recall.look(&kept))?;
        }
    } else {
        loop {
            let days: Vec<i64> = recall.days().difference(&looked).copied().collect();
            if days.is_empty() {
                break;
            }
            for day in days {
                looked.insert(day);
                let folder = format!("events/event_date={}/", format_day(day));
                for file in rows.files_in(&folder) {
                    rows.read_wanted(&file, recall.wanted(), |kept| recall.look(&kept))?;
                }
            }
        }
    }
    Ok(Some(Late { recalled: recall.finish(), chunks, files: keys }))
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

fn events_of(chunks: &[Chunk], shared: &Shared, decoding: &DecodeSettings) -> Vec<Event> {
    let (mut names, arena, mut events) = (NameCache::new(shared.names.clone()), Bump::new(), Vec::new());
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
