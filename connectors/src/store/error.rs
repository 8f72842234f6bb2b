//! What can go wrong with a store. Each error names the object and what to do.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{key} is not in {place}")]
    NotFound { place: String, key: String },
    #[error("{key:?} cannot be the name of an object: use relative paths without empty parts, . or ..")]
    BadKey { key: String },
    #[error("cannot {what} {key} in {place}: {error}; check free space and permissions")]
    Io { what: &'static str, place: String, key: String, error: io::Error },
    #[error("cannot {what} {key} in {place}: {message}")]
    Remote { what: &'static str, place: String, key: String, message: String, is_passing: bool },
}

impl StoreError {
    pub fn is_not_found(&self) -> bool {
        matches!(self, StoreError::NotFound { .. })
    }

    /// Whether it may pass by itself.
    pub fn is_passing(&self) -> bool {
        match self {
            StoreError::Remote { is_passing, .. } => *is_passing,
            StoreError::Io { error, .. } => {
                matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
            }
            StoreError::NotFound { .. } | StoreError::BadKey { .. } => false,
        }
    }

    /// Of a write into an upload.
    pub fn of_io(key: &str, error: io::Error) -> StoreError {
        match error.downcast::<StoreError>() {
            Ok(error) => error,
            Err(error) => StoreError::Io { what: "write", place: "the store".to_owned(), key: key.to_owned(), error },
        }
    }
}
