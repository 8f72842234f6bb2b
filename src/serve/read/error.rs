//! Why a read has no answer: what kind of reason, in words, and what a codec needs to say it in its own codes.

use crate::serve::callers::memory::Full;
use std::fmt::Display;
use std::time::Duration;

/// What a caller can do about it, which is what codes of all protocols are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The question is none, or does not fit: it never will, however often it is asked.
    Invalid,
    /// There is no such view.
    NotFound,
    /// The answer is larger than is given at once: ask for less of it.
    TooLarge,
    /// There is no room for it among what others ask: later.
    Busy,
    /// Nothing is wrong with the question, and what it wants does not hold.
    Unmet,
    /// Nothing can be answered now: ask again, here or elsewhere.
    Unavailable,
    /// Not within the time that the caller gives.
    Late,
    /// What it goes on from is no longer kept: begin anew.
    Expired,
    /// The caller took nothing for too long.
    Stalled,
    /// The caller has gone. Nobody hears of it.
    Gone,
    /// A defect of ours.
    Defect,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{text}")]
pub struct ReadError {
    pub kind: Kind,
    /// What is wrong, and what to do.
    pub text: String,
    /// The numbers and names in the text, for programs.
    pub details: Vec<(&'static str, String)>,
}

/// What is short now may be there again so soon.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl ReadError {
    pub fn new(kind: Kind, text: impl Into<String>) -> ReadError {
        ReadError { kind, text: text.into(), details: Vec::new() }
    }

    pub fn invalid(text: impl Into<String>) -> ReadError {
        ReadError::new(Kind::Invalid, text)
    }

    pub fn unavailable(text: impl Into<String>) -> ReadError {
        ReadError::new(Kind::Unavailable, text)
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Display) -> ReadError {
        self.details.push((name, value.to_string()));
        self
    }

    /// When it is worth asking the same again; `None` where it is not.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.kind {
            Kind::Busy | Kind::Unavailable => Some(RETRY_AFTER),
            Kind::Invalid
            | Kind::NotFound
            | Kind::TooLarge
            | Kind::Unmet
            | Kind::Late
            | Kind::Expired
            | Kind::Stalled
            | Kind::Gone
            | Kind::Defect => None,
        }
    }
}

impl From<Full> for ReadError {
    fn from(full: Full) -> ReadError {
        ReadError::new(Kind::Busy, full.to_string()).with("setting", "serve.memory_bytes").with("most", full.most)
    }
}
