//! Who may commit: decisions without I/O.
//!
//! Manifests are numbered without gaps and put only where there is none. Whoever starts *claims* the lake: it puts the next
//! manifest, of the next generation and with the content of the last. From then on whoever was there before finds its next number
//! taken, and learns from the generation that it has been superseded. Numbers become free again when manifests expire: who finds
//! that there are later ones than the one it has just put takes it back. Of two that start at once, one claims; the other starts
//! anew on top of that, and so supersedes it: the last to start goes on.
//!
//! Each follows one that is there. Who finds that the one before is not, and no later one either, has lost the lake itself: it was
//! emptied or removed. It takes its own back and stops. A claim whose engine fails before it has shown anything is taken back, too.

use super::manifest::Manifest;
use crate::numbers::Generation;

/// Another engine has taken the lake over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "another engine has taken over {place} (generation {theirs} after {ours}): this one changes nothing any more and \
     stops; run one engine on a lake, or give each its own lake.url"
)]
pub struct Superseded {
    pub place: String,
    pub ours: Generation,
    pub theirs: Generation,
}

/// What is found under a manifest's number.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    Whole(Box<Manifest>),
    /// Why it cannot be read.
    Torn(String),
}

/// Where a lake stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Newest {
    pub manifest: Option<Manifest>,
    /// The next free number.
    pub next: u64,
    /// Newer ones that cannot be read, and why.
    pub torn: Vec<(u64, String)>,
}

/// The newest whole manifest of those there are, reading from the newest down.
///
/// # Errors
/// What `read` fails with.
pub fn newest<E>(numbers: &[u64], mut read: impl FnMut(u64) -> Result<Found, E>) -> Result<Newest, E> {
    let mut numbers = numbers.to_vec();
    numbers.sort_unstable();
    let next = numbers.last().map_or(1, |last| last + 1);
    let mut torn = Vec::new();
    for &number in numbers.iter().rev() {
        match read(number)? {
            Found::Whole(manifest) => return Ok(Newest { manifest: Some(*manifest), next, torn }),
            Found::Torn(reason) => torn.push((number, reason)),
        }
    }
    Ok(Newest { manifest: None, next, torn })
}

/// What to claim a lake with: the content of its newest manifest under the next number. There are files up to generation `files`:
/// where manifests were removed that is more than any manifest says, and no file may be written over.
pub fn claim(newest: &Newest, empty: Manifest, run: &str, files: Generation) -> Manifest {
    let last = newest.manifest.clone();
    let last_generation = last.as_ref().map_or(Generation::default(), |last| last.generation).max(files);
    // Each that is torn may have been of a start of its own.
    let generation = Generation(last_generation.next().0 + newest.torn.len() as u64);
    Manifest { number: newest.next, generation, run: run.to_owned(), ..last.unwrap_or(empty) }
}

/// What came of putting a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The one that was there before; none where it was put.
    pub there: Option<Found>,
    /// The largest number there is after that.
    pub newest: u64,
    /// Whether the one that it follows is there after that, as it was.
    pub follows: bool,
}

/// What follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is the newest manifest: committed, or claimed.
    Done,
    /// Another was there first: who claims looks again, who commits stops. Where `took_place`, ours lies in the place of one that
    /// has expired, and is to be taken away.
    Lost { generation: Generation, took_place: bool },
    /// What it follows is gone, and nobody has gone on: somebody has removed the lake. Ours is to be taken away.
    Gone,
}

/// Decides after putting `mine`. A put whose answer was lost may meet itself.
pub fn decide(mine: &Manifest, outcome: &Outcome) -> Decision {
    let lost = |generation, took_place| Decision::Lost { generation, took_place };
    match &outcome.there {
        Some(Found::Whole(theirs)) if theirs.run != mine.run || theirs.number != mine.number => {
            lost(theirs.generation, false)
        }
        // Whose it is cannot be seen, but not ours: ours was not reported as created.
        Some(Found::Torn(_)) => lost(mine.generation.next(), false),
        _ if outcome.newest > mine.number => lost(mine.generation.next(), true),
        _ if !outcome.follows => Decision::Gone,
        _ => Decision::Done,
    }
}

