//! The clock of all workers, turned by hand.

use super::super::read_queue::RECALLED_AT_ONCE;
use super::*;
use crate::clock::SetClock;
use millrace_connectors::source::MessageChunk;
use millrace_dataflows::durable::{Kept, Needed};
use millrace_schema::{Body, Event};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

const PACE: Pace = Pace { tick_ms: 10, behind_tick_ms: 10, idle_tick_ms: 10, epoch_records: 100, epochs_in_flight: 2 };

/// Of one partition.
fn feed(clock: &Arc<SetClock>, workers: usize, ahead_ms: Option<u64>) -> Feed {
    feed_after(clock, workers, ahead_ms, None, Arc::default())
}

/// One that goes on after an epoch of an earlier run.
fn feed_after(
    clock: &Arc<SetClock>,
    workers: usize,
    ahead_ms: Option<u64>,
    last_epoch: Option<u64>,
    source: Arc<SourceStatus>,
) -> Feed {
    let rules = Rules {
        pace: PACE,
        numbering: Numbering::Clock,
        checkpoint_ms: Some(0),
        only_the_end_counts: false,
        reads_pending: false,
        read_at_ms: None,
        ahead_ms,
    };
    source.with(|source| source.partitions.resize_with(1, Default::default));
    let reads_again = last_epoch.is_some();
    Feed::new(
        rules,
        clock.clone(),
        source,
        Watermarks::new(0, 0, 86_400_000_000),
        workers,
        Epoch(last_epoch.unwrap_or(0)),
        reads_again,
    )
}

fn vouched(time: i64) -> EventTimes {
    EventTimes { vouched: Some(time), unvouched: Vec::new() }
}

/// Epochs are counted on, and marked, until all has been read that was there at the start.
#[test]
fn what_is_read_again_is_marked() {
    let clock = Arc::new(SetClock(AtomicU64::new(1_000)));
    let source = Arc::new(SourceStatus::default());
    let feed = feed_after(&clock, 1, None, Some(500), source.clone());
    let mut closed = Vec::new();
    for next in [4, 9, 10, 12] {
        source.with(|source| (source.partitions[0].next, source.partitions[0].end) = (next, Some(next.max(10))));
        feed.push(None, &[(0, Offset(next))]);
        clock.0.fetch_add(20, Ordering::Relaxed);
        feed.tick();
        feed.close(0, Epoch(u64::MAX - 1));
        closed.extend(std::iter::from_fn(|| feed.take_closed(Epoch(u64::MAX - 1))));
    }
    let marks: Vec<_> = closed.iter().map(|closed| (closed.epoch.0, closed.at_ms, closed.again)).collect();
    let expected = [(501, 1_000, true), (502, 1_020, true), (503, 1_040, true), (1_060, 1_060, false)];
    assert_eq!(marks, expected, "what epochs are called is no time while they are counted");
    let all_of_before: Vec<_> = closed.iter().map(|closed| closed.positions[&0].0).collect();
    assert_eq!(all_of_before, [4, 9, 10, 12]);
}

/// By the clock, and not by what epochs are called: while what was read before is read again, they are counted.
#[test]
fn all_workers_end_reports_with_the_same_epochs() {
    let clock = Arc::new(SetClock(AtomicU64::new(1_000)));
    let source = Arc::new(SourceStatus::default());
    source.with(|source| source.partitions.resize_with(1, Default::default));
    source.with(|source| source.partitions[0].end = Some(10));
    let feed = feed_after(&clock, 2, None, Some(500), source);
    let mut told = [Vec::new(), Vec::new()];
    for (ms, (slow, open)) in
        [(1_900, (501, 501)), (2_100, (501, 502)), (3_900, (501, 503)), (6_000, (503, 503)), (6_100, (504, 504))]
    {
        clock.0.store(ms, Ordering::Relaxed);
        feed.tick();
        for (worker, open) in [slow, open].into_iter().enumerate() {
            told[worker].extend(feed.close(worker, Epoch(open)).report_ends);
        }
    }
    feed.finish();
    (0..2).for_each(|worker| told[worker].extend(feed.close(worker, Epoch::END).report_ends));
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], [Epoch(502), Epoch(503)]);
}

#[test]
fn an_event_of_a_wrong_clock_is_no_later_than_the_clock() {
    let clock = Arc::new(SetClock(AtomicU64::new(1_000)));
    let feed = feed(&clock, 1, Some(500));
    feed.push(None, &[(0, Offset(1))]);
    feed.heard(Epoch(1_000), (0, Offset(0)), vouched(i64::MAX));
    clock.0.store(1_020, Ordering::Relaxed);
    feed.tick();
    feed.close(0, Epoch(1_001));
    let closed = feed.take_closed(Epoch(1_001)).expect("it has closed");
    assert_eq!(closed.watermark, 1_520_000);
}

