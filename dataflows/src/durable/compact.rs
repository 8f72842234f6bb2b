//! From all that was kept to what is still needed.
//!
//! ```text
//! kept ──look──▶ when each session and user was last active, what is known
//! kept ──keep──▶ kept, for fewer things
//!            └─▶ events of forgotten sessions ──finish──▶ pairs · settled · open warnings, to be added to those before
//! ```
//! Two passes over rows in any order, which need not be in memory, for each slice of the sessions. In memory are a time for each user,
//! the visits of each session of a slice, and the events of those that are forgotten now.

use super::{Kept, Needed, OpenWarning, Settled, Unknown, is_activity};
use crate::context::{Buckets, Shared};
use crate::operators::activity::Activity;
use crate::operators::local::LocalNames;
use crate::operators::origins::Origins;
use crate::operators::pairs::RelatedKind;
use crate::operators::sessions::SessionEvent;
use crate::operators::sessions::spans::Spans;
use crate::operators::touched::most_recent;
use crate::views::funnel::FunnelKeys;
use millrace_schema::calendar::MICROS_PER_MINUTE;
use millrace_schema::{Body, Event, Id, Kind, Name};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What forgotten sessions add to. Less than nothing where a session that was recalled is not what it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Of two products, the smaller name first.
    pub pairs: BTreeMap<(RelatedKind, Name, Name), i64>,
    pub settled: BTreeMap<Settled, i64>,
    pub warnings: BTreeMap<OpenWarning, i64>,
}

/// One compaction. No event that comes after the rows may be read under an earlier watermark than the one it is given.
pub struct Compaction {
    shared: Shared,
    buckets: Buckets,
    id_limit: i64,
    session_limit: i64,
    /// Users' minutes before it are forgotten, but for the last.
    first_minute: i64,
    pause: i64,
    sessions: FxHashMap<Id, Spans>,
    /// The last minute of each user before the first.
    users: FxHashMap<Id, i64>,
    products_known: FxHashSet<Name>,
    users_known: FxHashSet<Id>,
    forgotten: Vec<Kept>,
    /// Of so many slices of the sessions, the one that is at hand.
    slices: u64,
    slice: u64,
    base: Base,
}

impl Compaction {
    pub fn new(shared: &Shared, watermark: i64) -> Compaction {
        let horizons = shared.context.horizons;
        Compaction {
            shared: shared.clone(),
            buckets: Buckets::new(shared.context.calendar.clone()),
            id_limit: horizons.deduplication_limit(watermark),
            session_limit: horizons.session_limit(watermark),
            first_minute: horizons.limit(Kind::PageView, watermark).div_euclid(MICROS_PER_MINUTE),
            // Without a horizon of sessions none is forgotten.
            pause: horizons.pause().unwrap_or(i64::MAX),
            sessions: FxHashMap::default(),
            users: FxHashMap::default(),
            products_known: FxHashSet::default(),
            users_known: FxHashSet::default(),
            forgotten: Vec::new(),
            slices: 1,
            slice: 0,
            base: Base::default(),
        }
    }

    /// Has a slice of the sessions at hand at a time.
    pub fn in_slices(self, slices: u64) -> Compaction {
        Compaction { slices: slices.max(1), ..self }
    }

    /// The first pass of a slice: every row once.
    pub fn look(&mut self, kept: &Kept) {
        let Kept { event, needed } = kept;
        if self.slice == 0 {
            self.look_at_others(kept);
        }
        if needed.holds(Needed::SESSION) && !event.session.is_none() && self.is_at_hand(event) {
            let visits = self.sessions.entry(event.session).or_default();
            visits.see(event.time, needed.holds(Needed::WHOLE), self.pause);
        }
    }

    /// What is known of products and users.
    fn look_at_others(&mut self, Kept { event, needed }: &Kept) {
        match event.body {
            Body::Product { .. } => {
                self.products_known.insert(event.product);
            }
            Body::User { .. } => {
                self.users_known.insert(event.user);
            }
            _ => {}
        }
        let minute = event.time / MICROS_PER_MINUTE;
        if needed.holds(Needed::USER) && is_activity(event) && minute < self.first_minute {
            let last = self.users.entry(event.user).or_insert(minute);
            *last = minute.max(*last);
        }
    }

    /// Rows without a session are of the first slice.
    fn is_at_hand(&self, event: &Event) -> bool {
        event.session.low % self.slices == self.slice
    }

    /// The second pass of a slice, again every row once: what is left of a row; `None` where that is nothing, or it is of another slice.
    pub fn keep(&mut self, kept: &Kept) -> Option<Kept> {
        let Kept { event, needed } = kept;
        if !self.is_at_hand(event) {
            return None;
        }
        let mut left = *needed;
        let kind = event.kind();
        if needed.holds(Needed::ID) {
            left = left.with(Needed::ID, kind.is_dimension() || event.time >= self.id_limit);
        }
        if needed.holds(Needed::SESSION) {
            left = left.with(Needed::SESSION, self.is_open(event));
            self.gather(kept);
        }
        left = left.with(Needed::ORDER, needed.holds(Needed::ORDER) && matches!(kind, Kind::Purchase | Kind::Refund));
        left = left.with(Needed::DIMENSION, needed.holds(Needed::DIMENSION) && kind.is_dimension());
        if needed.holds(Needed::USER) {
            let tells = self.tells_of_user(event);
            if !tells && !event.user.is_none() && !self.users_known.contains(&event.user) {
                self.warn(Unknown::User(event.user), event);
            }
            left = left.with(Needed::USER, tells);
        }
        if !left.holds(Needed::SESSION) {
            left = left.with(Needed::WHOLE, false).with(Needed::RECALLED, false);
        }
        (left != Needed::NOTHING).then_some(Kept { event: *event, needed: left })
    }

