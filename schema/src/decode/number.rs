//! A JSON number by its value: significant digits and a power of ten, however it is spelled.
//!
//! For numbers that are seldom written: whole ones with a fraction or an exponent, and those of unknown fields that are
//! not in their shortest form. Nothing is scaled, so that no exponent costs anything.

/// `digits × 10^exponent`.
pub struct Number<'a> {
    negative: bool,
    /// Without zeros at either end; empty for 0.
    digits: String,
    /// An exponent of more digits than an `i128` has stays text: no two of those are added up.
    exponent: Result<i128, (i128, &'a str)>,
}

/// A number without an exponent and at most this long is written out where it is written anew.
pub const WRITTEN_OUT_BYTES: usize = 24;

const EXPONENT_DIGITS: usize = 30;

/// A number as a whole one.
pub enum Whole {
    Value(i64),
    /// Whole, and beyond an `i64`.
    TooLarge,
    Fraction,
}

impl Number<'_> {
    /// `text` is a valid JSON number.
    pub fn of(text: &str) -> Number<'_> {
        let (negative, text) = signed(text);
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = [whole, fraction].concat();
        let leading = all.trim_start_matches('0');
        let digits = leading.trim_end_matches('0');
        if digits.is_empty() {
            return Number { negative, digits: String::new(), exponent: Ok(0) };
        }
        let trailing = (leading.len() - digits.len()) as i128 - fraction.len() as i128;
        let (falls, size) = signed(exponent.strip_prefix('+').unwrap_or(exponent));
        let size = size.trim_start_matches('0');
        let exponent = if size.len() > EXPONENT_DIGITS {
            Err((trailing, exponent))
        } else {
            let size = size.bytes().fold(0_i128, |size, byte| size * 10 + i128::from(byte - b'0'));
            Ok(trailing + if falls { -size } else { size })
        };
        Number { negative, digits: digits.to_owned(), exponent }
    }

    pub fn whole(&self) -> Whole {
        match self.whole_text(WRITTEN_OUT_BYTES) {
            Some(text) => text.parse().map_or(Whole::TooLarge, Whole::Value),
            None => match self.exponent {
                Ok(exponent) if exponent < 0 => Whole::Fraction,
                Err((_, text)) if text.starts_with('-') => Whole::Fraction,
                _ => Whole::TooLarge,
            },
        }
    }

    /// The number as an integer token; `None` where it is not whole, or has more than `most` digits.
    pub fn whole_text(&self, most: usize) -> Option<String> {
        let zeros = usize::try_from(self.exponent.ok()?).ok().filter(|zeros| *zeros <= most)?;
        let digits = if self.digits.is_empty() { "0" } else { &self.digits };
        (digits.len() + zeros <= most).then(|| format!("{}{digits}{}", self.sign(), "0".repeat(zeros)))
    }

    /// Appends the one spelling of the number's value: the shortest without an exponent, if it is short, and 0 without a sign.
    pub fn push(&self, out: &mut String) {
        if self.digits.is_empty() {
            out.push('0');
            return;
        }
        out.push_str(self.sign());
        let digits = &self.digits;
        match self.exponent {
            Ok(zeros) if zeros >= 0 && digits.len() as i128 + zeros <= WRITTEN_OUT_BYTES as i128 => {
                out.push_str(digits);
                out.push_str(&"0".repeat(zeros as usize));
            }
            Ok(places) if places < 0 && digits.len().max(places.unsigned_abs() as usize) <= WRITTEN_OUT_BYTES => {
                let places = places.unsigned_abs() as usize;
                let padded = format!("{digits:0>width$}", width = places + 1);
                let (whole, fraction) = padded.split_at(padded.len() - places);
                out.push_str(whole);
                out.push('.');
                out.push_str(fraction);
            }
            Ok(exponent) => out.push_str(&format!("{digits}e{exponent}")),
            Err((places, exponent)) => out.push_str(&format!("{digits}e{places}e{exponent}")),
        }
    }

    fn sign(&self) -> &'static str {
        if self.negative { "-" } else { "" }
    }
}

fn signed(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_one_spelling() {
        for (spellings, expected) in [
            ("0 -0 0.000 0e5 -0.0e-99999999999999999999999999999999999999", "0"),
            ("30.37 30.3700 3.037e1 3037E-2 0.00003037e+0006", "30.37"),
            ("-5 -5.0 -50e-1", "-5"),
            ("0.001 1e-3", "0.001"),
            ("1e24 10e23", "1e24"),
            ("1e23", "100000000000000000000000"),
            ("1e-24", "0.000000000000000000000001"),
            ("0.1e-24 1e-25", "1e-25"),
            ("123e99999999999999999999999999999", "123e99999999999999999999999999999"),
            ("1.5e99999999999999999999999999999999999999999", "15e-1e99999999999999999999999999999999999999999"),
        ] {
            for text in spellings.split(' ') {
                let mut out = String::new();
                Number::of(text).push(&mut out);
                assert_eq!(out, expected, "{text}");
            }
        }
    }

    #[test]
    fn whole_numbers() {
        for (text, expected) in [
            ("1.0", "1"),
            ("1e0", "1"),
            ("10e-1", "1"),
            ("-2.50e1", "-25"),
            ("0.000", "0"),
            ("1.5", "fraction"),
            ("1e-1", "fraction"),
            ("1e-99999999999999999999999999999999999", "fraction"),
            ("9223372036854775807.0", "9223372036854775807"),
            ("9223372036854775808.0", "too large"),
            ("1e99", "too large"),
            ("1e99999999999999999999999999999999999", "too large"),
        ] {
            let got = match Number::of(text).whole() {
                Whole::Value(value) => value.to_string(),
                Whole::TooLarge => "too large".to_owned(),
                Whole::Fraction => "fraction".to_owned(),
            };
            assert_eq!(got, expected, "{text}");
        }
    }
}
