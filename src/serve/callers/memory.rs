//! Memory that callers make the server hold, in one budget: calls that are open, answers on their way, pages to come,
//! answers that are kept up for subscriptions. Whatever holds some holds a [`Charge`], and the budget has it back when
//! that is dropped.
//!
//! Where the budget is short, whoever holds most of it gives way: the connection with the most bytes that it was sent and
//! has not taken is closed, and if that is the caller itself, it is refused. So a reader who takes what it asks for is
//! answered, whatever others leave lying.
//!
//! ```text
//! 0 ──────────────────────────── most ────── + an eighth
//!        there is room            │ what is small, or is there already, while room is on its way back
//!                                 └ what can wait waits here until it is back
//! ```
//! What a closed connection held is back once its tasks have seen that it is closed, not before: it is counted until then.

use super::connections::{Connection, Connections};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// What an open call takes, beside what it brings and gets: its task, its headers, its place in the connection.
pub const CALL_BYTES: usize = 8 << 10;
/// A connection that holds less does not give way.
const GREEDY_BYTES: usize = 1 << 20;
/// What is smaller does not wait.
const SMALL_BYTES: usize = 64 << 10;
/// Beyond the whole, this part of it is for what cannot wait until what is on its way back is back.
const BEYOND_PART: usize = 8;
/// Closed connections have given back what they held within this time; who waits looks at least so often.
const WAIT_MOST: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);

/// The budget.
pub struct Memory {
    most: usize,
    used: AtomicUsize,
    /// The most that was used since somebody asked.
    peak: AtomicUsize,
    /// Of what is used, by subscriptions: half of the whole at most.
    subscribed: AtomicUsize,
    /// Requests that were refused for want of memory.
    refused: AtomicU64,
    connections: Arc<Connections>,
    /// Some of it was given back.
    returned: Notify,
    /// Whoever waits for that, one after the other.
    waiting: tokio::sync::Mutex<()>,
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{who} hold all the memory they may (serve.memory_bytes = {most}): ask for less, or again later")]
pub struct Full {
    /// Who holds it.
    pub who: &'static str,
    /// Of everybody.
    pub most: usize,
}

/// Whether so many bytes can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    There,
    /// Connections that hold enough of it are closing.
    Coming,
}

/// Who may use what part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// All there is.
    Calls,
    /// Of a subscription that begins: leaves something to those that are there.
    NewSubscription,
    Subscriptions,
}

impl Memory {
    pub fn new(most: usize, connections: Arc<Connections>) -> Arc<Memory> {
        Arc::new(Memory {
            most,
            used: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            subscribed: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            connections,
            returned: Notify::new(),
            waiting: tokio::sync::Mutex::default(),
        })
    }

    /// Without a limit to speak of, for tests.
    #[cfg(test)]
    pub fn ample() -> Arc<Memory> {
        Memory::new(1 << 40, Connections::new(1, 1, std::time::Duration::ZERO))
    }

    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// The most that was used since this was last asked.
    pub fn take_peak(&self) -> usize {
        self.peak.swap(self.used(), Relaxed)
    }

    pub fn most(&self) -> usize {
        self.most
    }

    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Room for so many bytes.
    ///
    /// # Errors
    /// [`Full`] where there is none, and nobody who holds more than `caller`.
    pub fn charge(self: &Arc<Self>, bytes: usize, of: Of, caller: Option<&Connection>) -> Result<Charge, Full> {
        let mut charge = Charge { memory: self.clone(), bytes: 0, of };
        charge.resize(bytes, of, caller)?;
        Ok(charge)
    }

    /// As [`Memory::charge`], for what can wait until what closing connections hold is back.
    ///
    /// # Errors
    /// As [`Memory::charge`]; and where it is not back in time.
    pub async fn room(
        self: &Arc<Self>,
        bytes: usize,
        of: Of,
        caller: Option<&Connection>,
        until: Instant,
    ) -> Result<Charge, Full> {
        if bytes <= SMALL_BYTES {
            return self.charge(bytes, of, caller);
        }
        let until = until.min(Instant::now() + WAIT_MOST);
        // One looks for all who wait, so that thousands of them do not.
        let mut first = None;
        loop {
            let returned = self.returned.notified();
            if self.look_for(bytes, of, caller)? == Room::There {
                self.add(bytes, of);
                return Ok(Charge { memory: self.clone(), bytes, of });
            }
            let now = Instant::now();
            if now >= until {
                return Err(self.refuse("callers"));
            }
            match first {
                None => first = timeout_at(until, self.waiting.lock()).await.ok(),
                Some(_) => drop(timeout_at(until.min(now + LOOK), returned).await),
            }
        }
    }

    /// Bytes that are counted for as long as anything of them is held.
    ///
    /// # Errors
    /// As [`Memory::charge`].
    pub fn keep(self: &Arc<Self>, bytes: Vec<u8>, of: Of, caller: Option<&Connection>) -> Result<Bytes, Full> {
        if bytes.is_empty() {
            return Ok(Bytes::new());
        }
        let charge = self.charge(bytes.capacity(), of, caller)?;
        Ok(Bytes::from_owner(Kept { bytes, _charge: charge }))
    }

    /// For what cannot wait.
    fn admit(&self, more: usize, of: Of, caller: Option<&Connection>) -> Result<(), Full> {
        match self.look_for(more, of, caller)? {
            Room::There => Ok(()),
            Room::Coming if self.used().saturating_add(more) <= self.most + self.most / BEYOND_PART => Ok(()),
            Room::Coming => Err(self.refuse("callers")),
        }
    }