    fn is_open(&self, event: &Event) -> bool {
        self.sessions.get(&event.session).is_some_and(|visits| visits.of(event.time).last >= self.session_limit)
    }

    fn gather(&mut self, kept: &Kept) {
        let event = &kept.event;
        if !self.is_open(event) && Activity::of(event, event.session).is_some() {
            self.forgotten.push(*kept);
        }
    }

    /// Adds up the slice at hand. Whether there is another: then every row is to be looked at, and kept, once more.
    pub fn next_slice(&mut self) -> bool {
        self.settle();
        self.sessions.clear();
        self.slice += 1;
        self.slice < self.slices
    }

    /// Whether the state of a user needs the event.
    fn tells_of_user(&mut self, event: &Event) -> bool {
        if event.user.is_none() {
            return false;
        }
        if !is_activity(event) {
            // A refund tells nothing but that the user is named; a record stays.
            return matches!(event.body, Body::User { .. });
        }
        let minute = event.time / MICROS_PER_MINUTE;
        // Of the last minute one event is enough.
        minute >= self.first_minute
            || self.users.get(&event.user) == Some(&minute) && self.users.remove(&event.user).is_some()
    }

    fn warn(&mut self, about: Unknown, event: &Event) {
        let hour = self.buckets.of(event.booked_at()).hour;
        let warning = OpenWarning { about, hour, partition: event.place.partition() };
        *self.base.warnings.entry(warning).or_default() += 1;
    }

    /// What is forgotten now, once there is no other slice. It is to be added to what was before.
    pub fn finish(self) -> Base {
        self.base
    }

    fn settle(&mut self) {
        let mut forgotten = std::mem::take(&mut self.forgotten);
        let recalled = |kept: &Kept| kept.needed.holds(Needed::RECALLED);
        forgotten.sort_unstable_by_key(|kept| (kept.event.session, kept.event.time, kept.event.id, recalled(kept)));
        // What is there as it was has not been forgotten, recalled or not.
        forgotten.dedup_by_key(|kept| (kept.event.session, kept.event.time, kept.event.id));
        let mut adding = Adding {
            locals: LocalNames::new(self.shared.names.clone()),
            keys: FunnelKeys::new(&self.shared),
            origins: Origins::default(),
            cap: self.shared.context.related.max_products_per_session,
        };
        let visits = std::mem::take(&mut self.sessions);
        let visit = |kept: &Kept| visits[&kept.event.session].of(kept.event.time).first;
        for session in forgotten.chunk_by(|a, b| a.event.session == b.event.session && visit(a) == visit(b)) {
            let new = session.iter().filter(|kept| !recalled(kept) && !kept.event.product.is_none());
            for Kept { event, .. } in new {
                if !self.products_known.contains(&event.product) {
                    self.warn(Unknown::Product(event.product), event);
                }
            }
            adding.add(session, 1, &mut self.buckets, &mut self.base);
            // As it was when it was forgotten before.
            let before: Vec<Kept> = session.iter().filter(|kept| recalled(kept)).copied().collect();
            let mut spans = Spans::default();
            before.iter().for_each(|kept| spans.see(kept.event.time, kept.needed.holds(Needed::WHOLE), self.pause));
            for visit in before.chunk_by(|a, b| spans.of(a.event.time) == spans.of(b.event.time)) {
                adding.add(visit, -1, &mut self.buckets, &mut self.base);
            }
        }
        self.sessions = visits;
    }
}

/// What it takes to add visits up.
struct Adding {
    locals: LocalNames,
    keys: FunnelKeys,
    origins: Origins,
    cap: usize,
}

impl Adding {
    /// Adds what a visit comes to so many times.
    fn add(&mut self, visit: &[Kept], times: i64, buckets: &mut Buckets, base: &mut Base) {
        let activities = visit.iter().filter_map(|Kept { event, .. }| Activity::of(event, event.session));
        let mut events: Vec<SessionEvent> = activities
            .map(|activity| {
                let product = self.locals.number(activity.product);
                let origin = self.origins.number(&activity, &mut self.locals);
                SessionEvent::new(&activity, product, origin)
            })
            .collect();
        events.sort_by_key(SessionEvent::order);
        let contribution = self.keys.contribution(&events, self.origins.pairs(), &self.locals, buckets);
        if contribution.first_product != 0 {
            *base.settled.entry(contribution.settled(&self.locals)).or_default() += times;
        }
        self.add_pairs(&events, times, base);
    }

    fn add_pairs(&self, events: &[SessionEvent], times: i64, base: &mut Base) {
        let mut last: FxHashMap<u32, i64> = FxHashMap::default();
        for event in events {
            if let Some(product) = event.touched() {
                let time = event.time;
                let latest = last.entry(product).or_insert(time);
                *latest = time.max(*latest);
            }
        }
        let locals = &self.locals;
        let touched = most_recent(last.into_iter().collect(), self.cap, locals);
        for (index, &a) in touched.iter().enumerate() {
            for &b in &touched[..index] {
                let (a, b) = (locals.name(a), locals.name(b));
                *base.pairs.entry((RelatedKind::ViewedTogether, a.min(b), a.max(b))).or_default() += times;
            }
        }
    }
}
