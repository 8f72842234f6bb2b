//! Sources that do not end, and what is known of them from outside.

use super::kept::{Lost, Marks};
use super::{PartitionInfo, Source, SourceError};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A source that goes on: a log that grows, the topics of a broker.
///
/// # Contract
/// - Everything [`Source`] asks. `Ok(None)` of [`Source::next_chunk`] says that there is nothing for now.
/// - An error of `next_chunk` is final for the whole source: it cannot go on without leaving records out. What passes by
///   itself (a broker that is away) is no error: it shows in the status.
/// - The table of partitions may grow between two calls. An ordinal, once given, stays.
pub trait LiveSource: Source {
    /// Waits until there may be something to read, `timeout` at most.
    fn wait(&mut self, timeout: Duration);

    /// What others may look at while the source is being read.
    fn status(&self) -> Arc<SourceStatus>;

    /// Says that everything below these offsets (ordinal, offset) is safe. For tools that show lag: no position of the
    /// engine depends on it.
    ///
    /// # Errors
    /// [`SourceError`] where the outside did not take it; nothing is lost by that.
    fn release(&mut self, _positions: &[(u16, u64)]) -> Result<(), SourceError> {
        Ok(())
    }

    /// Takes partitions that the process which discovers them has found: `infos` are all there are by ordinal, `begins` the offsets to
    /// begin at. Those that are known already are passed over.
    ///
    /// # Errors
    /// [`SourceError`] where one cannot be read.
    fn told(&mut self, _infos: &[PartitionInfo], _begins: &[u64]) -> Result<(), SourceError> {
        Ok(())
    }

    /// Whether `Ok(None)` says that nothing will ever come any more.
    fn ends(&self) -> bool {
        false
    }
}

/// Whether a source can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Connection {
    #[default]
    Up,
    /// Why not, as the client library says it. No secrets.
    Down(String),
}

/// What is known of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionState {
    /// The offset after its last record, when last looked; `None` before that is known.
    pub end: Option<u64>,
    /// The offset of the next record to be read. Taken in the thread that reads, between two calls, it is where a later
    /// run resumes: it may lie behind the last chunk, since a broker uses up offsets of its own.
    pub next: u64,
    /// Records that retention removed before they were read, where that is allowed, in this run and those before.
    pub lost: Lost,
    /// By what a later run knows that its place holds what was read of it.
    pub marks: Marks,
    /// Why it cannot be read, where it cannot.
    pub fault: Option<String>,
}

impl PartitionState {
    /// Whether everything there is has been read. What is not known has not.
    pub fn is_read(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    pub connection: Connection,
    /// By ordinal.
    pub partitions: Vec<PartitionState>,
    /// What somebody should hear once, until it is taken.
    pub warnings: Vec<String>,
}

/// The state of a source, shared between who reads it and who reports it.
#[derive(Debug, Default)]
pub struct SourceStatus(Mutex<SourceState>);

impl SourceStatus {
    pub fn get(&self) -> SourceState {
        self.lock().clone()
    }

    /// Looks at the state, or changes it. Short: the reader waits meanwhile.
    pub fn with<R>(&self, act: impl FnOnce(&mut SourceState) -> R) -> R {
        act(&mut self.lock())
    }

    /// What is to be said, each once.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().warnings)
    }

    fn lock(&self) -> MutexGuard<'_, SourceState> {
        self.0.lock().expect("no holder of a source's state panics")
    }
}
