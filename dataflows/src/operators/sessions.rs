//! Sessions: one state a session, and what each touched session changes at the close of an epoch.
//!
//! ```text
//! activities ──by session──▶ [sessions] ──▶ what visits come to · presence · products touched together · warnings
//! category histories (on every worker) ─┤
//! texts of names (on every worker) ─────┘
//! ```
//!
//! A session's state is the list of its events in order of time, 20 bytes each. Its part in the funnel is a function
//! of that list (a *contribution*); a touched session emits its contribution now less the one before. Traffic and the
//! products touched grow event by event. A long session's events are in a tree, and its part in the funnel grows with them
//! (`sessions/long.rs`).
//!
//! Under a horizon a session is counted by *visits* (`sessions/visits.rs`): events further apart than a pause are of two. A visit
//! that no event can join any more is forgotten. What it contributed stays in the rows; the contribution itself is kept by its
//! first product, 24 bytes for all sessions that contribute the same, because the product's category may change and restates it.

mod active;
mod event;
mod forget;
mod long;
mod recall;
pub mod spans;
#[cfg(test)]
mod tests;
mod visits;

use crate::context::{Buckets, Keeps, Shared};
use crate::durable::{OpenWarning, Settled, Unknown};
use crate::facts::{Account, FactChange, Presence, Tally, Uses};
use crate::operators::activity::Activity;
use crate::operators::categories::HistoryChange;
use crate::operators::dictionary::{Dictionary, Texts};
use crate::operators::epochs::{Capabilities, Stash, next_closed, open_epoch};
use crate::operators::lists::{List, Lists};
use crate::operators::local::LocalNames;
use crate::operators::origins::Origins;
use crate::operators::pairs::{PairChange, PairChanges, RelatedKind};
use crate::operators::retirement::Retirement;
use crate::operators::scatter::scatter;
use crate::operators::tables::{IdHead, IdTable, prefetch};
use crate::operators::touched::TouchedSet;
use crate::rows::{Change, Netting};
use crate::views::funnel::{Contribution, FunnelKeys};
use active::{beyond_gap, presence};
pub use event::SessionEvent;
use long::{LONG, Long};
use millrace_schema::{Name, Warning};
use recall::Recalled;
use rustc_hash::FxHashMap;
use spans::Span;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// In a word of the order of an epoch's events: restored, and of a session that was counted as one.
const WHOLE: u64 = 1 << 31;

/// Sessions of up to this many events look for a product by scanning the list.
const SMALL_SESSION: usize = 32;

/// The distinct products that a small session has touched.
#[derive(Default)]
struct Products {
    list: [u32; SMALL_SESSION],
    length: usize,
}

impl Products {
    fn add(&mut self, product: u32) {
        if !self.list[..self.length].contains(&product) {
            self.list[self.length] = product;
            self.length += 1;
        }
    }
}

/// One cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Session {
    /// In order of (time, tie).
    events: List,
    contribution: Option<Contribution>,
    /// What is kept apart once the session is not small.
    beside: Option<Box<Beside>>,
    /// Its number is not used again yet, and nothing else is kept of it.
    forgotten: bool,
    /// Another visit of the same session: its number and 1, 0 for none. All hang from the one whose number goes with the id.
    next: u32,
    /// The one that it hangs from: its number and 1, 0 for none.
    head: u32,
    /// It was counted as one, whatever pauses there were.
    whole: bool,
}

const _: () = assert!(size_of::<Session>() == 64);

impl Session {
    fn long(&self) -> Option<&Long> {
        self.beside.as_ref()?.long.as_ref()
    }
}

#[derive(Debug, Default)]
struct Beside {
    /// Products touched.
    touched: Option<TouchedSet>,
    /// The events, in place of the list.
    long: Option<Long>,
}

/// The operator's state on one worker.
struct Sessions {
    shared: Shared,
    uses: Uses,
    pause: Option<i64>,
    locals: LocalNames,
    /// The as-is category of each local product number; `(unknown)` without a record.
    categories: Vec<Name>,
    /// Whether a product record names it, by local number.
    known: Vec<bool>,
    origins: Origins,
    numbers: IdTable,
    sessions: Vec<Session>,
    retirement: Retirement,
    events: Lists<SessionEvent>,
    /// The events of the epoch at work, and their order by session: session and index, from high bits to low.
    arrived: Vec<SessionEvent>,
    order: Vec<u64>,
    /// Of the epoch at work, what is to be held again.
    recalled: Vec<Recalled>,
    /// Sessions by the local number of the first product viewed. May hold sessions that have another one by now.
    by_first_product: Vec<Vec<u32>>,
    /// Events that name an unknown product, by product: (booked hour, partition) → count.
    unknown: FxHashMap<u32, FxHashMap<(i64, u16), i64>>,
    keys: FunnelKeys,
    buckets: Buckets,
    out: Outputs,
    peers: usize,
}

