//! From the paths that were given to the inputs that are there, in a stable order.

use super::SourceError;
use super::compression::{Format, first_bytes};
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
        // A pipe is opened once only; whether a file can be read is known now.
        if let Found::File { path, bytes: Some(_) } = input {
            let mut file = File::open(path).map_err(SourceError::unreadable(path))?;
            let magic = first_bytes(&mut file).map_err(SourceError::unreadable(path))?;
            if let Some(format) = foreign(path, &magic) {
                return Err(SourceError::ForeignFormat { path: path.clone(), format });
            }
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
        } else if metadata.is_file()
            && let Some(format) = packed_events(&path)
        {
            // Passing it over would be to leave its events out without a word.
            return Err(SourceError::ForeignFormat { path, format });
        }
    }
    Ok(())
}

fn has_event_extension(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// What a file is, where that is not read: by its first bytes, or by its name where those are no beginning of a record.
fn foreign(path: &Path, first_bytes: &[u8]) -> Option<&'static str> {
    let begins_a_text = |byte: &u8| *byte == b'{' || *byte == 0xEF || byte.is_ascii_whitespace();
    match Format::of(first_bytes) {
        Format::Foreign(format) => Some(format),
        Format::Lines if !first_bytes.first().is_none_or(begins_a_text) => {
            Format::foreign_by_name(path.file_name()?.to_str()?)
        }
        _ => None,
    }
}

/// What a file is packed with that holds events as far as its name says, where that cannot be undone here: `a.jsonl.zip`, and as with
/// `.gz` any `.bz2` or `.xz`.
fn packed_events(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?;
    let format = Format::foreign_by_name(name)?;
    let inner = Path::new(path.file_stem()?);
    (matches!(format, "bzip2" | "xz") || has_event_extension(inner)).then_some(format)
}
