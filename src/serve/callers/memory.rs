//! Memory that callers make the server hold, in one budget: calls that are open, answers on their way, pages to come,
//! answers that are kept up for subscriptions. Whatever holds some holds a [`Charge`], and the budget has it back when
//! that is dropped.
//!
//! Where the budget is short, whoever holds most of it gives way: the connection with the most bytes that it was sent and
//! has not taken is closed, and if that is the caller itself, it is refused. So a reader who takes what it asks for is
//! answered, whatever others leave lying.

use super::connections::{Connection, Connections};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// What an open call takes, beside what it brings and gets: its task, its headers, its place in the connection.
pub const CALL_BYTES: usize = 8 << 10;
/// A connection that holds less does not give way.
const GREEDY_BYTES: usize = 1 << 20;

/// The budget.
pub struct Memory {
    most: usize,
    used: AtomicUsize,
    /// Of what is used, by subscriptions: half of the whole at most.
    subscribed: AtomicUsize,
    /// Requests that were refused for want of memory.
    refused: AtomicU64,
    connections: Arc<Connections>,
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
        let (used, subscribed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Memory { most, used, subscribed, refused: AtomicU64::new(0), connections })
    }

    /// Without a limit to speak of, for tests.
    #[cfg(test)]
    pub fn ample() -> Arc<Memory> {
        Memory::new(1 << 40, Connections::new(1, 1, std::time::Duration::ZERO))
    }

    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
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

    fn admit(&self, more: usize, of: Of, caller: Option<&Connection>) -> Result<(), Full> {
        let subscribed = match of {
            Of::Calls => None,
            Of::NewSubscription => Some(self.most / 2 - self.most / 16),
            Of::Subscriptions => Some(self.most / 2),
        };
        let too_many = subscribed.is_some_and(|most| self.subscribed.load(Relaxed).saturating_add(more) > most);
        let short = self.used().saturating_add(more).saturating_sub(self.most);
        let makes_room = || more <= self.most && self.connections.make_room(short, GREEDY_BYTES, caller);
        if !too_many && (short == 0 || makes_room()) {
            return Ok(());
        }
        self.refused.fetch_add(1, Relaxed);
        let who = if too_many { "subscriptions" } else { "callers" };
        Err(Full { who, most: self.most })
    }

    fn add(&self, bytes: usize, of: Of) {
        self.used.fetch_add(bytes, Relaxed);
        if of != Of::Calls {
            self.subscribed.fetch_add(bytes, Relaxed);
        }
    }

    fn give_back(&self, bytes: usize, of: Of) {
        self.used.fetch_sub(bytes, Relaxed);
        if of != Of::Calls {
            self.subscribed.fetch_sub(bytes, Relaxed);
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
