//! Answers that are read page by page: encoded once, kept for the pages to come, in bounded memory.

use super::codec::{Codec, Columns, RowRole};
use super::error::ReadError;
use super::token::PageToken;
use crate::serve::callers::memory::{Charge, Memory, Of};
use bytes::Bytes;
use millrace_dataflows::table::Table;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Some rows of an answer, as a codec has encoded them.
#[derive(Clone, Debug)]
pub struct Page {
    pub columns: Arc<Columns>,
    pub rows: Bytes,
    /// Where the next page begins, if there is one.
    pub next: Option<PageToken>,
    /// Of the whole answer.
    pub total_rows: usize,
}

/// A whole answer, as a codec has encoded it.
pub struct EncodedTable {
    pub columns: Arc<Columns>,
    rows: Bytes,
    /// Where each row ends.
    ends: Vec<usize>,
    /// Of what is beside the rows.
    _charge: Charge,
}

impl EncodedTable {
    /// The last `values` columns do not name the row.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub fn of(
        table: &Table,
        values: usize,
        codec: &dyn Codec,
        memory: &Arc<Memory>,
    ) -> Result<EncodedTable, ReadError> {
        let columns = Columns::of(table, values);
        let (mut rows, mut ends) = (Vec::new(), Vec::with_capacity(table.rows.len()));
        for row in &table.rows {
            let (key, values) = row.split_at(columns.groups);
            codec.put_row(&mut rows, RowRole::Page, key, values);
            ends.push(rows.len());
        }
        rows.shrink_to_fit();
        let _charge = memory.charge(beside(&columns, &ends), Of::Calls, None)?;
        Ok(EncodedTable { columns: Arc::new(columns), rows: memory.keep(rows, Of::Calls, None)?, ends, _charge })
    }

    pub fn rows(&self) -> usize {
        self.ends.len()
    }

    fn bytes(&self) -> usize {
        self.rows.len() + beside(&self.columns, &self.ends)
    }

    /// Some rows as they stand in an answer.
    pub fn page(&self, rows: Range<usize>) -> Bytes {
        let start = |row: usize| if row == 0 { 0 } else { self.ends[row - 1] };
        self.rows.slice(start(rows.start)..start(rows.end))
    }
}

fn beside(columns: &Columns, ends: &[usize]) -> usize {
    columns.bytes() + size_of_val(ends)
}

