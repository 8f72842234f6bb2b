//! `decode` and `decode_reference` say the same of every line, valid or not.

use super::{lines, outcome, property};
use millrace_schema::decode::DecodeSettings;
use millrace_schema::{Currency, Kind};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

fn settings() -> impl Strategy<Value = (Option<i64>, DecodeSettings)> {
    let received_at = prop::option::weighted(0.3, 1_577_900_000_000_000..1_578_000_000_000_000_i64);
    let kind = prop::option::weighted(0.3, prop::sample::select(&Kind::ALL[..]));
    let size = prop_oneof![9 => Just(1 << 20), 1 => 0..400_usize];
    let yen = Currency::parse("JPY").expect("three capitals");
    let currency = prop::sample::select(vec![Currency::USD, yen]);
    (received_at, kind, size, currency).prop_map(|(received_at, default_kind, max_record_bytes, default_currency)| {
        let settings =
            DecodeSettings { max_record_bytes, default_kind, default_currency, max_future_micros: 300_000_000 };
        (received_at, settings)
    })
}

proptest! {
    #![proptest_config(property())]

    #[test]
    fn on_records(line in lines::record(), (received_at, settings) in settings()) {
        let extra = outcome(&line, received_at, &settings).map(|record| record.extra).unwrap_or_default();
        if !extra.is_empty() {
            let kept: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&extra).expect("extra is a JSON object");
            prop_assert!(!kept.is_empty() && kept.values().all(|value| value.get() != "null"), "{}", extra);
            prop_assert_eq!(serde_json::to_string(&kept).expect("raw values are JSON"), extra);
        }
    }

    #[test]
    fn on_broken_records(line in lines::broken(), (received_at, settings) in settings()) {
        let _ = outcome(&line, received_at, &settings);
    }

    #[test]
    fn on_soup(line in lines::soup(), (received_at, settings) in settings()) {
        let _ = outcome(&line, received_at, &settings);
    }

    #[test]
    fn on_any_bytes(line in any::<Vec<u8>>(), (received_at, settings) in settings()) {
        let _ = outcome(&line, received_at, &settings);
    }
}

/// The generators reach what they are for: a property over rejects alone would prove little.
#[test]
fn the_lines_are_of_both_sorts() {
    let mut runner = TestRunner::deterministic();
    let settings = DecodeSettings::default();
    let mut accepted = |strategy: BoxedStrategy<Vec<u8>>| {
        let lines = (0..500).map(|_| strategy.new_tree(&mut runner).expect("no strategy gives up").current());
        lines.filter(|line| outcome(line, None, &settings).is_ok()).count()
    };
    let (records, broken) = (accepted(lines::record().boxed()), accepted(lines::broken().boxed()));
    assert!((100..450).contains(&records), "{records} of 500 records are valid");
    assert!((5..300).contains(&broken), "{broken} of 500 broken records are valid");
}
