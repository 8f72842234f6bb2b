//! A directory.
//!
//! An object is written under `_tmp/`, and renamed (or, where it must be new, linked) when it is whole.

use super::{Entry, Put, Store, StoreError, Upload, key};
use bytes::Bytes;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const TEMPORARY: &str = "_tmp";

pub struct Local {
    root: PathBuf,
    sync: bool,
}

impl Local {
    /// With `sync`, an object is on the disk itself before it shows.
    pub fn new(root: &Path, sync: bool) -> Local {
        Local { root: root.to_owned(), sync }
    }

    /// Removes what a process that ended early has left. Nobody may be writing.
    ///
    /// # Errors
    /// [`StoreError`] where it cannot be removed.
    pub fn sweep(&self) -> Result<(), StoreError> {
        match fs::remove_dir_all(self.root.join(TEMPORARY)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.error("sweep", TEMPORARY)(error)),
            _ => Ok(()),
        }
    }

    fn error(&self, what: &'static str, key: &str) -> impl Fn(io::Error) -> StoreError + use<> {
        let (place, key) = (self.place(), key.to_owned());
        move |error| match error.kind() {
            io::ErrorKind::NotFound if what == "read" => {
                StoreError::NotFound { place: place.clone(), key: key.clone() }
            }
            _ => StoreError::Io { what, place: place.clone(), key: key.clone(), error },
        }
    }

    fn begin(&self, key: &str) -> Result<LocalUpload, StoreError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        key::check(key)?;
        let error = self.error("write", key);
        let path = self.root.join(key);
        let folder = path.parent().unwrap_or(&self.root).to_owned();
        fs::create_dir_all(&folder).map_err(&error)?;
        let temporary = self.root.join(TEMPORARY);
        fs::create_dir_all(&temporary).map_err(&error)?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let temporary = temporary.join(format!("{}-{number}", std::process::id()));
        let file = BufWriter::new(File::create(&temporary).map_err(&error)?);
        Ok(LocalUpload { file, temporary, path, folder, sync: self.sync, bytes: 0, error: Box::new(error) })
    }
}

struct LocalUpload {
    file: BufWriter<File>,
    temporary: PathBuf,
    path: PathBuf,
    folder: PathBuf,
    sync: bool,
    bytes: u64,
    error: Box<dyn Fn(io::Error) -> StoreError + Send>,
}

impl LocalUpload {
    /// Everything is in the file, and on the disk where that is asked for.
    fn complete(&mut self) -> Result<(), StoreError> {
        self.file.flush().map_err(&self.error)?;
        if self.sync { self.file.get_ref().sync_all().map_err(&self.error) } else { Ok(()) }
    }

    fn named(&self) -> Result<(), StoreError> {
        if self.sync {
            File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(&self.error)?;
        }
        Ok(())
    }
}

impl Write for LocalUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Upload for LocalUpload {
    fn finish(mut self: Box<Self>) -> Result<u64, StoreError> {
        self.complete()?;
        fs::rename(&self.temporary, &self.path).map_err(&self.error)?;
        self.named()?;
        Ok(self.bytes)
    }
}

impl Drop for LocalUpload {
    fn drop(&mut self) {
        // Renamed, it is not there any more. Otherwise the next sweep tries again.
        let _ = fs::remove_file(&self.temporary);
    }
}

impl Store for Local {
    fn create(&self, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        Ok(Box::new(self.begin(key)?))
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let mut upload = self.begin(key)?;
        upload.write_all(&bytes).map_err(self.error("write", key))?;
        Box::new(upload).finish().map(drop)
    }

    fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put, StoreError> {
        let mut upload = self.begin(key)?;
        upload.write_all(&bytes).map_err(self.error("write", key))?;
        upload.complete()?;
        match fs::hard_link(&upload.temporary, &upload.path) {
            Ok(()) => upload.named().map(|()| Put::Created),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Ok(if self.get(key)? == bytes { Put::Created } else { Put::Exists })
            }
            Err(error) => Err(self.error("write", key)(error)),
        }
    }

    fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        key::check(key)?;
        fs::read(self.root.join(key)).map(Bytes::from).map_err(self.error("read", key))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        // From the last whole folder of the prefix on.
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut entries = Vec::new();
        let mut folders = vec![self.root.join(folder)];
        let error = self.error("list", prefix);
        while let Some(folder) = folders.pop() {
            let listed = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                listed => listed.map_err(&error)?,
            };
            for entry in listed {
                let entry = entry.map_err(&error)?;
                let path = entry.path();
                let metadata = match entry.metadata() {
                    // Removed meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    metadata => metadata.map_err(&error)?,
                };
                if metadata.is_dir() {
                    folders.push(path);
                    continue;
                }
                let key = path.strip_prefix(&self.root).unwrap_or(&path).to_string_lossy().into_owned();
                if key.starts_with(prefix) && !key.starts_with(TEMPORARY) {
                    entries.push(Entry { key, bytes: metadata.len() });
                }
            }
        }
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(entries)
    }

    fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        for key in keys {
            key::check(key)?;
            let path = self.root.join(key);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.error("delete", key)(error)),
                _ => {}
            }
            // A folder that is empty now goes, too; one that is not stays.
            let mut folder = path.parent();
            while let Some(parent) = folder.filter(|parent| **parent != self.root && fs::remove_dir(parent).is_ok()) {
                folder = parent.parent();
            }
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
