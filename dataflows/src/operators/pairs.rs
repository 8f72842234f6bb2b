//! Products touched together: exact counts of pairs, and each product's nearest by count.
//!
//! ```text
//! (a, b, ±1), (a, ±1), (±1) ──by product──▶ [pairs] ──▶ rows: n_ab of the listed pairs · n_a · N
//! ```
//!
//! A pair is counted twice, once for each of its products, so that all of a product's pairs meet on one worker. A
//! product's *list* is the head of its neighbours in the order (n_ab descending, text ascending): the first
//! `list_length`, and beyond them those among the first `candidates` with n_ab ≥ `min_together`. That is what lists
//! by count and lists by score are chosen from when read. Only listed pairs are rows, so most increments of a popular
//! product change nothing further down.
//!
//! Where a count falls, others may belong in its place. Then the list is chosen anew from all neighbours; where that happens time and
//! again, they are held in order (`pairs/ranked.rs`).

mod ranked;

use crate::context::Shared;
use crate::durable::PairCount;
use crate::operators::dictionary::{Dictionary, Texts};
use crate::operators::epochs::{Capabilities, Stash, next_closed, open_epoch};
use crate::operators::local::LocalNames;
use crate::operators::scatter::scatter;
use crate::operators::tables::{CountTable, prefetch};
use crate::rows::{Change, Key, Measures};
use crate::settings::RelatedSettings;
use millrace_schema::Name;
use ranked::Ranked;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Map;

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

/// A change of a count: of the pair (a, b), of `a` alone (b absent), or of all (both absent). It goes to a's worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PairChange {
    a: Name,
    b: Name,
    kind: RelatedKind,
    /// Only with both absent: whether it counts groups that were capped.
    capped: bool,
    difference: i32,
}

/// The worker that keeps a product's pairs, as `Exchange` routes.
fn worker_of(name: Name, peers: u64) -> u64 {
    if peers.is_power_of_two() { name.0 & (peers - 1) } else { name.0 % peers }
}

/// Changes on their way to the operator. A pair is sent once to each of the (one or two) workers of its products, who
/// take what is theirs.
#[derive(Debug)]
pub struct PairChanges {
    peers: u64,
    changes: Vec<PairChange>,
}

impl PairChanges {
    pub fn new(peers: usize) -> PairChanges {
        PairChanges { peers: peers as u64, changes: Vec::new() }
    }

    pub fn pair(&mut self, kind: RelatedKind, a: Name, b: Name, difference: i32) {
        let change = PairChange { a, b, kind, capped: false, difference };
        self.changes.push(change);
        if worker_of(a, self.peers) != worker_of(b, self.peers) {
            self.changes.push(PairChange { a: b, b: a, ..change });
        }
    }

    pub fn item(&mut self, kind: RelatedKind, a: Name, difference: i32) {
        self.changes.push(PairChange { a, b: Name::NONE, kind, capped: false, difference });
    }

    pub fn total(&mut self, kind: RelatedKind, difference: i32) {
        self.item(kind, Name::NONE, difference);
    }

    pub fn capped(&mut self, kind: RelatedKind, difference: i32) {
        self.changes.push(PairChange { a: Name::NONE, b: Name::NONE, kind, capped: true, difference });
    }

    pub fn drain(&mut self) -> impl Iterator<Item = PairChange> + '_ {
        self.changes.drain(..)
    }
}

/// One product's neighbours.
#[derive(Debug, Default)]
struct Item {
    counts: CountTable,
    /// The list, in no order: the neighbours, their counts beside them, and where the last in order stands.
    listed: Vec<u32>,
    listed_counts: Vec<u32>,
    last: usize,
    /// The epoch's change of the product's own count.
    touches: i32,
    /// Changes of counts since the list was chosen anew.
    changes: u32,
    /// All neighbours in order, where that is often.
    ranked: Option<Box<Ranked>>,
}

/// A pair counted once, or taken back once: item, neighbour, and 0 or 1, from high bits to low. A small word, since there
/// are about as many as events, and they are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Step(u64);

impl Step {
    fn new(item: u32, neighbour: u32, taken_back: bool) -> Step {
        Step(u64::from(item) << 32 | u64::from(neighbour) << 1 | u64::from(taken_back))
    }

