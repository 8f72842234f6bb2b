//! The manifest: all there is at one checkpoint. A checkpoint exists when its manifest does.
//!
//! ```text
//! _manifests/000000000042.json     millrace-manifest 2 <XXH3 of the rest>\n{ … }
//! ```
//! What other programs may add to it, see `known.rs`.
//! Event files grow to many: a manifest lists those that came since the last *catalog*, a file with the list at that time.

use super::change_log::LogStart;
use super::definitions::Definition;
use super::files::FileEntry;
use super::known;
use crate::numbers::{Epoch, Generation, Offset};
use crate::settings::Settings;
use millrace_connectors::source::{Lost, Mark};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

const FORMAT: &str = "millrace-manifest";
const VERSION: u32 = 2;
pub const FOLDER: &str = "_manifests/";
/// Numbers of as many digits as names have.
const NUMBERS: u64 = 1_000_000_000_000;

/// Why bytes are no manifest.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Cut off or changed.
    #[error("{0}")]
    Torn(&'static str),
    #[error("{0}")]
    OfAnotherVersion(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Features that nobody may read it without knowing, by their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// They have no gaps.
    pub number: u64,
    /// One more with each start of an engine.
    pub generation: Generation,
    /// Tells this run's manifests from any other's.
    pub run: String,
    /// Whether a running engine has written it, and may go on.
    pub live: bool,
    /// The last epoch that is in; 0 where nothing is.
    pub epoch: Epoch,
    /// The time of that epoch, in milliseconds since 1970: whatever was read before is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch_at_ms: Option<u64>,
    /// When it was written, RFC 3339.
    pub written_at: String,
    /// How far the sources are complete, UTC microseconds.
    pub watermark: Option<i64>,
    pub sources: SourceState,
    /// What decides the answers.
    #[serde(deserialize_with = "known::settings")]
    pub settings: Settings,
    pub accounted: Accounted,
    pub views: Vec<ViewEntry>,
    pub state: StateEntry,
    pub catalog: Option<FileEntry>,
    /// Files of the lake since the catalog.
    pub added: Vec<FileEntry>,
    /// Files that were replaced since the catalog.
    pub removed: Vec<String>,
}

/// Where reading goes on. Ordinals of partitions stay what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    pub partitions: Vec<PartitionEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionEntry {
    pub source: String,
    pub partition: u32,
    pub path: String,
    /// Every record below it is in.
    pub next_offset: Offset,
    /// The latest event time that is in, UTC microseconds.
    pub latest: Option<i64>,
    /// By what it is known again, where its source has something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// What was gone before it was read.
    #[serde(default, skip_serializing_if = "Lost::is_nothing")]
    pub lost: Lost,
}

/// Records, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounted {
    pub read: i64,
    pub accepted: i64,
    pub duplicates: i64,
    pub quarantined: i64,
    pub pending: i64,
}

/// A view's rows: at some checkpoint, and what was added since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewEntry {
    pub name: String,
    pub version: u32,
    /// The settings that its rows were made under. Earlier programs did not write it: then it follows from the manifest's settings.
    #[serde(default, skip_serializing_if = "Definition::is_empty")]
    pub definition: Definition,
    pub rows: u64,
    /// Of this checkpoint's epoch or an earlier one's.
    pub snapshot: Option<FileEntry>,
    /// In order of their epochs.
    pub changes: Vec<FileEntry>,
    /// From where on all its changes are among the files of the lake; earlier programs did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogStart>,
}

/// From which everything is built again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateEntry {
    /// Whether it is complete: a replay that was not asked to leaves none.
    pub complete: bool,
    /// The last epoch of a replay or a repair, which count sessions whole. Later ones are counted by visits, where a horizon cuts them.
    pub whole_until: Option<Epoch>,
    /// The watermark that the epoch's records were read under, UTC microseconds. What comes later may be older than the manifest's
    /// watermark, for it can have been in flight when the epoch closed, and is no older than this one: what is forgotten is judged by it.
    pub read_under: Option<i64>,
    pub names: Vec<FileEntry>,
    /// How many texts are in those files.
    pub texts: u64,
    /// What a compaction has left.
    pub base: Vec<FileEntry>,
    pub sums: Option<FileEntry>,
    /// Accepted events since then.
    pub deltas: Vec<FileEntry>,
}

impl StateEntry {
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.names.iter().chain(&self.base).chain(&self.sums).chain(&self.deltas)
    }
}

impl Manifest {
    /// Before anything has been read.
    pub fn empty(settings: &Settings) -> Manifest {
        Manifest {
            requires: Vec::new(),
            number: 0,
            generation: Generation::default(),
            run: String::new(),
            live: false,
            epoch: Epoch::NONE,
            epoch_at_ms: None,
            written_at: String::new(),
            watermark: None,
            sources: SourceState::default(),
            settings: deciding(settings),
            accounted: Accounted::default(),
            views: Vec::new(),
            state: StateEntry { complete: true, ..StateEntry::default() },
            catalog: None,
            added: Vec::new(),
            removed: Vec::new(),
        }
    }

    /// The time of its epoch, in milliseconds since 1970. A manifest that does not say it was written when epochs were times; of one
    /// that was counted, answers are as old as can be.
    pub fn epoch_at_ms(&self) -> u64 {
        self.epoch_at_ms.unwrap_or(self.epoch.0)
    }

    pub fn key(number: u64) -> String {
        format!("{FOLDER}{number:012}.json")
    }

