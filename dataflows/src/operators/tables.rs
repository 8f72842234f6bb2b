//! Two open-addressing tables for the hot path, where a general map spends its time waiting for memory: an entry is one
//! slot on one cache line, and a slot can be prefetched before it is needed.

use millrace_schema::Id;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Asks for the cache line of a slot ahead of its use.
#[inline]
pub fn prefetch<T>(slots: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(slot) = slots.get(index) {
        // SAFETY: prefetching has no effect on memory, and the address is that of a live slot.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(std::ptr::from_ref(slot).cast())
        };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slots, index);
}

/// Counts by number. A count that falls to 0 keeps its slot until the table grows.
#[derive(Debug, Default)]
pub struct CountTable {
    /// (number + 1, count); 0 is free. A power of two, at most three quarters full.
    slots: Box<[(u32, u32)]>,
    used: usize,
}

impl CountTable {
    const FIRST_SLOTS: usize = 4;

    #[inline]
    fn home(&self, number: u32) -> usize {
        // Fibonacci hashing: the top bits of the product are well mixed.
        let shift = 64 - self.slots.len().trailing_zeros();
        (u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift) as usize
    }

    #[inline]
    pub fn prefetch(&self, number: u32) {
        if !self.slots.is_empty() {
            prefetch(&self.slots, self.home(number));
        }
    }

    /// The count of a number, to be changed in place; 0 where it is new.
    #[inline]
    pub fn entry(&mut self, number: u32) -> &mut u32 {
        if self.used * 4 >= self.slots.len() * 3 {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut slot = self.home(number);
        while self.slots[slot].0 != number + 1 {
            if self.slots[slot].0 == 0 {
                self.slots[slot].0 = number + 1;
                self.used += 1;
                break;
            }
            slot = (slot + 1) & mask;
        }
        &mut self.slots[slot].1
    }

    /// How many numbers there are, with some of those whose count has become 0.
    pub fn numbers(&self) -> usize {
        self.used
    }

    /// Numbers with their counts, those of 0 left out.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.slots.iter().filter(|(_, count)| *count > 0).map(|&(number, count)| (number - 1, count))
    }

    fn grow(&mut self) {
        let live = self.iter().count();
        let size = ((live + 1) * 2).next_power_of_two().max(Self::FIRST_SLOTS);
        let old = std::mem::replace(&mut self.slots, vec![(0, 0); size].into_boxed_slice());
        self.used = 0;
        for (number, count) in old.into_iter().filter(|(_, count)| *count > 0) {
            *self.entry(number - 1) = count;
        }
    }
}

/// The first 96 bits of an id's hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdHead(pub [u32; 3]);

impl IdHead {
    #[inline]
    pub fn of(id: Id) -> IdHead {
        IdHead([(id.high >> 32) as u32, id.high as u32, (id.low >> 32) as u32])
    }

    /// For choosing among few by.
    #[inline]
    pub fn first_bits(self) -> u32 {
        self.0[0]
    }

    /// The first 64 bits: where in a shard it belongs. The shard is chosen by the others.
    #[inline]
    fn home(self) -> u64 {
        u64::from(self.0[0]) << 32 | u64::from(self.0[1])
    }
}

/// Remembers ids with 32 bits each of something else and an age, 16 bytes an id.
#[derive(Debug)]
pub struct IdTable {
    /// Tables grow one at a time, so that growing never needs twice the memory of the whole.
    shards: Vec<Shard>,
    /// How many ids a shard is thought to come to hold, 0 where that is not known.
    expected: usize,
    /// The shard that is swept next.
    next_swept: usize,
}

/// An id's first 64 bits; then, from high bits to low, 24 bits more, its age, and its value. The shard knows six of the
/// bits that are left out, so that 94 bits tell ids apart.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    head: u64,
    rest: u64,
}

impl Slot {
    const AGE_AT: u32 = 32;
    const ID_AT: u32 = 40;

    #[inline]
    fn new(id: IdHead, value: u32, age: u8) -> Slot {
        // The id of zeros takes its neighbour's place: one more collision.
        let none = u32::from(id.home() == 0 && id.0[2] >> 8 == 0);
        let id_bits = u64::from(id.0[2] >> 8 | none) << Slot::ID_AT;
        Slot { head: id.home(), rest: id_bits | u64::from(age) << Slot::AGE_AT | u64::from(value) }
    }

