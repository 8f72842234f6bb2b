//! A product's neighbours in order, for one whose list is chosen anew time and again: to look through all of them each time would take
//! as long as there are many.

use crate::operators::local::LocalNames;
use crate::operators::tables::CountTable;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

/// So many neighbours are looked through. Where assertions are on, few, so that some are held in order in every test.
const FEW: usize = if cfg!(debug_assertions) { 2 } else { 512 };

/// The order is made where a list is chosen anew after fewer changes than a part of its neighbours, and dropped after more than there
/// are: neither looking through all of them nor keeping them in order is then more than a few steps for each change.
const PART: usize = if cfg!(debug_assertions) { 1 } else { 16 };

pub(super) fn is_worth_it(neighbours: usize, changes: u32) -> bool {
    neighbours > FEW && (changes as usize) < neighbours / PART
}

pub(super) fn is_not_worth_it(neighbours: usize, changes: u32) -> bool {
    changes as usize > neighbours
}

/// Neighbours by n_ab descending, then by text.
#[derive(Debug)]
pub(super) struct Ranked(BTreeSet<(Reverse<u32>, Arc<str>, u32)>);

impl Ranked {
    pub(super) fn of(counts: &CountTable, locals: &LocalNames) -> Ranked {
        Ranked(
            counts
                .iter()
                .map(|(neighbour, count)| (Reverse(count), locals.text(neighbour).clone(), neighbour))
                .collect(),
        )
    }

    pub(super) fn change(&mut self, neighbour: u32, before: u32, now: u32, locals: &LocalNames) {
        let entry = |count: u32| (Reverse(count), locals.text(neighbour).clone(), neighbour);
        if before > 0 {
            self.0.remove(&entry(before));
        }
        if now > 0 {
            self.0.insert(entry(now));
        }
    }

    /// The first so many, with their counts before them.
    pub(super) fn first(&self, so_many: usize) -> Vec<(u32, u32)> {
        self.0.iter().take(so_many).map(|(Reverse(count), _, neighbour)| (*count, *neighbour)).collect()
    }
}
