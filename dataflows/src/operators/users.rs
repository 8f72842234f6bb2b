//! Users: who is active when, and who is not in the users dimension.
//!
//! ```text
//! accepted events and user records ──by user──▶ [users] ──▶ presence · warnings
//! ```
//!
//! A user's state is the ascending list of minutes with an event, 4 bytes each, in a tree where they are many; hours and days follow
//! from it.
//! Under a horizon, of the minutes that no event can be of any more the last is enough: whatever comes is later, and is in an hour or a
//! day in which the user was active only if that one is, or a later one. Users are not forgotten.

use crate::context::{Buckets, Keeps, Shared};
use crate::durable::{OpenWarning, Unknown};
use crate::facts::{Account, FactChange, Presence, Present, Tally, Uses};
use crate::operators::epochs::{Capabilities, Stash, next_closed, open_epoch};
use crate::operators::scatter::scatter;
use crate::operators::sessions::IdHasher;
use millrace_schema::calendar::MICROS_PER_MINUTE;
use millrace_schema::{Body, Event, Id, Kind, Warning};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasherDefault;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// What the operator needs of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    user: Id,
    time: i64,
    booked_at: i64,
    partition: u16,
    kind: SightingKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum SightingKind {
    /// Makes the user active.
    Event,
    /// Names the user, but is no activity of theirs.
    Refund,
    /// A record of the users dimension.
    Record,
    /// An event that was counted before, and may be forgotten.
    Recalled,
}

impl Sighting {
    /// `None` for what names no user.
    #[inline]
    pub fn of(event: &Event) -> Option<Sighting> {
        let kind = match event.body {
            Body::User { .. } => SightingKind::Record,
            Body::Refund { .. } => SightingKind::Refund,
            Body::PageView { .. }
            | Body::AddToCart { .. }
            | Body::RemoveFromCart { .. }
            | Body::CheckoutStarted
            | Body::Purchase { .. } => SightingKind::Event,
            // They name no user.
            Body::Product { .. } | Body::Inventory { .. } => return None,
        };
        let sighting = Sighting {
            user: event.user,
            time: event.time,
            booked_at: event.booked_at(),
            partition: event.place.partition(),
            kind,
        };
        (!event.user.is_none()).then_some(sighting)
    }

    /// The same, counted before.
    pub fn again(self) -> Sighting {
        Sighting { kind: SightingKind::Recalled, ..self }
    }
}

fn minute_of(time: i64) -> u32 {
    u32::try_from(time / MICROS_PER_MINUTE).expect("times lie between 1970 and 2199")
}

/// Minutes that lie in the table of users. Where assertions are on, one, so that forgetting is at work in every test.
const MINUTES_BESIDE: usize = if cfg!(debug_assertions) { 1 } else { 4 };

/// Minutes since 1970, ascending.
type Minutes = SmallVec<[u32; MINUTES_BESIDE]>;

/// A list of so many minutes becomes a tree. Where assertions are on, few, so that there are some in every test.
const MANY_MINUTES: usize = if cfg!(debug_assertions) { 3 } else { 1024 };

#[derive(Debug, Default)]
struct User {
    minutes: Minutes,
    known: bool,
    /// The minutes are in [`Users::many`].
    many: bool,
    /// Events booked while the user was unknown.
    unknown: Vec<Unbooked>,
}

/// A minute that is new to a user: those before and after it, and whether there are so many that they lie apart.
struct Entered {
    before: Option<u32>,
    after: Option<u32>,
    crowded: bool,
}

impl User {
    /// Enters a minute, unless it is known.
    #[inline]
    fn enter(&mut self, id: Id, minute: u32, many: &mut FxHashMap<Id, BTreeSet<u32>>) -> Option<Entered> {
        if self.many {
            return enter_many(many.entry(id).or_default(), minute);
        }
        let minutes = &mut self.minutes;
        let Err(position) = minutes.binary_search(&minute) else { return None };
        let before = position.checked_sub(1).map(|index| minutes[index]);
        let after = minutes.get(position).copied();
        minutes.insert(position, minute);
        let crowded = minutes.spilled();
        if minutes.len() == MANY_MINUTES {
            many.insert(id, std::mem::take(minutes).into_iter().collect());
            self.many = true;
        }
        Some(Entered { before, after, crowded })
    }

