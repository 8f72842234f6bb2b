//! A store that is waited for: what may pass or be mended within minutes is tried again for that long, and said once.
//!
//! Below it a store tries again for seconds what may pass by itself. Here it is about what takes people: a full disk, rights that
//! were taken away, a bucket that is gone, no descriptors left.

use super::outage::{pause, since};
use bytes::Bytes;
use millrace_connectors::store::{Entry, Put, Store, StoreError, Upload};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often it is looked whether to go on waiting.
const LOOK: Duration = Duration::from_millis(20);
/// Who was told to end waits no longer than this.
const AT_THE_END: Duration = Duration::from_secs(5);

/// How all that share a store wait for it.
pub struct Waiting {
    limit: Duration,
    /// It was told to end.
    pub stop: Arc<AtomicBool>,
    /// Reasons that have been told and have not passed.
    said: Mutex<BTreeSet<String>>,
    /// Calls that failed.
    failures: AtomicU64,
}

impl Waiting {
    pub fn new(limit: Duration) -> Waiting {
        Waiting { limit, stop: Arc::default(), said: Mutex::default(), failures: AtomicU64::new(0) }
    }

    /// How often a call of what may be mended has failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn wait_for<T>(&self, mut call: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut error = match call() {
            Err(error) if error.may_be_mended() => error,
            result => return result,
        };
        let (started, mut failed) = (Instant::now(), 1);
        loop {
            self.failures.fetch_add(1, Ordering::Relaxed);
            self.say(&error);
            let next = Instant::now() + pause(failed);
            while Instant::now() < next {
                let is_stopped = self.stop.load(Ordering::Relaxed);
                if started.elapsed() >= if is_stopped { self.limit.min(AT_THE_END) } else { self.limit } {
                    return Err(gave_up(error, started));
                }
                sleep(LOOK.min(next.saturating_duration_since(Instant::now())));
            }
            match call() {
                Err(again) if again.may_be_mended() => error = again,
                result => {
                    let reasons = std::mem::take(&mut *self.said());
                    if !reasons.is_empty() && result.is_ok() {
                        crate::log::info(format_args!(
                            "the lake answers again, after {} s",
                            started.elapsed().as_secs()
                        ));
                    }
                    return result;
                }
            }
            failed += 1;
        }
    }

    fn said(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each reason once, whatever it was about.
    fn say(&self, error: &StoreError) {
        let reason = match error {
            StoreError::Failed { message, .. } => message.clone(),
            other => other.to_string(),
        };
        // A message that names a temporary file is another each time.
        let reason = reason.rsplit_once(": ").map_or(reason.clone(), |(_, reason)| reason.to_owned());
        if self.said().insert(reason) {
            crate::log::warning(format_args!(
                "{error}; trying again for up to {} s (live.outage_ms)",
                self.limit.as_secs()
            ));
        }
    }
}

fn gave_up(error: StoreError, started: Instant) -> StoreError {
    match error {
        StoreError::Failed { what, place, key, message, outcome } => {
            let message = format!("{message}; it was tried again {}", since(started));
            StoreError::Failed { what, place, key, message, outcome }
        }
        error => error,
    }
}

pub struct Patient {
    inner: Arc<dyn Store>,
    waiting: Arc<Waiting>,
}

impl Patient {
    pub fn new(inner: Arc<dyn Store>, waiting: Arc<Waiting>) -> Patient {
        Patient { inner, waiting }
    }
}

impl Store for Patient {
    fn create(&self, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        let inner = self.waiting.wait_for(|| self.inner.create(key))?;
        Ok(Box::new(PatientUpload { inner, waiting: self.waiting.clone(), key: key.to_owned() }))
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.waiting.wait_for(|| self.inner.put(key, bytes.clone()))
    }

    /// One that was done although it was reported as failed is found to be there: whoever puts manifests reads whose it is.
    fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put, StoreError> {
        self.waiting.wait_for(|| self.inner.put_if_absent(key, bytes.clone()))
    }

    fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.waiting.wait_for(|| self.inner.get(key))
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.waiting.wait_for(|| self.inner.get_range(key, range.clone()))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        self.waiting.wait_for(|| self.inner.list(prefix))
    }

    fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        self.waiting.wait_for(|| self.inner.delete(keys))
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn local_root(&self) -> Option<&Path> {
        self.inner.local_root()
    }
}

struct PatientUpload {
    inner: Box<dyn Upload>,
    waiting: Arc<Waiting>,
    key: String,
}

impl Write for PatientUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write = || self.inner.write(bytes).map_err(|error| StoreError::of_io(&self.key, error));
        self.waiting.wait_for(write).map_err(io::Error::other)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Upload for PatientUpload {
    fn finish(&mut self) -> Result<u64, StoreError> {
        self.waiting.wait_for(|| self.inner.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_connectors::store::{Closed, Failures, Local, Unreliable};

    /// A store that is closed, and the file that closes it.
    fn closed(limit: Duration) -> (tempfile::TempDir, std::path::PathBuf, Arc<Waiting>, Patient) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("closed");
        std::fs::write(&file, "").expect("a file");
        let local = Arc::new(Local::new(&folder.path().join("lake"), false));
        let store = Unreliable::closed_while(local, Failures::default(), Closed(Some(file.clone())));
        let waiting = Arc::new(Waiting::new(limit));
        let patient = Patient::new(Arc::new(store), waiting.clone());
        (folder, file, waiting, patient)
    }

    #[test]
    fn what_is_mended_in_time_does_not_show() {
        let (_folder, file, _, store) = closed(Duration::from_secs(60));
        std::thread::scope(|scope| {
            let put = scope.spawn(|| store.put("a", Bytes::from_static(b"x")));
            std::thread::sleep(Duration::from_millis(150));
            assert!(!put.is_finished());
            std::fs::remove_file(&file).expect("it is ours");
            put.join().expect("no panic").expect("it is written");
        });
        assert!(store.get("b").expect_err("there is none").is_not_found());
    }

    #[test]
    fn what_is_not_says_since_when() {
        let (_folder, _file, waiting, store) = closed(Duration::from_millis(200));
        let started = Instant::now();
        let error = store.put("a", Bytes::from_static(b"x")).expect_err("it is closed").to_string();
        assert!(started.elapsed() >= Duration::from_millis(200) && waiting.failures() >= 1);
        assert!(
            error.contains("it is closed") && error.contains("tried again since 2") && error.contains("live.outage_ms")
        );
    }
}
