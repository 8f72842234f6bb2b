//! From the paths that were given to the inputs that are there, in a stable order.

use super::SourceError;
use super::log::LOG_MARKER;
use crate::lake::DATA_DIR_MARKER;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

const EXTENSIONS: [&str; 6] = ["jsonl", "ndjson", "json", "gz", "zst", "parquet"];
const DEPTH_MAX: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    StandardInput,
    /// `bytes` is `None` for what is not a regular file.
    File {
        path: PathBuf,
        bytes: Option<u64>,
    },
    Log {
        path: PathBuf,
    },
}

/// Every input of `paths`; directories are searched in the order of their names.
///
/// # Errors
/// [`SourceError`] for the first path that is missing or cannot be read, before anything is.
pub(crate) fn list(paths: &[PathBuf]) -> Result<Vec<Found>, SourceError> {
    let mut found = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            if found.contains(&Found::StandardInput) {
                return Err(SourceError::StandardInputTwice);
            }
            found.push(Found::StandardInput);
            continue;
        }
        let before = found.len();
        let metadata = fs::metadata(path).map_err(SourceError::unreadable(path))?;
        if metadata.is_dir() {
            list_directory(path, 0, &mut found)?;
        } else {
            let bytes = metadata.is_file().then_some(metadata.len());
            found.push(Found::File { path: path.clone(), bytes });
        }
        if found.len() == before {
            return Err(SourceError::EmptyDirectory { path: path.clone() });
        }
    }
    if found.is_empty() {
        return Err(SourceError::NoInput);
    }
    for input in &found {
        // A pipe is opened once only; whether a file may be read is known now.
        if let Found::File { path, bytes: Some(_) } = input {
            File::open(path).map_err(SourceError::unreadable(path))?;
        }
    }
    Ok(found)
}

fn list_directory(directory: &Path, depth: usize, found: &mut Vec<Found>) -> Result<(), SourceError> {
    if depth > DEPTH_MAX {
        return Err(SourceError::TooDeep { path: directory.to_owned(), depth: DEPTH_MAX });
    }
    if directory.join(LOG_MARKER).is_file() {
        found.push(Found::Log { path: directory.to_owned() });
        return Ok(());
    }
    if directory.join(DATA_DIR_MARKER).is_file() {
        // Of a lake's folder, only accepted records are input: views and quarantine are results.
        let folders = ["dimensions", "events"].map(|folder| directory.join(folder));
        return folders
            .iter()
            .filter(|folder| folder.is_dir())
            .try_for_each(|folder| list_directory(folder, depth + 1, found));
    }
    let unreadable = |error| SourceError::Unreadable { path: directory.to_owned(), error };
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        names.push(entry.map_err(unreadable)?.file_name());
    }
    names.sort();
    for name in names {
        // Hidden and unfinished files, and the `_SUCCESS` of other engines.
        if name.as_encoded_bytes().starts_with(b".") || name.as_encoded_bytes().starts_with(b"_") {
            continue;
        }
        let path = directory.join(name);
        let metadata = fs::metadata(&path).map_err(SourceError::unreadable(&path))?;
        if metadata.is_dir() {
            list_directory(&path, depth + 1, found)?;
        } else if metadata.is_file() && has_event_extension(&path) {
            found.push(Found::File { bytes: Some(metadata.len()), path });
        }
    }
    Ok(())
}

fn has_event_extension(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}