struct Outputs {
    visits: Netting,
    presence: Vec<(Presence, i64)>,
    pairs: PairChanges,
    accounts: Tally<Account>,
}

impl Outputs {
    fn new(peers: usize) -> Outputs {
        Outputs {
            visits: Netting::default(),
            presence: Vec::new(),
            pairs: PairChanges::new(peers),
            accounts: Tally::default(),
        }
    }
}

/// Ids are hashes already.
#[derive(Clone, Copy, Default)]
pub struct IdHasher(u64);

impl std::hash::Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = self.0.rotate_left(8) ^ u64::from(byte));
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = self.0.rotate_left(32) ^ word;
    }
}

impl Sessions {
    fn new(shared: Shared, texts: Texts, uses: Uses, peers: usize) -> Sessions {
        Sessions {
            keys: FunnelKeys::new(&shared),
            buckets: Buckets::new(shared.context.calendar.clone()),
            locals: LocalNames::new(texts),
            categories: vec![shared.none],
            known: vec![true],
            origins: Origins::default(),
            numbers: IdTable::default(),
            sessions: Vec::new(),
            retirement: Retirement::new(shared.context.horizons.sessions),
            events: Lists::default(),
            arrived: Vec::new(),
            order: Vec::new(),
            recalled: Vec::new(),
            by_first_product: vec![Vec::new()],
            unknown: FxHashMap::default(),
            out: Outputs::new(peers),
            peers,
            pause: shared.context.horizons.pause(),
            shared,
            uses,
        }
    }

    fn product(&mut self, name: Name) -> u32 {
        let product = self.locals.number(name);
        if self.categories.len() <= product as usize {
            self.categories.resize(product as usize + 1, self.shared.unknown);
            self.known.resize(product as usize + 1, false);
            self.by_first_product.resize_with(product as usize + 1, Vec::new);
        }
        product
    }

    fn recategorise(&mut self, changes: Vec<HistoryChange>) {
        for HistoryChange { product, as_is, .. } in changes {
            let product = self.product(product);
            let category = self.shared.shown(as_is);
            let before = std::mem::replace(&mut self.categories[product as usize], category);
            self.set_known(product);
            if before != category && self.uses.visits {
                self.restate(product, before, category);
            }
        }
    }

    fn restate(&mut self, product: u32, before: Name, after: Name) {
        let mut affected = std::mem::take(&mut self.by_first_product[product as usize]);
        affected.sort_unstable();
        affected.dedup();
        affected.retain(|&session| {
            let contribution = self.sessions[session as usize].contribution.as_ref();
            contribution.is_some_and(|contribution| contribution.first_product == product)
        });
        for &session in &affected {
            if let Some(contribution) = &self.sessions[session as usize].contribution {
                self.keys.emit(contribution, before, &self.locals, -1, &mut self.out.visits);
                self.keys.emit(contribution, after, &self.locals, 1, &mut self.out.visits);
            }
        }
        self.by_first_product[product as usize] = affected;
        for (contribution, count) in self.retirement.settled.get(product as usize).into_iter().flatten() {
            self.keys.emit(contribution, before, &self.locals, -count, &mut self.out.visits);
            self.keys.emit(contribution, after, &self.locals, *count, &mut self.out.visits);
        }
    }

    fn set_known(&mut self, product: u32) {
        if !std::mem::replace(&mut self.known[product as usize], true) {
            for ((hour, partition), count) in self.unknown.remove(&product).into_iter().flatten() {
                self.out.accounts.add(
                    Account::warned(hour, self.shared.partitions.source(partition), Warning::UnknownProduct),
                    -count,
                );
            }
        }
    }

