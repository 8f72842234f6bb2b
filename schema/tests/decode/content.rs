//! The content hash: every value but the id and `received_at` counts.

use super::outcome;
use millrace_schema::decode::DecodeSettings;
use millrace_schema::{Event, NameCache, Names, Place};
use std::sync::Arc;

fn event(line: &str) -> Event {
    let record = outcome(line.as_bytes(), None, &DecodeSettings::default()).expect("the line is valid");
    let mut names = NameCache::new(Arc::new(Names::default()));
    record.as_record().to_event(Place::default(), &mut names).expect("two names do not collide")
}

/// Taking out or replacing any field of a full record but `quiet` gives other content.
fn check(line: &str, quiet: &[&str], replaced: &[(&str, &str)]) {
    let plain = event(line);
    for (old, new) in replaced {
        assert!(line.contains(old), "{old} is in {line}");
        assert_ne!(event(&line.replace(old, new)).content, plain.content, "{old} -> {new}");
    }
    for part in quiet {
        assert!(line.contains(part), "{part} is in {line}");
        assert_eq!(event(&line.replace(part, "")).content, plain.content, "{part}");
    }
}

const TIME: (&str, &str) = ("05Z", "06Z");

#[test]
fn every_value_counts() {
    let head = r#""event_id":"e","event_time":"2020-01-02T03:04:05Z","received_at":"2020-01-02T03:05:00Z","session_id":"s","user_id":"u""#;
    let received_at = r#","received_at":"2020-01-02T03:05:00Z""#;
    let base =
        [TIME, (r#""s""#, r#""t""#), (r#""u""#, r#""v""#), (r#","user_id":"u""#, ""), (r#""e","#, r#""e","x":1,"#)];
    let with = |more: &[(&'static str, &'static str)]| [&base[..], more].concat();
    check(
        &format!(
            r#"{{"event_type":"page_view",{head},"product_id":"p","page_type":"home","referrer":"r","device":"d"}}"#
        ),
        &[received_at],
        &with(&[(r#""p""#, r#""q""#), ("home", "cart"), (r#""r""#, r#""d""#), (r#""d""#, r#""""#)]),
    );
    check(
        &format!(r#"{{"event_type":"add_to_cart",{head},"product_id":"p","quantity":1,"unit_price":0}}"#),
        &[received_at],
        &with(&[("add_to", "remove_from"), (r#""p""#, r#""q""#), (":1,", ":2,"), (r#","unit_price":0"#, "")]),
    );
    check(
        &format!(
            r#"{{"event_type":"purchase",{head},"product_id":"p","order_id":"o","quantity":1,"price_paid":5,"unit_price":6,"currency":"EUR","discount_code":"c"}}"#
        ),
        &[received_at],
        &with(&[
            (r#""o""#, r#""p""#),
            (":5", ":6"),
            (":6", ":5"),
            ("EUR", "USD"),
            (r#""c""#, r#""""#),
            (":1,", ":-1,"),
        ]),
    );
    check(
        r#"{"event_type":"refund","event_id":"e","event_time":"2020-01-02T03:04:05Z","product_id":"p","order_id":"o","quantity":1,"amount":5,"reason":"r"}"#,
        &[],
        &[TIME, (r#""o""#, r#""q""#), (":5", ":6"), (r#","reason":"r""#, ""), (r#""r""#, r#""s""#)],
    );
    check(
        r#"{"event_type":"product","product_id":"p","updated_at":"2020-01-02T03:04:05Z","name":"n","category":"c","brand":"b","price":1,"cost":2,"deleted":false}"#,
        &[],
        &[
            TIME,
            (r#""n""#, r#""c""#),
            (r#""c""#, r#""""#),
            (r#""b""#, r#""n""#),
            (":1", ":0"),
            (":2", ":1"),
            ("false", "true"),
        ],
    );
    check(
        r#"{"event_type":"user","user_id":"u","updated_at":"2020-01-02T03:04:05Z","country":"a","channel":"b","signup_time":"1970-01-01T00:00:00Z","deleted":false}"#,
        &[],
        &[TIME, (r#""a""#, r#""b""#), (r#""b""#, r#""a""#), (r#""1970-01-01T00:00:00Z""#, "null"), ("false", "true")],
    );
    check(
        r#"{"event_type":"inventory","product_id":"p","updated_at":"2020-01-02T03:04:05Z","on_hand":1,"reserved":0,"lead_time_days":2}"#,
        &[],
        &[TIME, (":1", ":2"), (r#","reserved":0"#, ""), (":2}", ":3}")],
    );
}

#[test]
fn an_event_is_itself_by_its_id() {
    let line = |id: &str| {
        format!(
            r#"{{"event_type":"checkout_started","event_id":{id},"event_time":"2020-01-02T03:04:05Z","session_id":1}}"#
        )
    };
    let (one, two) = (event(&line("1")), event(&line("\"2\"")));
    assert_ne!(one.id, two.id);
    assert_eq!(one.content, two.content);
    assert_eq!(event(&line("\"1\"")), one);
}

/// What is not known counts by its value, however it is spelled.
#[test]
fn spelling_is_no_content() {
    let content = |extra: &str| {
        let head =
            r#"{"event_type":"checkout_started","event_id":1,"event_time":"2020-01-02T03:04:05Z","session_id":1"#;
        event(&format!("{head},{extra}}}")).content
    };
    let same = |a: &str, b: &str| assert_eq!(content(a), content(b), "{a} {b}");
    same(r#""x":"B\u00e9 \"q\" \/\u000a""#, r#""x":"Bé \"q\" /\n""#);
    same(r#""x":{"a b":[1,2,{"c":" d "}]},"y":1"#, r#""y": 1 , "x" : {"a b": [1, 2 ,{ "c": " d "} ] }"#);
    same(r#""x":"\\","y":"\"""#, r#""y":"\u0022", "x":"\u005c""#);
    let differ = |a: &str, b: &str| assert_ne!(content(a), content(b), "{a} {b}");
    differ(r#""x":" d""#, r#""x":"d""#);
    differ(r#""x":"a\\nb""#, r#""x":"a\nb""#);
    differ(r#""x":[1,2]"#, r#""x":[12]"#);
}
