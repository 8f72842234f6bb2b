//! What strangers do to a server: they connect and say nothing, ask and take nothing, break off, guess.

use super::fixture::{Serving, eventually, request, server_status, settings};
use super::folding::{Folded, subscription};
use super::raw::Raw;
use millrace::serve::ServeSettings;
use millrace_dataflows::query::Query;
use millrace_proto::v1;
use millrace_proto::v1::analytics_client::AnalyticsClient;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tonic::Code;
use tonic::transport::Endpoint;

/// Whether somebody who connects now is answered within this time.
fn is_answered(serving: &Serving, within: Duration) -> bool {
    let address = format!("http://{}", serving.address());
    serving.runtime.block_on(async {
        let asked = async {
            let mut client = AnalyticsClient::connect(address).await.ok()?;
            client.query(request("traffic", &Query::default())).await.ok()
        };
        tokio::time::timeout(within, asked).await.is_ok_and(|answer| answer.is_some())
    })
}

#[test]
fn whoever_says_nothing_keeps_nobody_out() {
    let few = ServeSettings { connections_max: 8, connections_per_address_max: 8, ..settings() };
    let serving = Serving::whole(&few, 5);
    let silent: Vec<TcpStream> =
        (0..300).map(|_| TcpStream::connect(serving.address()).expect("somebody listens")).collect();
    assert!(is_answered(&serving, Duration::from_secs(3)));
    assert_eq!(silent.len(), 300);
    // And is closed after its time.
    let hasty = Serving::whole(&ServeSettings { handshake_ms: 100, ..few }, 5);
    let silent = TcpStream::connect(hasty.address()).expect("somebody listens");
    silent.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
    assert_eq!(std::io::Read::read(&mut &silent, &mut [0]).expect("it is closed, and not by us"), 0);
}

#[test]
fn an_idle_connection_makes_room() {
    let few = ServeSettings { connections_max: 3, connections_per_address_max: 3, handshake_ms: 300, ..settings() };
    let serving = Serving::whole(&few, 5);
    let begun = Instant::now();
    let mut idle: Vec<Raw> = (0..3).map(|_| Raw::open(&serving.address())).collect();
    assert!(is_answered(&serving, Duration::from_secs(3)));
    assert!(begun.elapsed() >= Duration::from_millis(30), "nobody was in the way");
    let ended = idle.iter_mut().filter_map(|raw| raw.is_ended(Duration::from_millis(50)).then_some(())).count();
    assert!((1..3).contains(&ended), "{ended}");
}

#[test]
fn those_who_never_ask_anything_make_room_soon() {
    let few = ServeSettings { connections_max: 8, connections_per_address_max: 8, handshake_ms: 10_000, ..settings() };
    let serving = Serving::whole(&few, 5);
    let mut asking = Raw::open(&serving.address());
    assert!(asking.call("Query", &request("traffic", &Query::default())));
    let idle: Vec<Raw> = (0..30).map(|_| Raw::open(&serving.address())).collect();
    // A tenth of the time after which one that has asked something is idle.
    assert!(is_answered(&serving, Duration::from_secs(5)));
    assert!(asking.call("Query", &request("traffic", &Query::default())));
    assert!(!asking.is_ended(Duration::from_millis(100)));
    assert_eq!(idle.len(), 30);
}

/// A question with a large answer.
fn large() -> v1::QueryRequest {
    request("sales", &Query::group_by(["hour", "product_id", "category_as_was"]))
}

