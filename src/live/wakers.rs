//! The workers of a process, to be woken where there is something new for them.

use std::sync::Mutex;
use std::thread::Thread;

/// Threads that park while there is nothing for them.
#[derive(Default)]
pub struct Wakers(Mutex<Vec<Thread>>);

impl Wakers {
    /// The calling thread is woken from now on.
    pub fn register(&self) {
        self.0.lock().expect("no holder of the workers panics").push(std::thread::current());
    }

    pub fn wake(&self) {
        self.0.lock().expect("no holder of the workers panics").iter().for_each(Thread::unpark);
    }
}