    /// The number of a manifest by its key.
    pub fn number_of(key: &str) -> Option<u64> {
        let number = key.strip_prefix(FOLDER)?.strip_suffix(".json")?.parse().ok()?;
        // No other spelling, and none that has no successor.
        (number < NUMBERS && Manifest::key(number) == key).then_some(number)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        signed(&serde_json::to_string_pretty(self).expect("a manifest is plain data"))
    }

    /// # Errors
    /// Where the bytes are not a whole manifest, or one of another version.
    pub fn of_bytes(bytes: &[u8]) -> Result<Manifest, Unreadable> {
        let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::Torn("it is not text"))?;
        let (head, body) = text.split_once('\n').ok_or(Unreadable::Torn("it has no first line"))?;
        let mut words = head.split(' ');
        if words.next() != Some(FORMAT) {
            return Err(Unreadable::Torn("it is not a manifest"));
        }
        let version = words.next().unwrap_or_default();
        let body = body.strip_suffix('\n').ok_or(Unreadable::Torn("its end is missing"))?;
        let checksum = words.next().unwrap_or_default();
        if checksum != format!("{:016x}", xxh3_64(body.as_bytes())) {
            return Err(Unreadable::Torn("its checksum does not match: it is torn or was changed"));
        }
        // Whole, but not ours to read: passing it over would be to forget what it says.
        if version != VERSION.to_string() {
            return Err(Unreadable::OfAnotherVersion(format!("it is of version {version}, not {VERSION}")));
        }
        let other = |error: serde_json::Error| Unreadable::OfAnotherVersion(error.to_string());
        if let Some(feature) = known::unknown_feature(body).map_err(other)? {
            return Err(Unreadable::OfAnotherVersion(format!(
                "it requires {feature:?}, which this program does not know"
            )));
        }
        serde_json::from_str(body).map_err(other)
    }

    /// What it names besides the files of the lake's catalog.
    pub fn own_files(&self) -> impl Iterator<Item = &FileEntry> {
        let views = self.views.iter().flat_map(|view| view.snapshot.iter().chain(&view.changes));
        views.chain(self.state.files()).chain(&self.catalog)
    }
}

/// A body as a file.
pub(super) fn signed(body: &str) -> Vec<u8> {
    format!("{FORMAT} {VERSION} {:016x}\n{body}\n", xxh3_64(body.as_bytes())).into_bytes()
}

/// The settings that decide answers. Who may read is no part of that, and secrets do not belong into data.
pub fn deciding(settings: &Settings) -> Settings {
    let Settings { store, decode, views, horizons, .. } = settings.clone();
    Settings { store, decode, views, horizons, ..Settings::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a partition is known by came later than the manifest.
    #[test]
    fn a_partition_without_a_mark_is_read_as_before() {
        let text = r#"{"source":"events","partition":3,"path":"events/3","next_offset":7,"latest":null}"#;
        let entry: PartitionEntry = serde_json::from_str(text).expect("it is whole");
        assert_eq!((&entry.mark, entry.lost), (&None, Lost::default()));
        assert_eq!(serde_json::to_string(&entry).expect("plain data"), text);
        let lost = Lost { records: 6, from: 4, to: 10 };
        for mark in [Mark::Topic("id".to_owned()), Mark::Bytes { end: 7, length: 7, xxh3: u64::MAX }] {
            let entry = PartitionEntry { mark: Some(mark), lost, ..entry.clone() };
            let text = serde_json::to_string(&entry).expect("plain data");
            assert_eq!(serde_json::from_str::<PartitionEntry>(&text).expect("it is whole"), entry);
        }
    }

    /// The time of an epoch came later than the manifest.
    #[test]
    fn a_manifest_without_the_time_of_its_epoch_is_read_as_before() {
        let old = Manifest { epoch: Epoch(1_796_000_000_000), ..Manifest::empty(&Settings::default()) };
        assert!(!String::from_utf8(old.to_bytes()).expect("text").contains("epoch_at_ms"));
        assert_eq!(Manifest::of_bytes(&old.to_bytes()).expect("it is whole").epoch_at_ms(), 1_796_000_000_000);
        let mut counted = old;
        (counted.epoch, counted.epoch_at_ms) = (Epoch(3), Some(1_796_000_000_000));
        let read = Manifest::of_bytes(&counted.to_bytes()).expect("it is whole");
        assert_eq!((read.epoch, read.epoch_at_ms()), (Epoch(3), 1_796_000_000_000));
    }

    #[test]
    fn whole_or_refused() {
        let manifest = Manifest { number: 7, epoch: Epoch(3), ..Manifest::empty(&Settings::default()) };
        let bytes = manifest.to_bytes();
        assert_eq!(Manifest::of_bytes(&bytes).expect("it is whole"), manifest);
        for length in 0..bytes.len() {
            assert!(Manifest::of_bytes(&bytes[..length]).is_err(), "{length} bytes of {}", bytes.len());
        }
        for at in (0..bytes.len()).step_by(7) {
            let mut torn = bytes.clone();
            torn[at] ^= 1;
            assert!(Manifest::of_bytes(&torn).is_err(), "a bit of byte {at}");
        }
        assert_eq!(Manifest::number_of(&Manifest::key(42)), Some(42));
        for key in ["catalog-3", "7", "+00000000007", "18446744073709551615", "1000000000000"] {
            assert_eq!(Manifest::number_of(&format!("{FOLDER}{key}.json")), None, "{key}");
        }
        // Whole and of another version is not torn.
        let text = String::from_utf8(bytes).expect("text");
        let later = text.replacen(&format!("{FORMAT} {VERSION}"), &format!("{FORMAT} {}", VERSION + 1), 1);
        assert!(matches!(Manifest::of_bytes(later.as_bytes()), Err(Unreadable::OfAnotherVersion(_))));
    }
}
