//! Messages in batches, as the library holds them.
//!
//! One call takes many, which costs half to two thirds of what `BaseConsumer::poll` does: that makes an event of each
//! message and gives it a counted pointer. What a message borrows is the broker's answer itself; it is given back as soon
//! as its bytes are in a chunk.

use super::client::{Handle, milliseconds};
use super::code::Code;
use super::queue::Queue;
use rdkafka::bindings as sys;
use std::ffi::{CStr, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

/// The most messages that are taken from the library's queue, and its limits, before they are read.
const PULL: usize = 512;

/// Messages that were taken and not yet read.
pub(super) struct Batch {
    pulled: Box<[*mut sys::rd_kafka_message_t; PULL]>,
    next: usize,
    end: usize,
    queue: Queue,
    /// The last to go.
    _handle: Arc<Handle>,
}

// SAFETY: what it points at belongs to it alone, and may be given back in any thread.
unsafe impl Send for Batch {}

impl Batch {
    pub(super) fn new(handle: Arc<Handle>) -> Batch {
        Batch { pulled: Box::new([ptr::null_mut(); PULL]), next: 0, end: 0, queue: handle.messages(), _handle: handle }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.next == self.end
    }

    /// Takes what is there, and says whether that was something.
    pub(super) fn pull(&mut self) -> bool {
        self.fetch(Duration::ZERO, PULL)
    }

    /// Waits for a message. Ends early when [`Queue::wake`] is called.
    pub(super) fn wait(&mut self, timeout: Duration) {
        // The library waits until it has as many as it may give: so it may give one.
        self.fetch(timeout, 1);
    }

    fn fetch(&mut self, timeout: Duration, count: usize) -> bool {
        if self.is_empty() {
            // SAFETY: there is room for `count` pointers, and the queue lives. What is returned is ours to give back.
            let pulled = unsafe {
                sys::rd_kafka_consume_batch_queue(
                    self.queue.as_ptr(),
                    milliseconds(timeout),
                    self.pulled.as_mut_ptr(),
                    count.min(PULL),
                )
            };
            (self.next, self.end) = (0, usize::try_from(pulled).unwrap_or(0));
        }
        !self.is_empty()
    }

    #[inline]
    pub(super) fn next(&mut self) -> Option<Message> {
        if self.is_empty() {
            return None;
        }
        let message = NonNull::new(self.pulled[self.next]);
        self.next += 1;
        message.map(Message)
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        while self.next().is_some() {}
    }
}

/// One message, or what the library says in its place. Given back when it is dropped.
pub(super) struct Message(NonNull<sys::rd_kafka_message_t>);

/// Which partition it is of, as cheap to compare as can be. Good while a message of it is held, or its topic is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    topic: *const sys::rd_kafka_topic_t,
    partition: i32,
}

// SAFETY: it is only compared.
unsafe impl Send for Origin {}

impl Message {
    fn get(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: it is ours, and not given back before we are dropped.
        unsafe { self.0.as_ref() }
    }

    /// An error instead of a record.
    #[inline]
    pub(super) fn code(&self) -> Code {
        // SAFETY: the field is there; only what it holds may not be one of its enum's values.
        Code(unsafe { (&raw const (*self.0.as_ptr()).err).cast::<c_int>().read() })
    }

    #[inline]
    pub(super) fn origin(&self) -> Origin {
        Origin { topic: self.get().rkt, partition: self.get().partition }
    }

    /// None of what concerns no partition.
    pub(super) fn place(&self) -> Option<(&str, u32)> {
        let message = self.get();
        let topic = NonNull::new(message.rkt)?;
        // SAFETY: the topic is held by the message, and its name by the topic; it ends with a zero.
        let name = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(topic.as_ptr())) };
        Some((name.to_str().ok()?, u32::try_from(message.partition).ok()?))
    }

    #[inline]
    pub(super) fn offset(&self) -> u64 {
        u64::try_from(self.get().offset).unwrap_or(0)
    }

    /// None of a tombstone. Of an error, what it says.
    #[inline]
    pub(super) fn value(&self) -> Option<&[u8]> {
        // SAFETY: the message holds so many bytes there.
        unsafe { bytes(self.get().payload, self.get().len) }
    }

    pub(super) fn key(&self) -> Option<&[u8]> {
        // SAFETY: the message holds so many bytes there.
        unsafe { bytes(self.get().key, self.get().key_len) }
    }

    /// UTC microseconds, where the broker keeps a time. A producer may have set any: one that no calendar has is none.
    #[inline]
    pub(super) fn received_at(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: it is a message, and the kind of its time is written to a variable of ours.
        let time = unsafe { sys::rd_kafka_message_timestamp(self.0.as_ptr(), &mut kind) };
        (time >= 0).then(|| time.saturating_mul(1_000)).filter(|&micros| millrace_schema::calendar::is_known(micros))
    }

    /// The value of the last header of that name.
    pub(super) fn header(&self, name: &CStr) -> Option<&[u8]> {
        let mut headers = ptr::null_mut();
        let (mut value, mut length) = (ptr::null(), 0);
        let none = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        // SAFETY: the message holds its headers and their values; none is asked of a message that has none.
        unsafe {
            if sys::rd_kafka_message_headers(self.0.as_ptr(), &mut headers) != none
                || sys::rd_kafka_header_get_last(headers, name.as_ptr(), &mut value, &mut length) != none
            {
                return None;
            }
            bytes(value, length)
        }
    }
}

impl Drop for Message {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: it is ours, and nothing borrows from it any more.
        unsafe { sys::rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}

/// # Safety
/// Null, or so many bytes that live as long as is claimed.
#[inline]
unsafe fn bytes<'a>(first: *const c_void, count: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller says.
    (!first.is_null()).then(|| unsafe { std::slice::from_raw_parts(first.cast(), count) })
}
