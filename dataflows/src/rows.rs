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
    /// All bits depend on all parts.
    #[inline]
    fn hash64(&self) -> u64 {
        let mixed = self.mixed().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 32)
    }

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

/// Sorts by keys.
pub fn sort_by_key<T>(rows: &mut Vec<T>, key: impl Fn(&T) -> &Key) {
    let order = order(rows, key);
    let mut unsorted: Vec<Option<T>> = std::mem::take(rows).into_iter().map(Some).collect();
    rows.extend(order.into_iter().map(|(_, at)| unsorted[at as usize].take().expect("each is taken once")));
}

/// Where the rows are in the order of their keys. What is compared begins with as much of the key as fits into 16 bytes, which
/// decides nearly all comparisons: of each part only the bits that some key of the table uses.
fn order<T>(rows: &[T], key: impl Fn(&T) -> &Key) -> Vec<(u128, u32)> {
    const PART_BITS: u32 = 120;
    let mut used: Vec<[u64; 5]> = Vec::new();
    for row in rows.iter() {
        let Key { table, parts } = key(row);
        let table = usize::from(*table);
        if used.len() <= table {
            used.resize(table + 1, [0; 5]);
        }
        used[table].iter_mut().zip(parts).for_each(|(used, part)| *used |= part);
    }
    let widths: Vec<[u32; 5]> = used.iter().map(|used| used.map(|used| u64::BITS - used.leading_zeros())).collect();
    let head = |key: &Key| {
        let (mut head, mut room) = (u128::from(key.table) << PART_BITS, PART_BITS);
        for (part, width) in key.parts.into_iter().zip(widths[usize::from(key.table)]) {
            if width > room {
                return head | u128::from(part >> (width - room));
            }
            room -= width;
            head |= u128::from(part) << room;
        }
        head
    };
    let mut order: Vec<(u128, u32)> = (0..).zip(rows.iter()).map(|(at, row)| (head(key(row)), at)).collect();
    order.sort_unstable_by(|(a, at), (b, other)| {
        a.cmp(b).then_with(|| key(&rows[*at as usize]).cmp(key(&rows[*other as usize])))
    });
    order
}

/// The measures of a group, added component by component. Shorter ones are as if filled up with zeros.
///
/// Additions wrap, here and wherever measures are added: in which order they come is not known, so a sum on the way may be
/// anything, and only the last one counts. That it fits is for the view to say: see [`crate::views::magnitude`].
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

    pub fn add(&mut self, index: usize, value: i64) {
        if self.0.len() <= index {
            self.0.resize(index + 1, 0);
        }
        self.0[index] = self.0[index].wrapping_add(value);
    }

    pub fn add_sums(&mut self, sums: Sums<'_>) {
        self.add_slice(sums.0);
    }

    pub fn sums(&self) -> Sums<'_> {
        Sums(&self.0)
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
        self.0.iter_mut().zip(values).for_each(|(sum, value)| *sum = sum.wrapping_add(*value));
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
        self.0.iter_mut().for_each(|value| *value = value.wrapping_neg());
    }
}

/// A view's collection: groups with their measures in the difference.
pub type Rows<'s> = VecCollection<'s, u64, Key, Measures>;

/// One change of a view.
pub type Change = (Key, u64, Measures);

/// The sums of one group, as they lie in a [`State`].
#[derive(Clone, Copy, Debug)]
pub struct Sums<'a>(&'a [i64]);

impl<'a> Sums<'a> {
    pub(crate) fn new(sums: &'a [i64]) -> Sums<'a> {
        Sums(sums)
    }
    /// 0 beyond the measures that any group has.
    #[inline]
    pub fn get(self, index: usize) -> i64 {
        self.0.get(index).copied().unwrap_or(0)
    }

    fn is_zero(self) -> bool {
        self.0.iter().all(|&sum| sum == 0)
    }

    /// Whether all components are equal.
    pub(crate) fn same(self, other: Sums<'_>) -> bool {
        (0..self.0.len().max(other.0.len())).all(|index| self.get(index) == other.get(index))
    }

    /// A copy without the zeros at the end.
    pub fn to_measures(self) -> Measures {
        let length = self.0.iter().rposition(|&sum| sum != 0).map_or(0, |last| last + 1);
        Measures::of(&self.0[..length])
    }
}

/// Groups and their sums: an open-addressing index into dense lists.
#[derive(Clone, Debug, Default)]
struct Groups {
    /// A power of two, at most half full.
    slots: Vec<Slot>,
    keys: Vec<Key>,
    /// Of the groups one after another, `width` for each.
    sums: Vec<i64>,
    /// The most measures that any group has had.
    width: usize,
}

/// Of a group, 1 + its position (0 is free), and a part of its key's hash: a slot of another group is passed over without a
/// look at the other's key, which is far away.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    position: u32,
    tag: u32,
}

const FIRST_SLOTS: usize = 64;