    /// Finds the sessions of an epoch's events: the slots that hold their numbers are asked for a few at a time.
    fn arrive(&mut self, batches: &[Vec<Activity>]) {
        const AT_ONCE: usize = 64;
        for activities in batches.iter().flat_map(|batch| batch.chunks(AT_ONCE)) {
            for activity in activities {
                self.numbers.prefetch(IdHead::of(activity.owner));
            }
            for activity in activities {
                if activity.is_recalled() {
                    self.note(activity);
                    continue;
                }
                let product = self.product(activity.product);
                let origin = self.origins.number(activity, &mut self.locals);
                if self.uses.accounts && product != 0 && !self.known[product as usize] {
                    self.warn_unknown(activity, product);
                }
                let session = self.session(activity);
                let whole = if activity.is_whole() { WHOLE } else { 0 };
                self.order.push(u64::from(session) << 32 | whole | self.arrived.len() as u64);
                self.arrived.push(SessionEvent::new(activity, product, origin));
            }
        }
    }

    /// The session of an activity, which may be new.
    #[inline]
    fn session(&mut self, activity: &Activity) -> u32 {
        let id = IdHead::of(activity.owner);
        let next = self.retirement.free.last().copied().unwrap_or(self.sessions.len() as u32);
        let session = self.numbers.enter(id, next, 0).unwrap_or(next);
        if session == next {
            self.begin(session, activity.time);
        } else if self.sessions[session as usize].forgotten {
            // It goes on after it was forgotten, and begins anew.
            self.retirement.in_table -= usize::from(self.all_forgotten(session));
            let next = self.sessions[session as usize].next;
            self.sessions[session as usize] = Session { next, ..Session::default() };
            self.retirement.watch(session, activity.time);
        }
        session
    }

    /// Begins a session under the number that is next.
    fn begin(&mut self, session: u32, time: i64) {
        match self.retirement.free.pop() {
            Some(_) => self.sessions[session as usize] = Session::default(),
            None => self.sessions.push(Session::default()),
        }
        self.retirement.watch(session, time);
        self.retirement.begun += 1;
    }

    fn restore(&mut self, settled: &Settled, sessions: u32) {
        // The product has a place in every list by product.
        self.product(settled.first_product);
        let contribution = Contribution::restored(settled, &mut self.locals);
        self.retirement.settle(contribution, i64::from(sessions));
    }

    fn restore_warning(&mut self, warning: &OpenWarning, count: i64) {
        if let Unknown::Product(name) = warning.about {
            let product = self.product(name);
            if !self.known[product as usize] {
                let open = self.unknown.entry(product).or_default();
                *open.entry((warning.hour, warning.partition)).or_default() += count;
            }
        }
    }

    /// How many sessions are open.
    fn open(&self) -> usize {
        self.numbers.len() - self.retirement.in_table
    }

    /// The visit that an event is of.
    #[inline]
    fn visit(&mut self, session: u32, time: i64, whole: bool) -> u32 {
        let Some(pause) = self.pause else { return session };
        let state = &mut self.sessions[session as usize];
        if state.next == 0 {
            let events = self.events.get(state.events);
            let ends = match (events.first(), events.last()) {
                (Some(first), Some(last)) => Some((first.time, last.time)),
                _ => state.long().and_then(Long::ends),
            };
            let is_of_it = ends.is_none_or(|(first, last)| {
                Span { first, last, whole: state.whole }.joins(&Span::at(time, whole), pause)
            });
            if is_of_it {
                state.whole |= whole;
                return session;
            }
        }
        self.visit_among(session, Span::at(time, whole), pause)
    }

    /// Handles an epoch's events session by session. While one is at work, the memory that later ones need is on its
    /// way: first the session, then its list.
    fn epoch(&mut self, batches: &[Vec<Activity>]) {
        const STAGE: usize = 12;
        self.arrive(batches);
        let (arrived, mut order) = (std::mem::take(&mut self.arrived), std::mem::take(&mut self.order));
        order.sort_unstable();
        let session_of = |word: u64| (word >> 32) as u32;
        let mut position = 0;
        for group in order.chunk_by(|&a, &b| session_of(a) == session_of(b)) {
            for ahead in position..position + group.len() {
                if let Some(&later) = order.get(ahead + 2 * STAGE) {
                    prefetch(&self.sessions, session_of(later) as usize);
                }
                if let Some(&later) = order.get(ahead + STAGE) {
                    let events = self.events.get(self.sessions[session_of(later) as usize].events);
                    prefetch(events, 0);
                    prefetch(events, events.len().saturating_sub(1));
                }
            }
            position += group.len();
            let session = session_of(group[0]);
            let (mut visit, mut products) = (session, None);
            for &word in group {
                let event = arrived[(word as u32 & !(WHOLE as u32)) as usize];
                let of = self.visit(session, event.time, word & WHOLE != 0);
                if of != visit {
                    self.settle(visit);
                    visit = of;
                }
                if self.sessions[session as usize].next != 0 {
                    // It may have events of another by now.
                    products = None;
                }
                self.insert(visit, event, &mut products);
            }
            self.settle(visit);
        }
        (self.arrived, self.order) = (arrived, order);
        self.arrived.clear();
        self.order.clear();
        if !self.recalled.is_empty() {
            self.recall();
        }
    }

