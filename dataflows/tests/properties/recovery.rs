//! A run that stops at any epoch and is taken up again, by any number of workers, changes the views as one that never stopped:
//! from all accepted events, and from what a compaction leaves of them. One that had no horizons is gone on with under some.

use super::horizons::{horizons, seconds, under, under_after, with_horizons};
use super::{config, how, records, settings};
use crate::support::compare::{Nets, answer_context, check_answer, nets, observed, states, watermarks};
use crate::support::questions::{fixed, random};
use crate::support::run::{How, Left, Ran, run, run_on};
use crate::support::{Line, context};
use millrace_dataflows::context::Shared;
use millrace_dataflows::durable::{Base, Compaction, Kept, Needed};
use millrace_dataflows::oracle::visits::cut_sessions;
use millrace_dataflows::settings::{Horizons, ViewContext};
use millrace_dataflows::views::{VIEWS, view};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a run has left at an epoch, `compactions` times compacted on the way.
fn left(ran: &Ran, lines: &[Line], epoch: u64, compactions: usize) -> Left {
    left_of(&ran.shared, &kept(ran, Needed::ALL), lines, epoch, compactions)
}

/// The accepted events of a run, and at which epochs they were.
pub fn kept(ran: &Ran, needed: Needed) -> Vec<(u64, Kept)> {
    ran.accepted.iter().map(|(epoch, event)| (*epoch, Kept { event: *event, needed })).collect()
}

pub fn left_of(shared: &Shared, kept: &[(u64, Kept)], lines: &[Line], epoch: u64, compactions: usize) -> Left {
    let (mut rows, mut base) = (Vec::new(), Base::default());
    let watermarks = watermarks(lines);
    for step in 1..=compactions.max(1) as u64 {
        // The last compaction is at the epoch itself, those before it earlier.
        let until = epoch * step / compactions.max(1) as u64;
        let from = if step == 1 { 0 } else { epoch * (step - 1) / compactions as u64 + 1 };
        rows.extend(kept.iter().filter(|(epoch, _)| (from..=until).contains(epoch)).map(|(_, kept)| *kept));
        let Some((_, &watermark)) = watermarks.range(..=until).next_back() else { continue };
        if compactions > 0 {
            let mut compaction = Compaction::new(shared, watermark).in_slices(3);
            let mut left = Vec::new();
            loop {
                rows.iter().for_each(|row| compaction.look(row));
                left.extend(rows.iter().filter_map(|row| compaction.keep(row)));
                if !compaction.next_slice() {
                    break;
                }
            }
            rows = left;
            add(&mut base, compaction.finish());
        }
    }
    let (names, watermarks) = (shared.names.clone(), Some(watermarks));
    Left { epoch, kept: rows, base, names, watermarks, ..Left::default() }
}

fn add(base: &mut Base, more: Base) {
    more.pairs.into_iter().for_each(|(pair, count)| *base.pairs.entry(pair).or_default() += count);
    more.settled.into_iter().for_each(|(settled, count)| *base.settled.entry(settled).or_default() += count);
    more.warnings.into_iter().for_each(|(warning, count)| *base.warnings.entry(warning).or_default() += count);
}

pub fn later(nets: Nets, epoch: u64) -> Nets {
    nets.into_iter().filter(|((of, ..), _)| *of > epoch).collect()
}

fn check(context: &Arc<ViewContext>, lines: &[Line], (first, second): (How, How), stop: u64, compactions: usize) {
    let whole = run(context, lines, first);
    let later = |nets| later(nets, stop);
    let rest: Vec<Line> = lines.iter().filter(|line| line.epoch > stop).cloned().collect();
    let ran = run_on(context, &rest, second, left(&whole, lines, stop, compactions));
    assert_eq!(later(nets(&ran)), later(nets(&whole)), "taken up after epoch {stop}, {compactions} compactions");
}

