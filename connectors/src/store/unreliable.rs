//! A store that fails as stores do: before it has done anything, after it has done everything, and late. For tests.

use super::{Entry, Put, Store, StoreError, Upload};
use bytes::Bytes;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Of a thousand calls, how many fail, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    pub before: u64,
    /// The call was done, and its answer is lost.
    pub after: u64,
    pub slow: u64,
    pub delay: Duration,
    pub seed: u64,
}

pub struct Unreliable {
    inner: Arc<dyn Store>,
    failures: Failures,
    calls: Arc<AtomicU64>,
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Works,
    FailsBefore,
    FailsAfter,
}

impl Unreliable {
    pub fn new(inner: Arc<dyn Store>, failures: Failures) -> Unreliable {
        Unreliable { inner, failures, calls: Arc::default() }
    }

    fn call<T>(
        &self,
        what: &'static str,
        key: &str,
        done: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let fate = fate(&self.failures, &self.calls);
        if fate == Fate::FailsBefore {
            return Err(self.failure(what, key));
        }
        let result = done()?;
        if fate == Fate::FailsAfter { Err(self.failure(what, key)) } else { Ok(result) }
    }

    fn failure(&self, what: &'static str, key: &str) -> StoreError {
        StoreError::Remote {
            what,
            place: self.place(),
            key: key.to_owned(),
            message: "it is unreliable".to_owned(),
            is_passing: true,
        }
    }
}

fn fate(failures: &Failures, calls: &AtomicU64) -> Fate {
    let call = calls.fetch_add(1, Ordering::Relaxed);
    let roll = mixed(failures.seed ^ mixed(call)) % 1_000;
    if mixed(failures.seed.wrapping_add(call)) % 1_000 < failures.slow {
        std::thread::sleep(failures.delay);
    }
    match roll {
        roll if roll < failures.before => Fate::FailsBefore,
        roll if roll < failures.before + failures.after => Fate::FailsAfter,
        _ => Fate::Works,
    }
}

/// All bits of the result depend on all bits of the seed (the finalizer of SplitMix64).
fn mixed(seed: u64) -> u64 {
    let seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ (seed >> 31)
}

struct UnreliableUpload {
    inner: Box<dyn Upload>,
    failures: Failures,
    calls: Arc<AtomicU64>,
    error: StoreError,
}

impl Write for UnreliableUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Upload for UnreliableUpload {
    fn finish(self: Box<Self>) -> Result<u64, StoreError> {
        let fate = fate(&self.failures, &self.calls);
        if fate == Fate::FailsBefore {
            return Err(self.error);
        }
        let bytes = self.inner.finish()?;
        if fate == Fate::FailsAfter { Err(self.error) } else { Ok(bytes) }
    }
}

impl Store for Unreliable {
    fn create(&self, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        let inner = self.call("create", key, || self.inner.create(key))?;
        let (failures, calls, error) = (self.failures, self.calls.clone(), self.failure("write", key));
        Ok(Box::new(UnreliableUpload { inner, failures, calls, error }))
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.call("write", key, || self.inner.put(key, bytes))
    }

    fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put, StoreError> {
        // What is promised of this call is its caller's to get, by calling again.
        self.call("write", key, || self.inner.put_if_absent(key, bytes))
    }

    fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.call("read", key, || self.inner.get(key))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        self.call("list", prefix, || self.inner.list(prefix))
    }

    fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        self.call("delete", keys.first().map_or("nothing", String::as_str), || self.inner.delete(keys))
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn local_root(&self) -> Option<&Path> {
        self.inner.local_root()
    }
}
