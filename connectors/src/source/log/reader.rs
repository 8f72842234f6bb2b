//! Reads a log from given offsets to its end, and on as it grows.

use super::segments::{SegmentStream, segments};
use super::{Marker, partition_directory};
use crate::source::buffer::Pool;
use crate::source::cutter::{End, LineCutter};
use crate::source::{Chunk, PartitionInfo, Progress, ReadOptions, Source, SourceError};
use std::path::Path;

/// A [`Source`] over all partitions of a log, or some of them. It takes a chunk of each in turn; `None` says that all are
/// read to their present ends, and a later call looks again.
pub struct LogReader {
    table: Vec<PartitionInfo>,
    partitions: Vec<Partition>,
    /// Whose turn it is.
    next: usize,
    progress: Progress,
}

struct Partition {
    number: u32,
    stream: SegmentStream,
    cutter: LineCutter,
}

impl LogReader {
    /// The number of partitions of the log in `directory`.
    ///
    /// # Errors
    /// [`SourceError`] where it is not a log.
    pub fn partition_count(directory: &Path) -> Result<u32, SourceError> {
        Ok(Marker::read(directory)?.partitions)
    }

    /// Reads the partitions for which `start` gives an offset, and goes on as they grow. Chunks carry the partition's
    /// number.
    ///
    /// # Errors
    /// [`SourceError`] where it is not a log, or an offset is not one that a record begins at.
    pub fn open(
        directory: &Path,
        start: impl Fn(u32) -> Option<u64>,
        options: ReadOptions,
    ) -> Result<LogReader, SourceError> {
        let progress = Progress::new(None);
        let range = |number, _: &Path| Ok(start(number).map(|offset| (offset, u64::MAX)));
        LogReader::build(directory, |number| number as usize, options, progress, range)
    }

    /// As [`LogReader::open`] for all partitions, from the offset that `start` gives, with the ordinals that `ordinal` gives.
    pub(super) fn open_as(
        directory: &Path,
        ordinal: impl Fn(u32) -> usize,
        start: impl Fn(u32, &Path) -> Result<u64, SourceError>,
        options: ReadOptions,
    ) -> Result<LogReader, SourceError> {
        let range = |number, path: &Path| Ok(Some((start(number, path)?, u64::MAX)));
        LogReader::build(directory, ordinal, options, Progress::new(None), range)
    }

    /// Reads every partition from its first record to where it ends now. Chunks carry the number plus `first_ordinal`.
    pub(crate) fn open_to_end(
        directory: &Path,
        first_ordinal: usize,
        options: ReadOptions,
    ) -> Result<LogReader, SourceError> {
        let mut total = 0;
        let ordinal = |number| first_ordinal + number as usize;
        let mut reader = LogReader::build(directory, ordinal, options, Progress::new(None), |_, path| {
            let known = segments(path)?;
            let (first, end) = match (known.first(), known.last()) {
                (Some(first), Some(last)) => (first.base, last.end()),
                _ => (0, 0),
            };
            total += end - first;
            Ok(Some((first, end)))
        })?;
        reader.progress = Progress::new(Some(total));
        Ok(reader)
    }

    fn build(
        directory: &Path,
        ordinal: impl Fn(u32) -> usize,
        options: ReadOptions,
        progress: Progress,
        mut range: impl FnMut(u32, &Path) -> Result<Option<(u64, u64)>, SourceError>,
    ) -> Result<LogReader, SourceError> {
        let count = Marker::read(directory)?.partitions;
        let buffers = Pool::new(options.chunk_bytes);
        let mut reader = LogReader { table: Vec::new(), partitions: Vec::new(), next: 0, progress };
        for number in 0..count {
            let path = partition_directory(directory, number);
            let ordinal = ordinal(number);
            let source = directory.display().to_string();
            reader.table.push(PartitionInfo { source, partition: number, path: path.clone() });
            let Some((start, limit)) = range(number, &path)? else { continue };
            let Ok(ordinal) = u16::try_from(ordinal) else {
                return Err(SourceError::TooManyPartitions { count: ordinal, limit: usize::from(u16::MAX) });
            };
            let stream = SegmentStream::open(&path, start, limit, reader.progress.clone())?;
            let cutter = LineCutter::new(ordinal, start, End::Open, options.clone(), buffers.clone());
            reader.partitions.push(Partition { number, stream, cutter });
        }
        Ok(reader)
    }

    pub(crate) fn set_progress(&mut self, progress: Progress) {
        for partition in &mut self.partitions {
            partition.stream.set_progress(progress.clone());
        }
        self.progress = progress;
    }
}

impl Source for LogReader {
    fn partitions(&self) -> &[PartitionInfo] {
        &self.table
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        for _ in 0..self.partitions.len() {
            let turn = self.next % self.partitions.len();
            self.next = turn + 1;
            let Partition { number, stream, cutter } = &mut self.partitions[turn];
            match cutter.next_chunk(stream) {
                Ok(Some(chunk)) => return Ok(Some(chunk)),
                // A writer cuts off a torn line before it goes on: what was read of it is not kept.
                Ok(None) if cutter.forget_tail() => stream.rewind(cutter.offset()),
                Ok(None) => {}
                Err(error) => {
                    let path = self.table[*number as usize].path.clone();
                    let (decoded_bytes, file_bytes) = (cutter.offset(), stream.position());
                    return Err(SourceError::Damaged { path, decoded_bytes, file_bytes, error });
                }
            }
        }
        Ok(None)
    }

    fn progress(&self) -> Progress {
        self.progress.clone()
    }
}
