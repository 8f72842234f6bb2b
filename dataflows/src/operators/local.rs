//! Worker-local dense numbers for names: operators index arrays by them and compare texts without a lock.

use millrace_schema::{Name, Names};
use rustc_hash::FxHashMap;
use std::cmp::Ordering;
use std::sync::Arc;

/// Dense numbers of the names that one operator has seen. Number 0 is [`Name::NONE`].
#[derive(Debug)]
pub struct LocalNames {
    names: Arc<Names>,
    numbers: FxHashMap<u64, u32>,
    known: Vec<Local>,
}

#[derive(Debug)]
struct Local {
    name: Name,
    /// The first eight bytes of the text, big-endian: most comparisons end here.
    prefix: u64,
    text: Arc<str>,
}

impl LocalNames {
    pub fn new(names: Arc<Names>) -> LocalNames {
        let mut locals = LocalNames { names, numbers: FxHashMap::default(), known: Vec::new() };
        locals.number(Name::NONE);
        locals
    }

    pub fn number(&mut self, name: Name) -> u32 {
        if let Some(&number) = self.numbers.get(&name.0) {
            return number;
        }
        let text = self.names.text(name);
        let mut prefix = [0; 8];
        let head = &text.as_bytes()[..text.len().min(8)];
        prefix[..head.len()].copy_from_slice(head);
        let number = u32::try_from(self.known.len()).expect("there are fewer than 2^32 names");
        self.known.push(Local { name, prefix: u64::from_be_bytes(prefix), text });
        self.numbers.insert(name.0, number);
        number
    }

    pub fn name(&self, number: u32) -> Name {
        self.known[number as usize].name
    }

    /// By the texts' bytes.
    pub fn order(&self, a: u32, b: u32) -> Ordering {
        let (a, b) = (&self.known[a as usize], &self.known[b as usize]);
        a.prefix.cmp(&b.prefix).then_with(|| a.text.as_bytes().cmp(b.text.as_bytes()))
    }

    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}
