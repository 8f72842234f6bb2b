//! What to read from Kafka, and how.

use millrace_schema::Kind;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A cluster and its topics.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// `host:port` of some brokers, separated by commas; the others are learned from them.
    pub brokers: String,
    /// The consumer group that [`release`](crate::source::LiveSource::release) writes offsets to, for tools that show
    /// lag. Nobody joins it, and nothing is read from it.
    pub group: String,
    pub topics: Vec<Topic>,
    /// Settings of librdkafka, such as `security.protocol`. They win over our defaults; those that what is promised
    /// here rests on are refused.
    pub properties: BTreeMap<String, Secret>,
    /// How long the brokers may be out of reach at the start.
    pub connect_timeout: Duration,
    /// How often new partitions are looked for. Those of before are read on meanwhile.
    pub refresh: Duration,
    pub on_lost_offsets: LostOffsets,
}

impl KafkaSettings {
    pub fn new(brokers: impl Into<String>, topics: Vec<Topic>) -> KafkaSettings {
        KafkaSettings {
            brokers: brokers.into(),
            group: "millrace".to_owned(),
            topics,
            properties: BTreeMap::new(),
            connect_timeout: Duration::from_secs(30),
            refresh: Duration::from_secs(10),
            on_lost_offsets: LostOffsets::Stop,
        }
    }
}

/// A topic, and what its records are where they do not say it themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub kind: Option<Kind>,
    /// The name of a header whose text is the kind of its record. It wins over `kind`; where its text is no kind, the
    /// record has none.
    pub kind_header: Option<String>,
}

impl Topic {
    pub fn named(name: impl Into<String>) -> Topic {
        Topic { name: name.into(), ..Topic::default() }
    }
}

/// What to do where retention has removed records that were not read yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LostOffsets {
    /// The source ends with an error that says what is missing.
    #[default]
    Stop,
    /// Reading goes on at the first record that is left, and the status counts what was lost.
    Skip,
}

/// A value that is never shown: any property of a client may be a password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Secret {
        Secret(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}
