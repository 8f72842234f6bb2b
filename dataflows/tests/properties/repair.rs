//! What came too late is merged while everything goes on: then all answers are as if it had come then, and so they are when the
//! engine is started again.

use super::horizons::{horizons, seconds, under, with_horizons};
use super::recovery::{kept, later, left_of, line, looks};
use super::{config, how, records, settings};
use crate::support::compare::{answer_context, check_answer, incoming, nets, observed, states};
use crate::support::questions::{fixed, random};
use crate::support::run::{How, Left, event_of, run, run_on};
use crate::support::{Line, context};
use millrace_dataflows::durable::{Kept, Needed, Recall};
use millrace_dataflows::oracle::visits::cut_sessions;
use millrace_dataflows::settings::ViewContext;
use millrace_dataflows::views::quality::Accounting;
use millrace_dataflows::views::{VIEWS, view};
use millrace_schema::calendar::Calendar;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// At epoch `at` what was pending before is merged, up to there with sessions that were counted whole where `whole` was. Started
/// again after `stop`, with compactions on the way.
fn check(
    context: &Arc<ViewContext>,
    lines: &[Line],
    (first, second): (How, How),
    at: u64,
    (stop, compactions): (u64, usize),
    seed: u64,
) -> Accounting {
    let before = run(context, lines, first);
    let is_late = |line: &Line| line.pending && line.epoch < at;
    let late: Vec<Line> = lines.iter().filter(|line| is_late(line)).cloned().collect();
    let late_events: Vec<_> = late.iter().filter_map(|line| event_of(line, &before.shared)).collect();
    let complete = crate::support::compare::watermarks(lines);
    let complete = complete.range(..at).next_back().map(|(_, watermark)| *watermark);
    let mut recall = Recall::new(&before.shared, &late_events);
    recall.forgotten_under(complete);
    // A day at a time, as they are asked for.
    let (mut looked, calendar) = (BTreeSet::new(), context.calendar.clone());
    while let Some(day) = recall.days().iter().copied().find(|day| !looked.contains(day)) {
        looked.insert(day);
        for (_, event) in before.accepted.iter().filter(|(epoch, event)| *epoch < at && calendar.day(event.time) == day)
        {
            recall.look(&Kept { event: *event, needed: Needed::NOTHING });
        }
    }
    let recalled = recall.finish();
    let merged = late.iter().map(|line| Line { pending: false, was_pending: true, epoch: at, ..line.clone() });
    let merged: Vec<Line> = merged.collect();
    let fed: Vec<Line> = lines.iter().chain(&merged).cloned().collect();
    let mut watermarks = crate::support::compare::watermarks(lines);
    // From before it is looked up until it is merged, nothing is forgotten.
    watermarks.remove(&at);
    let left = Left {
        names: before.shared.names.clone(),
        watermarks: Some(watermarks),
        recalled: BTreeMap::from([(at, recalled.clone())]),
        ..Left::default()
    };
    let ran = run_on(context, &fed, first, left);
    let all = nets(&ran);
    let known: Vec<Line> = lines.iter().filter(|line| !is_late(line)).chain(&merged).cloned().collect();
    let last = known.iter().map(|line| line.epoch).max().unwrap_or(0);
    for epoch in at..=last {
        let observed = observed(&known, epoch);
        let mut visits = observed.clone();
        if let Some(pause) = context.horizons.pause() {
            cut_sessions(&mut visits, pause, |_| false);
        }
        let (answers, states) = (answer_context(&ran, &observed), states(&all, epoch));
        for ((name, _), state) in VIEWS.iter().zip(&states) {
            let view = view(name, context).expect("VIEWS names it");
            let observed = if *name == "quality" { &observed } else { &visits };
            for query in fixed(name).into_iter().chain(random(name, context, seed ^ epoch, 3)) {
                check_answer(&*view, state, &answers, observed, &query, epoch);
            }
        }
    }

    let mut rows = kept(&ran, Needed::ALL);
    let of_sessions = recalled.iter().filter(|kept| kept.needed.holds(Needed::SESSION));
    let needed = Needed::SESSION.with(Needed::RECALLED, true);
    rows.extend(of_sessions.map(|kept| (at, Kept { needed, ..*kept })));
    let rest: Vec<Line> = fed.iter().filter(|line| line.epoch > stop).cloned().collect();
    let ran_again = run_on(context, &rest, second, left_of(&ran.shared, &rows, lines, stop, compactions));
    let (again, once) = (later(nets(&ran_again), stop), later(all.clone(), stop));
    let differ: Vec<_> = again.keys().chain(once.keys()).filter(|key| again.get(key) != once.get(key)).collect();
    let shown = |key| (VIEWS[key_view(key)].0, key, again.get(key), once.get(key));
    assert!(
        differ.is_empty(),
        "merged at {at}, taken up after {stop}: {:?}",
        differ.into_iter().map(shown).collect::<Vec<_>>()
    );
    Accounting::of(&states(&all, last)[VIEWS.len() - 1])
}

