//! Who may commit: decisions without I/O.
//!
//! Manifests are numbered without gaps and put only where there is none. Whoever starts *claims* the lake: it puts the next
//! manifest, of the next generation and with the content of the last. From then on whoever was there before finds its next number
//! taken, and learns from the generation that it has been superseded. Numbers become free again when manifests expire: who finds
//! that there are later ones than the one it has just put takes it back. Of two that start at once, one claims; the other starts
//! anew on top of that, and so supersedes it: the last to start goes on.

use super::manifest::Manifest;

/// Another engine has taken the lake over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "another engine has taken over {place} (generation {theirs} after {ours}): this one changes nothing any more and \
     stops; run one engine on a lake, or give each its own lake.url"
)]
pub struct Superseded {
    pub place: String,
    pub ours: u64,
    pub theirs: u64,
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

/// What to claim a lake with: the content of its newest manifest under the next number.
pub fn claim(newest: &Newest, empty: Manifest, run: &str) -> Manifest {
    let last = newest.manifest.clone();
    let generation = last.as_ref().map_or(0, |last| last.generation) + 1 + newest.torn.len() as u64;
    Manifest { number: newest.next, generation, run: run.to_owned(), ..last.unwrap_or(empty) }
}

/// What came of putting a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The one that was there before; none where it was put.
    pub there: Option<Found>,
    /// The largest number there is after that.
    pub newest: u64,
}

/// What follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is the newest manifest: committed, or claimed.
    Done,
    /// Another was there first: who claims looks again, who commits stops. Where `took_place`, ours lies in the place of one that
    /// has expired, and is to be taken away.
    Lost { generation: u64, took_place: bool },
}

/// Decides after putting `mine`. A put whose answer was lost may meet itself.
pub fn decide(mine: &Manifest, outcome: &Outcome) -> Decision {
    let lost = |generation, took_place| Decision::Lost { generation, took_place };
    match &outcome.there {
        Some(Found::Whole(theirs)) if theirs.run != mine.run || theirs.number != mine.number => {
            lost(theirs.generation, false)
        }
        // Whose it is cannot be seen, but not ours: ours was not reported as created.
        Some(Found::Torn(_)) => lost(mine.generation + 1, false),
        _ if outcome.newest > mine.number => lost(mine.generation + 1, true),
        _ => Decision::Done,
    }
}

/// The manifests that are no longer kept when `newest` is the newest: all but the last so many.
pub fn expired(numbers: &[u64], newest: u64, keep: u64) -> Vec<u64> {
    numbers.iter().copied().filter(|number| number + keep.max(1) <= newest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    fn manifest(number: u64, generation: u64, run: &str, epoch: u64) -> Manifest {
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
        assert_eq!(newest.manifest.as_ref().map(|manifest| manifest.epoch), Some(40));
        assert_eq!((newest.next, newest.torn.len()), (6, 1));
        let claimed = claim(&newest, Manifest::empty(&Settings::default()), "b");
        assert_eq!((claimed.number, claimed.epoch), (6, 40));
        assert!(claimed.generation > 2, "the torn one may have been of generation 2");
        assert_eq!(found(&BTreeMap::new()).next, 1);
    }

    #[test]
    fn the_last_are_kept() {
        assert_eq!(expired(&[1, 2, 3, 4, 5], 5, 3), [1, 2]);
        assert!(expired(&[5], 5, 0).is_empty());
    }

    /// One of several engines, step by step.
    #[derive(Clone, Debug)]
    struct Engine {
        held: Option<Manifest>,
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
    fn put(manifests: &mut BTreeMap<u64, Found>, mine: &Manifest, calls: &mut impl Iterator<Item = Call>) -> Decision {
        loop {
            let there = manifests.get(&mine.number).cloned();
            let call = calls.next().unwrap_or(Call::Works);
            if there.is_none() && !matches!(call, Call::FailsBefore) {
                manifests.insert(mine.number, Found::Whole(Box::new(mine.clone())));
            }
            if matches!(call, Call::Works) {
                let newest = *manifests.keys().next_back().expect("there is one");
                let decision = decide(mine, &Outcome { there, newest });
                if let Decision::Lost { took_place: true, .. } = decision {
                    manifests.remove(&mine.number);
                }
                return decision;
            }
        }
    }

    proptest! {
        /// Whatever fails and whoever starts when: the chain of commits has no gap and no fork, each adds to what was there before,
        /// and an engine that was superseded never commits again, though manifests expire.
        #[test]
        fn one_chain(
            steps in prop::collection::vec((0..3_usize, 0..9_u8), 1..80),
            calls in prop::collection::vec(call(), 0..200),
            keep in 1..5_u64,
        ) {
            let mut manifests: BTreeMap<u64, Found> = BTreeMap::new();
            let mut engines: Vec<Engine> = Vec::new();
            let mut calls = calls.into_iter();
            let mut starts = 0;
            for (who, what) in steps {
                if what == 0 || engines.len() <= who {
                    // A start, of a new engine or of one that was killed.
                    starts += 1;
                    let run = format!("run {starts}");
                    let held = loop {
                        let mine = claim(&found(&manifests), Manifest::empty(&Settings::default()), &run);
                        if put(&mut manifests, &mine, &mut calls) == Decision::Done {
                            break mine;
                        }
                    };
                    let engine = Engine { held: Some(held), stopped: false };
                    if engines.len() <= who { engines.push(engine) } else { engines[who] = engine }
                    continue;
                }
                let engine = &mut engines[who];
                let Some(held) = engine.held.clone().filter(|_| !engine.stopped) else { continue };
                let mine = Manifest { number: held.number + 1, epoch: held.epoch + 1, ..held };
                match put(&mut manifests, &mine, &mut calls) {
                    Decision::Done => {
                        let numbers: Vec<u64> = manifests.keys().copied().collect();
                        expired(&numbers, mine.number, keep).iter().for_each(|number| drop(manifests.remove(number)));
                        engine.held = Some(mine);
                    }
                    Decision::Lost { generation, .. } => {
                        prop_assert!(generation > mine.generation, "{engine:?} lost to its own or an older generation");
                        engine.stopped = true;
                    }
                }
            }
            let chain: Vec<&Manifest> = manifests.values().map(|found| match found {
                Found::Whole(manifest) => &**manifest,
                Found::Torn(_) => unreachable!("none is put"),
            }).collect();
            for (before, after) in chain.iter().zip(&chain[1..]) {
                prop_assert_eq!(after.number, before.number + 1);
                if after.run == before.run {
                    prop_assert_eq!((after.generation, after.epoch), (before.generation, before.epoch + 1));
                } else {
                    prop_assert_eq!((after.generation, after.epoch), (before.generation + 1, before.epoch));
                }
            }
        }
    }
}
