//! Who is told of commits, and says what is asked of the next one. The committer knows no more of the engine than this.
//!
//! ```text
//! committer ──committed, release──▶ listener (the feed of a running engine)
//!     ▲───────────merging───────────┘
//! ```

use crate::numbers::Epoch;

/// How far it is with merging what is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merging {
    No,
    /// It is being looked up, while everything goes on.
    Asked,
    /// No epoch after this one forgets anything, until it is in.
    Held(Epoch),
}

/// Is told of commits.
///
/// # Contract
/// - `committed` comes once for each checkpoint, in the order of their epochs, after its manifest is there.
/// - `release` comes after the `committed` of a checkpoint that has what was merged, and not otherwise.
/// - None of them blocks: the committer waits for it.
pub trait CommitListener: Send + Sync {
    /// The checkpoint of this epoch is safe.
    fn committed(&self, epoch: Epoch);
    /// What was merged is safe: things are forgotten again.
    fn release(&self);
    /// How far it is with merging what is pending: it decides what is done beside, once a checkpoint is safe.
    fn merging(&self) -> Merging;
}
