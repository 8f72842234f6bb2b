//! Logs as a source that goes on.

use super::reader::{Begin, LogReader};
use super::segments::{end_of_lines, segments};
use super::{Marker, partition_directory};
use crate::source::{
    Chunk, Deal, LiveSource, PartitionInfo, PartitionState, Progress, ReadOptions, Resume, Source, SourceError,
    SourceStatus, Start,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a log is asked whether it has grown.
const POLL: Duration = Duration::from_millis(2);
/// How often the ends of a log that is behind are looked at anew, for reports of lag.
const LOOK_AT_ENDS: Duration = Duration::from_millis(500);

/// Reads logs from given offsets, and on as they grow.
pub struct LogTail {
    table: Vec<PartitionInfo>,
    readers: Vec<LogReader>,
    /// Whose turn it is.
    turn: usize,
    status: Arc<SourceStatus>,
    progress: Progress,
    looked_at_ends: Option<Instant>,
    deal: Deal,
}

impl LogTail {
    /// # Errors
    /// [`SourceError`] where a directory is not a log, an offset is not one that a record begins at, or `start` asks for a
    /// time, which a log does not keep.
    pub fn open(logs: &[PathBuf], start: Start, resume: Resume, options: ReadOptions) -> Result<LogTail, SourceError> {
        let named: Vec<_> = logs.iter().map(|log| (log.display().to_string(), log.clone())).collect();
        LogTail::open_named(&named, start, resume, options)
    }

    /// Logs whose sources are not called as they are found. By its name a source goes on where it was left, wherever its log is now.
    ///
    /// # Errors
    /// As [`LogTail::open`].
    pub fn open_named(
        logs: &[(String, PathBuf)],
        start: Start,
        resume: Resume,
        options: ReadOptions,
    ) -> Result<LogTail, SourceError> {
        let mut table = resume.partitions.clone();
        let mut states = resume.states();
        for (state, info) in states.iter_mut().zip(&table) {
            if !logs.iter().any(|(name, _)| *name == info.source) {
                state.fault = Some("it was read before, and source.log.paths does not name its log".to_owned());
            }
        }
        let mut readers = Vec::new();
        for (source, log) in logs {
            let count = Marker::read(log)?.partitions;
            let mut ordinals = Vec::new();
            for partition in 0..count {
                let path = partition_directory(log, partition);
                let known = resume.find(source, partition);
                ordinals.push(known.map_or(table.len(), |(ordinal, _)| ordinal));
                if let Some((ordinal, _)) = known {
                    table[ordinal].path.clone_from(&path);
                }
                if known.is_none() {
                    if !options.deal.discovers() {
                        let reason = format!(
                            "partition {partition} is not known to the process that finds them: it has another log"
                        );
                        return Err(SourceError::BadLog { path: log.clone(), reason });
                    }
                    let next = first_offset(log, partition, start)?;
                    table.push(PartitionInfo { source: source.clone(), partition, path });
                    states.push(PartitionState { next, ..PartitionState::default() });
                }
            }
            let ordinal = |partition: u32| ordinals[partition as usize];
            let begin = |partition: u32| {
                let state = &states[ordinal(partition)];
                let limit = if options.deal.reads(ordinal(partition)) { u64::MAX } else { state.next };
                Begin { offset: state.next, limit, mark: state.marks.at(state.next).cloned() }
            };
            let mut reader = LogReader::open_as(log, ordinal, begin, options.clone())?;
            reader.share_descriptors(logs.len());
            for partition in 0..count {
                states[ordinals[partition as usize]].marks.push(reader.mark(partition).cloned());
            }
            readers.push(reader);
        }
        let status = Arc::new(SourceStatus::default());
        status.with(|state| state.partitions = states);
        let progress = Progress::new(None);
        readers.iter_mut().for_each(|reader| reader.set_progress(progress.clone()));
        Ok(LogTail { table, readers, turn: 0, status, progress, looked_at_ends: None, deal: options.deal })
    }

    /// Where the partitions end now: for reports, so what cannot be read now is left for the next time.
    fn look_at_ends(&mut self) {
        if self.looked_at_ends.is_some_and(|last| last.elapsed() < LOOK_AT_ENDS) {
            return;
        }
        self.looked_at_ends = Some(Instant::now());
        let ends: Vec<Option<u64>> =
            self.table.iter().map(|info| segments(&info.path).ok()?.last().map(|last| last.end())).collect();
        self.status.with(|state| {
            for (partition, end) in state.partitions.iter_mut().zip(ends) {
                // Of one that is not read any more there is nothing to come.
                partition.end = if partition.fault.is_some() { Some(partition.next) } else { end.or(partition.end) };
            }
        });
    }
}

impl LogTail {
    /// A partition that does not hold any more what was read of it is not read on; the others are.
    fn stop(&self, error: &SourceError) {
        let SourceError::BadOffset { path, .. } = error else { return };
        let fault = error.to_string();
        self.status.with(|state| {
            for (partition, info) in state.partitions.iter_mut().zip(&self.table) {
                if info.path == *path {
                    partition.fault = Some(fault.clone());
                }
            }
            state.warnings.push(fault);
        });
    }
}

fn first_offset(log: &Path, partition: u32, start: Start) -> Result<u64, SourceError> {
    let path = partition_directory(log, partition);
    let known = segments(&path)?;
    match start {
        Start::Earliest => Ok(known.first().map_or(0, |first| first.base)),
        Start::Latest => end_of_lines(&path),
        Start::Timestamp(_) => {
            let reason = "it keeps no times, so reading cannot start at one: set source.start to earliest or latest";
            Err(SourceError::BadLog { path: log.to_owned(), reason: reason.to_owned() })
        }
    }
}

impl Source for LogTail {
    fn partitions(&self) -> &[PartitionInfo] {
        &self.table
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        for _ in 0..self.readers.len() {
            let turn = self.turn % self.readers.len();
            self.turn = turn + 1;
            let chunk = loop {
                match self.readers[turn].next_chunk() {
                    Ok(chunk) => break chunk,
                    Err(error @ SourceError::BadOffset { .. }) => self.stop(&error),
                    Err(error) => return Err(error),
                }
            };
            if let Some(chunk) = chunk {
                self.look_at_ends();
                let mark = self.readers[turn].last_mark().cloned();
                self.status.with(|state| {
                    let partition = &mut state.partitions[usize::from(chunk.partition)];
                    partition.next = chunk.next_offset();
                    partition.end = partition.end.max(Some(partition.next));
                    partition.marks.push(mark);
                });
                return Ok(Some(chunk));
            }
        }
        self.status.with(|state| {
            let partitions = state.partitions.iter_mut().enumerate();
            let read_here = partitions.filter(|(ordinal, _)| self.deal.reads(*ordinal));
            read_here.for_each(|(_, partition)| partition.end = Some(partition.next));
        });
        Ok(None)
    }

    fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl LiveSource for LogTail {
    fn wait(&mut self, timeout: Duration) {
        std::thread::sleep(POLL.min(timeout));
    }

    fn status(&self) -> Arc<SourceStatus> {
        self.status.clone()
    }
}
