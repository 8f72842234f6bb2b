//! A local folder that is ours: it has `millrace.json`, which is written first; a folder without it is not touched unless it is
//! empty. Whoever writes to it holds a lock on that file. Of a folder that several machines share, the lock may tell nothing:
//! what decides between two writers is the manifest.

use super::LakeError;
use crate::short::short;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The file that makes a folder ours.
pub const DATA_DIR_MARKER: &str = "millrace.json";
const FORMAT: &str = "millrace-data";
const VERSION: u32 = 2;
/// How long the lock of another is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    format: String,
    version: u32,
}

/// A folder of results that this process may write to: it holds the lock.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    lock: File,
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
        // One that was just killed holds its lock until the system has cleared it away.
        let patience = Instant::now() + PATIENCE;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < patience => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return Err(LakeError::Locked { path: path.to_owned() }),
                Err(TryLockError::Error(error)) => return Err(LakeError::write(&marker)(error)),
            }
        }
        Ok(DataDir { path: path.to_owned(), lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is still the folder that was opened: it was not removed or moved, and no other is in its place.
    pub fn is_there(&self) -> bool {
        let there = fs::metadata(self.path.join(DATA_DIR_MARKER));
        let same = |one: &fs::Metadata, other: &fs::Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
        matches!((self.lock.metadata(), there), (Ok(ours), Ok(there)) if same(&ours, &there))
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
        Ok(found) => short(&format!("{} {}", found.format, found.version)),
        Err(_) => "unknown".to_owned(),
    };
    if found == known { Ok(()) } else { Err(LakeError::DataDirVersion { path: path.to_owned(), found, known }) }
}
