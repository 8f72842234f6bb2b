use super::*;
use proptest::prelude::*;

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 1_440 * MINUTE;
/// 2026-03-01 and 2150-01-01.
const MARCH: i64 = 1_772_323_200_000_000;
const FAR: i64 = 5_680_281_600_000_000;

fn unvouched(times: &[i64]) -> EventTimes {
    EventTimes { vouched: None, unvouched: times.to_vec() }
}

/// What a partition comes to, heard in parts, and whether it ever believed a time that is not in `right`.
fn in_order(times: &[i64], part: usize) -> Option<i64> {
    let mut partition = InOrder::default();
    for times in times.chunks(part) {
        partition.take(&unvouched(times), DAY, i64::MAX);
    }
    if partition.waits_for_more() {
        partition.ask_few(DAY, i64::MAX);
    }
    partition.latest()
}

fn altogether(times: &[i64]) -> Option<i64> {
    let mut all = Altogether::default();
    times.chunks(77).for_each(|times| all.take(&unvouched(times), DAY));
    all.latest(DAY)
}

/// 4,000 events, a minute apart.
fn backlog() -> Vec<i64> {
    (0..4_000).map(|minute| MARCH + minute * MINUTE).collect()
}

/// The backlog with wrong times at these places.
fn with_wrong(places: impl IntoIterator<Item = usize>, wrong: impl Fn(usize) -> i64) -> Vec<i64> {
    let mut times = backlog();
    places
        .into_iter()
        .zip(0..)
        .for_each(|(place, number)| times.insert((place + number).min(times.len()), wrong(place)));
    times
}

fn check(times: &[i64], last: i64, context: &str) {
    for part in [7, 5_000] {
        assert_eq!(in_order(times, part), Some(last), "{context}, in parts of {part}");
    }
    assert_eq!(altogether(times), Some(last), "{context}, altogether");
}

#[test]
fn wrong_clocks_move_nothing_wherever_they_are() {
    let last = backlog()[3_999];
    check(&backlog(), last, "all are right");
    for wrong in [FAR, MARCH + 40 * DAY, MARCH - 400 * DAY, 0] {
        for place in [0, 1, 500, 2_000, 3_998, 4_000] {
            check(&with_wrong([place], |_| wrong), last, &format!("{wrong} at {place}"));
            // One after the other.
            check(&with_wrong([place; 10], |_| wrong), last, &format!("ten of {wrong} at {place}"));
        }
        check(&with_wrong((0..10).map(|part| part * 400), |_| wrong), last, &format!("ten of {wrong} here and there"));
    }
    for first in [0, 1] {
        // Every other one: as many as right ones, and one more or less.
        check(&with_wrong((first..4_000).step_by(1), |_| FAR), last, "half of them");
        check(&with_wrong(first..4_000, |place| FAR + place as i64 * MINUTE), last, "half of them, each another");
    }
}

/// Clocks that are wrong by anything up to a month, one in five, move it by less than what a horizon has room for.
#[test]
fn many_different_wrong_clocks_do_not_add_up() {
    let wrong = |place: usize| MARCH + place as i64 * MINUTE + (place as i64 * 7_919 % 43_200) * MINUTE;
    let times = with_wrong((0..4_000).step_by(4), wrong);
    let latest = in_order(&times, 100).expect("there are events");
    assert!(latest <= backlog()[3_999] + 2 * DAY, "{} days ahead", (latest - backlog()[3_999]) / DAY);
}

