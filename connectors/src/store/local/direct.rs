//! Writing past the page cache (`O_DIRECT`): what is synced and not read soon need not be copied there first. Where the file system
//! does not have it, writing is as usual.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::Path;

/// Written at once.
const BLOCK: usize = 256 << 10;
/// What the system asks of addresses, offsets and lengths, on any disk there is.
const ALIGNMENT: usize = 4096;

/// A buffered writer.
pub(super) struct Direct {
    file: File,
    /// The same file, past the page cache.
    direct: Option<File>,
    /// A block that begins at `start`, where the address is aligned.
    buffer: Vec<u8>,
    start: usize,
    filled: usize,
    written: u64,
    /// Where the file is to end, once its last block was padded.
    end: Option<u64>,
}

impl Direct {
    /// Of an empty file; past the page cache if that is `wanted` and there.
    pub(super) fn new(file: File, path: &Path, wanted: bool) -> Direct {
        let buffer = vec![0; BLOCK + ALIGNMENT];
        let start = buffer.as_ptr().align_offset(ALIGNMENT);
        let direct = if wanted && start <= ALIGNMENT { open(path) } else { None };
        Direct { file, direct, start: start.min(ALIGNMENT), buffer, filled: 0, written: 0, end: None }
    }

    /// Writes what is left. The file ends there. One that failed may be tried again, as any write may.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if let Some(end) = self.end {
            self.write_block()?;
            return self.file.set_len(end);
        }
        // A small file is not worth it.
        if self.written == 0 {
            self.direct = None;
        }
        if self.direct.is_none() {
            return self.write_block();
        }
        let padded = self.filled.next_multiple_of(ALIGNMENT);
        let end = self.written + self.filled as u64;
        self.buffer[self.start + self.filled..self.start + padded].fill(0);
        (self.filled, self.end) = (padded, Some(end));
        self.write_block()?;
        self.file.set_len(end)
    }

    fn write_block(&mut self) -> io::Result<()> {
        let block = &self.buffer[self.start..self.start + self.filled];
        if block.is_empty() {
            return Ok(());
        }
        if let Some(direct) = &mut self.direct {
            // An earlier try may have written a part of it.
            direct.seek(SeekFrom::Start(self.written))?;
            match direct.write_all(block) {
                // Some file systems say so only here.
                Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
                    self.direct = None;
                }
                result => {
                    result?;
                    (self.written, self.filled) = (self.written + block.len() as u64, 0);
                    return Ok(());
                }
            }
        }
        self.file.seek(SeekFrom::Start(self.written))?;
        self.file.write_all(block)?;
        (self.written, self.filled) = (self.written + block.len() as u64, 0);
        Ok(())
    }
}

impl Write for Direct {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.filled == BLOCK {
            self.write_block()?;
        }
        let taken = bytes.len().min(BLOCK - self.filled);
        let at = self.start + self.filled;
        self.buffer[at..at + taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        Ok(taken)
    }

    /// Nothing: what is not finished shows nowhere.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn open(path: &Path) -> Option<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path).ok()
}

#[cfg(not(target_os = "linux"))]
fn open(_path: &Path) -> Option<File> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes so many bytes in pieces, and reads them.
    fn check(bytes: usize, piece: usize, wanted: bool) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let file = File::create_new(&path).expect("a file");
        let mut direct = Direct::new(file, &path, wanted);
        let all: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        all.chunks(piece).for_each(|piece| direct.write_all(piece).expect("it is written"));
        direct.finish().expect("it is written");
        assert!(std::fs::read(&path).expect("a file") == all, "{bytes} bytes in pieces of {piece}");
    }

    #[test]
    fn every_byte_is_written_once() {
        for bytes in [0, 1, ALIGNMENT - 1, ALIGNMENT, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 4097] {
            for piece in [997, ALIGNMENT, BLOCK, BLOCK + 1] {
                check(bytes, piece, true);
                check(bytes, piece, false);
            }
        }
    }

    #[test]
    fn a_file_system_that_refuses_in_the_middle_is_written_as_usual() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let file = File::create_new(&path).expect("a file");
        let mut direct = Direct::new(file, &path, true);
        direct.buffer = vec![0; 2 * ALIGNMENT + BLOCK];
        direct.start = direct.buffer[1..].as_ptr().align_offset(ALIGNMENT) + 1;
        let block = vec![7; BLOCK];
        direct.write_all(&block).expect("it is written");
        direct.write_block().expect("it is written");
        // An address that is not aligned is refused by most.
        direct.start -= 1;
        direct.write_all(&block).expect("it is written");
        direct.write_all(&block[..1]).expect("it is written");
        direct.finish().expect("it is written");
        assert!(std::fs::read(&path).expect("a file") == vec![7; 2 * BLOCK + 1]);
    }
}
