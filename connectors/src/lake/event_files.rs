//! Accepted events as files of the lake.
//!
//! ```text
//! StagedEvents ──▶ pool ──rows of each folder, by session──▶ Arrow batch ──▶ the folder's Parquet file
//! ```
//! Batches wait in a pool until each of their folders has enough rows to be worth encoding together: at once where events
//! come in order, after a while where one batch spreads over many days.

use super::folder_files::{Folder, FolderFiles};
use super::gather::{Pick, Places, Staged, gather};
use super::part_file::Unfinished;
use super::staged::StagedEvents;
use super::{Compression, LakeError};
use crate::source::PartitionInfo;
use crate::store::Store;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Rows of one folder that are worth encoding together.
const FOLDER_ROWS: usize = 16_384;
/// Rows of one Arrow batch: its columns stay in the cache between gathering and encoding.
const BATCH_ROWS: usize = 32_768;
/// Text of one Arrow batch is far below the 2 GiB that it can hold.
const BATCH_BYTES: usize = 256 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSettings {
    pub compression: Compression,
    /// A file is complete with so many rows …
    pub file_rows: u64,
    /// … or so many bytes.
    pub file_bytes: u64,
    pub row_group_rows: usize,
    /// What may be in memory, about half of it as staged and half as encoded rows, with what the files need that are open.
    pub buffer_bytes: usize,
    /// Files of which a part is with the store already: each keeps files or connections open there.
    pub uploads_most: usize,
}

impl Default for EventSettings {
    fn default() -> EventSettings {
        EventSettings {
            compression: Compression::Snappy,
            file_rows: 4_000_000,
            file_bytes: 256 << 20,
            row_group_rows: 512 << 10,
            buffer_bytes: 192 << 20,
            uploads_most: 16,
        }
    }
}

/// Collects batches and writes them; [`EventFiles::end`] ends all files.
pub struct EventFiles {
    files: FolderFiles,
    places: Places,
    buffer_bytes: usize,
    batches: Vec<StagedEvents>,
    folders: BTreeSet<Folder>,
    rows: usize,
    bytes: usize,
}

impl EventFiles {
    /// All files are called `name` and a number: no other writer may have that name.
    pub fn new(store: Arc<dyn Store>, name: &str, settings: EventSettings) -> EventFiles {
        EventFiles {
            buffer_bytes: settings.buffer_bytes,
            files: FolderFiles::new(store, name, settings),
            places: Places::new(&[]),
            batches: Vec::new(),
            folders: BTreeSet::new(),
            rows: 0,
            bytes: 0,
        }
    }

    /// The table of partitions that staged ordinals index, where it has grown.
    pub fn partitions(&mut self, partitions: &[PartitionInfo]) {
        self.places = Places::new(partitions);
    }

    /// Takes a batch. `give` takes files that are complete.
    ///
    /// # Errors
    /// [`LakeError`] where a partition is not known, or a file cannot be written, and what `give` says.
    pub fn add<E: From<LakeError>>(
        &mut self,
        staged: StagedEvents,
        give: &mut impl FnMut(Unfinished) -> Result<(), E>,
    ) -> Result<(), E> {
        self.places.check(&staged.partitions)?;
        let mut last = None;
        for row in 0..staged.rows {
            let folder = Folder::of(&staged, row);
            if last.replace(folder) != Some(folder) {
                self.folders.insert(folder);
            }
        }
        self.rows += staged.rows;
        self.bytes += staged.bytes();
        self.batches.push(staged);
        if self.rows >= FOLDER_ROWS * self.folders.len() || self.bytes >= self.buffer_bytes / 2 {
            self.drain(give)?;
        }
        Ok(())
    }

    /// Ends all files, one after the other: there may be thousands.
    ///
    /// # Errors
    /// [`LakeError`] where a file cannot be written, and what `give` says.
    pub fn end<E: From<LakeError>>(&mut self, give: &mut impl FnMut(Unfinished) -> Result<(), E>) -> Result<(), E> {
        self.drain(give)?;
        self.files.end(give)
    }

    fn drain<E: From<LakeError>>(&mut self, give: &mut impl FnMut(Unfinished) -> Result<(), E>) -> Result<(), E> {
        let mut folders: BTreeMap<Folder, Vec<Pick>> = BTreeMap::new();
        for (batch, staged) in (0..).zip(&self.batches) {
            let mut at: Option<(Folder, &mut Vec<Pick>)> = None;
            for row in (0..staged.rows).filter(|&row| staged.keep.as_ref().is_none_or(|keep| keep[row])) {
                let folder = Folder::of(staged, row);
                let pick = Pick { batch, row: row as u32 };
                match &mut at {
                    Some((same, picks)) if *same == folder => picks.push(pick),
                    _ => {
                        let picks = folders.entry(folder).or_default();
                        picks.push(pick);
                        at = Some((folder, picks));
                    }
                }
            }
        }
        let row_bytes = self.bytes / self.rows.max(1) + 1;
        let batch_rows = (BATCH_BYTES / row_bytes).clamp(1, BATCH_ROWS);
        let staged = Staged::new(&self.batches);
        for (folder, mut picks) in folders {
            for picks in picks.chunks_mut(batch_rows) {
                super::sort::by_session(&self.batches, picks);
                let batch = gather(&staged, picks, &self.places)
                    .map_err(|error| LakeError::Encode { key: folder.path(), message: error.to_string() })?;
                self.files.write(folder, &batch, give)?;
            }
        }
        self.batches.clear();
        self.folders.clear();
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}
