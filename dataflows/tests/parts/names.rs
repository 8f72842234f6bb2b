//! Names on their way: who needs texts waits for them, and does without none.

use crate::support::context;
use millrace_dataflows::context::Shared;
use millrace_dataflows::operators::dictionary::dictionary;
use millrace_dataflows::operators::pairs::{PairChange, PairChanges, RelatedKind, pairs};
use millrace_schema::{Name, Named};
use std::sync::Arc;
use timely::dataflow::operators::{Input, Probe};
use timely::dataflow::{InputHandleVec, ProbeHandle};
use timely::worker::Worker;

/// A pair of products is counted at epoch 0, which is over on that input.
fn counted(worker: &mut Worker) -> (InputHandleVec<u64, Named>, ProbeHandle<u64>) {
    let shared = Shared::new(Arc::new(context()), Arc::default(), Arc::default());
    let probe = ProbeHandle::new();
    let (names, mut changes) = worker.dataflow::<u64, _, _>(|scope| {
        let (names_input, names) = scope.new_input();
        let (changes_input, changes) = scope.new_input::<Vec<PairChange>>();
        let dictionary = dictionary(names, &shared);
        pairs(changes, None, &dictionary, &shared).probe_with(&probe);
        (names_input, changes_input)
    });
    let mut pair = PairChanges::new(1);
    pair.pair(RelatedKind::ViewedTogether, Name::of("tea"), Name::of("mug"), 1);
    pair.drain().for_each(|change| changes.send(change));
    changes.advance_to(1);
    steps(worker);
    (names, probe)
}

fn steps(worker: &mut Worker) {
    for _ in 0..20 {
        worker.step();
    }
}

#[test]
fn an_epoch_is_handled_once_its_names_are_told() {
    timely::execute_directly(|worker| {
        let (mut names, probe) = counted(worker);
        assert!(probe.less_than(&1), "its names may still come");
        for text in ["tea", "mug"] {
            names.send(Named { name: Name::of(text), text: text.into() });
        }
        steps(worker);
        assert!(probe.less_than(&1), "others may");
        names.advance_to(1);
        steps(worker);
        assert!(!probe.less_than(&1));
    });
}

#[test]
#[should_panic(expected = "a name is told")]
fn a_name_that_nobody_has_told_is_a_failed_assertion() {
    timely::execute_directly(|worker| {
        let (mut names, _) = counted(worker);
        names.send(Named { name: Name::of("tea"), text: "tea".into() });
        names.advance_to(1);
        steps(worker);
    });
}
