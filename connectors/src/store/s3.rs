//! S3, and what speaks its protocol. One bucket, and a prefix in it.
//!
//! The SDK tries again what may pass, until `timeout`; but for conditional writes and the end of a multipart upload, where a
//! repeated request can be told "no" because the first one was done. Those are repeated and settled here.

mod check;
mod client;
mod error;
mod lifecycle;
mod read;
mod settings;
mod upload;

pub use lifecycle::{Expiry, Lifecycle};
pub use settings::{Credentials, S3Settings};

use super::{Entry, Put, Retry, Store, StoreError, Upload, absent, key};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use bytes::Bytes;
use error::{Call, code, status};
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// S3 removes so many objects with one request.
const DELETE_MOST: usize = 1_000;

pub struct S3 {
    shared: Arc<Shared>,
}

/// What a store and its uploads have in common.
struct Shared {
    client: Client,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    settings: S3Settings,
    place: String,
}

impl S3 {
    /// Finds the credentials and opens the bucket, which one request checks.
    ///
    /// # Errors
    /// [`StoreError`] where a setting cannot be right, or the bucket cannot be used.
    pub fn open(settings: S3Settings) -> Result<S3, StoreError> {
        let settings = settings.validated()?;
        let place = settings.place();
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("s3").enable_all().build();
        let runtime = runtime.map_err(|error| settings.refused(format!("no thread for it: {error}")))?;
        let client = block(&runtime, client::connect(settings.clone()))?;
        let store = S3 { shared: Arc::new(Shared { client, runtime: Some(runtime), settings, place }) };
        store.check()?;
        Ok(store)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Waiting for its threads is not allowed to one that runs asynchronous tasks itself.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs a future on the runtime, from whatever thread: unlike `block_on`, also from one of another runtime.
fn block<T: Send + 'static>(runtime: &Runtime, future: impl Future<Output = T> + Send + 'static) -> T {
    let (sender, receiver) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        // Who asked waits.
        let _ = sender.send(future.await);
    });
    receiver.recv().expect("the runtime outlives the call, and the future does not panic")
}

impl Shared {
    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is there until it is dropped")
    }

    fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        block(self.runtime(), future)
    }

    fn call<T: Send + 'static, E: error::Service + 'static>(
        &self,
        call: Call,
        future: impl Future<Output = Result<T, SdkError<E>>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(future).map_err(|error| self.failed(call, &error))
    }

    /// The key in the bucket.
    fn full(&self, key: &str) -> String {
        let prefix = &self.settings.prefix;
        if prefix.is_empty() { key.to_owned() } else { format!("{prefix}/{key}") }
    }

    fn checked(&self, key: &str) -> Result<String, StoreError> {
        key::check(key).map(|()| self.full(key))
    }

    fn bucket(&self) -> &str {
        &self.settings.bucket
    }

    /// For calls that are repeated here.
    fn retry(&self) -> Retry {
        Retry {
            first_pause: client::FIRST_PAUSE,
            longest_pause: client::LONGEST_PAUSE,
            deadline: self.settings.timeout,
        }
    }

    fn put_whole(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let request = self.client.put_object().bucket(self.bucket()).key(self.checked(key)?);
        self.call(Call::Write(key), request.body(ByteStream::from(bytes)).send()).map(drop)
    }

    /// One try. "Exists" is what the store says now: an earlier try may have made it so.
    fn try_put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put, StoreError> {
        let request = self.client.put_object().bucket(self.bucket()).key(self.full(key)).if_none_match("*");
        let request =
            request.body(ByteStream::from(bytes)).customize().config_override(client::one_try(&self.settings));
        match self.run(request.send()) {
            Ok(_) => Ok(Put::Created),
            Err(error) if status(&error) == Some(412) => Ok(Put::Exists),
            Err(error) if status(&error) == Some(501) || code(&error) == Some("NotImplemented") => {
                Err(self.settings.refused(check::NO_CONDITIONS.to_owned()))
            }
            Err(error) => Err(self.failed(Call::WriteOnce(key), &error)),
        }
    }
}

impl Store for S3 {
    fn create(&self, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        key::check(key)?;
        Ok(Box::new(upload::S3Upload::new(self.shared.clone(), key)))
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        if bytes.len() <= self.shared.settings.part_bytes {
            return self.shared.put_whole(key, bytes);
        }
        let mut upload = self.create(key)?;
        upload.write_all(&bytes).map_err(|error| StoreError::of_io(key, error))?;
        upload.finish().map(drop)
    }

    fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put, StoreError> {
        key::check(key)?;
        let put = || self.shared.try_put_if_absent(key, bytes.clone());
        absent::put_if_absent(&self.shared.retry(), &bytes, put, || self.get(key))
    }

    fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        read::read(&self.shared, key, None)
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        if range.is_empty() {
            return key::check(key).map(|()| Bytes::new());
        }
        read::read(&self.shared, key, Some(range))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        key::check_prefix(prefix)?;
        let (shared, own) = (&self.shared, self.shared.full(""));
        let request = shared.client.list_objects_v2().bucket(shared.bucket()).prefix(shared.full(prefix));
        let mut pages = request.into_paginator().send();
        let mut entries = Vec::new();
        loop {
            let (page, rest) = shared.run(async move { (pages.next().await, pages) });
            pages = rest;
            let Some(page) = page else { break };
            let page = page.map_err(|error| shared.failed(Call::List(prefix), &error))?;
            for object in page.contents() {
                // Some tools put objects that stand for folders: no key of ours.
                let key = object.key().and_then(|key| key.strip_prefix(&own)).filter(|key| key::check(key).is_ok());
                let Some(key) = key else { continue };
                let bytes = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
                let nanos = object.last_modified().map_or(0, |time| time.as_nanos());
                let modified_micros = i64::try_from(nanos / 1_000).unwrap_or_default();
                entries.push(Entry { key: key.to_owned(), bytes, modified_micros });
            }
        }
        entries.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        Ok(entries)
    }

    fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        keys.iter().try_for_each(|key| key::check(key))?;
        for keys in keys.chunks(DELETE_MOST) {
            self.shared.delete(keys)?;
        }
        Ok(())
    }

    fn place(&self) -> String {
        self.shared.place.clone()
    }

    fn local_root(&self) -> Option<&Path> {
        None
    }
}

impl Shared {
    /// At most [`DELETE_MOST`].
    fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        let object = |key: &String| ObjectIdentifier::builder().key(self.full(key)).build().expect("it has a key");
        let objects = keys.iter().map(object).collect();
        let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build().expect("it has objects");
        let request = self.client.delete_objects().bucket(self.bucket()).delete(delete);
        let answer = self.call(Call::Delete(&keys[0]), request.send())?;
        match answer.errors().first() {
            None => Ok(()),
            Some(failed) => {
                let key = failed.key().and_then(|key| key.strip_prefix(&self.full(""))).unwrap_or(&keys[0]);
                Err(self.failed_item(Call::Delete(key), failed.code(), failed.message()))
            }
        }
    }
}

/// A duration as messages show it.
fn shown(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}