proptest! {
    #![proptest_config(config(60, "tests/properties/recovery.regressions"))]

    #[test]
    fn a_run_is_taken_up_from_its_accepted_events(
        sent in records::sent(1..60, 3, 6),
        settings in settings::settings(),
        hows in (how(), how()),
        stop in 0..6_u64,
    ) {
        check(&settings.context(), &records::lines(&sent), hows, stop, 0);
    }

    #[test]
    fn a_run_is_taken_up_from_what_is_compacted(
        sent in records::sent(1..60, 2, 8),
        settings in settings::settings(),
        seconds in seconds(),
        hows in (how(), how()),
        stop in 0..8_u64,
        compactions in 1..4_usize,
    ) {
        let context = with_horizons(&settings, seconds);
        let lines = under(context.horizons, records::lines(&sent));
        check(&context, &lines, hows, stop, compactions);
    }
}

/// A replay, gone on with by an engine that has horizons.
fn check_replay(
    context: &ViewContext,
    lines: &[Line],
    (first, second): (How, How),
    stop: u64,
    compactions: usize,
    seed: u64,
) {
    let (replayed, rest): (Vec<Line>, Vec<Line>) = lines.iter().cloned().partition(|line| line.epoch <= stop);
    let whole = run(&Arc::new(ViewContext { horizons: Horizons::NONE, ..context.clone() }), &replayed, first);
    let context = Arc::new(context.clone());
    let shared = Shared { context: context.clone(), ..whole.shared.clone() };
    let mut kept_of_all = kept(&whole, Needed::ALL.with(Needed::WHOLE, true));
    let ran = run_on(&context, &rest, second, left_of(&shared, &kept_of_all, lines, stop, compactions));
    let mut all = nets(&whole);
    all.extend(later(nets(&ran), stop));
    let last = lines.iter().map(|line| line.epoch).max().unwrap_or(0);
    // And that engine is taken up again.
    let again = stop + last.saturating_sub(stop) / 2;
    kept_of_all.extend(kept(&ran, Needed::ALL).into_iter().filter(|(epoch, _)| *epoch > stop));
    let rest: Vec<Line> = rest.into_iter().filter(|line| line.epoch > again).collect();
    let ran_again = run_on(&context, &rest, first, left_of(&shared, &kept_of_all, lines, again, compactions));
    assert_eq!(later(nets(&ran_again), again), later(all.clone(), again), "taken up after epochs {stop} and {again}");
    for epoch in stop..=last {
        let observed = observed(lines, epoch);
        let replayed: BTreeSet<_> = replayed.iter().map(|line| line.place).collect();
        let mut visits = observed.clone();
        if let Some(pause) = context.horizons.pause() {
            cut_sessions(&mut visits, pause, |at| replayed.contains(&observed[at].place));
        }
        let (answers, states) = (answer_context(&ran, &observed), states(&all, epoch));
        for ((name, _), state) in VIEWS.iter().zip(&states) {
            let view = view(name, &context).expect("VIEWS names it");
            let observed = if *name == "quality" { &observed } else { &visits };
            for query in fixed(name).into_iter().chain(random(name, &context, seed ^ epoch, 3)) {
                check_answer(&*view, state, &answers, observed, &query, epoch);
            }
        }
    }
}

proptest! {
    #![proptest_config(config(60, "tests/properties/recovery.regressions"))]

    #[test]
    fn a_replay_is_gone_on_with_under_horizons(
        sent in records::sent(1..60, 2, 8),
        settings in settings::settings(),
        seconds in seconds(),
        hows in (how(), how()),
        stop in 0..8_u64,
        compactions in 0..2_usize,
        seed in any::<u64>(),
    ) {
        let context = with_horizons(&settings, seconds);
        let lines = under_after(context.horizons, records::lines(&sent), Some(stop));
        check_replay(&context, &lines, hows, stop, compactions, seed);
    }
}

pub fn line(number: u64, epoch: u64, text: String) -> Line {
    Line {
        text,
        place: millrace_schema::Place::new(0, number),
        epoch,
        received_at: None,
        pending: false,
        was_pending: false,
    }
}

