//! Appends lines to a log. One writer at a time: it holds a lock on the marker file.

use super::descriptors::{Openings, most_open};
use super::segments::{segment_path, segments, whole_lines};
use super::{LOG_MARKER, Marker, PARTITIONS_MAX, partition_directory};
use crate::source::SourceError;
use memchr::memchr2;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const BUFFER_BYTES: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("cannot write {path}: {error}; check free space and permissions", path = path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Unreadable(#[from] SourceError),
    #[error("another process writes to the log {path}: stop it first", path = path.display())]
    Locked { path: PathBuf },
    #[error("{path} holds files and is no log: choose an empty or a new directory", path = path.display())]
    NotALog { path: PathBuf },
    #[error("the log {path} has {found} partitions and {wanted} were asked for: the number of a log cannot change", path = path.display())]
    PartitionsDiffer { path: PathBuf, found: u32, wanted: u32 },
    #[error("a log has between 1 and {PARTITIONS_MAX} partitions, not {0}")]
    BadPartitionCount(u32),
    #[error("there is no partition {0} in this log")]
    NoSuchPartition(u32),
    #[error("a record of a log is one line: remove its line breaks")]
    LineBreak,
    #[error("a record of a log is not blank")]
    Blank,
}

/// Lines are buffered: they are in the files after [`LogWriter::flush`], and safe after [`LogWriter::sync`].
#[derive(Debug)]
pub struct LogWriter {
    segment_bytes: u64,
    partitions: Vec<Partition>,
    openings: Openings,
    /// Holds the lock for as long as the writer lives.
    _marker: File,
}

#[derive(Debug)]
struct Partition {
    directory: PathBuf,
    /// The segment at its end. None while it is closed.
    file: Option<File>,
    base: u64,
    /// The offset of the next line, with what is buffered.
    end: u64,
    buffer: Vec<u8>,
    dirty: bool,
}

impl LogWriter {
    /// Opens the log in `directory`, or starts one there. A torn last line, which a crash leaves, is cut off.
    ///
    /// # Errors
    /// [`LogError`] where the directory is something else, is locked, or has another number of partitions.
    pub fn open(directory: &Path, partitions: u32, segment_bytes: u64) -> Result<LogWriter, LogError> {
        if !(1..=PARTITIONS_MAX).contains(&partitions) {
            return Err(LogError::BadPartitionCount(partitions));
        }
        let marker_path = directory.join(LOG_MARKER);
        if !marker_path.exists() {
            create(directory, partitions)?;
        }
        let marker = File::open(&marker_path).map_err(io_error(&marker_path))?;
        match marker.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LogError::Locked { path: directory.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(io_error(&marker_path)(error)),
        }
        let found = Marker::read(directory)?.partitions;
        if found != partitions {
            return Err(LogError::PartitionsDiffer { path: directory.to_owned(), found, wanted: partitions });
        }
        let partitions = (0..partitions).map(|number| Partition::open(partition_directory(directory, number)));
        Ok(LogWriter {
            segment_bytes: segment_bytes.max(1),
            partitions: partitions.collect::<Result<_, _>>()?,
            openings: Openings::new(most_open()),
            _marker: marker,
        })
    }

    /// Appends one line and returns its offset.
    ///
    /// # Errors
    /// [`LogError`] where the line is not one, or a full buffer cannot be written.
    pub fn append(&mut self, partition: u32, line: &[u8]) -> Result<u64, LogError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if memchr2(b'\n', b'\r', line).is_some() {
            return Err(LogError::LineBreak);
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            return Err(LogError::Blank);
        }
        let log = self.partitions.get_mut(partition as usize).ok_or(LogError::NoSuchPartition(partition))?;
        if log.end - log.base >= self.segment_bytes {
            self.write(partition as usize, Partition::roll)?;
        }
        let log = &mut self.partitions[partition as usize];
        let offset = log.end;
        log.buffer.extend_from_slice(line);
        log.buffer.push(b'\n');
        log.end += line.len() as u64 + 1;
        if log.buffer.len() >= BUFFER_BYTES {
            self.write(partition as usize, Partition::flush)?;
        }
        Ok(offset)
    }

    /// Does something with a partition's file, and closes another's where too many are open.
    fn write(&mut self, partition: usize, act: fn(&mut Partition) -> Result<(), LogError>) -> Result<(), LogError> {
        let log = &mut self.partitions[partition];
        let was_open = log.file.is_some();
        let result = act(log);
        if !was_open
            && log.file.is_some()
            && let Some(other) = self.openings.opened(partition)
        {
            self.partitions[other].file = None;
        }
        result
    }

    /// The offset that the next line of a partition will get.
    pub fn end(&self, partition: u32) -> Option<u64> {
        self.partitions.get(partition as usize).map(|log| log.end)
    }

    /// Makes what was appended visible to readers.
    ///
    /// # Errors
    /// [`LogError::Io`] where a file cannot be written.
    pub fn flush(&mut self) -> Result<(), LogError> {
        (0..self.partitions.len()).try_for_each(|partition| self.write(partition, Partition::flush))
    }

    /// Makes what was appended survive a crash of the machine.
    ///
    /// # Errors
    /// [`LogError::Io`] where a file cannot be written.
    pub fn sync(&mut self) -> Result<(), LogError> {
        (0..self.partitions.len()).try_for_each(|partition| self.write(partition, Partition::sync))
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        // Whoever needs to know calls `flush` or `sync`.
        let _ = self.flush();
    }
}

