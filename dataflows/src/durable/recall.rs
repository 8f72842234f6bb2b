//! What has to be remembered again before events that came too late can be merged.
//!
//! ```text
//! late events ─▶ ids, sessions, users and days to look for ┐
//! accepted rows of those days ──look──────────────────────▶┴──finish──▶ rows to recall: whole visits that late events join,
//!                                                                     copies of their ids, the day of their users
//! ```
//! In memory are the late events and the rows of their sessions, users and ids.

use super::{Kept, Needed, is_activity};
use crate::context::{Buckets, Shared};
use crate::operators::activity::Activity;
use crate::operators::sessions::spans::{Span, Spans};
use crate::settings::Horizons;
use millrace_schema::calendar::MICROS_PER_MINUTE;
use millrace_schema::decode::TIME_END;
use millrace_schema::{Event, Id, Place};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Which accepted rows may be worth a look, by their ids.
#[derive(Debug, Default)]
pub struct Wanted {
    events: FxHashSet<Id>,
    sessions: FxHashSet<Id>,
    users: FxHashSet<Id>,
}

impl Wanted {
    pub fn holds(&self, event: Id, session: Id, user: Id) -> bool {
        self.events.contains(&event) || self.sessions.contains(&session) || self.users.contains(&user)
    }
}

/// When a user was active around a late event: whether that minute, hour and day are new follows from it.
#[derive(Clone, Copy, Debug)]
struct Nearest {
    minute: i64,
    /// Minute and place of the last event that is no later, and of the first that is no earlier.
    before: Option<(i64, Place)>,
    after: Option<(i64, Place)>,
}

impl Nearest {
    /// Whether an event is nearer than those before.
    fn see(&mut self, minute: i64, place: Place) -> bool {
        let before = minute <= self.minute && self.before.is_none_or(|(last, _)| last < minute);
        let after = minute >= self.minute && self.after.is_none_or(|(first, _)| minute < first);
        self.before = if before { Some((minute, place)) } else { self.before };
        self.after = if after { Some((minute, place)) } else { self.after };
        before || after
    }
}

pub struct Recall {
    buckets: Buckets,
    horizons: Horizons,
    wanted: Arc<Wanted>,
    /// When late events of a session were, and where the accepted ones are.
    sessions: FxHashMap<Id, (BTreeSet<i64>, Spans)>,
    /// By users and days, in the store's calendar: the minutes of late events, ascending, and the nearest to each.
    users: FxHashMap<(Id, i64), Vec<Nearest>>,
    /// Visits whose last event is no older are held, in memory and in the state.
    session_limit: i64,
    /// Days since 1970-01-01 in which there may be what is looked for.
    days: BTreeSet<i64>,
    found: Vec<Kept>,
}

impl Recall {
    /// Of events that are late.
    pub fn new(shared: &Shared, late: &[Event]) -> Recall {
        let mut recall = Recall {
            buckets: Buckets::new(shared.context.calendar.clone()),
            horizons: shared.context.horizons,
            session_limit: i64::MIN,
            wanted: Arc::default(),
            sessions: FxHashMap::default(),
            users: FxHashMap::default(),
            days: BTreeSet::new(),
            found: Vec::new(),
        };
        let mut wanted = Wanted::default();
        late.iter().for_each(|event| recall.look_for(event, &mut wanted));
        recall.wanted = Arc::new(wanted);
        recall
    }

    /// What was forgotten was so under no more than this watermark, UTC microseconds; `None` where nothing was.
    pub fn forgotten_under(&mut self, watermark: Option<i64>) {
        self.session_limit = watermark.map_or(i64::MIN, |watermark| self.horizons.session_limit(watermark));
    }

