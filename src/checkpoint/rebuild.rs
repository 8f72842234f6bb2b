//! Everything anew from the files of a lake that hold records: where the manifest is lost, or what quality counted.
//!
//! ```text
//! event files, pending files ─▶ records, each place once ─▶ a replay ─▶ new files of all kinds, and a manifest
//! quarantine files ───────────▶ counted, and named as they are ─────────▶ ┘
//! ```
//! Without a manifest it is not known which files one had named. Views and changes are written after all event files of their
//! checkpoint: what is of a later epoch than the last of those, or of a later generation, was never committed. It is left out and
//! read again. Of each partition the last record that is in is where reading goes on: all before it are in, for a checkpoint has
//! everything up to its positions. Where there are no views and no changes, it goes on at the first record that is in: what is read
//! again is known by its id.

use super::files::{FileEntry, Kind};
use super::free::generation_of;
use super::late::pending_table;
use super::manifest::Manifest;
use crate::numbers::Epoch;
use anyhow::Context;
use bytes::Bytes;
use millrace_connectors::lake::{Column, Columns, read_event_rows, read_table};
use millrace_connectors::source::{
    Chunk, LiveSource, MessageChunk, PartitionInfo, PartitionState, Progress, Source, SourceError, SourceStatus,
};
use millrace_connectors::store::Store;
use millrace_dataflows::context::Shared;
use millrace_dataflows::receipts::Receipts;
use millrace_dataflows::rows::{Key, Measures, sort_by_key};
use millrace_dataflows::views::quality;
use millrace_schema::{Kind as RecordKind, Rule};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const CHUNK_RECORDS: usize = 4_096;

/// What of a lake is read.
pub struct Found {
    /// Event files, dimension records, then what is pending.
    records: Vec<FileEntry>,
    pub quarantine: Vec<FileEntry>,
    /// The last epoch that was committed, where that is known.
    until: Option<Epoch>,
    /// Where the manifest says that reading goes on.
    known: Option<(Vec<PartitionInfo>, Vec<u64>)>,
}

impl Found {
    /// The files that a manifest names.
    pub fn of(manifest: &Manifest, files: &[FileEntry]) -> Found {
        let partitions = manifest.sources.partitions.iter().map(|entry| {
            let info = PartitionInfo {
                source: entry.source.clone(),
                partition: entry.partition,
                path: entry.path.clone().into(),
            };
            (info, entry.next_offset.0)
        });
        Found::among(files.to_vec(), None, Some(partitions.unzip()))
    }

    /// All that are there, of which no manifest says which count.
    pub fn left(files: &[FileEntry]) -> Found {
        let epoch_of = |file: &FileEntry| {
            let is_last = matches!(Kind::of(&file.key), Some(Kind::View | Kind::Changes));
            let epoch = file.key.split('/').find_map(|part| part.strip_prefix("epoch=")?.parse().ok());
            epoch.map(Epoch).filter(|_| is_last).zip(generation_of(&file.key))
        };
        let last = files.iter().filter_map(epoch_of).max();
        let is_before =
            |file: &&FileEntry| last.is_none_or(|(_, last)| generation_of(&file.key).is_some_and(|of| of <= last));
        let files = files.iter().filter(is_before).cloned().collect();
        Found::among(files, last.map(|(epoch, _)| epoch), None)
    }