fn key_view((_, view, _): &(u64, usize, millrace_dataflows::rows::Key)) -> usize {
    *view
}

/// Left out are conflicts that are not seen: what comes later under an id of what is merged, which is forgotten soon, and what has the
/// id of an event of another day.
fn without_unseen_conflicts(lines: Vec<Line>, at: u64, calendar: &Calendar) -> Vec<Line> {
    let record = |line: &Line| incoming(line).decoded.ok().filter(|record| !record.event_id.is_empty());
    let id = |line: &Line| record(line).map(|record| record.event_id);
    let mut days = BTreeMap::<String, i64>::new();
    let mut is_of_its_day = |line: &Line| {
        record(line).is_none_or(|record| {
            let day = calendar.day(record.time);
            *days.entry(record.event_id).or_insert(day) == day
        })
    };
    let lines: Vec<Line> = lines.into_iter().filter(|line| is_of_its_day(line)).collect();
    let late: BTreeSet<String> = lines.iter().filter(|line| line.pending && line.epoch < at).filter_map(id).collect();
    let is_copy = |line: &Line| line.epoch >= at && !line.pending && id(line).is_some_and(|id| late.contains(&id));
    lines.into_iter().filter(|line| !is_copy(line)).collect()
}

proptest! {
    #![proptest_config(config(120, "tests/properties/repair.regressions"))]

    #[test]
    fn what_was_pending_is_merged_while_everything_goes_on(
        sent in records::sent(1..60, 2, 8),
        settings in settings::settings(),
        seconds in seconds(),
        hows in (how(), how()),
        at in 1..8_u64,
        stop in 0..4_u64,
        compactions in 0..3_usize,
        seed in any::<u64>(),
    ) {
        let context = with_horizons(&settings, seconds);
        let lines = without_unseen_conflicts(under(context.horizons, records::lines(&sent)), at, &context.calendar);
        check(&context, &lines, hows, at, (at + stop, compactions), seed);
    }
}

/// A late event joins a visit that is forgotten, another is a copy, and a third makes one visit of two. Then the products are described,
/// which moves what sessions viewed first.
#[test]
fn late_events_join_what_was_forgotten() {
    let described = |number, epoch, product: &str| {
        let what = r#""event_type":"product","updated_at":"2019-10-27T00:00:00Z","category":"toys""#;
        line(number, epoch, format!(r#"{{{what},"product_id":"{product}"}}"#))
    };
    let late = |line: Line| Line { pending: true, ..line };
    let copy = looks(1, 0, "s", 1, "a");
    let lines = [
        looks(0, 0, "s", 0, "b"),
        copy.clone(),
        looks(2, 0, "s", 3, "c"),
        looks(3, 1, "t", 300, "a"),
        looks(4, 2, "t", 301, "a"),
        late(looks(5, 3, "s", 2, "d")),
        late(Line { epoch: 3, place: millrace_schema::Place::new(0, 6), ..copy }),
        late(looks(7, 3, "new", 2, "b")),
        looks(8, 4, "t", 600, "b"),
        looks(9, 5, "t", 601, "b"),
        described(10, 6, "b"),
        described(11, 7, "d"),
    ];
    let context = Arc::new(ViewContext { horizons: horizons((90, 90)), ..context() });
    for (stop, compactions) in [(4, 0), (4, 1), (5, 1), (5, 2), (6, 1), (6, 3)] {
        for workers in [1, 2] {
            let hows = (How::workers(workers), How::workers(3 - workers));
            let accounting = check(&context, &lines, hows, 4, (stop, compactions), 7);
            assert_eq!((accounting.pending, accounting.duplicates), (0, 1), "{accounting:?}");
        }
    }
}
