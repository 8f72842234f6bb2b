//! Settings of a cluster.

use serde::{Deserialize, Serialize};

/// How processes of a cluster know and watch each other. None of it changes an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterSettings {
    /// Its name: a process of another is refused.
    pub name: String,
    /// A secret that all of its processes have; empty: none.
    pub token: String,
    /// A process that is silent for so long is lost: all begin again from the last checkpoint.
    pub silence_ms: u64,
    /// How long the processes of a generation may take to connect with each other, once all are there.
    pub connect_ms: u64,
    /// Times between two starts of an engine that ended: the first, and the longest.
    pub restart_ms: u64,
    pub restart_most_ms: u64,
}

impl Default for ClusterSettings {
    fn default() -> ClusterSettings {
        ClusterSettings {
            name: "millrace".to_owned(),
            token: String::new(),
            silence_ms: 5_000,
            connect_ms: 30_000,
            restart_ms: 200,
            restart_most_ms: 5_000,
        }
    }
}
