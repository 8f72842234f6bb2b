//! Turns: so many questions are worked out at once, and whoever has had least of the time goes first.
//!
//! ```text
//! connection 1 ─▶ question, question, question, … ─┐
//! connection 2 ─▶ question                         ├─▶ least used first ─▶ so many at once
//! connection 3 ─▶                                  ─┘        ▲ the time that each took ──┘
//! ```
//! Questions wait in a line for each connection. The next turn is for the address that has used least, and there for the
//! connection that has: one that asks a thousand things at once holds up itself and nobody else. What was used is halved every second,
//! so that nobody pays for long for what is over.

use crate::serve::callers::connections::Connection;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How often what was used is halved.
const HALVED_EVERY: Duration = Duration::from_secs(1);
/// What is less is forgotten.
const LEAST: Duration = Duration::from_micros(10);

/// So many turns at once.
pub struct Turns {
    inner: Mutex<Inner>,
}

struct Inner {
    free: usize,
    /// By the numbers of connections.
    lines: HashMap<u64, Line>,
    used: HashMap<IpAddr, Duration>,
    halved_at: Instant,
}

/// A connection's.
struct Line {
    address: IpAddr,
    used: Duration,
    /// Turns that it has now.
    has: usize,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// Who has a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Who {
    number: u64,
    address: IpAddr,
}

impl Who {
    fn of(connection: Option<&Connection>) -> Who {
        let nobody = Who { number: 0, address: Ipv4Addr::UNSPECIFIED.into() };
        connection.map_or(nobody, |connection| Who { number: connection.number(), address: connection.address })
    }
}

/// To be held for as long as the work takes.
pub struct Turn {
    who: Who,
    begun: Instant,
    /// `None` where it was never begun.
    turns: Option<Arc<Turns>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.turns.take() {
            turns.ends(self.who, self.begun.elapsed());
        }
    }
}

impl Turns {
    pub fn new(most: usize) -> Arc<Turns> {
        let (lines, used) = (HashMap::new(), HashMap::new());
        Arc::new(Turns { inner: Mutex::new(Inner { free: most, lines, used, halved_at: Instant::now() }) })
    }

    /// A turn, once it comes. Whoever no longer waits for it loses no other.
    pub async fn turn(self: &Arc<Self>, connection: Option<&Connection>) -> Turn {
        let who = Who::of(connection);
        let waiting = {
            let mut inner = self.inner();
            if inner.free > 0 {
                inner.free -= 1;
                inner.line(who).has += 1;
                return self.begin(who);
            }
            let (sender, receiver) = oneshot::channel();
            inner.line(who).waiting.push_back(sender);
            receiver
        };
        waiting.await.expect("lines are as old as those who hold turns, and a line with somebody in it is kept")
    }

    fn begin(self: &Arc<Self>, who: Who) -> Turn {
        Turn { who, begun: Instant::now(), turns: Some(self.clone()) }
    }

    /// A turn is over: the next one begins.
    fn ends(self: &Arc<Self>, who: Who, took: Duration) {
        let mut inner = self.inner();
        inner.halve(Instant::now());
        *inner.used.entry(who.address).or_default() += took;
        let line = inner.line(who);
        line.used += took;
        line.has -= 1;
        while let Some((next, sender)) = inner.next() {
            let Err(mut turn) = sender.send(self.begin(next)) else {
                inner.line(next).has += 1;
                return;
            };
            // Nobody waits for it any more, and this place is locked.
            turn.turns = None;
        }
        inner.free += 1;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of the turns panics")
    }
}

impl Inner {
    fn line(&mut self, who: Who) -> &mut Line {
        let new = || Line { address: who.address, used: Duration::ZERO, has: 0, waiting: VecDeque::new() };
        self.lines.entry(who.number).or_insert_with(new)
    }

    /// Whose turn it is.
    fn next(&mut self) -> Option<(Who, oneshot::Sender<Turn>)> {
        for line in self.lines.values_mut() {
            while line.waiting.front().is_some_and(oneshot::Sender::is_closed) {
                line.waiting.pop_front();
            }
        }
        let used = |line: &Line| self.used.get(&line.address).copied().unwrap_or_default();
        let waiting = self.lines.iter().filter(|(_, line)| !line.waiting.is_empty());
        let least = waiting.min_by_key(|(number, line)| (used(line), line.used, line.has, **number));
        let who = least.map(|(number, line)| Who { number: *number, address: line.address })?;
        let sender = self.line(who).waiting.pop_front()?;
        Some((who, sender))
    }

