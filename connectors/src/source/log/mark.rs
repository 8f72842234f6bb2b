//! What was read last of a log, by which it is known again.
//!
//! A log only grows. One that was cut and written anew may be as long as it was, and nothing but its bytes tells: so the
//! bytes before the offset where reading goes on are looked at before anything behind them is taken.

use super::segments::Segment;
use crate::source::{Chunk, Mark};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use xxhash_rust::xxh3::xxh3_64;

/// As many as tell one place of a log from any other.
const BYTES_MOST: u64 = 4 << 10;

/// The end of a chunk, as far as it lies in the segment that begins at `base`; `None` where its bytes are not all there.
pub(super) fn mark_of(chunk: &Chunk, base: u64) -> Option<Mark> {
    let end = chunk.next_offset();
    let bytes = chunk.bytes();
    // Of a line that was too long only the beginning was kept.
    let is_whole = chunk.cut_line_bytes.is_none() && bytes.len() as u64 == end - chunk.base_offset;
    let start = end.saturating_sub(BYTES_MOST).max(base).max(chunk.base_offset);
    let length = end.checked_sub(start).filter(|length| is_whole && *length > 0)?;
    let last = &bytes[bytes.len() - usize::try_from(length).ok()?..];
    Some(Mark::Bytes { end, length, xxh3: xxh3_64(last) })
}

/// What the segment that begins at `base` holds before an offset; `None` where that is its beginning.
pub(super) fn mark_at(file: &File, base: u64, offset: u64) -> io::Result<Option<Mark>> {
    let length = (offset - base).min(BYTES_MOST);
    if length == 0 {
        return Ok(None);
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, offset - length - base)?;
    Ok(Some(Mark::Bytes { end: offset, length, xxh3: xxh3_64(&bytes) }))
}

/// Whether the segment that begins at `base` still holds the bytes of a mark; true where they are not of this segment.
pub(super) fn is_there(mark: &Mark, file: &File, base: u64) -> io::Result<bool> {
    let Mark::Bytes { end, length, xxh3 } = *mark else { return Ok(true) };
    let Some(at) = end.checked_sub(length).and_then(|start| start.checked_sub(base)) else { return Ok(true) };
    let Some(length) = usize::try_from(length).ok().filter(|&length| length as u64 <= BYTES_MOST) else {
        return Ok(false);
    };
    let mut bytes = [0; BYTES_MOST as usize];
    match file.read_exact_at(&mut bytes[..length], at) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
        Ok(()) => Ok(xxh3_64(&bytes[..length]) == xxh3),
    }
}

/// The segment that holds the bytes of a mark; `None` where it was removed.
pub(super) fn segment_of(mark: &Mark, segments: &[Segment]) -> Option<Segment> {
    let Mark::Bytes { end, length, .. } = *mark else { return None };
    let start = end.checked_sub(length)?;
    segments.iter().rev().find(|segment| segment.base <= start).copied()
}
