//! An answer by key, the log of its changes, and what somebody at a position in it has to be told. Pure.

use super::super::codec::Columns;
use super::cells::{RowKey, bytes_of};
use millrace_dataflows::table::{Table, Value};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// The log may name so many keys, or twice the answer's.
const LOG_KEYS_MIN: usize = 10_000;
/// Of one answer, spans of epochs that are known to have it.
const SPANS_MOST: usize = 64;
/// What a row takes beside its cells, and what a key in the log does: places in tables, and what the allocator adds.
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
    /// Those that are no key.
    values: Box<[Value]>,
    /// The last table that had the row.
    table: u64,
}

/// An answer that is kept up.
#[derive(Default)]
pub struct LiveAnswer {
    columns: Arc<Columns>,
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

/// The cells of a row's key, and its values.
pub type Row<'a> = (&'a [Value], &'a [Value]);

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
    pub fn sample(&mut self, epoch: u64, table: Table, values: usize) {
        let position = self.position + 1;
        self.tables += 1;
        if self.columns.names != table.columns {
            self.columns = Arc::new(Columns::of(&table, values));
            self.columns_since = position;
            self.rows.clear();
            self.bytes = 0;
        }
        let mut changed = self.put_rows(table.rows);
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
    fn put_rows(&mut self, rows: Vec<Vec<Value>>) -> Vec<RowKey> {
        let groups = self.columns.groups;
        let mut changed = Vec::new();
        for mut row in rows {
            let values = row.split_off(groups);
            match self.rows.entry(RowKey::of(row)) {
                Entry::Occupied(mut entry) => {
                    let cell = entry.get_mut();
                    cell.table = self.tables;
                    if *cell.values != *values {
                        self.bytes = self.bytes - bytes_of(&cell.values) + bytes_of(&values);
                        cell.values = values.into();
                        changed.push(entry.key().clone());
                    }
                }
                Entry::Vacant(entry) => {
                    self.bytes += entry.key().bytes() + bytes_of(&values);
                    changed.push(entry.key().clone());
                    entry.insert(Cell { values: values.into(), table: self.tables });
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
                *bytes -= key.bytes() + bytes_of(&cell.values);
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

    /// The rows that are new or other than at a position, and the keys of those that are gone; both in the order of answers.
    pub fn changes(&self, position: Position) -> (Vec<Row<'_>>, Vec<&[Value]>) {
        let later = self.log.iter().skip_while(|sample| sample.position <= position);
        // A key may have changed with several samples.
        let keys: FxHashSet<&RowKey> = later.flat_map(|sample| &sample.changed).collect();
        let mut keys: Vec<&RowKey> = keys.into_iter().collect();
        keys.sort_unstable_by(|a, b| a.order(b));
        let (mut upserted, mut removed) = (Vec::new(), Vec::new());
        for key in keys {
            match self.rows.get(key) {
                Some(cell) => upserted.push((key.cells(), &*cell.values)),
                None => removed.push(key.cells()),
            }
        }
        (upserted, removed)
    }

    /// All rows, in no order.
    pub fn snapshot(&self) -> impl Iterator<Item = Row<'_>> + Send {
        self.rows.iter().map(|(key, cell)| (key.cells(), &*cell.values))
    }

    pub fn columns(&self) -> &Arc<Columns> {
        &self.columns
    }
}

fn key_bytes(keys: &[RowKey]) -> usize {
    keys.iter().map(RowKey::bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Rows = BTreeMap<i64, i64>;

    fn table(rows: &Rows) -> Table {
        let mut table = Table::new(["key", "value"]);
        table.rows = rows.iter().map(|(key, value)| vec![Value::Int(*key), Value::Int(*value)]).collect();
        table
    }

    /// Rows as a caller has them.
    type Folded = BTreeMap<String, Vec<Value>>;

    fn name(key: &[Value]) -> String {
        format!("{key:?}")
    }

    fn snapshot(live: &LiveAnswer) -> Folded {
        live.snapshot().map(|(key, values)| (name(key), values.to_vec())).collect()
    }

    /// What a table's rows are, worked out by itself.
    fn folded(rows: &Rows) -> Folded {
        let mut live = LiveAnswer::default();
        live.sample(1, table(rows), 1);
        snapshot(&live)
    }

    fn fold(state: &mut Folded, (upserted, removed): (Vec<Row<'_>>, Vec<&[Value]>)) {
        removed.into_iter().for_each(|key| drop(state.remove(&name(key))));
        upserted.into_iter().for_each(|(key, values)| drop(state.insert(name(key), values.to_vec())));
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
                live.sample(epoch, table(rows), 1);
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
            let bytes: usize = live.snapshot().map(|(key, values)| bytes_of(key) + bytes_of(values)).sum();
            prop_assert_eq!(live.bytes, bytes);
        }
    }

    /// An answer that is the same at two epochs may have been another between them.
    #[test]
    fn an_epoch_that_nobody_looked_at_is_not_known() {
        let mut live = LiveAnswer::default();
        let rows = Rows::from([(1, 1)]);
        live.sample(10, table(&rows), 1);
        live.sample(20, table(&rows), 1);
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
        live.sample(1, table(&rows(1)), 1);
        let first = live.position();
        (2..5).for_each(|epoch| live.sample(epoch, table(&rows(epoch as i64)), 1));
        assert!(live.log_keys <= 12_000);
        assert_eq!(live.since(first), Told::Expired);
        assert_eq!(live.position_at(1), None);
        assert_eq!(live.position_at(9), None);
        let mut other = table(&rows(1));
        other.columns[0] = "other".to_owned();
        let before = live.position();
        live.sample(9, other, 1);
        assert_eq!(live.since(before), Told::ColumnsChanged);
    }
}
