//! The content of leftover fields: one spelling for all objects that mean the same.
//!
//! - Keys stand in byte order, at any depth; of one that stands twice, the places count.
//! - A number is its value: `30.37` and `3.0370e1` are one.
//! - A member that is `null` or an empty text is none. In an array it has a place, so there both are `null`.
//! - A text has as few escapes as it can, and is not looked into: it may look like a time or a number and is neither.
//!   Only in the top fields that are times by their name (such as `updated_at` of a purchase) is a time its instant.

use super::field::Field;
use super::number::{Number, WRITTEN_OUT_BYTES};
use super::time;
use memchr::memchr2;
use std::borrow::Cow;

/// The content of an object that [`super::extra`] wrote; empty where no field of it has a value.
pub fn content_of(object: &str) -> Cow<'_, str> {
    if is_content(object.as_bytes()) {
        return Cow::Borrowed(object);
    }
    let mut content = String::with_capacity(object.len());
    Reader { rest: object }.object(&mut content, true);
    Cow::Owned(if content == "{}" { String::new() } else { content })
}

/// Whether a flat object is its own content, as nearly all are. Their fields stand in order already.
fn is_content(object: &[u8]) -> bool {
    let text_end = |start: usize| {
        let end = start + memchr2(b'"', b'\\', &object[start..])?;
        (object[end] == b'"').then_some(end)
    };
    let mut at = 0;
    while object.get(at + 1) == Some(&b'"') {
        let Some(key_end) = text_end(at + 2) else { return false };
        if is_time(&object[at + 2..key_end]) {
            return false;
        }
        let start = key_end + 2;
        at = match object[start] {
            b'"' => match text_end(start + 1) {
                Some(end) if end > start + 1 => end + 1,
                _ => return false,
            },
            b'-' | b'0'..=b'9' => {
                let length = object[start..].iter().take_while(|byte| !matches!(byte, b',' | b'}')).count();
                if !is_shortest(&object[start..start + length]) {
                    return false;
                }
                start + length
            }
            b't' => start + 4,
            b'f' => start + 5,
            _ => return false,
        };
    }
    at + 1 == object.len()
}

/// Whether a number is spelled as [`Number::push`] does.
fn is_shortest(number: &[u8]) -> bool {
    let has_exponent = number.iter().any(|byte| matches!(byte, b'e' | b'E'));
    let ends_in_zero = number.contains(&b'.') && number.ends_with(b"0");
    number.len() <= WRITTEN_OUT_BYTES && !has_exponent && !ends_in_zero && number != b"-0"
}

fn is_time(key: &[u8]) -> bool {
    matches!(Field::of_key(key), Some(Field::EventTime | Field::UpdatedAt | Field::SignupTime))
}

/// Reads valid JSON, nested no deeper than decoding lets in.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// Appends the next value; false where it is none.
    fn value(&mut self, out: &mut String) -> bool {
        self.skip_space();
        match self.rest.as_bytes()[0] {
            b'{' => self.object(out, false),
            b'[' => self.array(out),
            b'"' => {
                let token = self.string();
                if token == "\"\"" {
                    return false;
                }
                push_text(token, out);
            }
            _ => {
                let token = self.scalar();
                match token {
                    "null" => return false,
                    "true" | "false" => out.push_str(token),
                    number => Number::of(number).push(out),
                }
            }
        }
        true
    }

    fn object(&mut self, out: &mut String, top: bool) {
        self.take();
        let mut members: Vec<(String, String)> = Vec::new();
        while self.next_byte() != b'}' {
            let mut key = String::new();
            push_text(self.string(), &mut key);
            self.next_byte();
            self.take();
            let mut value = String::new();
            if top && is_time(&key.as_bytes()[1..key.len() - 1]) {
                self.time(&mut value);
            } else {
                self.value(&mut value);
            }
            if !value.is_empty() {
                members.push((key, value));
            }
            if self.next_byte() == b',' {
                self.take();
            }
        }
        self.take();
        // A stable sort by the key alone: of two equal keys the first stays the first.
        members.sort_by(|one, other| one.0.cmp(&other.0));
        out.push('{');
        for (at, (key, value)) in members.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            out.push_str(key);
            out.push(':');
            out.push_str(value);
        }
        out.push('}');
    }

    fn array(&mut self, out: &mut String) {
        self.take();
        out.push('[');
        let mut first = true;
        while self.next_byte() != b']' {
            if !first {
                out.push(',');
            }
            first = false;
            if !self.value(out) {
                out.push_str("null");
            }
            if self.next_byte() == b',' {
                self.take();
            }
        }
        self.take();
        out.push(']');
    }

    /// A value of a field that is a time: its instant, where it is one.
    fn time(&mut self, out: &mut String) {
        let before = out.len();
        self.value(out);
        let text = out[before..].strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        if let Some(micros) = text.and_then(time::parse) {
            out.truncate(before);
            // No JSON value begins like this.
            out.push_str(&format!("@{micros}"));
        }
    }

    /// The next string token, with its quotes.
    fn string(&mut self) -> &'a str {
        let bytes = self.rest.as_bytes();
        let mut end = 1;
        while bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let (token, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        token
    }

    /// The next number or word.
    fn scalar(&mut self) -> &'a str {
        let ends = |byte: u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
        let end = self.rest.bytes().position(ends).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        token
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
    }

    /// The byte that the next token begins with.
    fn next_byte(&mut self) -> u8 {
        self.skip_space();
        self.rest.as_bytes()[0]
    }

    /// Takes a mark of one byte.
    fn take(&mut self) {
        self.rest = &self.rest[1..];
    }
}

/// A string token with as few escapes as it can have.
fn push_text(token: &str, out: &mut String) {
    if token.contains('\\') {
        let text: String = serde_json::from_str(token).expect("the object was read before");
        out.push_str(&serde_json::to_string(&text).expect("a text is always a JSON string"));
    } else {
        out.push_str(token);
    }
}
