//! A commit protocol's view of a store whose answers are lost.

use super::support::*;
use millrace_connectors::store::{Failures, Fate, Operation, Outcome, Put, Retry, Retrying, Store, Unreliable};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn unreliable(failures: Failures) -> (tempfile::TempDir, Arc<dyn Store>, Arc<Unreliable>) {
    let (folder, inner) = local();
    let store = Arc::new(Unreliable::new(inner.clone(), failures));
    (folder, inner, store)
}

fn soon() -> Retry {
    Retry {
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(5),
        deadline: Duration::from_secs(20),
    }
}

#[test]
fn a_script_decides_single_calls() {
    let (_folder, inner, store) = unreliable(Failures::default());
    store.script(Operation::PutIfAbsent, 3, Fate::FailsAfter);
    store.script(Operation::PutIfAbsent, 4, Fate::FailsBefore);
    store.script(Operation::Finish, 1, Fate::FailsBefore);
    store.script(Operation::Finish, 2, Fate::FailsAfter);
    store.script(Operation::Get, 1, Fate::FailsAfter);
    for number in 1..=5 {
        let result = put_new(&*store, &format!("m/{number}"), "x");
        match number {
            3 | 4 => assert_eq!(result.unwrap_err().outcome(), Outcome::Indefinite),
            _ => assert_eq!(result.unwrap(), Put::Created),
        }
    }
    assert_eq!(keys(&*inner, ""), ["m/1", "m/2", "m/3", "m/5"]);
    for key in ["u/1", "u/2"] {
        assert_eq!(upload(&*store, key, &[b"x"]).finish().unwrap_err().outcome(), Outcome::Indefinite);
    }
    assert_eq!(keys(&*inner, "u"), ["u/2"]);
    assert_eq!(store.get("m/1").unwrap_err().outcome(), Outcome::Passing);
    assert_eq!(get(&*store, "m/1"), "x");
    assert_eq!((store.calls(Operation::PutIfAbsent), store.calls(Operation::Get)), (5, 2));
}

#[test]
fn a_lost_answer_of_a_winner_is_settled_by_what_is_there() {
    let (_folder, inner, store) = unreliable(Failures::default());
    store.script(Operation::PutIfAbsent, 1, Fate::FailsAfter);
    let retrying = Retrying::new(store.clone(), soon());
    assert_eq!(put_new(&retrying, "m", "ours").unwrap(), Put::Created);
    assert_eq!(get(&*inner, "m"), "ours");

    // Of a loser: the answer is lost, and another was first.
    put(&*inner, "n", "theirs");
    store.script(Operation::PutIfAbsent, 3, Fate::FailsAfter);
    assert_eq!(put_new(&retrying, "n", "ours").unwrap(), Put::Exists);
    assert_eq!(get(&*inner, "n"), "theirs");

    // It was not done, and is done by the next try.
    store.script(Operation::PutIfAbsent, 5, Fate::FailsBefore);
    assert_eq!(put_new(&retrying, "o", "ours").unwrap(), Put::Created);
    assert_eq!(store.calls(Operation::PutIfAbsent), 6);
}

#[test]
fn what_is_never_answered_is_read_and_otherwise_said_to_be_open() {
    let never = Retry { deadline: Duration::ZERO, ..soon() };
    for (fate, is_done) in [(Fate::FailsAfter, true), (Fate::FailsBefore, false)] {
        let (_folder, _, store) = unreliable(Failures::default());
        store.script(Operation::PutIfAbsent, 1, fate);
        let result = put_new(&Retrying::new(store, never), "m", "ours");
        match is_done {
            true => assert_eq!(result.unwrap(), Put::Created),
            false => assert_eq!(result.unwrap_err().outcome(), Outcome::Indefinite),
        }
    }
}

#[test]
fn whatever_fails_one_writer_of_a_number_wins_and_knows_it() {
    for seed in 0..20 {
        let failures = Failures { before: 150, after: 250, slow: 50, delay: Duration::from_millis(1), seed };
        let (_folder, inner, store) = unreliable(failures);
        let store: Arc<dyn Store> = Arc::new(Retrying::new(store, soon()));
        std::thread::scope(|scope| {
            let write = |writer: u32| {
                let store = &store;
                let mine = move |number| format!("{number} of {writer}");
                scope.spawn(move || {
                    (0..5)
                        .map(|number| (mine(number), put_new(&**store, &format!("m/{number}"), &mine(number)).unwrap()))
                        .collect::<Vec<_>>()
                })
            };
            let writers: Vec<_> = (0..4).map(write).collect();
            let results: Vec<(String, Put)> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
            let mut won: Vec<&String> =
                results.iter().filter(|(_, put)| *put == Put::Created).map(|(text, _)| text).collect();
            won.sort();
            let there: Vec<String> = (0..5).map(|number| get(&*inner, &format!("m/{number}"))).collect();
            assert_eq!(won, there.iter().collect::<Vec<_>>(), "seed {seed}");
        });
    }
}

#[test]
fn slow_ones_are_slow() {
    let delay = Duration::from_millis(60);
    let (_folder, _, store) = unreliable(Failures { slow: 1_000, delay, ..Failures::default() });
    let started = Instant::now();
    put(&*store, "a", "x");
    assert!(started.elapsed() >= delay);
}