/// Somebody looks at a product, so many minutes after midnight.
pub fn looks(number: u64, epoch: u64, session: &str, minute: u64, product: &str) -> Line {
    let time = format!("2019-10-27T{:02}:{:02}:00Z", minute / 60, minute % 60);
    let what = r#""event_type":"page_view","page_type":"product""#;
    line(
        number,
        epoch,
        format!(
            r#"{{{what},"event_id":"e{number}","event_time":"{time}","session_id":"{session}","product_id":"{product}"}}"#
        ),
    )
}

/// Both visits of a session are forgotten, each with its first product: when one of them is described, it moves.
#[test]
fn visits_are_forgotten_one_by_one() {
    let described = line(
        9,
        3,
        r#"{"event_type":"product","product_id":"b","updated_at":"2019-10-27T00:00:00Z","category":"toys"}"#.to_owned(),
    );
    let lines = [
        looks(0, 0, "s", 0, "a"),
        looks(1, 0, "s", 1, "c"),
        looks(2, 0, "s", 60, "b"),
        looks(3, 1, "late", 300, "a"),
        looks(4, 2, "late", 301, "a"),
        described,
    ];
    let context = Arc::new(ViewContext { horizons: horizons((60, 60)), ..context() });
    for stop in 0..3 {
        check(&context, &lines, (How::workers(1), How::workers(2)), stop, 1);
    }
    let at_the_end = nets(&run(&context, &lines, How::workers(1)));
    let funnel = VIEWS.iter().position(|(name, _)| *name == "funnel").expect("it is there");
    assert!(at_the_end.keys().any(|(epoch, view, _)| (*epoch, *view) == (3, funnel)), "the second visit moves");
}

/// A replay has counted a session whole that pauses; what the engine adds to it is another visit. Started again, that is still so:
/// the second product of the whole is first in nothing.
#[test]
fn what_was_counted_whole_stays_whole() {
    let described = |number, epoch, product: &str| {
        let what = r#""event_type":"product","updated_at":"2019-10-27T00:00:00Z","category":"toys""#;
        line(number, epoch, format!(r#"{{{what},"product_id":"{product}"}}"#))
    };
    let lines = [
        looks(0, 0, "s", 0, "a"),
        looks(1, 0, "s", 100, "c"),
        looks(2, 1, "s", 300, "b"),
        looks(3, 2, "s", 301, "a"),
        described(4, 3, "c"),
        described(5, 4, "a"),
    ];
    let context = ViewContext { horizons: horizons((3_600, 3_600)), ..context() };
    for (compactions, workers) in [(0, 1), (0, 2), (1, 1)] {
        check_replay(&context, &lines, (How::workers(1), How::workers(workers)), 0, compactions, 7);
    }
}

/// Of sessions that are forgotten the counts of their pairs decide what is listed later.
#[test]
fn pairs_of_forgotten_sessions_still_count() {
    let mut lines = Vec::new();
    for (session, products) in ["ab", "ab", "ab", "ac"].iter().enumerate() {
        for product in products.chars() {
            let number = lines.len() as u64;
            lines.push(looks(number, 0, &format!("s{session}"), session as u64, &product.to_string()));
        }
    }
    for (number, epoch, session, product) in
        [(20, 1, "late", "a"), (21, 2, "t", "a"), (22, 3, "t", "c"), (23, 4, "u", "a"), (24, 4, "u", "c")]
    {
        lines.push(looks(number, epoch, session, 600, product));
    }
    let related = millrace_dataflows::settings::RelatedSettings { list_length: 1, candidates: 1, ..context().related };
    let horizons = Horizons { deduplication: Some(60_000_000), sessions: Some(60_000_000) };
    let context = Arc::new(ViewContext { horizons, related, ..context() });
    for stop in 0..4 {
        check(&context, &lines, (How::workers(1), How::workers(2)), stop, 1);
    }
}
