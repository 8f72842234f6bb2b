//! Files that a manifest names.

use crate::numbers::Epoch;
use millrace_connectors::lake::LakeFile;
use millrace_connectors::store::Entry;
use serde::{Deserialize, Serialize};

/// What a file of the lake holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Events,
    Dimensions,
    Quarantine,
    Pending,
    /// What changed in a view between two checkpoints.
    Changes,
    /// Rows of a view at a checkpoint.
    View,
    /// Accepted events, for the state.
    State,
}

impl Kind {
    /// What a path says; `None` for what is no file of the lake.
    pub fn of(key: &str) -> Option<Kind> {
        Some(match key.split('/').next()? {
            "events" => Kind::Events,
            "dimensions" => Kind::Dimensions,
            "quarantine" => Kind::Quarantine,
            "pending" => Kind::Pending,
            "changes" => Kind::Changes,
            "views" => Kind::View,
            "_state" => Kind::State,
            _ => return None,
        })
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Events => "events",
            Kind::Dimensions => "dimensions",
            Kind::Quarantine => "quarantine",
            Kind::Pending => "pending",
            Kind::Changes => "changes",
            Kind::View => "views",
            Kind::State => "state",
        }
    }
}

/// The folders that hold nothing but what manifests name.
pub const FOLDERS: [&str; 7] = ["events", "dimensions", "quarantine", "pending", "changes", "views", "_state"];

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    pub key: String,
    pub rows: u64,
    pub bytes: u64,
    /// XXH3 of the bytes, as 16 hexadecimal digits.
    pub checksum: String,
    /// The epoch of the checkpoint that brought it.
    pub epoch: Epoch,
    /// When that checkpoint was written, in milliseconds since 1970: of what goes by its age, which changes of views do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_ms: Option<u64>,
}

impl FileEntry {
    pub fn of(file: LakeFile, epoch: Epoch) -> FileEntry {
        let checksum = format!("{:016x}", file.checksum);
        FileEntry { key: file.key, rows: file.rows, bytes: file.bytes, checksum, epoch, written_ms: None }
    }

    /// Of a file that no manifest tells of.
    pub fn left(entry: &Entry) -> FileEntry {
        FileEntry { key: entry.key.clone(), bytes: entry.bytes, ..FileEntry::default() }
    }

    /// When it was written, in milliseconds since 1970. An entry that does not say it was written when epochs were times.
    pub fn written_ms(&self) -> u64 {
        self.written_ms.unwrap_or(self.epoch.0)
    }

    /// Whether these are its bytes.
    pub fn is(&self, bytes: &[u8]) -> bool {
        self.bytes == bytes.len() as u64 && self.checksum == format!("{:016x}", xxhash_rust::xxh3::xxh3_64(bytes))
    }
}
