//! The dictionary: from the 64-bit key of a name back to its text.
//!
//! ```text
//! reader ─▶ NameCache ─▶ Names (the process's: readers, outputs)
//!               └─ new to this reader ─▶ Named ─▶ every worker, at the epoch of the first event that carries it
//! ```
//! [`Names`] is one per process, append-only. Operators do not look into it: to them a name comes as data.

use crate::decode::piece;
use crate::short::Short;
use crate::{Id, Name};
use serde::{Deserialize, Serialize};
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

/// A table by the keys of names.
pub type ByName<T> = HashMap<u64, T, BuildHasherDefault<KeyHasher>>;

/// A name and its text, on their way to whoever needs the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    pub name: Name,
    pub text: Box<str>,
}

impl Named {
    /// What operators are told of a name. Nothing, where the text is a user's: they need none of those. (Of some lengths of texts the
    /// key of a user is that of the same text as a name; those are told.)
    pub fn of(name: Name, text: &str) -> Option<Named> {
        (name == Name::of(text)).then(|| Named { name, text: text.into() })
    }
}

/// The process-wide dictionary, shared by readers and outputs.
#[derive(Debug, Default)]
pub struct Names {
    entries: RwLock<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    /// Where in `texts` each is.
    table: ByName<u32>,
    /// In the order in which they were entered, with their names.
    texts: Vec<(Name, Arc<str>)>,
}

impl Names {
    /// Enters `text` under `name`.
    ///
    /// # Errors
    /// [`Collision`] where another text has that key.
    pub fn enter(&self, name: Name, text: &str) -> Result<Arc<str>, Collision> {
        self.enter_at(name, text).map(|(known, _)| known)
    }

    /// The same, and how many were entered before it.
    fn enter_at(&self, name: Name, text: &str) -> Result<(Arc<str>, usize), Collision> {
        let found = self.read().get(name);
        let (known, at) = found.unwrap_or_else(|| {
            let mut entries = self.entries.write().expect("no holder of the dictionary panics");
            // Another reader may have been faster.
            entries.get(name).unwrap_or_else(|| entries.push(name, Arc::from(text)))
        });
        same(&known, text).map(|()| (known, at))
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

    /// The text of a name, if it was entered.
    pub fn get(&self, name: Name) -> Option<Arc<str>> {
        self.read().get(name).map(|(text, _)| text)
    }

    /// The text of a name that is in an event or a row; empty for [`Name::NONE`].
    ///
    /// # Panics
    /// Where it has none: it is entered before any event or row that carries the name.
    pub fn text(&self, name: Name) -> Arc<str> {
        if name.is_none() {
            return Arc::from("");
        }
        self.get(name)
            .unwrap_or_else(|| panic!("the name {:016x} has no text: it is to be entered before it is used", name.0))
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

impl Entries {
    fn get(&self, name: Name) -> Option<(Arc<str>, usize)> {
        let at = *self.table.get(&name.0)? as usize;
        Some((self.texts[at].1.clone(), at))
    }

    fn push(&mut self, name: Name, text: Arc<str>) -> (Arc<str>, usize) {
        let at = self.texts.len();
        self.table.insert(name.0, u32::try_from(at).expect("there are fewer than 2^32 names"));
        self.texts.push((name, text.clone()));
        (text, at)
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
///
/// It notes which names are new to its reader: whoever reads tells the others, at the epoch of the first event that carries them.
/// What other readers have told does not count, for they may be at a later epoch.
#[derive(Debug)]
pub struct NameCache {
    names: Arc<Names>,
    seen: ByName<Arc<str>>,
    /// A power of two of them.
    slots: Vec<Slot>,
    keeps_users: bool,
    /// The first so many of the dictionary are known to all, and told by nobody.
    known: usize,
    new: Vec<(Name, Arc<str>)>,
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
        let slots = vec![Slot::EMPTY; Self::SLOTS_MIN];
        NameCache { names, seen: ByName::default(), slots, keeps_users: false, known: 0, new: Vec::new() }
    }

    /// Of a dictionary whose first so many names all workers are told at the beginning.
    #[must_use]
    pub fn knowing(self, known: usize) -> NameCache {
        NameCache { known, ..self }
    }

    /// The names that are new to this reader since the last call, each once in its life, and their texts. Those of users are among
    /// them, where they are kept.
    pub fn drain_new(&mut self) -> impl Iterator<Item = (Name, Arc<str>)> + '_ {
        self.new.drain(..)
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
        let (text, at) = self.names.enter_at(name, text)?;
        if at >= self.known {
            self.new.push((name, text.clone()));
        }
        self.seen.insert(name.0, text);
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
    fn a_reader_tells_each_name_once_but_those_that_all_are_told() {
        let names = Arc::new(Names::default());
        names.intern("old").expect("the dictionary is empty");
        let reader = || NameCache::new(names.clone()).knowing(1).keeping_users(true);
        let (mut first, mut second) = (reader(), reader());
        let told = |cache: &mut NameCache| cache.drain_new().map(|(_, text)| text.to_string()).collect::<Vec<_>>();
        for cache in [&mut first, &mut second] {
            for text in ["old", "new", "", "new"] {
                cache.intern(text).expect("the texts have different keys");
            }
            cache.user(Id::of("ann"), "ann").expect("nobody has her key");
            assert_eq!(told(cache), ["new", "ann"], "whatever another reader has told");
            cache.intern("new").expect("it is known");
            assert!(told(cache).is_empty());
        }
    }

    #[test]
    fn operators_are_told_names_and_no_users() {
        let user = "user 1042";
        assert_eq!(Named::of(Name::of("tea"), "tea"), Some(Named { name: Name::of("tea"), text: "tea".into() }));
        assert_eq!(Named::of(Name::of_user(Id::of(user)), user), None);
        for of_both in ["ann".to_owned(), "x".repeat(300)] {
            assert_eq!(Name::of_user(Id::of(&of_both)), Name::of(&of_both));
            assert!(Named::of(Name::of(&of_both), &of_both).is_some(), "it may be a product, too");
        }
    }

    #[test]
    #[should_panic(expected = "has no text")]
    fn a_name_without_a_text_is_a_mistake() {
        Names::default().text(Name::of("nobody has entered it"));
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