/// Folders first, the marker last: a directory with a marker is a whole log.
fn create(directory: &Path, partitions: u32) -> Result<(), LogError> {
    fs::create_dir_all(directory).map_err(io_error(directory))?;
    let unfinished = LOG_MARKER.to_owned() + ".tmp";
    for entry in fs::read_dir(directory).map_err(io_error(directory))? {
        let name = entry.map_err(io_error(directory))?.file_name();
        let name = name.to_string_lossy();
        if name != unfinished && !name.starts_with("partition=") {
            return Err(LogError::NotALog { path: directory.to_owned() });
        }
    }
    for number in 0..partitions {
        let path = partition_directory(directory, number);
        fs::create_dir_all(&path).map_err(io_error(&path))?;
    }
    let path = directory.join(&unfinished);
    let text = serde_json::to_vec(&Marker::new(partitions)).expect("a struct of a text and numbers is JSON");
    fs::write(&path, text).map_err(io_error(&path))?;
    fs::rename(&path, directory.join(LOG_MARKER)).map_err(io_error(&path))
}

impl Partition {
    fn open(directory: PathBuf) -> Result<Partition, LogError> {
        let last = segments(&directory)?.last().copied();
        let base = last.map_or(0, |segment| segment.base);
        let mut file = open_segment(&directory, base)?;
        let path = segment_path(&directory, base);
        let bytes = whole_lines(&mut file).map_err(io_error(&path))?;
        if last.is_some_and(|segment| segment.bytes != bytes) {
            file.set_len(bytes).map_err(io_error(&path))?;
        }
        Ok(Partition { directory, file: None, base, end: base + bytes, buffer: Vec::new(), dirty: false })
    }

    fn flush(&mut self) -> Result<(), LogError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut file = self.take_file()?;
        self.dirty = true;
        let written = file.write_all(&self.buffer);
        if written.is_err() {
            // So that trying again does not write a part of it twice.
            let _ = file.set_len(self.end - self.base - self.buffer.len() as u64);
        }
        self.file = Some(file);
        written.map_err(io_error(&segment_path(&self.directory, self.base)))?;
        self.buffer.clear();
        Ok(())
    }

    /// The file at hand, opened again if it was closed: to be given back.
    fn take_file(&mut self) -> Result<File, LogError> {
        if let Some(file) = self.file.take() {
            return Ok(file);
        }
        let path = segment_path(&self.directory, self.base);
        // One that was removed meanwhile is not begun anew: its offsets would be those of other lines.
        OpenOptions::new().append(true).open(&path).map_err(io_error(&path))
    }

    fn sync(&mut self) -> Result<(), LogError> {
        self.flush()?;
        if self.dirty {
            let file = self.take_file()?;
            let synced = file.sync_data();
            self.file = Some(file);
            synced.map_err(io_error(&segment_path(&self.directory, self.base)))?;
            self.dirty = false;
        }
        Ok(())
    }

    /// A segment is safe before its successor exists, so that only the last can ever be torn.
    fn roll(&mut self) -> Result<(), LogError> {
        self.sync()?;
        self.file = Some(open_segment(&self.directory, self.end)?);
        self.base = self.end;
        Ok(())
    }
}

fn open_segment(directory: &Path, base: u64) -> Result<File, LogError> {
    let path = segment_path(directory, base);
    OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(io_error(&path))
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> LogError + use<> {
    let path = path.to_owned();
    move |error| LogError::Io { path, error }
}
