//! From messages of all partitions, as they come, to chunks of one partition and one kind each.
//!
//! ```text
//! messages ──▶ an open chunk per partition ──▶ ready: chunks, and between them what was said of their partitions
//! ```
//! What is ready keeps the order of each partition: that its end was reached is known only behind its records.

use super::error::KafkaError;
use crate::source::{Chunk, MessageChunk, ReadOptions};
use millrace_schema::Kind;
use std::collections::VecDeque;

/// What comes next.
pub(super) enum Ready {
    Chunk(Chunk),
    /// There is nothing behind this offset for now.
    End {
        ordinal: u16,
        offset: u64,
    },
    /// It cannot be read now. The client tries again by itself.
    Fault {
        ordinal: u16,
        reason: String,
    },
    /// Nothing is at this offset any more. The client does not go on by itself.
    Gone {
        ordinal: u16,
        offset: u64,
    },
    /// It cannot be read on.
    Broken(KafkaError),
}

pub(super) struct Gather {
    options: ReadOptions,
    /// By ordinal.
    open: Vec<Option<MessageChunk>>,
    /// The ordinals of those that were opened, the first first. Some were closed since, or opened again.
    opened: Vec<u16>,
    ready: VecDeque<Ready>,
}

impl Gather {
    pub(super) fn new(options: ReadOptions) -> Gather {
        Gather { options, open: Vec::new(), opened: Vec::new(), ready: VecDeque::new() }
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn next(&mut self) -> Option<Ready> {
        self.ready.pop_front()
    }

    /// Adds a record, and says whether its chunk is full.
    #[inline]
    pub(super) fn push(
        &mut self,
        ordinal: u16,
        kind: Option<Kind>,
        offset: u64,
        received_at: Option<i64>,
        bytes: &[u8],
    ) -> bool {
        let place = usize::from(ordinal);
        let is_of_kind = |open: &Option<MessageChunk>| open.as_ref().is_some_and(|open| open.default_kind() == kind);
        if !self.open.get(place).is_some_and(is_of_kind) {
            self.start(ordinal, kind);
        }
        let open = self.open[place].as_mut().expect("it was started");
        open.push(offset, received_at, bytes);
        open.bytes() >= self.options.chunk_bytes || open.len() >= self.options.max_records as usize
    }

    /// Adds what was said of a partition, behind its records.
    pub(super) fn say(&mut self, ordinal: u16, what: Ready) {
        self.close(ordinal);
        self.ready.push_back(what);
    }

    /// What is open is handed out: there is nothing more, or it has waited long enough.
    pub(super) fn close_all(&mut self) {
        for ordinal in std::mem::take(&mut self.opened) {
            self.close(ordinal);
        }
    }

    #[cold]
    fn start(&mut self, ordinal: u16, kind: Option<Kind>) {
        self.close(ordinal);
        let place = usize::from(ordinal);
        if self.open.len() <= place {
            self.open.resize_with(place + 1, || None);
        }
        self.open[place] = Some(MessageChunk::new(ordinal, kind, self.options.max_line_bytes));
        self.opened.push(ordinal);
    }

    fn close(&mut self, ordinal: u16) {
        let open = self.open.get_mut(usize::from(ordinal)).and_then(Option::take);
        self.ready.extend(open.and_then(MessageChunk::finish).map(Ready::Chunk));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_of_one_partition_and_one_kind_and_keep_its_order() {
        let options = ReadOptions { chunk_bytes: 10, max_records: 3, max_line_bytes: 100, ..ReadOptions::default() };
        let mut gather = Gather::new(options);
        let (product, user) = (Some(Kind::Product), Some(Kind::User));
        assert!(!gather.push(0, product, 1, None, b"a"));
        assert!(!gather.push(7, None, 1, None, b"b"));
        assert!(!gather.push(0, product, 2, None, b"c"));
        assert!(!gather.push(0, user, 4, None, b"d"));
        gather.say(0, Ready::End { ordinal: 0, offset: 6 });
        assert!(!gather.push(0, user, 6, None, b""));
        assert!(gather.push(7, None, 3, None, b"123456789"), "as many bytes as a chunk has");
        assert!(!gather.push(0, user, 7, None, b""));
        assert!(gather.push(0, user, 8, None, b""), "as many records as a chunk has");
        gather.close_all();
        let mut seen = Vec::new();
        while let Some(ready) = gather.next() {
            seen.push(match ready {
                Ready::Chunk(chunk) => {
                    let offsets: Vec<u64> = chunk.records().map(|record| record.offset).collect();
                    (chunk.partition, chunk.default_kind, offsets)
                }
                Ready::End { ordinal, offset } => (ordinal, None, vec![offset]),
                _ => unreachable!("nothing else was said"),
            });
        }
        let expected = [
            (0, product, vec![1, 2]),
            (0, user, vec![4]),
            (0, None, vec![6]),
            (0, user, vec![6, 7, 8]),
            (7, None, vec![1, 3]),
        ];
        assert_eq!(seen, expected);
        assert!(!gather.has_ready());
    }
}
