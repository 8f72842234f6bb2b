//! What an event is: types, decoding and validation.
//!
//! Pure: no I/O, no clock, no timely. The way of one record:
//!
//! ```text
//! bytes ──decode──▶ Record<'_> (borrowed, valid) ──▶ Event (hashed, fixed size) for the dataflow
//!               └──▶ Reject (rule, field, message) for the quarantine
//! ```
//!
//! A [`Record`] and an [`Event`] exist only for valid input: nothing downstream checks again.

pub mod calendar;
mod currencies;
pub mod decode;
mod event;
mod id;
mod money;
mod names;
mod record;
mod reject;
mod short;
mod tombstone;

pub use event::{Body, Event, Kind, Page, Place};
pub use id::{Id, Name};
pub use money::{Cents, Currency};
pub use names::{ByName, Collision, NameCache, Named, Names};
pub use record::{CONTENT_VERSION, OwnedRecord, Record};
pub use reject::{Reject, Rule, Warning, Warnings};
pub use tombstone::tombstone;
