//! `StepOrder::progress` against a search of all chains.

use crate::properties::config;
use millrace_dataflows::settings::{FunnelPlan, FunnelUnit, StepPlan};
use millrace_dataflows::views::funnel::chain::{Progress, StepOrder};
use proptest::prelude::*;

/// Time, and a bit for each step that the event matches.
type Event = (i64, u8);

/// Tries every chain that visits `steps` in order, from `events[start]` on: the soonest completion.
fn soonest(events: &[Event], start: i64, now: i64, steps: &[usize], window: i64) -> Option<i64> {
    let Some((step, rest)) = steps.split_first() else { return Some(now) };
    let next = events.iter().filter(|(time, mask)| *time >= now && time - start <= window && *mask & 1_u8 << step != 0);
    next.filter_map(|(time, _)| soonest(events, start, *time, rest, window)).min()
}

/// How long the chain to a step takes from the earliest start that has one.
fn search(events: &[Event], optional: &[bool], step: usize, window: i64) -> Option<i64> {
    let mut steps: Vec<usize> = (0..step).filter(|&before| !optional[before]).collect();
    steps.push(step);
    let starts = events.iter().filter(|(_, mask)| *mask & 1_u8 << steps[0] != 0).map(|(time, _)| *time);
    let durations = starts.map(|start| (start, soonest(events, start, start, &steps, window)));
    durations.filter_map(|(start, end)| Some((start, end? - start))).min().map(|(_, duration)| duration)
}

fn by_search(events: &[Event], optional: &[bool], window: i64) -> Progress {
    let reached = |step: usize| u8::from(events.iter().any(|(_, mask)| *mask & 1_u8 << step != 0)) << step;
    let ordered = |step: usize| u8::from(search(events, optional, step, window).is_some()) << step;
    Progress {
        reached: (0..optional.len()).map(reached).sum(),
        ordered: (0..optional.len()).map(ordered).sum(),
        duration: search(events, optional, optional.len() - 1, window),
    }
}

proptest! {
    #![proptest_config(config(3_000, "tests/parts/chain.regressions"))]

    #[test]
    fn the_longest_chain_is_found(
        mut events in prop::collection::vec((0..8_i64, 0..32_u8), 0..8),
        middle in prop::collection::vec(any::<bool>(), 0..4),
        window in prop::option::of(0..6_i64),
    ) {
        events.sort_by_key(|(time, _)| *time);
        let optional: Vec<bool> = [&[false], &middle[..], &[false]].concat();
        let step = |(number, &optional): (usize, &bool)| {
            StepPlan { name: number.to_string(), matchers: Vec::new(), optional }
        };
        let plan = FunnelPlan {
            unit: FunnelUnit::Session,
            steps: optional.iter().enumerate().map(step).collect(),
            window_micros: window,
            max_events: 100,
        };
        let steps_there_are = (1_u8 << optional.len()) - 1;
        let events: Vec<Event> = events.into_iter().map(|(time, mask)| (time, mask & steps_there_are)).collect();
        let found = StepOrder::new(&plan).progress(&events, |event| *event);
        prop_assert_eq!(found, by_search(&events, &optional, window.unwrap_or(1_000)));
    }
}
