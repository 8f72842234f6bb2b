//! The feed: chunks of the sources in one order, cut into epochs, shared by all workers.
//!
//! Epochs are cut by one thread before any worker sees a chunk, so which record is in which epoch does not depend on
//! the workers. Whoever is free takes the next chunk; epochs in the queue never fall.

use millrace_connectors::source::{Chunk, Source, SourceError};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

/// Chunks that may wait for a worker.
const QUEUE_CHUNKS: usize = 8;

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<(u64, Chunk)>,
    /// Every chunk still to come is of this epoch or a later one.
    next_epoch: u64,
    records: u64,
    done: bool,
    /// The workers have stopped.
    abandoned: bool,
}

/// What a worker finds.
pub enum Next {
    Chunk(u64, Chunk),
    /// Nothing for now; what is to come is of this epoch or a later one.
    Nothing(u64),
    Done,
}

#[derive(Debug, Default)]
pub struct Feed {
    state: Mutex<State>,
    taken: Condvar,
}

/// The first epoch that holds records.
pub const FIRST_EPOCH: u64 = 1;

impl Feed {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the feed panics")
    }

    /// Reads the source to its end. Returns what could not be read; the rest was.
    pub fn fill(&self, source: &mut impl Source, epoch_records: u64) -> Vec<SourceError> {
        let mut failures = Vec::new();
        let (mut epoch, mut in_epoch) = (FIRST_EPOCH, 0);
        loop {
            match source.next_chunk() {
                Err(error) => failures.push(error),
                Ok(None) => break,
                Ok(Some(chunk)) => {
                    let mut state = self.lock();
                    while state.queue.len() >= QUEUE_CHUNKS && !state.abandoned {
                        state = self.taken.wait(state).expect("no holder of the feed panics");
                    }
                    if state.abandoned {
                        break;
                    }
                    let records = u64::from(chunk.records);
                    state.records += records;
                    state.queue.push_back((epoch, chunk));
                    in_epoch += records;
                    if in_epoch >= epoch_records {
                        (epoch, in_epoch) = (epoch + 1, 0);
                    }
                    state.next_epoch = epoch;
                }
            }
        }
        self.lock().done = true;
        failures
    }

    /// The next chunk, if its epoch is below `limit`.
    pub fn next(&self, limit: u64) -> Next {
        let mut state = self.lock();
        match state.queue.front() {
            Some(&(epoch, _)) if epoch < limit => {
                let (epoch, chunk) = state.queue.pop_front().expect("it was just looked at");
                self.taken.notify_one();
                Next::Chunk(epoch, chunk)
            }
            Some(&(epoch, _)) => Next::Nothing(epoch),
            None if state.done => Next::Done,
            None => Next::Nothing(state.next_epoch.max(FIRST_EPOCH)),
        }
    }

    /// Lets the reading thread go.
    pub fn abandon(&self) {
        self.lock().abandoned = true;
        self.taken.notify_all();
    }

    /// Records handed out to the queue so far, and the epoch at its end.
    pub fn position(&self) -> (u64, u64) {
        let state = self.lock();
        (state.records, state.next_epoch)
    }
}
