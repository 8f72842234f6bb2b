//! The bytes of one partition as one stream, from segment to segment.
//!
//! ```text
//! look ──▶ is there more than was read, and is what was read still there? ──▶ read
//! ```
//! A file is open only while it is read: see [`super::descriptors`].

use super::mark::{is_there, mark_at, mark_of, segment_of};
use super::segments::{is_line_start, parse_name, segment_path, segments};
use crate::source::{Chunk, Mark, Progress, SourceError};
use std::collections::VecDeque;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often it is looked whether there are later segments though none begins here, of a stream that goes on for ever.
const LOOK_FOR_GAPS: Duration = Duration::from_millis(500);

/// Why a partition is not that any more which was read.
const SHORTER: &str = "it ends earlier";
const OTHER_BYTES: &str = "what stands before it is not what was read";
const BEGUN_ANEW: &str = "the segment that was read is gone, and an earlier one is there";

/// Reads a partition from an offset on, from segment to segment. At the end it returns 0 bytes, and may have more later.
#[derive(Debug)]
pub(super) struct SegmentStream {
    directory: PathBuf,
    /// The one that is read. None before there is one.
    segment: Option<Current>,
    /// The beginnings of the segments that bytes were read of which are not handed out yet, and of the one before.
    bases: VecDeque<u64>,
    position: u64,
    /// Where to stop; `u64::MAX` to go on for ever.
    limit: u64,
    /// What was handed out last.
    mark: Option<Mark>,
    progress: Progress,
    looked: Option<Instant>,
}

#[derive(Debug)]
struct Current {
    base: u64,
    inode: u64,
    /// At `position`. None while it is closed.
    file: Option<File>,
}

/// What is to be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    More,
    Nothing,
    /// The line that was being read, and has no end, was cut off.
    Torn,
    /// The partition is not what it was.
    Changed(&'static str),
}

impl SegmentStream {
    /// From `offset` on, of a partition that holds what `mark` says.
    ///
    /// # Errors
    /// [`SourceError`] where no record begins at `offset`, or what stands before it is something else.
    pub fn open(
        directory: &Path,
        offset: u64,
        limit: u64,
        mark: Option<Mark>,
        progress: Progress,
    ) -> Result<SegmentStream, SourceError> {
        let known = segments(directory)?;
        let bad = |reason| SourceError::BadOffset { path: directory.to_owned(), offset, reason };
        let holder = known.iter().rev().find(|segment| segment.base <= offset);
        let mut found = None;
        let segment = match holder {
            None if offset == 0 && known.is_empty() => None,
            None => {
                let begins = known.first().map(|first| first.base);
                let removed = |begins| SourceError::Removed { path: directory.to_owned(), offset, begins };
                return Err(begins.map_or_else(|| bad("it has no segment"), removed));
            }
            Some(segment) if segment.end() < offset => return Err(bad(SHORTER)),
            Some(segment) => {
                let path = segment_path(directory, segment.base);
                let mut file = File::open(&path).map_err(SourceError::unreadable(&path))?;
                if !is_line_start(&mut file, offset - segment.base).map_err(SourceError::unreadable(&path))? {
                    return Err(bad("it is in the middle of a line"));
                }
                found = mark_at(&file, segment.base, offset).map_err(SourceError::unreadable(&path))?;
                let inode = file.metadata().map_err(SourceError::unreadable(&path))?.ino();
                Some(Current { base: segment.base, inode, file: None })
            }
        };
        if let Some(mark) = &mark
            && let Some(holder) = segment_of(mark, &known)
        {
            let path = segment_path(directory, holder.base);
            let holds = File::open(&path).and_then(|file| is_there(mark, &file, holder.base));
            if !holds.map_err(SourceError::unreadable(&path))? {
                return Err(bad(OTHER_BYTES));
            }
        }
        let mark = mark.or(found);
        let bases = segment.iter().map(|segment| segment.base).collect();
        let directory = directory.to_owned();
        Ok(SegmentStream { directory, segment, bases, position: offset, limit, mark, progress, looked: None })
    }