    /// Of the user's minutes, what [`Buckets::beyond_gap`] asks for.
    fn beyond_gap(&self, minute: u32, many: Option<&BTreeSet<u32>>, buckets: &mut Buckets) -> Option<u32> {
        let from = |limit: i64| {
            let minute = limit.saturating_add(MICROS_PER_MINUTE - 1).div_euclid(MICROS_PER_MINUTE);
            u32::try_from(minute).unwrap_or(if minute < 0 { 0 } else { u32::MAX })
        };
        let first = |limit: i64| self.minutes.partition_point(|&minute| minute < from(limit));
        let last_before = |limit: i64| match many {
            Some(many) => many.range(..from(limit)).next_back().copied(),
            None => self.minutes.get(first(limit).checked_sub(1)?).copied(),
        };
        let first_from = |limit: i64| match many {
            Some(many) => many.range(from(limit)..).next().copied(),
            None => self.minutes.get(first(limit)).copied(),
        };
        let time_of = |minute: u32| i64::from(minute) * MICROS_PER_MINUTE;
        let last_before = |limit| last_before(limit).map(time_of);
        buckets.beyond_gap(time_of(minute), last_before, |limit| first_from(limit).map(time_of)).map(minute_of)
    }
}

#[cold]
fn enter_many(minutes: &mut BTreeSet<u32>, minute: u32) -> Option<Entered> {
    let before = minutes.range(..minute).next_back().copied();
    let after = minutes.range(minute + 1..).next().copied();
    minutes.insert(minute).then_some(Entered { before, after, crowded: true })
}

/// Hour, partition, count.
type Unbooked = (i64, u16, i64);

/// Counts an event. Entries of one place that are apart are brought together before there is more room made.
fn count_unknown(unknown: &mut Vec<Unbooked>, hour: i64, partition: u16) {
    const LATELY: usize = 8;
    let is_place = |&&mut (of_hour, of_partition, _): &&mut Unbooked| (of_hour, of_partition) == (hour, partition);
    if let Some((.., count)) = unknown.iter_mut().rev().take(LATELY).find(is_place) {
        *count += 1;
        return;
    }
    if unknown.len() == unknown.capacity() {
        unknown.sort_unstable();
        unknown.dedup_by(|(hour, partition, count), (of_hour, of_partition, sum)| {
            let is_same = (hour, partition) == (of_hour, of_partition);
            *sum += if is_same { *count } else { 0 };
            is_same
        });
        unknown.reserve(unknown.len().max(1));
    }
    unknown.push((hour, partition, 1));
}

struct Users {
    shared: Shared,
    uses: Uses,
    users: hashbrown::HashMap<Id, User, BuildHasherDefault<IdHasher>>,
    /// The minutes of users who have many.
    many: FxHashMap<Id, BTreeSet<u32>>,
    buckets: Buckets,
    forgets: bool,
    /// Users with so many minutes that they lie apart, by one of these: looked at once no event is of it any more.
    crowded: BTreeMap<u32, Vec<Id>>,
    presence: Vec<Presence>,
    accounts: Tally<Account>,
}

impl Users {
    /// Remembers when a user was active, which has been counted.
    fn recall(&mut self, sighting: &Sighting) {
        let (id, minute) = (sighting.user, minute_of(sighting.time));
        let user = self.users.entry(id).or_default();
        if let Some(Entered { crowded, .. }) = user.enter(id, minute, &mut self.many) {
            self.watch(id, minute, crowded);
        }
    }

    fn watch(&mut self, id: Id, minute: u32, crowded: bool) {
        if self.forgets && crowded {
            self.crowded.entry(minute).or_default().push(id);
        }
    }

    fn see(&mut self, sighting: &Sighting) {
        if sighting.kind == SightingKind::Recalled {
            return;
        }
        let user = self.users.entry(sighting.user).or_default();
        if sighting.kind == SightingKind::Record {
            user.known = true;
            for (hour, partition, count) in user.unknown.drain(..) {
                let source = self.shared.partitions.source(partition);
                self.accounts.add(Account::warned(hour, source, Warning::UnknownUser), -count);
            }
            return;
        }
        if self.uses.accounts && !user.known {
            let hour = self.buckets.of(sighting.booked_at).hour;
            count_unknown(&mut user.unknown, hour, sighting.partition);
            let source = self.shared.partitions.source(sighting.partition);
            self.accounts.add(Account::warned(hour, source, Warning::UnknownUser), 1);
        }
        if self.uses.presence && sighting.kind == SightingKind::Event {
            let minute = minute_of(sighting.time);
            let id = sighting.user;
            let Some(Entered { before, after, crowded }) = user.enter(id, minute, &mut self.many) else { return };
            let beyond = user.beyond_gap(minute, self.many.get(&id), &mut self.buckets);
            self.watch(id, minute, crowded);
            let mut at = |minute: u32| self.buckets.of(i64::from(minute) * MICROS_PER_MINUTE);
            let others = [before, after, beyond].map(|other| other.map(&mut at));
            let bucket = at(minute);
            let first_in = bucket.apart_from(others.iter().flatten());
            if first_in != 0 {
                self.presence.push(Presence { bucket, what: Present::User, first_in });
            }
        }
    }
}

