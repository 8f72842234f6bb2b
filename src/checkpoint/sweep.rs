//! Removing what no kept manifest names.

use super::files::{FOLDERS, FileEntry};
use super::free::{There, Trail, expired, is_claim, is_left_over};
use super::manifest::Manifest;
use super::open::{CATALOGS, files_of, numbers, read_manifest, read_trail};
use crate::numbers::Generation;
use millrace_connectors::store::Store;
use std::collections::{BTreeSet, VecDeque};

#[cfg(test)]
mod tests;

/// Knows which files become free when.
pub struct Sweep {
    keep: u64,
    generation: Generation,
    /// What generations before this one have left stays.
    spared: Generation,
    /// Manifests that are there.
    there: Vec<There>,
    /// What earlier runs have left, as long as it is not gone.
    left: Left,
    /// The number of the last manifest that names them, and the files.
    dropped: VecDeque<(u64, Vec<String>)>,
}

/// What earlier runs have left.
enum Left {
    NotLookedAt,
    Found(Named),
    IsGone,
}

/// What the manifests say that are there.
struct Named {
    /// By number: the files that each names.
    by: Vec<(u64, BTreeSet<String>)>,
    /// Generations that manifests are of.
    told_of: BTreeSet<Generation>,
    /// All of them can be read.
    is_whole: bool,
}

impl Sweep {
    /// Of an engine of this generation.
    pub fn new(keep: u64, generation: Generation, spared: Generation) -> Sweep {
        let (there, dropped) = (Vec::new(), VecDeque::new());
        Sweep { keep, generation, spared, there, left: Left::NotLookedAt, dropped }
    }

    /// Before a commit: looks at what earlier runs have left, if that is to be removed yet.
    ///
    /// # Errors
    /// Where the store fails.
    pub fn look(&mut self, store: &dyn Store) -> anyhow::Result<()> {
        if !matches!(self.left, Left::NotLookedAt) {
            return Ok(());
        }
        let mut there = Vec::new();
        let mut named = Named { by: Vec::new(), told_of: BTreeSet::new(), is_whole: true };
        let mut before = None;
        let mut numbers = numbers(store)?;
        numbers.sort_unstable();
        for number in numbers {
            let Some(manifest) = read_manifest(store, number)? else {
                named.is_whole = false;
                there.push(There { number, is_claim: true });
                continue;
            };
            there.push(There { number, is_claim: is_claim(&manifest, before.as_ref()) });
            named.told_of.insert(manifest.generation);
            match files_of(store, &manifest) {
                Ok(files) => named.by.push((number, keys(&manifest, &files))),
                Err(_) => named.is_whole = false,
            }
            before = Some(manifest);
        }
        let numbers: Vec<u64> = there.iter().map(|one| one.number).collect();
        if !named.is_whole || read_trail(store)?.is_none_or(|trail| !trail.is_whole(&numbers)) {
            // What one that is missing or cannot be read names is not known.
            self.spared = self.spared.max(self.generation);
        }
        (self.there, self.left) = (there, Left::Found(named));
        Ok(())
    }

    /// Which manifests have to be there once this one is the newest.
    pub fn trail(&self, newest: u64) -> Trail {
        if matches!(self.left, Left::NotLookedAt) {
            return Trail { oldest: 0, newest, spared: self.spared };
        }
        let mut there = self.there.clone();
        there.push(There { number: newest, is_claim: false });
        let gone = expired(&there, self.keep);
        let oldest = there.iter().map(|one| one.number).filter(|number| !gone.contains(number)).min();
        Trail { oldest: oldest.unwrap_or(newest), newest, spared: self.spared }
    }

    /// Files that a manifest names and the next does not.
    pub fn dropped(&mut self, last: u64, keys: Vec<String>) {
        if !keys.is_empty() {
            self.dropped.push_back((last, keys));
        }
    }

    /// After a commit: deletes the manifests that are no longer kept, and then what only they named; after the first, also what
    /// earlier generations have left.
    ///
    /// # Errors
    /// Where the store fails; nothing that is needed is lost by that.
    pub fn committed(&mut self, store: &dyn Store, manifest: &Manifest, files: &[FileEntry]) -> anyhow::Result<()> {
        match std::mem::replace(&mut self.left, Left::NotLookedAt) {
            // Looked at anew before the next commit.
            Left::NotLookedAt => return Ok(()),
            Left::Found(named) => {
                self.first(store, manifest, files, named)?;
                self.left = Left::IsGone;
                return Ok(());
            }
            Left::IsGone => self.left = Left::IsGone,
        }
        self.there.push(There { number: manifest.number, is_claim: false });
        let gone = expired(&self.there, self.keep);
        if gone.is_empty() {
            return Ok(());
        }
        store.delete(&gone.iter().map(|number| Manifest::key(*number)).collect::<Vec<_>>())?;
        self.there.retain(|one| !gone.contains(&one.number));
        let last_gone = gone.iter().copied().max().unwrap_or(0);
        while let Some((_, keys)) = self.dropped.front().filter(|(last, _)| *last <= last_gone) {
            super::crash::point("sweeping");
            // Where it fails they are still known.
            store.delete(keys)?;
            self.dropped.pop_front();
        }
        Ok(())
    }

    /// Deletes what earlier generations have left and no kept manifest names.
    fn first(
        &mut self,
        store: &dyn Store,
        first: &Manifest,
        files: &[FileEntry],
        mut named: Named,
    ) -> anyhow::Result<()> {
        self.there.push(There { number: first.number, is_claim: false });
        named.by.push((first.number, keys(first, files)));
        let gone = expired(&self.there, self.keep);
        let (of_gone, of_kept): (Vec<_>, Vec<_>) = named.by.iter().partition(|(number, _)| gone.contains(number));
        let mut free = VecDeque::new();
        for pair in of_kept.windows(2) {
            let [(_, keys), (next, keys_of_next)] = [pair[0], pair[1]];
            // One between them that cannot be read may name them, too.
            free.push_back((next - 1, keys.difference(keys_of_next).cloned().collect()));
        }
        // What the last two differ in may be there twice: to delete twice does nothing.
        self.dropped = free.into_iter().chain(std::mem::take(&mut self.dropped)).collect();
        if named.is_whole {
            let is_kept = |key: &String| of_kept.iter().any(|(_, keys)| keys.contains(key));
            let mut keys: BTreeSet<String> =
                of_gone.iter().flat_map(|(_, keys)| keys).filter(|key| !is_kept(key)).cloned().collect();
            for folder in FOLDERS.map(|folder| format!("{folder}/")).iter().map(String::as_str).chain([CATALOGS]) {
                let listed = store.list(folder)?.into_iter().map(|entry| entry.key);
                keys.extend(
                    listed
                        .filter(|key| is_left_over(key, self.generation, &named.told_of, self.spared) && !is_kept(key)),
                );
            }
            store.delete(&keys.into_iter().collect::<Vec<_>>())?;
        }
        super::crash::point("sweeping");
        store.delete(&gone.iter().map(|number| Manifest::key(*number)).collect::<Vec<_>>())?;
        self.there.retain(|one| !gone.contains(&one.number));
        Ok(())
    }
}

/// All that a manifest names.
fn keys(manifest: &Manifest, files: &[FileEntry]) -> BTreeSet<String> {
    manifest.own_files().chain(files).map(|file| file.key.clone()).collect()
}
