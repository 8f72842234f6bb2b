//! The content hash: every value but the id and `received_at` counts.

use super::{outcome, property};
use millrace_schema::decode::DecodeSettings;
use millrace_schema::{CONTENT_VERSION, Event, NameCache, Names, Place};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
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
            (":1,\"price_paid\":5", ":-1,\"price_paid\":-5"),
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

fn content_with(extra: &str) -> u32 {
    let head = r#"{"event_type":"checkout_started","event_id":1,"event_time":"2020-01-02T03:04:05Z","session_id":1"#;
    event(&format!("{head}{}{extra}}}", if extra.is_empty() { "" } else { "," })).content
}

/// What is not known counts by its value, however it is spelled.
#[test]
fn spelling_is_no_content() {
    let same = |a: &str, b: &str| assert_eq!(content_with(a), content_with(b), "{a} {b}");
    same(r#""x":"B\u00e9 \"q\" \/\u000a""#, r#""x":"Bé \"q\" /\n""#);
    same(r#""x":{"a b":[1,2,{"c":" d "}]},"y":1"#, r#""y": 1 , "x" : {"a b": [1, 2 ,{ "c": " d "} ] }"#);
    same(r#""x":"\\","y":"\"""#, r#""y":"\u0022", "x":"\u005c""#);
    same(r#""x":30.37"#, r#""x":30.3700"#);
    same(r#""x":30.37"#, r#""x":3.037e1"#);
    same(r#""x":[-0,100]"#, r#""x":[0.0,1E+2]"#);
    same(r#""x":1e999999999999"#, r#""x":10e999999999998"#);
    same(r#""x":{"a":{"c":2,"b":1},"0":[]}"#, r#""x":{"0":[],"a":{"b":1,"c":2}}"#);
    same(r#""x":[{"a":1,"b":2}]"#, r#""x":[{"b":2,"a":1}]"#);
    same(r#""x":[{"a":1,"\u0062":2}]"#, r#""x":[{"b":2,"a":1.0}]"#);
    // Absent, null and empty are one.
    for absent in [r#""x":null"#, r#""x":"""#, r#""x":null,"y":"""#, r#""x":"" "#, r#""session_id2":"""#] {
        same("", absent);
    }
    same(r#""x":{"a":null,"b":"","c":1}"#, r#""x":{"c":1}"#);
    same(r#""x":{}"#, r#""x":{"b":null}"#);
    same(r#""x":[1,null]"#, r#""x":[1,""]"#);
    // A field that is a time is one here, too.
    same(r#""updated_at":"2020-01-02T03:04:05Z""#, r#""updated_at":"2020-01-02T04:04:05.000+01:00""#);
}

#[test]
fn what_means_something_else_is_other_content() {
    let differ = |a: &str, b: &str| assert_ne!(content_with(a), content_with(b), "{a} {b}");
    differ(r#""x":" d""#, r#""x":"d""#);
    differ(r#""x":"a\\nb""#, r#""x":"a\nb""#);
    differ(r#""x":[1,2]"#, r#""x":[12]"#);
    differ(r#""x":[1,2]"#, r#""x":[2,1]"#);
    differ(r#""x":[1]"#, r#""x":[1,null]"#);
    differ(r#""x":1"#, r#""x":"1""#);
    differ(r#""x":1"#, r#""x":-1"#);
    differ(r#""x":1"#, r#""x":true"#);
    differ(r#""x":0.1"#, r#""x":0.10000000000000000000000000000000000000001"#);
    differ(r#""x":1e400"#, r#""x":1e401"#);
    differ(r#""x":{}"#, "");
    differ(r#""x":[]"#, "");
    differ(r#""x":{"a":1}"#, r#""x":{"b":1}"#);
    differ(r#""x":{"a":1,"a":2}"#, r#""x":{"a":2,"a":1}"#);
    differ(r#""x":{"a":{"b":1},"c":2}"#, r#""x":{"a":{"b":1,"c":2}}"#);
    // An unknown text is a text, whatever it looks like.
    differ(r#""x":"2020-01-02T03:04:05Z""#, r#""x":"2020-01-02T04:04:05+01:00""#);
    differ(r#""x":{"updated_at":"2020-01-02T03:04:05Z"}"#, r#""x":{"updated_at":"2020-01-02T04:04:05+01:00"}"#);
    differ(r#""x":"30.37""#, r#""x":"30.370""#);
    differ(r#""updated_at":"2020-01-02T03:04:05Z""#, r#""updated_at":"2020-01-02T03:04:06Z""#);
    differ(r#""updated_at":"soon""#, r#""updated_at":"later""#);
}

/// Known fields, too: this is how producers spell one event when they send it again.
#[test]
fn known_fields_count_by_value() {
    let line = |fields: &str| format!(r#"{{"event_type":"purchase","event_id":"k","session_id":"x",{fields}}}"#);
    let plain = r#""event_time":"2026-03-01T10:00:00Z","order_id":"7","product_id":"p","quantity":1,"price_paid":175"#;
    let content = event(&line(plain)).content;
    for (part, by) in [
        ("175", "175.0000"),
        ("175", "1.75e2"),
        (":1,", ":1.0,"),
        (":1,", ":10e-1,"),
        ("10:00:00Z", "11:00:00.000+01:00"),
        ("\"7\"", "7"),
        ("\"7\"", "7.0"),
        (":1,", r#":1,"currency":"usd","#),
        (":1,", r#":1,"currency":"","discount_code":null,"user_id":"","#),
        (":1,", r#":1,"received_at":"2026-03-01T10:00:02Z","#),
    ] {
        assert!(plain.contains(part));
        assert_eq!(event(&line(&plain.replace(part, by))).content, content, "{part} {by}");
    }
    let refund = |more: &str| {
        event(&format!(
            r#"{{"event_type":"refund","event_id":1,"event_time":"2020-01-02T03:04:05Z","order_id":"o","amount":5{more}}}"#
        ))
    };
    assert_eq!(refund("").content, refund(r#","quantity":0,"product_id":null"#).content);
    assert_ne!(refund("").content, refund(r#","product_id":"p""#).content);
    assert_ne!(refund("").content, refund(r#","quantity":1"#).content);
    assert!(refund("").product.is_none());
}

/// A JSON value, without the spelling.
#[derive(Clone, Debug)]
enum Value {
    Null,
    Bool(bool),
    /// `mantissa × 10^exponent`, the mantissa not a multiple of ten.
    Number(i64, i32),
    Text(String),
    Array(Vec<Value>),
    Object(Vec<(String, Value)>),
}

fn value() -> impl Strategy<Value = Value> {
    let number = (-1_000..1_000_i64, -30..30_i32).prop_filter_map("not a multiple of ten", |(mantissa, exponent)| {
        (mantissa % 10 != 0).then_some(Value::Number(mantissa, exponent))
    });
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        Just(Value::Number(0, 0)),
        number,
        "[a-c\"\\\\é\n]{0,3}".prop_map(Value::Text),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let members = prop::collection::btree_map("[a-d\"é]{1,2}", inner.clone(), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::Array),
            members.prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Spells a value in one of many ways, as a seed has it.
fn spell(value: &Value, random: &mut TestRng, out: &mut String) {
    let space = |random: &mut TestRng| ["", "", " ", "\t", "  "][random.random_range(0..5)];
    out.push_str(space(random));
    match value {
        Value::Null => out.push_str(["null", "\"\""][random.random_range(0..2)]),
        Value::Bool(value) => out.push_str(&value.to_string()),
        Value::Number(mantissa, exponent) => {
            let more = random.random_range(0..4);
            let zeros = "0".repeat(more);
            match random.random_range(0..3) {
                0 if *mantissa != 0 => out.push_str(&format!("{mantissa}{zeros}e{}", *exponent - more as i32)),
                0 | 1 => out.push_str(&format!("{mantissa}.{zeros}0E{exponent:+}")),
                _ => {
                    let sign = if *mantissa < 0 { "-" } else { "" };
                    let places = mantissa.unsigned_abs().to_string().len() as i32;
                    out.push_str(&format!("{sign}0.{}{zeros}e{}", mantissa.unsigned_abs(), exponent + places));
                }
            }
        }
        Value::Text(text) => spell_text(text, random, out),
        Value::Array(values) => {
            out.push('[');
            for (at, value) in values.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                spell(value, random, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<(String, Value)> = members.clone();
            for name in ["empty", "none"] {
                if random.random_bool(0.2) {
                    members.push((name.to_owned(), Value::Null));
                }
            }
            members.sort_by_key(|_| random.random::<u32>());
            out.push('{');
            for (at, (key, value)) in members.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                out.push_str(space(random));
                spell_text(key, random, out);
                out.push_str(space(random));
                out.push(':');
                spell(value, random, out);
            }
            out.push('}');
        }
    }
    out.push_str(space(random));
}

fn spell_text(text: &str, random: &mut TestRng, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        if random.random_bool(0.3) || matches!(character, '"' | '\\' | '\n') {
            out.push_str(&format!("\\u{:04x}", character as u32));
        } else {
            out.push(character);
        }
    }
    out.push('"');
}

/// A value by what it means: empty texts and nulls are one, and no members.
fn meaning(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Text(text) if text.is_empty() => return None,
        Value::Text(text) => format!("{text:?}"),
        Value::Bool(value) => value.to_string(),
        Value::Number(mantissa, exponent) => format!("{mantissa}·{exponent}"),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(|value| meaning(value).unwrap_or("null".to_owned())).collect();
            format!("[{}]", values.join(","))
        }
        Value::Object(members) => {
            let of = |(key, value): &(String, Value)| meaning(value).map(|value| format!("{key:?}:{value}"));
            format!("{{{}}}", members.iter().filter_map(of).collect::<Vec<_>>().join(","))
        }
    })
}

proptest! {
    #![proptest_config(property())]

    #[test]
    fn what_is_spelled_in_two_ways_is_equal(one in value(), other in value(), seed in any::<[u8; 32]>()) {
        let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let mut spelled = |value: &Value| {
            let mut text = "\"x\":".to_owned();
            spell(value, &mut random, &mut text);
            text
        };
        let (a, b, c) = (spelled(&one), spelled(&one), spelled(&other));
        prop_assert_eq!(content_with(&a), content_with(&b), "{} {}", a, b);
        let equal = meaning(&one) == meaning(&other);
        prop_assert_eq!(content_with(&a) == content_with(&c), equal, "{} {}", a, c);
    }
}

/// The hashes of this version, which states hold. Where they have to change, so has [`CONTENT_VERSION`], and with it these.
#[test]
fn the_hashes_of_a_version_stay_what_they_are() {
    let head = r#""event_id":"e","event_time":"2020-01-02T03:04:05Z","session_id":"s","user_id":"u","product_id":"p""#;
    let lines = [
        format!(r#"{{"event_type":"page_view",{head},"page_type":"home","referrer":"r","device":"d"}}"#),
        format!(r#"{{"event_type":"add_to_cart",{head},"quantity":2,"unit_price":1.5}}"#),
        format!(r#"{{"event_type":"remove_from_cart",{head},"quantity":1,"x":{{"b":1.50,"a":[null]}}}}"#),
        format!(r#"{{"event_type":"checkout_started",{head}}}"#),
        format!(r#"{{"event_type":"purchase",{head},"order_id":"o","quantity":1,"price_paid":2.5,"currency":"EUR","discount_code":"c"}}"#),
        format!(r#"{{"event_type":"refund",{head},"order_id":"o","amount":1,"currency":"JPY","reason":"broken"}}"#),
        r#"{"event_type":"product","product_id":"p","updated_at":"2020-01-02T03:04:05Z","name":"n","category":"c","brand":"b","price":3,"cost":2}"#
            .to_owned(),
        r#"{"event_type":"user","user_id":"u","updated_at":"2020-01-02T03:04:05Z","country":"DE","channel":"web","signup_time":"2020-01-01T00:00:00Z"}"#
            .to_owned(),
        r#"{"event_type":"inventory","product_id":"p","updated_at":"2020-01-02T03:04:05Z","on_hand":7,"reserved":1,"lead_time_days":3}"#
            .to_owned(),
    ];
    let hashes: Vec<u32> = lines.iter().map(|line| event(line).content).collect();
    let of_version_1 = [
        1_581_505_170,
        3_175_110_208,
        1_558_703_882,
        3_796_713_444,
        4_061_799_250,
        2_116_697_953,
        2_734_856_255,
        509_389_997,
        2_076_632_563,
    ];
    assert_eq!((CONTENT_VERSION, &hashes[..]), (1, &of_version_1[..]));
}
