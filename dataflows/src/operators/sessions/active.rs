//! When a session is present: at each of its events, and in which minutes, hours and days that is the only one so far.

use super::SessionEvent;
use crate::context::{Bucket, Buckets};
use crate::facts::{Presence, Present};
use crate::operators::activity::Act;

/// Of events in order of time, what [`Buckets::beyond_gap`] asks for.
pub(super) fn beyond_gap(buckets: &mut Buckets, time: i64, events: &[SessionEvent]) -> Option<i64> {
    let first = |limit: i64| events.partition_point(|event| event.time < limit);
    let time_at = |at: usize| events.get(at).map(|event| event.time);
    let last_before = |limit| time_at(first(limit).checked_sub(1)?);
    buckets.beyond_gap(time, last_before, |limit| time_at(first(limit)))
}

/// An event of a session, whose neighbours in time are at these instants.
pub(super) fn presence(buckets: &mut Buckets, event: &SessionEvent, neighbours: [Option<i64>; 3]) -> Presence {
    let what = match event.act() {
        Act::AddToCart => Present::CartAddition,
        act if act.is_page_view() => Present::PageView,
        _ => Present::OtherEvent,
    };
    let neighbours: [Option<Bucket>; 3] = neighbours.map(|time| time.map(|time| buckets.of(time)));
    let bucket = buckets.of(event.time);
    Presence { bucket, what, first_in: bucket.apart_from(neighbours.iter().flatten()) }
}
