//! Recall: visits that were forgotten are held again, as if they had not been, so that what comes too late can join them.
//!
//! ```text
//! recalled events, less those that are held ─▶ visits, as they were cut ─▶ held again, in silence ─▶ joined with what is near
//! ```
//! What a visit contributed is in the rows already, and in what is settled: the rows stay, and it is settled no more. It is not needed in
//! which order a visit is recalled and its new events come.

use super::{Outputs, SessionEvent, Sessions};
use crate::operators::activity::Activity;
use crate::operators::sessions::spans::{Span, Spans};
use crate::operators::sessions::visits::visits_of;

/// An event that is to be held again: its session, whether it was counted in a whole one, itself.
pub(super) type Recalled = (u32, bool, SessionEvent);

impl Sessions {
    /// Notes an event for [`Sessions::recall`]. Of each of its visits all events are noted in one epoch.
    #[cold]
    pub(super) fn note(&mut self, activity: &Activity) {
        let product = self.product(activity.product);
        let origin = self.origins.number(activity, &mut self.locals);
        let session = self.session(activity);
        self.recalled.push((session, activity.is_whole(), SessionEvent::new(activity, product, origin)));
    }

    /// Holds the visits again whose events have been noted, but for those that are held.
    #[cold]
    pub(super) fn recall(&mut self) {
        let mut recalled = std::mem::take(&mut self.recalled);
        // Without a pause, nothing has been forgotten.
        let Some(pause) = self.pause else { return };
        let order = |(session, _, event): &Recalled| (*session, event.order());
        recalled.sort_unstable_by_key(order);
        recalled.dedup_by_key(|one| order(one));
        let heard = std::mem::replace(&mut self.out, Outputs::new(self.peers));
        let mut visits: Vec<(u32, Span)> = Vec::new();
        for of_one in recalled.chunk_by(|a, b| a.0 == b.0) {
            let session = of_one[0].0;
            let (mut spans, mut new) = (Spans::default(), Vec::new());
            for &(_, whole, event) in of_one.iter().filter(|(.., event)| !self.holds(session, event)) {
                spans.see(event.time, whole, pause);
                new.push(event);
            }
            for &span in spans.iter() {
                // They are in order of time.
                let before = new.partition_point(|event| event.time < span.first);
                let of_it = &new[before..new.partition_point(|event| event.time <= span.last)];
                self.hold_again(session, span, of_it);
                visits.push((session, span));
            }
        }
        self.out = heard;
        for (session, span) in visits {
            let visit = self.visit_among(session, span, pause);
            self.settle(visit);
        }
    }

    fn holds(&self, session: u32, event: &SessionEvent) -> bool {
        visits_of(&self.sessions, session).any(|visit| {
            let state = &self.sessions[visit as usize];
            if let Some(long) = state.long() {
                return long.holds(event);
            }
            let events = self.events.get(state.events);
            events.binary_search_by_key(&event.order(), SessionEvent::order).is_ok()
        })
    }

    fn hold_again(&mut self, session: u32, span: Span, events: &[SessionEvent]) {
        let is_free = self.length(session) == 0;
        let visit = if is_free { session } else { self.hang(session, span.first) };
        let mut products = None;
        events.iter().for_each(|event| self.insert(visit, *event, &mut products));
        self.settle(visit);
        let state = &mut self.sessions[visit as usize];
        state.whole = span.whole;
        if let Some(contribution) = state.contribution {
            self.retirement.settle(contribution, -1);
        }
    }
}
