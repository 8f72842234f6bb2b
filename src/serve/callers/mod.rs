//! Whoever calls, over whatever wire: who may, what their connections do, and what all of them may make the server hold.
//!
//! ```text
//! connection ─▶ connections (places, whoever gives way) ◀── memory (one budget) ◀── calls, answers, pages, subscriptions
//! token ─────▶ auth ──wrong──▶ strangers (counted, answered late)
//! ```
//! Nothing here knows a protocol, or what is asked.

pub mod auth;
pub mod connections;
pub mod memory;
pub mod strangers;
