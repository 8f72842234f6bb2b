//! What a message says: every problem of a record at once, and little of the record's own text.

use super::outcome;
use millrace_schema::Kind;
use millrace_schema::decode::DecodeSettings;

#[track_caller]
fn check(line: &str, expected: &[&str]) {
    let reject = outcome(line.as_bytes(), None, &DecodeSettings::default()).expect_err("the line is not valid");
    assert_eq!(reject.message.split("; ").collect::<Vec<_>>(), expected);
}

#[test]
fn all_problems_are_told_at_once() {
    check(
        r#"{"event_type":"purchase","event_time":"now","session_id":5.5,"quantity":"2","price_paid":1e99}"#,
        &[
            "expected a value for event_id, got none",
            "expected an rfc 3339 time for event_time, got \"now\"",
            "expected a string or a whole number for session_id, got 5.5",
            "expected a value for product_id, got none",
            "expected a value for order_id, got none",
            "expected a whole number for quantity, got \"2\"",
            "expected at most 10000000000000 minor units for price_paid, got 1e99",
        ],
    );
    check(
        r#"{"event_type":"refund","event_id":1,"event_time":"2020-01-02T03:04:05Z","quantity":-1,"amount":-5}"#,
        &[
            "expected a value for order_id, got none",
            "expected quantity not below 0 in a cart or a refund, got -1",
            "expected amount not below 0, got -5",
        ],
    );
    check(
        r#"{"event_type":"product","updated_at":"2020-01-02","deleted":"no","brand":7}"#,
        &[
            "expected a value for product_id, got none",
            "expected an rfc 3339 time for updated_at, got \"2020-01-02\"",
            "expected a string for brand, got 7",
            "expected true or false for deleted, got \"no\"",
        ],
    );
}

/// What follows only from another field is not told where that one is wrong.
#[test]
fn nothing_is_concluded_from_what_is_wrong() {
    let purchase = |fields: &str| {
        format!(
            r#"{{"event_type":"purchase","event_id":1,"event_time":"2020-01-02T03:04:05Z","session_id":1,"order_id":1,"product_id":1,{fields}}}"#
        )
    };
    check(
        &purchase(r#""quantity":1.5,"price_paid":-5,"unit_price":-1"#),
        &["expected a whole number for quantity, got 1.5"],
    );
    check(
        &purchase(r#""quantity":1,"price_paid":999999999999,"currency":"QQQ""#),
        &["expected a currency code of iso 4217 for currency, got \"QQQ\""],
    );
    check(
        &purchase(r#""quantity":1,"price_paid":"9","currency":"QQQ""#),
        &[
            "expected a currency code of iso 4217 for currency, got \"QQQ\"",
            "expected a number for price_paid, got \"9\"",
        ],
    );
    check(
        &purchase(r#""quantity":-1,"price_paid":10.0"#),
        &["expected price_paid not above 0 where the quantity is below 0, got 10.0"],
    );
    check(r#"{"event_type":"wish","price_paid":"x"}"#, &["expected a known event_type, got \"wish\""]);
    let mut bad_time = purchase(r#""quantity":1,"price_paid":1"#).replace("2020-01-02T03:04:05Z", "soon");
    bad_time.insert_str(1, r#""received_at":"2019-01-02T03:04:05Z","#);
    check(&bad_time, &["expected an rfc 3339 time for event_time, got \"soon\""]);
}

/// However large what is wrong, a message is a line that can be read.
#[test]
fn a_message_echoes_little() {
    let long = "é\\u0009".repeat(10_000);
    let settings = DecodeSettings { max_record_bytes: 1 << 30, ..Default::default() };
    let check = |line: &str| {
        let reject = outcome(line.as_bytes(), None, &settings).expect_err("the line is not valid");
        assert!(reject.message.len() < 800, "{} bytes: {}", reject.message.len(), &reject.message[..200]);
    };
    for kind in Kind::ALL {
        let names = [
            "event_id",
            "event_time",
            "session_id",
            "product_id",
            "order_id",
            "user_id",
            "page_type",
            "quantity",
            "price_paid",
            "amount",
            "unit_price",
            "currency",
            "updated_at",
            "on_hand",
            "received_at",
            "deleted",
        ];
        let fields: Vec<String> = names.iter().map(|name| format!("\"{name}\":[\"{long}\"]")).collect();
        check(&format!("{{\"event_type\":\"{}\",{}}}", kind.as_str(), fields.join(",")));
    }
    check(&format!("{{\"event_type\":\"{long}\"}}"));
    check(&format!("{{\"{long}\":1,\"{long}\":2}}"));
    check(&format!("{{\"{long}\":1,\"{long}\" 2}}"));
    check(&format!("\"{long}\""));
    check(&format!("{{\"a\":{}x}}", "9".repeat(1 << 20)));
}

#[test]
fn a_duplicate_key_is_named() {
    let reject = |line: &str| outcome(line.as_bytes(), None, &DecodeSettings::default()).expect_err("it is not valid");
    assert_eq!(reject(r#"{"event_id":1,"event_id":2}"#).message, "expected every key once, got event_id twice");
    assert_eq!(reject(r#"{"z":1,"b":1,"b":2}"#).message, "expected every key once, got b twice");
}
