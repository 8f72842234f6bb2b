//! Event files by folder: one open file each, rolled when it is large, memory bounded over all of them.

use super::event_schema::{EVENT_SCHEMA, event_properties};
use super::part_file::{PartFile, Unfinished};
use super::staged::StagedEvents;
use super::{EventSettings, LakeError};
use crate::store::Store;
use arrow::array::RecordBatch;
use millrace_schema::Kind;
use millrace_schema::calendar::format_day;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a record belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Folder {
    /// What happened on a day, since 1970.
    Day(i32),
    Dimension(Kind),
}

impl Folder {
    #[inline]
    pub fn of(staged: &StagedEvents, row: usize) -> Folder {
        let kind = Kind::ALL[usize::from(staged.kinds[row])];
        if kind.is_dimension() { Folder::Dimension(kind) } else { Folder::Day(staged.days[row]) }
    }

    pub fn path(self) -> String {
        match self {
            Folder::Day(day) => format!("events/event_date={}", format_day(i64::from(day))),
            Folder::Dimension(kind) => format!("dimensions/{}", kind.as_str()),
        }
    }
}

/// What a file that is being written takes besides what is in it: the encoders of its columns.
const FILE_BYTES: usize = 224 << 10;
/// Rows that are worth a group of their own where memory is short.
const GROUP_BYTES: usize = 1 << 20;

/// A file, and when it was written last.
struct Open {
    file: PartFile,
    /// What it takes, as of then.
    bytes: usize,
    written: u64,
}

pub(super) struct FolderFiles {
    store: Arc<dyn Store>,
    name: String,
    settings: EventSettings,
    /// Files are numbered, so that a name stands once.
    next_number: usize,
    open: BTreeMap<Folder, Open>,
    /// What all of them take.
    bytes: usize,
    /// How often one was written.
    writes: u64,
}

impl FolderFiles {
    pub fn new(store: Arc<dyn Store>, name: &str, settings: EventSettings) -> FolderFiles {
        let (name, open) = (name.to_owned(), BTreeMap::new());
        FolderFiles { store, name, settings, next_number: 0, open, bytes: 0, writes: 0 }
    }

    /// Writes rows to the file of their folder. `give` takes files that are complete: this one, or others that have to make room.
    pub fn write<E: From<LakeError>>(
        &mut self,
        folder: Folder,
        batch: &RecordBatch,
        give: &mut impl FnMut(Unfinished) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.open.contains_key(&folder) {
            let file = self.create(folder)?;
            self.open.insert(folder, Open { file, bytes: 0, written: 0 });
        }
        self.writes += 1;
        let open = self.open.get_mut(&folder).expect("it was just opened");
        open.written = self.writes;
        open.file.write(batch)?;
        let is_complete =
            open.file.rows() >= self.settings.file_rows || open.file.written_bytes() as u64 >= self.settings.file_bytes;
        self.bytes = self.bytes - open.bytes + open.count();
        if is_complete {
            self.end_one(folder, give)?;
        }
        self.make_room(give)
    }

    fn create(&mut self, folder: Folder) -> Result<PartFile, LakeError> {
        let key = format!("{}/{}-{:06}.parquet", folder.path(), self.name, self.next_number);
        self.next_number += 1;
        let properties = event_properties(self.settings.compression, self.settings.row_group_rows);
        PartFile::create(&self.store, key, EVENT_SCHEMA.clone(), properties)
    }

    /// Ends the largest row groups, and files that were not written for longest, until what is left is within the bounds. A folder
    /// may so have several files: they are merged later.
    fn make_room<E: From<LakeError>>(&mut self, give: &mut impl FnMut(Unfinished) -> Result<(), E>) -> Result<(), E> {
        while self.bytes > self.settings.buffer_bytes / 2 {
            let largest = self.open.values_mut().max_by_key(|open| open.file.buffered_bytes());
            match largest.filter(|open| open.file.buffered_bytes() >= GROUP_BYTES) {
                Some(open) => {
                    open.file.end_row_group()?;
                    self.bytes = self.bytes - open.bytes + open.count();
                }
                None => {
                    let Some(oldest) = self.oldest(|_| true) else { break };
                    self.end_one(oldest, give)?;
                }
            }
        }
        while self.open.values().filter(|open| open.file.is_on_its_way()).count() > self.settings.uploads_most {
            let Some(oldest) = self.oldest(PartFile::is_on_its_way) else { break };
            self.end_one(oldest, give)?;
        }
        Ok(())
    }

    fn oldest(&self, wanted: impl Fn(&PartFile) -> bool) -> Option<Folder> {
        let open = self.open.iter().filter(|(_, open)| wanted(&open.file));
        open.min_by_key(|(_, open)| open.written).map(|(folder, _)| *folder)
    }

    fn end_one<E: From<LakeError>>(
        &mut self,
        folder: Folder,
        give: &mut impl FnMut(Unfinished) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(open) = self.open.remove(&folder) else { return Ok(()) };
        self.bytes -= open.bytes;
        give(open.file.end()?)
    }

    /// Ends all files.
    pub fn end<E: From<LakeError>>(&mut self, give: &mut impl FnMut(Unfinished) -> Result<(), E>) -> Result<(), E> {
        self.bytes = 0;
        std::mem::take(&mut self.open).into_values().try_for_each(|open| give(open.file.end()?))
    }
}

impl Open {
    /// Takes the file's size anew.
    fn count(&mut self) -> usize {
        self.bytes = FILE_BYTES + self.file.buffered_bytes() + self.file.waiting_bytes();
        self.bytes
    }
}
