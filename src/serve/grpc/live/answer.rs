//! An answer by key, the log of its changes, and what somebody at a position in it has to be told. Pure.

use super::super::pages::put_columns;
use super::super::wire;
use bytes::Bytes;
use millrace_dataflows::table::Table;
use rustc_hash::FxHashMap;
use std::collections::{BTreeSet, VecDeque};

/// The cells of the group columns, encoded as the members of a row.
type RowKey = Bytes;

/// `columns` in batches and progress messages, by the message's own number.
pub const SNAPSHOT_COLUMNS: u32 = 5;
pub const CHANGE_COLUMNS: u32 = 5;
pub const PROGRESS_COLUMNS: u32 = 2;

/// The log may name so many keys, or twice the answer's.
const LOG_KEYS_MIN: usize = 10_000;
/// Of one answer, spans of epochs that are known to have it.
const SPANS_MOST: usize = 64;
/// What a row takes beside its bytes, and what a key in the log does: places in tables, and what the allocator adds.
const ROW_MORE: usize = 136;
const LOG_KEY_MORE: usize = 48;

/// How far somebody is: the number of the answer that they have. Samples that find the same answer share one.
pub type Position = u64;

/// One answer, and what changed since the one before.
struct Sample {
    position: Position,
    /// The epochs that are known to have it, first and last, in order. Between two spans there may have been another.
    spans: VecDeque<(u64, u64)>,
    changed: Vec<RowKey>,
}

impl Sample {
    fn has(&self, epoch: u64) -> bool {
        self.spans.iter().rev().any(|(first, last)| (*first..=*last).contains(&epoch))
    }

    fn found_at(&mut self, epoch: u64) {
        self.spans.push_back((epoch, epoch));
        if self.spans.len() > SPANS_MOST {
            self.spans.pop_front();
        }
    }
}

struct Cell {
    /// The encoded cells that are no key.
    values: Box<[u8]>,
    /// The last table that had the row.
    table: u64,
}

/// An answer that is kept up.
#[derive(Default)]
pub struct LiveAnswer {
    columns: Vec<String>,
    /// How many columns at the end do not name the row.
    values: usize,
    rows: FxHashMap<RowKey, Cell>,
    /// How many tables were looked at. It moves with every one of them, also where the position does not: a row is there
    /// if the last table had it.
    tables: u64,
    /// Of the last answer.
    position: Position,
    log: VecDeque<Sample>,
    log_keys: usize,
    /// Of the first answer: nobody who is before it can catch up.
    begun: Position,
    /// Of the last change of the columns: positions before it cannot be caught up with.
    columns_since: Position,
    /// Of keys and values, and of the keys in the log.
    bytes: usize,
    log_bytes: usize,
}

/// The encoded cells of a row's key, and of its values.
pub type Row<'a> = (&'a [u8], &'a [u8]);

/// What somebody has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Nothing,
    /// Those of [`LiveAnswer::changes`].
    Changes,
    /// Their position is no longer known.
    Expired,
    ColumnsChanged,
}

impl LiveAnswer {
    /// Nothing is known, and whoever is at a position up to this one has to be told everything.
    pub fn after(position: Position) -> LiveAnswer {
        LiveAnswer { position, ..LiveAnswer::default() }
    }

    /// Before the first sample.
    pub fn is_empty(&self) -> bool {
        self.log.is_empty()
    }

    pub fn position(&self) -> Position {
        self.position
    }

    /// About what it takes.
    pub fn bytes(&self) -> usize {
        self.bytes + self.rows.len() * ROW_MORE + self.log_bytes + self.log_keys * LOG_KEY_MORE
    }

    /// The answer is still this at a later epoch, and was at all between.
    pub fn unchanged(&mut self, epoch: u64) {
        if let Some((_, last)) = self.log.back_mut().and_then(|sample| sample.spans.back_mut()) {
            *last = epoch.max(*last);
        }
    }

    /// The answer is this at a later epoch, too. What it was between is not known.
    pub fn found_again(&mut self, epoch: u64) {
        if let Some(sample) = self.log.back_mut() {
            sample.found_at(epoch);
        }
    }

