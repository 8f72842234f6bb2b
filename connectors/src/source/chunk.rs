//! A chunk: some whole lines of one partition, and the records in them.

use super::buffer::Buffer;
use std::ops::Range;
use std::sync::Arc;

/// Whole lines of one partition. Cheap to clone and to send: chunks cut from one read share its buffer.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Index into the source's table of partitions.
    pub partition: u16,
    /// The offset of the first byte (of the first row, for sources that count rows).
    pub base_offset: u64,
    /// Lines that are not blank.
    pub records: u32,
    /// The transport's timestamp, UTC microseconds, where it has one. A field of the record may stand in.
    pub received_at: Option<i64>,
    /// The true length of the last line, where it was too long to be kept whole.
    pub cut_line_bytes: Option<u64>,
    pub(crate) next_offset: u64,
    pub(crate) offsets: Offsets,
    pub(crate) buffer: Arc<Buffer>,
    pub(crate) range: Range<usize>,
    /// Where in the range each line ends: newlines are looked for once, by the reader.
    pub(crate) ends: Arc<[usize]>,
}

/// What an offset counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offsets {
    Bytes,
    Rows,
}

/// One record as it was read. Blank lines are not records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRecord<'a> {
    pub offset: u64,
    /// Without its line end.
    pub bytes: &'a [u8],
    /// More than `bytes.len()` only where the line was too long to be kept whole.
    pub true_bytes: u64,
}

impl Chunk {
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }

    /// The offset right after the chunk: where reading would resume.
    pub fn next_offset(&self) -> u64 {
        self.next_offset
    }

    pub fn records(&self) -> Records<'_> {
        Records { chunk: self, bytes: self.bytes(), ends: self.ends.iter(), position: 0, row: 0 }
    }
}

/// The records of a chunk in order.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    chunk: &'a Chunk,
    bytes: &'a [u8],
    ends: std::slice::Iter<'a, usize>,
    position: usize,
    row: u64,
}

impl<'a> Iterator for Records<'a> {
    type Item = RawRecord<'a>;

    fn next(&mut self) -> Option<RawRecord<'a>> {
        for &end in self.ends.by_ref() {
            let start = std::mem::replace(&mut self.position, end);
            let line = without_end(&self.bytes[start..end]);
            if is_blank(line) {
                continue;
            }
            let offset = match self.chunk.offsets {
                Offsets::Bytes => self.chunk.base_offset + start as u64,
                Offsets::Rows => self.chunk.base_offset + self.row,
            };
            self.row += 1;
            let is_last = end == self.bytes.len();
            let true_bytes = self.chunk.cut_line_bytes.filter(|_| is_last).unwrap_or(line.len() as u64);
            return Some(RawRecord { offset, bytes: line, true_bytes });
        }
        None
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether a line, with its end or without, holds nothing but white space. Looks at one byte of most lines.
pub(crate) fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}
