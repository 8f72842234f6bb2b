//! Cuts a stream of bytes into chunks of whole lines.
//!
//! ```text
//! read:   tail of the last read │ line \n line \n line \n line \n torn li
//! chunks: └───────── at most max_records lines ───┘└──────────┘
//! kept:                                                        └ tail ┘
//! ```
//! Chunks of one read share its buffer. The tail is copied to the front of the next. A line that outgrows
//! `max_line_bytes` is cut there, and the rest of it is read and forgotten.

use super::ReadOptions;
use super::buffer::{Buffer, Pool};
use super::chunk::{Chunk, Layout, Offsets, is_blank};
use memchr::{memchr, memrchr};
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What the end of the stream means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// There is no more: a last line without a newline is a line.
    Final,
    /// More may come: a line without a newline is not yet one.
    Open,
}

#[derive(Debug)]
pub(crate) struct LineCutter {
    partition: u16,
    options: ReadOptions,
    end: End,
    /// How much to read before cutting; 1 where waiting for more could take for ever.
    fill_bytes: usize,
    /// The offset of `buffer[cut]`, or of the tail's first byte when all is cut.
    offset: u64,
    buffer: Arc<Buffer>,
    /// Lines before it are handed out, whole lines lie between it and `whole`.
    cut: usize,
    whole: usize,
    /// Lines of the last chunk.
    lines: usize,
    /// The line that has no end yet.
    tail: Buffer,
    buffers: Pool,
    /// Bytes of the tail's line that were read and forgotten, while one that is too long is skipped.
    skipped: Option<u64>,
    ended: bool,
    fault: Option<io::Error>,
}

impl LineCutter {
    pub(crate) fn new(partition: u16, offset: u64, end: End, options: ReadOptions, buffers: Pool) -> LineCutter {
        LineCutter {
            partition,
            fill_bytes: options.chunk_bytes.max(1),
            options,
            end,
            offset,
            buffer: Arc::default(),
            cut: 0,
            whole: 0,
            lines: 0,
            tail: Buffer::default(),
            buffers,
            skipped: None,
            ended: false,
            fault: None,
        }
    }

    /// Hands out what one read brought instead of waiting for a chunk's worth.
    pub(crate) fn eager(mut self) -> LineCutter {
        self.fill_bytes = 1;
        self
    }

    /// Forgets the beginning of a line whose end has not come. False where there is none, or it is too long to be kept anyway.
    pub(crate) fn forget_tail(&mut self) -> bool {
        let forgets = self.cut == self.whole && self.skipped.is_none() && !self.tail.is_empty();
        if forgets {
            self.tail = Buffer::default();
        }
        forgets
    }

    /// Forgets the line whose end has not come, however much of it was read.
    pub(crate) fn forget_line(&mut self) {
        if self.cut == self.whole {
            self.tail = Buffer::default();
            self.skipped = None;
        }
    }

    /// Whether all whole lines that were read are handed out.
    pub(crate) fn is_empty(&self) -> bool {
        self.cut == self.whole
    }

    /// The offset of the first byte that is not handed out.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next chunk, or `None` at the end. An error of the stream comes after all whole lines before it, once.
    pub(crate) fn next_chunk(&mut self, stream: &mut dyn Read) -> io::Result<Option<Chunk>> {
        loop {
            if self.cut < self.whole {
                let chunk = self.cut_chunk();
                if chunk.records > 0 {
                    return Ok(Some(chunk));
                }
            } else if self.ended {
                return self.fault.take().map_or(Ok(None), Err);
            } else if self.skipped.is_some() {
                match self.skip_line(stream) {
                    Some(chunk) => return Ok(Some(chunk)),
                    None if self.ended => {}
                    None => return Ok(None),
                }
            } else if !self.fill(stream) {
                return Ok(None);
            }
        }
    }

    /// Reads until there is a whole line, a line too long, or the end. False where there is nothing for now.
    fn fill(&mut self, stream: &mut dyn Read) -> bool {
        let mut bytes = std::mem::take(&mut self.tail);
        loop {
            let searched = bytes.len();
            let at_end = self.read(stream, &mut bytes);
            let newline = memrchr(b'\n', &bytes[searched..]).map(|at| searched + at + 1);
            let is_final = at_end && (self.end == End::Final || self.fault.is_some());
            self.ended |= is_final;
            if let Some(whole) = newline {
                // A torn line before a fault is no record; a last line without a newline is.
                let keep_tail = is_final && self.fault.is_none();
                let whole = if keep_tail { bytes.len() } else { whole };
                self.tail = bytes[whole..].to_vec().into();
                self.start_buffer(bytes, whole);
                return true;
            }
            if bytes.len() >= self.options.max_line_bytes {
                self.skipped = Some((bytes.len() - self.options.max_line_bytes) as u64);
                bytes.truncate(self.options.max_line_bytes);
                self.tail = bytes;
                // What was read of the line's rest is forgotten with it; its end is yet to come.
                if is_final {
                    self.ended = self.fault.is_some();
                }
                return true;
            }
            if is_final {
                let whole = if self.fault.is_none() { bytes.len() } else { 0 };
                self.start_buffer(bytes, whole);
                return true;
            }
            if at_end {
                self.tail = bytes;
                return false;
            }
        }
    }

