//! Wrong tokens: counted, told of, and answered the later the more of them an address has sent.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The first wrong token of an address is answered so late, each further one twice as late, up to the most.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const DELAY_MOST: Duration = Duration::from_secs(5);
/// Doublings until the most is reached.
const DOUBLINGS: u32 = 6;
/// An address that has sent none for so long begins anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// So many addresses are remembered.
const ADDRESSES_MOST: usize = 10_000;
/// So many answers are held back at once; connections that bring more are closed.
const WAITING_MOST: usize = 256;
/// A line is written at most so often.
const LINE_EVERY: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct Strangers {
    /// Wrong tokens since the server started.
    count: AtomicU64,
    waiting: Arc<AtomicUsize>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    addresses: HashMap<IpAddr, (u32, Instant)>,
    line_at: Option<Instant>,
    /// Since the last line.
    untold: u64,
}

/// What to do about a wrong token.
pub struct Verdict {
    /// To be held until the answer is given; `None` where too many are.
    pub wait: Option<(Duration, Waiting)>,
    /// What to tell whoever runs the server.
    pub line: Option<String>,
}

/// An answer that is held back.
pub struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Strangers {
    pub fn count(&self) -> u64 {
        self.count.load(SeqCst)
    }

    /// A wrong token from an address.
    pub fn wrong_token(&self, from: Option<IpAddr>, now: Instant) -> Verdict {
        let count = self.count.fetch_add(1, SeqCst) + 1;
        let mut inner = self.inner.lock().expect("no holder of the strangers panics");
        let mut sent = 1;
        if let Some(from) = from {
            if inner.addresses.len() >= ADDRESSES_MOST {
                inner.addresses.retain(|_, (_, last)| now.duration_since(*last) < FORGOTTEN_AFTER);
            }
            if inner.addresses.len() >= ADDRESSES_MOST {
                inner.addresses.clear();
            }
            let known = inner.addresses.entry(from).or_insert((0, now));
            if now.duration_since(known.1) >= FORGOTTEN_AFTER {
                known.0 = 0;
            }
            *known = (known.0.saturating_add(1), now);
            sent = known.0;
        }
        inner.untold += 1;
        let is_due = inner.line_at.is_none_or(|at| now.duration_since(at) >= LINE_EVERY);
        let line = is_due.then(|| {
            inner.line_at = Some(now);
            let address = from.map_or("an unknown address".to_owned(), |address| address.to_string());
            let untold = std::mem::take(&mut inner.untold);
            format!(
                "a wrong token from {address} ({sent} from there; {untold} since the last such line, {count} in all)"
            )
        });
        let delay = (FIRST_DELAY * 2_u32.pow((sent - 1).min(DOUBLINGS))).min(DELAY_MOST);
        let waiting = Waiting(self.waiting.clone());
        let is_room = self.waiting.fetch_add(1, SeqCst) < WAITING_MOST;
        Verdict { wait: is_room.then_some((delay, waiting)), line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn an_address_waits_longer_each_time_and_lines_are_few() {
        let strangers = Strangers::default();
        let (here, there) = (Some(IpAddr::from([10, 0, 0, 1])), Some(IpAddr::from(Ipv4Addr::LOCALHOST)));
        let start = Instant::now();
        let delay = |from, after| {
            let verdict = strangers.wrong_token(from, start + Duration::from_secs(after));
            (verdict.wait.expect("there is room").0.as_millis(), verdict.line)
        };
        let (first, line) = delay(here, 0);
        assert_eq!(first, 100);
        assert_eq!(
            line.as_deref(),
            Some("a wrong token from 10.0.0.1 (1 from there; 1 since the last such line, 1 in all)")
        );
        assert_eq!(delay(here, 1), (200, None));
        assert_eq!(delay(there, 1), (100, None));
        let (mut last, mut line) = (0, None);
        (0..9).for_each(|_| (last, line) = delay(here, 11));
        assert_eq!((last, line), (5_000, None));
        assert_eq!(strangers.count(), 12);
        assert_eq!(delay(here, 700).0, 100);
        let held: Vec<_> = (0..WAITING_MOST).map(|_| strangers.wrong_token(there, start)).collect();
        assert!(strangers.wrong_token(there, start).wait.is_none());
        drop(held);
        assert!(strangers.wrong_token(there, start).wait.is_some());
    }
}
