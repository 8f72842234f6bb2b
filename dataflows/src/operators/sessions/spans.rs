//! Where the visits of a session are, by the times of its events alone.

use smallvec::SmallVec;

/// A visit, or an event: from the first event to the last, UTC microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub first: i64,
    pub last: i64,
    /// It was counted as one, whatever pauses there were.
    pub whole: bool,
}

impl Span {
    pub fn at(time: i64, whole: bool) -> Span {
        Span { first: time, last: time, whole }
    }

    /// Whether the two are of one visit: no further apart than a pause, or both of what was counted as one.
    #[inline]
    pub fn joins(&self, other: &Span, pause: i64) -> bool {
        let is_near = self.first.saturating_sub(pause) <= other.last && other.first <= self.last.saturating_add(pause);
        self.whole && other.whole || is_near
    }

    /// Both as one.
    pub fn with(&self, other: &Span) -> Span {
        let (first, last) = (self.first.min(other.first), self.last.max(other.last));
        Span { first, last, whole: self.whole || other.whole }
    }
}

/// The visits of a session, apart by more than a pause, and so in order of time. One of them at most is whole.
#[derive(Debug, Default)]
pub struct Spans(SmallVec<[Span; 1]>);

impl Spans {
    /// Takes an event in. It may bring visits together.
    pub fn see(&mut self, time: i64, whole: bool, pause: i64) {
        let mut seen = Span::at(time, whole);
        if whole && let Some(at) = self.0.iter().position(|visit| visit.whole) {
            seen = self.0.remove(at).with(&seen);
        }
        // Those that it joins lie side by side, and there are few: they were apart before it.
        let first = self.0.partition_point(|visit| visit.last < seen.first.saturating_sub(pause));
        let joined = self.0[first..].iter().take_while(|visit| visit.joins(&seen, pause)).count();
        seen = self.0.drain(first..first + joined).fold(seen, |seen, visit| visit.with(&seen));
        self.0.insert(first, seen);
    }

    /// That of an event which has been taken in.
    pub fn of(&self, time: i64) -> &Span {
        let visit = self.0.get(self.0.partition_point(|visit| visit.last < time)).filter(|visit| visit.first <= time);
        visit.expect("all events are taken in before they are asked for")
    }

    pub fn iter(&self) -> impl Iterator<Item = &Span> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// In whatever order they come, the visits are those of the sorted events.
        #[test]
        fn visits_are_cut_at_pauses(events in prop::collection::vec((0..60_i64, prop::bool::weighted(0.2)), 1..30)) {
            const PAUSE: i64 = 3;
            let mut spans = Spans::default();
            for (at, &(time, whole)) in events.iter().enumerate() {
                spans.see(time, whole, PAUSE);
                let mut visits: Vec<Span> = events[..=at].iter().map(|&(time, whole)| Span::at(time, whole)).collect();
                while let Some((a, b)) = (0..visits.len())
                    .flat_map(|b| (0..b).map(move |a| (a, b)))
                    .find(|&(a, b)| visits[a].joins(&visits[b], PAUSE))
                {
                    let joined = visits.swap_remove(b).with(&visits[a]);
                    visits[a] = joined;
                }
                visits.sort_by_key(|visit| visit.first);
                prop_assert!(spans.iter().eq(visits.iter()));
                for (time, _) in &events[..=at] {
                    let of = spans.of(*time);
                    prop_assert!(of.first <= *time && *time <= of.last);
                }
            }
        }
    }
}
