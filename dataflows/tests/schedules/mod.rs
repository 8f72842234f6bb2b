//! Interleavings: workers that move one at a time in an order to be replayed, and more workers than cores, free.

use crate::properties::records;
use crate::support::compare::check;
use crate::support::run::{How, run};
use crate::support::{Line, context};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Lines of a shop, always the same for one seed.
fn lines(seed: u8, records: usize, epochs: u64) -> Vec<Line> {
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let sent = records::sent(records..records + 1, 3, epochs).new_tree(&mut runner);
    records::lines(&sent.expect("the strategy rejects nothing").current())
}

#[test]
fn one_worker_at_a_time_in_any_order() {
    let context = Arc::new(context());
    for seed in 0..8 {
        let lines = lines(seed, 80, 5);
        let workers = 2 + usize::from(seed % 3);
        let how = How {
            workers,
            in_flight: 1 + u64::from(seed) % 3,
            burst: 4,
            spread: u64::from(seed),
            serialised: seed % 2 == 1,
            schedule: Some(u64::from(seed)),
            only: None,
        };
        check(&run(&context, &lines, how), &lines, u64::from(seed), 3);
    }
}

#[test]
fn a_schedule_can_be_replayed() {
    let (context, lines) = (Arc::new(context()), lines(9, 80, 5));
    let how = How { workers: 3, in_flight: 3, burst: 4, spread: 1, serialised: false, schedule: Some(42), only: None };
    let ran = run(&context, &lines, how);
    let again = run(&context, &lines, how);
    assert_eq!(ran.changes, again.changes);
    assert_eq!(ran.closed, again.closed);
}

#[test]
fn more_workers_than_cores_are_through_in_a_minute() {
    let (done, through) = mpsc::channel();
    std::thread::spawn(move || {
        let context = Arc::new(context());
        for seed in 0..4 {
            let lines = lines(100 + seed, 150, 12);
            let how = How {
                workers: 8,
                in_flight: 3,
                burst: 5,
                spread: u64::from(seed),
                serialised: seed % 2 == 1,
                schedule: None,
                only: None,
            };
            check(&run(&context, &lines, how), &lines, u64::from(seed), 1);
        }
        done.send(()).expect("the test waits");
    });
    through.recv_timeout(Duration::from_secs(60)).expect("8 workers on few cores are through in a minute");
}
