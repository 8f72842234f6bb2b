//! Products touched together: exact counts of pairs, and each product's nearest by count.
//!
//! ```text
//! (a, b, ±1), (a, ±1), (±1) ──by a──▶ [pairs] ──▶ rows: n_ab of the listed pairs · n_a · N
//! ```
//!
//! Every pair comes twice, once for each of its products, so that all of a product's pairs meet on one worker. A
//! product's *list* is the head of its neighbours in the order (n_ab descending, text ascending): the first
//! `list_length`, and beyond them those among the first `candidates` with n_ab ≥ `min_together`. That is what lists
//! by count and lists by score are chosen from when read. Only listed pairs are rows, so most increments of a popular
//! product change nothing further down.

use crate::context::Shared;
use crate::operators::epochs::{Capabilities, Stash, next_closed, open_epoch};
use crate::operators::local::LocalNames;
use crate::rows::{Change, Key, Measures};
use crate::settings::RelatedSettings;
use millrace_schema::{Name, Names};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::sync::Arc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// What makes two products related.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum RelatedKind {
    ViewedTogether,
    BoughtTogether,
}

impl RelatedKind {
    pub const ALL: [RelatedKind; 2] = [RelatedKind::ViewedTogether, RelatedKind::BoughtTogether];

    pub fn as_str(self) -> &'static str {
        match self {
            RelatedKind::ViewedTogether => "viewed_together",
            RelatedKind::BoughtTogether => "bought_together",
        }
    }
}

/// The tables of the view's rows.
pub const PAIR_TABLE: u8 = 0;
pub const ITEM_TABLE: u8 = 1;
pub const TOTAL_TABLE: u8 = 2;

/// A change of a count: of the pair (a, b) as `a` sees it, of `a` alone (b absent), or of all (both absent).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PairChange {
    pub a: Name,
    pub b: Name,
    pub kind: RelatedKind,
    /// Only with both absent: whether it counts groups that were capped.
    pub capped: bool,
    pub difference: i32,
}

impl PairChange {
    pub fn pair(kind: RelatedKind, a: Name, b: Name, difference: i32) -> [PairChange; 2] {
        let change = PairChange { a, b, kind, capped: false, difference };
        [change, PairChange { a: b, b: a, ..change }]
    }

    pub fn item(kind: RelatedKind, a: Name, difference: i32) -> PairChange {
        PairChange { a, b: Name::NONE, kind, capped: false, difference }
    }

    pub fn total(kind: RelatedKind, difference: i32) -> PairChange {
        PairChange::item(kind, Name::NONE, difference)
    }

    fn capped(kind: RelatedKind, difference: i32) -> PairChange {
        PairChange { capped: true, ..PairChange::total(kind, difference) }
    }
}

/// The products that one session or order has touched, under the cap.
#[derive(Debug, Default)]
pub struct TouchedSet {
    /// When each was last touched.
    last: FxHashMap<u32, i64>,
    /// What has been emitted, ascending.
    emitted: Vec<u32>,
    capped: bool,
    dirty: bool,
}

impl TouchedSet {
    /// From touches that have been emitted already, fewer distinct ones than the cap.
    pub fn of(touches: impl Iterator<Item = (u32, i64)>, _locals: &LocalNames, cap: usize) -> TouchedSet {
        let mut set = TouchedSet::default();
        touches.for_each(|(product, time)| set.touch(product, time));
        set.emitted = set.last.keys().copied().collect();
        set.emitted.sort_unstable();
        set.dirty = false;
        debug_assert!(set.emitted.len() <= cap.max(1), "a small group is below the cap");
        set
    }

    pub fn touch(&mut self, product: u32, time: i64) {
        let last = self.last.entry(product).or_insert(time);
        *last = (*last).max(time);
        self.dirty = true;
    }

    /// Emits what the set is now, less what was emitted before.
    pub fn settle(&mut self, kind: RelatedKind, locals: &LocalNames, shared: &Shared, out: &mut Vec<PairChange>) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        let cap = shared.context.related.max_products_per_session;
        let mut touched: Vec<(u32, i64)> = self.last.iter().map(|(&product, &time)| (product, time)).collect();
        let capped = touched.len() > cap;
        if capped {
            touched.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| locals.order(a.0, b.0)));
            touched.truncate(cap);
        }
        let mut now: Vec<u32> = touched.into_iter().map(|(product, _)| product).collect();
        now.sort_unstable();
        if capped != std::mem::replace(&mut self.capped, capped) {
            out.push(PairChange::capped(kind, if capped { 1 } else { -1 }));
        }
        let before = std::mem::replace(&mut self.emitted, now);
        emit_difference(kind, &before, &self.emitted, locals, out);
    }
}

