//! Money against big integers, times against jiff.

use super::{outcome, property};
use millrace_schema::Warning;
use millrace_schema::decode::DecodeSettings;
use proptest::prelude::*;

/// The minor units of `mantissa × 10^exponent` and whether it was rounded, in 128 bits.
fn oracle(mantissa: i128, exponent: i32, digits: u32) -> (i128, bool) {
    let shift = exponent + digits as i32;
    if shift >= 0 {
        return (mantissa.saturating_mul(10_i128.pow(shift as u32)), false);
    }
    let unit = 10_i128.pow(-shift as u32);
    let (floor, rest) = (mantissa.div_euclid(unit), mantissa.rem_euclid(unit));
    let up = rest * 2 > unit || (rest * 2 == unit && floor % 2 != 0);
    (floor + i128::from(up), rest != 0)
}

fn check_money(mantissa: i64, exponent: i32, form: &str, currency: (&str, u32)) {
    let (code, digits) = currency;
    let (expected, rounded) = oracle(mantissa.into(), exponent, digits);
    // What is paid has the sign of the quantity.
    let quantity = if mantissa < 0 { -1 } else { 1 };
    let line = format!(
        r#"{{"event_type":"purchase","event_id":1,"event_time":"2020-01-02T03:04:05Z","session_id":1,"order_id":1,
        "product_id":1,"quantity":{quantity},"price_paid":{form},"currency":"{code}"}}"#
    );
    for line in [line.replace("\n        ", ""), line] {
        match outcome(line.as_bytes(), None, &DecodeSettings::default()) {
            Ok(record) => {
                assert_eq!(i128::from(record.amount), expected, "{form}");
                assert_eq!(record.warnings.has(Warning::AmountRounded), rounded, "{form}");
            }
            Err(reject) => {
                assert_eq!(reject.rule.as_str(), "number_out_of_range");
                assert!(expected.unsigned_abs() > 10_000_000_000_000, "{form}");
            }
        }
    }
}

/// `mantissa × 10^exponent` without an exponent, for `exponent ≤ 0`.
fn plain(mantissa: i64, exponent: i32) -> String {
    let places = -exponent as usize;
    let digits = format!("{:0width$}", mantissa.unsigned_abs(), width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    let sign = if mantissa < 0 { "-" } else { "" };
    if places == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

proptest! {
    #![proptest_config(property())]

    #[test]
    fn money_is_exact(
        mantissa in prop_oneof![-2_000..2_000_i64, -2_000_000_000..2_000_000_000_i64, any::<i64>()],
        exponent in -18..=18_i32,
        currency in prop::sample::select(vec![("USD", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4)]),
    ) {
        check_money(mantissa, exponent, &format!("{mantissa}e{exponent}"), currency);
        let places = -exponent.abs();
        check_money(mantissa, places, &plain(mantissa, places), currency);
        let shifted = format!("{}E+{}", plain(mantissa, places), exponent.abs());
        check_money(mantissa, 0, &shifted, currency);
    }

    #[test]
    fn times_are_jiffs(
        date in (1969..2201_i32, 0..14_i32, 0..33_i32),
        time in (0..25_i32, 0..61_i32, 0..62_i32),
        fraction in prop_oneof![Just(String::new()), "\\.[0-9]{1,9}"],
        offset in prop_oneof![Just("Z".to_owned()), "[+-]([01][0-9]|2[0-3]):[0-6][0-9]"],
        mark in prop::sample::select(vec!['T', 't', ' ']),
    ) {
        let text = format!(
            "{:04}-{:02}-{:02}{mark}{:02}:{:02}:{:02}{fraction}{offset}",
            date.0, date.1, date.2, time.0, time.1, time.2,
        );
        let line = format!(r#"{{"event_type":"user","user_id":1,"updated_at":"{text}"}}"#);
        let got = outcome(line.as_bytes(), None, &DecodeSettings::default());
        let expected = text.parse::<jiff::Timestamp>().ok().map(|time| time.as_nanosecond().div_euclid(1_000) as i64);
        match (got, expected) {
            (Ok(record), Some(micros)) => prop_assert_eq!(record.time, micros),
            (Err(reject), None) => prop_assert_eq!(reject.rule.as_str(), "unparsable_time"),
            (Err(reject), Some(micros)) => {
                prop_assert_eq!(reject.rule.as_str(), "time_out_of_range");
                prop_assert!(!(0..7_258_118_400_000_000).contains(&micros));
            }
            (Ok(record), None) => prop_assert!(false, "{} is no time for jiff, but {}", text, record.time),
        }
    }
}
