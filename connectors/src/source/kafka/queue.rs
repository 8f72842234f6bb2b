//! The library's queues.

use rdkafka::bindings as sys;
use std::ptr::NonNull;

/// A queue of the library's, counted.
pub(super) struct Queue(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: the library's queues have locks of their own, and may be used and given back in any thread.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    /// # Safety
    /// It was counted for us, and its client outlives it. None where it is null.
    pub(super) unsafe fn new(queue: *mut sys::rd_kafka_queue_t) -> Option<Queue> {
        NonNull::new(queue).map(Queue)
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_queue_t {
        self.0.as_ptr()
    }

    /// Ends the wait of whoever waits for it, or the next wait.
    pub(super) fn wake(&self) {
        // SAFETY: the queue is alive.
        unsafe { sys::rd_kafka_queue_yield(self.as_ptr()) };
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: it was counted when we got it, and is not used after this.
        unsafe { sys::rd_kafka_queue_destroy(self.as_ptr()) };
    }
}