    /// `products` are those that the session has touched, once they have been looked for.
    fn insert(&mut self, session: u32, new: SessionEvent, products: &mut Option<Products>) {
        let state = &mut self.sessions[session as usize];
        if state.long().is_some() {
            self.insert_long(session, new);
            return;
        }
        let events = self.events.get(state.events);
        let after = events.iter().rev().take_while(|event| event.order() > new.order()).count();
        let position = events.len() - after;
        if self.uses.presence {
            let (before, after) =
                (position.checked_sub(1).map(|i| events[i].time), events.get(position).map(|e| e.time));
            let beyond = beyond_gap(&mut self.buckets, new.time, events);
            let neighbours = [before, after, beyond];
            self.out.presence.push((presence(&mut self.buckets, &new, neighbours), 1));
        }
        if self.uses.together && new.touched().is_some() {
            touch(&mut state.beside, products, events, &new, &self.locals, &self.shared, &mut self.out.pairs);
        }
        self.events.insert(&mut state.events, position, new);
        if state.events.len() == LONG {
            self.lengthen(session);
        }
    }

    #[cold]
    fn insert_long(&mut self, session: u32, new: SessionEvent) {
        let Some(Beside { touched, long: Some(long) }) = self.sessions[session as usize].beside.as_deref_mut() else {
            return;
        };
        let (before, after) = long.insert(new, &self.keys, self.origins.pairs(), &self.locals);
        if self.uses.presence {
            let neighbours = [before, after, long.beyond_gap(new.time, &mut self.buckets)];
            self.out.presence.push((presence(&mut self.buckets, &new, neighbours), 1));
        }
        if let (Some(touched), Some(product)) = (touched, new.touched()) {
            touched.touch(product, new.time, self.shared.context.related.max_products_per_session, &self.locals);
        }
    }

    /// Moves the events of a session that has become long.
    #[cold]
    fn lengthen(&mut self, session: u32) {
        let state = &mut self.sessions[session as usize];
        let mut long = Long::new(self.uses.visits);
        let beside = state.beside.get_or_insert_default();
        let events = self.events.get(state.events);
        if self.uses.together && beside.touched.is_none() {
            let cap = self.shared.context.related.max_products_per_session;
            beside.touched = Some(TouchedSet::of(touches(events), cap, &self.locals));
        }
        for event in events {
            long.insert(*event, &self.keys, self.origins.pairs(), &self.locals);
        }
        beside.long = Some(long);
        self.events.release(&mut state.events);
    }

    /// How many events a visit has.
    fn length(&self, visit: u32) -> usize {
        let state = &self.sessions[visit as usize];
        state.long().map_or(state.events.len(), Long::len)
    }

    /// The times of its first event and of its last.
    fn ends(&self, visit: u32) -> Option<(i64, i64)> {
        let state = &self.sessions[visit as usize];
        let events = self.events.get(state.events);
        events.first().zip(events.last()).map(|(first, last)| (first.time, last.time)).or_else(|| state.long()?.ends())
    }

    /// Before the list grows, those leave it that are forgotten or have another first product by now.
    fn list_by_first_product(&mut self, product: u32, session: u32) {
        let list = &mut self.by_first_product[product as usize];
        if list.len() == list.capacity() && self.retirement.period.is_some() {
            list.sort_unstable();
            list.dedup();
            let sessions = &self.sessions;
            list.retain(|&session| {
                sessions[session as usize].contribution.as_ref().is_some_and(|known| known.first_product == product)
            });
        }
        list.push(session);
    }