    #[inline]
    fn value(self) -> u32 {
        self.rest as u32
    }

    #[inline]
    fn age(self) -> u8 {
        (self.rest >> Slot::AGE_AT) as u8
    }

    /// 0 where both hold one id.
    #[inline]
    fn differs(self, other: Slot) -> u64 {
        (self.head ^ other.head) | ((self.rest ^ other.rest) >> Slot::ID_AT)
    }

    #[inline]
    fn is_free(self) -> bool {
        self.head | (self.rest >> Slot::ID_AT) == 0
    }
}

/// A cache line of slots, the free ones last.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Line([Slot; Line::SLOTS]);

impl Line {
    const SLOTS: usize = 4;

    /// The slot where an id is (`true`) or belongs; none where the line is full of others. Without branches that
    /// depend on where: what an id meets is random.
    #[inline]
    fn find(&self, wanted: Slot) -> Option<(usize, bool)> {
        let (mut hits, mut used) = (0_usize, 0);
        for (at, slot) in self.0.iter().enumerate() {
            hits |= usize::from(slot.differs(wanted) == 0) << at;
            used += usize::from(!slot.is_free());
        }
        match hits {
            0 => (used < Line::SLOTS).then_some((used, false)),
            _ => Some((hits.trailing_zeros() as usize, true)),
        }
    }
}

/// Lines in segments that stay where they are: growing adds segments and moves entries up, so memory is neither
/// copied nor given back in pieces that nothing fits.
///
/// Lines come in pairs, which processors fetch together: an id belongs to one line of a pair, goes to the other where
/// that is full, and to a later pair where both are.
#[derive(Debug, Default)]
struct Shard {
    segments: Vec<Box<[Line; Shard::SEGMENT]>>,
    used: usize,
}

/// Where an id is, or belongs.
struct Found {
    line: usize,
    slot: usize,
    known: bool,
}

impl Default for IdTable {
    fn default() -> IdTable {
        IdTable { shards: (0..Self::SHARDS).map(|_| Shard::default()).collect(), expected: 0, next_swept: 0 }
    }
}

impl IdTable {
    pub const SHARDS: usize = 64;

    #[inline]
    fn shard(id: IdHead) -> usize {
        id.0[2] as usize % Self::SHARDS
    }

    /// Says how many ids there may come to be, so that growing need not guess.
    pub fn expect(&mut self, ids: usize) {
        self.expected = ids / Self::SHARDS;
    }

    #[inline]
    pub fn prefetch(&self, id: IdHead) {
        let shard = &self.shards[Self::shard(id)];
        if !shard.segments.is_empty() {
            prefetch(std::slice::from_ref(shard.line(shard.place(Slot::new(id, 0, 0)))), 0);
        }
    }

    /// The value that an id came with before; otherwise remembers it with this one, and with an age for
    /// [`IdTable::sweep`].
    #[inline]
    pub fn enter(&mut self, id: IdHead, value: u32, age: u8) -> Option<u32> {
        let shard = &mut self.shards[Self::shard(id)];
        if shard.used * 8 >= shard.lines() * Line::SLOTS * 5 {
            shard.grow(self.expected);
        }
        let new = Slot::new(id, value, age);
        let found = shard.find(new);
        let known = found.known;
        let slot = shard.slot(&found);
        if known {
            return Some(slot.value());
        }
        *slot = new;
        shard.used += 1;
        None
    }

    #[inline]
    pub fn get(&self, id: IdHead) -> Option<u32> {
        let shard = &self.shards[Self::shard(id)];
        if shard.segments.is_empty() {
            return None;
        }
        let Found { line, slot, known } = shard.find(Slot::new(id, 0, 0));
        known.then(|| shard.line(line).0[slot].value())
    }

    /// Changes the value and the age of an id that has been entered.
    pub fn set(&mut self, id: IdHead, value: u32, age: u8) {
        let shard = &mut self.shards[Self::shard(id)];
        let new = Slot::new(id, value, age);
        let found = shard.find(new);
        debug_assert!(found.known, "the id has been entered");
        *shard.slot(&found) = new;
    }