    fn among(files: Vec<FileEntry>, until: Option<Epoch>, known: Option<(Vec<PartitionInfo>, Vec<u64>)>) -> Found {
        let (mut records, mut pending, mut quarantine) = (Vec::new(), Vec::new(), Vec::new());
        for file in files {
            match Kind::of(&file.key) {
                Some(Kind::Events | Kind::Dimensions) => records.push(file),
                Some(Kind::Pending) => pending.push(file),
                Some(Kind::Quarantine) => quarantine.push(file),
                _ => {}
            }
        }
        records.extend(pending);
        Found { records, quarantine, until, known }
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What cannot be known without a manifest, for people.
    pub fn caveats(&self) -> Option<String> {
        if self.known.is_some() {
            return None;
        }
        Some(match self.until {
            Some(epoch) => format!(
                "made anew from the files up to epoch {epoch}; `millrace run` goes on at the last record of each partition that is in, \
                 which it reads once more. Not known any more: how many duplicates were read, which warnings of records were corrected, \
                 and rejected records after the last that is in are read and counted again"
            ),
            None => "made anew from the files; there are neither views nor changes, so where reading had come is not known: `millrace \
                     run` goes on at the first record of each partition that is in, and knows what is in by its id. Not known any more: how many \
                     duplicates were read; rejected records are read and counted again"
                .to_owned(),
        })
    }

    /// Reads the quarantine files: their entries as a manifest has them, and the rows of quality that count them.
    ///
    /// # Errors
    /// Where one cannot be read.
    pub fn count_rejected(&mut self, store: &dyn Store, shared: &Shared) -> anyhow::Result<Vec<(Key, Measures)>> {
        let mut receipts = Receipts::new(shared);
        let mut places: HashSet<(String, i64, i64)> = HashSet::new();
        let mut kept = Vec::new();
        // Of a file that was merged into another, the larger one has all.
        self.quarantine.sort_by_key(|file| std::cmp::Reverse(file.bytes));
        for file in std::mem::take(&mut self.quarantine) {
            let bytes = match store.get(&file.key) {
                // The store may have removed it by its age.
                Err(error) if error.is_not_found() => continue,
                bytes => bytes.with_context(|| format!("reading {}", file.key))?,
            };
            let entry = entry_of(&file.key, &bytes)?;
            let table = read_table(&file.key, bytes)?;
            let (sources, rules) = (texts(&file.key, &table, "source")?, texts(&file.key, &table, "rule")?);
            let [partitions, offsets, received] =
                ["partition", "offset", "received_at"].map(|name| numbers(&file.key, &table, name));
            let (partitions, offsets, received) = (partitions?, offsets?, received?);
            let mut is_new = false;
            for row in 0..table.rows() {
                let place = (sources[row].clone(), partitions[row].unwrap_or(0), offsets[row].unwrap_or(0));
                let rule = Rule::ALL.into_iter().find(|rule| rule.as_str() == rules[row]);
                let rule =
                    rule.with_context(|| format!("{} names a rule that is not known: {}", file.key, rules[row]))?;
                if places.insert(place) {
                    is_new = true;
                    receipts.rejected(rule, received[row], shared.names.intern(&sources[row])?);
                }
            }
            if is_new {
                kept.push(FileEntry { rows: table.rows() as u64, ..entry });
            }
        }
        self.quarantine = kept;
        let sums = quality::rows(receipts.drain(0).map(|(account, _, times)| (account, times)));
        let mut rows: Vec<(Key, Measures)> = sums.iter().map(|(key, sums)| (*key, sums.to_measures())).collect();
        sort_by_key(&mut rows, |(key, _)| key);
        Ok(rows)
    }

    /// What is read, as a source that ends.
    pub fn source(&self, store: Arc<dyn Store>) -> LakeSource {
        let (partitions, positions) = self.known.clone().unwrap_or_default();
        let status = Arc::new(SourceStatus::default());
        let state = |next: &u64| PartitionState { next: *next, ..PartitionState::default() };
        status.with(|source| source.partitions = positions.iter().map(state).collect());
        LakeSource {
            store,
            ordinals: partitions
                .iter()
                .zip(0..)
                .map(|(info, at)| ((info.source.clone(), info.partition), at))
                .collect(),
            partitions,
            files: self.records.iter().cloned().collect(),
            until: self.until,
            is_known: self.known.is_some(),
            places: HashSet::new(),
            accepted: HashSet::new(),
            chunks: VecDeque::new(),
            status,
        }
    }
}

/// An entry of a file that is whole, as far as it says itself.
fn entry_of(key: &str, bytes: &Bytes) -> anyhow::Result<FileEntry> {
    let checksum = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(bytes));
    Ok(FileEntry { key: key.to_owned(), bytes: bytes.len() as u64, checksum, ..FileEntry::default() })
}

