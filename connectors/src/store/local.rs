//! A folder as a store.
//!
//! ```text
//! create, put       _tmp/<pid>-<n> ──fsync──▶ rename    ──▶ <key> ──fsync of its folders
//!                   (with fsync, large files go past the page cache)
//! put_if_absent     _tmp/<pid>-<n> ──fsync──▶ hard link ──▶ <key> ──fsync of its folders; "there is one" = lost
//! ```
//! Folders come and go with what is in them, as if there were none.

mod direct;
mod folders;
mod temp;

use super::{Entry, Outcome, Put, Store, StoreError, Upload, key};
use bytes::Bytes;
use direct::Direct;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use temp::Temp;

/// A smaller file is written at once.
const SMALL_BYTES: usize = 1 << 20;
/// How often a folder that another removes as empty is made anew.
const FOLDER_TRIES: u32 = 100;

#[derive(Clone, Debug)]
pub struct Local {
    root: PathBuf,
    sync: bool,
    /// The folder is not made when something is written, but has to be there.
    exists: bool,
}

/// A step of a call, and where it failed.
struct Fault {
    path: PathBuf,
    error: io::Error,
}

impl Fault {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Fault {
        let path = path.to_owned();
        move |error| Fault { path, error }
    }
}

impl Local {
    /// A folder, which is made when something is written. Without `sync`, what was written lasts only as long as the machine runs.
    pub fn new(root: &Path, sync: bool) -> Local {
        Local { root: root.to_owned(), sync, exists: false }
    }

    /// One whose folder is there: should it go, nothing is written to another in its place.
    pub fn existing(self) -> Local {
        Local { exists: true, ..self }
    }

    fn is_gone(&self) -> bool {
        self.exists && !self.root.exists()
    }

    /// Removes what processes left unfinished that are gone. Files that are being written stay. Returns how many.
    ///
    /// # Errors
    /// [`StoreError`] where they cannot be removed.
    pub fn sweep(&self) -> Result<u64, StoreError> {
        temp::sweep(&self.root).map_err(|fault| self.failed("sweep", key::RESERVED, fault))
    }

    fn failed(&self, what: &'static str, key: &str, fault: Fault) -> StoreError {
        let outcome = match fault.error.kind() {
            ErrorKind::Interrupted
            | ErrorKind::TimedOut
            | ErrorKind::WouldBlock
            | ErrorKind::ResourceBusy
            | ErrorKind::StaleNetworkFileHandle => Outcome::Passing,
            ErrorKind::InvalidInput
            | ErrorKind::InvalidFilename
            | ErrorKind::Unsupported
            | ErrorKind::NotADirectory => Outcome::Refused,
            ErrorKind::NotFound if self.is_gone() => Outcome::Refused,
            // Rights, space, descriptors, a mount that went away: people mend that.
            _ => Outcome::Hindered,
        };
        self.failed_with(what, key, fault, outcome)
    }