    fn look_for(&mut self, event: &Event, wanted: &mut Wanted) {
        wanted.events.insert(event.id);
        let day = self.buckets.of(event.time).day;
        self.days.insert(day);
        if is_activity(event) {
            let nearest = self.users.entry((event.user, day)).or_default();
            let minute = event.time / MICROS_PER_MINUTE;
            if let Err(position) = nearest.binary_search_by_key(&minute, |nearest| nearest.minute) {
                nearest.insert(position, Nearest { minute, before: None, after: None });
            }
            wanted.users.insert(event.user);
        }
        if let (Some(pause), Some(_)) = (self.horizons.pause(), Activity::of(event, event.session)) {
            self.sessions.entry(event.session).or_default().0.insert(event.time);
            wanted.sessions.insert(event.session);
            self.may_go_on(Span::at(event.time, false), pause);
        }
    }

    /// A visit may have events in the days around it.
    fn may_go_on(&mut self, span: Span, pause: i64) {
        let mut day = |time: i64| self.buckets.of(time.clamp(0, TIME_END - 1)).day;
        let days = day(span.first.saturating_sub(pause))..=day(span.last.saturating_add(pause));
        self.days.extend(days);
    }

    /// Days since 1970-01-01 in the store's calendar that are to be looked through; more once some have been.
    pub fn days(&mut self) -> &BTreeSet<i64> {
        if let Some(pause) = self.horizons.pause() {
            let joined: Vec<Span> = self
                .sessions
                .values()
                .flat_map(|(late, spans)| {
                    let forgotten = spans.iter().filter(|span| span.last < self.session_limit);
                    forgotten.filter(|span| are_joined(late, span, pause)).copied()
                })
                .collect();
            joined.into_iter().for_each(|span| self.may_go_on(span, pause));
        }
        &self.days
    }

    /// Every accepted row of a day that is [`Wanted`] once, with [`Needed::WHOLE`] where it was counted in a whole session.
    pub fn look(&mut self, kept: &Kept) {
        let event = &kept.event;
        if event.kind().is_dimension() {
            return;
        }
        let mut is_wanted = self.wanted.events.contains(&event.id);
        if let Some((_, spans)) = self.sessions.get_mut(&event.session)
            && Activity::of(event, event.session).is_some()
            && let Some(pause) = self.horizons.pause()
        {
            spans.see(event.time, kept.needed.holds(Needed::WHOLE), pause);
            is_wanted = true;
        }
        if self.is_near(event) || is_wanted {
            self.found.push(*kept);
        }
    }

    /// All other rows may be passed over.
    pub fn wanted(&self) -> Arc<Wanted> {
        self.wanted.clone()
    }

    fn is_near(&mut self, event: &Event) -> bool {
        if !is_activity(event) {
            return false;
        }
        let Some(all) = self.users.get_mut(&(event.user, self.buckets.of(event.time).day)) else { return false };
        let minute = event.time / MICROS_PER_MINUTE;
        let mut is_near = false;
        for nearest in all {
            is_near |= nearest.see(minute, event.place);
        }
        is_near
    }

    /// The rows to recall, with what they are needed for.
    pub fn finish(mut self) -> Vec<Kept> {
        let mut found = std::mem::take(&mut self.found);
        let nearest = self.users.values().flatten().flat_map(|nearest| [nearest.before, nearest.after]);
        let of_users: FxHashSet<Place> = nearest.flatten().map(|(_, place)| place).collect();
        found.retain_mut(|kept| {
            let event = &kept.event;
            let of_visit = self.horizons.pause().is_some_and(|pause| {
                Activity::of(event, event.session).is_some()
                    && self.sessions.get(&event.session).is_some_and(|(late, spans)| {
                        let visit = spans.of(event.time);
                        visit.last < self.session_limit && are_joined(late, visit, pause)
                    })
            });
            let of_user = is_activity(event) && of_users.contains(&event.place);
            kept.needed = Needed::RECALLED
                .with(Needed::ID, self.wanted.events.contains(&event.id))
                .with(Needed::USER, of_user)
                .with(Needed::SESSION, of_visit)
                .with(Needed::WHOLE, of_visit && kept.needed.holds(Needed::WHOLE));
            kept.needed.holds(Needed::ID) || of_user || of_visit
        });
        found
    }
}

fn are_joined(late: &BTreeSet<i64>, span: &Span, pause: i64) -> bool {
    let near = span.first.saturating_sub(pause)..=span.last.saturating_add(pause);
    late.range(near).next().is_some()
}
