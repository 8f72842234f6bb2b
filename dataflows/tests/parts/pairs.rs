//! The lists of pairs under any increments and decrements against sorting all counts.

use super::through;
use crate::properties::config;
use crate::support::context_of;
use millrace_dataflows::context::Shared;
use millrace_dataflows::operators::dictionary::Dictionary;
use millrace_dataflows::operators::pairs::{PAIR_TABLE, PairChange, PairChanges, RelatedKind, pairs};
use millrace_dataflows::rows::{Key, Measures, State};
use millrace_dataflows::settings::{FunnelSettings, RelatedSettings};
use millrace_schema::{Name, Names};
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;
use std::sync::Arc;

const PRODUCTS: usize = 40;

/// Some differ only behind their first eight bytes, some by length.
fn product(number: usize) -> String {
    let odd = ["a", "b", "kettle 1 blue", "kettle 1 red", "kettle 1", "kettle", "é"];
    odd.get(number).map_or_else(|| format!("kettle {number}"), |text| (*text).to_owned())
}

type Counts = BTreeMap<(RelatedKind, usize, usize), i64>;

/// The rows of the listed pairs.
fn listed(counts: &Counts, limits: &RelatedSettings) -> State {
    let mut lists: BTreeMap<(RelatedKind, usize), Vec<(i64, String)>> = BTreeMap::new();
    for (&(kind, a, b), &count) in counts.iter().filter(|(_, count)| **count > 0) {
        lists.entry((kind, a)).or_default().push((-count, product(b)));
        lists.entry((kind, b)).or_default().push((-count, product(a)));
    }
    let mut rows = State::default();
    for ((kind, a), mut list) in lists {
        list.sort_unstable();
        for (index, (negative, b)) in list.into_iter().enumerate() {
            let enough = -negative >= i64::from(limits.min_together);
            if index < limits.list_length || index < limits.candidates && enough {
                let key = Key::new(PAIR_TABLE, [kind as u64, Name::of(&product(a)).0, Name::of(&b).0]);
                rows.apply(key, &Measures::one(-negative));
            }
        }
    }
    rows
}

proptest! {
    #![proptest_config(config(400, "tests/parts/pairs.regressions"))]

    #[test]
    fn the_lists_are_the_heads_of_all_counts(
        // Few products, so that counts change often, or one with many neighbours.
        steps in prop_oneof![
            prop::collection::vec((0..6_usize, 0..7_usize, 0..7_usize, -3..4_i64, any::<bool>()), 1..60),
            prop::collection::vec((0..6_usize, 0..2_usize, 0..PRODUCTS, -3..6_i64, prop::bool::weighted(0.1)), 60..300),
        ],
        (list_length, candidates, min_together) in (1..4_usize, select(vec![0_usize, 1, 3, 5, 20, 200]), 1..4_u32),
        in_flight in 1..4_usize,
    ) {
        let limits = RelatedSettings { list_length, candidates, min_together, ..RelatedSettings::default() };
        let context = Arc::new(context_of("UTC", &FunnelSettings::default(), &limits));
        let shared = Shared::new(context, Arc::new(Names::default()), Arc::default());
        (0..PRODUCTS).for_each(|number| drop(shared.names.intern(&product(number))));
        let mut epochs: Vec<Vec<PairChange>> = vec![Vec::new(); 6];
        let mut expected: Vec<State> = Vec::new();
        let (mut counts, mut sent) = (Counts::new(), PairChanges::new(1));
        for (epoch, changes) in epochs.iter_mut().enumerate() {
            for &(_, a, b, difference, bought) in steps.iter().filter(|step| step.0 == epoch && step.1 != step.2) {
                let kind = if bought { RelatedKind::BoughtTogether } else { RelatedKind::ViewedTogether };
                let count = counts.entry((kind, a.min(b), a.max(b))).or_default();
                let difference = difference.max(-*count);
                *count += difference;
                let (a, b) = (Name::of(&product(a)), Name::of(&product(b)));
                sent.pair(kind, a, b, difference as i32);
            }
            changes.extend(sent.drain());
            expected.push(listed(&counts, &limits));
        }
        let left = through(epochs, in_flight, move |scope, changes| {
            pairs(changes, None, &Dictionary::complete(scope, shared.names.clone()), &shared)
        });
        for (epoch, expected) in (0..).zip(expected) {
            let mut rows = State::default();
            left.iter().filter(|(at, _)| *at <= epoch).for_each(|(_, (key, _, measures))| rows.apply(*key, measures));
            prop_assert_eq!(rows, expected, "epoch {}", epoch);
        }
    }
}
