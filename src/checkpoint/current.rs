//! `current/<view>`: a folder of a local lake whose files are the rows of the view at one checkpoint, for whoever globs it.
//!
//! ```text
//! current/sales ──▶ _current/sales/000000000042/   snapshot-<epoch>-….parquet   changes-<epoch>-….parquet
//!    a link, replaced at once by another           hard links to the files of manifest 42
//! ```
//! It is not below `views/`: who reads all folders there, as is right after a replay, would have every row twice.
//!
//! Whoever lists the folder sees the files of one checkpoint. Who opens them after it has moved on finds the same files, or one that is
//! gone, which is an error: never files of two checkpoints that count twice, for a name stands for one content. Nothing rests on it:
//! what cannot be written is said once, and a start makes it anew with its first checkpoint.
//!
//! Object stores have no links: there it is not made.

use super::files::FileEntry;
use super::manifest::{Manifest, ViewEntry};
use millrace_connectors::store::Store;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

const SETS: &str = "_current";
const LINKS: &str = "current";

/// Keeps the folders of a lake's views.
#[derive(Default)]
pub struct Current {
    /// What is shown of each view, so that one that has not changed is left alone.
    shown: Vec<ViewEntry>,
    has_failed: bool,
}

impl Current {
    /// Shows the views of a manifest that has been committed.
    pub fn show(&mut self, store: &dyn Store, manifest: &Manifest) {
        let Some(root) = store.local_root() else { return };
        match self.try_show(root, manifest) {
            Ok(()) => self.has_failed = false,
            Err((path, error)) if !std::mem::replace(&mut self.has_failed, true) => crate::log::warning(format_args!(
                "{} cannot be written ({error}): {LINKS}/ of {} shows an earlier checkpoint; nothing else rests on it",
                path.display(),
                store.place()
            )),
            Err(_) => {}
        }
    }

    fn try_show(&mut self, root: &Path, manifest: &Manifest) -> Result<(), (PathBuf, io::Error)> {
        for view in &manifest.views {
            let is_shown = |shown: &ViewEntry| {
                shown.name == view.name && shown.snapshot == view.snapshot && shown.changes == view.changes
            };
            if !self.shown.iter().any(is_shown) {
                show_view(root, view, manifest.number)?;
                self.shown.retain(|shown| shown.name != view.name);
                self.shown.push(view.clone());
            }
        }
        let names: BTreeSet<&str> = manifest.views.iter().map(|view| view.name.as_str()).collect();
        self.shown.retain(|shown| names.contains(&*shown.name));
        drop_others(root, &names)
    }
}

/// A name for one content: the epoch, and what the file is called.
fn name(what: &str, file: &FileEntry) -> String {
    let stem = file.key.rsplit('/').next().unwrap_or(&file.key);
    format!("{what}-{}-{stem}", file.epoch)
}

