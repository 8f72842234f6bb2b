//! The reader of ordinary lines: one flat object without escapes, with no white space but spaces after `:` and `,`.
//!
//! It knows no errors. A line that it does not read whole is the reference's, whatever is the matter with it.

use super::fields::Fields;
use super::quotes::{self, BLOCK, Quotes};

/// Lines up to this length find their quotes in a small array.
const SHORT_BYTES: usize = 512;
/// Longer lines are the reference's.
const LONG_BYTES: usize = 8_192;

/// Fills `fields`; `None` where the line is not an ordinary one, and `fields` is then half filled.
#[inline]
pub fn read<'a>(line: &'a [u8], fields: &mut Fields<'a>) -> Option<()> {
    let line = trim_end(line);
    if line.len() <= SHORT_BYTES {
        read_with(line, &mut [0; SHORT_BYTES / BLOCK], fields)
    } else if line.len() <= LONG_BYTES {
        read_long(line, fields)
    } else {
        None
    }
}

/// Without JSON's white space at the end: a form feed is none.
#[inline]
fn trim_end(mut line: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t' | b'\r' | b'\n'] = line {
        line = rest;
    }
    line
}

#[cold]
fn read_long<'a>(line: &'a [u8], fields: &mut Fields<'a>) -> Option<()> {
    read_with(line, &mut [0; LONG_BYTES / BLOCK], fields)
}

#[inline]
fn read_with<'a>(line: &'a [u8], masks: &mut [u64], fields: &mut Fields<'a>) -> Option<()> {
    let seen = quotes::find(line, masks);
    if seen.odd {
        return None;
    }
    let line = if seen.non_ascii {
        simdutf8::basic::from_utf8(line).ok()?
    } else {
        // SAFETY: ASCII is UTF-8.
        unsafe { std::str::from_utf8_unchecked(line) }
    };
    read_object(line, Quotes::new(masks), fields)?;
    fields.sort_unknown().then_some(())
}

#[inline]
fn read_object<'a>(line: &'a str, mut quotes: Quotes, fields: &mut Fields<'a>) -> Option<()> {
    let bytes = line.as_bytes();
    if bytes.first() != Some(&b'{') {
        return None;
    }
    let mut at = 1;
    loop {
        let (open, close) = (quotes.next()?, quotes.next()?);
        if (open != at && skip_spaces(bytes, at) != open) || bytes.get(close + 1) != Some(&b':') {
            return None;
        }
        let mut start = close + 2;
        if bytes.get(start) == Some(&b' ') {
            start = skip_spaces(bytes, start);
        }
        let end = match *bytes.get(start)? {
            b'"' => {
                quotes.next()?;
                quotes.next()? + 1
            }
            b'-' | b'0'..=b'9' => number_end(bytes, start)?,
            b't' => literal_end(bytes, start, b"true")?,
            b'f' => literal_end(bytes, start, b"false")?,
            b'n' => literal_end(bytes, start, b"null")?,
            _ => return None,
        };
        // SAFETY: quotes are places of the line, and a token ends within it. All four are next to a byte that was
        // seen to be a quote, a digit, a minus or a letter, and so between two characters.
        let (key, token) = unsafe { (piece(line, open + 1, close), piece(line, start, end)) };
        if !fields.insert(key, token) {
            return None;
        }
        match *bytes.get(end)? {
            b',' => at = end + 1,
            b'}' => return (end + 1 == bytes.len()).then_some(()),
            _ => return None,
        }
    }
}

/// Checked, the ends of pieces are a tenth of the work on a line.
///
/// # Safety
/// `start <= end <= line.len()`, and both are between two characters.
#[inline]
unsafe fn piece(line: &str, start: usize, end: usize) -> &str {
    debug_assert!(line.get(start..end).is_some());
    // SAFETY: as the caller promises.
    unsafe { line.get_unchecked(start..end) }
}

#[inline]
fn skip_spaces(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at) == Some(&b' ') {
        at += 1;
    }
    at
}

#[inline]
fn literal_end(bytes: &[u8], start: usize, literal: &[u8]) -> Option<usize> {
    bytes[start..].starts_with(literal).then_some(start + literal.len())
}

/// The end of a JSON number: `-? (0 | [1-9] [0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`.
#[inline]
fn number_end(bytes: &[u8], start: usize) -> Option<usize> {
    let digits_end = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    let first = start + usize::from(bytes[start] == b'-');
    let mut end = digits_end(first);
    if end == first || (bytes[first] == b'0' && end > first + 1) {
        return None;
    }
    if bytes.get(end) == Some(&b'.') {
        let fraction = end + 1;
        end = digits_end(fraction);
        if end == fraction {
            return None;
        }
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let exponent = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        end = digits_end(exponent);
        if end == exponent {
            return None;
        }
    }
    Some(end)
}