#[test]
fn a_shop_that_was_closed_goes_on() {
    let mut times = backlog();
    let reopened = times[3_999] + 3 * DAY;
    times.extend((0..300).map(|minute| reopened + minute * MINUTE));
    check(&times, reopened + 299 * MINUTE, "all are right");
    // With one wrong clock in ten.
    let mut some_wrong = times.clone();
    (0..430).for_each(|ten| some_wrong.insert(ten * 11, FAR));
    assert_eq!(in_order(&some_wrong, 100), Some(reopened + 299 * MINUTE));
    // So does one that was closed while the engine was, but not for one event.
    let mut partition = InOrder::resumed(Some(MARCH));
    partition.take(&unvouched(&[MARCH + 3 * DAY]), DAY, i64::MAX);
    assert_eq!(partition.latest(), Some(MARCH));
    for minute in 1..40 {
        partition.take(&unvouched(&[MARCH + 3 * DAY + minute * MINUTE]), DAY, i64::MAX);
    }
    assert_eq!(partition.latest(), Some(MARCH + 3 * DAY + 39 * MINUTE));
}

#[test]
fn few_events_far_apart_are_all_there_is() {
    let days = |days: &[i64]| days.iter().map(|day| MARCH + day * DAY).collect::<Vec<_>>();
    for right in [&[0][..], &[0, 2], &[0, 2, 6], &[0, 20, 21, 60]] {
        let times = days(right);
        assert_eq!(in_order(&times, 2), times.last().copied(), "{right:?}");
        assert_eq!(altogether(&times), times.last().copied(), "{right:?}");
    }
    // Every third day for a year, and a history of busy weeks with a closed weekend after each.
    let sparse = days(&(0..120).map(|day| day * 3).collect::<Vec<_>>());
    assert_eq!(altogether(&sparse), sparse.last().copied());
    let weeks: Vec<i64> =
        (0..50).flat_map(|week| (0..200).map(move |at| MARCH + week * 7 * DAY + at * 36 * MINUTE)).collect();
    assert_eq!(altogether(&weeks), weeks.last().copied());
    assert_eq!(in_order(&weeks, 100), weeks.last().copied());
}

#[test]
fn what_is_vouched_for_is_believed_and_nothing_beyond_the_clock() {
    let mut partition = InOrder::default();
    partition.take(&EventTimes { vouched: Some(MARCH), unvouched: vec![FAR, MARCH + DAY] }, DAY, i64::MAX);
    assert_eq!(partition.latest(), Some(MARCH + DAY));
    partition.take(&EventTimes { vouched: Some(MARCH + 90 * DAY), unvouched: vec![] }, DAY, MARCH + 50 * DAY);
    assert_eq!(partition.latest(), Some(MARCH + 50 * DAY));
    let mut all = Altogether::default();
    all.take(&EventTimes { vouched: Some(MARCH + 90 * DAY), unvouched: backlog() }, DAY);
    assert_eq!(all.latest(DAY), Some(MARCH + 90 * DAY));
}

fn times() -> impl Strategy<Value = Vec<i64>> {
    let time = prop_oneof![8 => 0..3 * DAY, 2 => 0..40 * DAY, 1 => Just(FAR - MARCH)];
    prop::collection::vec(time, 1..600).prop_map(|mut times| {
        // In order but for some.
        let count = times.len();
        times[..count * 3 / 4].sort();
        times.into_iter().map(|time| MARCH + time).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// How a partition is cut into chunks decides nothing.
    #[test]
    fn cuts_decide_nothing(times in times(), part in 1..300_usize) {
        prop_assert_eq!(in_order(&times, part), in_order(&times, times.len()));
    }

    /// Nor does any order decide a history.
    #[test]
    fn no_order_decides_a_history(times in times(), turn in 0..600_usize) {
        let mut turned = times.clone();
        turned.rotate_left(turn % times.len());
        prop_assert_eq!(altogether(&turned), altogether(&times));
    }

    /// What is believed is the time of an event, and none that is right in order is passed over.
    #[test]
    fn what_is_in_order_is_believed(gaps in prop::collection::vec(0..DAY, 1..400)) {
        let times: Vec<i64> = gaps.iter().scan(MARCH, |at, gap| { *at += gap; Some(*at) }).collect();
        prop_assert_eq!(altogether(&times), times.last().copied());
        prop_assert!(times.contains(&in_order(&times, 50).expect("there are events")));
    }
}
