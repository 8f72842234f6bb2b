//! Reads a log from given offsets to its end, and on as it grows.

use super::descriptors::{Openings, most_open};
use super::segments::segments;
use super::stream::{Look, SegmentStream};
use super::{Marker, partition_directory};
use crate::source::buffer::Pool;
use crate::source::cutter::{End, LineCutter};
use crate::source::{Chunk, Mark, PartitionInfo, Progress, ReadOptions, Source, SourceError};
use std::io;
use std::path::Path;

/// A [`Source`] over all partitions of a log, or some of them. It takes a chunk of each in turn; `None` says that all are
/// read to their present ends, and a later call looks again.
pub struct LogReader {
    table: Vec<PartitionInfo>,
    partitions: Vec<Partition>,
    /// Whose turn it is.
    next: usize,
    openings: Openings,
    progress: Progress,
}

struct Partition {
    number: u32,
    stream: SegmentStream,
    cutter: LineCutter,
    /// It is not what it was, and that was said.
    is_over: bool,
}

/// Where reading of a partition begins.
pub(super) struct Begin {
    pub(super) offset: u64,
    /// Where it ends; `u64::MAX` for never.
    pub(super) limit: u64,
    /// What it held at the offset.
    pub(super) mark: Option<Mark>,
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
        let begin = |number, _: &Path| Ok(start(number).map(|offset| Begin { offset, limit: u64::MAX, mark: None }));
        LogReader::build(directory, |number| number as usize, options, progress, begin)
    }

    /// As [`LogReader::open`] for all partitions, with the ordinals that `ordinal` gives.
    pub(super) fn open_as(
        directory: &Path,
        ordinal: impl Fn(u32) -> usize,
        begin: impl Fn(u32) -> Begin,
        options: ReadOptions,
    ) -> Result<LogReader, SourceError> {
        let begin = |number, _: &Path| Ok(Some(begin(number)));
        LogReader::build(directory, ordinal, options, Progress::new(None), begin)
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
            Ok(Some(Begin { offset: first, limit: end, mark: None }))
        })?;
        reader.progress = Progress::new(Some(total));
        Ok(reader)
    }

    fn build(
        directory: &Path,
        ordinal: impl Fn(u32) -> usize,
        options: ReadOptions,
        progress: Progress,
        mut begin: impl FnMut(u32, &Path) -> Result<Option<Begin>, SourceError>,
    ) -> Result<LogReader, SourceError> {
        let count = Marker::read(directory)?.partitions;
        let buffers = Pool::new(options.chunk_bytes);
        let openings = Openings::new(most_open());
        let mut reader = LogReader { table: Vec::new(), partitions: Vec::new(), next: 0, openings, progress };
        for number in 0..count {
            let path = partition_directory(directory, number);
            let ordinal = ordinal(number);
            let source = directory.display().to_string();
            reader.table.push(PartitionInfo { source, partition: number, path: path.clone() });
            let Some(Begin { offset, limit, mark }) = begin(number, &path)? else { continue };
            let Ok(ordinal) = u16::try_from(ordinal) else {
                return Err(SourceError::TooManyPartitions { count: ordinal, limit: usize::from(u16::MAX) });
            };
            let stream = SegmentStream::open(&path, offset, limit, mark, reader.progress.clone())?;
            let cutter = LineCutter::new(ordinal, offset, End::Open, options.clone(), buffers.clone());
            reader.partitions.push(Partition { number, stream, cutter, is_over: false });
        }
        Ok(reader)
    }

    /// Shares the descriptors that a source may have with so many other readers.
    pub(super) fn share_descriptors(&mut self, readers: usize) {
        self.openings.limit(most_open() / readers.max(1));
    }

    /// What was handed out last, of the partition whose turn it was.
    pub(super) fn last_mark(&self) -> Option<&Mark> {
        self.partitions.get(self.next.checked_sub(1)?)?.stream.mark()
    }

    /// What a partition holds where reading goes on, by the number of the partition.
    pub(super) fn mark(&self, number: u32) -> Option<&Mark> {
        self.partitions.iter().find(|partition| partition.number == number)?.stream.mark()
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
            let result = self.partitions[turn].next_chunk(&mut self.openings, turn);
            if let Some(other) = result.closes {
                self.partitions[other].stream.close();
            }
            let partition = &mut self.partitions[turn];
            match result.chunk {
                Ok(None) => {}
                Ok(chunk) => return Ok(chunk),
                Err(fault) => {
                    let path = self.table[partition.number as usize].path.clone();
                    let offset = partition.cutter.offset();
                    return Err(match fault {
                        Fault::Changed(reason) => SourceError::BadOffset { path, offset, reason },
                        Fault::Unreadable(error) => {
                            let file_bytes = partition.stream.position();
                            SourceError::Damaged { path, decoded_bytes: offset, file_bytes, error }
                        }
                    });
                }
            }
        }
        Ok(None)
    }

    fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

/// What came of a partition's turn.
struct Turn {
    chunk: Result<Option<Chunk>, Fault>,
    /// Whose file is to be closed now.
    closes: Option<usize>,
}

enum Fault {
    /// It does not hold any more what was read of it.
    Changed(&'static str),
    Unreadable(io::Error),
}

impl Partition {
    fn next_chunk(&mut self, openings: &mut Openings, turn: usize) -> Turn {
        let was_open = self.stream.is_open();
        let chunk = self.read();
        let closes = if !was_open && self.stream.is_open() { openings.opened(turn) } else { None };
        Turn { chunk, closes }
    }

    fn read(&mut self) -> Result<Option<Chunk>, Fault> {
        if self.is_over {
            return Ok(None);
        }
        if self.cutter.is_empty() {
            match self.stream.look(self.cutter.offset()).map_err(Fault::Unreadable)? {
                Look::More => {}
                Look::Nothing => {
                    self.forget_torn_line();
                    return Ok(None);
                }
                Look::Torn => {
                    self.cutter.forget_line();
                    self.stream.rewind(self.cutter.offset());
                    return Ok(None);
                }
                Look::Changed(reason) => {
                    self.is_over = true;
                    self.stream.close();
                    return Err(Fault::Changed(reason));
                }
            }
        }
        let chunk = self.cutter.next_chunk(&mut self.stream).map_err(Fault::Unreadable)?;
        match &chunk {
            Some(chunk) => self.stream.handed_out(chunk),
            None => self.forget_torn_line(),
        }
        Ok(chunk)
    }

    /// A writer cuts off a torn line before it goes on: what was read of it is not kept.
    fn forget_torn_line(&mut self) {
        if self.cutter.forget_tail() {
            self.stream.rewind(self.cutter.offset());
        }
    }
}
