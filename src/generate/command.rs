//! Where generated lines go: a writer, a file, a directory of partitions, or whatever takes lines one by one.
//!
//! Lines of one session are in one partition, in the order of their arrival. The files of a directory are named
//! `part-00000.jsonl` and so on.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::{Generator, LineInfo, Tally};

const BUFFER_BYTES: usize = 256 * 1024;
const PARTITIONS_MAX: usize = 4_096;

/// The partition of a line, of `partitions`.
pub fn partition_of(line: &LineInfo, partitions: NonZeroUsize) -> usize {
    ((u128::from(line.partition_key) * partitions.get() as u128) >> 64) as usize
}

/// Gives every line that is left, without its newline, to `sink`, with the number of its partition.
///
/// # Errors
/// The first one of `sink`; the line it was given is not given again.
pub fn drive(
    generator: &mut Generator,
    partitions: NonZeroUsize,
    mut sink: impl FnMut(usize, &[u8]) -> io::Result<()>,
) -> io::Result<Tally> {
    let mut line = Vec::new();
    while let Some(info) = generator.next_line(&mut line) {
        sink(partition_of(&info, partitions), &line[..line.len() - 1])?;
        line.clear();
    }
    Ok(generator.tally().clone())
}

/// Writes every line that is left. A reader that goes away, such as `head`, ends it without an error.
///
/// # Errors
/// Of the writer.
pub fn write_to(generator: &mut Generator, mut writer: impl Write) -> io::Result<Tally> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    let written = loop {
        let more = generator.next_line(&mut buffer).is_some();
        if buffer.len() >= BUFFER_BYTES / 2 || !more {
            let written = writer.write_all(&buffer);
            buffer.clear();
            if written.is_err() || !more {
                break written.and_then(|()| writer.flush());
            }
        }
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(generator.tally().clone()),
    }
}

/// Writes one JSONL file, over what is there.
///
/// # Errors
/// Of the file system.
pub fn write_file(generator: &mut Generator, path: &Path) -> io::Result<Tally> {
    write_to(generator, File::create(path)?)
}

/// Writes one JSONL file a partition into a directory, which is made if it is missing.
///
/// # Errors
/// Of the file system; `AlreadyExists` where the directory holds partition files, which would mix with the new ones;
/// `InvalidInput` for more than 4,096 partitions.
pub fn write_directory(generator: &mut Generator, directory: &Path, partitions: NonZeroUsize) -> io::Result<Tally> {
    if partitions.get() > PARTITIONS_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("more than {PARTITIONS_MAX} partitions")));
    }
    fs::create_dir_all(directory)?;
    if partition_path(directory, 0).exists() {
        let message = format!("{} holds partition files already: empty it or choose another", directory.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    let buffer_bytes = (64 * BUFFER_BYTES / partitions.get()).clamp(8 * 1024, BUFFER_BYTES);
    let create = |partition| {
        let file = File::create_new(partition_path(directory, partition))?;
        Ok(BufWriter::with_capacity(buffer_bytes, file))
    };
    let mut files = (0..partitions.get()).map(create).collect::<io::Result<Vec<_>>>()?;
    let tally = drive(generator, partitions, |partition, line| {
        files[partition].write_all(line)?;
        files[partition].write_all(b"\n")
    })?;
    for mut file in files {
        file.flush()?;
    }
    Ok(tally)
}

fn partition_path(directory: &Path, partition: usize) -> PathBuf {
    directory.join(format!("part-{partition:05}.jsonl"))
}
