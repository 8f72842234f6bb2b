//! For any records, order, duplication, partitioning, epochs, epochs in flight and number of workers: every answer at
//! every closed epoch is the oracle's. `PROPTEST_CASES=2000` looks harder.

pub mod horizons;
pub mod records;
mod recovery;
mod repair;
mod settings;
pub mod zones;

use crate::support::compare::{Nets, check, nets, states};
use crate::support::context;
use crate::support::run::{How, run};
use millrace_dataflows::views::quality::Accounting;
use millrace_dataflows::views::{VIEWS, position_of};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::FileFailurePersistence;
use std::sync::Arc;

/// `cases`, unless the environment says how many.
pub fn config(cases: u32, regressions: &'static str) -> ProptestConfig {
    let told = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig {
        cases: told.unwrap_or(cases),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(regressions))),
        max_shrink_iters: 3_000,
        ..ProptestConfig::default()
    }
}

fn how() -> impl Strategy<Value = How> {
    (select(vec![1, 2, 4]), select(vec![1, 2, 3, 100]), select(vec![1, 3, usize::MAX]), 0..6_u64, any::<bool>())
        .prop_map(|(workers, in_flight, burst, spread, serialised)| How {
            workers,
            in_flight,
            burst,
            spread,
            serialised,
            schedule: None,
            only: None,
        })
}

proptest! {
    #![proptest_config(config(120, "tests/properties/answers.regressions"))]

    #[test]
    fn every_closed_epoch_is_the_oracle_s(
        (sent, settings, how, seed) in (1..4_u16, 1..6_u64)
            .prop_flat_map(|(partitions, epochs)| {
                (records::sent(1..40, partitions, epochs), settings::settings(), how(), any::<u64>())
            })
    ) {
        let lines = records::lines(&sent);
        let ran = run(&settings.context(), &lines, how);
        check(&ran, &lines, seed, 8);
    }
}

proptest! {
    #![proptest_config(config(15, "tests/properties/changes.regressions"))]

    #[test]
    fn changes_are_the_same_however_they_are_run(
        sent in records::sent(1..60, 3, 4),
        spread in any::<u64>(),
    ) {
        let (lines, context) = (records::lines(&sent), Arc::new(context()));
        let alone = nets(&run(&context, &lines, How::workers(1)));
        for (workers, in_flight, serialised) in
            [(1, 4, false), (2, 1, false), (2, 3, true), (4, 1, false), (4, 2, true), (1, 2, true)]
        {
            let how = How { in_flight, burst: 2, spread, serialised, ..How::workers(workers) };
            let ran = run(&context, &lines, how);
            assert_eq!(nets(&ran), alone, "{how:?}");
            check(&ran, &lines, 0, 0);
        }
    }
}

proptest! {
    #![proptest_config(config(12, "tests/properties/long_sessions.regressions"))]

    /// Beyond a few dozen events a session keeps its touches apart.
    #[test]
    fn long_sessions_are_the_oracle_s(
        sent in records::sent(60..110, 2, 4),
        settings in settings::settings(),
        how in how(),
        seed in any::<u64>(),
    ) {
        let sent: Vec<records::Sent> = sent.iter().map(records::Sent::in_one_session).collect();
        let lines = records::lines(&sent);
        check(&run(&settings.context(), &lines, how), &lines, seed, 3);
    }
}

proptest! {
    #![proptest_config(config(12, "tests/properties/large_orders.regressions"))]

    /// Beyond some lines an order counts only what changes.
    #[test]
    fn large_orders_are_the_oracle_s(
        sent in records::sent(60..110, 2, 4),
        settings in settings::settings(),
        how in how(),
        seed in any::<u64>(),
    ) {
        let sent: Vec<records::Sent> = sent.iter().map(records::Sent::in_one_order).collect();
        let lines = records::lines(&sent);
        check(&run(&settings.context(), &lines, how), &lines, seed, 3);
    }
}

proptest! {
    #![proptest_config(config(12, "tests/properties/alone.regressions"))]

    #[test]
    fn a_view_alone_changes_as_it_does_among_others(
        sent in records::sent(1..60, 3, 3),
        settings in settings::settings(),
        how in how(),
    ) {
        let (lines, context) = (records::lines(&sent), settings.context());
        let all = nets(&run(&context, &lines, how));
        for (only, (name, _)) in VIEWS.iter().enumerate() {
            let alone = nets(&run(&context, &lines, How { only: Some(only), ..how }));
            let of_it = |nets: &Nets| -> Nets {
                nets.iter().filter(|((_, view, _), _)| *view == only).map(|(key, value)| (*key, value.clone())).collect()
            };
            assert_eq!(of_it(&alone), of_it(&all), "{name}");
            let accounting = |nets: &Nets| Accounting::of(&states(nets, u64::MAX)[position_of("quality")]);
            assert_eq!(accounting(&alone), accounting(&all), "with {name}");
        }
    }
}
