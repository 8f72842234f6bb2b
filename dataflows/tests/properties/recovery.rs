//! A run that stops at any epoch and is taken up again, by any number of workers, changes the views as one that never stopped:
//! from all accepted events, and from what a compaction leaves of them.

use super::horizons::under;
use super::{config, how, records, settings};
use crate::support::compare::{Nets, nets, watermarks};
use crate::support::run::{How, Left, Ran, run, run_on};
use crate::support::{Line, context};
use millrace_dataflows::durable::{Base, Compaction, Kept, Needed};
use millrace_dataflows::settings::{Horizons, ViewContext};
use proptest::prelude::*;
use proptest::sample::select;
use std::sync::Arc;

/// What a run has left at an epoch, `compactions` times compacted on the way.
fn left(ran: &Ran, lines: &[Line], epoch: u64, compactions: usize) -> Left {
    let kept = |(_, event): &(u64, _)| Kept { event: *event, needed: Needed::ALL };
    let (mut rows, mut base) = (Vec::new(), Base::default());
    let watermarks = watermarks(lines);
    for step in 1..=compactions.max(1) as u64 {
        // The last compaction is at the epoch itself, those before it earlier.
        let until = epoch * step / compactions.max(1) as u64;
        let from = if step == 1 { 0 } else { epoch * (step - 1) / compactions as u64 + 1 };
        rows.extend(ran.accepted.iter().filter(|(epoch, _)| (from..=until).contains(epoch)).map(kept));
        let Some((_, &watermark)) = watermarks.range(..=until).next_back() else { continue };
        if compactions > 0 {
            let mut compaction = Compaction::new(&ran.shared, watermark).in_slices(3);
            rows.iter().for_each(|row| compaction.look(row));
            let left = rows.iter().filter_map(|row| compaction.keep(row)).collect();
            while compaction.next_slice() {
                rows.iter().for_each(|row| compaction.gather_again(row));
            }
            rows = left;
            add(&mut base, compaction.finish());
        }
    }
    Left { epoch, kept: rows, base, names: ran.shared.names.clone(), watermarks: Some(watermarks) }
}

fn add(base: &mut Base, more: Base) {
    more.pairs.into_iter().for_each(|(pair, count)| *base.pairs.entry(pair).or_default() += count);
    more.settled.into_iter().for_each(|(settled, count)| *base.settled.entry(settled).or_default() += count);
    more.warnings.into_iter().for_each(|(warning, count)| *base.warnings.entry(warning).or_default() += count);
}

fn check(context: &Arc<ViewContext>, lines: &[Line], (first, second): (How, How), stop: u64, compactions: usize) {
    let whole = run(context, lines, first);
    let later = |nets: Nets| -> Nets { nets.into_iter().filter(|((epoch, ..), _)| *epoch > stop).collect() };
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
        seconds in select(vec![(60, 60), (3_600, 600), (600, 7_200), (36_000, 3_600)]),
        hows in (how(), how()),
        stop in 0..8_u64,
        compactions in 1..4_usize,
    ) {
        let micros = |seconds: i64| Some(seconds * 1_000_000);
        let horizons = Horizons { deduplication: micros(seconds.0), sessions: micros(seconds.1) };
        let chosen = ViewContext { horizons, ..(*settings.context()).clone() };
        // A user's activity has no end.
        let context = if chosen.funnel.unit == context().funnel.unit { chosen } else { ViewContext { horizons, ..context() } };
        let lines = under(horizons, records::lines(&sent));
        check(&Arc::new(context), &lines, hows, stop, compactions);
    }
}

/// Of sessions that are forgotten the counts of their pairs decide what is listed later.
#[test]
fn pairs_of_forgotten_sessions_still_count() {
    let view = |number: u64, epoch: u64, session: &str, minute: u64, product: &str| Line {
        text: format!(
            r#"{{"event_type":"page_view","event_id":"e{number}","event_time":"2019-10-27T{:02}:{:02}:00Z","session_id":"{session}","page_type":"product","product_id":"{product}"}}"#,
            minute / 60,
            minute % 60
        ),
        place: millrace_schema::Place::new(0, number),
        epoch,
        received_at: None,
        pending: false,
    };
    let mut lines = Vec::new();
    for (session, products) in ["ab", "ab", "ab", "ac"].iter().enumerate() {
        for product in products.chars() {
            let number = lines.len() as u64;
            lines.push(view(number, 0, &format!("s{session}"), session as u64, &product.to_string()));
        }
    }
    for (number, epoch, session, product) in
        [(20, 1, "late", "a"), (21, 2, "t", "a"), (22, 3, "t", "c"), (23, 4, "u", "a"), (24, 4, "u", "c")]
    {
        lines.push(view(number, epoch, session, 600, product));
    }
    let related = millrace_dataflows::settings::RelatedSettings { list_length: 1, candidates: 1, ..context().related };
    let horizons = Horizons { deduplication: Some(60_000_000), sessions: Some(60_000_000) };
    let context = Arc::new(ViewContext { horizons, related, ..context() });
    for stop in 0..4 {
        check(&context, &lines, (How::workers(1), How::workers(2)), stop, 1);
    }
}
