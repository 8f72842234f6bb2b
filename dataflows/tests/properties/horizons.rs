//! Forgetting changes no answer: with records older than a horizon kept back as pending, every answer at every closed epoch
//! is the oracle's of the rest.

use super::settings::Chosen;
use super::{config, how, records, settings};
use crate::support::compare::{check, incoming, watermarks};
use crate::support::run::{Ran, run};
use crate::support::{Line, context};
use millrace_dataflows::context::Keeps;
use millrace_dataflows::operators::activity::Activity;
use millrace_dataflows::oracle::{Incoming, Outcome, observe};
use millrace_dataflows::settings::{Horizons, ViewContext};
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Of deduplication and of sessions.
pub fn horizons(seconds: (i64, i64)) -> Horizons {
    Horizons { deduplication: Some(seconds.0 * 1_000_000), sessions: Some(seconds.1 * 1_000_000) }
}

pub fn seconds() -> impl Strategy<Value = (i64, i64)> {
    select(vec![(60, 60), (3_600, 600), (600, 7_200), (36_000, 3_600)])
}

pub fn with_horizons(settings: &Chosen, seconds: (i64, i64)) -> Arc<ViewContext> {
    let horizons = horizons(seconds);
    let chosen = settings.context();
    // A user's activity has no end.
    let of_sessions = if chosen.funnel.unit == context().funnel.unit { (*chosen).clone() } else { context() };
    Arc::new(ViewContext { horizons, ..of_sessions })
}

/// Marks what comes too late as pending. Left out is an event that is not too late itself, and has the id of one that is
/// forgotten, with another time. That is not seen.
pub fn under(horizons: Horizons, lines: Vec<Line>) -> Vec<Line> {
    under_after(horizons, lines, None)
}

/// The same with no horizons up to and with an epoch.
pub fn under_after(horizons: Horizons, lines: Vec<Line>, none_until: Option<u64>) -> Vec<Line> {
    let watermarks = watermarks(&lines);
    let mut kept: Vec<Line> = Vec::new();
    let mut in_order = lines;
    in_order.sort_by_key(|line| (line.epoch, line.place));
    for epoch in in_order.chunk_by(|a, b| a.epoch == b.epoch) {
        let watermark = watermarks.range(..epoch[0].epoch).next_back().map_or(i64::MIN, |(_, watermark)| *watermark);
        let before: Vec<Incoming> = kept.iter().map(incoming).collect();
        let mut ids = BTreeMap::<String, i64>::new();
        for one in observe(&before).iter().filter(|one| one.outcome == Outcome::Accepted) {
            let record = one.record.as_ref().expect("it was accepted");
            ids.insert(record.event_id.clone(), record.time);
        }
        for line in epoch {
            if none_until.is_some_and(|until| line.epoch <= until) {
                kept.push(line.clone());
                continue;
            }
            let Ok(record) = incoming(line).decoded else {
                kept.push(line.clone());
                continue;
            };
            let pending = record.time < horizons.limit(record.kind, watermark);
            let forgotten = !record.event_id.is_empty()
                && ids.get(&record.event_id).is_some_and(|time| *time < horizons.deduplication_limit(watermark));
            if pending || !forgotten {
                kept.push(Line { pending, ..line.clone() });
            }
        }
    }
    kept
}

proptest! {
    #![proptest_config(config(150, "tests/properties/horizons.regressions"))]

    #[test]
    fn what_is_forgotten_is_not_missed(
        sent in records::sent(1..60, 2, 8),
        settings in settings::settings(),
        seconds in seconds(),
        how in how(),
        seed in any::<u64>(),
    ) {
        let context = with_horizons(&settings, seconds);
        let lines = under(context.horizons, records::lines(&sent));
        let ran = run(&context, &lines, how);
        check(&ran, &lines, seed, 4);
        check_open(&ran, &lines);
    }
}

/// The sessions that are said to be open are those that can go on, and at most those of an eighth of the horizon besides.
fn check_open(ran: &Ran, lines: &[Line]) {
    let horizons = ran.shared.context.horizons;
    let limit = watermarks(lines).into_values().next_back().map_or(i64::MIN, |last| horizons.session_limit(last));
    let mut latest = BTreeMap::<_, i64>::new();
    for (_, event) in ran.accepted.iter().filter(|(_, event)| Activity::of(event, event.session).is_some()) {
        let time = latest.entry(event.session).or_insert(event.time);
        *time = event.time.max(*time);
    }
    let since = |limit: i64| latest.values().filter(|time| **time >= limit).count();
    let eighth = horizons.sessions.map_or(0, |horizon| horizon / 8);
    let (least, most, said) = (since(limit), since(limit.saturating_sub(eighth)), ran.shared.held.get(Keeps::Sessions));
    assert!((least..=most).contains(&said), "{said} sessions are said to be open, and {least} to {most} are");
}
