//! Visits: where a session pauses for longer than the horizon, what comes after counts as another.
//!
//! ```text
//! e e e        e e          e     two visits and, later, an event between them: one visit
//! └───┘ pause  └─┘   e e e ▲ e e
//! ```
//! Where the cuts are follows from the events alone, in whatever order they come, for a visit is remembered until no event can
//! join it any more. What was counted whole, by a replay or a repair, is one visit from its first event to its last.

use super::long::LONG;
use super::spans::Span;
use super::{Products, Session, SessionEvent, Sessions, beyond_gap, presence};
use crate::operators::pairs::RelatedKind;
use crate::operators::touched::emit_difference;
use smallvec::SmallVec;

/// A session's visits, beginning with the one whose number goes with the id.
pub fn visits_of(sessions: &[Session], session: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(session), |visit| sessions[*visit as usize].next.checked_sub(1))
}

impl Sessions {
    fn span(&self, visit: u32) -> Option<Span> {
        let (first, last) = self.ends(visit)?;
        Some(Span { first, last, whole: self.sessions[visit as usize].whole })
    }

    /// The visit that what is `seen` is of, among several or as a new one. Visits that it brings together become one.
    #[cold]
    pub(super) fn visit_among(&mut self, session: u32, mut seen: Span, pause: i64) -> u32 {
        self.unlink_forgotten(session);
        let mut others: SmallVec<[u32; 4]> = visits_of(&self.sessions, session).collect();
        let mut together: SmallVec<[u32; 4]> = SmallVec::new();
        let joins = |visit: u32, seen: &Span| self.span(visit).filter(|of| of.joins(seen, pause));
        while let Some((at, of)) = others.iter().enumerate().find_map(|(at, &visit)| Some((at, joins(visit, &seen)?))) {
            together.push(others.swap_remove(at));
            seen = of.with(&seen);
        }
        let is_free = |visit: &u32| self.span(*visit).is_none();
        let of = match together.iter().find(|&&visit| visit == session).or(together.first()) {
            Some(&visit) => visit,
            None if is_free(&session) => session,
            None => self.hang(session, seen.first),
        };
        together.retain(|visit| *visit != of);
        together.into_iter().for_each(|other| self.absorb(of, other));
        self.sessions[of as usize].whole = seen.whole;
        of
    }

    /// Begins another visit of a session.
    pub(super) fn hang(&mut self, session: u32, time: i64) -> u32 {
        let visit = self.retirement.free.last().copied().unwrap_or(self.sessions.len() as u32);
        self.begin(visit, time);
        let next = std::mem::replace(&mut self.sessions[session as usize].next, visit + 1);
        (self.sessions[visit as usize].next, self.sessions[visit as usize].head) = (next, session + 1);
        visit
    }

    /// Numbers of visits that are forgotten can be used again, but for the one that goes with the id.
    fn unlink_forgotten(&mut self, session: u32) {
        let visits: SmallVec<[u32; 4]> = visits_of(&self.sessions, session).collect();
        let mut before = session;
        for &visit in &visits[1..] {
            if self.sessions[visit as usize].forgotten {
                self.sessions[before as usize].next = self.sessions[visit as usize].next;
                self.retirement.free.push(visit);
            } else {
                before = visit;
            }
        }
    }

    /// The visits are those of one session, and all of them are forgotten.
    pub(super) fn all_forgotten(&self, session: u32) -> bool {
        visits_of(&self.sessions, session).all(|visit| self.sessions[visit as usize].forgotten)
    }

    /// Moves the events of one visit to another, and what they contribute: in short ones the later events after the earlier ones,
    /// where they go without moving any; else the fewer to the more.
    fn absorb(&mut self, visit: u32, other: u32) {
        let (to, from) = (self.length(visit), self.length(other));
        let is_earlier = self.ends(other).map(|(first, _)| first) < self.ends(visit).map(|(first, _)| first);
        if if to.max(from) < LONG { is_earlier } else { to < from } {
            self.exchange(visit, other);
        }
        let state = &self.sessions[other as usize];
        let events = match state.long() {
            Some(long) => long.events().copied().collect(),
            None => self.events.get(state.events).to_vec(),
        };
        self.take_back(other, &events);
        self.events.release(&mut self.sessions[other as usize].events);
        self.sessions[other as usize].whole = false;
        let mut products = None;
        events.into_iter().for_each(|event| self.insert(visit, event, &mut products));
    }

    fn exchange(&mut self, visit: u32, other: u32) {
        let [a, b] = self.sessions.get_disjoint_mut([visit as usize, other as usize]).expect("they are two");
        std::mem::swap(&mut a.events, &mut b.events);
        std::mem::swap(&mut a.contribution, &mut b.contribution);
        std::mem::swap(&mut a.beside, &mut b.beside);
        if let Some(product) = a.contribution.as_ref().map(|known| known.first_product).filter(|&product| product != 0)
        {
            self.list_by_first_product(product, visit);
        }
    }

    /// Takes back all that a visit with these events has contributed.
    fn take_back(&mut self, visit: u32, events: &[SessionEvent]) {
        let Session { contribution, beside, .. } = &mut self.sessions[visit as usize];
        let beside = beside.take();
        if let Some(before) = contribution.take() {
            let category = self.categories[before.first_product as usize];
            self.keys.emit(&before, category, &self.locals, -1, &mut self.out.visits);
        }
        if self.uses.together {
            let kind = RelatedKind::ViewedTogether;
            match beside.and_then(|beside| beside.touched) {
                Some(touched) => touched.take_back(kind, &self.locals, &mut self.out.pairs),
                None => {
                    let mut products = Products::default();
                    events.iter().filter_map(SessionEvent::touched).for_each(|product| products.add(product));
                    let list = &mut products.list[..products.length];
                    list.sort_unstable();
                    emit_difference(kind, list, &[], &self.locals, &mut self.out.pairs);
                }
            }
        }
        if self.uses.presence {
            for (at, event) in events.iter().enumerate().rev() {
                let beyond = beyond_gap(&mut self.buckets, event.time, &events[..at]);
                let neighbours = [at.checked_sub(1).map(|before| events[before].time), None, beyond];
                self.out.presence.push((presence(&mut self.buckets, event, neighbours), -1));
            }
        }
    }
}