impl Users {
    fn restore_warning(&mut self, warning: &OpenWarning, count: i64) {
        if let Unknown::User(id) = warning.about {
            let user = self.users.entry(id).or_default();
            if !user.known {
                user.unknown.push((warning.hour, warning.partition, count));
            }
        }
    }

    /// No event before `limit` comes any more.
    fn forget(&mut self, limit: i64) {
        let first = minute_of(limit.max(0));
        while let Some(entry) = self.crowded.first_entry().filter(|entry| *entry.key() < first) {
            for id in entry.remove() {
                if let Some(minutes) = self.many.get_mut(&id) {
                    forget_many_before(minutes, first);
                } else if let Some(user) = self.users.get_mut(&id) {
                    forget_before(&mut user.minutes, first);
                }
            }
        }
    }
}

/// The same where they are many.
fn forget_many_before(minutes: &mut BTreeSet<u32>, first: u32) {
    let last_old = minutes.range(..first).next_back().copied();
    while minutes.first().is_some_and(|minute| last_old.is_some_and(|last| *minute < last)) {
        minutes.pop_first();
    }
}

/// Of the minutes before `first` the last one stays.
fn forget_before(minutes: &mut Minutes, first: u32) {
    let old = minutes.partition_point(|&minute| minute < first);
    minutes.drain(..old.saturating_sub(1));
    if minutes.len() * 2 <= minutes.capacity() {
        minutes.shrink_to_fit();
    }
}

/// Builds the operator: when users are present, and warnings about those that are not known.
pub fn users<'s>(
    sightings: StreamVec<'s, u64, Sighting>,
    watermarks: Option<StreamVec<'s, u64, i64>>,
    warnings: Option<StreamVec<'s, u64, (OpenWarning, i64)>>,
    shared: &Shared,
    uses: Uses,
) -> (StreamVec<'s, u64, FactChange<Presence>>, StreamVec<'s, u64, FactChange<Account>>) {
    let mut builder = OperatorBuilder::new("Users".to_owned(), sightings.scope());
    let mut input = builder.new_input(sightings, scatter(|sighting: &Sighting| sighting.user.low));
    let mut watermarks = watermarks.map(|watermarks| builder.new_input(watermarks, Pipeline));
    let mut warnings = warnings
        .map(|warnings| builder.new_input(warnings, scatter(|(warning, _): &(OpenWarning, i64)| warning.route())));
    let (presence_output, presence) = builder.new_output();
    let (account_output, accounts) = builder.new_output();
    type Builder<D> = CapacityContainerBuilder<Vec<D>>;
    let mut presence_output = OutputBuilder::<_, Builder<FactChange<Presence>>>::from(presence_output);
    let mut account_output = OutputBuilder::<_, Builder<FactChange<Account>>>::from(account_output);
    let mut state = Users {
        buckets: Buckets::new(shared.context.calendar.clone()),
        shared: shared.clone(),
        uses,
        users: hashbrown::HashMap::default(),
        many: FxHashMap::default(),
        forgets: shared.context.horizons.any(),
        crowded: BTreeMap::new(),
        presence: Vec::new(),
        accounts: Tally::default(),
    };
    builder.build(move |capabilities| {
        let mut capabilities = Capabilities::new(capabilities);
        let (mut stash, mut waiting_watermarks) = (Stash::default(), Stash::default());
        let mut waiting_warnings = Stash::default();
        let (counts, horizons) = (state.shared.held.clone(), state.shared.context.horizons);
        let mut counted = 0;
        move |frontiers| {
            stash.fill(&mut input);
            watermarks.iter_mut().for_each(|input| waiting_watermarks.fill(input));
            warnings.iter_mut().for_each(|input| waiting_warnings.fill(input));
            let open = open_epoch(frontiers);
            while let Some(epoch) =
                next_closed([stash.first(), waiting_watermarks.first(), waiting_warnings.first()], open)
            {
                let held = capabilities.at(epoch);
                waiting_warnings
                    .take(epoch)
                    .iter()
                    .flatten()
                    .for_each(|(open, count)| state.restore_warning(open, *count));
                let batches = stash.take(epoch);
                // Before what is new, so that it is known what has been counted.
                let recalled = batches.iter().flatten().filter(|sighting| sighting.kind == SightingKind::Recalled);
                recalled.for_each(|sighting| state.recall(sighting));
                batches.iter().flatten().for_each(|sighting| state.see(sighting));
                if let Some(watermark) = waiting_watermarks.take(epoch).into_iter().flatten().max() {
                    state.forget(horizons.limit(Kind::PageView, watermark));
                }
                counts.set(Keeps::Users, &mut counted, state.users.len());
                let present = state.presence.drain(..).map(|fact| (fact, epoch, 1));
                presence_output.activate().session(&held[0]).give_iterator(present);
                account_output.activate().session(&held[1]).give_iterator(state.accounts.drain(epoch));
            }
            capabilities.release(open);
        }
    });
    (presence, accounts)
}