    /// The answer at a later epoch. The last `values` columns do not name the row.
    pub fn sample(&mut self, epoch: u64, table: &Table, values: usize) {
        let position = self.position + 1;
        self.tables += 1;
        if self.columns != table.columns {
            self.columns.clone_from(&table.columns);
            self.values = values;
            self.columns_since = position;
            self.rows.clear();
            self.bytes = 0;
        }
        let mut changed = self.put_rows(table, values);
        self.remove_missing(&mut changed);
        if self.log.is_empty() {
            self.begun = position;
            // Nobody has an answer from before it that this could be the change of.
            changed.clear();
        } else if changed.is_empty() && self.columns_since != position {
            return self.found_again(epoch);
        }
        self.position = position;
        self.log_keys += changed.len();
        self.log_bytes += key_bytes(&changed);
        self.log.push_back(Sample { position, spans: [(epoch, epoch)].into(), changed });
        let most = LOG_KEYS_MIN.max(2 * self.rows.len());
        while self.log_keys > most && self.log.len() > 1 {
            let Some(sample) = self.log.pop_front() else { break };
            self.log_keys -= sample.changed.len();
            self.log_bytes -= key_bytes(&sample.changed);
        }
    }

    /// Takes the rows of a table. Returns the keys of those that are new or have other values.
    fn put_rows(&mut self, table: &Table, values: usize) -> Vec<RowKey> {
        let groups = table.columns.len().saturating_sub(values);
        let (mut changed, mut encoded) = (Vec::new(), Vec::new());
        for row in &table.rows {
            encoded.clear();
            wire::put_values(&mut encoded, &row[..groups]);
            let key_length = encoded.len();
            wire::put_values(&mut encoded, &row[groups..]);
            let (key, values) = encoded.split_at(key_length);
            match self.rows.get_mut(key) {
                Some(cell) => {
                    cell.table = self.tables;
                    if *cell.values != *values {
                        self.bytes = self.bytes - cell.values.len() + values.len();
                        cell.values = values.into();
                        changed.push(Bytes::copy_from_slice(key));
                    }
                }
                None => {
                    self.bytes += encoded.len();
                    let key = Bytes::copy_from_slice(key);
                    changed.push(key.clone());
                    self.rows.insert(key, Cell { values: values.into(), table: self.tables });
                }
            }
        }
        changed
    }

    /// Removes the rows that the last table did not have, and adds their keys.
    fn remove_missing(&mut self, changed: &mut Vec<RowKey>) {
        let (tables, bytes) = (self.tables, &mut self.bytes);
        self.rows.retain(|key, cell| {
            let stays = cell.table == tables;
            if !stays {
                *bytes -= key.len() + cell.values.len();
                changed.push(key.clone());
            }
            stays
        });
    }

    /// The position of somebody who has the answer of an epoch.
    pub fn position_at(&self, epoch: u64) -> Option<Position> {
        self.log.iter().rfind(|sample| sample.has(epoch)).map(|sample| sample.position)
    }

    /// What somebody at a position has to be told to have the answer of now.
    pub fn since(&self, position: Position) -> Told {
        if position >= self.position() {
            return Told::Nothing;
        }
        // What changed since is in the samples after it.
        if position < self.begun || self.log.front().is_none_or(|first| position + 1 < first.position) {
            return Told::Expired;
        }
        if position < self.columns_since { Told::ColumnsChanged } else { Told::Changes }
    }

    /// The rows that are new or other than at a position, and the keys of those that are gone.
    pub fn changes(&self, position: Position) -> (Vec<Row<'_>>, Vec<&[u8]>) {
        let later = self.log.iter().skip_while(|sample| sample.position <= position);
        let keys: BTreeSet<&RowKey> = later.flat_map(|sample| &sample.changed).collect();
        let (mut upserted, mut removed) = (Vec::new(), Vec::new());
        for key in keys {
            match self.rows.get(key) {
                Some(cell) => upserted.push((&**key, &*cell.values)),
                None => removed.push(&**key),
            }
        }
        (upserted, removed)
    }

    /// All rows.
    pub fn snapshot(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|(key, cell)| (&**key, &*cell.values))
    }

    /// The columns as a repeated field of this number.
    pub fn columns(&self, field: u32) -> Vec<u8> {
        let mut out = Vec::new();
        put_columns(&mut out, field, &Table::new(&self.columns), self.values);
        out
    }
}

