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

/// How far somebody is: the number of the sample whose answer they have.
pub type Position = u64;

/// One sample: the answer at these epochs, and what changed since the sample before.
struct Sample {
    position: Position,
    epochs: (u64, u64),
    changed: Vec<RowKey>,
}

struct Cell {
    row: Bytes,
    /// The last sample that had it.
    position: Position,
}

/// An answer that is kept up.
#[derive(Default)]
pub struct LiveAnswer {
    columns: Vec<String>,
    /// How many columns at the end do not name the row.
    values: usize,
    rows: FxHashMap<RowKey, Cell>,
    /// Of the last sample.
    position: Position,
    log: VecDeque<Sample>,
    log_keys: usize,
    /// Of the last change of the columns: positions before it cannot be caught up with.
    columns_since: Position,
}

/// What somebody has to be told.
#[derive(Debug, PartialEq)]
pub enum Told {
    Nothing,
    /// Encoded rows, and the encoded keys of those that are gone.
    Changes {
        upserted: Vec<Bytes>,
        removed: Vec<Bytes>,
    },
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

    /// The answer is still this at a later epoch.
    pub fn unchanged(&mut self, epoch: u64) {
        if let Some(sample) = self.log.back_mut() {
            sample.epochs.1 = sample.epochs.1.max(epoch);
        }
    }

    /// The answer at a later epoch. The last `values` columns do not name the row.
    pub fn sample(&mut self, epoch: u64, table: &Table, values: usize) {
        let position = self.position + 1;
        if self.columns != table.columns {
            self.columns.clone_from(&table.columns);
            self.values = values;
            self.columns_since = position;
            self.rows.clear();
        }
        let groups = table.columns.len().saturating_sub(values);
        let mut changed = Vec::new();
        for row in &table.rows {
            let mut encoded = Vec::with_capacity(128);
            wire::put_values(&mut encoded, &row[..groups]);
            let key_length = encoded.len();
            wire::put_values(&mut encoded, &row[groups..]);
            match self.rows.get_mut(&encoded[..key_length]) {
                Some(cell) => {
                    cell.position = position;
                    if cell.row != encoded {
                        cell.row = encoded.into();
                        changed.push(cell.row.slice(..key_length));
                    }
                }
                None => {
                    let row = Bytes::from(encoded);
                    let key = row.slice(..key_length);
                    changed.push(key.clone());
                    self.rows.insert(key, Cell { row, position });
                }
            }
        }
        self.rows.retain(|key, cell| {
            let stays = cell.position == position;
            if !stays {
                changed.push(key.clone());
            }
            stays
        });
        if changed.is_empty() && !self.log.is_empty() && self.columns_since != position {
            self.unchanged(epoch);
            return;
        }
        self.position = position;
        self.log_keys += changed.len();
        self.log.push_back(Sample { position, epochs: (epoch, epoch), changed });
        let most = LOG_KEYS_MIN.max(2 * self.rows.len());
        while self.log_keys > most && self.log.len() > 1 {
            self.log_keys -= self.log.pop_front().map_or(0, |sample| sample.changed.len());
        }
    }

    /// The position of somebody who has the answer of an epoch.
    pub fn position_at(&self, epoch: u64) -> Option<Position> {
        let sample = self.log.iter().rfind(|sample| sample.epochs.0 <= epoch)?;
        (epoch <= sample.epochs.1).then_some(sample.position)
    }

    /// What somebody at a position has to be told to have the answer of now.
    pub fn since(&self, position: Position) -> Told {
        if position >= self.position() {
            return Told::Nothing;
        }
        if position < self.columns_since {
            return Told::ColumnsChanged;
        }
        // What changed since is in the samples after it.
        if self.log.front().is_none_or(|first| position + 1 < first.position) {
            return Told::Expired;
        }
        let later = self.log.iter().skip_while(|sample| sample.position <= position);
        let keys: BTreeSet<&RowKey> = later.flat_map(|sample| &sample.changed).collect();
        let (mut upserted, mut removed) = (Vec::new(), Vec::new());
        for key in keys {
            match self.rows.get(key) {
                Some(cell) => upserted.push(cell.row.clone()),
                None => removed.push(key.clone()),
            }
        }
        Told::Changes { upserted, removed }
    }

    /// All rows.
    pub fn snapshot(&self) -> Vec<Bytes> {
        self.rows.values().map(|cell| cell.row.clone()).collect()
    }

    /// The columns as a repeated field of this number.
    pub fn columns(&self, field: u32) -> Vec<u8> {
        let mut out = Vec::new();
        put_columns(&mut out, field, &Table::new(&self.columns), self.values);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_dataflows::table::Value;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn table(rows: &BTreeMap<i64, i64>) -> Table {
        let mut table = Table::new(["key", "value"]);
        table.rows = rows.iter().map(|(key, value)| vec![Value::Int(*key), Value::Int(*value)]).collect();
        table
    }

    /// Rows and keys as a caller sees them; a key is the beginning of its row.
    fn fold(state: &mut Vec<Bytes>, told: Told) {
        let Told::Changes { upserted, removed } = told else { panic!("{told:?}") };
        state.retain(|row| !removed.iter().any(|key| row.starts_with(key)));
        for row in upserted {
            let key = &row[..row.len() / 2];
            state.retain(|known| !known.starts_with(key));
            state.push(row);
        }
    }

    fn sorted(mut rows: Vec<Bytes>) -> Vec<Bytes> {
        rows.sort();
        rows
    }

    proptest! {
        /// From any sample, what is told leads to the answer of now.
        #[test]
        fn changes_fold_to_the_answer(
            versions in prop::collection::vec(prop::collection::btree_map(0_i64..6, 1_i64..4, 0..6), 1..8),
        ) {
            let mut live = LiveAnswer::default();
            let mut states: Vec<(Position, Vec<Bytes>)> = Vec::new();
            for (epoch, rows) in (1..).zip(&versions) {
                live.sample(epoch, &table(rows), 1);
                prop_assert_eq!(live.position_at(epoch), Some(live.position()));
                for (position, state) in &states {
                    let mut state = state.clone();
                    match live.since(*position) {
                        Told::Nothing => {}
                        told => fold(&mut state, told),
                    }
                    prop_assert_eq!(sorted(state), sorted(live.snapshot()));
                }
                states.push((live.position(), live.snapshot()));
            }
            for (epoch, (position, _)) in (1..).zip(&states) {
                prop_assert_eq!(live.position_at(epoch), Some(*position));
            }
        }
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
