//! The messages that are about the others: how far a topic is, and that it begins anew.

use crate::checkpoint::{Cursor, Definition, Manifest};
use crate::numbers::{Epoch, Generation};
use serde::{Deserialize, Serialize};

/// The key of frontiers. Keys of changes are JSON objects, so that none is the same.
pub const KEY: &[u8] = b"_frontier";
/// The key of the message before all rows, where what a topic has told so far counts no more.
pub const BEGIN_ANEW: &[u8] = b"_begin_anew";

/// Up to where a topic tells everything. The last message of each transaction in every partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontier {
    pub epoch: Epoch,
    /// The time of that epoch, in milliseconds since 1970.
    pub at_ms: u64,
    /// The number of the manifest.
    pub manifest: u64,
    pub generation: Generation,
    /// Of which run the manifest is: numbers may come again in a lake that was made anew.
    pub run: String,
    /// The view; `quarantine` of dead letters.
    pub view: String,
    /// The view's version and the settings that its rows depend on.
    pub version: u32,
    pub definition: Definition,
    /// The frontier before this one; none where the topic has begun anew.
    pub from_epoch: Option<Epoch>,
    /// Messages of this transaction between the two, in all partitions.
    pub messages: u64,
    /// How many partitions have this frontier.
    pub partitions: u32,
}

/// That what was told so far counts no more: all that is follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeginAnew {
    pub epoch: Epoch,
    pub view: String,
    /// For people.
    pub why: String,
}

impl Frontier {
    /// # Errors
    /// Where it is none.
    pub fn of_bytes(bytes: &[u8]) -> serde_json::Result<Frontier> {
        serde_json::from_slice(bytes)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a frontier is plain data")
    }

    /// Whether it is of this manifest.
    pub fn is_of(&self, manifest: &Manifest) -> bool {
        let Cursor { generation, manifest: number, epoch } = Cursor::of(manifest);
        (self.generation, self.manifest, self.epoch) == (generation, number, epoch) && self.run == manifest.run
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn a_frontier_is_read_back_and_knows_its_manifest() {
        let manifest = Manifest {
            number: 7,
            generation: Generation(2),
            run: "r".to_owned(),
            epoch: Epoch(42),
            ..Manifest::empty(&Settings::default())
        };
        let frontier = Frontier {
            epoch: Epoch(42),
            at_ms: 42,
            manifest: 7,
            generation: Generation(2),
            run: "r".to_owned(),
            view: "sales".to_owned(),
            version: 1,
            definition: Definition::from([("store.time_zone".to_owned(), "UTC".to_owned())]),
            from_epoch: None,
            messages: 3,
            partitions: 2,
        };
        assert_eq!(Frontier::of_bytes(&frontier.to_bytes()).expect("it is one"), frontier);
        assert!(frontier.is_of(&manifest));
        // A lake that was made anew counts from the beginning.
        assert!(!frontier.is_of(&Manifest { run: "s".to_owned(), ..manifest.clone() }));
        assert!(!frontier.is_of(&Manifest { epoch: Epoch(43), ..manifest }));
        assert!(Frontier::of_bytes(b"{}").is_err());
    }
}
