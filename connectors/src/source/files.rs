//! One file, or standard input, as chunks: lines, compressed lines or Parquet.

use super::buffer::Pool;
use super::compression::{Counting, Format, MAGIC_BYTES, decode, first_bytes, is_window_too_large};
use super::cutter::{End, LineCutter};
use super::parquet_rows::ParquetRows;
use super::{Chunk, Progress, ReadOptions, SourceError};
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) enum FileChunks {
    Lines(Box<LineFile>),
    Parquet(Box<ParquetRows>),
}

pub(crate) struct LineFile {
    path: PathBuf,
    format: Format,
    stream: Box<dyn Read + Send>,
    cutter: LineCutter,
    file_bytes: Arc<AtomicU64>,
}

impl FileChunks {
    /// # Errors
    /// [`SourceError`] where the file cannot be opened.
    pub(crate) fn open(
        path: &Path,
        is_regular: bool,
        partition: u16,
        options: &ReadOptions,
        progress: &Progress,
        buffers: &Pool,
    ) -> Result<FileChunks, SourceError> {
        let file = File::open(path).map_err(SourceError::unreadable(path))?;
        let mut head = Counting::new(file, progress.clone());
        let magic = first_bytes(&mut head).map_err(SourceError::unreadable(path))?;
        if Format::of(&magic) != Format::Parquet {
            return FileChunks::lines(head, magic, is_regular, path, partition, options, buffers);
        }
        if !is_regular {
            return Err(SourceError::ParquetPipe { path: path.to_owned() });
        }
        let file = File::open(path).map_err(SourceError::unreadable(path))?;
        let rows = ParquetRows::open(file, path, partition, options, progress, MAGIC_BYTES as u64)?;
        Ok(FileChunks::Parquet(Box::new(rows)))
    }

    pub(crate) fn standard_input(
        partition: u16,
        options: &ReadOptions,
        progress: &Progress,
        buffers: &Pool,
    ) -> Result<FileChunks, SourceError> {
        let path = Path::new("-");
        let mut head = Counting::new(std::io::stdin(), progress.clone());
        let magic = first_bytes(&mut head).map_err(SourceError::unreadable(path))?;
        if Format::of(&magic) == Format::Parquet {
            return Err(SourceError::ParquetPipe { path: path.to_owned() });
        }
        FileChunks::lines(head, magic, false, path, partition, options, buffers)
    }

    fn lines(
        head: Counting<impl Read + Send + 'static>,
        magic: Vec<u8>,
        is_regular: bool,
        path: &Path,
        partition: u16,
        options: &ReadOptions,
        buffers: &Pool,
    ) -> Result<FileChunks, SourceError> {
        let format = Format::of(&magic);
        let file_bytes = head.position();
        let stream = decode(Cursor::new(magic).chain(head), format, path)?;
        let cutter = LineCutter::new(partition, 0, End::Final, options.clone(), buffers.clone());
        let cutter = if is_regular { cutter } else { cutter.eager() };
        Ok(FileChunks::Lines(Box::new(LineFile { path: path.to_owned(), format, stream, cutter, file_bytes })))
    }

    pub(crate) fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        match self {
            FileChunks::Parquet(rows) => rows.next_chunk(),
            FileChunks::Lines(lines) => lines.cutter.next_chunk(&mut *lines.stream).map_err(|error| {
                let path = lines.path.clone();
                if is_window_too_large(lines.format, &error) {
                    return SourceError::WindowTooLarge { path };
                }
                let (decoded_bytes, file_bytes) = (lines.cutter.offset(), lines.file_bytes.load(Ordering::Relaxed));
                SourceError::Damaged { path, decoded_bytes, file_bytes, error }
            }),
        }
    }
}