    /// What was used counts half as much every second, and lines that are empty and have used nothing go.
    fn halve(&mut self, now: Instant) {
        let halvings = now.saturating_duration_since(self.halved_at).as_millis() / HALVED_EVERY.as_millis();
        if halvings == 0 {
            return;
        }
        self.halved_at = now;
        let part = 2_u32.saturating_pow(u32::try_from(halvings).unwrap_or(u32::MAX));
        self.used.values_mut().for_each(|used| *used /= part);
        self.used.retain(|_, used| *used >= LEAST);
        self.lines.values_mut().for_each(|line| line.used /= part);
        self.lines.retain(|_, line| line.used >= LEAST || line.has > 0 || !line.waiting.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::callers::connections::{Connections, Place};
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    async fn places<const N: usize>(addresses: [IpAddr; N]) -> [Place; N] {
        let all = Connections::new(N, N, Duration::ZERO);
        let mut places = Vec::new();
        for address in addresses {
            places.push(all.enter(address).await);
        }
        places.try_into().unwrap_or_else(|_| panic!("one for each address"))
    }

    /// In which order five wait and get their turns, while somebody works for a while in each.
    #[tokio::test]
    async fn whoever_has_used_least_goes_first() {
        let [greedy, modest, other] = places([HERE, HERE, THERE]).await;
        let turns = Turns::new(1);
        let first = turns.turn(Some(&greedy.connection)).await;
        let order = Mutex::new(Vec::new());
        let work = async |name: &str, place: &Place| {
            let turn = turns.turn(Some(&place.connection)).await;
            order.lock().expect("no panic").push(name.to_owned());
            tokio::time::sleep(Duration::from_millis(10)).await;
            drop(turn);
        };
        let ends = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            drop(first);
        };
        let greed = async {
            tokio::join!(work("greedy", &greedy), work("greedy", &greedy), work("greedy", &greedy));
        };
        tokio::join!(greed, work("modest", &modest), work("other", &other), ends);
        let order = order.into_inner().expect("no panic");
        assert_eq!(order, ["other", "modest", "greedy", "greedy", "greedy"]);
    }

    #[tokio::test]
    async fn a_turn_that_nobody_waits_for_goes_to_the_next() {
        let [one, two] = places([HERE, HERE]).await;
        let turns = Turns::new(1);
        let mut context = Context::from_waker(Waker::noop());
        let first = turns.turn(Some(&one.connection)).await;
        {
            let mut gone = pin!(turns.turn(Some(&two.connection)));
            assert!(gone.as_mut().poll(&mut context).is_pending());
        }
        let mut stays = pin!(turns.turn(Some(&one.connection)));
        let mut given = Box::pin(turns.turn(Some(&two.connection)));
        assert!(given.as_mut().poll(&mut context).is_pending() && stays.as_mut().poll(&mut context).is_pending());
        // It is given to one that goes before it takes it.
        drop(first);
        drop(given);
        let Poll::Ready(turn) = stays.as_mut().poll(&mut context) else { panic!("it has its turn") };
        drop(turn);
        let inner = turns.inner();
        assert_eq!((inner.free, inner.lines.values().map(|line| line.has).sum::<usize>()), (1, 0));
    }

    #[tokio::test]
    async fn what_was_used_is_forgotten() {
        let [one] = places([HERE]).await;
        let turns = Turns::new(2);
        drop(turns.turn(Some(&one.connection)).await);
        drop(turns.turn(None).await);
        let mut inner = turns.inner();
        inner.line(Who::of(Some(&one.connection))).used = Duration::from_secs(8);
        let begun = inner.halved_at;
        inner.halve(begun + HALVED_EVERY * 2);
        assert_eq!(inner.lines[&one.connection.number()].used, Duration::from_secs(2));
        inner.halve(begun + HALVED_EVERY * 60);
        assert!(inner.lines.is_empty() && inner.used.is_empty());
    }
}
