//! A folder of results, and how a run replaces those of the run before.
//!
//! ```text
//! DIR/millrace.json           written first; a folder without it is not touched unless it is empty
//! DIR/.staging/views …        a run writes here, so that one that fails leaves the earlier results as they were
//! DIR/.staging/complete       from here on the results are the new ones, whatever happens
//! ```
//! The swap is a few renames. If the machine stops in the middle, the next one to open the folder finishes it.

use super::LakeError;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The file that makes a folder ours.
pub const DATA_DIR_MARKER: &str = "millrace.json";
const FORMAT: &str = "millrace-data";
const VERSION: u32 = 1;
const STAGING: &str = ".staging";
const COMPLETE: &str = "complete";
/// What a run replaces, also where it has none of it.
const RESULTS: [&str; 3] = ["views", "events", "quarantine"];

#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    format: String,
    version: u32,
}

/// A folder of results that this process may write to: it holds the lock.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Results on their way in. Dropped without [`Staging::commit`], they are removed.
#[derive(Debug)]
pub struct Staging {
    data_dir: DataDir,
    path: PathBuf,
    committed: bool,
}

impl DataDir {
    /// Opens a folder of results, or makes one of a folder that is new or empty.
    ///
    /// # Errors
    /// [`LakeError`] where it holds something else, is of another version, or is being written to.
    pub fn open(path: &Path) -> Result<DataDir, LakeError> {
        let marker = path.join(DATA_DIR_MARKER);
        if !marker.exists() {
            create(path, &marker)?;
        }
        check(path, &marker)?;
        let lock = File::open(&marker).map_err(LakeError::read(&marker))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LakeError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(LakeError::write(&marker)(error)),
        }
        let data_dir = DataDir { path: path.to_owned(), _lock: lock };
        let staging = path.join(STAGING);
        if staging.join(COMPLETE).exists() {
            data_dir.swap(&staging)?;
        }
        remove(&staging)?;
        Ok(data_dir)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a new set of results beside the ones that are there.
    ///
    /// # Errors
    /// [`LakeError`] where its folder cannot be made.
    pub fn begin(self) -> Result<Staging, LakeError> {
        let path = self.path.join(STAGING);
        remove(&path)?;
        fs::create_dir_all(&path).map_err(LakeError::write(&path))?;
        Ok(Staging { data_dir: self, path, committed: false })
    }

    /// Puts what is staged in the place of what is there. May be repeated after a crash.
    fn swap(&self, staging: &Path) -> Result<(), LakeError> {
        // What the run has none of goes first; after a crash this finds staged only what is not yet in place.
        let mut names = fs::read_to_string(staging.join(COMPLETE)).map_err(LakeError::read(staging))?;
        for result in RESULTS.iter().filter(|result| !names.lines().any(|name| name == **result)) {
            remove(&self.path.join(result))?;
        }
        if names.ends_with('\n') {
            names.pop();
        }
        for name in names.lines() {
            let (from, to) = (staging.join(name), self.path.join(name));
            if from.exists() {
                remove(&to)?;
                fs::rename(&from, &to).map_err(LakeError::write(&to))?;
            }
        }
        remove(staging)
    }
}

impl Staging {
    pub fn events(&self) -> PathBuf {
        self.path.join("events")
    }

    pub fn views(&self) -> PathBuf {
        self.path.join("views")
    }

    pub fn quarantine(&self) -> PathBuf {
        self.path.join("quarantine")
    }

    /// Where any other file of the run is written; it gets into the folder with the rest.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes these results the folder's.
    ///
    /// # Errors
    /// [`LakeError`] where a rename fails. Opening the folder again goes on with it.
    pub fn commit(mut self) -> Result<PathBuf, LakeError> {
        let mut names = String::new();
        for entry in fs::read_dir(&self.path).map_err(LakeError::read(&self.path))? {
            let name = entry.map_err(LakeError::read(&self.path))?.file_name();
            if name != DATA_DIR_MARKER && name != COMPLETE {
                names += &(name.to_string_lossy() + "\n");
            }
        }
        let unfinished = self.path.join(".complete.unfinished");
        fs::write(&unfinished, names).map_err(LakeError::write(&unfinished))?;
        fs::rename(&unfinished, self.path.join(COMPLETE)).map_err(LakeError::write(&unfinished))?;
        self.committed = true;
        self.data_dir.swap(&self.path)?;
        Ok(self.data_dir.path.clone())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.committed {
            // The next one to open the folder tries again.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn create(path: &Path, marker: &Path) -> Result<(), LakeError> {
    fs::create_dir_all(path).map_err(LakeError::write(path))?;
    let unfinished = path.join(".millrace.json.unfinished");
    for entry in fs::read_dir(path).map_err(LakeError::read(path))? {
        if entry.map_err(LakeError::read(path))?.path() != unfinished {
            return Err(LakeError::NotADataDir { path: path.to_owned() });
        }
    }
    let text = serde_json::to_vec(&Marker { format: FORMAT.to_owned(), version: VERSION });
    fs::write(&unfinished, text.expect("a text and a number are JSON")).map_err(LakeError::write(&unfinished))?;
    fs::rename(&unfinished, marker).map_err(LakeError::write(marker))
}

fn check(path: &Path, marker: &Path) -> Result<(), LakeError> {
    let text = fs::read_to_string(marker).map_err(LakeError::read(marker))?;
    let known = format!("{FORMAT} {VERSION}");
    let found = match serde_json::from_str::<Marker>(&text) {
        Ok(found) => format!("{} {}", found.format, found.version),
        Err(_) => "unknown".to_owned(),
    };
    if found == known { Ok(()) } else { Err(LakeError::DataDirVersion { path: path.to_owned(), found, known }) }
}

fn remove(path: &Path) -> Result<(), LakeError> {
    let result = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LakeError::write(path)(error)),
        _ => Ok(()),
    }
}