    fn item(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Of an item's number half the values are products: it fits.
    fn neighbour(self) -> u32 {
        self.0 as u32 >> 1
    }

    fn pair(self) -> u64 {
        self.0 >> 1
    }

    fn difference(self) -> i32 {
        1 - 2 * (self.0 & 1) as i32
    }
}

/// The operator's state on one worker.
#[derive(Debug)]
pub struct Pairs {
    locals: LocalNames,
    limits: RelatedSettings,
    /// By local number and kind.
    items: Vec<Item>,
    /// The epoch's changes, a word for each time that a pair is counted or taken back.
    pending: Vec<Step>,
    /// The last product asked for, and its number: changes come product by product.
    last: (Name, u32),
    /// Items whose own count changes.
    touched: Vec<u32>,
    totals: FxHashMap<Key, Measures>,
}

impl Pairs {
    pub fn new(texts: Texts, limits: RelatedSettings) -> Pairs {
        Pairs {
            locals: LocalNames::new(texts),
            limits,
            items: Vec::new(),
            pending: Vec::new(),
            last: (Name::NONE, 0),
            touched: Vec::new(),
            totals: FxHashMap::default(),
        }
    }

    /// Takes one change of the epoch; of a pair, the sides that `mine` says are this worker's.
    fn push(&mut self, change: &PairChange, mine: impl Fn(Name) -> bool) {
        let PairChange { a, b, kind, difference, .. } = *change;
        if a.is_none() {
            let key = Key::new(TOTAL_TABLE, [kind as u64]);
            self.totals.entry(key).or_default().add(usize::from(change.capped), i64::from(difference));
            return;
        }
        if a != self.last.0 {
            self.last = (a, self.locals.number(a));
        }
        let number = self.item(self.last.1, kind);
        if b.is_none() {
            self.touch(number, difference);
            return;
        }
        let other = self.locals.number(b);
        let other = self.item(other, kind);
        for _ in 0..difference.unsigned_abs() {
            if mine(a) {
                self.pending.push(Step::new(number, other / 2, difference < 0));
            }
            if mine(b) {
                self.pending.push(Step::new(other, number / 2, difference < 0));
            }
        }
    }

    fn item(&mut self, product: u32, kind: RelatedKind) -> u32 {
        let number = product * 2 + kind as u32;
        if self.items.len() <= number as usize {
            self.items.resize_with((number as usize + 1).next_multiple_of(2), Item::default);
        }
        number
    }

    fn touch(&mut self, number: u32, difference: i32) {
        let item = &mut self.items[number as usize];
        if item.touches == 0 {
            self.touched.push(number);
        }
        item.touches += difference;
    }

    /// Takes counts of an earlier run, of pairs whose first product is this worker's. Nothing is emitted: what follows
    /// from them was emitted then.
    fn restore(&mut self, counts: impl Iterator<Item = PairCount>) {
        let mut restored = Vec::new();
        for PairCount { kind, a, b, count } in counts {
            let (a, b) = (self.locals.number(a), self.locals.number(b));
            let (number, _) = (self.item(a, kind), self.item(b, kind));
            let item = &mut self.items[number as usize];
            *item.counts.entry(b) += count;
            restored.push(number);
        }
        restored.sort_unstable();
        restored.dedup();
        for number in restored {
            let item = &mut self.items[number as usize];
            item.relist(&self.limits, &self.locals);
            // Chosen once, that is.
            item.changes = u32::MAX;
        }
    }

