//! The segments of one partition, and their bytes as one stream.

use crate::source::{Progress, SourceError};
use memchr::memrchr;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const EXTENSION: &str = "jsonl";
const DIGITS: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    /// The offset of its first byte.
    pub base: u64,
    pub bytes: u64,
}

impl Segment {
    pub fn end(self) -> u64 {
        self.base + self.bytes
    }
}

pub(super) fn segment_path(directory: &Path, base: u64) -> PathBuf {
    directory.join(format!("{base:0DIGITS$}.{EXTENSION}"))
}

/// The segments in order, each beginning where the one before it ends.
///
/// # Errors
/// [`SourceError`] where the directory cannot be read, or a segment is missing between two others.
pub(super) fn segments(directory: &Path) -> Result<Vec<Segment>, SourceError> {
    let unreadable = |error| SourceError::Unreadable { path: directory.to_owned(), error };
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let Some(base) = entry.file_name().to_str().and_then(parse_name) else { continue };
        segments.push(Segment { base, bytes: entry.metadata().map_err(unreadable)?.len() });
    }
    segments.sort();
    for number in 1..segments.len() {
        let Segment { base: next, .. } = segments[number];
        if segments[number - 1].end() == next {
            continue;
        }
        // A writer may have filled it since it was measured.
        let path = segment_path(directory, segments[number - 1].base);
        segments[number - 1].bytes = fs::metadata(&path).map_err(SourceError::unreadable(&path))?.len();
        let end = segments[number - 1].end();
        if end != next {
            let reason =
                format!("a segment ends at offset {end} and the next begins at {next}: restore what is missing");
            return Err(SourceError::BadLog { path: directory.to_owned(), reason });
        }
    }
    Ok(segments)
}

fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    (digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Where a line begins that a writer adds now: after the last newline.
///
/// # Errors
/// [`SourceError`] where the directory or its last segment cannot be read.
pub(super) fn end_of_lines(directory: &Path) -> Result<u64, SourceError> {
    let Some(last) = segments(directory)?.last().copied() else { return Ok(0) };
    let path = segment_path(directory, last.base);
    let unreadable = SourceError::unreadable(&path);
    let whole = File::open(&path).and_then(|mut file| whole_lines(&mut file)).map_err(unreadable)?;
    Ok(last.base + whole)
}

/// The length of a file up to its last newline, found from the end.
pub(super) fn whole_lines(file: &mut File) -> io::Result<u64> {
    const BLOCK_BYTES: usize = 64 << 10;
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut block = vec![0; BLOCK_BYTES];
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES as u64);
        let block = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(block)?;
        if let Some(at) = memrchr(b'\n', block) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Reads a partition from an offset on, from segment to segment. At the end it returns 0 bytes, and may have more later.
#[derive(Debug)]
pub(super) struct SegmentStream {
    directory: PathBuf,
    open: Option<(u64, File)>,
    position: u64,
    /// Where to stop; `u64::MAX` to go on for ever.
    limit: u64,
    progress: Progress,
    /// When it was looked last whether there are later segments, though none begins here.
    looked: Option<Instant>,
}

/// How often that is looked at, of a stream that goes on for ever.
const LOOK_FOR_GAPS: Duration = Duration::from_millis(500);

impl SegmentStream {
    /// # Errors
    /// [`SourceError`] where no record begins at `offset`.
    pub fn open(directory: &Path, offset: u64, limit: u64, progress: Progress) -> Result<SegmentStream, SourceError> {
        let known = segments(directory)?;
        let bad = |reason| SourceError::BadOffset { path: directory.to_owned(), offset, reason };
        let holder = known.iter().rev().find(|segment| segment.base <= offset);
        let open = match holder {
            None if offset == 0 && known.is_empty() => None,
            None => {
                let begins = known.first().map(|first| first.base);
                let removed = |begins| SourceError::Removed { path: directory.to_owned(), offset, begins };
                return Err(begins.map_or_else(|| bad("it has no segment"), removed));
            }
            Some(segment) if segment.end() < offset => return Err(bad("it ends earlier")),
            Some(segment) => {
                let path = segment_path(directory, segment.base);
                let mut file = File::open(&path).map_err(SourceError::unreadable(&path))?;
                if !is_line_start(&mut file, offset - segment.base).map_err(SourceError::unreadable(&path))? {
                    return Err(bad("it is in the middle of a line"));
                }
                Some((segment.base, file))
            }
        };
        Ok(SegmentStream { directory: directory.to_owned(), open, position: offset, limit, progress, looked: None })
    }

    pub fn set_progress(&mut self, progress: Progress) {
        self.progress = progress;
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes on to the segment that begins right here. False where there is none (yet).
    fn next_segment(&mut self) -> io::Result<bool> {
        if self.open.as_ref().is_some_and(|(base, _)| *base == self.position) {
            return Ok(false);
        }
        match File::open(segment_path(&self.directory, self.position)) {
            Ok(file) => {
                self.open = Some((self.position, file));
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.look_for_gap().map(|()| false),
            Err(error) => Err(error),
        }
    }

    /// No segment begins here: an error, where one begins later or more was to come.
    fn look_for_gap(&mut self) -> io::Result<()> {
        let goes_on = self.limit == u64::MAX;
        if goes_on && self.looked.is_some_and(|last| last.elapsed() < LOOK_FOR_GAPS) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let bases = fs::read_dir(&self.directory)?.filter_map(|entry| parse_name(entry.ok()?.file_name().to_str()?));
        let next = bases.filter(|base| *base > self.position).min();
        // It may have been made since it was looked for.
        if segment_path(&self.directory, self.position).exists() || goes_on && next.is_none() {
            return Ok(());
        }
        let position = self.position;
        Err(io::Error::other(format!(
            "the segment that begins at offset {position} was removed before it was read; the next {}: restore it",
            next.map_or("is missing, too".to_owned(), |next| format!("begins at {next}"))
        )))
    }

    /// Goes back to an offset, if it is in the segment at hand: what follows it may have been cut off and written anew.
    pub fn rewind(&mut self, offset: u64) {
        if let Some((base, file)) = &mut self.open
            && (*base..self.position).contains(&offset)
            && file.seek(SeekFrom::Start(offset - *base)).is_ok()
        {
            self.position = offset;
        }
    }
}

/// Leaves the file at that position.
fn is_line_start(file: &mut File, position: u64) -> io::Result<bool> {
    let Some(before) = position.checked_sub(1) else { return Ok(true) };
    file.seek(SeekFrom::Start(before))?;
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    Ok(byte == *b"\n")
}

impl Read for SegmentStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.limit.saturating_sub(self.position)).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        loop {
            let read = match &mut self.open {
                Some((_, file)) => file.read(&mut buffer[..wanted])?,
                None => 0,
            };
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
