//! The connections that there are: so many, so many of one address; which of them give way to others.
//!
//! Where there is no place for a new one, the one that has been without a call for longest goes, if that is a while; one that
//! never had a call goes before all others, and much sooner. Else the new one waits. One that is sent answers and takes none, or breaks off calls by the hundred, is closed, too.

use super::memory::CALL_BYTES;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Whoever waits for a place looks at least so often.
const LOOK: Duration = Duration::from_millis(100);
/// One that never had a call is idle after this part of the time after which others are.
const NEVER_CALLED_PART: u32 = 10;
/// Calls that one connection may break off in [`RESETS_WINDOW_MS`].
const RESETS_MOST: u64 = 1_000;
const RESETS_WINDOW_MS: u64 = 10_000;

/// One connection, for as long as it lasts.
pub struct Connection {
    number: u64,
    pub address: IpAddr,
    begun: Instant,
    /// Calls that are open and were allowed.
    calls: AtomicUsize,
    /// Milliseconds from `begun` to when the last of them began or ended.
    called_ms: AtomicU64,
    has_called: AtomicBool,
    /// Bytes of answers to it that are there and that it has not taken, and when it last took some.
    unsent: AtomicUsize,
    took_ms: AtomicU64,
    /// Calls that it broke off since the window began.
    resets: AtomicU64,
    resets_since_ms: AtomicU64,
    closing: AtomicBool,
    /// It has given its place back.
    is_gone: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Connection {
    fn new(number: u64, address: IpAddr) -> Connection {
        Connection {
            number,
            address,
            begun: Instant::now(),
            calls: AtomicUsize::new(0),
            called_ms: AtomicU64::new(0),
            has_called: AtomicBool::new(false),
            unsent: AtomicUsize::new(0),
            took_ms: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            resets_since_ms: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
            waker: Mutex::default(),
        }
    }

    /// Tells it from all others.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether an answer could still reach it.
    pub fn is_open(&self) -> bool {
        !self.closing.load(Relaxed) && !self.is_gone.load(Relaxed)
    }

    /// What the server holds for it: answers that it has not taken, and its open calls.
    fn held(&self) -> usize {
        self.unsent.load(Relaxed) + self.calls.load(Relaxed) * CALL_BYTES
    }

    fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    /// A call that was allowed begins.
    pub fn call_begins(&self) {
        self.calls.fetch_add(1, Relaxed);
        self.has_called.store(true, Relaxed);
        self.called_ms.store(self.now_ms(), Relaxed);
    }

    pub fn call_ends(&self) {
        self.calls.fetch_sub(1, Relaxed);
        self.called_ms.store(self.now_ms(), Relaxed);
    }

    /// A call was broken off by the caller. One that does nothing else is closed.
    pub fn call_was_reset(&self) {
        let now = self.now_ms();
        if now.saturating_sub(self.resets_since_ms.load(Relaxed)) > RESETS_WINDOW_MS {
            self.resets_since_ms.store(now, Relaxed);
            self.resets.store(0, Relaxed);
        }
        if self.resets.fetch_add(1, Relaxed) >= RESETS_MOST {
            self.close();
        }
    }

    /// Bytes are there for it to take.
    pub fn is_owed(&self, bytes: usize) {
        if self.unsent.fetch_add(bytes, Relaxed) == 0 {
            self.takes();
        }
    }

    /// Bytes have gone, or never will.
    pub fn is_owed_no_more(&self, bytes: usize) {
        self.unsent.fetch_sub(bytes, Relaxed);
        self.takes();
    }

    /// It takes what it is sent.
    pub fn takes(&self) {
        self.took_ms.store(self.now_ms(), Relaxed);
    }

    /// Ends it, with all of its calls.
    pub fn close(&self) {
        self.closing.store(true, Relaxed);
        if let Some(waker) = self.waker().take() {
            waker.wake();
        }
    }

    /// Whether it is to end; else who reads or writes is woken when it is.
    pub fn is_closing(&self, waker: &Waker) -> bool {
        let mut kept = self.waker();
        if kept.as_ref().is_none_or(|kept| !kept.will_wake(waker)) {
            *kept = Some(waker.clone());
        }
        self.closing.load(Relaxed)
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().expect("no holder of the waker panics")
    }

    /// Whether it never had a call, and how long it has had none, if that is long enough.
    fn idle_for(&self, least: Duration) -> Option<(bool, Duration)> {
        let idle = Duration::from_millis(self.now_ms().saturating_sub(self.called_ms.load(Relaxed)));
        let never = !self.has_called.load(Relaxed);
        let least = if never { least / NEVER_CALLED_PART } else { least };
        let is_idle = self.calls.load(Relaxed) == 0 && self.is_open() && idle >= least;
        is_idle.then_some((never, idle))
    }
}

/// All of them.
pub struct Connections {
    most: usize,
    most_of_address: usize,
    /// One that had a call within this time is not idle.
    idle_least: Duration,
    inner: Mutex<Inner>,
    /// One has gone.
    gone: Notify,
}

#[derive(Default)]
struct Inner {
    next: u64,
    all: HashMap<u64, Arc<Connection>>,
    of_address: HashMap<IpAddr, usize>,
}

impl Connections {
    pub fn new(most: usize, most_of_address: usize, idle_least: Duration) -> Arc<Connections> {
        Arc::new(Connections { most, most_of_address, idle_least, inner: Mutex::default(), gone: Notify::new() })
    }

    pub fn count(&self) -> usize {
        self.inner().all.len()
    }

    /// A place, once there is one.
    pub async fn enter(self: &Arc<Self>, address: IpAddr) -> Place {
        loop {
            let gone = self.gone.notified();
            if let Some(place) = self.try_enter(address) {
                return place;
            }
            let _ = tokio::time::timeout(LOOK, gone).await;
        }
    }

