//! What one session costs, by how many events it has.

use super::*;
use crate::context::Partitions;
use crate::oracle::example::{at, context, view};
use cpu_time::ThreadTime;
use millrace_schema::{NameCache, Names, OwnedRecord, Place};
use std::sync::Arc;
use std::time::Duration;

fn activities(shared: &Shared, events: usize) -> Vec<Activity> {
    let mut names = NameCache::new(shared.names.clone());
    let of_number = |number: usize| {
        let product = format!("p{}", number % 300);
        let time = at("1T00:00") + number as i64 * 1_000_000;
        let record = OwnedRecord { event_id: format!("e{number}"), time, ..view("1T00:00", &product) };
        let event = record.as_record().to_event(Place::new(0, number as u64), &mut names).expect("no collision");
        Activity::of(&event, event.session).expect("it is of a session")
    };
    (0..events).map(of_number).collect()
}

/// The fastest of three runs, each event in an epoch of its own.
fn takes(newest_first: bool, events: usize) -> Duration {
    let shared = Shared::new(Arc::new(context()), Arc::new(Names::default()), Arc::new(Partitions::default()));
    let mut activities = activities(&shared, events);
    if newest_first {
        activities.reverse();
    }
    let run = |_| {
        let uses = Uses { visits: true, together: true, presence: true, accounts: true, ..Uses::NOTHING };
        let mut sessions = Sessions::new(shared.clone(), shared.names.clone().into(), uses, 1);
        let began = ThreadTime::now();
        for (epoch, activity) in (0..).zip(&activities) {
            sessions.epoch(&[vec![*activity]]);
            sessions.out.visits.drain(epoch).for_each(drop);
            sessions.out.presence.clear();
            sessions.out.pairs.drain().for_each(drop);
        }
        began.elapsed()
    };
    (0..3).map(run).min().expect("there are three")
}

/// Four times as many events take about four times as long, and sixteen times where each is a look at all others.
#[test]
fn an_event_costs_the_same_in_a_longer_session() {
    for newest_first in [false, true] {
        let (few, many) = (takes(newest_first, 1_500), takes(newest_first, 6_000));
        assert!(many < few * 8, "newest first: {newest_first}: {few:?} for 1,500, {many:?} for 6,000");
    }
}
