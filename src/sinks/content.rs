//! What a topic tells, whatever it is.

use crate::checkpoint::{Definition, FileEntry, Manifest};
use millrace_connectors::sink::{Message, SinkError};
use millrace_connectors::store::{Store, StoreError};

/// A checkpoint, with the files of the lake at it.
pub(super) struct At {
    pub manifest: Manifest,
    pub files: Vec<FileEntry>,
}

/// What is going to be sent.
pub(super) struct Prepared {
    pub version: u32,
    pub definition: Definition,
    /// Why the topic begins anew; none where it goes on.
    pub anew: Option<String>,
}

/// Where messages go.
pub(super) trait Out {
    /// # Errors
    /// [`SinkError`]
    fn message(&mut self, message: &Message<'_>) -> Result<(), SinkError>;

    fn partition_of(&self, key: &[u8]) -> u32;
}

/// What a topic tells: views and dead letters are one each.
pub(super) trait Content: Send {
    /// What frontiers call it.
    fn name(&self) -> &str;

    /// Works out what leads from a checkpoint that the topic has to another, before anything is sent; `None` where the other has nothing
    /// to tell of yet.
    ///
    /// # Errors
    /// Where files cannot be read that should be there.
    fn prepare(&mut self, store: &dyn Store, from: Option<&At>, to: &At) -> anyhow::Result<Option<Prepared>>;

    /// Sends what was prepared.
    ///
    /// # Errors
    /// Where it cannot be sent or read.
    fn send(&mut self, store: &dyn Store, to: &At, out: &mut dyn Out) -> anyhow::Result<()>;

    /// What was sent is committed.
    fn has_sent(&mut self);

    /// What was sent may not be committed, or the topic may have something else: nothing that is remembered counts.
    fn forget(&mut self);
}

/// Whether what was published cannot be read any more, and never will be: not that the store is away.
pub(super) fn is_lost(error: &anyhow::Error) -> bool {
    match error.chain().find_map(|cause| cause.downcast_ref::<StoreError>()) {
        Some(error) => error.is_not_found(),
        // Damaged, or of another version of the view.
        None => true,
    }
}
