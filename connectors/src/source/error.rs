//! What can go wrong while reading. Each names the file, and what to do.

use super::kafka::KafkaError;
use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("no input: name at least one file or directory, or `-` for standard input")]
    NoInput,
    #[error("cannot read {path}: {error}; check the path and its permissions", path = path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error(
        "no event files in {path}: expected names that end in .jsonl, .ndjson, .json, .gz, .zst or .parquet; \
         name a file itself to read it under any other name",
        path = path.display()
    )]
    EmptyDirectory { path: PathBuf },
    #[error("{path} is more than {depth} directories deep: remove the loop of links", path = path.display())]
    TooDeep { path: PathBuf, depth: usize },
    #[error("{count} files are more than the {limit} that one run can read: merge some, or run in parts")]
    TooManyPartitions { count: usize, limit: usize },
    #[error("standard input is named twice: give `-` once")]
    StandardInputTwice,
    /// Reading or decompressing failed in the middle. Whole lines before the fault were handed out.
    #[error(
        "{path} is damaged or cut off: {error}; {decoded_bytes} decoded bytes were read up to about byte {file_bytes} \
         of the file, every whole line among them is in; fetch the file again",
        path = path.display()
    )]
    Damaged { path: PathBuf, decoded_bytes: u64, file_bytes: u64, error: io::Error },
    #[error(
        "{path} asks for a zstd window of more than 2 GiB, which no reader keeps; compress it again with --long=31 or less",
        path = path.display()
    )]
    WindowTooLarge { path: PathBuf },
    #[error(
        "{path} is {format}, which is not read; unpack it first, or pack it with gzip or zstd instead",
        path = path.display()
    )]
    ForeignFormat { path: PathBuf, format: &'static str },
    #[error("{path} is a Parquet file that cannot be read: {message}; from row {row} on it is missing", path = path.display())]
    Parquet { path: PathBuf, row: u64, message: String },
    #[error("{path} is Parquet and not a regular file: Parquet cannot be read from a pipe, save it to disk first", path = path.display())]
    ParquetPipe { path: PathBuf },
    #[error("{path} is not a log that can be read: {reason}", path = path.display())]
    BadLog { path: PathBuf, reason: String },
    /// Segments were removed faster than they were read.
    #[error(
        "{path} begins at offset {begins} now, and reading was to go on at {offset}: {missing} bytes were removed before \
         they were read; put the segments back, or set lake.url to another place and read what is left, with \
         source.start = \"earliest\"",
        path = path.display(),
        missing = begins - offset
    )]
    Removed { path: PathBuf, offset: u64, begins: u64 },
    #[error(
        "offset {offset}, where reading was to go on, is not in {path}: {reason}, so it does not hold what was read of \
         it; put back what it held, or set lake.url to another place and read it from its beginning",
        path = path.display()
    )]
    BadOffset { path: PathBuf, offset: u64, reason: &'static str },
    #[error(transparent)]
    Kafka(#[from] KafkaError),
}

impl SourceError {
    pub(crate) fn unreadable(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> SourceError {
        let path = path.into();
        move |error| SourceError::Unreadable { path, error }
    }
}