fn texts(key: &str, table: &Columns, name: &str) -> anyhow::Result<Vec<String>> {
    match table.column(name) {
        Some(Column::Text(texts)) => Ok(texts.iter().map(|text| text.unwrap_or_default().to_owned()).collect()),
        _ => anyhow::bail!("{key} has no column {name}"),
    }
}

fn numbers(key: &str, table: &Columns, name: &str) -> anyhow::Result<Vec<Option<i64>>> {
    match table.column(name) {
        Some(Column::Int(values) | Column::Timestamp(values)) => Ok(values.clone()),
        _ => anyhow::bail!("{key} has no column {name}"),
    }
}

/// The records of a lake's files, each place once.
pub struct LakeSource {
    store: Arc<dyn Store>,
    partitions: Vec<PartitionInfo>,
    ordinals: BTreeMap<(String, u32), u16>,
    files: VecDeque<FileEntry>,
    until: Option<Epoch>,
    /// Positions are those of a manifest.
    is_known: bool,
    /// Ordinal and offset.
    places: HashSet<(u16, u64)>,
    /// Partitions of which a record was accepted.
    accepted: HashSet<u16>,
    chunks: VecDeque<Chunk>,
    status: Arc<SourceStatus>,
}

/// A record to be read.
struct One {
    offset: u64,
    received_at: Option<i64>,
    bytes: Box<[u8]>,
}

