//! A chunk: some records of one partition, in order. Whole lines of a file or a log, or messages of a broker.

use super::buffer::Buffer;
use millrace_schema::Kind;
use std::ops::Range;
use std::sync::Arc;

/// Records of one partition. Cheap to clone and to send: chunks cut from one read share its buffer.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Index into the source's table of partitions.
    pub partition: u16,
    /// The offset of the first record (of the first byte, where offsets count bytes and blank lines come first).
    pub base_offset: u64,
    /// How many records it holds. Blank lines are none; empty messages are.
    pub records: u32,
    /// The kind of those records that do not say it themselves, where the source knows.
    pub default_kind: Option<Kind>,
    /// The true length of the last line, where it was too long to be kept whole.
    pub cut_line_bytes: Option<u64>,
    pub(crate) next_offset: u64,
    pub(crate) layout: Layout,
    pub(crate) buffer: Arc<Buffer>,
    pub(crate) range: Range<usize>,
}

/// Where in its bytes a chunk's records lie.
#[derive(Clone, Debug)]
pub(crate) enum Layout {
    /// Where in the range each line ends: newlines are looked for once, by the reader.
    Lines {
        ends: Arc<[usize]>,
        offsets: Offsets,
    },
    Messages(Arc<[Message]>),
}

/// What the offset of a line counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offsets {
    Bytes,
    Rows,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    offset: u64,
    received_at: Option<i64>,
    /// Where in the range it ends.
    end: usize,
    true_bytes: u64,
}

/// One record as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRecord<'a> {
    pub offset: u64,
    /// The transport's timestamp, UTC microseconds, where it has one. A field of the record may stand in.
    pub received_at: Option<i64>,
    /// Without its line end.
    pub bytes: &'a [u8],
    /// More than `bytes.len()` only where the record was too long to be kept whole.
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
        let left = match &self.layout {
            Layout::Lines { ends, offsets } => Left::Lines { ends: ends.iter(), offsets: *offsets, row: 0 },
            Layout::Messages(messages) => Left::Messages(messages.iter()),
        };
        Records { chunk: self, bytes: self.bytes(), position: 0, left }
    }
}

/// Makes a chunk of messages.
#[derive(Debug)]
pub struct MessageChunk {
    partition: u16,
    default_kind: Option<Kind>,
    /// Of a longer message only so many bytes are kept.
    max_bytes: usize,
    bytes: Vec<u8>,
    messages: Vec<Message>,
}

impl MessageChunk {
    pub fn new(partition: u16, default_kind: Option<Kind>, max_bytes: usize) -> MessageChunk {
        MessageChunk { partition, default_kind, max_bytes, bytes: Vec::new(), messages: Vec::new() }
    }

    /// Appends a message. Offsets ascend.
    pub fn push(&mut self, offset: u64, received_at: Option<i64>, bytes: &[u8]) {
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(self.max_bytes)]);
        self.messages.push(Message { offset, received_at, end: self.bytes.len(), true_bytes: bytes.len() as u64 });
    }

    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// How many bytes its messages have.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn default_kind(&self) -> Option<Kind> {
        self.default_kind
    }

    /// `None` of no messages.
    pub fn finish(self) -> Option<Chunk> {
        let (first, last) = (self.messages.first()?.offset, self.messages.last()?.offset);
        Some(Chunk {
            partition: self.partition,
            base_offset: first,
            records: u32::try_from(self.messages.len()).expect("a chunk has fewer than 2^32 records"),
            default_kind: self.default_kind,
            cut_line_bytes: None,
            next_offset: last + 1,
            layout: Layout::Messages(self.messages.into()),
            range: 0..self.bytes.len(),
            buffer: Arc::new(Buffer::from(self.bytes)),
        })
    }
}

/// The records of a chunk in order.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    chunk: &'a Chunk,
    bytes: &'a [u8],
    position: usize,
    left: Left<'a>,
}

#[derive(Clone, Debug)]
enum Left<'a> {
    Lines { ends: std::slice::Iter<'a, usize>, offsets: Offsets, row: u64 },
    Messages(std::slice::Iter<'a, Message>),
}

impl<'a> Iterator for Records<'a> {
    type Item = RawRecord<'a>;

    #[inline]
    fn next(&mut self) -> Option<RawRecord<'a>> {
        match &mut self.left {
            Left::Lines { ends, offsets, row } => {
                for &end in ends.by_ref() {
                    let start = std::mem::replace(&mut self.position, end);
                    let line = without_end(&self.bytes[start..end]);
                    if is_blank(line) {
                        continue;
                    }
                    let offset = match offsets {
                        Offsets::Bytes => self.chunk.base_offset + start as u64,
                        Offsets::Rows => self.chunk.base_offset + *row,
                    };
                    *row += 1;
                    let is_last = end == self.bytes.len();
                    let true_bytes = self.chunk.cut_line_bytes.filter(|_| is_last).unwrap_or(line.len() as u64);
                    return Some(RawRecord { offset, received_at: None, bytes: line, true_bytes });
                }
                None
            }
            Left::Messages(messages) => {
                let &Message { offset, received_at, end, true_bytes } = messages.next()?;
                let start = std::mem::replace(&mut self.position, end);
                Some(RawRecord { offset, received_at, bytes: &self.bytes[start..end], true_bytes })
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_offsets_times_and_bytes() {
        let mut messages = MessageChunk::new(3, Some(Kind::Product), 5);
        messages.push(7, Some(70), b"{}\n");
        messages.push(9, None, b"");
        messages.push(10, Some(100), b"too long");
        let chunk = messages.finish().expect("there are messages");
        assert_eq!((chunk.partition, chunk.base_offset, chunk.next_offset(), chunk.records), (3, 7, 11, 3));
        let expected = [
            RawRecord { offset: 7, received_at: Some(70), bytes: b"{}\n", true_bytes: 3 },
            RawRecord { offset: 9, received_at: None, bytes: b"", true_bytes: 0 },
            RawRecord { offset: 10, received_at: Some(100), bytes: b"too l", true_bytes: 8 },
        ];
        assert_eq!(chunk.records().collect::<Vec<_>>(), expected);
        assert!(MessageChunk::new(0, None, 1).finish().is_none());
    }
}
