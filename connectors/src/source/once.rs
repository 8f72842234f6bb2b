//! A source that ends, read as one that goes on.

use super::{Chunk, LiveSource, PartitionInfo, PartitionState, Progress, Source, SourceError, SourceStatus};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Reads files and logs to their ends. What cannot be read on is noted, and the rest is read.
pub struct Once<S> {
    source: S,
    status: Arc<SourceStatus>,
    failures: Failures,
}

/// The inputs that could not be read to their ends.
pub type Failures = Arc<Mutex<Vec<SourceError>>>;

impl<S: Source> Once<S> {
    pub fn new(source: S) -> Once<S> {
        let status = Arc::new(SourceStatus::default());
        status.with(|state| state.partitions = vec![PartitionState::default(); source.partitions().len()]);
        Once { source, status, failures: Failures::default() }
    }

    pub fn failures(&self) -> Failures {
        self.failures.clone()
    }
}

impl<S: Source> Source for Once<S> {
    fn partitions(&self) -> &[PartitionInfo] {
        self.source.partitions()
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        loop {
            match self.source.next_chunk() {
                Ok(chunk) => {
                    self.status.with(|state| match &chunk {
                        Some(chunk) => state.partitions[usize::from(chunk.partition)].next = chunk.next_offset(),
                        // Where each stands now is its end.
                        None => state.partitions.iter_mut().for_each(|partition| partition.end = Some(partition.next)),
                    });
                    return Ok(chunk);
                }
                Err(error) => self.failures.lock().expect("no holder of the failures panics").push(error),
            }
        }
    }

    fn progress(&self) -> Progress {
        self.source.progress()
    }
}

impl<S: Source> LiveSource for Once<S> {
    fn wait(&mut self, _timeout: Duration) {}

    fn status(&self) -> Arc<SourceStatus> {
        self.status.clone()
    }

    fn ends(&self) -> bool {
        true
    }
}
