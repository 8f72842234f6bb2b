//! Reads, over whatever wire: plain questions, plain answers, one error. It knows no protocol: a codec stands in front of it.
//!
//! ```text
//! codec ─▶ Reads ─▶ consistency: which version ─▶ asking: inline, or in its turn ─▶ rows ──────┐
//!            │                                    pages: the whole answer, once    ─▶ rows ──────┤ Codec ─▶ bytes
//!            └────▶ live: one worked-out answer for all who subscribe to a question ─▶ rows ─────┘
//! ```
//! What is kept for others is encoded once a codec and shared: pages, small answers, messages of subscriptions. A live
//! answer itself is plain rows, so that callers of all codecs share the work of keeping it up.
//!
//! An answer is of one version from its first byte to its last: whatever a read needs it takes from the version that it
//! began with.

pub mod asker;
pub mod asking;
pub mod codec;
pub mod consistency;
pub mod deadline;
pub mod error;
pub mod live;
pub mod pages;
pub mod place;
pub mod question;
pub mod reads;
pub mod recent;
pub mod token;
pub mod turns;

pub use asker::Asker;
pub use asking::answer;
pub use codec::{Codec, Columns, RowRole};
pub use consistency::Wanted;
pub use deadline::Deadline;
pub use error::{Kind, ReadError};
pub use pages::Page;
pub use place::{AnswerState, Place};
pub use question::{QUARANTINE, Question};
pub use reads::{Clock, Reads, Subscribe, ViewDescription};
pub use recent::Recent;
pub use token::PageToken;

#[cfg(test)]
mod tests;