    /// Applies the epoch's changes and emits those of the rows.
    fn close(&mut self, epoch: u64, mut emit: impl FnMut(Change)) {
        let Pairs { locals, limits, items, pending, touched, totals, .. } = self;
        pending.sort_unstable();
        let mut position = 0;
        for group in pending.chunk_by(|a, b| a.item() == b.item()) {
            let number = group[0].item();
            let (kind, a) = (u64::from(number % 2), locals.name(number / 2).0);
            let mut row = |neighbour: u32, value: i64| {
                let key = Key::new(PAIR_TABLE, [kind, a, locals.name(neighbour).0]);
                emit((key, epoch, Measures::one(value)));
            };
            let mut relist = false;
            for pair in group.chunk_by(|a, b| a.pair() == b.pair()) {
                let neighbour = pair[0].neighbour();
                let difference: i32 = pair.iter().map(|step| step.difference()).sum();
                // While one change is at work, the memory that the next ones need is on its way.
                if let Some(later) = pending.get(position + ITEMS_AHEAD) {
                    prefetch(items, later.item() as usize);
                }
                if let Some([before, next]) = pending.get(position + COUNTS_AHEAD - 1..=position + COUNTS_AHEAD) {
                    let item = &items[next.item() as usize];
                    item.counts.prefetch(next.neighbour());
                    if before.item() != next.item() {
                        item.prefetch_list();
                    }
                }
                position += pair.len();
                let item = &mut items[number as usize];
                match item.change(neighbour, difference, limits, locals) {
                    Effect::None => {}
                    Effect::Listed(value) => {
                        row(neighbour, value);
                        item.trim(limits, locals, |count, dropped| row(dropped, -i64::from(count)));
                    }
                    Effect::Fell(value) => {
                        row(neighbour, value);
                        relist = true;
                    }
                }
            }
            if relist {
                let item = &mut items[number as usize];
                let before = item.relist(limits, locals);
                before.into_iter().for_each(|(count, neighbour)| row(neighbour, -i64::from(count)));
                let now = item.listed.iter().zip(&item.listed_counts);
                now.for_each(|(&neighbour, &count)| row(neighbour, i64::from(count)));
            }
        }
        pending.clear();
        for number in touched.drain(..) {
            let touches = std::mem::take(&mut items[number as usize].touches);
            if touches != 0 {
                let key = Key::new(ITEM_TABLE, [u64::from(number % 2), locals.name(number / 2).0]);
                emit((key, epoch, Measures::one(i64::from(touches))));
            }
        }
        totals.drain().for_each(|(key, measures)| emit((key, epoch, measures)));
    }
}

/// How many changes ahead the items and their counts are asked for.
const ITEMS_AHEAD: usize = 40;
const COUNTS_AHEAD: usize = 16;

/// What a change of a count does to the list.
enum Effect {
    None,
    /// The row's n_ab changes by this much (from 0 where it was not listed).
    Listed(i64),
    /// It fell out, and somebody else may belong in its place.
    Fell(i64),
}

impl Item {
    /// Asks for the memory of the list.
    fn prefetch_list(&self) {
        prefetch(&self.listed_counts, self.last);
        prefetch(&self.listed, self.last);
        (0..self.listed.len()).step_by(16).take(6).for_each(|at| prefetch(&self.listed, at));
    }

    fn change(&mut self, neighbour: u32, difference: i32, limits: &RelatedSettings, locals: &LocalNames) -> Effect {
        let count = self.counts.entry(neighbour);
        let before = *count;
        *count = count.checked_add_signed(difference).expect("a pair is taken back only where it was counted");
        let now = *count;
        self.changes = self.changes.saturating_add(1);
        if self.ranked.is_some() {
            self.rank(neighbour, before, now, locals);
        }
        let at = if before > 0 && self.is_listed(before, neighbour, locals) { self.position(neighbour) } else { None };
        match (at, now.cmp(&before)) {
            (_, Ordering::Equal) | (None, Ordering::Less) => Effect::None,
            (Some(at), Ordering::Less) => {
                self.remove(at, locals);
                Effect::Fell(-i64::from(before))
            }
            (Some(at), Ordering::Greater) => {
                self.listed_counts[at] = now;
                if at == self.last {
                    self.find_last(locals);
                }
                Effect::Listed(i64::from(now - before))
            }
            (None, Ordering::Greater) => {
                let room = self.listed.len() < limits.list_length
                    || now >= limits.min_together && self.listed.len() < limits.candidates;
                let at_end = !self.is_listed(now, neighbour, locals);
                if at_end && !room {
                    return Effect::None;
                }
                self.listed.push(neighbour);
                self.listed_counts.push(now);
                if at_end {
                    self.last = self.listed.len() - 1;
                }
                Effect::Listed(i64::from(now))
            }
        }
    }

    /// Whether a neighbour with that count stands in the list, or would: it is not behind the last in order.
    fn is_listed(&self, count: u32, neighbour: u32, locals: &LocalNames) -> bool {
        let Some(&last_count) = self.listed_counts.get(self.last) else { return false };
        count > last_count || count == last_count && locals.order(neighbour, self.listed[self.last]).is_le()
    }

    /// Where a neighbour stands. Blocks of fixed length are compared at once.
    fn position(&self, neighbour: u32) -> Option<usize> {
        const BLOCK: usize = 16;
        let (blocks, rest) = self.listed.as_chunks::<BLOCK>();
        for (index, block) in blocks.iter().enumerate() {
            if block.iter().fold(false, |found, &other| found | (other == neighbour)) {
                return block.iter().position(|&other| other == neighbour).map(|at| index * BLOCK + at);
            }
        }
        rest.iter().position(|&other| other == neighbour).map(|at| blocks.len() * BLOCK + at)
    }

    fn remove(&mut self, at: usize, locals: &LocalNames) {
        self.listed.swap_remove(at);
        self.listed_counts.swap_remove(at);
        self.find_last(locals);
    }

    /// Finds the last in order: the smallest count, of those the greatest text.
    fn find_last(&mut self, locals: &LocalNames) {
        let least = self.listed_counts.iter().copied().min().unwrap_or(0);
        let candidates = self.listed_counts.iter().enumerate().filter(|(_, count)| **count == least);
        let last = candidates.map(|(at, _)| at).max_by(|&a, &b| locals.order(self.listed[a], self.listed[b]));
        self.last = last.unwrap_or(0);
    }

