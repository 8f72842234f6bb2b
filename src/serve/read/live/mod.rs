//! Subscriptions.
//!
//! ```text
//! board ──version──▶ live question ──keys that changed──▶ its log ◀──position── subscription 1 ──▶ caller
//!                    (one for all who ask the same)              ◀──position── subscription 2 ──▶ caller
//!                                                                          │
//!                          rows since a position, encoded once a codec ◀───┘
//! ```
//! A live question holds the newest answer and a log of which keys changed when. A subscription that has room for a
//! message takes the present rows of all keys that changed since its position: one that is slow gets less often what
//! changed in between, and costs no more memory than one that is fast. The log is bounded; a subscription, or one that is
//! resumed, whose position is no longer in it gets the whole answer anew.
//!
//! An answer is plain rows. What is encoded of it is what somebody has to be told, and those who are told the same share
//! the bytes.

mod answer;
mod cells;
mod pieces;
mod question;
mod subscription;

pub use question::LiveQuestions;
pub use subscription::{Message, MessageKind, Messages, Reason, Subscriber, Subscribing};