    fn look_for(&self, more: usize, of: Of, caller: Option<&Connection>) -> Result<Room, Full> {
        let subscribed = match of {
            Of::Calls => None,
            Of::NewSubscription => Some(self.most / 2 - self.most / 16),
            Of::Subscriptions => Some(self.most / 2),
        };
        let too_many = subscribed.is_some_and(|most| self.subscribed.load(Relaxed).saturating_add(more) > most);
        let short = self.used().saturating_add(more).saturating_sub(self.most);
        let makes_room = || more <= self.most && self.connections.make_room(short, GREEDY_BYTES, caller);
        match () {
            () if too_many => Err(self.refuse("subscriptions")),
            () if short == 0 => Ok(Room::There),
            () if makes_room() => Ok(Room::Coming),
            () => Err(self.refuse("callers")),
        }
    }

    fn refuse(&self, who: &'static str) -> Full {
        self.refused.fetch_add(1, Relaxed);
        Full { who, most: self.most }
    }

    fn add(&self, bytes: usize, of: Of) {
        let used = self.used.fetch_add(bytes, Relaxed) + bytes;
        self.peak.fetch_max(used, Relaxed);
        if of != Of::Calls {
            self.subscribed.fetch_add(bytes, Relaxed);
        }
    }

    fn give_back(&self, bytes: usize, of: Of) {
        self.used.fetch_sub(bytes, Relaxed);
        if of != Of::Calls {
            self.subscribed.fetch_sub(bytes, Relaxed);
        }
        if bytes > 0 {
            self.returned.notify_one();
        }
    }
}

/// Some bytes of the budget.
pub struct Charge {
    memory: Arc<Memory>,
    bytes: usize,
    of: Of,
}

impl Charge {
    pub fn none(memory: &Arc<Memory>, of: Of) -> Charge {
        Charge { memory: memory.clone(), bytes: 0, of }
    }

    pub fn is_none(&self) -> bool {
        self.bytes == 0
    }

    /// Makes it so many bytes: as `of` may have them, where they are more than before.
    ///
    /// # Errors
    /// As [`Memory::charge`]. It is as before then.
    pub fn resize(&mut self, bytes: usize, of: Of, caller: Option<&Connection>) -> Result<(), Full> {
        if let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) {
            self.memory.admit(more, of, caller)?;
            self.memory.add(more, self.of);
        } else {
            self.memory.give_back(self.bytes - bytes, self.of);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// More that is there already, whatever the budget says.
    pub fn grow(&mut self, more: usize) {
        self.memory.add(more, self.of);
        self.bytes += more;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.memory.give_back(self.bytes, self.of);
    }
}

struct Kept {
    bytes: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn nobody() -> Arc<Connections> {
        Connections::new(1, 1, Duration::ZERO)
    }

    #[tokio::test]
    async fn what_can_wait_waits_until_a_closed_connection_has_given_back() {
        let connections = Connections::new(2, 2, Duration::ZERO);
        let place = connections.enter(std::net::Ipv4Addr::LOCALHOST.into()).await;
        let memory = Memory::new(16 << 20, connections);
        let held = memory.charge(12 << 20, Of::Calls, None).expect("there is room");
        place.connection.is_owed(12 << 20);
        let soon = || Instant::now() + Duration::from_millis(20);
        assert!(memory.room(8 << 20, Of::Calls, None, soon()).await.is_err(), "nothing has come back");
        assert!(!place.connection.is_open() && memory.used() <= memory.most());
        // What cannot wait has an eighth more, and no more than that.
        let more = memory.charge(6 << 20, Of::Calls, None).expect("room is on its way back");
        assert!(memory.charge(1 << 20, Of::Calls, None).is_err());
        let waits = memory.room(8 << 20, Of::Calls, None, Instant::now() + Duration::from_secs(5));
        let gives_back = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            drop(held);
        };
        assert!(tokio::join!(waits, gives_back).0.is_ok());
        drop((more, place));
        assert_eq!((memory.used(), memory.take_peak() >= 18 << 20, memory.take_peak()), (0, true, 0));
    }

    #[test]
    fn what_is_held_counts_until_the_last_piece_is_dropped() {
        let memory = Memory::new(1_000, nobody());
        let kept = memory.keep(vec![7; 600], Of::Calls, None).expect("there is room");
        let piece = kept.slice(10..20);
        let refused = memory.charge(600, Of::Calls, None).map(|_| ()).expect_err("there is no room");
        assert_eq!(refused, Full { who: "callers", most: 1_000 });
        assert!(refused.to_string().contains("callers hold all the memory they may (serve.memory_bytes = 1000)"));
        drop(kept);
        assert_eq!(memory.used(), 600);
        drop(piece);
        assert_eq!((memory.used(), memory.refused()), (0, 1));
    }

    /// Half is for others, and those that begin leave some to those that are there.
    #[test]
    fn subscriptions_have_a_part() {
        let memory = Memory::new(16_000, nobody());
        let mut first = memory.charge(7_000, Of::NewSubscription, None).expect("there is room");
        assert!(memory.charge(100, Of::NewSubscription, None).is_err());
        assert!(first.resize(8_100, Of::Subscriptions, None).is_err());
        first.resize(8_000, Of::Subscriptions, None).expect("it may grow");
        assert!(memory.charge(8_000, Of::Calls, None).is_ok());
        drop(first);
        assert_eq!(memory.used(), 0);
    }
}
