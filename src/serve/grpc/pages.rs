//! Answers that are read page by page: encoded once, kept for the pages to come, in bounded memory.

use super::wire;
use bytes::Bytes;
use millrace_dataflows::table::{Table, Value};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::OnceCell;

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
    pub fn of(table: &Table, values: usize) -> EncodedTable {
        let mut columns = Vec::new();
        put_columns(&mut columns, COLUMNS, table, values);
        let (mut rows, mut ends) = (Vec::new(), Vec::with_capacity(table.rows.len()));
        for row in &table.rows {
            wire::put_message(&mut rows, ROWS, |out| wire::put_values(out, row));
            ends.push(rows.len());
        }
        EncodedTable { columns, rows: rows.into(), ends }
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
    bytes: usize,
    read_at: u64,
}

/// Answers that are being worked out take a place, too.
const SLOTS_MAX: usize = 4_096;

impl PageCache {
    pub fn new(bytes_max: usize) -> PageCache {
        PageCache { bytes_max, inner: Mutex::default() }
    }

    /// The place of an answer: whoever comes first works it out, the others wait for it.
    pub fn slot(&self, epoch: u64, question: &Bytes) -> Slot {
        let mut inner = self.inner();
        inner.clock += 1;
        let read_at = inner.clock;
        let entry = inner.slots.entry((epoch, question.clone()));
        let entry = entry.or_insert_with(|| Entry { slot: Slot::default(), bytes: 0, read_at });
        entry.read_at = read_at;
        let slot = entry.slot.clone();
        inner.make_room(usize::MAX);
        slot
    }

    /// An answer was worked out, or could not be.
    pub fn filled(&self, epoch: u64, question: &Bytes) {
        let mut inner = self.inner();
        let key = (epoch, question.clone());
        let Some(entry) = inner.slots.get_mut(&key) else { return };
        match entry.slot.get() {
            Some(table) => {
                let bytes = table.bytes() - entry.bytes;
                entry.bytes += bytes;
                inner.bytes += bytes;
            }
            None => {
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
    fn make_room(&mut self, bytes_max: usize) {
        if self.slots.len() > SLOTS_MAX {
            // Many at once, so that a full cache is not searched at every question.
            let recent = self.clock - (SLOTS_MAX / 2) as u64;
            self.slots.retain(|_, entry| entry.read_at > recent);
            self.bytes = self.slots.values().map(|entry| entry.bytes).sum();
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
        let mut table = Table::new(["a", "b"]);
        table.rows = (0..rows).map(|row| vec![Value::Int(row), Value::text("x".repeat(100))]).collect();
        EncodedTable::of(&table, 1)
    }

    #[test]
    fn memory_is_bounded_and_what_is_read_stays() {
        let size = table(100).bytes();
        let cache = PageCache::new(3 * size);
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
    }
}
