//! Answers that are read page by page: encoded once, kept for the pages to come, in bounded memory.

use super::memory::{Memory, Of};
use super::wire;
use bytes::Bytes;
use millrace_dataflows::table::{Table, Value};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;
use tonic::Status;

/// Of `QueryResponse`.
const COLUMNS: u32 = 2;
const ROWS: u32 = 3;
const NEXT_PAGE_TOKEN: u32 = 4;
const TOTAL_ROWS: u32 = 5;
/// Of `Column`.
const NAME: u32 = 1;
const GROUP: u32 = 2;

/// A whole answer, as the bytes of its fields.
#[derive(Debug)]
pub struct EncodedTable {
    columns: Vec<u8>,
    rows: Bytes,
    /// Where each row ends.
    ends: Vec<usize>,
}

impl EncodedTable {
    /// The last `values` columns do not name the row.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED where there is no memory for it.
    pub fn of(table: &Table, values: usize, memory: &Arc<Memory>) -> Result<EncodedTable, Status> {
        let mut columns = Vec::new();
        put_columns(&mut columns, COLUMNS, table, values);
        let (mut rows, mut ends) = (Vec::new(), Vec::with_capacity(table.rows.len()));
        for row in &table.rows {
            wire::put_message(&mut rows, ROWS, |out| wire::put_values(out, row));
            ends.push(rows.len());
        }
        rows.shrink_to_fit();
        Ok(EncodedTable { columns, rows: memory.keep(rows, Of::Calls, None)?, ends })
    }

    pub fn rows(&self) -> usize {
        self.ends.len()
    }

    fn bytes(&self) -> usize {
        self.columns.len() + self.rows.len() + self.ends.len() * size_of::<usize>()
    }

    /// Some rows as they stand in an answer.
    pub fn page(&self, rows: Range<usize>) -> Bytes {
        let start = |row: usize| if row == 0 { 0 } else { self.ends[row - 1] };
        self.rows.slice(start(rows.start)..start(rows.end))
    }

    /// The rest of the answer but for its place in time.
    pub fn head(&self, next_page_token: &str) -> Bytes {
        let mut out = Vec::with_capacity(self.columns.len() + next_page_token.len() + 16);
        out.extend_from_slice(&self.columns);
        if !next_page_token.is_empty() {
            wire::put_bytes(&mut out, NEXT_PAGE_TOKEN, next_page_token.as_bytes());
        }
        wire::put_int(&mut out, TOTAL_ROWS, self.rows() as u64);
        out.into()
    }
}

/// The columns of a table; the last `values` do not name the row.
pub fn put_columns(out: &mut Vec<u8>, field: u32, table: &Table, values: usize) {
    let groups = table.columns.len().saturating_sub(values);
    for (index, column) in table.columns.iter().enumerate() {
        wire::put_message(out, field, |out| {
            wire::put_bytes(out, NAME, column.as_bytes());
            if index < groups {
                wire::put_int(out, GROUP, 1);
            }
        });
    }
}

/// Typed rows: the cells of each under the numbers of its fields.
pub fn put_typed_rows(out: &mut Vec<u8>, field: u32, rows: &[Vec<Value>], fields: &[u32]) {
    for row in rows {
        wire::put_message(out, field, |out| {
            row.iter().zip(fields).for_each(|(value, &field)| wire::put_cell(out, field, value));
        });
    }
}

/// The epoch and the question.
type PageKey = (u64, Bytes);
type Slot = Arc<OnceCell<Arc<EncodedTable>>>;

/// Answers by epoch and question. The ones that were not read for the longest time go first.
pub struct PageCache {
    bytes_max: usize,
    /// One that was not read for so long goes.
    keep_for: Duration,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    slots: HashMap<PageKey, Entry>,
    bytes: usize,
    /// Counts the reads.
    clock: u64,
}

struct Entry {
    slot: Slot,
    /// Of the answer, once it is there, and of the question.
    bytes: usize,
    is_filled: bool,
    read_at: u64,
    last_read: Instant,
}

/// Answers that are being worked out take a place, too.
const SLOTS_MAX: usize = 4_096;

impl PageCache {
    pub fn new(bytes_max: usize, keep_for: Duration) -> PageCache {
        PageCache { bytes_max, keep_for, inner: Mutex::default() }
    }