    fn try_enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut inner = self.inner();
        let of_address = inner.of_address.get(&address).copied().unwrap_or(0);
        let full_of_address = of_address >= self.most_of_address;
        if full_of_address || inner.all.len() >= self.most {
            let candidates = inner.all.values().filter(|other| !full_of_address || other.address == address);
            let idle = candidates.filter_map(|other| Some((other.idle_for(self.idle_least)?, other)));
            if let Some((_, longest)) = idle.max_by_key(|(never_and_idle, _)| *never_and_idle) {
                longest.close();
            }
            return None;
        }
        inner.next += 1;
        let connection = Arc::new(Connection::new(inner.next, address));
        inner.all.insert(connection.number, connection.clone());
        *inner.of_address.entry(address).or_default() += 1;
        Some(Place { connection, all: self.clone() })
    }

    /// Closes those for which most is held, if that is at least `least` of each, until so many bytes are on their way back.
    /// False where the caller's own is one of them, or there are too few.
    pub fn make_room(&self, bytes: usize, least: usize, caller: Option<&Connection>) -> bool {
        let inner = self.inner();
        let is_open = |connection: &&Arc<Connection>| connection.is_open();
        let mut coming: usize = inner.all.values().filter(|other| !other.is_open()).map(|other| other.held()).sum();
        while coming < bytes {
            let greediest = inner.all.values().filter(is_open).max_by_key(|other| other.held());
            let Some(greediest) = greediest.filter(|greediest| greediest.held() >= least) else { return false };
            if caller.is_some_and(|caller| caller.number == greediest.number) {
                return false;
            }
            coming += greediest.held();
            greediest.close();
        }
        true
    }

    /// Closes those that have taken nothing for so long of what they were sent.
    pub fn close_stalled(&self, stall: Duration) {
        for connection in self.inner().all.values() {
            let took = Duration::from_millis(connection.took_ms.load(Relaxed));
            if connection.unsent.load(Relaxed) > 0 && connection.begun.elapsed().saturating_sub(took) > stall {
                connection.close();
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of the connections panics")
    }
}

/// A connection's place among those there may be.
pub struct Place {
    pub connection: Arc<Connection>,
    all: Arc<Connections>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connection.is_gone.store(true, Relaxed);
        let mut inner = self.all.inner();
        inner.all.remove(&self.connection.number);
        let address = self.connection.address;
        if let Some(count) = inner.of_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                inner.of_address.remove(&address);
            }
        }
        drop(inner);
        self.all.gone.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const LONG: Duration = Duration::from_secs(60);
    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    #[test]
    fn an_address_has_a_part_of_the_places() {
        let all = Connections::new(3, 2, LONG);
        let places = [all.try_enter(HERE), all.try_enter(HERE)];
        assert!(places.iter().all(Option::is_some) && all.try_enter(HERE).is_none());
        let other = all.try_enter(THERE);
        assert!(other.is_some() && all.try_enter(THERE).is_none());
        let first = places[0].as_ref().expect("it has a place").connection.clone();
        assert!(first.is_open());
        drop(places);
        assert!(!first.is_open());
        assert!(all.try_enter(HERE).is_some());
        assert_eq!(all.count(), 1);
    }

    #[test]
    fn whoever_never_called_goes_first_and_soon() {
        let all = Connections::new(3, 3, LONG);
        let places = [HERE, HERE, HERE].map(|address| all.try_enter(address).expect("a place"));
        places[..2].iter().for_each(|place| place.connection.call_begins());
        places[0].connection.call_ends();
        let idle = |index: usize, least| places[index].connection.idle_for(least);
        assert_eq!([0, 1, 2].map(|index| idle(index, LONG)), [None; 3]);
        std::thread::sleep(Duration::from_millis(20));
        let least = Duration::from_millis(150);
        assert!(idle(0, least).is_none() && idle(1, least).is_none() && idle(2, least).is_some_and(|(never, _)| never));
        assert!(idle(0, Duration::ZERO).is_some_and(|(never, _)| !never));
        // One makes room for another.
        let all = Connections::new(2, 2, Duration::ZERO);
        let places = [HERE, HERE].map(|address| all.try_enter(address).expect("a place"));
        places[0].connection.call_begins();
        places[0].connection.call_ends();
        assert!(all.try_enter(THERE).is_none());
        assert_eq!(places.each_ref().map(|place| place.connection.is_open()), [true, false]);
    }

    #[test]
    fn the_one_that_takes_least_gives_way_and_not_to_itself() {
        let all = Connections::new(3, 3, LONG);
        let place = || all.try_enter(HERE).expect("there is room").connection.clone();
        let places = [all.try_enter(HERE).expect("a place"), all.try_enter(HERE).expect("a place")];
        let [small, large] = places.each_ref().map(|place| place.connection.clone());
        small.is_owed(10);
        large.is_owed(20);
        assert!(!all.make_room(20, 21, Some(&small)));
        assert!(!all.make_room(20, 1, Some(&large)));
        assert!(all.make_room(15, 1, Some(&small)) && large.closing.load(Relaxed));
        // What is on its way back is not asked for twice.
        assert!(all.make_room(20, 1, Some(&small)) && !small.closing.load(Relaxed));
        assert!(!all.make_room(21, 1, Some(&small)));
        // Calls count, too.
        (0..3).for_each(|_| small.call_begins());
        assert!(!all.make_room(21, 3 * CALL_BYTES + 11, None) && all.make_room(21, 3 * CALL_BYTES, None));
        assert!(!small.is_open());
        let third = place();
        (0..=RESETS_MOST).for_each(|_| third.call_was_reset());
        assert!(third.closing.load(Relaxed));
    }
}