/// Changes that are looked up together.
const BATCH: usize = 64;

impl Groups {
    /// The sums of a group, `measures` at least; zeros where it is new.
    #[inline]
    fn entry(&mut self, key: &Key, measures: usize) -> &mut [i64] {
        if measures > self.width {
            self.widen(measures);
        }
        if self.keys.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let hash = key.hash64();
        let slot = self.find(key, hash);
        if self.slots[slot].position == 0 {
            self.keys.push(*key);
            self.sums.resize(self.keys.len() * self.width, 0);
            let position = u32::try_from(self.keys.len()).expect("there are fewer than 2^32 groups");
            self.slots[slot] = Slot { position, tag: hash as u32 };
        }
        let start = (self.slots[slot].position as usize - 1) * self.width;
        &mut self.sums[start..start + self.width]
    }

    fn add(&mut self, key: &Key, values: &[i64]) {
        self.entry(key, values.len()).iter_mut().zip(values).for_each(|(sum, value)| *sum = sum.wrapping_add(*value));
    }

    /// Adds many changes. A batch of them asks for all the memory it needs before it changes any of it, which is most of
    /// the time that adding takes.
    fn add_all(&mut self, changes: &[Change]) {
        const LINE: usize = 64 / size_of::<i64>();
        for batch in changes.chunks(BATCH) {
            if !self.slots.is_empty() {
                batch.iter().for_each(|(key, ..)| prefetch(&self.slots, self.home(key.hash64())));
                for (key, ..) in batch {
                    let position = (self.slots[self.home(key.hash64())].position as usize).wrapping_sub(1);
                    prefetch(&self.keys, position);
                    // A key may lie on two cache lines: its neighbour's start is on the second.
                    prefetch(&self.keys, position.wrapping_add(1));
                    let sums = position.wrapping_mul(self.width);
                    (0..self.width).step_by(LINE).for_each(|at| prefetch(&self.sums, sums.wrapping_add(at)));
                }
            }
            batch.iter().for_each(|(key, _, difference)| self.add(key, &difference.0));
        }
    }

    #[inline]
    fn sums(&self, position: usize) -> Sums<'_> {
        Sums(&self.sums[position * self.width..][..self.width])
    }

    fn iter(&self) -> impl Iterator<Item = (&Key, Sums<'_>)> {
        self.keys.iter().enumerate().map(|(position, key)| (key, self.sums(position)))
    }

    /// Where the index looks for a hash first: its top bits. The low ones are the tag.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        let shift = 64 - self.slots.len().trailing_zeros();
        (hash >> shift) as usize
    }

    /// The slot of a key, or the free one where it belongs.
    #[inline]
    fn find(&self, key: &Key, hash: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = self.home(hash);
        loop {
            let Slot { position, tag } = self.slots[at];
            if position == 0 || tag == hash as u32 && self.keys[position as usize - 1] == *key {
                return at;
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    fn widen(&mut self, width: usize) {
        let mut sums = vec![0; self.keys.len() * width];
        if self.width > 0 {
            for (new, old) in sums.chunks_exact_mut(width).zip(self.sums.chunks_exact(self.width)) {
                new[..self.width].copy_from_slice(old);
            }
        }
        (self.sums, self.width) = (sums, width);
    }

    /// Twice the slots, or as many as before where many groups have become zero and are dropped.
    #[cold]
    fn grow(&mut self) {
        let mut live = 0;
        for position in 0..self.keys.len() {
            if !self.sums(position).is_zero() {
                self.keys.swap(live, position);
                self.sums.copy_within(position * self.width..(position + 1) * self.width, live * self.width);
                live += 1;
            }
        }
        self.keys.truncate(live);
        self.sums.truncate(live * self.width);
        let size = ((live + 1) * 3).next_power_of_two().max(FIRST_SLOTS);
        self.slots.clear();
        self.slots.resize(size, Slot::default());
        for (position, key) in self.keys.iter().enumerate() {
            let hash = key.hash64();
            // All are different: the next free slot is the one.
            let mut at = self.home(hash);
            while self.slots[at].position != 0 {
                at = (at + 1) & (size - 1);
            }
            self.slots[at] = Slot { position: position as u32 + 1, tag: hash as u32 };
        }
    }
}

/// What has accumulated of a view's changes up to some epoch.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Those whose measures have become zero stay until the index grows.
    groups: Groups,
}

impl State {
    pub fn apply(&mut self, key: Key, difference: &Measures) {
        self.groups.add(&key, &difference.0);
    }

    /// Adds a group's sums to those that are here.
    pub fn merge(&mut self, key: &Key, sums: Sums<'_>) {
        self.groups.add(key, sums.0);
    }

    pub fn apply_all(&mut self, changes: &[Change]) {
        self.groups.add_all(changes);
    }

    pub fn get(&self, key: &Key) -> Option<Sums<'_>> {
        let groups = &self.groups;
        let slot = (!groups.slots.is_empty()).then(|| groups.slots[groups.find(key, key.hash64())])?;
        let sums = groups.sums((slot.position as usize).checked_sub(1)?);
        (!sums.is_zero()).then_some(sums)
    }

    /// The groups in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, Sums<'_>)> {
        self.groups.iter().filter(|(_, sums)| !sums.is_zero())
    }

    pub fn len(&self) -> usize {
        self.iter().count()
    }

    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

