//! Every currency of ISO 4217, with its places.

use super::outcome;
use millrace_schema::Currency;
use millrace_schema::decode::DecodeSettings;

/// One a line: the table as published on 2026-01-01, by code, with `-` for those without a minor unit; then those withdrawn
/// since 1999, after a blank line.
const TABLE: &str = include_str!("currencies.txt");

fn table() -> impl Iterator<Item = (&'static str, Option<u32>)> {
    TABLE.lines().filter(|line| !line.is_empty()).map(|line| {
        let (code, places) = line.split_once(' ').expect("a code and its places");
        (code, places.parse().ok())
    })
}

#[test]
fn each_has_its_places() {
    for (code, places) in table() {
        assert_eq!(Currency::parse(code).map(Currency::digits), places, "{code}");
        assert_eq!(Currency::parse(&code.to_lowercase()), Currency::parse(code), "{code}");
    }
    let current = TABLE.split("\n\n").next().expect("a table").lines().count();
    assert_eq!((current, table().count()), (178, 232));
}

#[test]
fn there_are_no_others() {
    let letters = || b'A'..=b'Z';
    let known = letters().flat_map(|a| letters().flat_map(move |b| letters().map(move |c| [a, b, c])));
    let known = known.filter(|code| Currency::parse(std::str::from_utf8(code).expect("letters")).is_some()).count();
    assert_eq!(known, table().filter(|(_, places)| places.is_some()).count());
    for text in ["", "US", "USDX", "U$D", "ÄU", "USD ", "\u{0}\u{0}\u{0}", "[[[", "@@@", "zzz"] {
        assert_eq!(Currency::parse(text), None, "{text:?}");
    }
}

/// A line's amount is counted in the minor unit of its currency, whatever it is.
#[test]
fn each_is_decoded() {
    for (code, places) in table() {
        let line = format!(
            r#"{{"event_type":"refund","event_id":1,"event_time":"2020-01-02T03:04:05Z","order_id":1,"amount":12.34565,
            "currency":"{code}"}}"#
        );
        let got = outcome(line.replace("\n            ", "").as_bytes(), None, &DecodeSettings::default());
        let (amount, rule) =
            (got.as_ref().ok().map(|record| record.amount), got.as_ref().err().map(|r| r.rule.as_str()));
        let expected = places.map(|places| [12, 123, 1_235, 12_346, 123_456][places as usize]);
        assert_eq!((amount, rule), (expected, expected.is_none().then_some("wrong_type")), "{code}");
    }
}
