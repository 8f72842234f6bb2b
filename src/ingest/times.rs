//! The event times of what was decoded: what a watermark is made of.

use serde::{Deserialize, Serialize};

/// The event times of one chunk, UTC microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTimes {
    /// The latest of those that `received_at` vouches for.
    pub vouched: Option<i64>,
    /// The others, in order of their places.
    pub unvouched: Vec<i64>,
}

impl EventTimes {
    /// Whether there was no event.
    pub fn is_empty(&self) -> bool {
        self.vouched.is_none() && self.unvouched.is_empty()
    }
}
