//! Worker-local dense numbers for names: operators index arrays by them and compare texts without a lock.

use crate::operators::dictionary::Texts;
use millrace_schema::Name;
use std::cmp::Ordering;
use std::sync::Arc;

/// Dense numbers of the names that one operator has seen. Number 0 is [`Name::NONE`].
#[derive(Debug)]
pub struct LocalNames {
    dictionary: Texts,
    /// Open addressing by name, which is a hash already: (name, number), free where the name is none. A power of two
    /// of slots, at most half full.
    slots: Box<[(u64, u32)]>,
    /// Names met lately, by their low bits. Few names make most events; these slots stay in the cache.
    recent: Box<[(u64, u32); LocalNames::RECENT]>,
    names: Vec<Name>,
    texts: Vec<Text>,
}

#[derive(Debug)]
struct Text {
    /// The first eight bytes, big-endian: most comparisons end here.
    prefix: u64,
    text: Arc<str>,
}

impl LocalNames {
    const FIRST_SLOTS: usize = 64;
    const RECENT: usize = 4096;

    pub fn new(dictionary: impl Into<Texts>) -> LocalNames {
        let slots = vec![(Name::NONE.0, 0); Self::FIRST_SLOTS].into_boxed_slice();
        let recent = Box::new([(Name::NONE.0, 0); Self::RECENT]);
        let mut locals =
            LocalNames { dictionary: dictionary.into(), slots, recent, names: Vec::new(), texts: Vec::new() };
        locals.add(Name::NONE);
        locals
    }

    #[inline]
    pub fn number(&mut self, name: Name) -> u32 {
        // The slots hold no name at first, whose number is 0 as it should be.
        let recent = (name.0 >> 32) as usize % Self::RECENT;
        let (known, number) = self.recent[recent];
        if known == name.0 {
            return number;
        }
        let number = self.number_of(name);
        self.recent[recent] = (name.0, number);
        number
    }

    fn number_of(&mut self, name: Name) -> u32 {
        if name.is_none() {
            return 0;
        }
        let slot = self.find(name);
        if self.slots[slot].0 == name.0 {
            return self.slots[slot].1;
        }
        self.enter(name, slot)
    }

    /// The slot where a name is, or belongs.
    #[inline]
    fn find(&self, name: Name) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = name.0 as usize & mask;
        while self.slots[slot].0 != name.0 && self.slots[slot].0 != Name::NONE.0 {
            slot = (slot + 1) & mask;
        }
        slot
    }

    #[cold]
    fn enter(&mut self, name: Name, slot: usize) -> u32 {
        let number = self.add(name);
        self.slots[slot] = (name.0, number);
        if self.names.len() * 2 > self.slots.len() {
            let size = self.slots.len() * 2;
            let old = std::mem::replace(&mut self.slots, vec![(Name::NONE.0, 0); size].into_boxed_slice());
            for entry in old.into_iter().filter(|entry| entry.0 != Name::NONE.0) {
                let slot = self.find(Name(entry.0));
                self.slots[slot] = entry;
            }
        }
        number
    }

    fn add(&mut self, name: Name) -> u32 {
        let text = self.dictionary.of(name);
        let mut prefix = [0; 8];
        let head = &text.as_bytes()[..text.len().min(8)];
        prefix[..head.len()].copy_from_slice(head);
        let number = u32::try_from(self.names.len()).expect("there are fewer than 2^32 names");
        self.names.push(name);
        self.texts.push(Text { prefix: u64::from_be_bytes(prefix), text });
        number
    }

    #[inline]
    pub fn name(&self, number: u32) -> Name {
        self.names[number as usize]
    }

    pub fn text(&self, number: u32) -> &Arc<str> {
        &self.texts[number as usize].text
    }

    /// By the texts' bytes.
    pub fn order(&self, a: u32, b: u32) -> Ordering {
        let (a, b) = (&self.texts[a as usize], &self.texts[b as usize]);
        a.prefix.cmp(&b.prefix).then_with(|| a.text.as_bytes().cmp(b.text.as_bytes()))
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}