/// Whether one that failed may take its claim back: nobody has added to it.
pub fn may_retract(claim: &Manifest, there: Option<&Found>, newest: u64) -> bool {
    let is_ours = |found: &Found| matches!(found, Found::Whole(found) if **found == *claim);
    newest == claim.number && there.is_some_and(is_ours)
}

#[cfg(test)]
mod tests {
    use super::super::free::{There, expired};
    use super::*;
    use crate::numbers::Epoch;
    use crate::settings::Settings;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    fn manifest(number: u64, generation: u64, run: &str, epoch: u64) -> Manifest {
        let (generation, epoch) = (Generation(generation), Epoch(epoch));
        Manifest { number, generation, run: run.to_owned(), epoch, ..Manifest::empty(&Settings::default()) }
    }

    fn found(manifests: &BTreeMap<u64, Found>) -> Newest {
        let numbers: Vec<u64> = manifests.keys().copied().collect();
        newest(&numbers, |number| Ok::<_, Infallible>(manifests[&number].clone())).expect("memory does not fail")
    }

    #[test]
    fn a_torn_newest_manifest_falls_back_to_its_predecessor() {
        let whole = |number, epoch| Found::Whole(Box::new(manifest(number, 1, "a", epoch)));
        let manifests = BTreeMap::from([
            (3, whole(3, 30)),
            (4, whole(4, 40)),
            (5, Found::Torn("half of it is missing".to_owned())),
        ]);
        let newest = found(&manifests);
        assert_eq!(newest.manifest.as_ref().map(|manifest| manifest.epoch), Some(Epoch(40)));
        assert_eq!((newest.next, newest.torn.len()), (6, 1));
        let claimed = claim(&newest, Manifest::empty(&Settings::default()), "b", Generation(0));
        assert_eq!((claimed.number, claimed.epoch), (6, Epoch(40)));
        assert!(claimed.generation > Generation(2), "the torn one may have been of generation 2");
        let beside_files = claim(&newest, Manifest::empty(&Settings::default()), "b", Generation(9));
        assert!(beside_files.generation > Generation(9), "there are files of generation 9");
        assert_eq!(found(&BTreeMap::new()).next, 1);
    }

    /// It goes on as if nothing had happened only where what it has committed is still there.
    #[test]
    fn a_lake_that_is_gone_is_not_taken_for_a_new_one() {
        let mine = manifest(8, 3, "a", 70);
        let outcome = |there, newest, follows| decide(&mine, &Outcome { there, newest, follows });
        assert_eq!(outcome(None, 8, true), Decision::Done);
        assert_eq!(outcome(None, 8, false), Decision::Gone);
        // Whoever went on has let what was there before expire.
        assert_eq!(outcome(None, 9, false), Decision::Lost { generation: Generation(4), took_place: true });
        let ours = Found::Whole(Box::new(mine.clone()));
        assert_eq!(outcome(Some(ours), 8, false), Decision::Gone);
    }

    /// One of several engines, step by step.
    #[derive(Clone, Debug)]
    struct Engine {
        held: Option<Manifest>,
        /// Its claim, until it has committed anything.
        claim: Option<Manifest>,
        stopped: bool,
    }

    /// Happened × reported.
    #[derive(Clone, Copy, Debug)]
    enum Call {
        Works,
        FailsBefore,
        FailsAfter,
    }

    fn call() -> impl Strategy<Value = Call> {
        prop_oneof![3 => Just(Call::Works), 1 => Just(Call::FailsBefore), 1 => Just(Call::FailsAfter)]
    }

    /// A put that is repeated until it is known what came of it.
    fn put(
        manifests: &mut BTreeMap<u64, Found>,
        mine: &Manifest,
        held: Option<&Manifest>,
        calls: &mut impl Iterator<Item = Call>,
    ) -> Decision {
        loop {
            let there = manifests.get(&mine.number).cloned();
            let call = calls.next().unwrap_or(Call::Works);
            if there.is_none() && !matches!(call, Call::FailsBefore) {
                manifests.insert(mine.number, Found::Whole(Box::new(mine.clone())));
            }
            if matches!(call, Call::Works) {
                let newest = *manifests.keys().next_back().expect("there is one");
                let before = manifests.get(&(mine.number - 1));
                let is_held = |held| before == Some(&Found::Whole(Box::new(Manifest::clone(held))));
                let follows = mine.number == 1 || held.map_or(before.is_some(), is_held);
                let decision = decide(mine, &Outcome { there, newest, follows });
                if matches!(decision, Decision::Lost { took_place: true, .. } | Decision::Gone) {
                    manifests.remove(&mine.number);
                }
                return decision;
            }
        }
    }