    /// Appends up to a chunk's worth. True at the end of the stream, or at a fault, which is kept.
    fn read(&mut self, stream: &mut dyn Read, bytes: &mut Buffer) -> bool {
        let room = bytes.room(self.options.chunk_bytes.max(1), &self.buffers);
        let least = self.fill_bytes.min(self.options.chunk_bytes);
        let (mut filled, mut at_end) = (0, false);
        while filled < least && !at_end {
            match stream.read(&mut room[filled..]) {
                Ok(0) => at_end = true,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.fault = Some(error);
                    at_end = true;
                }
            }
        }
        bytes.filled(filled);
        at_end
    }

    fn start_buffer(&mut self, bytes: Buffer, whole: usize) {
        self.cut = 0;
        if self.offset == 0 && bytes.starts_with(BYTE_ORDER_MARK) && whole >= BYTE_ORDER_MARK.len() {
            self.cut = BYTE_ORDER_MARK.len();
            self.offset = self.cut as u64;
        }
        self.whole = whole;
        self.buffer = Arc::new(bytes);
    }

    /// Takes lines off the front of the buffer until the chunk is full.
    fn cut_chunk(&mut self) -> Chunk {
        let lines = &self.buffer[self.cut..self.whole];
        let (mut end, mut records) = (0, 0);
        // As many as in the last chunk, and some.
        let mut ends = Vec::with_capacity(self.lines + self.lines / 8);
        let most = self.options.max_records.max(1) as usize;
        // Blank lines count as well, or a chunk of them would need more memory for their ends than for their bytes.
        while end < lines.len() && ends.len() < most && end < self.options.chunk_bytes {
            let start = end;
            end = memchr(b'\n', &lines[start..]).map_or(lines.len(), |at| start + at + 1);
            records += u32::from(!is_blank(&lines[start..end]));
            ends.push(end);
        }
        self.lines = ends.len();
        let start = self.cut;
        self.cut += end;
        self.chunk(start..self.cut, ends.into(), records, end as u64, None)
    }

    /// Reads on to the end of a line that is too long. `None` where that has not come yet, or never will.
    fn skip_line(&mut self, stream: &mut dyn Read) -> Option<Chunk> {
        let mut skipped = self.skipped.expect("called only while a line is skipped");
        let mut bytes = Buffer::default();
        loop {
            bytes.truncate(0);
            let at_end = self.read(stream, &mut bytes);
            let is_final = at_end && (self.end == End::Final || self.fault.is_some());
            self.ended |= is_final;
            let newline = memchr(b'\n', &bytes);
            skipped += newline.unwrap_or(bytes.len()) as u64;
            self.skipped = Some(skipped);
            if newline.is_none() && (!is_final || self.fault.is_some()) {
                if at_end {
                    return None;
                }
                continue;
            }
            let kept = std::mem::take(&mut self.tail);
            let length = kept.len() as u64 + skipped;
            let consumed = length + u64::from(newline.is_some());
            self.skipped = None;
            self.cut = 0;
            self.whole = 0;
            self.buffer = Arc::new(kept);
            let chunk = self.chunk(0..self.buffer.len(), [self.buffer.len()].into(), 1, consumed, Some(length));
            // The rest of the read is the next buffer: its whole lines first, then its tail.
            let rest = newline.map_or(&[][..], |at| &bytes[at + 1..]);
            let whole = match (self.ended, &self.fault) {
                (true, None) => rest.len(),
                _ => memrchr(b'\n', rest).map_or(0, |at| at + 1),
            };
            self.tail = rest[whole..].to_vec().into();
            self.start_buffer(rest.to_vec().into(), whole);
            return Some(chunk);
        }
    }

    fn chunk(
        &mut self,
        range: Range<usize>,
        ends: Arc<[usize]>,
        records: u32,
        consumed: u64,
        cut: Option<u64>,
    ) -> Chunk {
        let base_offset = self.offset;
        self.offset += consumed;
        Chunk {
            partition: self.partition,
            base_offset,
            records,
            default_kind: None,
            cut_line_bytes: cut,
            next_offset: self.offset,
            layout: Layout::Lines { ends, offsets: Offsets::Bytes },
            buffer: Arc::clone(&self.buffer),
            range,
        }
    }
}