    fn failed_with(&self, what: &'static str, key: &str, fault: Fault, outcome: Outcome) -> StoreError {
        let Fault { path, error } = fault;
        let advice = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; free some space there",
            ErrorKind::PermissionDenied => "; check who may write and read there",
            ErrorKind::ReadOnlyFilesystem => "; it is mounted read-only",
            ErrorKind::NotFound if self.is_gone() => "; the folder was there and was removed or moved",
            _ => "",
        };
        let message = format!("{}: {error}{advice}", path.display());
        StoreError::Failed { what, place: self.place(), key: key.to_owned(), message, outcome }
    }

    fn not_found(&self, key: &str) -> StoreError {
        StoreError::NotFound { place: self.place(), key: key.to_owned() }
    }

    fn writer(&self, temp: &Temp, key: &str) -> Result<Direct, StoreError> {
        let file = temp.file().try_clone();
        let file = file.map_err(|error| self.failed("write", key, Fault::at(temp.path())(error)))?;
        Ok(Direct::new(file, temp.path(), self.sync))
    }

    fn temp(&self, key: &str) -> Result<Temp, StoreError> {
        key::check(key)?;
        Temp::new(&self.root, !self.exists).map_err(|fault| self.failed("write", key, fault))
    }

    /// Gives a file its name.
    fn publish(&self, temp: &mut Temp, key: &str, is_new: bool) -> Result<Put, StoreError> {
        let path = self.root.join(key);
        let folder = path.parent().expect("a key is below the root");
        if self.sync {
            temp.file().sync_all().map_err(|error| self.failed("write", key, Fault::at(temp.path())(error)))?;
        }
        let mut tries = 0;
        let put = loop {
            if temp.is_kept() {
                // It has its name since an earlier try.
                break Put::Created;
            }
            tries += 1;
            // Another may remove a folder between two steps, for it is empty.
            let may_try_again =
                |error: &io::Error| error.kind() == ErrorKind::NotFound && tries < FOLDER_TRIES && !self.is_gone();
            if self.is_gone() {
                return Err(self.failed("write", key, Fault::at(&self.root)(ErrorKind::NotFound.into())));
            }
            match fs::create_dir_all(folder) {
                Err(error) if may_try_again(&error) => continue,
                made => made.map_err(|error| self.failed("write", key, Fault::at(folder)(error)))?,
            }
            let named = if is_new { fs::hard_link(temp.path(), &path) } else { fs::rename(temp.path(), &path) };
            match named {
                Ok(()) => break Put::Created,
                Err(error) if is_new && error.kind() == ErrorKind::AlreadyExists => break Put::Exists,
                Err(error) if may_try_again(&error) => {}
                Err(error) => return Err(self.unnamed(key, &path, error, is_new)),
            }
        };
        if put == Put::Created && !is_new {
            temp.keep();
        }
        if self.sync {
            // It shows, and whether it outlives a crash is not known.
            let unknown = |fault| self.failed_with("write", key, fault, Outcome::Indefinite);
            folders::sync(&self.root, folder).map_err(unknown)?;
        }
        Ok(put)
    }

    fn unnamed(&self, key: &str, path: &Path, error: io::Error, is_new: bool) -> StoreError {
        let has_no_links = matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied);
        let error = if is_new && has_no_links {
            let advice = "a file system without hard links cannot tell who was first: keep the store on another";
            io::Error::new(error.kind(), format!("{error}; {advice}"))
        } else {
            error
        };
        self.failed("write", key, Fault::at(path)(error))
    }

    fn write(&self, key: &str, bytes: &[u8], is_new: bool) -> Result<Put, StoreError> {
        let mut temp = self.temp(key)?;
        let written = if bytes.len() < SMALL_BYTES {
            temp.file().write_all(bytes)
        } else {
            let mut writer = self.writer(&temp, key)?;
            writer.write_all(bytes).and_then(|()| writer.finish())
        };
        written.map_err(|error| self.failed("write", key, Fault::at(temp.path())(error)))?;
        self.publish(&mut temp, key, is_new)
    }

    fn read<T>(&self, key: &str, read: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, StoreError> {
        key::check(key)?;
        let path = self.root.join(key);
        read(&path).map_err(|error| {
            if is_absent(&error) { self.not_found(key) } else { self.failed("read", key, Fault::at(&path)(error)) }
        })
    }
}

/// A folder is no object, nor is what would be below a file.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory)
}

impl Store for Local {
    fn create(&self, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        let temp = self.temp(key)?;
        let file = self.writer(&temp, key)?;
        Ok(Box::new(LocalUpload { store: self.clone(), file, temp, key: key.to_owned(), bytes: 0 }))
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.write(key, &bytes, false).map(drop)
    }

    fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put, StoreError> {
        self.write(key, &bytes, true)
    }

    fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.read(key, |path| fs::read(path)).map(Bytes::from)
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        if range.is_empty() {
            return key::check(key).map(|()| Bytes::new());
        }
        let bytes = self.read(key, |path| {
            let mut file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(ErrorKind::IsADirectory.into());
            }
            let wanted = metadata.len().min(range.end).saturating_sub(range.start);
            file.seek(SeekFrom::Start(range.start))?;
            let mut bytes = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
            file.take(wanted).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        bytes.map(Bytes::from)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        key::check_prefix(prefix)?;
        folders::list(&self.root, prefix).map_err(|fault| self.failed("list", prefix, fault))
    }

    fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        keys.iter().try_for_each(|key| key::check(key))?;
        let mut touched = BTreeSet::new();
        for key in keys {
            let path = self.root.join(key);
            match fs::remove_file(&path) {
                Ok(()) => touched.extend(path.parent().map(Path::to_owned)),
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(self.failed("delete", key, Fault::at(&path)(error))),
            }
        }
        let left: BTreeSet<PathBuf> = touched.iter().map(|folder| folders::prune(&self.root, folder)).collect();
        for folder in left.iter().filter(|_| self.sync) {
            let unknown = |fault| self.failed_with("delete", &keys[0], fault, Outcome::Indefinite);
            folders::sync_one(folder).map_err(unknown)?;
        }
        Ok(())
    }

    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn local_root(&self) -> Option<&Path> {
        Some(&self.root)
    }
}

struct LocalUpload {
    store: Local,
    file: Direct,
    temp: Temp,
    key: String,
    bytes: u64,
}

impl LocalUpload {
    fn failed(&self, error: io::Error) -> StoreError {
        self.store.failed("write", &self.key, Fault::at(self.temp.path())(error))
    }

    fn io_failed(&self, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), self.failed(error))
    }
}

impl Write for LocalUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes).map_err(|error| self.io_failed(error))?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(|error| self.io_failed(error))
    }
}

impl Upload for LocalUpload {
    fn finish(&mut self) -> Result<u64, StoreError> {
        let LocalUpload { store, file, temp, key, bytes } = self;
        file.finish().map_err(|error| store.failed("write", key, Fault::at(temp.path())(error)))?;
        store.publish(temp, key, false)?;
        Ok(*bytes)
    }
}