fn show_view(root: &Path, view: &ViewEntry, number: u64) -> Result<(), (PathBuf, io::Error)> {
    fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, (PathBuf, io::Error)> {
        result.map_err(|error| (path.to_owned(), error))
    }
    let Some(snapshot) = &view.snapshot else { return Ok(()) };
    let sets = root.join(SETS).join(&view.name);
    let set = sets.join(format!("{number:012}"));
    // One that was begun by a run that was killed, or of a lake that was made anew.
    match fs::remove_dir_all(&set) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        removed => at(&set, removed)?,
    }
    at(&set, fs::create_dir_all(&set))?;
    let files = std::iter::once(("snapshot", snapshot)).chain(view.changes.iter().map(|file| ("changes", file)));
    for (what, file) in files {
        let path = set.join(name(what, file));
        at(&path, fs::hard_link(root.join(&file.key), &path))?;
    }
    super::crash::point("current-made");
    let links = root.join(LINKS);
    at(&links, fs::create_dir_all(&links))?;
    let (link, new) = (links.join(&view.name), set.with_extension("link"));
    let _ = fs::remove_file(&new);
    let target = PathBuf::from_iter(["..", SETS, &view.name, &format!("{number:012}")]);
    at(&new, symlink(&target, &new))?;
    let before = fs::read_link(&link).ok();
    if before.is_none() && link.is_dir() {
        return Err((link, io::Error::other("it is a folder of somebody else's")));
    }
    // In one step: there is no time without it.
    at(&link, fs::rename(&new, &link))?;
    let before = before.as_deref().and_then(Path::file_name).map(ToOwned::to_owned);
    for entry in at(&sets, fs::read_dir(&sets))? {
        let entry = at(&sets, entry)?;
        // Who has just followed the link finds the files of the one before.
        let stays = entry.path() == set || Some(entry.file_name()) == before;
        if !stays {
            let path = entry.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            at(&path, removed)?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn symlink(_target: &Path, _link: &Path) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Views that the lake keeps no more are not current.
fn drop_others(root: &Path, names: &BTreeSet<&str>) -> Result<(), (PathBuf, io::Error)> {
    let sets = root.join(SETS);
    let Ok(listed) = fs::read_dir(&sets) else { return Ok(()) };
    for entry in listed.flatten() {
        let is_other = entry.file_name().to_str().is_some_and(|name| !names.contains(name));
        if is_other {
            let link = root.join(LINKS).join(entry.file_name());
            match fs::remove_file(&link) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err((link, error)),
                _ => {}
            }
            fs::remove_dir_all(entry.path()).map_err(|error| (entry.path(), error))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::Epoch;
    use crate::settings::Settings;
    use bytes::Bytes;
    use millrace_connectors::store::Local;

    fn file(store: &Local, key: String, epoch: u64) -> FileEntry {
        store.put(&key, Bytes::from(key.clone().into_bytes())).expect("a folder takes it");
        FileEntry { rows: 1, bytes: key.len() as u64, epoch: Epoch(epoch), key, ..FileEntry::default() }
    }

    fn view(store: &Local, name: &str, snapshot: u64, changes: &[u64]) -> ViewEntry {
        let file = |folder: &str, epoch: u64| {
            file(store, format!("{folder}/{name}/epoch={epoch}/g000001-c-{epoch:06}.parquet"), epoch)
        };
        ViewEntry {
            name: name.to_owned(),
            version: 1,
            definition: Default::default(),
            rows: 1,
            snapshot: Some(file("views", snapshot)),
            changes: changes.iter().map(|epoch| file("changes", *epoch)).collect(),
            log: None,
        }
    }

    fn listed(root: &Path, name: &str) -> Vec<String> {
        let Ok(listed) = fs::read_dir(root.join(LINKS).join(name)) else { return Vec::new() };
        let mut names: Vec<String> =
            listed.map(|entry| entry.expect("listed").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }

    #[test]
    fn the_folder_has_the_files_of_the_last_checkpoint_and_no_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        let store = Local::new(root, false);
        let mut current = Current::default();
        let mut number = 0;
        let mut show = |views: Vec<ViewEntry>, current: &mut Current| {
            number += 1;
            let views = Manifest { number, views, ..Manifest::empty(&Settings::default()) };
            current.show(&store, &views);
        };
        show(vec![view(&store, "sales", 1, &[]), view(&store, "funnel", 1, &[])], &mut current);
        assert_eq!(listed(root, "sales"), ["snapshot-1-g000001-c-000001.parquet"]);
        show(vec![view(&store, "sales", 1, &[2, 3]), view(&store, "funnel", 1, &[])], &mut current);
        let names = ["changes-2-g000001-c-000002.parquet", "changes-3-g000001-c-000003.parquet"];
        assert_eq!(listed(root, "sales"), [&names[..], &["snapshot-1-g000001-c-000001.parquet"]].concat());
        // What the sweep removes elsewhere stays here as long as it is shown.
        store.delete(&["views/sales/epoch=1/g000001-c-000001.parquet".to_owned()]).expect("a folder");
        let path = root.join("current/sales/snapshot-1-g000001-c-000001.parquet");
        assert!(fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"views/sales/epoch=1")));
        // Another engine, which knows of nothing, and a view less.
        show(vec![view(&store, "sales", 4, &[])], &mut Current::default());
        assert_eq!(listed(root, "sales"), ["snapshot-4-g000001-c-000004.parquet"]);
        assert!(listed(root, "funnel").is_empty() && !root.join("_current/funnel").exists());
        let sets = fs::read_dir(root.join("_current/sales")).expect("a folder").count();
        assert_eq!(sets, 2, "the one that is shown, and the one before");
        // No object of the store is taken for a file of the lake because of it.
        let keys = store.list("current/sales/").expect("a folder");
        assert!(keys.iter().all(|entry| super::super::free::generation_of(&entry.key).is_none()), "{keys:?}");
    }

    #[test]
    fn a_folder_of_somebody_elses_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Local::new(folder.path(), false);
        fs::create_dir_all(folder.path().join("current/sales")).expect("a folder");
        fs::write(folder.path().join("current/sales/mine"), "mine").expect("a file");
        let manifest = Manifest { views: vec![view(&store, "sales", 1, &[])], ..Manifest::empty(&Settings::default()) };
        let mut current = Current::default();
        current.show(&store, &manifest);
        assert!(current.has_failed);
        assert_eq!(listed(folder.path(), "sales"), ["mine"]);
    }
}
