//! What the engine hands over for each closed epoch.

use millrace_dataflows::rows::{Change, Netting};
use millrace_schema::Name;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The changes of one closed epoch (or of several that closed together: of the last of them), whole.
#[derive(Debug, Default)]
pub struct Commit {
    pub epoch: u64,
    /// The time of the epoch: see [`super::Published::at_ms`].
    pub at_ms: u64,
    /// How far the sources are complete, UTC microseconds; `None` before anything is known.
    pub watermark: Option<i64>,
    /// Everything below these offsets is in. `None` where nothing was read since the commit before.
    pub positions: Option<Arc<[SourcePositions]>>,
    /// The names that its rows use for the first time, and their texts. One may be there more than once.
    pub names: Vec<(Name, Arc<str>)>,
    /// By the names of the views, in any order; the same view and the same group may be there more than once.
    pub changes: Vec<(&'static str, Changed)>,
}

/// Changes of one view.
#[derive(Debug)]
pub enum Changed {
    List(Vec<Change>),
    /// Of many epochs.
    Netted(Netting),
}

/// Of one source, by partition, the offset after the last record that is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePositions {
    /// The topic, or the path of a log.
    pub source: String,
    /// By partition number.
    pub next_offsets: Vec<u64>,
}
