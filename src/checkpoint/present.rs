//! Which of the files that a manifest names are there, by one listing.

use super::files::{FileEntry, Kind};
use super::manifest::Manifest;
use anyhow::Context;
use millrace_connectors::store::{Entry, Store};
use std::collections::BTreeMap;

/// Files that an error names one by one.
const NAMED_MOST: usize = 3;

/// What whoever takes a lake over cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// To go on: the state and the views.
    State,
    /// To make everything anew: events, dimension records and what is pending.
    Events,
    /// Nothing: everything is replaced.
    Nothing,
}

impl Needs {
    fn needs(self, kind: Option<Kind>) -> bool {
        match self {
            // What is no file of the lake, as a catalog, has been read already.
            Needs::State => matches!(kind, Some(Kind::State | Kind::View)),
            Needs::Events => matches!(kind, Some(Kind::Events | Kind::Dimensions | Kind::Pending)),
            Needs::Nothing => false,
        }
    }
}

/// Everything that the store has.
///
/// # Errors
/// Where the store fails.
pub fn list_all(store: &dyn Store) -> anyhow::Result<Vec<Entry>> {
    store.list("").context("listing the files of the lake")
}

/// Files that are not there, or have another size. Those of the changes that views rest on are among both; each is named once.
pub fn missing<'a>(listed: &[Entry], manifest: &'a Manifest, files: &'a [FileEntry]) -> Vec<&'a FileEntry> {
    let sizes: BTreeMap<&str, u64> = listed.iter().map(|entry| (&*entry.key, entry.bytes)).collect();
    let named = manifest.own_files().chain(files);
    let mut missing: Vec<&FileEntry> =
        named.filter(|file| sizes.get(&*file.key).is_none_or(|bytes| *bytes != file.bytes)).collect();
    missing.sort_by(|a, b| a.key.cmp(&b.key));
    missing.dedup_by(|a, b| a.key == b.key);
    missing
}

/// Checks that nothing is missing that is needed. What else is missing goes to `warn`.
///
/// # Errors
/// Where something is; it says what to do.
pub fn check(
    place: &str,
    manifest: &Manifest,
    missing: &[&FileEntry],
    needs: Needs,
    warn: &mut dyn FnMut(String),
) -> anyhow::Result<()> {
    let rests: Vec<&str> = manifest.views.iter().flat_map(|view| &view.changes).map(|file| &*file.key).collect();
    let is_needed =
        |file: &FileEntry| needs.needs(Kind::of(&file.key)) || needs == Needs::State && rests.contains(&&*file.key);
    let (needed, others): (Vec<&FileEntry>, Vec<&FileEntry>) =
        missing.iter().copied().partition(|file| is_needed(file));
    if !others.is_empty() && needs == Needs::State {
        warn(format!(
            "{} of {place} {}: answers go on being right, and repairs and `millrace verify` need them; restore them from a copy",
            names(&others),
            are_missing(&others)
        ));
    }
    anyhow::ensure!(
        needed.is_empty(),
        "{} of {place}, which manifest {} names, {}: {}",
        names(&needed),
        manifest.number,
        are_missing(&needed),
        advice(place, &needed)
    );
    Ok(())
}

/// What to do about files that are missing or damaged.
pub fn advice(place: &str, files: &[&FileEntry]) -> String {
    let from_events =
        |file: &&FileEntry| matches!(Kind::of(&file.key), None | Some(Kind::State | Kind::View | Kind::Changes));
    if files.iter().all(from_events) {
        format!(
            "restore it from a copy, or stop the engine and make it anew from the events: millrace repair --all --data-dir {place}"
        )
    } else {
        "restore it from a copy".to_owned()
    }
}

/// The first of some files.
pub fn names(files: &[&FileEntry]) -> String {
    let mut text = files.iter().take(NAMED_MOST).map(|file| &*file.key).collect::<Vec<_>>().join(", ");
    if files.len() > NAMED_MOST {
        text += &format!(" and {} more", files.len() - NAMED_MOST);
    }
    text
}

fn are_missing(files: &[&FileEntry]) -> &'static str {
    if files.len() == 1 { "is not there, or has another size" } else { "are not there, or have another size" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::manifest::ViewEntry;
    use crate::numbers::Epoch;
    use crate::settings::Settings;

    fn file(key: &str) -> FileEntry {
        FileEntry { key: key.to_owned(), rows: 1, bytes: 10, epoch: Epoch(1), ..FileEntry::default() }
    }

    #[test]
    fn what_is_needed_is_missed_and_the_rest_is_said() {
        let view = ViewEntry {
            name: "sales".to_owned(),
            version: 1,
            definition: Default::default(),
            rows: 1,
            snapshot: Some(file("views/sales/epoch=1/g000001-c-000001.parquet")),
            changes: vec![file("changes/sales/epoch=2/g000001-c-000002.parquet")],
            log: None,
        };
        let manifest = Manifest { views: vec![view.clone()], ..Manifest::empty(&Settings::default()) };
        let files = ["events/a", "pending/a", "quarantine/a"].map(file);
        let all: Vec<Entry> = manifest
            .own_files()
            .chain(&files)
            .map(|file| Entry { key: file.key.clone(), bytes: file.bytes, modified_micros: 0 })
            .collect();
        assert!(missing(&all, &manifest, &files).is_empty());
        // One key, who refuses over it, and whether the others say so.
        let run = |key: &str, needs| {
            for mend in [None, Some(11)] {
                let mut listed = all.clone();
                match mend {
                    None => listed.retain(|entry| entry.key != key),
                    Some(bytes) => {
                        listed.iter_mut().filter(|entry| entry.key == key).for_each(|entry| entry.bytes = bytes)
                    }
                }
                let missed = missing(&listed, &manifest, &files);
                assert_eq!(missed.iter().map(|file| &*file.key).collect::<Vec<_>>(), [key]);
            }
            let mut warnings = 0;
            let missed = file(key);
            (check("lake", &manifest, &[&missed], needs, &mut |_| warnings += 1).is_err(), warnings)
        };
        assert_eq!(run("views/sales/epoch=1/g000001-c-000001.parquet", Needs::State), (true, 0));
        assert_eq!(run("changes/sales/epoch=2/g000001-c-000002.parquet", Needs::State), (true, 0));
        assert_eq!(run("views/sales/epoch=1/g000001-c-000001.parquet", Needs::Events), (false, 0));
        for key in ["events/a", "pending/a"] {
            assert_eq!(run(key, Needs::State), (false, 1));
            assert_eq!(run(key, Needs::Events), (true, 0));
        }
        assert_eq!(run("quarantine/a", Needs::State), (false, 1));
        assert_eq!(run("quarantine/a", Needs::Events), (false, 0));
        assert_eq!(run("events/a", Needs::Nothing), (false, 0));
    }
}