    pub fn set_progress(&mut self, progress: Progress) {
        self.progress = progress;
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    /// What stands before the offset that reading goes on at.
    pub fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    pub fn is_open(&self) -> bool {
        self.segment.as_ref().is_some_and(|segment| segment.file.is_some())
    }

    pub fn close(&mut self) {
        if let Some(segment) = &mut self.segment {
            segment.file = None;
        }
    }

    /// A chunk is handed out: from now on this is what was read last.
    pub fn handed_out(&mut self, chunk: &Chunk) {
        let end = chunk.next_offset();
        while self.bases.get(1).is_some_and(|next| *next < end) {
            self.bases.pop_front();
        }
        self.mark = self.bases.front().and_then(|base| mark_of(chunk, *base));
    }

    /// Whether there is something to read behind `offset`, up to which all lines were handed out. Opens what is to be read.
    ///
    /// # Errors
    /// Where a file cannot be read, or one was removed before it was.
    pub fn look(&mut self, offset: u64) -> io::Result<Look> {
        if self.position >= self.limit {
            return Ok(Look::Nothing);
        }
        let Some(segment) = &self.segment else { return self.look_behind() };
        let (base, path) = (segment.base, segment_path(&self.directory, segment.base));
        let end = match fs::metadata(&path) {
            Ok(found) if found.ino() != segment.inode => {
                // Another file in its place: good, where it holds the same.
                if let Some(changed) = self.change_file(&found, offset)? {
                    return Ok(changed);
                }
                base + found.len()
            }
            Ok(found) => base + found.len(),
            // Removed, and what is open can still be read to its end.
            Err(error) if error.kind() == io::ErrorKind::NotFound => match &segment.file {
                Some(file) if base + file.metadata()?.len() > self.position => return Ok(Look::More),
                _ => return self.look_behind(),
            },
            Err(error) => return Err(error),
        };
        if end < offset {
            return Ok(Look::Changed(SHORTER));
        }
        if end < self.position {
            return Ok(Look::Torn);
        }
        if end == self.position {
            return self.look_behind();
        }
        let file = self.file()?;
        let holds = |file: &File| self.mark.as_ref().map_or(Ok(true), |mark| is_there(mark, file, base));
        if !holds(&file)? {
            return Ok(Look::Changed(OTHER_BYTES));
        }
        self.keep(file);
        Ok(Look::More)
    }

    /// The file at hand, opened if it is not. To be given back by [`SegmentStream::keep`].
    fn file(&mut self) -> io::Result<File> {
        let segment = self.segment.as_mut().expect("only a segment has a file");
        if let Some(file) = segment.file.take() {
            return Ok(file);
        }
        let mut file = File::open(segment_path(&self.directory, segment.base))?;
        file.seek(SeekFrom::Start(self.position - segment.base))?;
        Ok(file)
    }

    fn keep(&mut self, file: File) {
        self.segment.as_mut().expect("it was taken from there").file = Some(file);
    }

    /// The path leads to another file than before.
    fn change_file(&mut self, found: &Metadata, offset: u64) -> io::Result<Option<Look>> {
        let segment = self.segment.as_mut().expect("it was looked at");
        (segment.file, segment.inode) = (None, found.ino());
        let base = segment.base;
        if base + found.len() < offset {
            return Ok(Some(Look::Changed(SHORTER)));
        }
        let file = File::open(segment_path(&self.directory, base))?;
        let holds = self.mark.as_ref().map_or(Ok(true), |mark| is_there(mark, &file, base))?;
        Ok((!holds).then_some(Look::Changed(OTHER_BYTES)))
    }

    /// All of the segment at hand is read: goes on to the next.
    fn look_behind(&mut self) -> io::Result<Look> {
        if self.next_segment()? {
            return Ok(Look::More);
        }
        Ok(self.look_for_gap()?.map_or(Look::Nothing, Look::Changed))
    }

    /// Goes on to the segment that begins right here. False where there is none (yet).
    fn next_segment(&mut self) -> io::Result<bool> {
        if self.segment.as_ref().is_some_and(|segment| segment.base == self.position) {
            return Ok(false);
        }
        match File::open(segment_path(&self.directory, self.position)) {
            Ok(file) => {
                let inode = file.metadata()?.ino();
                self.segment = Some(Current { base: self.position, inode, file: Some(file) });
                self.bases.push_back(self.position);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// No segment begins here: an error where one begins later or more was to come. Says so where another log has begun.
    fn look_for_gap(&mut self) -> io::Result<Option<&'static str>> {
        let goes_on = self.limit == u64::MAX;
        if goes_on && self.looked.is_some_and(|last| last.elapsed() < LOOK_FOR_GAPS) {
            return Ok(None);
        }
        self.looked = Some(Instant::now());
        let mut bases = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            bases.extend(entry?.file_name().to_str().and_then(parse_name));
        }
        let is_gone = self.segment.as_ref().is_some_and(|segment| !bases.contains(&segment.base));
        if is_gone && bases.iter().any(|base| *base < self.position) {
            return Ok(Some(BEGUN_ANEW));
        }
        let next = bases.iter().copied().filter(|base| *base > self.position).min();
        // It may have been made since it was looked for, or is at hand and empty.
        if bases.contains(&self.position) || goes_on && next.is_none() {
            return Ok(None);
        }
        let position = self.position;
        Err(io::Error::other(format!(
            "the segment that begins at offset {position} was removed before it was read; the next {}: restore it",
            next.map_or("is missing, too".to_owned(), |next| format!("begins at {next}"))
        )))
    }

    /// Goes back to an offset, if it is in the segment at hand: what follows it may have been cut off and written anew.
    pub fn rewind(&mut self, offset: u64) {
        if let Some(segment) = &mut self.segment
            && (segment.base..self.position).contains(&offset)
        {
            // Where it is not open, it is opened there.
            let at = SeekFrom::Start(offset - segment.base);
            segment.file = segment.file.take().and_then(|mut file| file.seek(at).is_ok().then_some(file));
            self.position = offset;
        }
    }
}

impl Read for SegmentStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.limit.saturating_sub(self.position)).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        loop {
            let file = self.segment.as_mut().and_then(|segment| segment.file.as_mut());
            let read = file.map_or(Ok(0), |file| file.read(&mut buffer[..wanted]))?;
            if read > 0 {
                self.position += read as u64;
                self.progress.add(read as u64);
                return Ok(read);
            }
            if !self.next_segment()? {
                return Ok(0);
            }
        }
    }
}
