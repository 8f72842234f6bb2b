//! Reads what the paths name from beginning to end, one input after the other.

use super::buffer::Pool;
use super::files::FileChunks;
use super::listing::{Found, list};
use super::log::LogReader;
use super::{Chunk, PartitionInfo, Progress, ReadOptions, Source, SourceError};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Opens files, directories, log directories and `-` for reading to their ends.
///
/// # Errors
/// [`SourceError`] where a path is missing or cannot be read; nothing has been read then.
pub fn open(paths: &[PathBuf], options: ReadOptions) -> Result<Reader, SourceError> {
    let mut partitions = Vec::new();
    let mut waiting = VecDeque::new();
    let mut total_bytes = Some(0_u64);
    for found in list(paths)? {
        let first = partitions.len();
        let named = |path: &Path| path.display().to_string();
        let bytes = match &found {
            Found::StandardInput => {
                partitions.push(PartitionInfo { source: "-".into(), partition: first as u32, path: "-".into() });
                None
            }
            Found::File { path, bytes } => {
                partitions.push(PartitionInfo { source: named(path), partition: first as u32, path: path.clone() });
                *bytes
            }
            Found::Log { path } => {
                let log = LogReader::open_to_end(path, first, options.clone())?;
                partitions.extend_from_slice(log.partitions());
                let bytes = log.progress().total_bytes;
                waiting.push_back(Input::Log(Box::new(log)));
                total_bytes = add(total_bytes, bytes);
                continue;
            }
        };
        total_bytes = add(total_bytes, bytes);
        waiting.push_back(Input::Waiting { found, partition: first });
    }
    let limit = usize::from(u16::MAX);
    if partitions.len() > limit {
        return Err(SourceError::TooManyPartitions { count: partitions.len(), limit });
    }
    let progress = Progress::new(total_bytes);
    for input in &mut waiting {
        if let Input::Log(log) = input {
            log.set_progress(progress.clone());
        }
    }
    let buffers = Pool::new(options.chunk_bytes);
    Ok(Reader { partitions: partitions.into(), inputs: waiting, options, progress, buffers })
}

fn add(total: Option<u64>, bytes: Option<u64>) -> Option<u64> {
    Some(total? + bytes?)
}

/// A [`Source`] that ends. Inputs are read in the order they were named, the partitions of a log in turns.
pub struct Reader {
    partitions: Arc<[PartitionInfo]>,
    inputs: VecDeque<Input>,
    options: ReadOptions,
    progress: Progress,
    /// Shared by all files.
    buffers: Pool,
}

enum Input {
    Waiting { found: Found, partition: usize },
    Reading(FileChunks),
    Log(Box<LogReader>),
}

impl Reader {
    /// Deals the inputs out to several readers that share one table of partitions, for as many threads. A log stays whole.
    pub fn split(mut self, readers: usize) -> Vec<Reader> {
        let mut split: Vec<Reader> = (0..readers.max(1))
            .map(|_| Reader {
                partitions: Arc::clone(&self.partitions),
                inputs: VecDeque::new(),
                options: self.options.clone(),
                progress: self.progress.clone(),
                buffers: self.buffers.clone(),
            })
            .collect();
        for (number, input) in self.inputs.drain(..).enumerate() {
            split[number % readers.max(1)].inputs.push_back(input);
        }
        split
    }

    fn start(&self, found: &Found, partition: usize) -> Result<FileChunks, SourceError> {
        let partition = u16::try_from(partition).expect("`open` bounds the number of partitions");
        match found {
            Found::StandardInput => FileChunks::standard_input(partition, &self.options, &self.progress, &self.buffers),
            Found::File { path, bytes } => {
                FileChunks::open(path, bytes.is_some(), partition, &self.options, &self.progress, &self.buffers)
            }
            Found::Log { .. } => unreachable!("a log is opened at once, so as to know its partitions"),
        }
    }
}

impl Source for Reader {
    fn partitions(&self) -> &[PartitionInfo] {
        &self.partitions
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        while let Some(mut input) = self.inputs.pop_front() {
            if let Input::Waiting { found, partition } = &input {
                input = Input::Reading(self.start(found, *partition)?);
            }
            let chunk = match &mut input {
                Input::Reading(file) => file.next_chunk()?,
                Input::Log(log) => match log.next_chunk() {
                    Err(error) => {
                        // The log's other partitions may still be read.
                        self.inputs.push_front(input);
                        return Err(error);
                    }
                    Ok(chunk) => chunk,
                },
                Input::Waiting { .. } => unreachable!("it was started above"),
            };
            if chunk.is_some() {
                self.inputs.push_front(input);
                return Ok(chunk);
            }
        }
        Ok(None)
    }

    fn progress(&self) -> Progress {
        self.progress.clone()
    }
}
