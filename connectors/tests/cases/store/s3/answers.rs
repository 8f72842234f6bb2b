//! Answers that are lost, late, cut or refused, between a store and a real server.

use super::super::support::*;
use super::proxy::{Do, Proxy, Request};
use super::support::*;
use millrace_connectors::store::{Outcome, Put, S3, S3Settings, Store};
use millrace_parts::s3::Moto;
use std::time::{Duration, Instant};

fn through(moto: &Moto, rule: impl Fn(&Request) -> Do + Send + Sync + 'static) -> (Proxy, S3, S3) {
    let direct = bucket(moto);
    let proxy = Proxy::start(moto.endpoint(), rule);
    let settings = impatient(S3Settings { endpoint: proxy.endpoint(), ..direct.clone() });
    let (store, direct) = (open(&settings), open(&direct));
    (proxy, store, direct)
}

#[test]
fn a_conditional_write_that_was_done_and_not_answered_is_ours() {
    let Some(moto) = server() else { return };
    for lost in [Do::LoseAnswer, Do::Stall] {
        let (proxy, store, direct) =
            through(moto, move |request| match request.is("PUT", "/m/1") && request.nth == 1 {
                true => lost,
                false => Do::Pass,
            });
        assert_eq!(put_new(&store, "m/1", "ours").unwrap(), Put::Created);
        assert_eq!(get(&direct, "m/1"), "ours");
        assert_eq!(proxy.count("PUT "), 2, "it was tried again, and told that it exists");
        assert_eq!(put_new(&store, "m/1", "ours").unwrap(), Put::Exists, "no answer is lost any more");
    }
}

#[test]
fn a_conditional_write_that_lost_and_was_not_answered_is_theirs() {
    let Some(moto) = server() else { return };
    let (_proxy, store, direct) = through(moto, |request| match request.is("PUT", "/m/1") && request.nth == 1 {
        true => Do::LoseAnswer,
        false => Do::Pass,
    });
    put(&direct, "m/1", "theirs");
    assert_eq!(put_new(&store, "m/1", "ours").unwrap(), Put::Exists);
    assert_eq!(get(&direct, "m/1"), "theirs");
}

#[test]
fn a_conditional_write_that_is_never_answered_ends_in_time() {
    let Some(moto) = server() else { return };
    let (_proxy, store, direct) = through(moto, |request| match request.is("PUT", "") {
        true => Do::LoseAnswer,
        false => Do::Pass,
    });
    // It is read in the end.
    assert_eq!(put_new(&store, "m/1", "ours").unwrap(), Put::Created);
    assert_eq!(get(&direct, "m/1"), "ours");

    let (_proxy, store, _direct) = through(moto, |request| match request.is("GET", "list-type") {
        true => Do::Pass,
        false => Do::Stall,
    });
    let started = Instant::now();
    let error = put_new(&store, "m/1", "ours").unwrap_err();
    assert_eq!(error.outcome(), Outcome::Indefinite);
    assert!(error.to_string().contains("lake.s3.timeout_ms"), "{error}");
    // The write has its deadline, and so has the read.
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
}

#[test]
fn a_conflict_is_tried_again() {
    let Some(moto) = server() else { return };
    let (proxy, store, direct) = through(moto, |request| match request.is("PUT", "") && request.nth <= 2 {
        true => Do::Answer(409, "ConditionalRequestConflict"),
        false => Do::Pass,
    });
    assert_eq!(put_new(&store, "m/1", "ours").unwrap(), Put::Created);
    assert_eq!((get(&direct, "m/1").as_str(), proxy.count("PUT ")), ("ours", 3));
    // Only conflicts came, so that "exists" is the truth.
    assert_eq!(put_new(&store, "m/1", "ours").unwrap(), Put::Exists);
}

#[test]
fn an_endpoint_without_conditional_writes_is_refused() {
    let Some(moto) = server() else { return };
    let (_proxy, store, _direct) = through(moto, |request| match request.is("PUT", "") {
        true => Do::Answer(501, "NotImplemented"),
        false => Do::Pass,
    });
    let error = put_new(&store, "m/1", "ours").unwrap_err();
    assert_eq!(error.outcome(), Outcome::Refused);
    assert!(error.to_string().contains("If-None-Match"), "{error}");
    // One that ignores them says nothing, and is found all the same.
    let (_proxy, store, _direct) = through(moto, |request| match request.is("PUT", "") {
        true => Do::DropCondition,
        false => Do::Pass,
    });
    let error = store.check_conditional_writes().unwrap_err();
    assert!(error.to_string().contains("If-None-Match"), "{error}");
}

#[test]
fn what_passes_is_not_seen() {
    let Some(moto) = server() else { return };
    let (proxy, store, direct) = through(moto, |request| match request.nth {
        1 if request.is("PUT", "") => Do::Answer(503, "SlowDown"),
        2 if request.is("PUT", "") => Do::LoseAnswer,
        1 if request.is("GET", "/a") => Do::Answer(500, "InternalError"),
        1 if request.is("POST", "delete") => Do::LoseAnswer,
        _ => Do::Pass,
    });
    put(&store, "a", "x");
    assert_eq!(get(&store, "a"), "x");
    store.delete(&["a".to_owned()]).unwrap();
    assert!(keys(&direct, "").is_empty());
    assert_eq!((proxy.count("PUT "), proxy.count("GET /") > 2, proxy.count("POST ")), (3, true, 2));
}

#[test]
fn an_answer_that_breaks_off_is_read_on() {
    let Some(moto) = server() else { return };
    let (proxy, store, direct) = through(moto, |request| match request.is("GET", "/big") {
        // Three times only a part comes.
        true if request.nth <= 3 => Do::Cut(100_000 * request.nth),
        _ => Do::Pass,
    });
    let bytes = noise(MIB);
    direct.put("big", bytes.clone()).unwrap();
    assert!(store.get("big").unwrap() == bytes);
    assert_eq!(proxy.count("GET /").saturating_sub(proxy.count("list-type")), 4);
    assert!(proxy.count("range: bytes=") == 3 && proxy.count("if-match") == 3);
}

#[test]
fn one_that_is_overwritten_while_it_is_read_is_not_mixed() {
    let Some(moto) = server() else { return };
    let old = noise(MIB);
    let new: bytes::Bytes = old.iter().map(|byte| !byte).collect::<Vec<u8>>().into();
    let writer: std::sync::Arc<std::sync::OnceLock<S3>> = std::sync::Arc::default();
    let (_proxy, store, direct) = through(moto, {
        let (writer, new) = (writer.clone(), new.clone());
        move |request| match request.is("GET", "/big") {
            true if request.nth == 1 => Do::Cut(100_000),
            true if request.nth == 2 => {
                writer.get().expect("it is set").put("big", new.clone()).unwrap();
                Do::Pass
            }
            _ => Do::Pass,
        }
    });
    direct.put("big", old).unwrap();
    assert!(writer.set(direct).is_ok());
    assert!(store.get("big").unwrap() == new);
}
