//! Settings: data only, from four layers, each stronger than the one before it.
//!
//! ```text
//! defaults < TOML file < environment MILLRACE_VIEWS__FUNNEL__WINDOW=… < --set views.funnel.window=…
//! ```
//!
//! A [`Settings`] has the right shape (every key known, every value of its type); a [`Validated`] can be run.
//! Each leaf remembers the [`Origin`] it came from, so that an error can say where to change it.
//!
//! The tree of defaults is the list of known keys. Hence no field is an `Option`: "none" is an empty text, as in
//! `decode.default_event_type`.

mod cluster;
mod error;
mod exposed;
mod kafka_out;
mod load;
mod observed;
mod paths;
mod secret;
mod source;
mod text;
mod tree;
mod validate;

pub use cluster::ClusterSettings;
pub use error::SettingsError;
pub use exposed::exposed;
pub use kafka_out::{KafkaOutSettings, OutFormat, ViewTopic};
pub use load::{DEFAULT_FILE, ENVIRONMENT_PREFIX, Loaded, Sources};
pub use observed::{LogFormat, LoggingSettings, MetricsSettings};
pub use secret::{is_secret, redacted, without_url_credentials};
pub use source::{
    HorizonSettings, KafkaSettings, LiveSettings, LogSettings, LostOffsets, SourceKind, SourceSettings, TopicSettings,
};
pub use tree::{Leaf, Origin, differing};
pub use validate::{Validated, ValidatedLive, kind, near_a_url, nearest};

use crate::client::ClientSettings;
use crate::serve::ServeSettings;
use millrace_dataflows::settings::ViewSettings;
use serde::{Deserialize, Serialize};

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub store: StoreSettings,
    pub decode: DecodeLimits,
    pub views: ViewSettings,
    pub replay: ReplaySettings,
    pub source: SourceSettings,
    pub live: LiveSettings,
    pub horizons: HorizonSettings,
    pub lake: LakeSettings,
    pub kafka_out: KafkaOutSettings,
    pub serve: ServeSettings,
    pub client: ClientSettings,
    pub cluster: ClusterSettings,
    pub limits: LimitSettings,
    pub metrics: MetricsSettings,
    pub log: LoggingSettings,
}

/// What the process may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Resident memory: a number with `MB`, `GB`, `MiB` or `GiB`, or of bytes; `auto`: nine tenths of what the control group or the
    /// machine has; `unlimited`.
    pub memory: String,
}

impl Default for LimitSettings {
    fn default() -> LimitSettings {
        LimitSettings { memory: "auto".to_owned() }
    }
}

/// What the shop's days and money are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    /// The IANA name of the zone whose days, hours and months are reported.
    pub time_zone: String,
    /// The currency of a record that names none.
    pub currency: String,
}

impl Default for StoreSettings {
    fn default() -> StoreSettings {
        StoreSettings { time_zone: "UTC".to_owned(), currency: "USD".to_owned() }
    }
}

/// What is rejected while decoding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeLimits {
    /// Longer records are rejected unread.
    pub max_record_bytes: usize,
    /// How far `event_time` may lie after `received_at`.
    pub max_future_ms: i64,
    /// The type of a record that carries no `event_type`; empty: such a record is rejected.
    pub default_event_type: String,
}

impl Default for DecodeLimits {
    fn default() -> DecodeLimits {
        DecodeLimits { max_record_bytes: 1_048_576, max_future_ms: 300_000, default_event_type: String::new() }
    }
}

/// How history is replayed. None of it changes an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplaySettings {
    pub workers: usize,
    /// How many records are read under one epoch.
    pub epoch_records: usize,
    /// How many epochs may be open at once; bounds memory.
    pub epochs_in_flight: usize,
    /// Time between two checkpoints; 0: there is one, at the end. With some, the earlier results are gone with the first.
    pub checkpoint_ms: u64,
    /// Whether what is replayed can be gone on with by `run`.
    pub state: bool,
}

impl Default for ReplaySettings {
    fn default() -> ReplaySettings {
        ReplaySettings { workers: 1, epoch_records: 80_000, epochs_in_flight: 3, checkpoint_ms: 0, state: false }
    }
}

/// What is written under the data directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LakeSettings {
    /// Where a running engine keeps its checkpoints and its lake: a folder, or `s3://bucket/prefix`. Empty: nowhere, and nothing
    /// lasts.
    pub url: String,
    pub s3: S3Settings,
    /// Time between two checkpoints of a running engine.
    pub checkpoint_ms: u64,
    /// Checkpoints that are kept.
    pub keep_checkpoints: usize,
    /// Whether a running engine begins with a repair where something is pending: a pass over all events of the lake.
    pub repair_at_start: bool,
    /// How often a running engine merges what is pending, if anything is and it has all events; 0: only `millrace repair` does.
    pub repair_every_ms: u64,
    /// Whether small files are merged beside a running engine.
    pub compaction: bool,
    /// What small event files are merged up to.
    pub target_file_bytes: u64,
    /// A state with fewer new rows is not merged: it is restored in no time.
    pub merge_state_rows: usize,
    /// Event files of days before so many, counted back from the watermark, are removed; 0: none are. No answer depends on it.
    pub keep_days: usize,
    /// How long the changes of a view stay in the lake that it can do without.
    pub keep_changes_ms: u64,
    /// Whether files are on the disk itself before they count.
    pub sync: bool,
    /// Whether accepted events are kept as Parquet files.
    pub events: bool,
    pub compression: Compression,
    /// How much of a rejected record's bytes is kept.
    pub quarantine_bytes_max: usize,
    /// An event file is closed at this many rows.
    pub events_file_rows: usize,
}

/// How S3 is spoken to. Credentials come from where the AWS SDK looks for them: environment, profile, role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Settings {
    /// The URL of another store that speaks S3; empty: AWS.
    pub endpoint: String,
    /// Empty: as the SDK finds it.
    pub region: String,
    /// The bucket is a part of the path, not of the host's name.
    pub path_style: bool,
    /// Of one request, with its tries.
    pub timeout_ms: u64,
    /// Larger objects are sent in parts of this size.
    pub part_bytes: usize,
    /// Parts of one object that are on their way at a time.
    pub parts_in_flight: usize,
}

impl Default for S3Settings {
    fn default() -> S3Settings {
        S3Settings {
            endpoint: String::new(),
            region: String::new(),
            path_style: false,
            timeout_ms: 60_000,
            part_bytes: 8 << 20,
            parts_in_flight: 4,
        }
    }
}

/// The codec of Parquet pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    #[default]
    Snappy,
    Zstd,
}

impl Default for LakeSettings {
    fn default() -> LakeSettings {
        LakeSettings {
            url: String::new(),
            s3: S3Settings::default(),
            checkpoint_ms: 10_000,
            keep_checkpoints: 3,
            repair_at_start: false,
            repair_every_ms: 600_000,
            keep_changes_ms: 86_400_000,
            compaction: true,
            target_file_bytes: 16 << 20,
            merge_state_rows: 100_000,
            keep_days: 0,
            sync: true,
            events: true,
            compression: Compression::Snappy,
            quarantine_bytes_max: 4_096,
            events_file_rows: 2_000_000,
        }
    }
}

#[cfg(test)]
mod tests;