    /// Forgets the ids of the next shard that are not worth keeping, by value and age. As many calls as there are shards
    /// go through all ids, so that none takes long. True where that was the last shard.
    pub fn sweep(&mut self, keep: impl FnMut(u32, u8) -> bool) -> bool {
        self.shards[self.next_swept].sweep(keep);
        self.next_swept = (self.next_swept + 1) % Self::SHARDS;
        self.next_swept == 0
    }

    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.used).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shard {
    /// Lines in a segment.
    const SEGMENT: usize = 256;

    #[inline]
    fn lines(&self) -> usize {
        self.segments.len() * Self::SEGMENT
    }

    #[inline]
    fn line(&self, line: usize) -> &Line {
        &self.segments[line / Self::SEGMENT][line % Self::SEGMENT]
    }

    #[inline]
    fn slot(&mut self, found: &Found) -> &mut Slot {
        &mut self.segments[found.line / Self::SEGMENT][found.line % Self::SEGMENT].0[found.slot]
    }

    /// The line that an id belongs to. Multiplying by the size and keeping the top takes any size, not only powers of
    /// two, and places no id lower when the table grows.
    #[inline]
    fn place(&self, id: Slot) -> usize {
        let pair = ((u128::from(id.head) * (self.lines() / 2) as u128) >> 64) as usize;
        // Any bit that neither the pair nor the shard is chosen by.
        pair * 2 + (id.rest >> 63) as usize
    }

    #[inline]
    fn find(&self, wanted: Slot) -> Found {
        let line = self.place(wanted);
        // Nine of ten are on their line.
        match self.line(line).find(wanted) {
            Some((slot, known)) => Found { line, slot, known },
            None => self.find_beyond(line, wanted),
        }
    }

    #[inline(never)]
    fn find_beyond(&self, line: usize, wanted: Slot) -> Found {
        let found = self.find_above(line, wanted).or_else(|| self.find_among(0..line & !1, wanted));
        found.expect("some slots are free")
    }

    /// Looks at the other line of a pair and at all pairs after it.
    fn find_above(&self, line: usize, wanted: Slot) -> Option<Found> {
        let partner = line ^ 1;
        let after = (line | 1) + 1;
        self.find_among(partner..partner + 1, wanted).or_else(|| self.find_among(after..self.lines(), wanted))
    }

    fn find_among(&self, mut lines: Range<usize>, wanted: Slot) -> Option<Found> {
        lines.find_map(|line| self.line(line).find(wanted).map(|(slot, known)| Found { line, slot, known }))
    }

    /// Keeps some entries. Where many have gone, so does the memory.
    fn sweep(&mut self, mut keep: impl FnMut(u32, u8) -> bool) {
        let entries = || self.segments.iter().flat_map(|segment| segment.iter()).flat_map(|line| line.0);
        let live: Vec<Slot> = entries().filter(|e| !e.is_free() && keep(e.value(), e.age())).collect();
        if live.len() == self.used {
            return;
        }
        let half_full = (live.len() * 2).div_ceil(Line::SLOTS * Self::SEGMENT);
        if half_full * 2 < self.segments.len() {
            self.segments.truncate(half_full.max(1));
        }
        self.segments.iter_mut().for_each(|segment| segment.fill(Line::default()));
        self.used = live.len();
        for entry in live {
            let found = self.find(entry);
            *self.slot(&found) = entry;
        }
    }

    /// Grows by half, or to what is expected once that is known well. A larger table places no id in a lower pair, so
    /// entries move up, from the last pair to the first, into pairs that have moved already. The few that would not
    /// (having been pushed off their pair) go last.
    #[cold]
    fn grow(&mut self, expected: usize) {
        let old = self.lines();
        // Below the load that makes it grow, so that an estimate may be a little short.
        let wanted = (expected * 7 / 4).div_ceil(Line::SLOTS * Self::SEGMENT);
        let known_well = self.used * 16 >= expected;
        let by_half = self.segments.len() + (self.segments.len() / 2).max(1);
        let segments = if known_well && wanted > self.segments.len() { wanted } else { by_half };
        self.segments.resize_with(segments, || Box::new([Line::default(); Self::SEGMENT]));
        let mut late = Vec::new();
        for pair in (0..old / 2).rev() {
            let lines = [pair * 2, pair * 2 + 1];
            let entries =
                lines.map(|line| std::mem::take(&mut self.segments[line / Self::SEGMENT][line % Self::SEGMENT]));
            for entry in entries.into_iter().flat_map(|line| line.0).filter(|entry| !entry.is_free()) {
                let line = self.place(entry);
                let found = match self.line(line).find(entry) {
                    _ if line < pair * 2 => None,
                    Some((slot, known)) => Some(Found { line, slot, known }),
                    None => self.find_above(line, entry),
                };
                match found {
                    Some(found) => *self.slot(&found) = entry,
                    None => late.push(entry),
                }
            }
        }
        for entry in late {
            let found = self.find(entry);
            *self.slot(&found) = entry;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn counts_are_those_of_a_map(changes in prop::collection::vec((0_u32..40, 0_u32..3), 0..400)) {
            let (mut table, mut map) = (CountTable::default(), HashMap::new());
            for (number, count) in changes {
                *table.entry(number) = count;
                map.insert(number, count);
            }
            map.retain(|_, count| *count > 0);
            prop_assert_eq!(table.iter().collect::<HashMap<_, _>>(), map);
        }

        #[test]
        fn ids_are_those_of_a_map(ids in prop::collection::vec(([0_u32..2, 0_u32..3, 0_u32..200], 0_u32..9), 0..900)) {
            let (mut table, mut map) = (IdTable::default(), HashMap::new());
            for ([a, b, c], value) in ids {
                // Apart in the bits that are kept, and not zero.
                let id = IdHead([a, b, (c << 8) | (1 << 20) | (c % 64)]);
                prop_assert_eq!(table.enter(id, value, 0), map.get(&id).copied());
                map.entry(id).or_insert(value);
                if value == 7 {
                    table.set(id, 8, 0);
                    map.insert(id, 8);
                }
            }
        }
    }

    /// What is kept is found, what is not is new, and later ids find their places.
    #[test]
    fn ids_are_forgotten_by_age() {
        let id = |n: u32| IdHead([n.wrapping_mul(0x9e37_79b9), n, (n << 9) | (n % 64)]);
        let mut table = IdTable::default();
        (1..60_000).for_each(|n| assert_eq!(table.enter(id(n), n, (n % 7) as u8), None));
        let mut calls = 1;
        while !table.sweep(|value, age| {
            assert_eq!(value % 7, u32::from(age));
            age == 3
        }) {
            calls += 1;
        }
        assert_eq!(calls, IdTable::SHARDS);
        assert_eq!(table.len(), (1..60_000).filter(|n| n % 7 == 3).count());
        for n in 1..90_000 {
            assert_eq!(table.enter(id(n), n, 0), (n % 7 == 3 && n < 60_000).then_some(n), "{n}");
        }
    }

    /// Ids at the very start and end of one shard, and everywhere: growing moves, wraps round and pushes off.
    #[test]
    fn ids_are_found_after_growing() {
        let heads = [0, 1, u32::MAX, 7 << 28];
        let spread = (0..4000_u32).map(|n| n.wrapping_mul(0x9e37_79b9));
        let crowded = (0..1200).map(|n| heads[n % heads.len()]);
        let ids: Vec<IdHead> =
            crowded.chain(spread).enumerate().map(|(n, head)| IdHead([head, n as u32, 64 << 8])).collect();
        for expected in [0, 900, 5200, 100_000] {
            check_growing(&ids, expected);
        }
    }

    fn check_growing(ids: &[IdHead], expected: usize) {
        let mut table = IdTable::default();
        table.expect(expected);
        for (n, &id) in ids.iter().enumerate() {
            assert_eq!(table.enter(id, n as u32, 0), None);
            assert!(n % 97 != 0 || (0..=n).all(|m| table.get(ids[m]) == Some(m as u32)), "after {n}");
        }
        assert!(ids.iter().enumerate().all(|(n, &id)| table.enter(id, 0, 0) == Some(n as u32)));
    }
}
