//! Partitions that bring nothing although there is something.
//!
//! The client follows a partition through changes of its leader by a machine of several states, each of which waits for an answer
//! or for news. What it waits for may be lost with a connection or a leader, and then a partition stands still while all
//! others go on. Taking a partition up anew from where it stands puts the machine back to its first state, and costs nothing but
//! what was fetched of it and not read.

use std::time::{Duration, Instant};

/// How long a partition may bring nothing. A client that gets answers brings what there is within a few round trips.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// The longest that one is left alone after it was taken up anew in vain.
const PATIENCE_MOST: Duration = Duration::from_secs(60);

/// By ordinal.
#[derive(Default)]
pub(super) struct Stalled(Vec<Standing>);

struct Standing {
    next: u64,
    /// Since when it stands there while there is more.
    since: Option<Instant>,
    patience: Duration,
}

impl Stalled {
    /// Where a partition is, and where it ends as far as that is known. Asked only while nothing that was fetched waits to be read, so
    /// that nobody but the client is waited for. True where it is to be taken up anew.
    pub(super) fn is_stalled(&mut self, ordinal: usize, next: u64, end: Option<u64>, now: Instant) -> bool {
        while self.0.len() <= ordinal {
            self.0.push(Standing { next: 0, since: None, patience: PATIENCE });
        }
        let standing = &mut self.0[ordinal];
        let is_behind = end.is_some_and(|end| next < end);
        if !is_behind || standing.next != next {
            *standing = Standing { next, since: is_behind.then_some(now), patience: PATIENCE };
            return false;
        }
        let since = *standing.since.get_or_insert(now);
        let is_stalled = now.saturating_duration_since(since) >= standing.patience;
        if is_stalled {
            standing.since = Some(now);
            standing.patience = (standing.patience * 2).min(PATIENCE_MOST);
        }
        is_stalled
    }

    /// Nobody answers at all: no partition is at fault.
    pub(super) fn all_rest(&mut self) {
        self.0.iter_mut().for_each(|standing| standing.since = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_still_although_there_is_more_is_taken_up_anew() {
        let begun = Instant::now();
        let mut stalled = Stalled::default();
        let mut is_stalled =
            |seconds: u64, next: u64, end| stalled.is_stalled(1, next, end, begun + Duration::from_secs(seconds));
        // It has been read, or nobody knows how far it goes.
        assert!(!is_stalled(0, 10, Some(10)) && !is_stalled(100, 10, None) && !is_stalled(200, 10, Some(10)));
        // There is more, and it comes.
        assert!(!is_stalled(201, 10, Some(20)) && !is_stalled(205, 15, Some(20)) && !is_stalled(209, 20, Some(20)));
        // It does not.
        assert!(!is_stalled(300, 20, Some(30)) && !is_stalled(304, 20, Some(35)) && is_stalled(305, 20, Some(35)));
        // Not again at once, and less and less often.
        assert!(!is_stalled(306, 20, Some(35)) && !is_stalled(314, 20, Some(35)) && is_stalled(315, 20, Some(35)));
        assert!(!is_stalled(334, 20, Some(35)) && is_stalled(335, 20, Some(35)));
        // Once it goes on, all is as before.
        assert!(!is_stalled(336, 21, Some(35)) && is_stalled(341, 21, Some(35)));
        // While the brokers are away, nobody stands still.
        stalled.all_rest();
        let mut is_stalled = |seconds: u64| stalled.is_stalled(1, 21, Some(35), begun + Duration::from_secs(seconds));
        assert!(!is_stalled(400) && !is_stalled(409) && is_stalled(410));
    }
}
