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

/// The visits of a session, apart by more than a pause.
#[derive(Debug, Default)]
pub struct Spans(SmallVec<[Span; 1]>);

impl Spans {
    /// Takes an event in. It may bring visits together.
    pub fn see(&mut self, time: i64, whole: bool, pause: i64) {
        let mut seen = Span::at(time, whole);
        while let Some(at) = self.0.iter().position(|visit| visit.joins(&seen, pause)) {
            seen = self.0.swap_remove(at).with(&seen);
        }
        self.0.push(seen);
    }

    /// That of an event which has been taken in.
    pub fn of(&self, time: i64) -> &Span {
        let visit = self.0.iter().find(|visit| visit.first <= time && time <= visit.last);
        visit.expect("all events are taken in before they are asked for")
    }

    pub fn iter(&self) -> impl Iterator<Item = &Span> {
        self.0.iter()
    }
}