fn key_bytes(keys: &[RowKey]) -> usize {
    keys.iter().map(Bytes::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_dataflows::table::Value;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Rows = BTreeMap<i64, i64>;

    fn table(rows: &Rows) -> Table {
        let mut table = Table::new(["key", "value"]);
        table.rows = rows.iter().map(|(key, value)| vec![Value::Int(*key), Value::Int(*value)]).collect();
        table
    }

    /// Rows as a caller has them.
    type Folded = BTreeMap<Vec<u8>, Vec<u8>>;

    fn snapshot(live: &LiveAnswer) -> Folded {
        live.snapshot().map(|(key, values)| (key.to_vec(), values.to_vec())).collect()
    }

    /// What a table's rows are, worked out by itself.
    fn folded(rows: &Rows) -> Folded {
        let mut live = LiveAnswer::default();
        live.sample(1, &table(rows), 1);
        snapshot(&live)
    }

    fn fold(state: &mut Folded, (upserted, removed): (Vec<Row<'_>>, Vec<&[u8]>)) {
        removed.into_iter().for_each(|key| drop(state.remove(key)));
        upserted.into_iter().for_each(|(key, values)| drop(state.insert(key.to_vec(), values.to_vec())));
    }

    /// Of a few answers, so that one often follows itself.
    fn answers() -> impl Strategy<Value = Vec<Rows>> {
        let few = prop::collection::vec(prop::collection::btree_map(0_i64..6, 1_i64..4, 0..6), 1..4);
        let order = prop::collection::vec(any::<prop::sample::Index>(), 1..12);
        (few, order).prop_map(|(few, order)| order.iter().map(|index| index.get(&few).clone()).collect())
    }

    proptest! {
        /// From any sample, what is told leads to the answer of now, which is the table's: rows that are gone are gone.
        #[test]
        fn changes_fold_to_the_answer(versions in answers()) {
            let mut live = LiveAnswer::default();
            let mut states: Vec<(Position, Folded)> = Vec::new();
            for (epoch, rows) in (1..).zip(&versions) {
                live.sample(epoch, &table(rows), 1);
                prop_assert_eq!(live.position_at(epoch), Some(live.position()));
                let expected = folded(rows);
                prop_assert_eq!(&snapshot(&live), &expected);
                for (position, state) in &states {
                    let mut state = state.clone();
                    match live.since(*position) {
                        Told::Nothing => {}
                        told => {
                            prop_assert_eq!(told, Told::Changes);
                            fold(&mut state, live.changes(*position));
                        }
                    }
                    prop_assert_eq!(&state, &expected);
                }
                states.push((live.position(), expected));
            }
            for (epoch, (position, _)) in (1..).zip(&states) {
                prop_assert_eq!(live.position_at(epoch), Some(*position));
            }
            let bytes: usize = live.snapshot().map(|(key, values)| key.len() + values.len()).sum();
            prop_assert_eq!(live.bytes, bytes);
        }
    }

    /// An answer that is the same at two epochs may have been another between them.
    #[test]
    fn an_epoch_that_nobody_looked_at_is_not_known() {
        let mut live = LiveAnswer::default();
        let rows = Rows::from([(1, 1)]);
        live.sample(10, &table(&rows), 1);
        live.sample(20, &table(&rows), 1);
        assert_eq!(live.position_at(15), None);
        live.unchanged(30);
        assert_eq!((live.position_at(10), live.position_at(25)), (Some(1), Some(1)));
        assert_eq!(live.position_at(31), None);
    }

    #[test]
    fn the_log_is_bounded_and_says_so() {
        assert_eq!(LiveAnswer::after(3).since(2), Told::Expired);
        let mut live = LiveAnswer::default();
        let rows = |value| (0..6_000).map(|key| (key, value)).collect();
        live.sample(1, &table(&rows(1)), 1);
        let first = live.position();
        (2..5).for_each(|epoch| live.sample(epoch, &table(&rows(epoch as i64)), 1));
        assert!(live.log_keys <= 12_000);
        assert_eq!(live.since(first), Told::Expired);
        assert_eq!(live.position_at(1), None);
        assert_eq!(live.position_at(9), None);
        let mut other = table(&rows(1));
        other.columns[0] = "other".to_owned();
        let before = live.position();
        live.sample(9, &other, 1);
        assert_eq!(live.since(before), Told::ColumnsChanged);
    }
}