/// Those in flight are read under what was known when they began: less than is known when an epoch closes.
#[test]
fn no_epoch_is_read_under_less_than_one_before_it() {
    let clock = Arc::new(SetClock(AtomicU64::new(1_000)));
    let feed = feed(&clock, 1, None);
    let mut told = Vec::new();
    let mut closed = Vec::new();
    for step in 1..=6 {
        clock.0.fetch_add(20, Ordering::Relaxed);
        let (stamp, Work::Nothing) = feed.next() else { panic!("there is no chunk") };
        told.push(stamp);
        feed.push(None, &[(0, Offset(step))]);
        feed.heard(stamp.epoch, (0, Offset(step)), vouched(step as i64 * 1_000_000));
        // Two are in flight.
        if let [.., in_flight, _] = told[..] {
            feed.close(0, in_flight.epoch);
            closed.extend(feed.take_closed(in_flight.epoch));
        }
    }
    feed.finish();
    let (last, Work::Done) = feed.next() else { panic!("there is no chunk") };
    told.push(last);
    feed.close(0, Epoch::END);
    closed.extend(std::iter::from_fn(|| feed.take_closed(Epoch::END)));
    for one in &closed {
        let stamp = told.iter().find(|stamp| stamp.epoch == one.epoch).expect("workers were told of it");
        assert_eq!(one.read_under, stamp.watermark);
        assert!(told.iter().filter(|later| later.epoch > one.epoch).all(|later| later.watermark >= one.read_under));
    }
    let is_ahead = |one: &Closed| told.iter().any(|later| later.epoch > one.epoch && later.watermark < one.watermark);
    assert!(
        closed.iter().filter(|one| one.checkpoint.is_some()).any(is_ahead),
        "nothing was in flight: {closed:?} {told:?}"
    );
}

#[test]
fn what_was_pending_is_merged_in_one_epoch_and_nothing_is_forgotten_until_it_is_in() {
    let clock = Arc::new(SetClock(AtomicU64::new(1_000)));
    let feed = feed(&clock, 1, None);
    let tick = || {
        clock.0.fetch_add(20, Ordering::Relaxed);
        feed.tick();
    };
    let late = || {
        let mut chunk = MessageChunk::new(0, None, usize::MAX);
        chunk.push(7, None, b"{}");
        let chunks = chunk.finish().into_iter().collect();
        Late { recalled: Vec::new(), chunks, names: Vec::new(), files: vec!["pending/a".to_owned()] }
    };
    assert!(feed.ask_to_merge() && !feed.ask_to_merge(), "once is enough");
    // Things are forgotten as long as there is much to be looked up.
    tick();
    feed.found(LookedUp::Much);
    assert!(feed.next().0.forgets && feed.merging() == Merging::Asked);
    feed.found(LookedUp::Most);
    assert_eq!(feed.merging(), Merging::Held(Epoch(1_020)));
    tick();
    feed.close(0, Epoch(1_040));
    feed.found(LookedUp::All(Some(late())));
    let (stamp, Work::Late(_)) = feed.next() else { panic!("there is a chunk") };
    assert!(!stamp.forgets);
    let (same, Work::Nothing) = feed.next() else { panic!("there is no more") };
    assert_eq!(same, stamp);
    tick();
    feed.close(0, Epoch(u64::MAX - 1));
    let closed: Vec<Closed> = std::iter::from_fn(|| feed.take_closed(Epoch(u64::MAX - 1))).collect();
    let merged: Vec<_> = closed.iter().filter(|closed| !closed.merged.is_empty()).collect();
    assert_eq!(merged.len(), 1);
    assert_eq!((merged[0].epoch, &*merged[0].merged), (stamp.epoch, &["pending/a".to_owned()][..]));
    // Nothing has been read, and yet checkpoints follow each other until it is in.
    assert!(merged[0].checkpoint.is_some());
    feed.release();
    tick();
    let (stamp, Work::Nothing) = feed.next() else { panic!("there is no chunk") };
    assert!(stamp.forgets && feed.merging() == Merging::No);
    // Where workers have been told which epoch is the last, nothing is merged any more.
    assert!(feed.ask_to_merge());
    feed.finish();
    feed.found(LookedUp::All(Some(late())));
    assert!(matches!(feed.next(), (_, Work::Done)) && feed.merging() == Merging::No && !feed.ask_to_merge());
}

