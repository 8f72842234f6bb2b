//! A store whose passing failures do not show: its calls are tried again. Not for S3, which tries again by itself.

use super::{Entry, Put, Retry, Store, StoreError, Upload, absent, with_retries};
use bytes::Bytes;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// All calls but those of an upload that has begun: its bytes are gone.
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
        with_retries(&self.retry, || self.inner.create(key))
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        with_retries(&self.retry, || self.inner.put(key, bytes.clone()))
    }

    fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put, StoreError> {
        let put = || self.inner.put_if_absent(key, bytes.clone());
        absent::put_if_absent(&self.retry, &bytes, put, || self.get(key))
    }

    fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        with_retries(&self.retry, || self.inner.get(key))
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        with_retries(&self.retry, || self.inner.get_range(key, range.clone()))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        with_retries(&self.retry, || self.inner.list(prefix))
    }

    fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        with_retries(&self.retry, || self.inner.delete(keys))
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn local_root(&self) -> Option<&Path> {
        self.inner.local_root()
    }
}
