//! Which manifests and files may be removed: decisions without I/O.
//!
//! A file goes when a manifest that has expired names it and none that is kept does, or when an engine that is gone has left it
//! before any manifest named it. That such a file was never named is only known where no manifest is missing: the *trail* says
//! which there have to be. Where one is missing, somebody has removed it, and what it named is spared for good.

use super::manifest::Manifest;
use crate::numbers::{Epoch, Generation};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A manifest that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct There {
    pub number: u64,
    pub epoch: Epoch,
    /// It adds nothing to the one before.
    pub is_claim: bool,
}

/// Whether a manifest repeats the one before, to take the lake over, or has nothing in it.
pub fn is_claim(manifest: &Manifest, before: Option<&Manifest>) -> bool {
    let repeats = |before: &Manifest| {
        before.generation != manifest.generation
            && (before.epoch, &before.written_at) == (manifest.epoch, &manifest.written_at)
    };
    manifest.epoch == Epoch::NONE || before.is_some_and(repeats)
}

/// Those that are no longer kept: all before the last so many checkpoints. Claims are none: however often an engine starts in vain,
/// no checkpoint expires by that.
pub fn expired(there: &[There], keep: u64) -> Vec<u64> {
    let mut checkpoints: Vec<u64> = there.iter().filter(|one| !one.is_claim).map(|one| one.number).collect();
    checkpoints.sort_unstable();
    let keep = usize::try_from(keep.max(1)).unwrap_or(usize::MAX);
    let Some(first) = checkpoints.len().checked_sub(keep) else { return Vec::new() };
    there.iter().map(|one| one.number).filter(|number| *number < checkpoints[first]).collect()
}

/// What is written before each manifest, beside them: which have to be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trail {
    pub oldest: u64,
    pub newest: u64,
    /// What engines of generations before this one have left, and no manifest names, stays.
    pub spared: Generation,
}

impl Trail {
    /// Whether all manifests are there that have to be. Of those before, which pins may have held, any may be missing.
    pub fn is_whole(&self, numbers: &[u64]) -> bool {
        let numbers: BTreeSet<u64> = numbers.iter().copied().collect();
        let (Some(&first), Some(&last)) = (numbers.first(), numbers.last()) else { return self.newest == 0 };
        let kept = numbers.range(self.oldest.max(first)..).count() as u64;
        first <= self.oldest && self.newest <= last && last - self.oldest.max(first) + 1 == kept
    }
}

/// The least of the numbers at the end without a gap.
pub fn first_of_run(numbers: &[u64]) -> Option<u64> {
    let numbers: BTreeSet<u64> = numbers.iter().copied().collect();
    let last = numbers.last().copied()?;
    Some((0..=last).rev().take_while(|number| numbers.contains(number)).last().unwrap_or(last))
}

/// Begins the names of all files that a generation writes.
pub fn prefix(generation: Generation) -> String {
    format!("g{generation:06}")
}

/// The generation that a file is of; `None` for one that is not ours.
pub fn generation_of(key: &str) -> Option<Generation> {
    let name = key.rsplit('/').next().unwrap_or(key);
    name.strip_prefix('g')?.split('-').next().filter(|digits| digits.len() >= 6)?.parse().ok().map(Generation)
}

/// Whether a file that no manifest names was left by an engine that is gone: one before `ours`, that a manifest tells of.
pub fn is_left_over(key: &str, ours: Generation, told_of: &BTreeSet<Generation>, spared: Generation) -> bool {
    generation_of(key).is_some_and(|of| of < ours && of >= spared && told_of.contains(&of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn the_last_checkpoints_are_kept_however_many_claims_there_are() {
        let check = |keep, there: &[(u64, bool)], gone: &[u64]| {
            let there: Vec<There> =
                there.iter().map(|&(number, is_claim)| There { number, epoch: Epoch::NONE, is_claim }).collect();
            assert_eq!(expired(&there, keep), gone, "{there:?}");
        };
        let (checkpoint, claim) = (false, true);
        check(3, &[1, 2, 3, 4, 5].map(|number| (number, checkpoint)), &[1, 2]);
        check(0, &[(5, checkpoint)], &[]);
        let started: Vec<(u64, bool)> = (3..15).map(|number| (number, claim)).collect();
        check(2, &[&[(1, checkpoint), (2, checkpoint)], &started[..]].concat(), &[]);
        check(2, &[&[(1, checkpoint), (2, checkpoint)], &started[..], &[(15, checkpoint)]].concat(), &[1]);
        check(1, &[(1, claim), (2, checkpoint), (3, claim), (4, checkpoint)], &[1, 2, 3]);
    }

    #[test]
    fn a_claim_repeats_the_one_before() {
        let of = |generation, epoch, written_at: &str| Manifest {
            generation: Generation(generation),
            epoch: Epoch(epoch),
            written_at: written_at.to_owned(),
            ..Manifest::empty(&Settings::default())
        };
        let checkpoint = of(1, 7, "then");
        assert!(is_claim(&of(1, 0, ""), None));
        assert!(is_claim(&of(2, 7, "then"), Some(&checkpoint)));
        // One whose predecessor is gone is all there is of that checkpoint.
        assert!(!is_claim(&of(2, 7, "then"), None));
        // A replay in place of another ends with the same epoch.
        assert!(!is_claim(&of(2, 7, "later"), Some(&checkpoint)));
    }

    #[test]
    fn a_manifest_that_is_missing_is_missed() {
        let trail = Trail { oldest: 4, newest: 7, spared: Generation(0) };
        for numbers in [&[4, 5, 6, 7][..], &[3, 4, 5, 6, 7], &[4, 5, 6, 7, 8, 9], &[1, 4, 5, 6, 7]] {
            assert!(trail.is_whole(numbers), "{numbers:?}");
        }
        for numbers in [&[][..], &[5, 6, 7], &[4, 5, 6], &[4, 6, 7], &[4, 5, 6, 8]] {
            assert!(!trail.is_whole(numbers), "{numbers:?}");
        }
        assert!(Trail::default().is_whole(&[]));
    }

    #[test]
    fn what_a_gap_lies_before_is_the_first_of_the_run() {
        assert_eq!(first_of_run(&[]), None);
        assert_eq!(first_of_run(&[7]), Some(7));
        assert_eq!(first_of_run(&[5, 3, 6, 7]), Some(5));
        assert_eq!(first_of_run(&[0, 1]), Some(0));
    }

    #[test]
    fn only_what_is_ours_and_told_of_is_left_over() {
        let told_of = BTreeSet::from([2, 3, 5].map(Generation));
        let check = |key: &str, expected| {
            assert_eq!(is_left_over(key, Generation(5), &told_of, Generation(3)), expected, "{key}")
        };
        check("events/event_date=2026-01-01/g000003-w000-000001.parquet", true);
        check("views/sales/epoch=7/g000003-c-000001.parquet", true);
        check("events/event_date=2026-01-01/g000002-w000-000001.parquet", false);
        check("events/event_date=2026-01-01/g000004-w000-000001.parquet", false);
        check("events/event_date=2026-01-01/g000005-w000-000001.parquet", false);
        check("events/event_date=2026-01-01/guests.parquet", false);
        check("events/event_date=2026-01-01/g3-mine.parquet", false);
    }
}
