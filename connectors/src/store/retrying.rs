//! A store whose passing failures are not seen: calls are tried again.

use super::retry::Retry;
use super::{Entry, Put, Store, StoreError, Upload};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

/// All calls but those of an upload that is under way, whose bytes are gone.
pub struct Retrying {
    inner: Arc<dyn Store>,
    retry: Retry,
}

impl Retrying {
    pub fn new(inner: Arc<dyn Store>, retry: Retry) -> Retrying {
        Retrying { inner, retry }
    }
}

impl Store for Retrying {
    fn create(&self, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        self.retry.run(|| self.inner.create(key))
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.retry.run(|| self.inner.put(key, bytes.clone()))
    }

    fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put, StoreError> {
        self.retry.run(|| self.inner.put_if_absent(key, bytes.clone()))
    }

    fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.retry.run(|| self.inner.get(key))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        self.retry.run(|| self.inner.list(prefix))
    }

    fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        self.retry.run(|| self.inner.delete(keys))
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn local_root(&self) -> Option<&Path> {
        self.inner.local_root()
    }
}
