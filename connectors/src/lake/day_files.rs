//! Event files by day: one open file a day, rolled when it is large, memory bounded over all of them.

use super::event_schema::{EVENT_SCHEMA, event_properties};
use super::part_file::PartFile;
use super::{EventSettings, LakeError, LakeFile};
use arrow::array::RecordBatch;
use millrace_schema::calendar::format_day;
use std::collections::BTreeMap;
use std::path::PathBuf;

pub(super) struct DayFiles {
    directory: PathBuf,
    worker: usize,
    settings: EventSettings,
    /// Files are numbered over all days, so that a name stands once.
    next_number: usize,
    open: BTreeMap<i32, PartFile>,
    finished: Vec<LakeFile>,
}

impl DayFiles {
    pub fn new(directory: PathBuf, worker: usize, settings: EventSettings) -> DayFiles {
        DayFiles { directory, worker, settings, next_number: 0, open: BTreeMap::new(), finished: Vec::new() }
    }

    pub fn write(&mut self, day: i32, batch: &RecordBatch) -> Result<(), LakeError> {
        if !self.open.contains_key(&day) {
            let file = self.create(day)?;
            self.open.insert(day, file);
        }
        let file = self.open.get_mut(&day).expect("it was just opened");
        file.write(batch)?;
        if file.rows() >= self.settings.file_rows || file.written_bytes() as u64 >= self.settings.file_bytes {
            let file = self.open.remove(&day).expect("it was just written");
            self.finished.push(file.finish(self.settings.sync)?);
        }
        Ok(())
    }

    fn create(&mut self, day: i32) -> Result<PartFile, LakeError> {
        let folder = self.directory.join(format!("event_date={}", format_day(i64::from(day))));
        let path = folder.join(format!("part-{:03}-{:05}.parquet", self.worker, self.next_number));
        self.next_number += 1;
        let properties = event_properties(self.settings.compression, self.settings.row_group_rows);
        PartFile::create(path, EVENT_SCHEMA.clone(), properties)
    }

    /// Ends row groups, the biggest first, until all together hold at most so many bytes.
    pub fn shrink_to(&mut self, limit: usize) -> Result<(), LakeError> {
        let mut sizes: Vec<(usize, i32)> = self.open.iter().map(|(&day, file)| (file.buffered_bytes(), day)).collect();
        let mut total: usize = sizes.iter().map(|(bytes, _)| bytes).sum();
        sizes.sort();
        while total > limit
            && let Some((bytes, day)) = sizes.pop()
        {
            self.open.get_mut(&day).expect("its size was just taken").end_row_group()?;
            total -= bytes;
        }
        Ok(())
    }

    pub fn finish(mut self) -> Result<Vec<LakeFile>, LakeError> {
        for file in std::mem::take(&mut self.open).into_values() {
            self.finished.push(file.finish(self.settings.sync)?);
        }
        self.finished.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(self.finished)
    }
}
