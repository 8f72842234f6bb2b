//! The memory that streams are read into, used again and again.
//!
//! Fresh memory is filled with zeros before a stream may be read into it, and by then the pages that were given back a
//! moment ago are gone from the caches. So a buffer goes back to its pool when the last chunk in it is dropped, and its
//! old bytes stay in it as room.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

/// Buffers that wait for use: about what one epoch gives back at once.
const MOST_FREE: usize = 32;

/// Buffers of one size. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    buffer_bytes: usize,
    free: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// Bytes that were read, and room for more behind them.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    /// The first `filled` were read; the rest is zeros or what an earlier use left.
    bytes: Vec<u8>,
    filled: usize,
    /// Where `bytes` came from.
    pool: Option<Pool>,
}

impl Pool {
    /// Buffers with room for a chunk behind the torn line that is left of the last one.
    pub(crate) fn new(chunk_bytes: usize) -> Pool {
        let chunk_bytes = chunk_bytes.max(1);
        Pool { buffer_bytes: chunk_bytes + chunk_bytes / 8, free: Arc::default() }
    }

    fn take(&self) -> Buffer {
        let free = self.free.lock().expect("no holder of the pool panics").pop();
        let bytes = free.unwrap_or_else(|| vec![0; self.buffer_bytes]);
        Buffer { bytes, filled: 0, pool: Some(self.clone()) }
    }

    fn give_back(&self, bytes: Vec<u8>) {
        // One that grew for a long line would hold on to more memory than the others.
        if bytes.len() == self.buffer_bytes
            && let Ok(mut free) = self.free.lock()
            && free.len() < MOST_FREE
        {
            free.push(bytes);
        }
    }
}

impl Buffer {
    /// Room for `wanted` bytes behind those that were read; where there is too little, what was read moves.
    pub(crate) fn room(&mut self, wanted: usize, pool: &Pool) -> &mut [u8] {
        let needed = self.filled + wanted;
        if self.bytes.len() < needed {
            if needed <= pool.buffer_bytes {
                let mut larger = pool.take();
                larger.bytes[..self.filled].copy_from_slice(self);
                larger.filled = self.filled;
                *self = larger;
            } else {
                self.bytes.resize(needed, 0);
            }
        }
        &mut self.bytes[self.filled..needed]
    }

    /// So many bytes of the room were read.
    pub(crate) fn filled(&mut self, more: usize) {
        self.filled += more;
        debug_assert!(self.filled <= self.bytes.len());
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        self.filled = self.filled.min(length);
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Buffer {
        Buffer { filled: bytes.len(), bytes, pool: None }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.give_back(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_when_its_last_holder_is_gone() {
        let pool = Pool::new(16);
        let mut first = Buffer::default();
        first.room(16, &pool).fill(b'x');
        first.filled(16);
        let place = first.as_ptr();
        let held = Arc::new(first);
        let other = Arc::clone(&held);
        drop(held);
        let mut second = Buffer::default();
        second.room(16, &pool);
        assert_ne!(second.as_ptr(), place, "it is still held");
        drop(other);
        let mut third = Buffer::from(b"torn".to_vec());
        assert_eq!(third.room(14, &pool).len(), 14);
        assert_eq!((third.as_ptr(), &*third), (place, &b"torn"[..]));
    }

    #[test]
    fn what_grew_for_a_long_line_and_what_is_too_much_is_let_go() {
        let pool = Pool::new(16);
        let mut long = pool.take();
        long.room(100, &pool);
        drop(long);
        assert!(pool.free.lock().expect("nobody panics").is_empty());
        let many: Vec<Buffer> = (0..MOST_FREE + 3).map(|_| pool.take()).collect();
        drop(many);
        assert_eq!(pool.free.lock().expect("nobody panics").len(), MOST_FREE);
    }
}
