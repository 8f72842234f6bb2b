//! What questions are put to: the accumulated rows of a view, however they are kept.

use crate::rows::{Key, Measures, State, Sums};

/// The groups of one table from one key to another, both included. Bounds are of whole keys: unused parts at the end are
/// 0 below and the greatest above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub table: u8,
    pub low: [u64; 5],
    pub high: [u64; 5],
}

impl Span {
    /// All groups of a table whose first parts are these.
    pub fn of(table: u8, prefix: &[u64]) -> Span {
        let (mut low, mut high) = ([u64::MIN; 5], [u64::MAX; 5]);
        low[..prefix.len()].copy_from_slice(prefix);
        high[..prefix.len()].copy_from_slice(prefix);
        Span { table, low, high }
    }

    /// Of these only those whose part at `index`, the first that is free, lies between two values, both included.
    pub fn between(mut self, index: usize, first: u64, last: u64) -> Span {
        (self.low[index], self.high[index]) = (first, last);
        self
    }

    pub fn holds(&self, key: &Key) -> bool {
        key.table == self.table && self.low <= key.parts && key.parts <= self.high
    }
}

/// Rows that can be asked. Groups whose sums are all 0 are not there.
pub trait RowSet {
    fn get(&self, key: &Key) -> Option<Measures>;

    /// Hands over the groups of a span, in no particular order.
    fn scan(&self, span: &Span, each: &mut dyn FnMut(&Key, Sums<'_>));

    /// Whether that table holds whole sums, added up beforehand from finer tables.
    fn is_rolled_up(&self, table: u8) -> bool;
}

impl RowSet for State {
    fn get(&self, key: &Key) -> Option<Measures> {
        State::get(self, key).map(Sums::to_measures)
    }

    fn scan(&self, span: &Span, each: &mut dyn FnMut(&Key, Sums<'_>)) {
        self.iter().filter(|(key, _)| span.holds(key)).for_each(|(key, sums)| each(key, sums));
    }

    fn is_rolled_up(&self, _table: u8) -> bool {
        false
    }
}
