//! Visits: under a horizon of sessions, what comes after a longer pause counts as another session.
//!
//! Choice where docs/metrics.md is silent: it knows no horizons. Replays and repairs count a session whole.

use super::Observed;
use std::collections::BTreeMap;

/// Gives each visit of a session an id of its own, as the oracles of all views but `quality` are to see it. Events that are `whole`
/// are of one visit, with what lies between them, whatever pauses there were. `pause` is in microseconds.
pub fn cut_sessions(observed: &mut [Observed], pause: i64, whole: impl Fn(usize) -> bool) {
    // First and last time of each whole visit, and each other event.
    let mut wholes: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let mut spans: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    for (at, one) in observed.iter().enumerate() {
        let Some(record) = one.accepted().filter(|record| !record.session_id.is_empty()) else { continue };
        if whole(at) {
            let (first, last) = wholes.entry(record.session_id.clone()).or_insert((record.time, record.time));
            (*first, *last) = (record.time.min(*first), record.time.max(*last));
        } else {
            spans.entry(record.session_id.clone()).or_default().push((record.time, record.time));
        }
    }
    wholes.into_iter().for_each(|(session, span)| spans.entry(session).or_default().push(span));
    let mut visits: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    for (session, mut spans) in spans {
        spans.sort_unstable();
        let visits = visits.entry(session).or_default();
        for (first, last) in spans {
            match visits.last_mut() {
                Some((_, end)) if first - *end <= pause => *end = last.max(*end),
                _ => visits.push((first, last)),
            }
        }
    }
    for one in observed.iter_mut().filter(|one| one.accepted().is_some()) {
        let Some(record) = one.record.as_mut().filter(|record| !record.session_id.is_empty()) else { continue };
        let number =
            visits[&record.session_id].iter().position(|(first, last)| (*first..=*last).contains(&record.time));
        record.session_id += &format!("\u{1}{}", number.unwrap_or(0));
    }
}
