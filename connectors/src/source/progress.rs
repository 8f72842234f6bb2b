//! How far reading has come, in bytes as they lie on disk. A handle that any thread may read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Debug)]
pub struct Progress {
    /// Bytes to read in all; `None` where a pipe is among the inputs, or a log that grows.
    pub total_bytes: Option<u64>,
    consumed: Arc<AtomicU64>,
}

impl Progress {
    /// Of a source that does not count bytes.
    pub fn unknown() -> Progress {
        Progress::new(None)
    }

    pub(crate) fn new(total_bytes: Option<u64>) -> Progress {
        Progress { total_bytes, consumed: Arc::default() }
    }

    /// Bytes read so far, compressed where the files are.
    pub fn consumed_bytes(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.consumed.fetch_add(bytes, Ordering::Relaxed);
    }
}
