//! The properties of the client: ours, the user's, and those that nobody may change.
//!
//! Memory is bounded by what is set here. Messages that were fetched and not read yet are at most [`QUEUED_KBYTES`] of
//! values or [`QUEUED_MESSAGES`] messages (each has some 350 bytes beside its value), whatever is reached first, and on
//! top of that one answer of each broker, [`ANSWER_BYTES`] as it was sent. A larger batch is fetched alone.

use super::error::KafkaError;
use super::settings::{KafkaSettings, Secret};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

const QUEUED_KBYTES: u32 = 32 << 10;
const QUEUED_MESSAGES: u32 = 50_000;
const ANSWER_BYTES: u32 = 8 << 20;
const PARTITION_BYTES: u32 = 1 << 20;

/// What may be set otherwise.
///
/// - The broker answers a fetch as soon as it has a byte. Where it has none it answers after `fetch.wait.max.ms`: until
///   then a partition that was just added waits for its turn, and the end of a partition is not known.
/// - A full queue is looked at again after `fetch.queue.backoff.ms`. By default that is a second, in which a reader that
///   has emptied the queue has nothing to do.
/// - A connection that hangs is given up after `socket.timeout.ms` instead of a minute.
fn defaults() -> [(&'static str, String); 11] {
    [
        ("client.id", "millrace".to_owned()),
        ("enable.metrics.push", "false".to_owned()),
        ("fetch.max.bytes", ANSWER_BYTES.to_string()),
        ("fetch.message.max.bytes", PARTITION_BYTES.to_string()),
        ("fetch.min.bytes", "1".to_owned()),
        ("fetch.queue.backoff.ms", "5".to_owned()),
        ("fetch.wait.max.ms", "100".to_owned()),
        ("queued.max.messages.kbytes", QUEUED_KBYTES.to_string()),
        ("queued.min.messages", QUEUED_MESSAGES.to_string()),
        ("socket.keepalive.enable", "true".to_owned()),
        ("socket.timeout.ms", "30000".to_owned()),
    ]
}

/// What reading exactly rests on.
const FIXED: [(&str, &str); 6] = [
    ("allow.auto.create.topics", "false"),
    ("auto.offset.reset", "error"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("isolation.level", "read_committed"),
];

const POSITIONS: &str = "positions are kept with the results, not by the broker";
const MEMBERSHIP: &str = "partitions are shared out by the engine, which joins no consumer group";
const COMMITTED: &str = "records of transactions that were aborted would be counted";

/// What is refused, and why. All names that librdkafka knows them by.
const REFUSED: [(&str, &str); 17] = [
    ("allow.auto.create.topics", "a topic that is misspelled would be created"),
    ("auto.commit.enable", POSITIONS),
    ("auto.offset.reset", "a position that is gone would be left silently; see source.kafka.on_lost_offsets"),
    ("bootstrap.servers", "set source.kafka.brokers"),
    ("enable.auto.commit", POSITIONS),
    ("enable.auto.offset.store", POSITIONS),
    ("enable.partition.eof", "the ends of partitions would not be known"),
    ("group.id", "set source.kafka.group"),
    ("group.instance.id", MEMBERSHIP),
    ("group.protocol", MEMBERSHIP),
    ("group.remote.assignor", MEMBERSHIP),
    ("isolation.level", COMMITTED),
    ("metadata.broker.list", "set source.kafka.brokers"),
    ("offset.store.method", POSITIONS),
    ("partition.assignment.strategy", MEMBERSHIP),
    ("plugin.library.paths", "the client loads no code"),
    ("topic.blacklist", "a topic that is read would not be found"),
];

/// # Errors
/// [`KafkaError`] for a property that is refused, or that this build has no code for.
pub(super) fn client_config(settings: &KafkaSettings) -> Result<ClientConfig, KafkaError> {
    let mut config = ClientConfig::new();
    for (name, value) in defaults() {
        config.set(name, value);
    }
    for (name, value) in &settings.properties {
        check(name, value)?;
        config.set(name, value.reveal());
    }
    for (name, value) in FIXED {
        config.set(name, value);
    }
    config.set("bootstrap.servers", &settings.brokers).set("group.id", &settings.group);
    // What it has to say comes as events.
    config.set_log_level(RDKafkaLogLevel::Emerg);
    Ok(config)
}

fn check(name: &str, value: &Secret) -> Result<(), KafkaError> {
    if let Some((name, reason)) = REFUSED.into_iter().find(|(refused, _)| *refused == name) {
        return Err(KafkaError::Refused { name, reason });
    }
    if cfg!(feature = "kafka-tls") || !needs_tls(name, value) {
        return Ok(());
    }
    Err(KafkaError::NoTls { name: name.to_owned() })
}

/// Whether a property asks for what only a build with `kafka-tls` has.
pub(crate) fn needs_tls(name: &str, value: &Secret) -> bool {
    let value = value.reveal().to_ascii_lowercase();
    match name {
        "security.protocol" => value.contains("ssl"),
        "sasl.mechanism" | "sasl.mechanisms" => value.starts_with("scram") || value == "oauthbearer",
        _ => name.starts_with("ssl.") || name == "enable.ssl.certificate.verification",
    }
}

/// Whether the value of a property must not be shown: by its name, so that one that is new in librdkafka is covered, too.
/// A `.location` is the path of a file.
pub fn is_secret_property(name: &str) -> bool {
    const PARTS: [&str; 8] = ["password", "passphrase", "secret", "token", "key", "pem", "oauthbearer.config", "jaas"];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part)) && !name.ends_with(".location")
}

/// The secrets among the properties, so that no message of the library's can carry one.
pub(super) fn secrets(settings: &KafkaSettings) -> Vec<String> {
    let hidden = |(name, value): (&String, &Secret)| is_secret_property(name).then(|| value.reveal().to_owned());
    settings.properties.iter().filter_map(hidden).filter(|value| !value.is_empty()).collect()
}