/// The codec, the epoch and the question.
pub type PageKey = (&'static str, u64, Bytes);

/// Answers by codec, epoch and question. The ones that were not read for the longest time go first.
pub struct PageCache {
    bytes_max: usize,
    /// One that was not read for so long goes.
    keep_for: Duration,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    answers: HashMap<PageKey, Entry>,
    bytes: usize,
    /// Counts the reads.
    clock: u64,
}

struct Entry {
    answer: Arc<EncodedTable>,
    /// Of the answer and of the question.
    bytes: usize,
    read_at: u64,
    last_read: Instant,
}

/// So that many small ones are bounded, too.
const ANSWERS_MAX: usize = 4_096;

impl PageCache {
    pub fn new(bytes_max: usize, keep_for: Duration) -> PageCache {
        PageCache { bytes_max, keep_for, inner: Mutex::default() }
    }

    /// Drops the answers that nobody has read for a while.
    pub fn forget_old(&self) {
        let mut inner = self.inner();
        inner.answers.retain(|_, entry| entry.last_read.elapsed() < self.keep_for);
        inner.count_bytes();
    }

    pub fn get(&self, key: &PageKey) -> Option<Arc<EncodedTable>> {
        let mut inner = self.inner();
        inner.clock += 1;
        let read_at = inner.clock;
        let entry = inner.answers.get_mut(key)?;
        (entry.read_at, entry.last_read) = (read_at, Instant::now());
        Some(entry.answer.clone())
    }

    /// An answer was worked out. Where another is there already, that is the one that all get.
    pub fn put(&self, key: PageKey, answer: Arc<EncodedTable>) -> Arc<EncodedTable> {
        if let Some(answer) = self.get(&key) {
            return answer;
        }
        let mut inner = self.inner();
        let bytes = answer.bytes() + key.2.len() + size_of::<Entry>();
        let entry = Entry { answer: answer.clone(), bytes, read_at: inner.clock, last_read: Instant::now() };
        inner.bytes += bytes;
        if let Some(before) = inner.answers.insert(key, entry) {
            inner.bytes -= before.bytes;
        }
        inner.make_room(self.bytes_max);
        answer
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of the page cache panics")
    }
}

impl Inner {
    fn count_bytes(&mut self) {
        self.bytes = self.answers.values().map(|entry| entry.bytes).sum();
    }

    fn make_room(&mut self, bytes_max: usize) {
        if self.answers.len() > ANSWERS_MAX {
            // Many at once, so that a full cache is not searched at every question.
            let mut reads: Vec<u64> = self.answers.values().map(|entry| entry.read_at).collect();
            let (_, middle, _) = reads.select_nth_unstable(ANSWERS_MAX / 2);
            let middle = *middle;
            self.answers.retain(|_, entry| entry.read_at > middle);
            self.count_bytes();
        }
        while self.bytes > bytes_max {
            let oldest = self.answers.iter().min_by_key(|(_, entry)| entry.read_at).map(|(key, _)| key.clone());
            let Some(entry) = oldest.and_then(|key| self.answers.remove(&key)) else { return };
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::place::Place;
    use super::*;
    use millrace_dataflows::table::Value;

    /// Texts and nothing else.
    struct Plain;

    impl Codec for Plain {
        fn name(&self) -> &'static str {
            "plain"
        }

        fn put_row(&self, out: &mut Vec<u8>, _: RowRole, key: &[Value], values: &[Value]) {
            key.iter().chain(values).for_each(|value| out.extend_from_slice(value.to_string().as_bytes()));
        }

        fn place(&self, _: &Place) -> Bytes {
            Bytes::new()
        }
    }

    fn table(rows: i64) -> EncodedTable {
        let memory = Memory::ample();
        let mut table = Table::new(["a", "b"]);
        table.rows = (0..rows).map(|row| vec![Value::Int(row), Value::text("x".repeat(100))]).collect();
        EncodedTable::of(&table, 1, &Plain, &memory).expect("there is room")
    }

    #[test]
    fn memory_is_bounded_and_what_is_read_stays() {
        let size = table(100).bytes() + 1 + size_of::<Entry>();
        let cache = PageCache::new(3 * size + 1, Duration::from_millis(50));
        let key = |name: &str| ("plain", 1, Bytes::copy_from_slice(name.as_bytes()));
        let fill = |name: &str| {
            let answer = cache.put(key(name), Arc::new(table(100)));
            assert!(Arc::ptr_eq(&answer, &cache.put(key(name), Arc::new(table(100)))), "the first is for all");
        };
        ["a", "b", "c"].iter().for_each(|name| fill(name));
        fill("a");
        fill("d");
        let has = |name: &str| cache.inner().answers.contains_key(&key(name));
        assert_eq!(["a", "b", "c", "d"].map(has), [true, false, true, true]);
        assert_eq!(cache.inner().bytes, 3 * size);
        assert!(cache.get(&key("e")).is_none());
        // What nobody reads goes with the time.
        std::thread::sleep(Duration::from_millis(60));
        fill("a");
        cache.forget_old();
        let left = cache.inner();
        assert_eq!((left.answers.len(), left.bytes), (1, size));
    }

    #[test]
    fn many_small_ones_are_bounded() {
        let cache = PageCache::new(1 << 30, Duration::from_secs(60));
        let small = Arc::new(table(0));
        for number in 0..3 * ANSWERS_MAX as u64 {
            cache.put(("plain", number, Bytes::new()), small.clone());
            assert!(cache.inner().answers.len() <= ANSWERS_MAX);
        }
        let bytes = cache.inner().answers.values().map(|entry| entry.bytes).sum::<usize>();
        assert_eq!(cache.inner().bytes, bytes);
        assert!(cache.get(&("plain", 3 * ANSWERS_MAX as u64 - 1, Bytes::new())).is_some());
    }
}
