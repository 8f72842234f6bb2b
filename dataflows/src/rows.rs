//! The rows of the views: integer keys, and measures that ride in the difference.
//!
//! A view's collection holds one row per group, and consolidation is the aggregation: adding a sold line to a group
//! is one update whose difference is (1 line, 3 units, 597 cents, …).

use crate::settings::MAX_FUNNEL_STEPS;
use differential_dataflow::VecCollection;
use differential_dataflow::difference::{Abelian, IsZero, Monoid, Semigroup};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::collections::hash_map::Entry;

/// The most measures a view may have.
pub const MAX_MEASURES: usize = 2 * MAX_FUNNEL_STEPS + 4;

/// A group: which of the view's tables, and its parts as integers (names by their hash, instants in microseconds,
/// days since 1970). Unused parts are 0.
#[derive(Clone, Copy, Debug, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    pub table: u8,
    pub parts: [u64; 5],
}

// By hand: the derived comparison is a call to `memcmp`, the derived hash seven rounds of mixing.
impl PartialEq for Key {
    #[inline]
    fn eq(&self, other: &Key) -> bool {
        let [a, b, c, d, e] = self.parts;
        let [f, g, h, i, j] = other.parts;
        (a ^ f) | (b ^ g) | (c ^ h) | (d ^ i) | (e ^ j) | u64::from(self.table ^ other.table) == 0
    }
}

impl std::hash::Hash for Key {
    #[inline]
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        // Odd constants keep equal parts in different places apart; names are hashes already.
        const SPREAD: [u64; 5] = [
            0x9e37_79b9_7f4a_7c15,
            0xbf58_476d_1ce4_e5b9,
            0x94d0_49bb_1331_11eb,
            0xd6e8_feb8_6659_fd93,
            0xa076_1d64_78bd_642f,
        ];
        let mixed = self.parts.iter().zip(SPREAD).fold(u64::from(self.table), |sum, (part, odd)| {
            sum.wrapping_add((part ^ (part >> 32)).wrapping_mul(odd)).rotate_left(9)
        });
        state.write_u64(mixed);
    }
}

impl Key {
    pub fn new<const N: usize>(table: u8, given: [u64; N]) -> Key {
        const { assert!(N <= 5, "a key has five parts") };
        let mut parts = [0; 5];
        parts[..N].copy_from_slice(&given);
        Key { table, parts }
    }
}

/// The measures of a group, added component by component. Shorter ones are as if filled up with zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Measures(pub SmallVec<[i64; 2]>);

impl Measures {
    pub fn one(value: i64) -> Measures {
        Measures(SmallVec::from_slice(&[value]))
    }

    pub fn of(values: &[i64]) -> Measures {
        Measures(SmallVec::from_slice(values))
    }

    pub fn get(&self, index: usize) -> i64 {
        self.0.get(index).copied().unwrap_or(0)
    }

    pub fn add(&mut self, index: usize, value: i64) {
        if self.0.len() <= index {
            self.0.resize(index + 1, 0);
        }
        self.0[index] += value;
    }
}

impl IsZero for Measures {
    fn is_zero(&self) -> bool {
        self.0.iter().all(|&value| value == 0)
    }
}

impl Semigroup for Measures {
    fn plus_equals(&mut self, other: &Measures) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(sum, value)| *sum += value);
    }
}

impl Monoid for Measures {
    fn zero() -> Measures {
        Measures::default()
    }
}

impl Abelian for Measures {
    fn negate(&mut self) {
        self.0.iter_mut().for_each(|value| *value = -*value);
    }
}

/// A view's collection: groups with their measures in the difference.
pub type Rows<'s> = VecCollection<'s, u64, Key, Measures>;

/// One change of a view.
pub type Change = (Key, u64, Measures);

/// What has accumulated of a view's changes up to some epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    groups: FxHashMap<Key, Measures>,
}

impl State {
    pub fn apply(&mut self, key: Key, difference: &Measures) {
        match self.groups.entry(key) {
            Entry::Vacant(_) if difference.is_zero() => {}
            Entry::Vacant(entry) => drop(entry.insert(difference.clone())),
            Entry::Occupied(mut entry) => {
                entry.get_mut().plus_equals(difference);
                if entry.get().is_zero() {
                    entry.remove();
                }
            }
        }
    }

    pub fn get(&self, key: &Key) -> Option<&Measures> {
        self.groups.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Measures)> {
        self.groups.iter()
    }

    pub fn len(&self) -> usize {
        self.groups.len()
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

impl FromIterator<(Key, Measures)> for State {
    fn from_iter<I: IntoIterator<Item = (Key, Measures)>>(rows: I) -> State {
        let mut state = State::default();
        rows.into_iter().for_each(|(key, measures)| state.apply(key, &measures));
        state
    }
}

/// Nets the changes of one epoch before they leave an operator: one update a group.
#[derive(Debug, Default)]
pub struct Netting {
    groups: FxHashMap<Key, Measures>,
}

impl Netting {
    /// Adds `value` to one measure of a group.
    pub fn add(&mut self, key: Key, measure: usize, value: i64) {
        if value != 0 {
            self.groups.entry(key).or_default().add(measure, value);
        }
    }

    /// Adds to all measures of a group.
    pub fn add_slice(&mut self, key: Key, values: &[i64]) {
        let sums = &mut self.groups.entry(key).or_default().0;
        if sums.len() < values.len() {
            sums.resize(values.len(), 0);
        }
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }

    /// The netted changes, and none that cancel. In no particular order: consumers add them up.
    pub fn drain(&mut self, epoch: u64) -> impl Iterator<Item = Change> + '_ {
        let rows = self.groups.drain().filter(|(_, measures)| !measures.is_zero());
        rows.map(move |(key, measures)| (key, epoch, measures))
    }
}
