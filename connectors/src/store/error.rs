//! What can go wrong with a store: what the caller should do is in the type, what a person should do in the message.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{key} is not in {place}")]
    NotFound { place: String, key: String },
    #[error("{key:?} cannot name an object: {why}")]
    BadKey { key: String, why: &'static str },
    #[error("cannot {what} {key} in {place}: {message}")]
    Failed { what: &'static str, place: String, key: String, message: String, outcome: Outcome },
}

/// What is known of a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not done, and it will not be by trying again.
    Refused,
    /// Not done, and it will not be by trying again at once. Somebody may mend it: rights, free space, a bucket that is gone.
    Hindered,
    /// Not done; it may be when it is tried again.
    Passing,
    /// Perhaps done: read before you conclude.
    Indefinite,
}

impl StoreError {
    pub fn outcome(&self) -> Outcome {
        match self {
            StoreError::Failed { outcome, .. } => *outcome,
            StoreError::NotFound { .. } | StoreError::BadKey { .. } => Outcome::Refused,
        }
    }

    pub fn is_not_found(&self) -> bool {
        matches!(self, StoreError::NotFound { .. })
    }

    /// Whether trying again may help.
    pub fn is_passing(&self) -> bool {
        matches!(self.outcome(), Outcome::Passing | Outcome::Indefinite)
    }

    /// Whether it is worth waiting for minutes: it may pass, or be mended.
    pub fn may_be_mended(&self) -> bool {
        self.outcome() != Outcome::Refused
    }

    /// Of a write into an [`Upload`](super::Upload), which can only give an [`io::Error`].
    pub fn of_io(key: &str, error: io::Error) -> StoreError {
        error.downcast::<StoreError>().unwrap_or_else(|error| {
            let (message, outcome) = (error.to_string(), Outcome::Refused);
            StoreError::Failed { what: "write", place: "the store".to_owned(), key: key.to_owned(), message, outcome }
        })
    }
}
