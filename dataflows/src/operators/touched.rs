//! The products that a session or an order has touched, and what a change of them does to the counts of pairs.

use crate::operators::local::LocalNames;
use crate::operators::pairs::{PairChanges, RelatedKind};
use millrace_schema::Name;
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The products that one session or order has touched, under the cap: as many are held as count, however many there were.
/// A product that is not among them can only come back by a touch that is more recent than the least recent of theirs.
#[derive(Debug, Default)]
pub struct TouchedSet {
    /// When each was last touched.
    last: FxHashMap<u32, i64>,
    /// The same, the most recent first.
    order: BTreeSet<Touched>,
    /// What has been emitted, ascending.
    emitted: Vec<u32>,
    /// Whether there were more than are held, and whether that has been emitted.
    capped: bool,
    emitted_capped: bool,
    dirty: bool,
}

/// When a product was last touched, its text and number: in the order in which a cap takes them.
type Touched = (Reverse<i64>, Arc<str>, u32);

impl TouchedSet {
    /// From touches that have been emitted already, of no more products than the cap.
    pub fn of(touches: impl Iterator<Item = (u32, i64)>, cap: usize, locals: &LocalNames) -> TouchedSet {
        let mut set = TouchedSet::default();
        touches.for_each(|(product, time)| set.touch(product, time, cap, locals));
        debug_assert!(!set.capped, "a small group is below the cap");
        set.emitted = set.members();
        set.dirty = false;
        set
    }

    pub fn touch(&mut self, product: u32, time: i64, cap: usize, locals: &LocalNames) {
        let touched = |time: i64| (Reverse(time), locals.text(product).clone(), product);
        if let Some(last) = self.last.get_mut(&product) {
            if *last < time {
                self.order.remove(&touched(*last));
                self.order.insert(touched(time));
                *last = time;
            }
            return;
        }
        let new = touched(time);
        if self.last.len() >= cap {
            self.dirty |= !self.capped;
            self.capped = true;
            if self.order.last().is_none_or(|least| *least < new) {
                return;
            }
            if let Some((.., least)) = self.order.pop_last() {
                self.last.remove(&least);
            }
        }
        self.order.insert(new);
        self.last.insert(product, time);
        self.dirty = true;
    }

    /// Takes the touches of another set in.
    pub fn join(&mut self, other: &TouchedSet, cap: usize, locals: &LocalNames) {
        other.last.iter().for_each(|(&product, &time)| self.touch(product, time, cap, locals));
        self.dirty |= other.capped && !self.capped;
        self.capped |= other.capped;
    }

    /// Those that count, ascending.
    fn members(&self) -> Vec<u32> {
        let mut members: Vec<u32> = self.last.keys().copied().collect();
        members.sort_unstable();
        members
    }

    /// Emits what the set is now, less what was emitted before.
    pub fn settle(&mut self, kind: RelatedKind, locals: &LocalNames, out: &mut PairChanges) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        if self.capped != std::mem::replace(&mut self.emitted_capped, self.capped) {
            out.capped(kind, if self.capped { 1 } else { -1 });
        }
        let now = self.members();
        let before = std::mem::replace(&mut self.emitted, now);
        emit_difference(kind, &before, &self.emitted, locals, out);
    }

    /// Takes back all that was emitted.
    pub fn take_back(&self, kind: RelatedKind, locals: &LocalNames, out: &mut PairChanges) {
        if self.emitted_capped {
            out.capped(kind, -1);
        }
        emit_difference(kind, &self.emitted, &[], locals, out);
    }
}

/// Of products and when each was last touched, the most recent ones, ties by smaller text; ascending.
pub fn most_recent(mut touched: Vec<(u32, i64)>, cap: usize, locals: &LocalNames) -> Vec<u32> {
    if touched.len() > cap {
        touched.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| locals.order(a.0, b.0)));
        touched.truncate(cap);
    }
    let mut products: Vec<u32> = touched.into_iter().map(|(product, _)| product).collect();
    products.sort_unstable();
    products
}

/// Emits the pairs, items and the total of `now` less those of `before`. Both ascending and distinct.
pub fn emit_difference(kind: RelatedKind, before: &[u32], now: &[u32], locals: &LocalNames, out: &mut PairChanges) {
    let only = |of: &[u32], other: &[u32]| -> Vec<u32> {
        of.iter().copied().filter(|product| other.binary_search(product).is_err()).collect()
    };
    let (removed, added) = (only(before, now), only(now, before));
    let kept: Vec<Name> = before.iter().filter(|p| now.binary_search(p).is_ok()).map(|&p| locals.name(p)).collect();
    for (changed, difference) in [(removed, -1), (added, 1)] {
        let changed: Vec<Name> = changed.into_iter().map(|product| locals.name(product)).collect();
        for (index, &a) in changed.iter().enumerate() {
            out.item(kind, a, difference);
            for &b in kept.iter().chain(&changed[..index]) {
                out.pair(kind, a, b, difference);
            }
        }
    }
    match (before.is_empty(), now.is_empty()) {
        (true, false) => out.total(kind, 1),
        (false, true) => out.total(kind, -1),
        _ => {}
    }
}
