//! RFC 3339 times, in UTC microseconds.

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// The first instant after the accepted ones: 2200-01-01. The first accepted one is 1970-01-01.
pub const TIME_END: i64 = days_from_civil(2200, 1, 1) * SECONDS_PER_DAY * MICROS_PER_SECOND;

/// `T`, `t` or a space between date and time; `Z`, `z` or any offset. Fraction digits past the sixth are cut, and
/// a leap second is the second before it.
pub fn parse(text: &str) -> Option<i64> {
    let (head, rest) = text.as_bytes().split_first_chunk::<19>()?;
    let date = pairs(word(head, 0), *b"0000-00-")?;
    // The mark between day and hour has three forms; make it one.
    let mark = u64::from(head[10]) << 16;
    if !matches!(head[10], b'T' | b't' | b' ') {
        return None;
    }
    let middle = pairs(word(head, 8) ^ mark, *b"00\x0000:00")?;
    let clock = pairs(word(head, 11), *b"00:00:00")?;
    let (year, month, day) = (at(date, 0) * 100 + at(date, 2), at(date, 5), at(middle, 0));
    let (hour, minute, second) = (at(clock, 0), at(clock, 3), at(clock, 6));
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let second_of_day = i64::from(hour * 3_600 + minute * 60 + second.min(59));
    let seconds = days_from_civil(year, month, day) * SECONDS_PER_DAY + second_of_day;
    let (micros, offset) = match micros_utc(rest) {
        Some(micros) => (micros, 0),
        None => micros_and_offset(rest)?,
    };
    Some((seconds - offset) * MICROS_PER_SECOND + i64::from(micros))
}

/// The microseconds of `.123456Z`, the end that nearly all times have.
#[inline]
fn micros_utc(text: &[u8]) -> Option<u32> {
    let ordinary = <[u8; 8]>::try_from(text).ok()?;
    let digits = pairs(u64::from_le_bytes(ordinary), *b".000000Z")?;
    Some(at(digits, 1) * 10_000 + at(digits, 3) * 100 + at(digits, 5))
}

/// Any other end. Kept out of the way of the ordinary one.
#[inline(never)]
fn micros_and_offset(text: &[u8]) -> Option<(u32, i64)> {
    let (micros, rest) = fraction(text)?;
    Some((micros, offset_seconds(rest)?))
}

/// The microseconds of `.123456` and what follows it.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let [b'.', text @ ..] = text else { return Some((0, text)) };
    let digits = text.iter().position(|byte| !byte.is_ascii_digit())?;
    if digits == 0 {
        return None;
    }
    let (fraction, rest) = text.split_at(digits);
    let six = fraction.iter().map(|byte| byte - b'0').chain([0; 5]).take(6);
    Some((six.fold(0, |micros, digit| micros * 10 + u32::from(digit)), rest))
}

#[inline]
fn word(head: &[u8; 19], start: usize) -> u64 {
    u64::from_le_bytes(*head[start..].first_chunk().expect("a word of the head ends by its 19th byte"))
}

/// Eight characters of which those at a `0` of the form are digits and the others are the form's own; in byte `i` of
/// the answer, the number whose two digits begin at `i`.
#[inline]
fn pairs(text: u64, form: [u8; 8]) -> Option<u64> {
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let digits = text ^ u64::from_le_bytes(form);
    // A digit may be at most 9 and a mark at most 0: adding what is left to 0x7f would set a byte's top bit.
    let room = u64::from_le_bytes(form.map(|byte| if byte == b'0' { 0x76 } else { 0x7f }));
    let valid = (digits.wrapping_add(room) | digits) & TOPS == 0;
    valid.then(|| digits * 10 + (digits >> 8))
}

#[inline]
fn at(pairs: u64, byte: u32) -> u32 {
    u32::from((pairs >> (8 * byte)) as u8)
}

fn offset_seconds(text: &[u8]) -> Option<i64> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
    match *text {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h, hh, b':', m, mm] => {
            let (hours, minutes) = (digit(h)? * 10 + digit(hh)?, digit(m)? * 10 + digit(mm)?);
            let seconds = hours * 3_600 + minutes * 60;
            (hours <= 23 && minutes <= 59).then_some(if sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

#[inline]
fn days_in_month(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u32::from(leap),
        // 31 for January to July where odd, from August on where even.
        _ => 30 + ((month + month / 8) & 1),
    }
}

/// Days since 1970-01-01 of the proleptic Gregorian calendar. Years begin in March, so that a leap day is the last
/// of one, and 400 of them are added, so that none is below 0.
#[inline]
const fn days_from_civil(year: u32, month: u32, day: u32) -> i64 {
    let year = year + 400 - (month <= 2) as u32;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
    days as i64 - DAYS_OF_400_YEARS - DAYS_TO_1970
}

const DAYS_OF_400_YEARS: i64 = 146_097;
/// From the first of March of year 0.
const DAYS_TO_1970: i64 = 719_468;
