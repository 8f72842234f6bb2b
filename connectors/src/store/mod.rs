//! Object stores behind one small trait that blocks: a local folder, S3, and either of them made unreliable for tests.
//!
//! ```text
//! lake, state, manifests ──▶ Store ──┬── Local       a folder: temporary file, fsync, rename or link
//!                                    ├── S3          conditional writes, multipart uploads; a runtime of its own
//!                                    ├── Unreliable  wraps any: fails before, fails after, is slow, by a schedule
//!                                    └── Retrying    wraps any: what may pass is tried again
//! ```
//! A key is relative, its parts separated by `/`; [`check_key`] says what it may hold.

mod absent;
mod error;
mod key;
mod local;
pub mod retry;
mod retrying;
#[cfg(feature = "s3")]
mod s3;
mod unreliable;

pub use error::{Outcome, StoreError};
pub use key::check as check_key;
pub use local::Local;
pub use retry::{Retry, with_retries};
pub use retrying::Retrying;
#[cfg(feature = "s3")]
pub use s3::{Credentials, Expiry, Lifecycle, S3, S3Settings};
pub use unreliable::{Closed, Failures, Fate, Operation, Unreliable};

use bytes::Bytes;
use std::ops::Range;
use std::path::Path;

/// Where objects are kept.
///
/// # Contract
/// - Calls come from any thread, also from one that runs asynchronous tasks: they block it.
/// - An object shows whole or not at all, and what was reported as done outlives a crash.
/// - [`StoreError::outcome`] says whether a failed call may have been done.
/// - No key is a folder of another (`a` and `a/b`): a folder cannot be a file. Not asserted, for S3 could not tell.
pub trait Store: Send + Sync {
    /// Streams an object of any size. Nothing shows before [`Upload::finish`], and nothing is left of what is dropped.
    ///
    /// # Errors
    /// [`StoreError`]; so for every call.
    fn create(&self, key: &str) -> Result<Box<dyn Upload>, StoreError>;

    /// Writes a whole object, over the one that is there.
    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError>;

    /// Writes an object where there is none: of many that race for one key, one is told [`Put::Created`]. Where an answer
    /// was lost, the object is read: if it has these bytes, they are this call's. So the bytes have to name their writer. It
    /// is one request, for some megabytes at most.
    fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put, StoreError>;

    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    fn get(&self, key: &str) -> Result<Bytes, StoreError>;

    /// As much of the range as the object has. An empty range asks nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no object.
    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError>;

    /// Every object whose key begins with `prefix`, by key. `""` is all of them, `a/` is a folder, and `a/b` is also `a/bc`.
    fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError>;

    /// Removes objects; one that is not there is fine. Where it fails, some may be gone.
    fn delete(&self, keys: &[String]) -> Result<(), StoreError>;

    /// What messages call it: a path, or `s3://bucket/prefix`. No secrets.
    fn place(&self) -> String;

    /// The folder of a local one.
    fn local_root(&self) -> Option<&Path>;
}

/// An object on its way. A call that failed has taken nothing, and may be repeated where the error may be mended; should more than that
/// be lost, [`Upload::finish`] says so.
pub trait Upload: std::io::Write + Send {
    /// Completes the object. Returns its size in bytes. After that it can only be dropped.
    ///
    /// # Errors
    /// [`StoreError`] where the store does not take it.
    fn finish(&mut self) -> Result<u64, StoreError>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Created,
    /// There was one before.
    Exists,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub bytes: u64,
    /// By the clock of the store, since 1970.
    pub modified_micros: i64,
}
