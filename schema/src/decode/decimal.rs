//! Money and integers from the digits of a JSON number, exactly.

use crate::Cents;

/// No amount is beyond this many minor units: 10¹¹ of a currency with two places.
///
/// Sums are `i64`: 922,337 lines of the largest amount fit. In a file with four decimal places, which two currencies have, the
/// largest amount of a currency without any takes the 18 digits that 64 bits hold. No shop has a line like that, so
/// what is beyond it is a mistake of whoever sent it.
pub const MINOR_UNITS_MAX: u64 = 10_000_000_000_000;

/// An amount in minor units, and whether digits other than 0 were rounded away (half to even).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rounded {
    pub minor: Cents,
    pub inexact: bool,
}

/// So many bytes of a number without an exponent fit an `i64` with four more digits.
const SHORT: usize = 14;

/// The amount of a valid JSON number in units of 10^-`places`; `None` beyond [`MINOR_UNITS_MAX`].
#[inline]
pub fn money(number: &str, places: u32) -> Option<Rounded> {
    if number.len() <= SHORT
        && let Some(amount) = short(number.as_bytes(), places)
    {
        return (amount.minor.unsigned_abs() <= MINOR_UNITS_MAX).then_some(amount);
    }
    long(number, i64::from(places))
}

const POWERS: [u64; SHORT + 1] = {
    let mut powers = [1; SHORT + 1];
    let mut at = 1;
    while at <= SHORT {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// `None` where the number has an exponent.
#[inline]
fn short(number: &[u8], places: u32) -> Option<Rounded> {
    let (negative, digits) = unsigned(number);
    let mut value = 0_u64;
    let mut fraction = None;
    for (at, &byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value * 10 + u64::from(byte - b'0'),
            b'.' => fraction = Some(digits.len() - at - 1),
            _ => return None,
        }
    }
    let (have, want) = (fraction.unwrap_or(0), places as usize);
    let (value, inexact) = if have <= want {
        (value * POWERS[want - have], false)
    } else {
        let unit = POWERS[have - want];
        let (whole, rest) = (value / unit, value % unit);
        let up = rest * 2 > unit || (rest * 2 == unit && whole % 2 == 1);
        (whole + u64::from(up), rest != 0)
    };
    Some(Rounded { minor: signed(negative, value), inexact })
}

/// Any length, any exponent: looks at the digits around the last place and never scales by a power of ten.
#[cold]
fn long(number: &str, places: i64) -> Option<Rounded> {
    let (negative, unsigned) = unsigned(number.as_bytes());
    let mantissa_end = unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(unsigned.len());
    let (mantissa, exponent) = unsigned.split_at(mantissa_end);
    let whole_digits = mantissa.iter().position(|&byte| byte == b'.').unwrap_or(mantissa.len()) as i64;
    let digits = || mantissa.iter().filter(|&&byte| byte != b'.').map(|byte| byte - b'0');
    let Some(leading_zeros) = digits().position(|digit| digit != 0) else {
        return Some(Rounded { minor: 0, inexact: false });
    };
    // Of the digits after the leading zeros, so many belong to the amount in minor units.
    let kept = whole_digits + saturating_exponent(exponent) + places - leading_zeros as i64;
    if kept > 17 {
        return None;
    }
    let mut significant = digits().skip(leading_zeros);
    let mut value = 0_u64;
    for _ in 0..kept.max(0) {
        value = value * 10 + u64::from(significant.next().unwrap_or(0));
    }
    // With digits to spare before the first one kept, what is dropped is below one half.
    let first_dropped = if kept < 0 { 0 } else { significant.next().unwrap_or(0) };
    let more_dropped = kept < 0 || significant.any(|digit| digit != 0);
    let up = first_dropped > 5 || (first_dropped == 5 && (more_dropped || value % 2 == 1));
    value += u64::from(up);
    let inexact = first_dropped != 0 || more_dropped;
    (value <= MINOR_UNITS_MAX).then_some(Rounded { minor: signed(negative, value), inexact })
}

/// `e-12` as -12; far below any overflow, far above any line's length.
fn saturating_exponent(text: &[u8]) -> i64 {
    const LIMIT: i64 = 1 << 48;
    let text = text.get(1..).unwrap_or_default();
    let (negative, digits) = match text {
        [b'+', digits @ ..] => (false, digits),
        text => unsigned(text),
    };
    let size = digits.iter().fold(0_i64, |size, byte| (size * 10 + i64::from(byte - b'0')).min(LIMIT));
    if negative { -size } else { size }
}

/// Whether a valid JSON number is an integer token, without fraction or exponent.
#[inline]
pub fn is_integer(number: &str) -> bool {
    unsigned(number.as_bytes()).1.iter().all(u8::is_ascii_digit)
}

#[inline]
fn unsigned(number: &[u8]) -> (bool, &[u8]) {
    match number {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    }
}

/// `value` is far below 2^63.
#[inline]
fn signed(negative: bool, value: u64) -> i64 {
    if negative { -(value as i64) } else { value as i64 }
}
