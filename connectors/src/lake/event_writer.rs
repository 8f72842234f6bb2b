//! Writes accepted events to the lake, on a thread of its own.
//!
//! ```text
//! StagedEvents ──bounded channel──▶ pool ──rows of each day, in runs──▶ Arrow batch ──▶ the day's Parquet file
//! ```
//! Batches wait in a pool until each of their days has enough rows to be worth encoding together: at once where events
//! come in order, after a while where one batch spreads over many days.

use super::day_files::DayFiles;
use super::gather::{Places, Run, gather};
use super::staged::StagedEvents;
use super::{Compression, LakeError, LakeFile};
use crate::source::PartitionInfo;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Rows of one day that are worth encoding together.
const DAY_ROWS: usize = 16_384;
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
    /// What one writer may hold in memory, about half of it as staged and half as encoded rows.
    pub buffer_bytes: usize,
    /// Batches that may wait for the thread before senders do.
    pub queue: usize,
    /// Whether a file is on the disk itself before it gets its name.
    pub sync: bool,
}

impl Default for EventSettings {
    fn default() -> EventSettings {
        EventSettings {
            compression: Compression::Snappy,
            file_rows: 4_000_000,
            file_bytes: 256 << 20,
            row_group_rows: 512 << 10,
            buffer_bytes: 192 << 20,
            queue: 4,
            sync: false,
        }
    }
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventReport {
    pub rows: u64,
    pub files: Vec<LakeFile>,
}

/// The writer's own handle. Several workers have one each, told apart by number.
#[derive(Debug)]
pub struct EventWriter {
    sender: EventSender,
    thread: JoinHandle<Result<EventReport, LakeError>>,
}

/// Hands batches to the writer; one for each thread that stages.
#[derive(Clone, Debug)]
pub struct EventSender(SyncSender<StagedEvents>);

impl EventSender {
    /// Waits while the queue is full.
    ///
    /// # Errors
    /// [`LakeError::WriterGone`] where writing has failed: [`EventWriter::finish`] says how.
    pub fn send(&self, staged: StagedEvents) -> Result<(), LakeError> {
        self.0.send(staged).map_err(|_| LakeError::WriterGone)
    }
}

impl EventWriter {
    /// Starts the thread. `directory` is the `events` folder, `partitions` the table that staged ordinals index.
    ///
    /// # Errors
    /// [`LakeError`] where the folder cannot be made, or no thread started.
    pub fn start(
        directory: &Path,
        worker: usize,
        partitions: &[PartitionInfo],
        settings: EventSettings,
    ) -> Result<EventWriter, LakeError> {
        std::fs::create_dir_all(directory).map_err(LakeError::write(directory))?;
        let (sender, receiver) = sync_channel(settings.queue);
        let pool = Pool::new(directory.to_owned(), worker, Places::new(partitions), settings);
        let thread = std::thread::Builder::new()
            .name(format!("events-{worker}"))
            .spawn(move || pool.run(&receiver))
            .map_err(LakeError::write(directory))?;
        Ok(EventWriter { sender: EventSender(sender), thread })
    }

    pub fn sender(&self) -> EventSender {
        self.sender.clone()
    }

    /// Waits until all senders are gone and everything is written.
    ///
    /// # Errors
    /// [`LakeError`] where writing failed.
    pub fn finish(self) -> Result<EventReport, LakeError> {
        drop(self.sender);
        self.thread.join().unwrap_or(Err(LakeError::WriterGone))
    }
}

struct Pool {
    files: DayFiles,
    places: Places,
    buffer_bytes: usize,
    batches: Vec<StagedEvents>,
    days: BTreeSet<i32>,
    rows: usize,
    bytes: usize,
    written: u64,
}

impl Pool {
    fn new(directory: PathBuf, worker: usize, places: Places, settings: EventSettings) -> Pool {
        Pool {
            buffer_bytes: settings.buffer_bytes,
            files: DayFiles::new(directory, worker, settings),
            places,
            batches: Vec::new(),
            days: BTreeSet::new(),
            rows: 0,
            bytes: 0,
            written: 0,
        }
    }

    fn run(mut self, receiver: &Receiver<StagedEvents>) -> Result<EventReport, LakeError> {
        for staged in receiver {
            self.add(staged)?;
            if self.rows >= DAY_ROWS * self.days.len() || self.bytes >= self.buffer_bytes / 2 {
                self.drain()?;
            }
        }
        self.drain()?;
        Ok(EventReport { rows: self.written, files: self.files.finish()? })
    }

    fn add(&mut self, staged: StagedEvents) -> Result<(), LakeError> {
        self.places.check(&staged.partitions)?;
        let mut last = None;
        for &day in &staged.days {
            if last.replace(day) != Some(day) {
                self.days.insert(day);
            }
        }
        self.rows += staged.rows;
        self.bytes += staged.bytes();
        self.batches.push(staged);
        Ok(())
    }

    fn drain(&mut self) -> Result<(), LakeError> {
        let mut days: BTreeMap<i32, Vec<Run>> = BTreeMap::new();
        for (number, batch) in self.batches.iter().enumerate() {
            add_runs(number, batch, &mut days);
        }
        let row_bytes = self.bytes / self.rows.max(1) + 1;
        let batch_rows = (BATCH_BYTES / row_bytes).clamp(1, BATCH_ROWS);
        for (day, runs) in days {
            for runs in cut_runs(runs, batch_rows) {
                let batch = gather(&self.batches, &runs, &self.places).map_err(|error| LakeError::Encode {
                    path: format!("the events of day {day}").into(),
                    message: error.to_string(),
                })?;
                self.written += batch.num_rows() as u64;
                self.files.write(day, &batch)?;
            }
        }
        self.batches.clear();
        self.days.clear();
        (self.rows, self.bytes) = (0, 0);
        self.files.shrink_to(self.buffer_bytes / 2)
    }
}

/// The kept rows of a batch as runs of one day.
fn add_runs(number: usize, batch: &StagedEvents, days: &mut BTreeMap<i32, Vec<Run>>) {
    let is_kept = |row: usize| batch.keep.as_ref().is_none_or(|keep| keep[row]);
    let mut start = 0;
    while start < batch.rows {
        if !is_kept(start) {
            start += 1;
            continue;
        }
        let day = batch.days[start];
        let mut end = start + 1;
        while end < batch.rows && batch.days[end] == day && is_kept(end) {
            end += 1;
        }
        days.entry(day).or_default().push(Run { batch: number, start, rows: end - start });
        start = end;
    }
}

/// Runs in groups of at most `limit` rows.
fn cut_runs(runs: Vec<Run>, limit: usize) -> Vec<Vec<Run>> {
    let mut groups = vec![Vec::new()];
    let mut room = limit;
    for mut run in runs {
        while run.rows > 0 {
            if room == 0 {
                groups.push(Vec::new());
                room = limit;
            }
            let rows = run.rows.min(room);
            groups.last_mut().expect("there is always one").push(Run { rows, ..run });
            run.start += rows;
            run.rows -= rows;
            room -= rows;
        }
    }
    groups
}
