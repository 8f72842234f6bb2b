//! What a file is, by its first bytes, and the reader that undoes its compression.

use super::{Progress, SourceError};
use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const INPUT_BUFFER_BYTES: usize = 128 << 10;
pub(crate) const MAGIC_BYTES: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Lines,
    Gzip,
    Zstd,
    Parquet,
}

impl Format {
    pub(crate) fn of(first_bytes: &[u8]) -> Format {
        match first_bytes {
            [0x1F, 0x8B, ..] => Format::Gzip,
            [0x28, 0xB5, 0x2F, 0xFD, ..] => Format::Zstd,
            // A skippable frame, with which some writers begin.
            [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Format::Zstd,
            b"PAR1" => Format::Parquet,
            _ => Format::Lines,
        }
    }
}

/// Bytes read from the file itself, for progress and to name the place of a fault.
#[derive(Debug)]
pub(crate) struct Counting<R> {
    inner: R,
    progress: Progress,
    position: Arc<AtomicU64>,
}

impl<R: Read> Counting<R> {
    pub(crate) fn new(inner: R, progress: Progress) -> Counting<R> {
        Counting { inner, progress, position: Arc::default() }
    }

    pub(crate) fn position(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.position)
    }
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.progress.add(read as u64);
        self.position.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Reads up to four bytes, fewer only at the end.
pub(crate) fn first_bytes(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(MAGIC_BYTES);
    stream.take(MAGIC_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The decompressed stream. Gzip members and zstd frames may follow one another.
///
/// # Errors
/// Where the decoder cannot be set up.
pub(crate) fn decode(
    stream: impl Read + Send + 'static,
    format: Format,
    path: &Path,
) -> Result<Box<dyn Read + Send>, SourceError> {
    let buffered = |stream| BufReader::with_capacity(INPUT_BUFFER_BYTES, stream);
    Ok(match format {
        Format::Gzip => Box::new(MultiGzDecoder::new(buffered(stream))),
        Format::Zstd => {
            Box::new(zstd::stream::read::Decoder::with_buffer(buffered(stream)).map_err(SourceError::unreadable(path))?)
        }
        Format::Lines | Format::Parquet => Box::new(stream),
    })
}
