//! What is shown of an engine to those who serve it: a base, and from there on everything that its publisher does.

use super::said::{bytes_of, known, of_bytes, plain};
use crate::serve::Tap;
use crate::serve::commit::{Commit, SourcePositions};
use crate::serve::status::EngineStatus;
use millrace_dataflows::rows::Change;
use millrace_schema::Name;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A message to a parent.
#[derive(Debug, Serialize, Deserialize)]
pub enum Shown {
    /// A generation begins from what this manifest holds. What was shown before is not taken back.
    Begin { manifest: u64, generation: u64 },
    /// A commit is added.
    Add(ShownCommit),
    /// What was added so far is a version.
    Version,
    /// The version of this epoch may be seen.
    Show { epoch: u64 },
    /// How the engine does.
    Status(EngineStatus),
    /// Why it does not run yet, and how many processes are there.
    Waits { reason: String, connected: u64 },
    /// How those stand that publish to topics.
    Sinks(Vec<SinkShown>),
}

impl Shown {
    pub fn to_bytes(&self) -> Arc<[u8]> {
        bytes_of(self)
    }

    /// # Errors
    /// Where the bytes are none.
    pub fn of_bytes(bytes: &[u8]) -> anyhow::Result<Shown> {
        of_bytes(bytes)
    }
}

/// How one stands that publishes to a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkShown {
    pub name: String,
    /// How far it is behind, in milliseconds.
    pub lag_ms: u64,
    pub published: u64,
    pub failures: u64,
}

/// A [`Commit`] as it is sent.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShownCommit {
    epoch: u64,
    at_ms: u64,
    watermark: Option<i64>,
    positions: Option<Vec<SourcePositions>>,
    names: Vec<(Name, String)>,
    changes: Vec<(String, Vec<Change>)>,
}

impl ShownCommit {
    pub fn of(commit: &Commit) -> ShownCommit {
        ShownCommit {
            epoch: commit.epoch,
            at_ms: commit.at_ms,
            watermark: commit.watermark,
            positions: commit.positions.as_ref().map(|positions| positions.to_vec()),
            names: commit.names.iter().map(|(name, text)| (*name, text.to_string())).collect(),
            changes: plain(&commit.changes, commit.epoch),
        }
    }

    /// The epoch that it ends with.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    pub fn commit(self) -> Commit {
        let ShownCommit { epoch, at_ms, watermark, positions, names, changes } = self;
        let names = names.into_iter().map(|(name, text)| (name, Arc::from(text))).collect();
        Commit { epoch, at_ms, watermark, positions: positions.map(Arc::from), names, changes: known(changes) }
    }
}

/// Where what is shown goes.
pub type Tell = Arc<dyn Fn(&Shown) + Send + Sync>;

/// Tells everything that a publisher does.
pub struct TapOf(pub Tell);

impl Tap for TapOf {
    fn add(&mut self, commit: &Commit) {
        (self.0)(&Shown::Add(ShownCommit::of(commit)));
    }

    fn version(&mut self) {
        (self.0)(&Shown::Version);
    }

    fn show(&mut self, epoch: u64) {
        (self.0)(&Shown::Show { epoch });
    }
}