/// Emits the pairs, items and the total of `now` less those of `before`. Both ascending and distinct.
pub fn emit_difference(kind: RelatedKind, before: &[u32], now: &[u32], locals: &LocalNames, out: &mut Vec<PairChange>) {
    let only = |of: &[u32], other: &[u32]| -> Vec<u32> {
        of.iter().copied().filter(|product| other.binary_search(product).is_err()).collect()
    };
    let (removed, added) = (only(before, now), only(now, before));
    let kept: Vec<Name> = before.iter().filter(|p| now.binary_search(p).is_ok()).map(|&p| locals.name(p)).collect();
    for (changed, difference) in [(removed, -1), (added, 1)] {
        let changed: Vec<Name> = changed.into_iter().map(|product| locals.name(product)).collect();
        for (index, &a) in changed.iter().enumerate() {
            out.push(PairChange::item(kind, a, difference));
            for &b in kept.iter().chain(&changed[..index]) {
                out.extend(PairChange::pair(kind, a, b, difference));
            }
        }
    }
    match (before.is_empty(), now.is_empty()) {
        (true, false) => out.push(PairChange::total(kind, 1)),
        (false, true) => out.push(PairChange::total(kind, -1)),
        _ => {}
    }
}

/// One product's neighbours.
#[derive(Debug, Default)]
struct Item {
    counts: FxHashMap<u32, u32>,
    /// The list: (count, neighbour), in order.
    listed: Vec<(u32, u32)>,
}

/// The operator's state on one worker.
#[derive(Debug)]
pub struct Pairs {
    locals: LocalNames,
    limits: RelatedSettings,
    /// By local number and kind.
    items: Vec<Item>,
    pending: Vec<(u64, i32)>,
    single: FxHashMap<Key, Measures>,
}

impl Pairs {
    pub fn new(names: Arc<Names>, limits: RelatedSettings) -> Pairs {
        let locals = LocalNames::new(names);
        Pairs { locals, limits, items: Vec::new(), pending: Vec::new(), single: FxHashMap::default() }
    }

    /// Takes one change of the epoch.
    fn push(&mut self, change: &PairChange) {
        let kind = change.kind as u64;
        if !change.b.is_none() {
            let item = self.locals.number(change.a) * 2 + change.kind as u32;
            let neighbour = self.locals.number(change.b);
            self.pending.push((u64::from(item) << 32 | u64::from(neighbour), change.difference));
        } else {
            let key = match change.a.is_none() {
                true => Key::new(TOTAL_TABLE, [kind]),
                false => Key::new(ITEM_TABLE, [kind, change.a.0]),
            };
            self.single.entry(key).or_default().add(usize::from(change.capped), i64::from(change.difference));
        }
    }

    /// Applies the epoch's changes and emits those of the rows.
    fn close(&mut self, epoch: u64, mut emit: impl FnMut(Change)) {
        let mut pending = std::mem::take(&mut self.pending);
        pending.sort_unstable_by_key(|&(pair, _)| pair);
        self.items.resize_with(self.locals.len() * 2, Item::default);
        let by_item = pending.chunk_by(|a, b| a.0 >> 32 == b.0 >> 32);
        for group in by_item {
            let number = (group[0].0 >> 32) as u32;
            let kind = u64::from(number % 2);
            let a = self.locals.name(number / 2).0;
            let mut relist = false;
            for pair in group.chunk_by(|a, b| a.0 == b.0) {
                let neighbour = pair[0].0 as u32;
                let difference: i32 = pair.iter().map(|(_, difference)| difference).sum();
                let b = self.locals.name(neighbour).0;
                let item = &mut self.items[number as usize];
                let mut row = |b: u64, value: i64| {
                    emit((Key::new(PAIR_TABLE, [kind, a, b]), epoch, Measures::one(value)));
                };
                match item.change(neighbour, difference, &self.limits, &self.locals) {
                    Effect::None => {}
                    Effect::Listed(value) => row(b, value),
                    Effect::Fell(value) => {
                        row(b, value);
                        relist = true;
                    }
                }
                item.trim(&self.limits, |count, dropped| row(self.locals.name(dropped).0, -i64::from(count)));
            }
            if relist {
                let before = self.items[number as usize].relist(&self.limits, &self.locals);
                let now = &self.items[number as usize].listed;
                for (list, sign) in [(&before, -1), (now, 1)] {
                    for &(count, neighbour) in list {
                        let key = Key::new(PAIR_TABLE, [kind, a, self.locals.name(neighbour).0]);
                        emit((key, epoch, Measures::one(sign * i64::from(count))));
                    }
                }
            }
        }
        pending.clear();
        self.pending = pending;
        for (key, measures) in self.single.drain() {
            emit((key, epoch, measures));
        }
    }
}

