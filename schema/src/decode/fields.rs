//! A record taken apart: the raw token of every known field, and the unknown fields.
//!
//! Whoever fills it has made sure that the line is one JSON object in UTF-8, that a token is one JSON value
//! without white space around it, and that no string holds half a surrogate pair.

use super::field::Field;
use bumpalo::Bump;
use bumpalo::collections::Vec;

pub struct Fields<'a> {
    /// By [`Field`]: the token as it stands in the line.
    raw: [Option<&'a str>; Field::COUNT],
    present: u32,
    /// The fields whose token is a string with an escape; their texts are in `unescaped`.
    escaped: u32,
    unescaped: Vec<'a, (Field, &'a str)>,
    /// Keys (unescaped) and tokens of the fields without a meaning.
    pub unknown: Vec<'a, (&'a str, &'a str)>,
    pub arena: &'a Bump,
}

/// A token by its JSON type.
#[derive(Clone, Copy)]
pub enum Token<'a> {
    /// No such field, or `null`.
    Absent,
    Text(&'a str),
    /// Its digits as they stand.
    Number(&'a str),
    Bool(bool),
    /// An object or an array.
    Nested,
}

impl<'a> Fields<'a> {
    #[inline]
    pub fn new(arena: &'a Bump) -> Fields<'a> {
        Fields {
            raw: [None; Field::COUNT],
            present: 0,
            escaped: 0,
            unescaped: Vec::new_in(arena),
            unknown: Vec::new_in(arena),
            arena,
        }
    }

    /// Takes a field in; false where it is a known one that the record has already.
    #[inline]
    pub fn insert(&mut self, key: &'a str, raw: &'a str) -> bool {
        let Some(field) = Field::of_key(key.as_bytes()) else {
            self.unknown.push((key, raw));
            return true;
        };
        let fresh = self.present & field.bit() == 0;
        self.present |= field.bit();
        self.raw[field as usize] = Some(raw);
        fresh
    }

    /// The text of a known field whose token has an escape.
    pub fn insert_unescaped(&mut self, field: Field, text: &'a str) {
        self.escaped |= field.bit();
        self.unescaped.push((field, text));
    }

    /// Sorts the unknown fields by key in byte order; false where a key stands twice.
    #[inline]
    pub fn sort_unknown(&mut self) -> bool {
        if self.unknown.len() < 2 {
            return true;
        }
        self.unknown.sort_unstable();
        self.unknown.windows(2).all(|pair| pair[0].0 != pair[1].0)
    }

    #[inline]
    pub fn present(&self) -> u32 {
        self.present
    }

    /// Empty where the record lacks the field.
    #[inline]
    pub fn raw(&self, field: Field) -> &'a str {
        self.raw[field as usize].unwrap_or("")
    }

    #[inline]
    pub fn token(&self, field: Field) -> Token<'a> {
        let Some(raw) = self.raw[field as usize] else { return Token::Absent };
        if let Some(rest) = raw.strip_prefix('"') {
            return Token::Text(self.text(field, rest));
        }
        match raw.as_bytes() {
            [b'n', ..] => Token::Absent,
            [b'-' | b'0'..=b'9', ..] => Token::Number(raw),
            [first @ (b't' | b'f'), ..] => Token::Bool(*first == b't'),
            _ => Token::Nested,
        }
    }

    /// `rest` is the token without its first quote.
    #[inline]
    fn text(&self, field: Field, rest: &'a str) -> &'a str {
        if self.escaped & field.bit() != 0 {
            let found = self.unescaped.iter().find(|(known, _)| *known == field);
            return found.expect("the bit of an escaped field is set with its text").1;
        }
        rest.strip_suffix('"').expect("a string token has two quotes")
    }
}