    /// Drops the answers that nobody has read for a while. Those that are being worked out stay.
    pub fn forget_old(&self) {
        let mut inner = self.inner();
        inner.slots.retain(|_, entry| !entry.is_filled || entry.last_read.elapsed() < self.keep_for);
        inner.count_bytes();
    }

    /// The place of an answer: whoever comes first works it out, the others wait for it.
    pub fn slot(&self, epoch: u64, question: &Bytes) -> Slot {
        let mut inner = self.inner();
        inner.clock += 1;
        let (read_at, last_read) = (inner.clock, Instant::now());
        let entry = inner.slots.entry((epoch, question.clone()));
        let entry =
            entry.or_insert_with(|| Entry { slot: Slot::default(), bytes: 0, is_filled: false, read_at, last_read });
        let more = if entry.bytes == 0 { question.len() + size_of::<Entry>() } else { 0 };
        entry.bytes += more;
        (entry.read_at, entry.last_read) = (read_at, last_read);
        let slot = entry.slot.clone();
        inner.bytes += more;
        // Not its own place: the answer is still to come into it.
        inner.make_room(self.bytes_max.max(more));
        slot
    }

    /// An answer was worked out, or could not be.
    pub fn filled(&self, epoch: u64, question: &Bytes) {
        let mut inner = self.inner();
        let key = (epoch, question.clone());
        let Some(entry) = inner.slots.get_mut(&key) else { return };
        match entry.slot.get() {
            Some(table) if !entry.is_filled => {
                let bytes = table.bytes();
                entry.bytes += bytes;
                entry.is_filled = true;
                inner.bytes += bytes;
            }
            Some(_) => {}
            None => {
                let bytes = entry.bytes;
                inner.bytes -= bytes;
                inner.slots.remove(&key);
            }
        }
        inner.make_room(self.bytes_max);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of the page cache panics")
    }
}

impl Inner {
    fn count_bytes(&mut self) {
        self.bytes = self.slots.values().map(|entry| entry.bytes).sum();
    }

    fn make_room(&mut self, bytes_max: usize) {
        if self.slots.len() > SLOTS_MAX {
            // Many at once, so that a full cache is not searched at every question.
            let recent = self.clock - (SLOTS_MAX / 2) as u64;
            self.slots.retain(|_, entry| entry.read_at > recent);
            self.count_bytes();
        }
        while self.bytes > bytes_max {
            let oldest = self.slots.iter().min_by_key(|(_, entry)| entry.read_at).map(|(key, _)| key.clone());
            let Some(entry) = oldest.and_then(|key| self.slots.remove(&key)) else { return };
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: i64) -> EncodedTable {
        let memory = Memory::ample();
        let mut table = Table::new(["a", "b"]);
        table.rows = (0..rows).map(|row| vec![Value::Int(row), Value::text("x".repeat(100))]).collect();
        EncodedTable::of(&table, 1, &memory).expect("there is room")
    }

    #[test]
    fn memory_is_bounded_and_what_is_read_stays() {
        let size = table(100).bytes() + 1 + size_of::<Entry>();
        let cache = PageCache::new(3 * size + size_of::<Entry>() + 1, Duration::from_millis(50));
        let question = |name: &str| Bytes::copy_from_slice(name.as_bytes());
        let fill = |name: &str| {
            let slot = cache.slot(1, &question(name));
            if slot.set(Arc::new(table(100))).is_ok() {
                cache.filled(1, &question(name));
            }
        };
        ["a", "b", "c"].iter().for_each(|name| fill(name));
        fill("a");
        fill("d");
        let has = |name: &str| cache.inner().slots.contains_key(&(1, question(name)));
        assert_eq!(["a", "b", "c", "d"].map(has), [true, false, true, true]);
        assert_eq!(cache.inner().bytes, 3 * size);
        // One that failed leaves nothing behind.
        cache.slot(2, &question("e"));
        cache.filled(2, &question("e"));
        assert_eq!(cache.inner().slots.len(), 3);
        // What nobody reads goes with the time.
        std::thread::sleep(Duration::from_millis(60));
        fill("a");
        cache.forget_old();
        let left = cache.inner();
        assert_eq!((left.slots.len(), left.bytes), (1, size));
    }
}