#[test]
fn answers_that_nobody_takes_have_a_bound_and_cost_others_nothing() {
    let memory_bytes = 16 << 20;
    let serving = Serving::whole(&ServeSettings { memory_bytes, ..settings() }, 5);
    let bytes = {
        use prost::Message;
        serving.ask(large()).expect("it fits").encoded_len()
    };
    let mut greedy: Vec<Raw> = (0..10).map(|_| Raw::open(&serving.address())).collect();
    let calls = 10 * memory_bytes / bytes / greedy.len();
    let mut slowest = Duration::ZERO;
    for _ in 0..calls {
        greedy.iter_mut().for_each(|raw| {
            raw.call("Query", &large());
        });
        let begun = Instant::now();
        serving.ask(request("traffic", &Query::default())).expect("others are answered");
        slowest = slowest.max(begun.elapsed());
        assert!(server_status(&serving).memory_bytes as usize <= memory_bytes + memory_bytes / 8);
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let status = server_status(&serving);
    let ended = greedy.iter_mut().filter_map(|raw| raw.is_ended(Duration::from_millis(20)).then_some(())).count();
    assert!(status.refused > 0 || ended > 0, "ten times as much was asked for as there is: {status:?}");
    drop(greedy);
    eventually("all is given back", || server_status(&serving).memory_bytes < 1 << 20);
}

#[test]
fn whoever_takes_nothing_is_closed_after_a_while() {
    let serving = Serving::whole(&ServeSettings { answer_stall_ms: 500, ..settings() }, 5);
    let mut stuck = Raw::open(&serving.address());
    // More than the system buffers by itself.
    (0..1_000).for_each(|_| assert!(stuck.call("Query", &large())));
    eventually("it holds something", || server_status(&serving).memory_bytes > 1 << 20);
    eventually("it is closed", || server_status(&serving).memory_bytes < 1 << 20);
    assert!(stuck.is_ended(Duration::from_millis(500)));
}

/// Different ones, so that nothing is shared.
fn different(number: usize) -> Query {
    Query { limit: Some(100_000 + number), ..Query::group_by(["hour", "product_id", "category_as_was"]) }
}

#[test]
fn subscriptions_have_a_bound_and_are_forgotten_by_themselves() {
    let few = ServeSettings { memory_bytes: 16 << 20, subscription_resume_ms: 100, ..settings() };
    let serving = Serving::whole(&few, 5);
    let mut all = Vec::new();
    let refused = (0..200).find_map(|number| {
        let request = subscription("sales", &different(number), 0);
        match Folded::open(serving.runtime.handle(), &serving.address(), request) {
            Ok(folded) => {
                all.push(folded);
                None
            }
            Err(status) => Some(status),
        }
    });
    let refused = refused.expect("there is no memory for all of them");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("serve.memory_bytes"), "{refused:?}");
    let status = server_status(&serving);
    assert!(all.len() > 3 && status.memory_bytes <= 10 << 20 && status.live_questions > 3, "{status:?}");
    // The rest is for readers.
    serving.ask(large()).expect("there is room");
    drop(all);
    eventually("they are forgotten", || {
        let status = server_status(&serving);
        status.live_questions == 0 && status.memory_bytes < 1 << 20
    });
}

#[test]
fn whoever_breaks_off_all_the_time_is_closed() {
    let serving = Serving::whole(&settings(), 5);
    let mut rapid = Raw::open(&serving.address());
    let ends = (0..3_000).any(|_| !(rapid.call("Query", &large()) && rapid.reset()));
    assert!(ends || rapid.is_ended(Duration::from_secs(2)));
    assert!(is_answered(&serving, Duration::from_secs(2)));
    assert!(server_status(&serving).memory_bytes < 1 << 20);
}

#[test]
fn wrong_tokens_are_counted_and_slowed() {
    let tokens = ServeSettings { read_tokens: vec!["open-sesame".to_owned()], ..settings() };
    let serving = Serving::whole(&tokens, 5);
    let endpoint = Endpoint::from_shared(format!("http://{}", serving.address())).expect("an address");
    let channel = serving.runtime.block_on(endpoint.connect()).expect("the server is there");
    let ask = |token: &str| {
        let mut asked = tonic::Request::new(v1::GetStatusRequest {});
        asked.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("ASCII"));
        let begun = Instant::now();
        let answer = serving.runtime.block_on(AnalyticsClient::new(channel.clone()).get_status(asked));
        (answer.map(|answer| answer.into_inner().server.expect("the server's").wrong_tokens), begun.elapsed())
    };
    for least in [100, 200, 400] {
        let (answer, took) = ask("guess");
        assert_eq!(answer.expect_err("it is wrong").code(), Code::Unauthenticated);
        assert!(took >= Duration::from_millis(least), "{took:?}");
    }
    // Whoever knows one is not slowed.
    let (answer, took) = ask("open-sesame");
    assert_eq!(answer.expect("it is right"), 3);
    assert!(took < Duration::from_millis(400), "{took:?}");
}
