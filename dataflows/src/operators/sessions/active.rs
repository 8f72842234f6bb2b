//! What a session's events count in the traffic: an event once, and its session once for each minute, hour and day.

use super::SessionEvent;
use crate::context::{Bucket, Buckets};
use crate::operators::activity::Act;
use crate::rows::Netting;
use crate::views::traffic;

/// Of events in order of time, what [`Buckets::beyond_gap`] asks for.
pub(super) fn beyond_gap(buckets: &mut Buckets, time: i64, events: &[SessionEvent]) -> Option<i64> {
    let first = |limit: i64| events.partition_point(|event| event.time < limit);
    let time_at = |at: usize| events.get(at).map(|event| event.time);
    let last_before = |limit| time_at(first(limit).checked_sub(1)?);
    buckets.beyond_gap(time, last_before, |limit| time_at(first(limit)))
}

/// Counts an event `sign` times, and its session where no neighbour in time is in the same bucket.
pub(super) fn count_traffic(
    buckets: &mut Buckets,
    out: &mut Netting,
    event: &SessionEvent,
    neighbours: [Option<i64>; 3],
    sign: i64,
) {
    let measure = if event.act().is_page_view() {
        Some(traffic::PAGE_VIEWS)
    } else if event.act() == Act::AddToCart {
        Some(traffic::CART_ADDITIONS)
    } else {
        None
    };
    let neighbours: [Option<Bucket>; 3] = neighbours.map(|time| time.map(|time| buckets.of(time)));
    let bucket = buckets.of(event.time);
    for grain in traffic::GRAINS {
        let key = grain.key(bucket, 0);
        if let Some(measure) = measure {
            out.add(key, measure, sign);
        }
        if !neighbours.iter().flatten().any(|other| grain.key(*other, 0) == key) {
            out.add(key, traffic::ACTIVE_SESSIONS, sign);
        }
    }
}
