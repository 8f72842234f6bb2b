//! Where a running engine reads from.

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceSettings {
    pub kind: SourceKind,
    /// Where reading begins, of partitions that have no position yet: `earliest`, `latest`, or an instant (RFC 3339).
    pub start: String,
    pub log: LogSettings,
    pub kafka: KafkaSettings,
}

impl Default for SourceSettings {
    fn default() -> SourceSettings {
        SourceSettings {
            kind: SourceKind::Log,
            start: "earliest".to_owned(),
            log: LogSettings::default(),
            kafka: KafkaSettings::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    #[default]
    Log,
    Kafka,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// Log directories. Their texts are the names of the sources.
    pub paths: Vec<String>,
    /// What relative ones start from: the folder of the settings file that names them. Empty: the working directory.
    #[serde(skip)]
    pub base: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSettings {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// The consumer group that positions are shown under, for tools that report lag. No position is read from it.
    pub group: String,
    pub topics: Vec<TopicSettings>,
    /// Settings of librdkafka, each as `name=value`: `security.protocol=sasl_ssl`.
    pub properties: Vec<String>,
    /// How long a broker may be away when the engine starts.
    pub connect_timeout_ms: u64,
    /// How often new partitions and the ends of all are asked for.
    pub refresh_ms: u64,
    /// What happens where retention has removed records before they were read.
    pub on_lost_offsets: LostOffsets,
}

impl Default for KafkaSettings {
    fn default() -> KafkaSettings {
        KafkaSettings {
            brokers: "localhost:9092".to_owned(),
            group: "millrace".to_owned(),
            topics: Vec::new(),
            properties: Vec::new(),
            connect_timeout_ms: 30_000,
            refresh_ms: 5_000,
            on_lost_offsets: LostOffsets::Stop,
        }
    }
}

/// As a section, or by its name alone: `["events", { name = "products", event_type = "product" }]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TopicSettings {
    pub name: String,
    /// The type of records that carry no `event_type`; empty where all do.
    pub event_type: String,
    /// The header that names the type of records that do not name it themselves; empty for none.
    pub type_header: String,
}

impl<'de> Deserialize<'de> for TopicSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TopicSettings, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Section {
            name: String,
            #[serde(default)]
            event_type: String,
            #[serde(default)]
            type_header: String,
        }
        struct OneOfTwo;
        impl<'de> Visitor<'de> for OneOfTwo {
            type Value = TopicSettings;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the name of a topic, or { name = \"events\" } with event_type or type_header")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<TopicSettings, E> {
                Ok(TopicSettings { name: name.to_owned(), ..TopicSettings::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TopicSettings, A::Error> {
                let section = Section::deserialize(de::value::MapAccessDeserializer::new(map))?;
                let Section { name, event_type, type_header } = section;
                Ok(TopicSettings { name, event_type, type_header })
            }
        }
        deserializer.deserialize_any(OneOfTwo)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostOffsets {
    /// The engine ends with an error that says what is missing.
    #[default]
    Stop,
    /// Reading goes on at the first record there is, and the lost ones are counted.
    Skip,
}

/// How a running engine paces itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LiveSettings {
    pub workers: usize,
    /// The shortest epoch.
    pub tick_ms: u64,
    /// The longest epoch as long as reading is behind: larger epochs cost less.
    pub behind_tick_ms: u64,
    /// The longest epoch without records.
    pub idle_tick_ms: u64,
    /// The most records of an epoch.
    pub epoch_records: usize,
    /// Epochs that may be cut and not closed.
    pub epochs_in_flight: usize,
    /// A partition that was read to its end and had nothing for so long does not hold the watermark back.
    pub partition_idle_ms: u64,
    /// How far ahead of its partition an event without `received_at` may be and still say how far the source is, without others that
    /// say so, too. A replay goes by it likewise.
    pub clock_jump_ms: u64,
    /// How long a start waits for a source or a lake that is away, and a running engine for its lake, before it ends.
    pub outage_ms: u64,
}

impl Default for LiveSettings {
    fn default() -> LiveSettings {
        LiveSettings {
            workers: 2,
            tick_ms: 10,
            behind_tick_ms: 200,
            idle_tick_ms: 100,
            epoch_records: 80_000,
            epochs_in_flight: 2,
            partition_idle_ms: 5_000,
            clock_jump_ms: 86_400_000,
            outage_ms: 300_000,
        }
    }
}

/// How far behind the watermark what is needed to merge late events is kept: a number with `s`, `m`, `h` or `d`, or
/// `unlimited`. An older event is pending.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HorizonSettings {
    /// Event ids.
    pub deduplication: String,
    /// Sessions, by their last event.
    pub sessions: String,
}

impl Default for HorizonSettings {
    fn default() -> HorizonSettings {
        HorizonSettings { deduplication: "7d".to_owned(), sessions: "7d".to_owned() }
    }
}
