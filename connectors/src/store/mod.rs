//! Object stores behind one small trait: a local directory, S3, and either of them made unreliable for tests.
//!
//! A key is relative, its parts separated by `/`. An object shows when it is whole, and not before.

mod error;
mod key;
mod local;
pub mod retry;
mod retrying;
#[cfg(feature = "s3")]
pub mod s3;
mod unreliable;

pub use error::StoreError;
pub use local::Local;
pub use retrying::Retrying;
#[cfg(feature = "s3")]
pub use s3::{Expiry, S3, S3Settings};
pub use unreliable::{Failures, Unreliable};

use bytes::Bytes;
use std::path::Path;

/// Where files are kept.
///
/// # Contract
/// Calls may come from any thread. What a call has reported as done lasts. An error may hide that the call was done, but for
/// [`Store::put_if_absent`], which says what is so or fails.
pub trait Store: Send + Sync {
    /// Streams an object of any size. Nothing shows before [`Upload::finish`], and nothing stays of what is dropped before.
    ///
    /// # Errors
    /// [`StoreError`] where the store fails; so for all calls.
    fn create(&self, key: &str) -> Result<Box<dyn Upload>, StoreError>;

    /// Writes a whole object, over the one that is there.
    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError>;

    /// Writes an object where there is none. Where the answer was lost, it looks: its own bytes there are its own doing.
    fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put, StoreError>;

    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    fn get(&self, key: &str) -> Result<Bytes, StoreError>;

    /// Every object whose key begins so, by key.
    fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError>;

    /// Removes objects; one that is not there is fine.
    fn delete(&self, keys: &[String]) -> Result<(), StoreError>;

    /// What messages call it; no secrets.
    fn place(&self) -> String;

    /// The folder, of a local one.
    fn local_root(&self) -> Option<&Path> {
        None
    }
}

/// An object on its way.
pub trait Upload: std::io::Write + Send {
    /// Completes the object. Returns its size in bytes.
    ///
    /// # Errors
    /// [`StoreError`] where the store does not take it.
    fn finish(self: Box<Self>) -> Result<u64, StoreError>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Created,
    /// There was one, with other bytes.
    Exists,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub bytes: u64,
}
