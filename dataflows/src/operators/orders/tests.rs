//! What one order costs, by how many lines it has.

use super::*;
use crate::context::Partitions;
use crate::oracle::example::{at, context, purchase};
use cpu_time::ThreadTime;
use millrace_schema::{NameCache, Names, OwnedRecord, Place};
use std::sync::Arc;
use std::time::Duration;

/// The fastest of three runs, each line in an epoch of its own. Every seventh line is a return.
fn takes(newest_first: bool, lines: usize) -> Duration {
    let shared = Shared::new(Arc::new(context()), Arc::new(Names::default()), Arc::new(Partitions::default()));
    let mut names = NameCache::new(shared.names.clone());
    let mut event = |number: usize| {
        let quantity = if number.is_multiple_of(7) { -1 } else { 1 };
        let line = purchase("1T00:00", "o", &format!("p{}", number % 300), quantity, 500 * i64::from(quantity));
        let time = at("1T00:00") + number as i64 * 60_000_000;
        let record = OwnedRecord { event_id: format!("e{number}"), time, ..line };
        record.as_record().to_event(Place::new(0, number as u64), &mut names).expect("no collision")
    };
    let mut events: Vec<Event> = (0..lines).map(&mut event).collect();
    if newest_first {
        events.reverse();
    }
    let run = |_| {
        let uses = Uses { cells: true, lines: true, orders: true, together: true, accounts: true, ..Uses::NOTHING };
        let mut orders = Orders::new(shared.clone(), shared.names.clone().into(), uses, 1);
        let began = ThreadTime::now();
        for (epoch, event) in (0..).zip(&events) {
            orders.epoch(Vec::new(), vec![vec![*event]]);
            orders.out.cells.drain(epoch).for_each(drop);
            orders.out.lines.clear();
            orders.out.orders.drain(epoch).for_each(drop);
            orders.out.pairs.drain().for_each(drop);
            orders.out.accounts.drain(epoch).for_each(drop);
        }
        began.elapsed()
    };
    (0..3).map(run).min().expect("there are three")
}

/// Four times as many lines take about four times as long, and sixteen times where each is a look at all others.
#[test]
fn a_line_costs_the_same_in_a_larger_order() {
    for newest_first in [false, true] {
        let (few, many) = (takes(newest_first, 500), takes(newest_first, 2_000));
        assert!(many < few * 8, "newest first: {newest_first}: {few:?} for 500, {many:?} for 2,000");
    }
}
