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

pub(super) struct FolderFiles {
    store: Arc<dyn Store>,
    name: String,
    settings: EventSettings,
    /// Files are numbered, so that a name stands once.
    next_number: usize,
    open: BTreeMap<Folder, PartFile>,
    ended: Vec<Unfinished>,
}

impl FolderFiles {
    pub fn new(store: Arc<dyn Store>, name: &str, settings: EventSettings) -> FolderFiles {
        FolderFiles { store, name: name.to_owned(), settings, next_number: 0, open: BTreeMap::new(), ended: Vec::new() }
    }

    pub fn write(&mut self, folder: Folder, batch: &RecordBatch) -> Result<(), LakeError> {
        if !self.open.contains_key(&folder) {
            let file = self.create(folder)?;
            self.open.insert(folder, file);
        }
        let file = self.open.get_mut(&folder).expect("it was just opened");
        file.write(batch)?;
        if file.rows() >= self.settings.file_rows || file.written_bytes() as u64 >= self.settings.file_bytes {
            let file = self.open.remove(&folder).expect("it was just written");
            self.ended.push(file.end()?);
        }
        Ok(())
    }

    fn create(&mut self, folder: Folder) -> Result<PartFile, LakeError> {
        let key = format!("{}/{}-{:06}.parquet", folder.path(), self.name, self.next_number);
        self.next_number += 1;
        let properties = event_properties(self.settings.compression, self.settings.row_group_rows);
        PartFile::create(&self.store, key, EVENT_SCHEMA.clone(), properties)
    }

    /// Ends row groups, the biggest first, until all together hold at most so many bytes.
    pub fn shrink_to(&mut self, limit: usize) -> Result<(), LakeError> {
        let mut sizes: Vec<(usize, Folder)> =
            self.open.iter().map(|(&folder, file)| (file.buffered_bytes(), folder)).collect();
        let mut total: usize = sizes.iter().map(|(bytes, _)| bytes).sum();
        sizes.sort();
        while total > limit
            && let Some((bytes, folder)) = sizes.pop()
        {
            self.open.get_mut(&folder).expect("its size was just taken").end_row_group()?;
            total -= bytes;
        }
        Ok(())
    }

    /// Ends all files.
    pub fn end(&mut self) -> Result<Vec<Unfinished>, LakeError> {
        for file in std::mem::take(&mut self.open).into_values() {
            self.ended.push(file.end()?);
        }
        Ok(self.take_ended())
    }

    pub fn take_ended(&mut self) -> Vec<Unfinished> {
        std::mem::take(&mut self.ended)
    }
}