    proptest! {
        /// Whatever fails and whoever starts when: the chain of commits has no gap and no fork, each adds to what was there before,
        /// and an engine that was superseded never commits again, though manifests expire and claims are taken back. Nor does one
        /// whose lake was emptied.
        #[test]
        fn one_chain(
            steps in prop::collection::vec((0..3_usize, 0..12_u8), 1..80),
            calls in prop::collection::vec(call(), 0..200),
            keep in 1..5_u64,
        ) {
            let mut manifests: BTreeMap<u64, Found> = BTreeMap::new();
            let mut engines: Vec<Engine> = Vec::new();
            let mut calls = calls.into_iter();
            let (mut starts, mut before_emptied) = (0, 0);
            for (who, what) in steps {
                if what == 0 || engines.len() <= who {
                    // A start, of a new engine or of one that was killed.
                    starts += 1;
                    let run = format!("run {starts}");
                    let held = loop {
                        let mine = claim(&found(&manifests), Manifest::empty(&Settings::default()), &run, Generation(0));
                        if put(&mut manifests, &mine, None, &mut calls) == Decision::Done {
                            break mine;
                        }
                    };
                    let engine = Engine { held: Some(held.clone()), claim: Some(held), stopped: false };
                    if engines.len() <= who { engines.push(engine) } else { engines[who] = engine }
                    continue;
                }
                if what == 10 {
                    manifests.clear();
                    before_emptied = starts;
                    continue;
                }
                let engine = &mut engines[who];
                let Some(held) = engine.held.clone().filter(|_| !engine.stopped) else { continue };
                if let Some(claim) = engine.claim.take_if(|_| what == 11) {
                    engine.stopped = true;
                    let newest = manifests.keys().next_back().copied().unwrap_or(0);
                    if may_retract(&claim, manifests.get(&claim.number), newest) {
                        manifests.remove(&claim.number);
                    }
                    continue;
                }
                let mine = Manifest { number: held.number + 1, epoch: held.epoch.next(), ..held.clone() };
                match put(&mut manifests, &mine, Some(&held), &mut calls) {
                    Decision::Done => {
                        let run: usize = mine.run["run ".len()..].parse().expect("a number");
                        prop_assert!(run > before_emptied, "{engine:?} commits to a lake that was emptied");
                        let there: Vec<There> = manifests.keys().map(|&number| There { number, epoch: Epoch::NONE, is_claim: false }).collect();
                        expired(&there, keep).iter().for_each(|number| drop(manifests.remove(number)));
                        (engine.held, engine.claim) = (Some(mine), None);
                    }
                    Decision::Gone => {
                        prop_assert!(before_emptied > 0, "{engine:?} misses what is there");
                        engine.stopped = true;
                    }
                    Decision::Lost { generation, .. } => {
                        prop_assert!(
                            generation > mine.generation || before_emptied > 0,
                            "{engine:?} lost to its own or an older generation"
                        );
                        engine.stopped = true;
                    }
                }
            }
            let chain: Vec<&Manifest> = manifests.values().map(|found| match found {
                Found::Whole(manifest) => &**manifest,
                Found::Torn(_) => unreachable!("none is put"),
            }).collect();
            for (before, after) in chain.iter().zip(chain.iter().skip(1)) {
                prop_assert_eq!(after.number, before.number + 1);
                if after.run == before.run {
                    prop_assert_eq!((after.generation, after.epoch), (before.generation, before.epoch.next()));
                } else {
                    prop_assert_eq!((after.generation, after.epoch), (before.generation.next(), before.epoch));
                }
            }
        }
    }
}
