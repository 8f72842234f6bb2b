//! Folders below a root: what is in them, that their entries last, and that empty ones go.

use super::super::key::RESERVED;
use super::super::{Entry, key};
use super::Fault;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Makes the entries of a folder last, and those that lead to it. One that has not changed costs next to nothing.
pub(super) fn sync(root: &Path, folder: &Path) -> Result<(), Fault> {
    folder.ancestors().take_while(|folder| folder.starts_with(root)).try_for_each(sync_one)
}

pub(super) fn sync_one(folder: &Path) -> Result<(), Fault> {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // Another removed it as empty: nothing in it has to last.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result.map_err(Fault::at(folder)),
    }
}

/// Removes a folder that is empty, and those above it that then are. Returns the one that is left.
pub(super) fn prune(root: &Path, folder: &Path) -> PathBuf {
    let mut left = folder;
    while left != root && fs::remove_dir(left).is_ok() {
        left = left.parent().expect("it is below the root");
    }
    left.to_owned()
}

/// The objects whose keys begin so, by key.
pub(super) fn list(root: &Path, prefix: &str) -> Result<Vec<Entry>, Fault> {
    let mut entries = Vec::new();
    let mut folders = vec![prefix.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        let listed = match fs::read_dir(&path) {
            Err(error) if is_gone(&error) => continue,
            listed => listed.map_err(Fault::at(&path))?,
        };
        for entry in listed {
            let entry = entry.map_err(Fault::at(&path))?;
            // No object has a name that is not a key.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let key = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let leads_there = key.starts_with(prefix) || prefix.starts_with(&format!("{key}/"));
            if key == RESERVED || !leads_there || key::check(&key).is_err() {
                continue;
            }
            let metadata = match fs::metadata(entry.path()) {
                Err(error) if is_gone(&error) => continue,
                metadata => metadata.map_err(Fault::at(&entry.path()))?,
            };
            if metadata.is_dir() {
                folders.push(key);
            } else {
                let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                let micros = modified.and_then(|since| i64::try_from(since.as_micros()).ok()).unwrap_or_default();
                entries.push(Entry { key, bytes: metadata.len(), modified_micros: micros });
            }
        }
    }
    entries.retain(|entry| entry.key.starts_with(prefix));
    entries.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    Ok(entries)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
