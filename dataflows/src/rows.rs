//! The rows of the views: integer keys, and measures that ride in the difference.
//!
//! A view's collection holds one row per group, and consolidation is the aggregation: adding a sold line to a group
//! is one update whose difference is (1 line, 3 units, 597 cents, …).

use crate::operators::tables::prefetch;
use crate::settings::MAX_FUNNEL_STEPS;
use differential_dataflow::VecCollection;
use differential_dataflow::difference::{Abelian, IsZero, Monoid, Semigroup};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

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
        state.write_u64(self.mixed());
    }
}

impl Key {
    #[inline]
    fn mixed(&self) -> u64 {
        // Odd constants keep equal parts in different places apart; names are hashes already.
        const SPREAD: [u64; 5] = [
            0x9e37_79b9_7f4a_7c15,
            0xbf58_476d_1ce4_e5b9,
            0x94d0_49bb_1331_11eb,
            0xd6e8_feb8_6659_fd93,
            0xa076_1d64_78bd_642f,
        ];
        self.parts.iter().zip(SPREAD).fold(u64::from(self.table), |sum, (part, odd)| {
            sum.wrapping_add((part ^ (part >> 32)).wrapping_mul(odd)).rotate_left(9)
        })
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

    #[inline]
    pub fn get(&self, index: usize) -> i64 {
        self.0.get(index).copied().unwrap_or(0)
    }

    /// Whether all components are equal.
    fn same(&self, other: &Measures) -> bool {
        (0..self.0.len().max(other.0.len())).all(|index| self.get(index) == other.get(index))
    }

    pub fn add(&mut self, index: usize, value: i64) {
        if self.0.len() <= index {
            self.0.resize(index + 1, 0);
        }
        self.0[index] += value;
    }

    /// Adds component by component.
    pub fn add_slice(&mut self, values: &[i64]) {
        if self.0.len() < values.len() {
            if self.0.is_empty() {
                self.0 = SmallVec::from_slice(values);
                return;
            }
            self.0.resize(values.len(), 0);
        }
        self.0.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
}

impl IsZero for Measures {
    fn is_zero(&self) -> bool {
        self.0.iter().all(|&value| value == 0)
    }
}

impl Semigroup for Measures {
    fn plus_equals(&mut self, other: &Measures) {
        self.add_slice(&other.0);
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
///
/// An open-addressing index into a dense list of groups: a batch of changes asks for all the memory it needs before it
/// changes any of it, which is most of the time that applying takes.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// 1 + the position in `groups`; 0 is free. A power of two, at most half full.
    slots: Vec<u32>,
    /// Groups whose measures have become zero stay until the index grows.
    groups: Vec<(Key, Measures)>,
}

/// Where an index looks for a key first.
#[inline]
fn home(slots: &[u32], key: &Key) -> usize {
    let shift = 64 - slots.len().trailing_zeros();
    (key.mixed().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift) as usize
}

/// The slot of a key in an index of positions and 1, or the free one where it belongs.
#[inline]
fn find<'a>(slots: &[u32], key: &Key, key_at: impl Fn(usize) -> &'a Key) -> usize {
    let mask = slots.len() - 1;
    let mut slot = home(slots, key);
    while slots[slot] != 0 && key_at(slots[slot] as usize - 1) != key {
        slot = (slot + 1) & mask;
    }
    slot
}

/// Changes that are looked up together.
const BATCH: usize = 64;
const FIRST_SLOTS: usize = 64;

impl State {
    pub fn apply(&mut self, key: Key, difference: &Measures) {
        self.entry(key).plus_equals(difference);
    }

    /// The measures of a group, zeros where it is new.
    #[inline]
    fn entry(&mut self, key: Key) -> &mut Measures {
        if self.groups.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let slot = self.find(&key);
        if self.slots[slot] == 0 {
            self.groups.push((key, Measures::default()));
            self.slots[slot] = u32::try_from(self.groups.len()).expect("a view has fewer than 2^32 groups");
        }
        &mut self.groups[self.slots[slot] as usize - 1].1
    }

    pub fn apply_all(&mut self, changes: &[Change]) {
        for batch in changes.chunks(BATCH) {
            if !self.slots.is_empty() {
                batch.iter().for_each(|(key, ..)| prefetch(&self.slots, home(&self.slots, key)));
                let likely = |key: &Key| self.slots[home(&self.slots, key)];
                for (key, ..) in batch {
                    // A group may lie on two cache lines; its neighbour's start is on the second.
                    let group = (likely(key) as usize).wrapping_sub(1);
                    prefetch(&self.groups, group);
                    prefetch(&self.groups, group.wrapping_add(1));
                }
            }
            batch.iter().for_each(|(key, _, difference)| self.apply(*key, difference));
        }
    }

    pub fn get(&self, key: &Key) -> Option<&Measures> {
        let slot = (!self.slots.is_empty()).then(|| self.slots[self.find(key)])?;
        let (_, measures) = self.groups.get((slot as usize).checked_sub(1)?)?;
        (!measures.is_zero()).then_some(measures)
    }

    /// The groups in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Measures)> {
        self.groups.iter().filter(|(_, measures)| !measures.is_zero()).map(|(key, measures)| (key, measures))
    }

    pub fn len(&self) -> usize {
        self.iter().count()
    }

    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    #[inline]
    fn find(&self, key: &Key) -> usize {
        find(&self.slots, key, |position| &self.groups[position].0)
    }

    fn grow(&mut self) {
        self.groups.retain(|(_, measures)| !measures.is_zero());
        // Twice the size where most groups stay, the same where a third or more had become zero.
        let size = ((self.groups.len() + 1) * 3).next_power_of_two().max(FIRST_SLOTS);
        self.slots.clear();
        self.slots.resize(size, 0);
        for position in 0..self.groups.len() {
            let slot = self.find(&self.groups[position].0);
            self.slots[slot] = position as u32 + 1;
        }
    }
}

/// Equal where the groups are.
impl PartialEq for State {
    fn eq(&self, other: &State) -> bool {
        let within =
            |a: &State, b: &State| a.iter().all(|(key, measures)| b.get(key).is_some_and(|m| m.same(measures)));
        within(self, other) && within(other, self)
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
    /// 1 + the position of a group; 0 is free. A power of two, at most half full.
    slots: Vec<u32>,
    keys: Vec<Key>,
    /// The measures of the groups one after another, `width` for each.
    sums: Vec<i64>,
    /// The most measures that were added so far.
    width: usize,
}

impl Netting {
    /// Adds `value` to one measure of a group.
    pub fn add(&mut self, key: Key, measure: usize, value: i64) {
        if value != 0 {
            self.sums(key, measure + 1)[measure] += value;
        }
    }

