//! From bytes to a valid [`Record`] or a [`Reject`].
//!
//! ```text
//! bytes ─┬─ ordinary line ──▶ fast ──────┐
//!        └─ any other ──────▶ reference ─┴▶ Fields (raw tokens) ──▶ validate ──▶ Record or Reject
//! ```
//!
//! Both readers fill the same [`fields::Fields`], and one `validate` judges them, so that [`decode`] and
//! [`decode_reference`] give one answer for one line. The fast reader never rejects: whatever it does not
//! know, it leaves to the reference.
//!
//! Of several faults the first of this order names the rule and the field: `too_large`, `invalid_utf8`, `malformed_json`,
//! `duplicate_key`, then `event_type`, then the kind's fields in the order of `validate`. The message has those of the other
//! fields, too.
//!
//! ```
//! use millrace_schema::decode::{Bump, DecodeSettings, decode};
//! let line = br#"{"event_type":"checkout_started","event_id":"e1","event_time":"2024-05-01T10:00:00Z","session_id":7}"#;
//! let arena = Bump::new();
//! let record = decode(line, None, &DecodeSettings::default(), &arena).expect("the line is a valid event");
//! assert_eq!((record.event_id, record.session_id), ("e1", "7"));
//! ```

mod content;
mod decimal;
mod extra;
mod fast;
mod fault;
mod field;
mod fields;
mod number;
mod quotes;
mod reference;
mod time;
mod validate;

use crate::{Currency, Kind, Record, Reject, Rule};
pub use bumpalo::Bump;
pub(crate) use content::content_of;
pub(crate) use fault::piece;
use fields::Fields;
pub use time::TIME_END;

/// What decoding depends on besides the bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodeSettings {
    /// Longer records are rejected unread.
    pub max_record_bytes: usize,
    /// The kind of a record that carries no `event_type`.
    pub default_kind: Option<Kind>,
    /// The currency of a record that names none.
    pub default_currency: Currency,
    /// How far `event_time` may lie after `received_at`.
    pub max_future_micros: i64,
}

impl Default for DecodeSettings {
    fn default() -> DecodeSettings {
        DecodeSettings {
            max_record_bytes: 1 << 20,
            default_kind: None,
            default_currency: Currency::USD,
            max_future_micros: 5 * 60 * 1_000_000,
        }
    }
}

/// Decodes and validates one record.
///
/// `received_at` is the transport's timestamp in UTC microseconds; a field of that name stands in where it is
/// absent, and is not read where it is present.
///
/// # Errors
/// [`Reject`] where the record is not valid.
pub fn decode<'a>(
    bytes: &'a [u8],
    received_at: Option<i64>,
    settings: &DecodeSettings,
    arena: &'a Bump,
) -> Result<Record<'a>, Reject> {
    let mut record = Record::empty(Kind::PageView, settings.default_currency);
    decode_into(bytes, received_at, settings, arena, &mut record).map(|()| record)
}

/// As [`decode`], into a record that has its place: for loops, where moving 0.4 kB shows. Whatever `record` held is
/// lost, and it means nothing where the answer is a [`Reject`].
///
/// # Errors
/// [`Reject`] where the record is not valid.
pub fn decode_into<'a>(
    bytes: &'a [u8],
    received_at: Option<i64>,
    settings: &DecodeSettings,
    arena: &'a Bump,
    record: &mut Record<'a>,
) -> Result<(), Reject> {
    let mut fields = Fields::new(arena);
    if bytes.len() <= settings.max_record_bytes && fast::read(bytes, &mut fields).is_some() {
        return validate::validate(&mut fields, received_at, settings, record);
    }
    *record = decode_reference(bytes, received_at, settings, arena)?;
    Ok(())
}

/// As [`decode`], by `serde_json` alone: what the fast reader falls back to and is tested against.
///
/// # Errors
/// [`Reject`] where the record is not valid.
#[cold]
pub fn decode_reference<'a>(
    bytes: &'a [u8],
    received_at: Option<i64>,
    settings: &DecodeSettings,
    arena: &'a Bump,
) -> Result<Record<'a>, Reject> {
    if bytes.len() > settings.max_record_bytes {
        let message =
            format!("expected at most {} bytes, got {}: see max_record_bytes", settings.max_record_bytes, bytes.len());
        return Err(Reject { rule: Rule::TooLarge, field: None, message, received_at: None });
    }
    let mut fields = Fields::new(arena);
    reference::read(bytes, &mut fields)?;
    let mut record = Record::empty(Kind::PageView, settings.default_currency);
    validate::validate(&mut fields, received_at, settings, &mut record).map(|()| record)
}
