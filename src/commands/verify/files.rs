//! Whether the files of a checkpoint are there and whole.

use crate::checkpoint::{FileEntry, Kind, Manifest, advice, list_all, missing, read_newest};
use anyhow::Context;
use millrace_connectors::store::Store;
use std::collections::BTreeSet;

/// Files of a checkpoint that are not as its manifest says.
#[derive(Debug, Default)]
pub struct Files {
    /// What is wrong, and with which.
    pub faults: Vec<(&'static str, FileEntry)>,
    /// Quarantine files that are not there, in a store that may remove them by their age.
    pub expired: usize,
}

impl Files {
    /// Looks at all of them; those that answers are recomputed from are read then, and not here.
    ///
    /// # Errors
    /// Where the store fails.
    pub fn check(store: &dyn Store, manifest: &Manifest, files: &[FileEntry]) -> anyhow::Result<Files> {
        let mut checked = Files::default();
        let mut gone = BTreeSet::new();
        let missed = missing(&list_all(store)?, manifest, files);
        // What an engine has removed meanwhile is not missing: whoever reads it says so. Of a checkpoint that is pinned none is.
        let is_kept = !missed.is_empty() && !store.list(&Manifest::key(manifest.number))?.is_empty();
        let newest = if missed.is_empty() { None } else { Some(read_newest(store, &mut |_| {})?) };
        for file in missed {
            gone.insert(&file.key);
            let is_named = |(newest, files): &(Manifest, Vec<FileEntry>)| {
                newest.own_files().chain(files).any(|named| named.key == file.key)
            };
            let may_expire = store.local_root().is_none() && Kind::of(&file.key) == Some(Kind::Quarantine);
            match is_kept || newest.as_ref().is_some_and(is_named) {
                true if may_expire => checked.expired += 1,
                true => checked.faults.push(("missing", file.clone())),
                false => {}
            }
        }
        let is_read_anyway =
            |file: &FileEntry| matches!(Kind::of(&file.key), Some(Kind::Events | Kind::Dimensions | Kind::View));
        let mut seen = BTreeSet::new();
        for file in manifest.own_files().chain(files).filter(|file| !is_read_anyway(file)) {
            if gone.contains(&file.key) || !seen.insert(&file.key) {
                continue;
            }
            match store.get(&file.key) {
                // It was removed just now.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error).with_context(|| format!("reading {}", file.key)),
                Ok(bytes) if file.is(&bytes) => {}
                Ok(_) => checked.faults.push(("damaged", file.clone())),
            }
        }
        Ok(checked)
    }

    /// Whether answers cannot be compared.
    pub fn are_needed(&self) -> bool {
        let is_needed =
            |file: &FileEntry| matches!(Kind::of(&file.key), Some(Kind::Events | Kind::Dimensions | Kind::View));
        self.faults.iter().any(|(_, file)| is_needed(file))
    }

    /// What to do.
    pub fn advice(&self, place: &str) -> String {
        advice(place, &self.faults.iter().map(|(_, file)| file).collect::<Vec<_>>())
    }
}