    /// Drops the tail that does not belong to the list any more.
    fn trim(&mut self, limits: &RelatedSettings, locals: &LocalNames, mut dropped: impl FnMut(u32, u32)) {
        while let Some(&count) = self.listed_counts.get(self.last) {
            let length = self.listed.len();
            let belongs = length <= limits.list_length || length <= limits.candidates && count >= limits.min_together;
            if belongs {
                break;
            }
            let neighbour = self.listed[self.last];
            self.remove(self.last, locals);
            dropped(count, neighbour);
        }
    }

    #[cold]
    fn rank(&mut self, neighbour: u32, before: u32, now: u32, locals: &LocalNames) {
        if ranked::is_not_worth_it(self.counts.numbers(), self.changes) {
            self.ranked = None;
        }
        self.ranked.iter_mut().for_each(|ranked| ranked.change(neighbour, before, now, locals));
    }

    /// The first so many neighbours, with their counts before them.
    fn best(&self, longest: usize, locals: &LocalNames) -> Vec<(u32, u32)> {
        let mut all: Vec<(u32, u32)> = self.counts.iter().map(|(neighbour, count)| (count, neighbour)).collect();
        let order = |a: &(u32, u32), b: &(u32, u32)| b.0.cmp(&a.0).then_with(|| locals.order(a.1, b.1));
        if all.len() > longest {
            all.select_nth_unstable_by(longest, order);
            all.truncate(longest);
        }
        all.sort_unstable_by(order);
        all
    }

    /// Chooses the list anew from all counts. Returns the one before.
    fn relist(&mut self, limits: &RelatedSettings, locals: &LocalNames) -> Vec<(u32, u32)> {
        let before = self.listed_counts.drain(..).zip(self.listed.drain(..)).collect();
        let longest = limits.candidates.max(limits.list_length);
        if self.ranked.is_none() && ranked::is_worth_it(self.counts.numbers(), self.changes) {
            self.ranked = Some(Box::new(Ranked::of(&self.counts, locals)));
        }
        self.changes = 0;
        let mut all = match &self.ranked {
            Some(ranked) => ranked.first(longest),
            None => self.best(longest, locals),
        };
        let enough = all.iter().take_while(|(count, _)| *count >= limits.min_together).count();
        all.truncate(enough.min(limits.candidates).max(limits.list_length));
        self.listed_counts.extend(all.iter().map(|(count, _)| *count));
        self.listed.extend(all.iter().map(|(_, neighbour)| *neighbour));
        self.last = self.listed.len().saturating_sub(1);
        before
    }
}

/// Builds the operator. `restored` are counts of an earlier run, each pair once.
pub fn pairs<'s>(
    changes: StreamVec<'s, u64, PairChange>,
    restored: Option<StreamVec<'s, u64, PairCount>>,
    dictionary: &Dictionary<'s>,
    shared: &Shared,
) -> StreamVec<'s, u64, Change> {
    let mut builder = OperatorBuilder::new("Pairs".to_owned(), changes.scope());
    let (index, peers) = (changes.scope().index() as u64, changes.scope().peers() as u64);
    let texts = dictionary.texts(&mut builder);
    let mut input = builder.new_input(changes, scatter(|change: &PairChange| change.a.0));
    let both_ways = |pair: PairCount| [pair, PairCount { a: pair.b, b: pair.a, ..pair }];
    let mut restored =
        restored.map(|restored| builder.new_input(restored.flat_map(both_ways), scatter(|pair: &PairCount| pair.a.0)));
    let (output, rows) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Change>>>::from(output);
    let mut state = Pairs::new(texts, shared.context.related.clone());

    builder.build(move |capabilities| {
        let mut capabilities = Capabilities::new(capabilities);
        let (mut stash, mut waiting_restored) = (Stash::default(), Stash::default());
        move |frontiers| {
            stash.fill(&mut input);
            restored.iter_mut().for_each(|input| waiting_restored.fill(input));
            let open = open_epoch(frontiers);
            while let Some(epoch) = next_closed([stash.first(), waiting_restored.first()], open) {
                let held = capabilities.at(epoch);
                state.restore(waiting_restored.take(epoch).into_iter().flatten());
                stash
                    .take(epoch)
                    .iter()
                    .flatten()
                    .for_each(|change| state.push(change, |name| worker_of(name, peers) == index));
                let mut output = output.activate();
                let mut session = output.session(&held[0]);
                state.close(epoch, |change| session.give(change));
            }
            capabilities.release(open);
        }
    });
    rows
}
