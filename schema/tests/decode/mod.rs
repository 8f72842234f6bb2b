//! The decoder from outside: every rule, agreement with the reference, hostile bytes, exact numbers and times.
//!
//! `MILLRACE_FUZZ_CASES=1000000 cargo test --release -p millrace-schema` runs the properties for longer.

mod agree;
mod content;
mod currencies;
mod exact;
mod hostile;
mod lines;
mod problems;
mod round_trip;
mod rules;

use millrace_schema::decode::{Bump, DecodeSettings, decode, decode_into, decode_reference};
use millrace_schema::{OwnedRecord, Reject};

/// A record with most of the fields that there are.
const FULL: &[u8] = br#"{"event_type":"purchase","event_id":"e","event_time":"2024-05-01T10:00:00Z","session_id":"s",
"received_at":"2024-05-01T10:00:01Z","user_id":"u","product_id":"p","order_id":"o","quantity":0,"price_paid":1.005,
"unit_price":2,"currency":"JPY","discount_code":"d","color":"red"}"#;

/// What both decoders say of a line; they must say the same.
fn outcome(line: &[u8], received_at: Option<i64>, settings: &DecodeSettings) -> Result<OwnedRecord, Reject> {
    let arena = Bump::new();
    let fast = decode(line, received_at, settings, &arena);
    let reference = decode_reference(line, received_at, settings, &arena);
    assert_eq!(fast, reference, "the decoders differ on {:?}", String::from_utf8_lossy(line));
    let mut used = decode(FULL, None, &DecodeSettings::default(), &arena).expect("the line is valid");
    let into_used = decode_into(line, received_at, settings, &arena, &mut used).map(|()| used);
    assert_eq!(fast, into_used, "what a record held before shows on {:?}", String::from_utf8_lossy(line));
    if let Err(reject) = &fast {
        assert!(reject.message.len() < 1_200, "a message shows too much: {}", reject.message);
        assert!(!reject.message.contains('\n'), "a message is one line: {}", reject.message);
        assert!(reject.message.starts_with(char::is_lowercase), "a message is lower case: {}", reject.message);
    }
    fast.map(|record| record.to_owned())
}

/// `rule field`, or `ok`.
fn verdict(outcome: &Result<OwnedRecord, Reject>) -> String {
    match outcome {
        Ok(_) => "ok".to_owned(),
        Err(reject) => [reject.rule.as_str(), reject.field.unwrap_or("")].join(" ").trim_end().to_owned(),
    }
}

/// The number of cases of a property: `MILLRACE_FUZZ_CASES`, or a quick run.
fn property() -> proptest::test_runner::Config {
    let cases = std::env::var("MILLRACE_FUZZ_CASES").ok().and_then(|cases| cases.parse().ok());
    proptest::test_runner::Config {
        cases: cases.unwrap_or(2_000),
        failure_persistence: Some(Box::new(proptest::test_runner::FileFailurePersistence::Direct(
            "tests/regressions.txt",
        ))),
        ..Default::default()
    }
}
