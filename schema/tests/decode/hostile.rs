//! Lines that no shop sends, and the order in which their faults are found.

use super::{outcome, verdict};
use millrace_schema::decode::DecodeSettings;

#[track_caller]
fn check(line: impl AsRef<[u8]>, expected: &str) {
    let settings = DecodeSettings { max_record_bytes: 16 << 20, ..Default::default() };
    let got = verdict(&outcome(line.as_ref(), None, &settings));
    assert_eq!(got, expected, "{}", String::from_utf8_lossy(&line.as_ref()[..line.as_ref().len().min(200)]));
}

/// A valid record around some more fields.
fn with(more: &str) -> String {
    format!(r#"{{"event_type":"user","user_id":"u","updated_at":"2020-01-02T03:04:05Z",{more}}}"#)
}

#[test]
fn not_one_object() {
    for line in [
        "",
        " ",
        "null",
        "1",
        "\"{}\"",
        "[]",
        "{",
        "}",
        "{}}",
        "{} x",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "{\"a\" 1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1;\"b\":2}",
        "\u{feff}{}",
        "{}\u{feff}",
        "{}\0",
        "\0{}",
        "{\"a\":1}{\"b\":2}",
        "{\"a\":1}\u{c}",
        "\u{b}{}",
        "{\"a\":\u{a0}1}",
        "{\"",
        "{\"a",
        "{\"a\":\"",
        "{\"a\":\"b",
    ] {
        check(line, "malformed_json");
    }
    for line in ["{}", " {}\r\n", "\t{ } ", "\n{\n}\n"] {
        check(line, "unknown_event_type event_type");
    }
}

#[test]
fn tokens() {
    for raw in [
        "01",
        "-01",
        "00",
        "-",
        "+1",
        ".5",
        "1.",
        "1.e1",
        "1e",
        "1e+",
        "0x1",
        "1_0",
        "NaN",
        "Infinity",
        "-Infinity",
        "True",
        "tru",
        "truee",
        "nul",
        "falsey",
        "undefined",
        "'x'",
        "\"a\nb\"",
        "\"a\tb\"",
        "\"a\0b\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\\"",
        "\"a\"b\"",
        "\"a\" \"b\"",
        "1 2",
        "[1,]",
        "[,1]",
        "{\"a\":}",
        "[1",
        "\u{ff11}",
    ] {
        for key in ["country", "price", "other"] {
            check(with(&format!("\"{key}\":{raw}")), "malformed_json");
        }
    }
    for raw in [
        "0",
        "-0",
        "0.0",
        "-0e-0",
        "1E+400",
        "1e-400",
        "true",
        "null",
        "\"\\u0000\"",
        "\"\\/\\b\\f\"",
        "\"\u{7f}\"",
        " 1 ",
        "\n\"x\"\t",
        "[]",
        "{}",
        "[{\"a\":[\"]\",\"\\\"}\"]}]",
        "\"\u{10ffff}\"",
        "{\"a\":1,\"a\":2}",
    ] {
        check(with(&format!("\"other\":{raw}")), "ok");
        check(with(&format!("\"price\":{raw}")), "ok");
    }
}

#[test]
fn surrogates() {
    for text in
        [r"\ud800", r"\udc00", r"\ud800\ud800", r"\udc00\ud800", r"\ud83dx\ude00", r"\ud83d\n", r"\uD83D\\ude00"]
    {
        for more in ["\"country\":\"X\"", "\"other\":\"X\"", "\"other\":[{\"X\":1}]", "\"X\":1", "\"session_id\":\"X\""]
        {
            check(with(&more.replace('X', text)), "malformed_json");
        }
    }
    check(with(r#""country":"\ud83d\ude00","o\uD83D\uDE00":["\\ud800"]"#), "ok");
}

#[test]
fn duplicates() {
    check(with(r#""user_id":"u""#), "duplicate_key user_id");
    check(with(r#""\u0075ser_id":"u""#), "duplicate_key user_id");
    check(with(r#""country":null,"country":"x""#), "duplicate_key country");
    check(with(r#""x":null,"y":1,"x":null"#), "duplicate_key");
    check(with(r#""":1,"":2"#), "duplicate_key");
    check(with(r#""x":1,"\u0078":2"#), "duplicate_key");
    check(with(r#""x":1,"x ":2,"X":3,"x\u0000":4"#), "ok");
    check(with(r#""session_id":1,"session_id":2"#), "duplicate_key session_id");
    check(r#"{"event_type":"user","event_type":"user"}"#, "duplicate_key event_type");
}

#[test]
fn which_fault_comes_first() {
    let settings = DecodeSettings { max_record_bytes: 3, ..Default::default() };
    assert_eq!(verdict(&outcome(b"\xff{{{", None, &settings)), "too_large");
    assert_eq!(verdict(&outcome(b"\xff{{", None, &settings)), "invalid_utf8");
    check(b"{\"a\":1,\"a\":1,\xff", "invalid_utf8");
    check(r#"{"a":1,"a":1"#, "malformed_json");
    check(r#"{"a":1,"a":1,"b":"\ud800"}"#, "malformed_json");
    check(r#"{"event_type":"nonsense","a":1,"a":1}"#, "duplicate_key");
    check(r#"{"event_type":"purchase","price_paid":"x"}"#, "missing_field event_id");
}

#[test]
fn bytes_that_are_no_text() {
    let invalid: [&[u8]; 7] =
        [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80", b"\xf0\x9f\x98"];
    for bytes in invalid {
        let line = with("\"country\":\"X\",\"X\":1");
        let places: Vec<usize> = line.match_indices('X').map(|(at, _)| at).collect();
        for at in places.into_iter().chain([0, line.len()]) {
            check([&line.as_bytes()[..at], bytes, &line.as_bytes()[at..]].concat(), "invalid_utf8");
        }
    }
}

#[test]
fn depth() {
    let nested = |depth: usize| with(&format!("\"x\":{}{}", "[".repeat(depth), "]".repeat(depth)));
    check(nested(126), "ok");
    check(nested(127), "malformed_json");
    check(nested(1 << 20), "malformed_json");
    check(with(&format!("\"x\":{}", "[".repeat(1 << 20))), "malformed_json");
    check("{\"a\":".repeat(1 << 20), "malformed_json");
    check(with(&format!("\"x\":\"{}\"", "[".repeat(1 << 10))), "ok");
}

#[test]
fn length() {
    let long = "x".repeat(10 << 20);
    check(with(&format!("\"country\":\"{long}\"")), "ok");
    check(with(&format!("\"{long}\":1")), "ok");
    let product = |price| {
        format!(r#"{{"event_type":"product","product_id":1,"updated_at":"2020-01-02T03:04:05Z","price":{price}}}"#)
    };
    check(product("9".repeat(10 << 20)), "number_out_of_range price");
    check(product(format!("0.{}", "9".repeat(10 << 20))), "ok");
    check(with(&format!("\"updated\":1{}", " ".repeat(10 << 20))), "ok");
    check(&long, "malformed_json");
    check(vec![0; 10 << 20], "malformed_json");
    check(vec![b'"'; 10 << 20], "malformed_json");
    check("x".repeat((16 << 20) + 1), "too_large");
    for length in [440, 500, 511, 512, 513, 600, 8_100, 8_192, 8_193, 9_000] {
        check(with(&format!("\"country\":\"{}\"", "é".repeat(length / 2))), "ok");
    }
    let many: Vec<String> = (0..100_000).rev().map(|key| format!("\"{key}\":1")).collect();
    check(with(&many.join(",")), "ok");
    check(with(&[many.join(","), "\"7\":2".to_owned()].join(",")), "duplicate_key");
}
