//! Removing what no manifest names that is kept, or that a pin holds.

use super::files::{FOLDERS, FileEntry};
use super::free::{There, Trail, expired, is_claim, is_left_over};
use super::manifest::Manifest;
use super::open::{CATALOGS, files_of, numbers, read_manifest, read_trail};
use super::pinned::read_pins;
use super::pins::{self, CLOCKS_DIFFER_MS, Holding};
use crate::numbers::{Epoch, Generation};
use millrace_connectors::store::Store;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

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
    pins: Pins,
}

/// What pins hold that would be gone without them.
#[derive(Default)]
struct Pins {
    /// As last looked at; `None` before that.
    holding: Option<Holding>,
    /// The files of the manifests that only pins hold, by number.
    files: BTreeMap<u64, BTreeSet<String>>,
    /// Files that no manifest names but such.
    held_back: BTreeSet<String>,
    /// Those that cannot be read, and were told of.
    told_of: BTreeSet<String>,
}

impl Pins {
    /// Looks at the pins, and clears away those that have ended.
    fn look(&mut self, store: &dyn Store, now_ms: u64) -> anyhow::Result<&Holding> {
        let pins = read_pins(store)?;
        let holding = self.holding.insert(Holding::of(&pins, now_ms));
        let mut ended = Vec::new();
        for stored in pins {
            let id = &stored.id;
            if stored.until_ms().saturating_add(CLOCKS_DIFFER_MS) < now_ms {
                ended.push(pins::key(id));
            } else if let Err(why) = &stored.pin
                && self.told_of.insert(id.clone())
            {
                crate::log::warning(format_args!(
                    "the pin {id} of {} cannot be read ({why}), so no checkpoint expires: millrace lake unpin {id} removes it",
                    store.place()
                ));
            }
        }
        if !ended.is_empty() {
            store.delete(&ended)?;
        }
        Ok(holding)
    }

    fn hold(&self, key: &String) -> bool {
        self.files.values().any(|keys| keys.contains(key))
    }

    /// Knows the files of the manifests that only pins hold, and of no others.
    fn load(&mut self, store: &dyn Store, held: &BTreeSet<u64>) -> anyhow::Result<()> {
        self.files.retain(|number, _| held.contains(number));
        for number in held {
            if !self.files.contains_key(number) {
                // One that is gone, or torn, is of no use to who pinned it.
                let Some(manifest) = read_manifest(store, *number)? else { continue };
                self.files.insert(*number, keys(&manifest, &files_of(store, &manifest)?));
            }
        }
        Ok(())
    }
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
        Sweep { keep, generation, spared, there, left: Left::NotLookedAt, dropped, pins: Pins::default() }
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
                there.push(There { number, epoch: Epoch::NONE, is_claim: true });
                continue;
            };
            there.push(There { number, epoch: manifest.epoch, is_claim: is_claim(&manifest, before.as_ref()) });
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
        there.push(There { number: newest, epoch: Epoch::NONE, is_claim: false });
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

    /// Whether changes of an epoch have to stay: before the pins have been looked at, all do.
    pub fn holds_changes_of(&self, epoch: Epoch) -> bool {
        self.pins.holding.as_ref().is_none_or(|holding| holding.holds_changes_of(epoch))
    }

    /// What has expired: what goes, and what only pins hold.
    fn expired(&mut self, store: &dyn Store, now_ms: u64) -> anyhow::Result<(BTreeSet<u64>, BTreeSet<u64>)> {
        // After the trail has said what expires, and the manifest is there: whoever pins one now finds that out.
        let holding = self.pins.look(store, now_ms)?;
        let expired: BTreeSet<u64> = expired(&self.there, self.keep).into_iter().collect();
        let held = self.there.iter().filter(|one| expired.contains(&one.number) && holding.holds(**one));
        let held: BTreeSet<u64> = held.map(|one| one.number).collect();
        Ok((expired.difference(&held).copied().collect(), held))
    }

    /// After a commit: deletes the manifests that are no longer kept and that no pin holds, and then what only they named; after the
    /// first, also what earlier generations have left.
    ///
    /// # Errors
    /// Where the store fails; nothing that is needed is lost by that.
    pub fn committed(
        &mut self,
        store: &dyn Store,
        manifest: &Manifest,
        files: &[FileEntry],
        now_ms: u64,
    ) -> anyhow::Result<()> {
        match std::mem::replace(&mut self.left, Left::NotLookedAt) {
            // Looked at anew before the next commit.
            Left::NotLookedAt => return Ok(()),
            Left::Found(named) => {
                self.first(store, manifest, files, named, now_ms)?;
                self.left = Left::IsGone;
                return Ok(());
            }
            Left::IsGone => self.left = Left::IsGone,
        }
        self.there.push(There { number: manifest.number, epoch: manifest.epoch, is_claim: false });
        let (gone, held) = self.expired(store, now_ms)?;
        self.pins.load(store, &held)?;
        self.delete_manifests(store, &gone)?;
        let first = self.there.iter().map(|one| one.number).filter(|number| !held.contains(number)).min().unwrap_or(0);
        while let Some((_, keys)) = self.dropped.front().filter(|(last, _)| *last < first) {
            super::crash::point("sweeping");
            let (kept, free): (Vec<String>, Vec<String>) = keys.iter().cloned().partition(|key| self.pins.hold(key));
            // Where it fails they are still known.
            store.delete(&free)?;
            self.pins.held_back.extend(kept);
            self.dropped.pop_front();
        }
        let let_go: Vec<String> = self.pins.held_back.iter().filter(|key| !self.pins.hold(key)).cloned().collect();
        if !let_go.is_empty() {
            super::crash::point("unpinned");
            store.delete(&let_go)?;
            self.pins.held_back.retain(|key| !let_go.contains(key));
        }
        Ok(())
    }

    fn delete_manifests(&mut self, store: &dyn Store, gone: &BTreeSet<u64>) -> anyhow::Result<()> {
        if !gone.is_empty() {
            store.delete(&gone.iter().map(|number| Manifest::key(*number)).collect::<Vec<_>>())?;
            self.there.retain(|one| !gone.contains(&one.number));
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
        now_ms: u64,
    ) -> anyhow::Result<()> {
        self.there.push(There { number: first.number, epoch: first.epoch, is_claim: false });
        named.by.push((first.number, keys(first, files)));
        // What pins hold is kept, and told from the rest after the next commit.
        let (gone, _) = self.expired(store, now_ms)?;
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
        self.delete_manifests(store, &gone)
    }
}

/// All that a manifest names.
fn keys(manifest: &Manifest, files: &[FileEntry]) -> BTreeSet<String> {
    manifest.own_files().chain(files).map(|file| file.key.clone()).collect()
}
