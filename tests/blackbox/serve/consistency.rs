//! What a read may ask of the epoch that answers it.

use super::fixture::{SOURCE, Serving, request, settings};
use millrace_dataflows::query::Query;
use millrace_proto::prost_types::Duration as ProtoDuration;
use millrace_proto::v1;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use tonic::{Code, Request};

fn ask(serving: &Serving, consistency: v1::Consistency, timeout_ms: u64) -> Result<v1::At, tonic::Status> {
    let mut request =
        Request::new(v1::QueryRequest { consistency: Some(consistency), ..request("traffic", &Query::default()) });
    request.set_timeout(Duration::from_millis(timeout_ms));
    let mut client = serving.client();
    serving.runtime.block_on(client.query(request)).map(|answer| answer.into_inner().at.expect("a place"))
}

fn covers(source: &str, next_offsets: &[u64]) -> v1::Consistency {
    let positions = v1::SourcePositions { source: source.to_owned(), next_offsets: next_offsets.to_vec() };
    v1::Consistency { covers: vec![positions], ..Default::default() }
}

#[test]
fn a_read_waits_for_its_epoch_and_says_what_it_waited_for() {
    let mut serving = Serving::whole(&settings(), 100);
    let min_epoch = |min_epoch| v1::Consistency { min_epoch, ..Default::default() };
    assert_eq!(ask(&serving, min_epoch(100), 1_000).expect("it is there").epoch, 100);
    let started = Instant::now();
    let status = ask(&serving, min_epoch(101), 300).expect_err("it is not");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert!(status.message().contains("min_epoch = 101") && status.message().contains("newest is 100"), "{status:?}");
    assert!(started.elapsed() >= Duration::from_millis(200));
    let status = ask(&serving, covers(SOURCE, &[0, 51]), 300).expect_err("it is not in");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("up to 51 of shop/1") && status.message().contains("50 is in"), "{status:?}");

    let (epoch, covered) = std::thread::scope(|threads| {
        let waits = |consistency: v1::Consistency| {
            let client = serving.client();
            let runtime = serving.runtime.handle().clone();
            threads.spawn(move || {
                let request =
                    v1::QueryRequest { consistency: Some(consistency), ..request("traffic", &Query::default()) };
                let mut client = client;
                runtime.block_on(client.query(request)).expect("it comes").into_inner().at.expect("a place")
            })
        };
        let (epoch, covered) = (waits(min_epoch(102)), waits(covers(SOURCE, &[103, 0])));
        std::thread::sleep(Duration::from_millis(50));
        for epoch in 101..105 {
            serving.publish(epoch, Vec::new());
            std::thread::sleep(Duration::from_millis(20));
        }
        (epoch.join().expect("no panic"), covered.join().expect("no panic"))
    });
    assert!(epoch.epoch >= 102 && covered.positions[0].next_offsets[0] >= 103);
}

#[test]
fn a_stale_epoch_is_refused_with_its_age() {
    let serving = Serving::whole(&settings(), 1_000_000);
    let within = |seconds| v1::Consistency {
        max_staleness: Some(ProtoDuration { seconds, nanos: 500_000_000 }),
        ..Default::default()
    };
    serving.clock.store(1_002_000, SeqCst);
    assert_eq!(ask(&serving, within(2), 1_000).expect("it is fresh").epoch, 1_000_000);
    serving.clock.store(1_003_000, SeqCst);
    let status = ask(&serving, within(2), 1_000).expect_err("it is stale");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("2500 ms") && status.message().contains("3000 ms old"), "{status:?}");
}

#[test]
fn nonsense_is_not_waited_for() {
    let serving = Serving::whole(&settings(), 100);
    let code = |consistency| ask(&serving, consistency, 5_000).expect_err("nonsense").code();
    let started = Instant::now();
    assert_eq!(code(covers("nowhere", &[1])), Code::InvalidArgument);
    let twice = v1::Consistency {
        covers: [covers(SOURCE, &[1]).covers, covers(SOURCE, &[2]).covers].concat(),
        ..Default::default()
    };
    assert_eq!(code(twice), Code::InvalidArgument);
    let negative =
        v1::Consistency { max_staleness: Some(ProtoDuration { seconds: -1, nanos: 0 }), ..Default::default() };
    assert_eq!(code(negative), Code::InvalidArgument);
    assert!(started.elapsed() < Duration::from_secs(2));
}
