//! Removing what no kept manifest names.

use super::files::FOLDERS;
use super::manifest::Manifest;
use super::open::{files_of, numbers, read_manifest};
use super::protocol::expired;
use millrace_connectors::store::Store;
use std::collections::{BTreeSet, VecDeque};

/// Knows which files become free when.
#[derive(Default)]
pub struct Sweep {
    keep: u64,
    /// What earlier runs have left is gone.
    has_started: bool,
    /// Manifests that are there.
    numbers: Vec<u64>,
    /// The number of the last manifest that names them, and the files.
    dropped: VecDeque<(u64, Vec<String>)>,
}

impl Sweep {
    pub fn new(keep: u64) -> Sweep {
        Sweep { keep, ..Sweep::default() }
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
    pub fn committed(&mut self, store: &dyn Store, manifest: &Manifest) -> anyhow::Result<()> {
        if !self.has_started {
            self.start(store, manifest)?;
            self.has_started = true;
            return Ok(());
        }
        let number = manifest.number;
        self.numbers.push(number);
        let gone = expired(&self.numbers, number, self.keep);
        if gone.is_empty() {
            return Ok(());
        }
        store.delete(&gone.iter().map(|number| Manifest::key(*number)).collect::<Vec<_>>())?;
        self.numbers.retain(|number| !gone.contains(number));
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
    fn start(&mut self, store: &dyn Store, first: &Manifest) -> anyhow::Result<()> {
        self.numbers = numbers(store)?;
        let (mut named, mut of_last, mut free) = (BTreeSet::new(), None::<(u64, BTreeSet<String>)>, VecDeque::new());
        let kept: BTreeSet<u64> = {
            let gone = expired(&self.numbers, first.number, self.keep);
            self.numbers.iter().copied().filter(|number| !gone.contains(number)).collect()
        };
        for &number in &kept {
            let Some(manifest) = read_manifest(store, number)? else { continue };
            let files = files_of(store, &manifest)?;
            let keys: BTreeSet<String> = manifest.own_files().chain(&files).map(|file| file.key.clone()).collect();
            if let Some((last, keys_of_last)) = of_last.replace((number, keys.clone())) {
                free.push_back((last, keys_of_last.difference(&keys).cloned().collect()));
            }
            named.extend(keys);
        }
        // What the last two differ in may be there twice: to delete twice does nothing.
        self.dropped = free.into_iter().chain(std::mem::take(&mut self.dropped)).collect();
        let mut keys: Vec<String> = Vec::new();
        for folder in FOLDERS {
            let listed = store.list(&format!("{folder}/"))?.into_iter().map(|entry| entry.key);
            keys.extend(listed.filter(|key| !named.contains(key) && is_older(key, first.generation)));
        }
        keys.extend(
            store
                .list("_manifests/catalogs/")?
                .into_iter()
                .map(|entry| entry.key)
                .filter(|key| !named.contains(key) && is_older(key, first.generation)),
        );
        store.delete(&keys)?;
        super::crash::point("sweeping");
        let gone: Vec<String> =
            self.numbers.iter().filter(|number| !kept.contains(number)).map(|number| Manifest::key(*number)).collect();
        store.delete(&gone)?;
        self.numbers = kept.into_iter().collect();
        Ok(())
    }
}

/// Begins the names of all files that a generation writes.
pub fn prefix(generation: u64) -> String {
    format!("g{generation:06}")
}

/// Whether a file is of an earlier generation. A file with another name is not ours.
fn is_older(key: &str, generation: u64) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    let number = name.strip_prefix('g').and_then(|rest| rest.split('-').next()).and_then(|digits| digits.parse().ok());
    number.is_some_and(|of: u64| of < generation)
}
