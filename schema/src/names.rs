//! The dictionary: from the 64-bit key of a name back to its text.
//!
//! One per process, append-only. A reader enters a name before it sends the first event that carries it, so
//! whoever sees a key in the dataflow finds its text here.

use crate::decode::piece;
use crate::short::Short;
use crate::{Id, Name};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, RwLock, RwLockReadGuard};

/// Two texts with one key: the record that brought the second is to be quarantined. Each is cut short.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the names {known:?} and {new:?} have one 64-bit hash")]
pub struct Collision {
    pub known: String,
    pub new: String,
}

/// How much of a name a message shows.
const SHOWN_CHARS: usize = 64;

/// Keys are hashes already.
#[derive(Clone, Copy, Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

type Table = HashMap<u64, Arc<str>, BuildHasherDefault<KeyHasher>>;

/// The process-wide dictionary, shared by readers, operators and outputs.
#[derive(Debug, Default)]
pub struct Names {
    entries: RwLock<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    table: Table,
    /// In the order in which they were entered, with their names.
    texts: Vec<(Name, Arc<str>)>,
}

impl Names {
    /// Enters `text` under `name`.
    ///
    /// # Errors
    /// [`Collision`] where another text has that key.
    pub fn enter(&self, name: Name, text: &str) -> Result<Arc<str>, Collision> {
        if let Some(known) = self.get(name) {
            return same(&known, text).map(|()| known);
        }
        let mut entries = self.entries.write().expect("no holder of the dictionary panics");
        let Entries { table, texts } = &mut *entries;
        let enter = || {
            let text: Arc<str> = Arc::from(text);
            texts.push((name, text.clone()));
            text
        };
        let known = table.entry(name.0).or_insert_with(enter).clone();
        same(&known, text).map(|()| known)
    }

    /// Enters a text under its own key and returns the key, for names that do not come from events.
    ///
    /// # Errors
    /// [`Collision`], as [`Names::enter`].
    pub fn intern(&self, text: &str) -> Result<Name, Collision> {
        let name = Name::of(text);
        if !name.is_none() {
            self.enter(name, text)?;
        }
        Ok(name)
    }

    pub fn get(&self, name: Name) -> Option<Arc<str>> {
        self.read().table.get(&name.0).cloned()
    }

    /// The text of a name; empty for [`Name::NONE`].
    pub fn text(&self, name: Name) -> Arc<str> {
        self.get(name).unwrap_or_else(|| Arc::from(""))
    }

    pub fn len(&self) -> usize {
        self.read().texts.len()
    }

    /// The texts that were entered after the first so many, in that order, with their names.
    pub fn since(&self, known: usize) -> Vec<(Name, Arc<str>)> {
        self.read().texts.get(known..).unwrap_or_default().to_vec()
    }

    fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.entries.read().expect("no holder of the dictionary panics")
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn same(known: &str, new: &str) -> Result<(), Collision> {
    if known == new {
        return Ok(());
    }
    Err(Collision { known: piece(known, SHOWN_CHARS), new: piece(new, SHOWN_CHARS) })
}

/// One reader's cache in front of [`Names`]: no lock for a name that it has seen.
///
/// Most names are short and come again soon. Those are found by their text in a table where each has but one
/// slot, without the hash that is their key; the next name of that slot puts it out, and it is then looked up by key.
#[derive(Debug)]
pub struct NameCache {
    names: Arc<Names>,
    seen: Table,
    /// A power of two of them.
    slots: Vec<Slot>,
    keeps_users: bool,
}

/// A short text that is in the dictionary, and its name. In one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Slot {
    text: Short,
    name: Name,
}

impl Slot {
    const EMPTY: Slot = Slot { text: Short::NONE, name: Name::NONE };
}

impl NameCache {
    const SLOTS_MIN: usize = 1 << 10;
    /// 2 MiB: beyond what a core has near, a slot saves little.
    const SLOTS_MAX: usize = 1 << 16;

    pub fn new(names: Arc<Names>) -> NameCache {
        NameCache { names, seen: Table::default(), slots: vec![Slot::EMPTY; Self::SLOTS_MIN], keeps_users: false }
    }

    /// Whether the texts of those who order are kept, too: some answer shows them.
    #[must_use]
    pub fn keeping_users(self, keeps_users: bool) -> NameCache {
        NameCache { keeps_users, ..self }
    }

    /// Makes sure that the dictionary has the text of a user who orders, where those are kept.
    ///
    /// # Errors
    /// [`Collision`] where another text has its key.
    #[inline]
    pub fn user(&mut self, id: Id, text: &str) -> Result<(), Collision> {
        if !self.keeps_users || id.is_none() {
            return Ok(());
        }
        self.enter(Name::of_user(id), text).map(drop)
    }

    /// Makes sure that the dictionary has a text, and returns its key. The empty text is [`Name::NONE`].
    ///
    /// # Errors
    /// [`Collision`] where another text has its key.
    #[inline]
    pub fn intern(&mut self, text: &str) -> Result<Name, Collision> {
        if text.is_empty() {
            return Ok(Name::NONE);
        }
        let Some(short) = Short::of(text.as_bytes()) else { return self.look_up(text) };
        let slot = self.slots[self.slot_of(short)];
        if slot.text == short { Ok(slot.name) } else { self.replace(short, text) }
    }

    #[inline]
    fn slot_of(&self, text: Short) -> usize {
        text.hash() as usize & (self.slots.len() - 1)
    }

    #[inline(never)]
    fn replace(&mut self, short: Short, text: &str) -> Result<Name, Collision> {
        let name = self.look_up(text)?;
        if self.seen.len() > self.slots.len() / 2 && self.slots.len() < Self::SLOTS_MAX {
            self.slots = vec![Slot::EMPTY; self.slots.len() * 2];
        }
        let slot = self.slot_of(short);
        self.slots[slot] = Slot { text: short, name };
        Ok(name)
    }

    fn look_up(&mut self, text: &str) -> Result<Name, Collision> {
        self.enter(Name::of(text), text)
    }

    fn enter(&mut self, name: Name, text: &str) -> Result<Name, Collision> {
        if let Some(known) = self.seen.get(&name.0) {
            return same(known, text).map(|()| name);
        }
        let known = self.names.enter(name, text)?;
        self.seen.insert(name.0, known);
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_knows_what_the_dictionary_knows() {
        let names = Arc::new(Names::default());
        let mut cache = NameCache::new(names.clone());
        // More short texts than a new cache has slots, some that are too long for a slot, and the empty one.
        let mut texts: Vec<String> = (0..5_000).map(|at| format!("p{at}")).collect();
        texts.extend((0..40).map(|length| "x".repeat(length)));
        for _ in 0..3 {
            for text in &texts {
                let name = cache.intern(text).expect("the texts have different keys");
                assert_eq!((name, &*names.text(name)), (Name::of(text), text.as_str()));
            }
        }
        assert_eq!(names.len(), texts.len() - 1);
    }

    #[test]
    fn a_collision_is_found_in_front_of_a_warm_cache() {
        let names = Arc::new(Names::default());
        names.enter(Name::of("second"), "first").expect("the dictionary is empty");
        let mut cache = NameCache::new(names);
        cache.intern("other").expect("nobody has its key");
        for _ in 0..2 {
            let collision = cache.intern("second").expect_err("another text has its key");
            assert_eq!((collision.known.as_str(), collision.new.as_str()), ("first", "second"));
        }
    }
}
