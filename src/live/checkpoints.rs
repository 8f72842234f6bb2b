//! Where checkpoints end: which epoch is the last of one, and how many are on their way.

use crate::numbers::Epoch;
use std::collections::VecDeque;

/// So many checkpoints may be cut and not committed: one is being written while the next is being filled.
const UNCOMMITTED_MOST: usize = 2;

#[derive(Debug)]
pub struct Checkpoints {
    last_ms: u64,
    /// Records have been read, or positions moved, since the last.
    dirty: bool,
    /// The next is not to wait for its time: until then nothing is forgotten.
    urgent: bool,
    /// Their last epochs, of those that are not closed.
    open: VecDeque<Epoch>,
    /// How many are cut and not committed.
    uncommitted: usize,
    /// The epoch of the last that is committed.
    last_committed: Epoch,
    /// None is committed any more.
    over: bool,
}

impl Checkpoints {
    /// The last was at `last_ms`, and there is something to keep since then, or not.
    pub fn new(last_ms: u64, dirty: bool) -> Checkpoints {
        let open = VecDeque::new();
        Checkpoints { last_ms, dirty, urgent: false, open, uncommitted: 0, last_committed: Epoch::NONE, over: false }
    }

    /// Something was read.
    pub fn moved(&mut self) {
        self.dirty = true;
    }

    /// The next is not to wait for its time.
    pub fn hurry(&mut self) {
        self.urgent = true;
    }

    /// Whether the epoch that ends now is to end one: so many milliseconds after the last, where something was read or somebody
    /// waits for it.
    pub fn is_due(&self, now_ms: u64, interval_ms: u64, is_waited_for: bool) -> bool {
        (now_ms.saturating_sub(self.last_ms) >= interval_ms || self.urgent)
            && (self.dirty || is_waited_for)
            // Each worker sees each: the next is not cut before all have closed the last.
            && self.open.is_empty()
            && self.uncommitted < UNCOMMITTED_MOST
    }

    /// One ends with this epoch.
    pub fn cut(&mut self, epoch: Epoch, now_ms: u64) {
        self.end_with(epoch);
        self.uncommitted += 1;
        (self.last_ms, self.dirty, self.urgent) = (now_ms, false, false);
    }

    /// The last of all ends with this epoch, whatever is on its way.
    pub fn end_with(&mut self, epoch: Epoch) {
        self.open.push_back(epoch);
    }

    /// All have closed an epoch. Whether it ends a checkpoint.
    pub fn closed(&mut self, epoch: Epoch) -> bool {
        self.open.pop_front_if(|last| *last <= epoch).is_some()
    }

    /// One is safe: that of this epoch.
    pub fn committed(&mut self, epoch: Epoch) {
        self.last_committed = epoch;
        self.uncommitted = self.uncommitted.saturating_sub(1);
    }

    pub fn last_committed(&self) -> Epoch {
        self.last_committed
    }

    /// None is committed any more.
    pub fn end(&mut self) {
        self.over = true;
    }

    pub fn are_over(&self) -> bool {
        self.over
    }
}
