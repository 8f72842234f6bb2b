//! Sessions on their way out: which are looked at when, and what is left of those that were forgotten.

use crate::views::funnel::Contribution;
use std::collections::BTreeMap;

/// When sessions are looked at for whether they can be forgotten, and what is left of those that were.
#[derive(Debug)]
pub(super) struct Retirement {
    /// Microseconds; `None` where nothing is forgotten.
    pub(super) period: Option<i64>,
    /// Sessions by a period in which they had an event, at most their last.
    pub(super) wheel: BTreeMap<i64, Vec<u32>>,
    /// Numbers of sessions that can be used again.
    pub(super) free: Vec<u32>,
    /// Sessions that are forgotten, and their ids are not.
    pub(super) in_table: usize,
    pub(super) sweeping: bool,
    /// Sessions that have begun since the last time that ids went.
    pub(super) begun: usize,
    /// What forgotten sessions contribute, by the first product viewed: its category may still change.
    pub(super) settled: Vec<Vec<(Contribution, i64)>>,
    pub(super) settled_total: usize,
}

impl Retirement {
    const PERIODS: i64 = 8;

    pub(super) fn new(horizon: Option<i64>) -> Retirement {
        Retirement {
            period: horizon.map(|horizon| (horizon / Retirement::PERIODS).max(1)),
            wheel: BTreeMap::new(),
            free: Vec::new(),
            in_table: 0,
            sweeping: false,
            begun: 0,
            settled: Vec::new(),
            settled_total: 0,
        }
    }

    /// Has a session looked at once the period of `time` is over.
    pub(super) fn watch(&mut self, session: u32, time: i64) {
        if let Some(period) = self.period {
            self.wheel.entry(time.div_euclid(period)).or_default().push(session);
        }
    }

    /// The sessions of the first period that is over before `limit`.
    pub(super) fn due(&mut self, limit: i64) -> Option<Vec<u32>> {
        let period = self.period?;
        let first = self.wheel.first_entry()?;
        (*first.key() < limit.div_euclid(period)).then(|| first.remove())
    }

    /// Keeps a contribution beyond its sessions; of so many fewer where they are recalled. Those may have been settled on another worker,
    /// so only the sum of all workers is a number of sessions.
    pub(super) fn settle(&mut self, contribution: Contribution, sessions: i64) {
        let product = contribution.first_product as usize;
        if product == 0 {
            return;
        }
        if self.settled.len() <= product {
            self.settled.resize_with(product + 1, Vec::new);
        }
        let settled = &mut self.settled[product];
        let before = settled.len();
        if before == settled.capacity() {
            // Many sessions contribute the same.
            settled.sort_unstable_by_key(|(contribution, _)| *contribution);
            settled.dedup_by(|(later, count), (earlier, sum)| {
                let same = later == earlier;
                *sum += if same { *count } else { 0 };
                same
            });
            settled.retain(|(_, count)| *count != 0);
            settled.reserve_exact(settled.len() / 4 + 2);
        }
        settled.push((contribution, sessions));
        self.settled_total = self.settled_total + settled.len() - before;
    }
}
