//! Files that have no name in the store yet.
//!
//! Whether one is still written tells a lock on it, not the process id in its name: processes in two containers may have the
//! same id, and one on another machine has one that means nothing here.

use super::super::key::RESERVED;
use super::{Fault, folders};
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Dropped, it is removed.
pub(super) struct Temp {
    path: PathBuf,
    file: File,
    is_kept: bool,
}

impl Temp {
    /// A root that is not there is made, if it may be.
    pub(super) fn new(root: &Path, may_make_root: bool) -> Result<Temp, Fault> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let folder = root.join(RESERVED);
        loop {
            let path = folder.join(format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
            let file = match File::create_new(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    match fs::create_dir(&folder) {
                        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                        Err(error) if error.kind() == ErrorKind::NotFound && may_make_root => {
                            fs::create_dir_all(&folder).map_err(Fault::at(&folder))?;
                        }
                        made => made.map_err(Fault::at(&folder))?,
                    }
                    // The root may be new, too. What is above it is not ours, and perhaps not for us to read.
                    root.parent().map(folders::sync_one);
                    continue;
                }
                Err(error) => return Err(Fault::at(&path)(error)),
            };
            match file.try_lock() {
                // A sweep was faster than the lock.
                Err(TryLockError::WouldBlock) => continue,
                // Without locks a sweep removes nothing.
                Ok(()) | Err(TryLockError::Error(_)) => {}
            }
            if file.metadata().map_err(Fault::at(&path))?.nlink() > 0 {
                return Ok(Temp { path, file, is_kept: false });
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// It has another name now.
    pub(super) fn keep(&mut self) {
        self.is_kept = true;
    }

    pub(super) fn is_kept(&self) -> bool {
        self.is_kept
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.is_kept {
            // What cannot be removed is left for a sweep.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes those that nobody holds. Returns how many.
pub(super) fn sweep(root: &Path) -> Result<u64, Fault> {
    let folder = root.join(RESERVED);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        entries => entries.map_err(Fault::at(&folder))?,
    };
    let mut removed = 0;
    for entry in entries {
        let path = entry.map_err(Fault::at(&folder))?.path();
        // One that is gone was finished, or swept by another.
        let Ok(file) = File::open(&path) else { continue };
        if file.try_lock().is_err() {
            continue;
        }
        match fs::remove_file(&path) {
            Ok(()) => removed += 1,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Fault::at(&path)(error)),
        }
    }
    Ok(removed)
}