/// What a change of a count does to the list.
enum Effect {
    None,
    /// The row's n_ab changes by this much (from 0 where it was not listed).
    Listed(i64),
    /// It fell out, and somebody else may belong in its place.
    Fell(i64),
}

impl Item {
    fn change(&mut self, neighbour: u32, difference: i32, limits: &RelatedSettings, locals: &LocalNames) -> Effect {
        let count = self.counts.entry(neighbour).or_default();
        let before = *count;
        *count = count.checked_add_signed(difference).expect("a pair is taken back only where it was counted");
        let now = *count;
        if now == 0 {
            self.counts.remove(&neighbour);
        }
        let listed_at = (before > 0).then(|| self.position(before, neighbour, locals)).flatten();
        match now.cmp(&before) {
            Ordering::Equal => Effect::None,
            Ordering::Less => match listed_at {
                None => Effect::None,
                Some(position) => {
                    self.listed.remove(position);
                    Effect::Fell(-i64::from(before))
                }
            },
            Ordering::Greater => {
                let to = self.place(now, neighbour, locals);
                if let Some(position) = listed_at {
                    self.listed[to..=position].rotate_right(1);
                    self.listed[to] = (now, neighbour);
                    return Effect::Listed(i64::from(now - before));
                }
                let room = self.listed.len() < limits.list_length
                    || now >= limits.min_together && self.listed.len() < limits.candidates;
                if to == self.listed.len() && !room {
                    return Effect::None;
                }
                self.listed.insert(to, (now, neighbour));
                Effect::Listed(i64::from(now))
            }
        }
    }

    /// Drops the tail that does not belong to the list any more.
    fn trim(&mut self, limits: &RelatedSettings, mut dropped: impl FnMut(u32, u32)) {
        while let Some(&(count, neighbour)) = self.listed.last() {
            let length = self.listed.len();
            let belongs = length <= limits.list_length || length <= limits.candidates && count >= limits.min_together;
            if belongs {
                break;
            }
            self.listed.pop();
            dropped(count, neighbour);
        }
    }

    /// Chooses the list anew from all counts. Returns the one before.
    fn relist(&mut self, limits: &RelatedSettings, locals: &LocalNames) -> Vec<(u32, u32)> {
        let mut all: Vec<(u32, u32)> = self.counts.iter().map(|(&neighbour, &count)| (count, neighbour)).collect();
        let order = |a: &(u32, u32), b: &(u32, u32)| b.0.cmp(&a.0).then_with(|| locals.order(a.1, b.1));
        let longest = limits.candidates.max(limits.list_length);
        if all.len() > longest {
            all.select_nth_unstable_by(longest, order);
            all.truncate(longest);
        }
        all.sort_unstable_by(order);
        let before = std::mem::replace(&mut self.listed, all);
        self.trim(limits, |_, _| {});
        before
    }

    /// Where a neighbour with that count stands in the list.
    fn position(&self, count: u32, neighbour: u32, locals: &LocalNames) -> Option<usize> {
        let at = self.place(count, neighbour, locals);
        (self.listed.get(at) == Some(&(count, neighbour))).then_some(at)
    }

    /// Where it belongs: behind all that come before it in the order.
    fn place(&self, count: u32, neighbour: u32, locals: &LocalNames) -> usize {
        self.listed.partition_point(|&(other_count, other)| {
            other_count > count || other_count == count && locals.order(other, neighbour).is_lt()
        })
    }
}

/// Builds the operator.
pub fn pairs<'s>(changes: StreamVec<'s, u64, PairChange>, shared: &Shared) -> StreamVec<'s, u64, Change> {
    let mut builder = OperatorBuilder::new("Pairs".to_owned(), changes.scope());
    let mut input = builder.new_input(changes, Exchange::new(|change: &PairChange| change.a.0));
    let (output, rows) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Change>>>::from(output);
    let mut state = Pairs::new(shared.names.clone(), shared.context.related.clone());

    builder.build(move |capabilities| {
        let mut capabilities = Capabilities::new(capabilities);
        let mut stash = Stash::default();
        move |frontiers| {
            stash.fill(&mut input);
            let open = open_epoch(frontiers);
            while let Some(epoch) = next_closed([stash.first()], open) {
                let held = capabilities.at(epoch);
                stash.take(epoch).iter().flatten().for_each(|change| state.push(change));
                let mut output = output.activate();
                let mut session = output.session(&held[0]);
                state.close(epoch, |change| session.give(change));
            }
            capabilities.release(open);
        }
    });
    rows
}
