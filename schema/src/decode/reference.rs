//! The reader of any line: `serde_json`, every key and token in turn.
//!
//! `serde_json` passes over a value that is kept as text without unescaping its strings and without a limit of
//! depth; [`check_value`] adds both, so that whoever reads `extra` later can.

use super::fault::piece;
use super::field::Field;
use super::fields::Fields;
use crate::{Reject, Rule};
use bumpalo::Bump;
use bumpalo::collections::Vec;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// How deep a record may be nested, its own object counted: what `serde_json` itself would build.
const DEPTH_MAX: usize = 127;
/// How much of a key a message shows.
const KEY_CHARS: usize = 64;

/// Fills `fields`.
pub fn read<'a>(bytes: &'a [u8], fields: &mut Fields<'a>) -> Result<(), Reject> {
    let reject = |rule, field, message| Reject { rule, field, message, received_at: None };
    let line = std::str::from_utf8(bytes).map_err(|error| {
        reject(Rule::InvalidUtf8, None, format!("expected utf-8, got something else at byte {}", error.valid_up_to()))
    })?;
    let malformed = |error: serde_json::Error| {
        let detail = if error.is_data() { String::new() } else { format!(": {}", piece(&error.to_string(), 80)) };
        reject(Rule::MalformedJson, None, format!("expected one json object{detail}"))
    };

    let arena = fields.arena;
    let mut entries = Vec::new_in(arena);
    let mut reader = serde_json::Deserializer::from_str(line);
    reader.deserialize_map(Entries { entries: &mut entries, arena }).map_err(malformed)?;
    reader.end().map_err(malformed)?;
    for &(_, raw) in &entries {
        check_value(raw).map_err(|expected| reject(Rule::MalformedJson, None, expected.to_owned()))?;
    }

    let twice = |key: &str| {
        let message = format!("expected every key once, got {} twice", piece(key, KEY_CHARS));
        reject(Rule::DuplicateKey, Field::of_key(key.as_bytes()).map(Field::name), message)
    };
    for &(key, raw) in &entries {
        let field = Field::of_key(key.as_bytes());
        if !fields.insert(key, raw) {
            return Err(twice(key));
        }
        if let Some(field) = field
            && raw.starts_with('"')
            && raw.contains('\\')
        {
            let text = Text { arena }.deserialize(&mut serde_json::Deserializer::from_str(raw)).map_err(malformed)?;
            fields.insert_unescaped(field, text);
        }
    }
    if fields.sort_unknown() {
        return Ok(());
    }
    let pair = fields.unknown.windows(2).find(|pair| pair[0].0 == pair[1].0);
    Err(twice(pair.map_or("one", |pair| pair[0].0)))
}

/// Collects an object's keys, unescaped, and its values as they stand, with every repetition.
struct Entries<'e, 'a> {
    entries: &'e mut Vec<'a, (&'a str, &'a str)>,
    arena: &'a Bump,
}

impl<'a> Visitor<'a> for Entries<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Text { arena: self.arena })? {
            let raw: &'a RawValue = map.next_value()?;
            self.entries.push((key, raw.get()));
        }
        Ok(())
    }
}

/// A string, borrowed where it has no escape.
struct Text<'a> {
    arena: &'a Bump,
}

impl<'a> DeserializeSeed<'a> for Text<'a> {
    type Value = &'a str;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<&'a str, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Text<'a> {
    type Value = &'a str;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<&'a str, E> {
        Ok(text)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<&'a str, E> {
        Ok(self.arena.alloc_str(text))
    }
}

/// Says what was expected where a valid JSON value is nested too deep or holds half a surrogate pair.
fn check_value(raw: &str) -> Result<(), &'static str> {
    let bytes = raw.as_bytes();
    let nested = matches!(bytes, [b'{' | b'[', ..]);
    if !nested && memchr::memchr(b'\\', bytes).is_none() {
        return Ok(());
    }
    let (mut depth, mut in_string, mut at) = (1, false, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => in_string = !in_string,
            b'\\' => {
                let pair = check_escape(&bytes[at..])?;
                at += pair;
                continue;
            }
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err("expected values nested at most 127 deep");
                }
            }
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// The length of the escape at the start, a surrogate pair being one.
fn check_escape(bytes: &[u8]) -> Result<usize, &'static str> {
    let unit = |bytes: &[u8]| match bytes {
        [b'\\', b'u', digits @ ..] => {
            let digits = std::str::from_utf8(digits.get(..4)?).ok()?;
            u16::from_str_radix(digits, 16).ok()
        }
        _ => None,
    };
    match unit(bytes) {
        None => Ok(2),
        Some(0xd800..=0xdbff) if matches!(bytes.get(6..).and_then(unit), Some(0xdc00..=0xdfff)) => Ok(12),
        Some(0xd800..=0xdfff) => Err("expected both halves of a surrogate pair, got one"),
        Some(_) => Ok(6),
    }
}
