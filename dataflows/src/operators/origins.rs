//! Where visits come from: pairs of a referrer and a device, as numbers.

use crate::operators::activity::Activity;
use crate::operators::local::LocalNames;
use millrace_schema::Name;
use rustc_hash::FxHashMap;

/// The (referrer, device) pairs that there are, by number.
#[derive(Debug)]
pub struct Origins {
    /// Of each, the local numbers.
    pairs: Vec<(u32, u32)>,
    numbers: FxHashMap<(Name, Name), u32>,
    /// Those met lately, by a mix of their names: nearly every event has one of few.
    recent: [((Name, Name), u32); Origins::RECENT],
}

impl Default for Origins {
    fn default() -> Origins {
        let none = ((Name::NONE, Name::NONE), Origins::NONE);
        Origins { pairs: vec![(0, 0)], numbers: FxHashMap::from_iter([none]), recent: [none; Origins::RECENT] }
    }
}

impl Origins {
    const RECENT: usize = 128;
    /// That of events that have neither.
    const NONE: u32 = 0;

    pub fn pairs(&self) -> &[(u32, u32)] {
        &self.pairs
    }

    #[inline]
    pub fn number(&mut self, activity: &Activity, locals: &mut LocalNames) -> u32 {
        let Activity { referrer, device, .. } = *activity;
        let recent = (referrer.0 ^ device.0.rotate_left(8)) as usize % Origins::RECENT;
        let (names, number) = self.recent[recent];
        if names == (referrer, device) {
            return number;
        }
        let next = self.pairs.len() as u32;
        let number = *self.numbers.entry((referrer, device)).or_insert(next);
        if number == next {
            self.pairs.push((locals.number(referrer), locals.number(device)));
        }
        self.recent[recent] = ((referrer, device), number);
        number
    }
}