    fn warn_unknown(&mut self, activity: &Activity, product: u32) {
        let hour = self.buckets.of(activity.booked_at).hour;
        let partition = activity.partition;
        *self.unknown.entry(product).or_default().entry((hour, partition)).or_default() += 1;
        self.out
            .accounts
            .add(Account::warned(hour, self.shared.partitions.source(partition), Warning::UnknownProduct), 1);
    }

    /// Emits what a session contributes now, less what it did before.
    fn settle(&mut self, session: u32) {
        let state = &mut self.sessions[session as usize];
        let mut of_long = None;
        if let Some(Beside { touched, long }) = state.beside.as_deref_mut() {
            if let Some(touched) = touched {
                touched.settle(RelatedKind::ViewedTogether, &self.locals, &mut self.out.pairs);
            }
            of_long = long.as_mut().and_then(|long| long.contribution(&self.keys, &mut self.buckets));
        }
        if !self.uses.visits || state.events.is_empty() && of_long.is_none() {
            return;
        }
        let now = of_long.unwrap_or_else(|| {
            let events = self.events.get(state.events);
            self.keys.contribution(events, self.origins.pairs(), &self.locals, &mut self.buckets)
        });
        if state.contribution == Some(now) {
            return;
        }
        let before = state.contribution.replace(now);
        let category = self.categories[now.first_product as usize];
        match &before {
            Some(before) if before.same_group(&now) => {
                self.keys.emit_difference(before, &now, category, &self.locals, &mut self.out.visits);
            }
            _ => {
                if let Some(before) = &before {
                    let category = self.categories[before.first_product as usize];
                    self.keys.emit(before, category, &self.locals, -1, &mut self.out.visits);
                }
                self.keys.emit(&now, category, &self.locals, 1, &mut self.out.visits);
            }
        }
        if now.first_product != 0 && before.is_none_or(|before| before.first_product != now.first_product) {
            self.list_by_first_product(now.first_product, session);
        }
    }
}

fn touches(events: &[SessionEvent]) -> impl Iterator<Item = (u32, i64)> {
    events.iter().filter_map(|event| event.touched().map(|product| (product, event.time)))
}

/// Enters a touch that is about to join the list. A small session emits the new pairs at once: without a cap in
/// reach its set of products only grows.
fn touch(
    beside: &mut Option<Box<Beside>>,
    products: &mut Option<Products>,
    events: &[SessionEvent],
    new: &SessionEvent,
    locals: &LocalNames,
    shared: &Shared,
    out: &mut PairChanges,
) {
    let cap = shared.context.related.max_products_per_session;
    if beside.is_none() && events.len() + 1 >= SMALL_SESSION.min(cap) {
        let touched = Some(TouchedSet::of(touches(events), cap, locals));
        *beside = Some(Box::new(Beside { touched, long: None }));
    }
    if let Some(Beside { touched: Some(touched), .. }) = beside.as_deref_mut() {
        touched.touch(new.product, new.time, cap, locals);
        return;
    }
    let products = products.get_or_insert_with(|| {
        let mut products = Products::default();
        events.iter().filter_map(SessionEvent::touched).for_each(|product| products.add(product));
        products
    });
    let known = products.length;
    products.add(new.product);
    if products.length == known {
        return;
    }
    let kind = RelatedKind::ViewedTogether;
    let product = locals.name(new.product);
    out.item(kind, product, 1);
    if known == 0 {
        out.total(kind, 1);
    }
    for &other in &products.list[..known] {
        out.pair(kind, product, locals.name(other), 1);
    }
}

/// The streams that leave the operator.
pub struct SessionStreams<'s> {
    pub visits: StreamVec<'s, u64, Change>,
    pub presence: StreamVec<'s, u64, FactChange<Presence>>,
    pub pairs: StreamVec<'s, u64, PairChange>,
    pub accounts: StreamVec<'s, u64, FactChange<Account>>,
}

/// What goes into the operator besides activities.
pub struct SessionInputs<'s> {
    pub dictionary: Dictionary<'s>,
    pub histories: StreamVec<'s, u64, HistoryChange>,
    pub watermarks: Option<StreamVec<'s, u64, i64>>,
    /// Restored: what forgotten sessions contribute, and open warnings about products.
    pub settled: Option<StreamVec<'s, u64, (Settled, u32)>>,
    pub warnings: Option<StreamVec<'s, u64, (OpenWarning, i64)>>,
}

