//! A store that fails as stores do: before anything was done, after all was done, and late. It drives the commit protocol in
//! tests, and in a running program where a hidden setting says so.
//!
//! What becomes of a call follows from the seed, its kind and its number among those of its kind: a run repeats, whatever
//! threads do. Both failures say the same, that it may have been done, as a request that timed out does.

use super::{Entry, Outcome, Put, Store, StoreError, Upload};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// Of a thousand calls, how many fail, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    pub before: u64,
    /// The call was done, and its answer is lost.
    pub after: u64,
    /// Besides, so many come late, by `delay`.
    pub slow: u64,
    pub delay: Duration,
    pub seed: u64,
}

/// What can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Create,
    /// Of an upload.
    Finish,
    Put,
    PutIfAbsent,
    Get,
    GetRange,
    List,
    Delete,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Works,
    /// It is not done, and reports a failure.
    FailsBefore,
    /// It is done, and reports a failure.
    FailsAfter,
}

pub struct Unreliable {
    inner: Arc<dyn Store>,
    schedule: Arc<Schedule>,
}

/// A store that is closed as long as a file is there: each call is refused, as by a bucket whose rights were taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closed(pub Option<PathBuf>);

impl Closed {
    fn error(&self, operation: Operation, place: impl Fn() -> String, key: &str) -> Option<StoreError> {
        self.0.as_ref().filter(|file| file.exists()).map(|_| StoreError::Failed {
            what: operation.verb(),
            place: place(),
            key: key.to_owned(),
            message: "it is closed (for a test)".to_owned(),
            outcome: Outcome::Hindered,
        })
    }
}

struct Schedule {
    failures: Failures,
    /// By operation.
    calls: [AtomicU64; 8],
    script: Mutex<BTreeMap<(Operation, u64), Fate>>,
    closed: Closed,
}

impl Unreliable {
    pub fn new(inner: Arc<dyn Store>, failures: Failures) -> Unreliable {
        Unreliable::closed_while(inner, failures, Closed::default())
    }

    pub fn closed_while(inner: Arc<dyn Store>, failures: Failures, closed: Closed) -> Unreliable {
        let schedule = Schedule { failures, calls: Default::default(), script: Mutex::default(), closed };
        Unreliable { inner, schedule: Arc::new(schedule) }
    }

    /// Decides the `nth` call of a kind, counted from 1 and from the first of all.
    pub fn script(&self, operation: Operation, nth: u64, fate: Fate) {
        self.schedule.script.lock().unwrap_or_else(PoisonError::into_inner).insert((operation, nth), fate);
    }

    /// How many calls of a kind there were.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.schedule.calls[operation as usize].load(Ordering::Relaxed)
    }

    fn call<T>(
        &self,
        operation: Operation,
        key: &str,
        done: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.schedule.call(operation, || self.place(), key, done)
    }
}

impl Schedule {
    fn call<T>(
        &self,
        operation: Operation,
        place: impl Fn() -> String,
        key: &str,
        done: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let nth = self.calls[operation as usize].fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(error) = self.closed.error(operation, &place, key) {
            return Err(error);
        }
        let scripted = self.script.lock().unwrap_or_else(PoisonError::into_inner).remove(&(operation, nth));
        let (fate, is_slow) = decide(&self.failures, operation, nth);
        if is_slow {
            sleep(self.failures.delay);
        }
        let fate = scripted.unwrap_or(fate);
        let result = if fate == Fate::FailsBefore { None } else { Some(done()?) };
        match result {
            Some(done) if fate == Fate::Works => Ok(done),
            _ => Err(StoreError::Failed {
                what: operation.verb(),
                place: place(),
                key: key.to_owned(),
                message: "the answer is lost (this store is unreliable, for a test)".to_owned(),
                outcome: operation.lost(),
            }),
        }
    }
}

impl Operation {
    fn verb(self) -> &'static str {
        match self {
            Operation::Create | Operation::Finish | Operation::Put | Operation::PutIfAbsent => "write",
            Operation::Get | Operation::GetRange => "read",
            Operation::List => "list",
            Operation::Delete => "delete",
        }
    }

    /// What is known when the answer is lost: a call that changes nothing was not done.
    fn lost(self) -> Outcome {
        match self {
            Operation::Finish | Operation::Put | Operation::PutIfAbsent | Operation::Delete => Outcome::Indefinite,
            Operation::Create | Operation::Get | Operation::GetRange | Operation::List => Outcome::Passing,
        }
    }
}

/// What becomes of a call, and whether it is slow.
fn decide(failures: &Failures, operation: Operation, nth: u64) -> (Fate, bool) {
    let call = mixed(failures.seed ^ mixed((operation as u64) << 56 | nth));
    let (roll, slow) = (call % 1_000, mixed(call) % 1_000);
    let fate = if roll < failures.before {
        Fate::FailsBefore
    } else if roll < failures.before + failures.after {
        Fate::FailsAfter
    } else {
        Fate::Works
    };
    (fate, slow < failures.slow)
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
    schedule: Arc<Schedule>,
    place: String,
    key: String,
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
    fn finish(&mut self) -> Result<u64, StoreError> {
        let UnreliableUpload { inner, schedule, place, key } = self;
        schedule.call(Operation::Finish, || place.clone(), key, || inner.finish())
    }
}

impl Store for Unreliable {
    fn create(&self, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        let inner = self.call(Operation::Create, key, || self.inner.create(key))?;
        let (schedule, place, key) = (self.schedule.clone(), self.place(), key.to_owned());
        Ok(Box::new(UnreliableUpload { inner, schedule, place, key }))
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.call(Operation::Put, key, || self.inner.put(key, bytes))
    }

    fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put, StoreError> {
        self.call(Operation::PutIfAbsent, key, || self.inner.put_if_absent(key, bytes))
    }

    fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.call(Operation::Get, key, || self.inner.get(key))
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.call(Operation::GetRange, key, || self.inner.get_range(key, range))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        self.call(Operation::List, prefix, || self.inner.list(prefix))
    }

    fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        self.call(Operation::Delete, keys.first().map_or("nothing", String::as_str), || self.inner.delete(keys))
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn local_root(&self) -> Option<&Path> {
        self.inner.local_root()
    }
}
