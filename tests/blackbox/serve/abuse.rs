//! Whoever asks more than can be worked out, or takes none of it, holds up others little, and memory not at all.

use super::fixture::{Serving, eventually, request, server_status, settings};
use super::raw::Raw;
use millrace::serve::ServeSettings;
use millrace_dataflows::query::Query;
use millrace_proto::v1;
use std::time::{Duration, Instant};

/// A question that takes a while, unlike all with another number.
fn different(number: usize) -> v1::QueryRequest {
    let query = Query { limit: Some(100_000 + number), ..Query::group_by(["hour", "product_id", "category_as_was"]) };
    request("sales", &query)
}

fn took(serving: &Serving, asked: v1::QueryRequest) -> Duration {
    let begun = Instant::now();
    serving.ask(asked).expect("it is answered");
    begun.elapsed()
}

/// How long one such question takes where nothing else is asked.
fn alone(serving: &Serving) -> Duration {
    (0..3).map(|number| took(serving, different(900_000 + number))).max().expect("three of them")
}

const QUESTIONS: usize = 300;
/// What a machine that does other things may take.
const SLACK: Duration = Duration::from_millis(100);

#[test]
fn hundreds_of_questions_of_one_connection_hold_up_no_other() {
    let serving = Serving::whole(&settings(), 5);
    let alone = alone(&serving);
    let mut greedy = Raw::open(&serving.address());
    (0..QUESTIONS).for_each(|number| assert!(greedy.call("Query", &different(number))));
    // A third of what they take together, on the two threads that there are.
    let most = alone * (QUESTIONS as u32) / 6 + SLACK;
    // What looks at little, and what has to wait for its turn: of some that come at once the first answered, for the machine does other
    // things, too. Behind all that was asked before them none would be soon.
    let soonest = |ask: &dyn Fn(usize) -> v1::QueryRequest| {
        let asked: Vec<_> = (0..5)
            .map(|number| {
                let (mut client, request) = (serving.client(), ask(number));
                serving.runtime.spawn(async move {
                    let begun = Instant::now();
                    client.query(request).await.expect("it is answered");
                    begun.elapsed()
                })
            })
            .collect();
        let took = asked.into_iter().map(|one| serving.runtime.block_on(one).expect("it is asked"));
        took.min().expect("five of them")
    };
    let small = soonest(&|_| request("traffic", &Query::default()));
    assert!(small < most, "{small:?}, and a large one alone {alone:?}");
    let large = soonest(&|number| different(1_000_000 + number));
    assert!(large < most, "{large:?}, and alone {alone:?}");
}

#[test]
fn what_a_closed_connection_asked_is_dropped() {
    let serving = Serving::whole(&ServeSettings { page_cache_bytes: 0, ..settings() }, 5);
    let alone = alone(&serving);
    let mut greedy: Vec<Raw> = (0..4).map(|_| Raw::open(&serving.address())).collect();
    for (index, raw) in greedy.iter_mut().enumerate() {
        (0..QUESTIONS).for_each(|number| assert!(raw.call("Query", &different(index * QUESTIONS + number))));
    }
    std::thread::sleep(Duration::from_millis(50));
    drop(greedy);
    let begun = Instant::now();
    eventually("nothing of them is held", || server_status(&serving).memory_bytes < 1 << 20);
    let (took, all) = (begun.elapsed(), alone * (4 * QUESTIONS as u32) / 2);
    assert!(took < all / 4 + SLACK, "{took:?}, and all of them take {all:?}");
}

#[test]
fn answers_count_before_anything_of_them_is_taken() {
    let few = ServeSettings { memory_bytes: 16 << 20, answer_stall_ms: 1_000, page_cache_bytes: 0, ..settings() };
    let serving = Serving::whole(&few, 5);
    // It may be sent nothing at all.
    let mut shut = Raw::with_window(&serving.address(), 0);
    let typed = |number: u32| v1::GetSalesRequest {
        group_by: ["hour", "product_id", "category_as_was"].map(str::to_owned).to_vec(),
        limit: 15_000 + number,
        ..v1::GetSalesRequest::default()
    };
    for number in 0..50 {
        assert!(shut.call("Query", &different(number as usize)) && shut.call("GetSales", &typed(number)));
    }
    eventually("they are counted", || server_status(&serving).memory_bytes > 2 << 20);
    let bound = few.memory_bytes + few.memory_bytes / 8;
    eventually("it is closed", || {
        let held = server_status(&serving).memory_bytes as usize;
        assert!(held <= bound, "{held}");
        held < 1 << 20
    });
    assert!(shut.is_ended(Duration::from_millis(500)));
}