/// Builds the operator. Its sessions are what owns the activities: users, where the funnel is of users.
pub fn sessions<'s>(
    activities: StreamVec<'s, u64, Activity>,
    inputs: SessionInputs<'s>,
    shared: &Shared,
    uses: Uses,
) -> SessionStreams<'s> {
    let peers = activities.scope().peers();
    let mut builder = OperatorBuilder::new("Sessions".to_owned(), activities.scope());
    let mut activities = builder.new_input(activities, scatter(|activity: &Activity| activity.owner.low));
    let texts = inputs.dictionary.texts(&mut builder);
    let mut histories = builder.new_input(inputs.histories, Pipeline);
    let mut watermarks = inputs.watermarks.map(|watermarks| builder.new_input(watermarks, Pipeline));
    // One worker keeps what is said of a product.
    let mut settled = inputs
        .settled
        .map(|settled| builder.new_input(settled, scatter(|(settled, _): &(Settled, u32)| settled.first_product.0)));
    let mut warnings = inputs
        .warnings
        .map(|warnings| builder.new_input(warnings, scatter(|(warning, _): &(OpenWarning, i64)| warning.route())));
    let (visit_output, visits) = builder.new_output();
    let (presence_output, presence) = builder.new_output();
    let (pair_output, pairs) = builder.new_output();
    let (account_output, accounts) = builder.new_output();
    type Builder<D> = CapacityContainerBuilder<Vec<D>>;
    let mut visit_output = OutputBuilder::<_, Builder<Change>>::from(visit_output);
    let mut presence_output = OutputBuilder::<_, Builder<FactChange<Presence>>>::from(presence_output);
    let mut pair_output = OutputBuilder::<_, Builder<PairChange>>::from(pair_output);
    let mut account_output = OutputBuilder::<_, Builder<FactChange<Account>>>::from(account_output);
    let mut state = Sessions::new(shared.clone(), texts, uses, peers);

    builder.build(move |capabilities| {
        let mut capabilities = Capabilities::new(capabilities);
        let (mut waiting, mut waiting_histories) = (Stash::default(), Stash::default());
        let mut waiting_watermarks = Stash::default();
        let (mut waiting_settled, mut waiting_warnings) = (Stash::default(), Stash::default());
        let (counts, horizons) = (state.shared.held.clone(), state.shared.context.horizons);
        let (mut counted, mut counted_settled) = (0, 0);
        move |frontiers| {
            waiting.fill(&mut activities);
            waiting_histories.fill(&mut histories);
            watermarks.iter_mut().for_each(|input| waiting_watermarks.fill(input));
            settled.iter_mut().for_each(|input| waiting_settled.fill(input));
            warnings.iter_mut().for_each(|input| waiting_warnings.fill(input));
            let open = open_epoch(frontiers);
            let firsts = |[a, b, c, d, e]: [Option<u64>; 5]| next_closed([a, b, c, d, e], open);
            while let Some(epoch) = firsts([
                waiting.first(),
                waiting_histories.first(),
                waiting_watermarks.first(),
                waiting_settled.first(),
                waiting_warnings.first(),
            ]) {
                let held = capabilities.at(epoch);
                state.recategorise(waiting_histories.take(epoch).into_iter().flatten().collect());
                waiting_settled
                    .take(epoch)
                    .iter()
                    .flatten()
                    .for_each(|(settled, count)| state.restore(settled, *count));
                waiting_warnings
                    .take(epoch)
                    .iter()
                    .flatten()
                    .for_each(|(open, count)| state.restore_warning(open, *count));
                state.epoch(&waiting.take(epoch));
                if let Some(watermark) = waiting_watermarks.take(epoch).into_iter().flatten().max() {
                    state.forget(horizons.session_limit(watermark));
                }
                counts.set(Keeps::Sessions, &mut counted, state.open());
                counts.set(Keeps::SettledContributions, &mut counted_settled, state.retirement.settled_total);
                let out = &mut state.out;
                let present = out.presence.drain(..).map(|(fact, times)| (fact, epoch, times));
                visit_output.activate().session(&held[0]).give_iterator(out.visits.drain(epoch));
                presence_output.activate().session(&held[1]).give_iterator(present);
                pair_output.activate().session(&held[2]).give_iterator(out.pairs.drain());
                account_output.activate().session(&held[3]).give_iterator(out.accounts.drain(epoch));
            }
            capabilities.release(open);
        }
    });
    SessionStreams { visits, presence, pairs, accounts }
}