/// Equal where the groups are.
impl PartialEq for State {
    fn eq(&self, other: &State) -> bool {
        let within =
            |a: &State, b: &State| a.iter().all(|(key, sums)| b.get(key).is_some_and(|other| sums.same(other)));
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

/// Changes in order of their keys, each group once.
#[derive(Debug)]
pub struct Netted {
    keys: Vec<Key>,
    sums: Vec<i64>,
    width: usize,
    order: Vec<u32>,
}

impl Netted {
    /// Those that do not cancel.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &[i64])> {
        self.some(&self.order)
    }

    /// Those of one table that do not cancel.
    pub fn of_table(&self, table: u8) -> impl Iterator<Item = (&Key, &[i64])> {
        let before = |table: u8| self.order.partition_point(|&at| self.keys[at as usize].table < table);
        self.some(&self.order[before(table)..before(table + 1)])
    }

    fn some(&self, order: &[u32]) -> impl Iterator<Item = (&Key, &[i64])> {
        order.iter().filter_map(|&at| {
            let at = at as usize;
            let sums = &self.sums[at * self.width..][..self.width];
            sums.iter().any(|&sum| sum != 0).then_some((&self.keys[at], sums))
        })
    }
}

/// Nets the changes of one epoch before they leave an operator: one update a group.
#[derive(Debug, Default)]
pub struct Netting {
    groups: Groups,
}

impl Netting {
    /// Adds `value` to one measure of a group.
    pub fn add(&mut self, key: Key, measure: usize, value: i64) {
        if value != 0 {
            let sum = &mut self.groups.entry(&key, measure + 1)[measure];
            *sum = sum.wrapping_add(value);
        }
    }

    /// Adds to all measures of a group.
    pub fn add_slice(&mut self, key: Key, values: &[i64]) {
        self.groups.add(&key, values);
    }

    /// Adds changes, whatever their epochs.
    pub fn add_all(&mut self, changes: &[Change]) {
        self.groups.add_all(changes);
    }

    /// Adds what another has netted.
    pub fn add_netted(&mut self, other: Netting) {
        if self.groups.keys.is_empty() {
            *self = other;
        } else {
            other.groups.iter().for_each(|(key, sums)| self.groups.add(key, sums.0));
        }
    }

    /// Of each group, the key.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.groups.keys.iter()
    }

    /// The netted changes, and none that cancel, at an epoch. In no particular order.
    pub fn changes(&self, epoch: u64) -> impl Iterator<Item = Change> {
        let changes = self.groups.iter().map(move |(key, sums)| (*key, epoch, sums.to_measures()));
        changes.filter(|(.., measures)| !measures.0.is_empty())
    }

    /// Hands over what is netted; what comes later begins anew.
    pub fn hand_over(&mut self) -> Netting {
        std::mem::take(self)
    }

    pub fn is_empty(&self) -> bool {
        self.groups.keys.is_empty()
    }

    /// The netted changes, in order of their keys; the netting is empty then.
    pub fn sorted(&mut self) -> Netted {
        // What is large was netted of many epochs, and its like does not come again soon.
        const LARGE: usize = 1 << 17;
        let is_large = self.groups.keys.len() > LARGE;
        let Groups { keys, sums, width, .. } = if is_large { std::mem::take(&mut self.groups) } else { self.take() };
        let order = order(&keys, |key| key).into_iter().map(|(_, at)| at).collect();
        Netted { keys, sums, width, order }
    }

    /// The netted changes, and none that cancel. In no particular order: consumers add them up.
    pub fn drain(&mut self, epoch: u64) -> impl Iterator<Item = Change> + use<> {
        let width = self.groups.width;
        let Groups { keys, sums, .. } = self.take();
        keys.into_iter().enumerate().filter_map(move |(position, key)| {
            let measures = Sums(&sums[position * width..][..width]).to_measures();
            (!measures.0.is_empty()).then_some((key, epoch, measures))
        })
    }

    /// Takes the groups out; leaves the index, empty, unless it was made for a much larger epoch.
    fn take(&mut self) -> Groups {
        let groups = &mut self.groups;
        let few = groups.keys.len() * 16 < groups.slots.len();
        let mut slots = if few { Vec::new() } else { std::mem::take(&mut groups.slots) };
        slots.fill(Slot::default());
        let room = groups.keys.len();
        let (keys, sums) = (Vec::with_capacity(room), Vec::with_capacity(room * groups.width));
        let next = Groups { slots, keys, sums, width: groups.width };
        std::mem::replace(groups, next)
    }
}
