//! Settings that are wrong are told at the start, in time, with what to change.

use super::super::support::*;
use super::proxy::{Do, Proxy};
use super::support::*;
use millrace_connectors::store::{Outcome, S3Settings, Store};
use millrace_parts::or_skip;
use millrace_parts::s3::Moto;
use std::net::TcpListener;
use std::time::{Duration, Instant};

fn check_within(seconds: u64, settings: &S3Settings, parts: &[&str]) {
    let started = Instant::now();
    let told = refusal(settings);
    assert!(started.elapsed() < Duration::from_secs(seconds), "{:?}: {told}", started.elapsed());
    for part in parts {
        assert!(told.contains(part), "{part} in: {told}");
    }
}

#[test]
fn an_endpoint_where_nobody_is() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("http://127.0.0.1:{port}");
    check_within(4, &settings(&endpoint), &["s3://lake/some/where", "lake.s3.endpoint", &endpoint, "refused"]);
    // No name resolution answers for a name that cannot be.
    check_within(20, &impatient(settings("http://nobody.invalid")), &["lake.s3.endpoint", "http://nobody.invalid"]);
}

#[test]
fn an_endpoint_that_does_not_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    check_within(5, &impatient(settings(&endpoint)), &["lake.s3.endpoint", &endpoint, "lake.s3.timeout_ms", "700 ms"]);
}

#[test]
fn an_endpoint_that_is_something_else() {
    let Some(moto) = server() else { return };
    let proxy = Proxy::start(moto.endpoint(), |_| Do::Answer(404, ""));
    check_within(4, &settings(&proxy.endpoint()), &["lake.s3.endpoint"]);
    // TLS where there is none.
    let endpoint = moto.endpoint().replace("http://", "https://");
    check_within(6, &impatient(settings(&endpoint)), &["lake.s3.endpoint", &endpoint]);
}

#[test]
fn a_bucket_that_is_not_there() {
    let Some(moto) = server() else { return };
    let settings = S3Settings { bucket: "no-such-bucket".to_owned(), ..settings(moto.endpoint()) };
    check_within(4, &settings, &["NoSuchBucket", "s3://no-such-bucket", "create the bucket"]);
}

#[test]
fn a_region_that_is_another() {
    let Some(moto) = server() else { return };
    let proxy = Proxy::start(moto.endpoint(), |_| Do::Redirect("eu-central-1"));
    check_within(4, &settings(&proxy.endpoint()), &["eu-central-1", "lake.s3.region"]);
}

#[test]
fn credentials_that_are_not_known() {
    let Some(moto) = or_skip(Moto::start()) else { return };
    let settings = bucket(&moto);
    let store = open(&settings);
    // From here on it checks them.
    assert_eq!(moto.request("POST", "/moto-api/reset-auth", &[], b"0").unwrap().status, 200);
    check_within(4, &settings, &["InvalidAccessKeyId", &settings.bucket, "check the credentials"]);
    let error = put_new(&store, "m/1", "x").unwrap_err();
    // Not tried again at once, but worth waiting for: they may be changed.
    assert!(error.outcome() == Outcome::Hindered && error.may_be_mended() && !error.is_passing());
    assert!(error.to_string().contains("m/1") && error.to_string().contains("credentials"), "{error}");
    assert!(!store.get("m/1").unwrap_err().is_not_found());
}
