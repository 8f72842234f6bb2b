//! A queue that holds so many bytes, however many messages they are: a live engine has many small ones, and whoever takes them may
//! be held up for seconds.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// What a message takes besides what it holds.
const MESSAGE_BYTES: usize = 256;

#[derive(Default)]
struct Room {
    used: Mutex<Used>,
    freed: Condvar,
}

#[derive(Default)]
struct Used {
    bytes: usize,
    is_closed: bool,
}

impl Room {
    fn lock(&self) -> MutexGuard<'_, Used> {
        self.used.lock().expect("no holder of the room panics")
    }
}

pub struct Entry<T> {
    sender: Sender<(T, usize)>,
    room: Arc<Room>,
    bytes_most: usize,
}

/// Dropped, nothing is taken any more.
pub struct Exit<T> {
    receiver: Receiver<(T, usize)>,
    room: Arc<Room>,
}

/// One that holds so many bytes, and at least one message.
pub fn queue<T>(bytes_most: usize) -> (Entry<T>, Exit<T>) {
    let (sender, receiver) = channel();
    let room = Arc::new(Room::default());
    (Entry { sender, room: room.clone(), bytes_most }, Exit { receiver, room })
}

impl<T> Entry<T> {
    /// Waits for room. False where nobody takes anything any more.
    pub fn send(&self, message: T, bytes: usize) -> bool {
        let bytes = bytes + MESSAGE_BYTES;
        let is_full =
            |used: &mut Used| !used.is_closed && used.bytes > 0 && used.bytes.saturating_add(bytes) > self.bytes_most;
        let used = self.room.freed.wait_while(self.room.lock(), is_full);
        let mut used = used.expect("no holder of the room panics");
        if used.is_closed {
            return false;
        }
        used.bytes += bytes;
        self.sender.send((message, bytes)).is_ok()
    }
}

impl<T> Exit<T> {
    /// Waits for the next message. `None` where no more come.
    pub fn next(&self) -> Option<T> {
        let (message, bytes) = self.receiver.recv().ok()?;
        self.room.lock().bytes -= bytes;
        self.room.freed.notify_one();
        Some(message)
    }
}

impl<T> Drop for Exit<T> {
    fn drop(&mut self) {
        self.room.lock().is_closed = true;
        self.room.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn bytes_are_bounded_and_messages_are_not() {
        let (entry, exit) = queue(1_000_000);
        for number in 0..1_000 {
            assert!(entry.send(number, 0), "small ones all find room");
        }
        let sent = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1_000..1_010 {
                    assert!(entry.send(number, 500_000));
                    sent.fetch_add(1, Ordering::SeqCst);
                }
            });
            for number in 0..1_010 {
                if number == 1_000 {
                    // The small ones are gone: one large one has room, and another has not.
                    std::thread::sleep(Duration::from_millis(50));
                    assert_eq!(sent.load(Ordering::SeqCst), 1);
                }
                assert_eq!(exit.next(), Some(number));
            }
        });
        assert!(entry.send(0, 5_000_000), "one that is too large comes alone");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| entry.send(1, 0));
            std::thread::sleep(Duration::from_millis(20));
            drop(exit);
            assert!(!waiting.join().expect("it does not panic"), "nobody waits for ever");
        });
    }
}
