//! What is published to Kafka.

use super::source::KafkaSettings;
use super::{Settings, SourceKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The longest name that Kafka gives a topic.
const TOPIC_BYTES_MOST: usize = 249;
const ID_BYTES_MOST: usize = 200;
/// What a connection is made with, wherever it leads.
const OF_CONNECTION: [&str; 4] = ["security.", "sasl.", "ssl.", "enable.ssl."];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaOutSettings {
    /// `host:port`, several separated by commas. Empty: the brokers of `source.kafka`, with the properties that a connection is made with.
    pub brokers: String,
    /// Settings of librdkafka, each as `name=value`.
    pub properties: Vec<String>,
    /// Begins the transactional id of each topic, `<this>.<topic>`. Of two engines with the same the later goes on.
    pub transactional_id: String,
    /// Views whose changes are published, each to a topic of its own.
    pub views: Vec<ViewTopic>,
    /// Where rejected records go; empty: nowhere.
    pub dead_letter_topic: String,
    pub format: OutFormat,
    /// For how long the checkpoint that was published last is kept, so that what changed since can be told: how long a broker or the engine
    /// may be away without topics beginning anew.
    pub keep_ms: u64,
}

impl Default for KafkaOutSettings {
    fn default() -> KafkaOutSettings {
        KafkaOutSettings {
            brokers: String::new(),
            properties: Vec::new(),
            transactional_id: "millrace".to_owned(),
            views: Vec::new(),
            dead_letter_topic: String::new(),
            format: OutFormat::Json,
            keep_ms: 86_400_000,
        }
    }
}

/// How messages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutFormat {
    #[default]
    Json,
}

/// A view, and the topic that its changes go to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewTopic {
    pub view: String,
    pub topic: String,
}

impl KafkaOutSettings {
    /// Whether anything is published.
    pub fn is_on(&self) -> bool {
        !self.views.is_empty() || !self.dead_letter_topic.is_empty()
    }

    /// The brokers that are meant.
    pub fn brokers<'a>(&'a self, source: &'a KafkaSettings) -> &'a str {
        if self.brokers.trim().is_empty() { &source.brokers } else { &self.brokers }
    }

    /// Names and values of the properties that are meant, the stronger last.
    pub fn properties<'a>(&'a self, source: &'a KafkaSettings) -> impl Iterator<Item = (&'a str, &'a str)> {
        let is_of_connection = |name: &str| OF_CONNECTION.iter().any(|start| name.starts_with(start));
        let pair = |property: &'a String| property.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
        let of_source = self.brokers.trim().is_empty().then_some(&source.properties).into_iter().flatten();
        let of_source = of_source.filter_map(pair).filter(move |(name, _)| is_of_connection(name));
        of_source.chain(self.properties.iter().filter_map(pair))
    }

    /// What is wrong: the setting, its value, and what was expected.
    pub(super) fn check(&self, settings: &Settings) -> Result<(), (String, String, String)> {
        let bad = |key: &str, value: &str, expected: &str| Err((key.to_owned(), value.to_owned(), expected.to_owned()));
        if !self.is_on() {
            return Ok(());
        }
        if settings.lake.url.is_empty() {
            let expected = "a folder, or s3://bucket/prefix: kafka_out publishes what the checkpoints of a lake have";
            return bad("lake.url", "", expected);
        }
        let id = &self.transactional_id;
        if id.trim().is_empty() || id.len() > ID_BYTES_MOST || id.contains('\0') {
            let expected = format!("a name of 1 to {ID_BYTES_MOST} bytes that no other shop on these brokers has");
            return bad("kafka_out.transactional_id", id, &expected);
        }
        if self.brokers.contains('\0') {
            return bad("kafka_out.brokers", &self.brokers.replace('\0', "\\0"), "host:port, without a zero byte");
        }
        let mut topics: BTreeSet<&str> = BTreeSet::new();
        for ViewTopic { view, topic } in &self.views {
            if view != "quality" && !settings.views.enabled.contains(view) {
                let kept = settings.views.enabled.join(", ");
                return bad("kafka_out.views.view", view, &format!("a view of views.enabled ({kept})"));
            }
            check_topic("kafka_out.views.topic", topic, settings, &mut topics)?;
        }
        if !self.dead_letter_topic.is_empty() {
            check_topic("kafka_out.dead_letter_topic", &self.dead_letter_topic, settings, &mut topics)?;
        }
        Ok(())
    }
}

fn check_topic<'a>(
    key: &str,
    topic: &'a str,
    settings: &Settings,
    topics: &mut BTreeSet<&'a str>,
) -> Result<(), (String, String, String)> {
    let bad = |expected: &str| Err((key.to_owned(), topic.to_owned(), expected.to_owned()));
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if topic.is_empty()
        || topic.len() > TOPIC_BYTES_MOST
        || !topic.bytes().all(is_letter)
        || [".", ".."].contains(&topic)
    {
        return bad("the name of a topic: 1 to 249 letters, digits, dots, - and _");
    }
    if !topics.insert(topic) {
        return bad("a topic of its own for each view and for dead letters");
    }
    let (source, out) = (&settings.source, &settings.kafka_out);
    let is_same = out.brokers(&source.kafka) == source.kafka.brokers;
    let is_read = source.kind == SourceKind::Kafka && source.kafka.topics.iter().any(|read| read.name == topic);
    if is_same && is_read {
        return bad("a topic that is not read as source.kafka.topics: what is published would be read again");
    }
    Ok(())
}
