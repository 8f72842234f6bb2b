//! Many that want to be the first.

use super::support::*;
use millrace_connectors::store::{Put, Store};
use std::sync::{Arc, Barrier};
use std::thread;

const RACERS: usize = 16;

/// Of those that write one key at a time, one creates it, and its bytes are there.
pub fn check(store: &Arc<dyn Store>, rounds: usize) {
    for round in 0..rounds {
        // In every other round all have the same bytes: no answer is lost here, so bytes decide nothing.
        let text = |racer: usize| if round % 2 == 0 { format!("of {racer}") } else { "of anyone".to_owned() };
        let key = format!("race/{round:03}/manifest");
        let start = Barrier::new(RACERS);
        let results: Vec<Put> = thread::scope(|scope| {
            let race = |racer| {
                let (key, start) = (&key, &start);
                scope.spawn(move || {
                    start.wait();
                    put_new(&**store, key, &text(racer)).unwrap()
                })
            };
            let racers: Vec<_> = (0..RACERS).map(race).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let winners: Vec<usize> = (0..RACERS).filter(|racer| results[*racer] == Put::Created).collect();
        assert_eq!(winners.len(), 1, "{results:?}");
        assert_eq!(get(&**store, &key), text(winners[0]));
    }
}

#[test]
fn one_of_sixteen_creates_a_local_object() {
    let (_folder, store) = local();
    check(&store, 20);
}

#[test]
fn folders_that_come_and_go_disturb_nobody() {
    let (_folder, store) = local();
    thread::scope(|scope| {
        for racer in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..50 {
                    // Each removes the folder under the others.
                    let key = format!("deep/er/{racer}-{round}");
                    put(&**store, &key, "x");
                    store.list("deep/").unwrap();
                    store.delete(&[key]).unwrap();
                }
            });
        }
    });
    assert!(keys(&*store, "").is_empty());
}
