//! The segments of one partition: which there are, and where their lines end.

use crate::source::SourceError;
use memchr::memrchr;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

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

pub(super) fn parse_name(name: &str) -> Option<u64> {
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

/// Leaves the file at that position.
pub(super) fn is_line_start(file: &mut File, position: u64) -> io::Result<bool> {
    let Some(before) = position.checked_sub(1) else { return Ok(true) };
    file.seek(SeekFrom::Start(before))?;
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    Ok(byte == *b"\n")
}