    /// Adds to all measures of a group.
    pub fn add_slice(&mut self, key: Key, values: &[i64]) {
        self.sums(key, values.len()).iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }

    /// The sums of a group, `measures` at least.
    #[inline]
    fn sums(&mut self, key: Key, measures: usize) -> &mut [i64] {
        if measures > self.width {
            self.widen(measures);
        }
        if self.keys.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let slot = find(&self.slots, &key, |position| &self.keys[position]);
        if self.slots[slot] == 0 {
            if self.keys.is_empty() {
                // Those of the last epoch.
                self.sums.clear();
            }
            self.keys.push(key);
            self.sums.resize(self.sums.len() + self.width, 0);
            self.slots[slot] = u32::try_from(self.keys.len()).expect("an epoch changes fewer than 2^32 groups");
        }
        let start = (self.slots[slot] as usize - 1) * self.width;
        &mut self.sums[start..start + self.width]
    }

    #[cold]
    fn widen(&mut self, width: usize) {
        let mut sums = vec![0; self.keys.len() * width];
        for (new, old) in sums.chunks_exact_mut(width).zip(self.sums.chunks_exact(self.width.max(1))) {
            new[..self.width].copy_from_slice(old);
        }
        (self.sums, self.width) = (sums, width);
    }

    #[cold]
    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(FIRST_SLOTS);
        self.slots.clear();
        self.slots.resize(size, 0);
        for position in 0..self.keys.len() {
            let slot = find(&self.slots, &self.keys[position], |position| &self.keys[position]);
            self.slots[slot] = position as u32 + 1;
        }
    }

    /// The netted changes, and none that cancel. In no particular order: consumers add them up.
    pub fn drain(&mut self, epoch: u64) -> impl Iterator<Item = Change> + '_ {
        if self.keys.len() * 16 < self.slots.len() {
            // Made for a larger epoch.
            self.slots = Vec::new();
        } else {
            self.slots.fill(0);
        }
        let sums = self.sums.chunks_exact(self.width.max(1));
        self.keys.drain(..).zip(sums).filter_map(move |(key, sums)| {
            let length = sums.iter().rposition(|&sum| sum != 0)? + 1;
            Some((key, epoch, Measures::of(&sums[..length])))
        })
    }
}
