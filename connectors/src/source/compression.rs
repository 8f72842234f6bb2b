//! What a file is, by its first bytes, and the reader that undoes its compression.

use super::gzip::Members;
use super::{Progress, SourceError};
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const INPUT_BUFFER_BYTES: usize = 128 << 10;
pub(crate) const MAGIC_BYTES: usize = 6;
/// zstd keeps as much of what it has decoded as its frames ask for: 2^31 bytes (`--long=31`), the most that its library takes.
const ZSTD_WINDOW_LOG: u32 = if cfg!(target_pointer_width = "32") { 30 } else { 31 };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Lines,
    Gzip,
    Zstd,
    Parquet,
    /// Something that is not read, by its name.
    Foreign(&'static str),
}

impl Format {
    pub(crate) fn of(first_bytes: &[u8]) -> Format {
        match first_bytes {
            [0x1F, 0x8B, ..] => Format::Gzip,
            [0x28, 0xB5, 0x2F, 0xFD, ..] => Format::Zstd,
            // A skippable frame, with which some writers begin.
            [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Format::Zstd,
            [b'P', b'A', b'R', b'1', ..] => Format::Parquet,
            // None of these begins a text: with some, a byte that no text has follows.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41] => Format::Foreign("bzip2"),
            // Of nothing at all.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72] => Format::Foreign("bzip2"),
            [0xFD, b'7', b'z', b'X', b'Z', 0x00] => Format::Foreign("xz"),
            [b'7', b'z', 0xBC, 0xAF, 0x27, 0x1C] => Format::Foreign("7-Zip"),
            [b'P', b'K', 0x03, 0x04, ..] | [b'P', b'K', 0x05, 0x06, ..] => Format::Foreign("zip"),
            [0x04, 0x22, 0x4D, 0x18, ..] => Format::Foreign("lz4"),
            [0x1F, 0x9D, ..] => Format::Foreign("compress"),
            [0xFF, 0x06, 0x00, 0x00, b's', b'N'] => Format::Foreign("Snappy"),
            [b'O', b'b', b'j', 0x01, ..] => Format::Foreign("Avro"),
            [b'A', b'R', b'R', b'O', b'W', b'1'] => Format::Foreign("Arrow IPC"),
            _ => Format::Lines,
        }
    }

    /// By the end of a name, what is not read: of files that a search finds, and that hold events as far as their names say.
    pub(crate) fn foreign_by_name(name: &str) -> Option<&'static str> {
        const NAMES: [(&str, &str); 8] = [
            (".bz2", "bzip2"),
            (".xz", "xz"),
            (".lzma", "lzma"),
            (".lz4", "lz4"),
            (".br", "Brotli"),
            (".7z", "7-Zip"),
            (".zip", "zip"),
            (".snappy", "Snappy"),
        ];
        let name = name.to_ascii_lowercase();
        NAMES.into_iter().find(|(end, _)| name.ends_with(end)).map(|(_, format)| format)
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

/// Reads as many bytes as say what a file is, fewer only at its end.
pub(crate) fn first_bytes(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(MAGIC_BYTES);
    stream.take(MAGIC_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The decompressed stream. Gzip members and zstd frames may follow one another, and zeros may follow gzip.
///
/// # Errors
/// Where the decoder cannot be set up, or there is none.
pub(crate) fn decode(
    stream: impl Read + Send + 'static,
    format: Format,
    path: &Path,
) -> Result<Box<dyn Read + Send>, SourceError> {
    let buffered = |stream| BufReader::with_capacity(INPUT_BUFFER_BYTES, stream);
    Ok(match format {
        Format::Gzip => Box::new(Members::new(buffered(stream))),
        Format::Zstd => {
            let unreadable = SourceError::unreadable(path);
            let decoder = zstd::stream::read::Decoder::with_buffer(buffered(stream));
            let wide = |mut decoder: zstd::stream::read::Decoder<'static, _>| {
                decoder.window_log_max(ZSTD_WINDOW_LOG).map(|()| decoder)
            };
            Box::new(decoder.and_then(wide).map_err(unreadable)?)
        }
        Format::Foreign(format) => return Err(SourceError::ForeignFormat { path: path.to_owned(), format }),
        Format::Lines | Format::Parquet => Box::new(stream),
    })
}

/// Whether a decoder was asked for a window beyond the largest there is.
pub(crate) fn is_window_too_large(format: Format, error: &io::Error) -> bool {
    // The library's name of its error, which the binding hands on as a text only.
    format == Format::Zstd && error.to_string().contains("too much memory")
}