/// By partition and by what it is where it does not say so.
type ByPartition = BTreeMap<(u16, Option<&'static str>), Vec<One>>;

impl LakeSource {
    fn take_in(&mut self, file: &FileEntry) -> anyhow::Result<()> {
        let key = &file.key;
        let bytes = self.store.get(key).with_context(|| format!("reading {key}"))?;
        anyhow::ensure!(
            file.checksum.is_empty() || file.is(&bytes),
            "{key} is not what its manifest says: it was changed or damaged; restore it from a copy"
        );
        let mut by: ByPartition = BTreeMap::new();
        if Kind::of(key) == Some(Kind::Pending) {
            for (source, partition, record) in pending_table(key, bytes)? {
                let ordinal = self.ordinal(&source, partition)?;
                if self.places.insert((ordinal, record.offset)) {
                    self.saw_pending(ordinal, record.offset);
                    let one = One { offset: record.offset, received_at: record.received_at, bytes: record.bytes };
                    by.entry((ordinal, record.default_kind.map(RecordKind::as_str))).or_default().push(one);
                }
            }
        } else {
            let rows = read_event_rows(key, &bytes).with_context(|| {
                format!("reading {key}: restore it from a copy; or remove it, and what only it holds is lost")
            })?;
            for row in rows {
                if self.until.is_some_and(|until| Epoch(row.epoch) > until) {
                    continue;
                }
                let ordinal = self.ordinal(&row.source, row.partition)?;
                if self.places.insert((ordinal, row.offset)) {
                    self.saw(ordinal, row.offset);
                    by.entry((ordinal, None)).or_default().push(One {
                        offset: row.offset,
                        received_at: None,
                        bytes: row.line,
                    });
                }
            }
        }
        for ((ordinal, kind), mut records) in by {
            records.sort_by_key(|one| one.offset);
            let kind = kind.and_then(RecordKind::parse);
            for records in records.chunks(CHUNK_RECORDS) {
                let mut chunk = MessageChunk::new(ordinal, kind, usize::MAX);
                records.iter().for_each(|one| chunk.push(one.offset, one.received_at, &one.bytes));
                self.chunks.extend(chunk.finish());
            }
        }
        Ok(())
    }

    fn ordinal(&mut self, source: &str, partition: u32) -> anyhow::Result<u16> {
        let key = (source.to_owned(), partition);
        if let Some(ordinal) = self.ordinals.get(&key) {
            return Ok(*ordinal);
        }
        anyhow::ensure!(!self.is_known, "{partition} of {source} is no partition of the lake");
        let ordinal = u16::try_from(self.partitions.len()).context("too many partitions")?;
        self.ordinals.insert(key, ordinal);
        self.partitions.push(PartitionInfo { source: source.to_owned(), partition, path: path_of(source, partition) });
        self.status.with(|status| {
            status.partitions.push(PartitionState { next: u64::MAX, ..PartitionState::default() });
        });
        Ok(ordinal)
    }

    /// Of a partition that has only pending records all is read again.
    fn saw_pending(&self, ordinal: u16, offset: u64) {
        if !self.is_known && !self.accepted.contains(&ordinal) {
            self.status.with(|status| {
                let next = &mut status.partitions[usize::from(ordinal)].next;
                *next = offset.min(*next);
            });
        }
    }

    /// A record that was accepted is in.
    fn saw(&mut self, ordinal: u16, offset: u64) {
        if self.is_known {
            return;
        }
        self.accepted.insert(ordinal);
        self.status.with(|status| {
            let next = &mut status.partitions[usize::from(ordinal)].next;
            *next = match *next {
                u64::MAX => offset,
                next if self.until.is_some() => next.max(offset),
                next => next.min(offset),
            };
        });
    }
}

/// Where a partition probably is: a log says so itself when it is opened.
fn path_of(source: &str, partition: u32) -> PathBuf {
    let of_log = Path::new(source).join(format!("partition={partition:05}"));
    if of_log.is_dir() { of_log } else { Path::new(source).join(partition.to_string()) }
}

impl Source for LakeSource {
    fn partitions(&self) -> &[PartitionInfo] {
        &self.partitions
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        while self.chunks.is_empty() {
            let Some(file) = self.files.pop_front() else { return Ok(None) };
            self.take_in(&file).map_err(|error| SourceError::Unreadable {
                path: Path::new(&self.store.place()).join(&file.key),
                error: io::Error::other(format!("{error:#}")),
            })?;
        }
        Ok(self.chunks.pop_front())
    }

    fn progress(&self) -> Progress {
        Progress::unknown()
    }
}

impl LiveSource for LakeSource {
    fn wait(&mut self, _timeout: Duration) {}

    fn status(&self) -> Arc<SourceStatus> {
        self.status.clone()
    }

    fn ends(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(key: &str) -> FileEntry {
        FileEntry { key: key.to_owned(), bytes: 1, ..FileEntry::default() }
    }

    #[test]
    fn what_was_committed_last_is_seen_from_views_and_changes() {
        let check = |keys: &[&str], until: Option<u64>, records: &[&str]| {
            let found = Found::left(&keys.iter().map(|key| file(key)).collect::<Vec<_>>());
            let names: Vec<&str> = found.records.iter().map(|file| file.key.as_str()).collect();
            assert_eq!((found.until, &names[..]), (until.map(Epoch), records), "{keys:?}");
        };
        let [first, second] =
            ["events/event_date=2026-01-01/g000001-w000-000000.parquet", "dimensions/user/g000002-w000-000000.parquet"];
        let pending = "pending/event_date=2026-01-01/g000001-w000-000001.parquet";
        // The second generation has never committed.
        let view = "views/sales/epoch=70/g000001-c-000001.parquet";
        let changes = "changes/sales/epoch=90/g000001-c-000002.parquet";
        check(&[pending, first, second, view, changes], Some(90), &[first, pending]);
        check(&[first, second, "views/sales/epoch=95/g000002-c-000001.parquet", changes], Some(95), &[first, second]);
        check(&[first, second], None, &[first, second]);
        check(&[view], Some(70), &[]);
    }
}
