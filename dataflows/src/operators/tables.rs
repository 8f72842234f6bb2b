//! Two open-addressing tables for the hot path, where a general map spends its time waiting for memory: an entry is one
//! slot on one cache line, and a slot can be prefetched before it is needed.

use millrace_schema::Id;

/// Asks for the cache line of a slot ahead of its use.
#[inline]
pub fn prefetch<T>(slots: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(slot) = slots.get(index) {
        // SAFETY: prefetching has no effect on memory, and the address is that of a live slot.
        unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(std::ptr::from_ref(slot).cast()) };
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct IdHead(pub [u32; 3]);

impl IdHead {
    const FREE: IdHead = IdHead([0; 3]);

    #[inline]
    pub fn of(id: Id) -> IdHead {
        IdHead([(id.high >> 32) as u32, id.high as u32, (id.low >> 32) as u32])
    }
}

/// Remembers ids with 32 bits each of something else, 16 bytes an id.
#[derive(Debug)]
pub struct IdTable {
    /// Tables grow one at a time, so that growing never needs twice the memory of the whole.
    shards: Vec<Shard>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    id: IdHead,
    value: u32,
}

#[derive(Debug, Default)]
struct Shard {
    /// An id of zeros is free. At most three quarters full: linear probing degrades quickly beyond.
    slots: Box<[Slot]>,
    used: usize,
}

impl Default for IdTable {
    fn default() -> IdTable {
        IdTable { shards: (0..Self::SHARDS).map(|_| Shard::default()).collect() }
    }
}

impl IdTable {
    const SHARDS: usize = 64;

    #[inline]
    fn shard(id: IdHead) -> usize {
        id.0[2] as usize % Self::SHARDS
    }

    #[inline]
    pub fn prefetch(&self, id: IdHead) {
        let shard = &self.shards[Self::shard(id)];
        if !shard.slots.is_empty() {
            prefetch(&shard.slots, shard.home(id));
        }
    }

    /// The value that an id came with before; otherwise remembers it with this one.
    #[inline]
    pub fn enter(&mut self, id: IdHead, value: u32) -> Option<u32> {
        let id = Self::stored(id);
        let shard = &mut self.shards[Self::shard(id)];
        if shard.used * 4 >= shard.slots.len() * 3 {
            shard.grow();
        }
        let slot = shard.find(id);
        if shard.slots[slot].id == id {
            return Some(shard.slots[slot].value);
        }
        shard.slots[slot] = Slot { id, value };
        shard.used += 1;
        None
    }

    #[inline]
    pub fn get(&self, id: IdHead) -> Option<u32> {
        let id = Self::stored(id);
        let shard = &self.shards[Self::shard(id)];
        let slot = (!shard.slots.is_empty()).then(|| &shard.slots[shard.find(id)])?;
        (slot.id == id).then_some(slot.value)
    }

    /// Changes the value of an id that has been entered.
    pub fn set(&mut self, id: IdHead, value: u32) {
        let id = Self::stored(id);
        let shard = &mut self.shards[Self::shard(id)];
        let slot = shard.find(id);
        debug_assert_eq!(shard.slots[slot].id, id, "the id has been entered");
        shard.slots[slot].value = value;
    }

    /// The id of zeros shares the slot of its neighbour: one more collision among 2⁹⁶.
    #[inline]
    fn stored(id: IdHead) -> IdHead {
        if id == IdHead::FREE { IdHead([0, 1, 0]) } else { id }
    }
}

impl Shard {
    const FIRST_SLOTS: usize = 64;

    #[inline]
    fn home(&self, id: IdHead) -> usize {
        // The bits that choose the shard are the low ones of the third word; these are of the first two.
        let hash = u64::from(id.0[0]) << 32 | u64::from(id.0[1]);
        // Multiplying by the size and keeping the top takes any size, not only powers of two: memory grows by halves.
        ((u128::from(hash) * self.slots.len() as u128) >> 64) as usize
    }

    /// The slot of an id, or the free one where it belongs.
    #[inline]
    fn find(&self, id: IdHead) -> usize {
        let mut slot = self.home(id);
        while self.slots[slot].id != IdHead::FREE && self.slots[slot].id != id {
            slot += 1;
            if slot == self.slots.len() {
                slot = 0;
            }
        }
        slot
    }

    fn grow(&mut self) {
        let size = (self.slots.len() + self.slots.len() / 2).max(Self::FIRST_SLOTS);
        let old = std::mem::replace(&mut self.slots, vec![Slot::default(); size].into_boxed_slice());
        for kept in old.into_iter().filter(|slot| slot.id != IdHead::FREE) {
            let slot = self.find(kept.id);
            self.slots[slot] = kept;
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
            for (id, value) in ids.into_iter().filter(|(id, _)| *id != [0; 3] && *id != [0, 1, 0]) {
                let id = IdHead(id);
                prop_assert_eq!(table.enter(id, value), map.get(&id).copied());
                map.entry(id).or_insert(value);
                if value == 7 {
                    table.set(id, 8);
                    map.insert(id, 8);
                }
            }
        }
    }
}