/// A part that had room for all that come after it would take as much memory as all of them together, and all parts the square of that.
#[test]
fn a_part_of_what_is_recalled_has_room_for_itself_alone() {
    let event = Event::empty(Body::CheckoutStarted);
    let kept = Kept { event, needed: Needed::NOTHING };
    let parts = in_parts(vec![kept; 3 * RECALLED_AT_ONCE + 1]);
    assert_eq!(
        parts.iter().map(Vec::len).collect::<Vec<_>>(),
        [RECALLED_AT_ONCE, RECALLED_AT_ONCE, RECALLED_AT_ONCE, 1]
    );
    assert!(parts.iter().all(|part| part.capacity() <= RECALLED_AT_ONCE.max(4)), "{parts:?}");
}

#[test]
fn the_epoch_that_workers_are_told_is_the_last_stays_the_last() {
    let clock = Arc::new(SetClock(AtomicU64::new(1_000)));
    let feed = feed(&clock, 2, None);
    clock.0.store(1_020, Ordering::Relaxed);
    feed.push(None, &[(0, Offset(7))]);
    assert_eq!(feed.epochs(), (Epoch(1_020), 1));
    feed.finish();
    let (told, Work::Done) = feed.next() else { panic!("there is no chunk") };
    // Much later, the epochs before it close.
    clock.0.store(2_000, Ordering::Relaxed);
    feed.close(0, told.epoch);
    feed.tick();
    feed.close(1, told.epoch);
    let (told_later, Work::Done) = feed.next() else { panic!("there is no chunk") };
    assert_eq!(told_later, told);
    feed.close(0, Epoch::END);
    feed.close(1, Epoch::END);
    let closed: Vec<Closed> = std::iter::from_fn(|| feed.take_closed(Epoch::END)).collect();
    let ends: Vec<(Epoch, bool)> = closed.iter().map(|closed| (closed.epoch, closed.checkpoint.is_some())).collect();
    assert_eq!(ends, [(Epoch(1_000), true), (told.epoch, true)]);
    assert_eq!(closed[0].positions, BTreeMap::from([(0, Offset(7))]));
}

/// What other processes say counts as what is read here: positions, records, and how far everything is.
#[test]
fn other_processes_read_for_the_same_epochs() {
    let clock = Arc::new(SetClock(AtomicU64::new(1_000)));
    let source = Arc::new(SourceStatus::default());
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    let feed = feed_after(&clock, 2, None, None, source.clone()).of_cluster(2, move |told: &Told| {
        heard.lock().expect("nobody panics").push(match told {
            Told::Open { stamp, .. } => format!("open {}", stamp.epoch),
            Told::Stop => "stop".to_owned(),
            Told::Done { stamp } => format!("done {}", stamp.epoch),
            other => format!("{other:?}"),
        });
    });
    source.with(|state| state.partitions.resize_with(2, Default::default));
    let first = feed.stamp().epoch;
    let moved = |next| Moved {
        partition: 1,
        is_read: true,
        has_records: true,
        next,
        end: Some(30),
        lost: millrace_connectors::source::Lost::default(),
        mark: None,
        fault: None,
    };
    feed.read_elsewhere(first, 20, &[moved(20)]);
    assert_eq!(source.get().partitions[1].next, 20);
    clock.0.store(1_010, Ordering::Relaxed);
    feed.tick();
    let second = feed.stamp().epoch;
    assert!(first < second, "records elsewhere end an epoch, too");
    // What is on its way while the next epoch is open already.
    feed.read_elsewhere(first, 5, &[moved(25)]);
    feed.read_elsewhere(second, 5, &[moved(30)]);
    feed.close(0, second);
    assert_eq!(feed.take_closed(second), None, "the worker of the other process has not closed it");
    feed.close(1, second);
    let closed = feed.take_closed(second).expect("all have closed it");
    assert_eq!((closed.epoch, closed.positions), (first, BTreeMap::from([(1, Offset(25))])));
    assert_eq!(feed.records_read(), 30);
    feed.finish();
    assert!(!matches!(feed.next().1, Work::Done), "the other reads on");
    feed.finish_of(1);
    assert!(matches!(feed.next().1, Work::Done));
    let told = told.lock().expect("nobody panics");
    assert_eq!(told[..2], [format!("open {second}"), "stop".to_owned()]);
    assert_eq!(told.last(), Some(&format!("done {}", feed.stamp().epoch)));
}

/// A position that comes after its epoch has closed could be in no checkpoint.
#[test]
#[should_panic(expected = "positions are entered before their epoch closes")]
fn what_was_read_of_an_epoch_is_said_before_it_closes() {
    let clock = Arc::new(SetClock(AtomicU64::new(1_000)));
    let feed = feed(&clock, 1, None).of_cluster(2, |_: &Told| {});
    let first = feed.stamp().epoch;
    clock.0.store(1_010, Ordering::Relaxed);
    feed.tick();
    feed.close(0, feed.stamp().epoch);
    feed.read_elsewhere(first, 0, &[]);
}
