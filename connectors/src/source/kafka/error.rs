//! What can go wrong with Kafka. Each says what to change; none carries a secret.

use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    #[error("no topic to read: name at least one in source.kafka.topics")]
    NoTopic,
    #[error("topic {topic} is named twice in source.kafka.topics: name it once")]
    TopicTwice { topic: String },
    #[error("source.kafka.{name} is empty: set it")]
    Empty { name: &'static str },
    #[error("source.kafka.{name} holds a zero byte: remove it")]
    ZeroByte { name: &'static str },
    #[error("{name} must not be set in source.kafka.properties: {reason}")]
    Refused { name: &'static str, reason: &'static str },
    #[error(
        "{name} in source.kafka.properties asks for TLS, SCRAM or OAUTHBEARER, which this program was built without: \
         build it with the feature kafka-tls"
    )]
    NoTls { name: String },
    #[error("{name} in source.kafka.properties is no property of librdkafka's: correct its name or remove it")]
    UnknownProperty { name: String },
    #[error("{name} in source.kafka.properties has a value that librdkafka does not take: correct it")]
    BadProperty { name: String },
    #[error("the Kafka client cannot be made: {reason}; correct source.kafka.properties")]
    Client { reason: String },
    #[error(
        "no broker of {brokers} answered within {seconds} s: {reason}; check source.kafka.brokers, that they run and \
         can be reached from here, or raise source.kafka.connect_timeout_ms",
        seconds = .timeout.as_secs_f64()
    )]
    Unreachable { brokers: String, timeout: Duration, reason: String },
    #[error(
        "the brokers {brokers} do not let this client in: {reason}; check the user, the password and the certificates \
         in source.kafka.properties"
    )]
    NotLetIn { brokers: String, reason: String },
    #[error("there is no topic {topic} at {brokers}: create it, or correct source.kafka.topics")]
    NoSuchTopic { topic: String, brokers: String },
    #[error("this client may not read topic {topic}: grant its user READ and DESCRIBE, or name another user")]
    MayNotRead { topic: String },
    #[error(
        "topic {topic} has no partition {partition}, of which an earlier run has read up to offset {position}: the \
         topic was made anew; read it under another name, or start with an empty data directory"
    )]
    NoSuchPartition { topic: String, partition: u32, position: u64 },
    /// Retention was faster than reading.
    #[error(
        "partition {partition} of topic {topic} begins at offset {earliest} now, and reading was to go on at {wanted}: \
         up to {missing} records were removed before they were read; raise the topic's retention, restore them, or \
         go on without them by source.kafka.on_lost_offsets = \"skip\""
    )]
    Lost { topic: String, partition: u32, wanted: u64, earliest: u64, missing: u64 },
    /// The records there are not those that were read.
    #[error(
        "partition {partition} of topic {topic} ends at offset {end}, and reading was to go on at {wanted}: the topic \
         was made anew or lost its end, so what was read of it is not what it holds; read it under another name, or \
         start with an empty data directory"
    )]
    Beyond { topic: String, partition: u32, wanted: u64, end: u64 },
    /// A topic of the same name, with other records.
    #[error(
        "topic {topic} was deleted and made anew: its id is {now}, and what was read of it had the id {before}; read it \
         under another name, or start with an empty data directory"
    )]
    MadeAnew { topic: String, before: String, now: String },
    #[error(
        "partition {partition} of topic {topic} went back to offset {offset} after {expected} was reached: it lost its \
         end and was written anew from there; start with an empty data directory"
    )]
    WentBack { topic: String, partition: u32, offset: u64, expected: u64 },
    #[error(
        "partition {partition} of topic {topic} cannot be read past offset {offset}: {reason}; the records there are \
         damaged, remove them or leave the topic out"
    )]
    Damaged { topic: String, partition: u32, offset: u64, reason: String },
    #[error("topics with {count} partitions are more than the {limit} that one run can read: read some in another")]
    TooManyPartitions { count: usize, limit: usize },
    #[error("librdkafka does not take the partitions to read: {reason}")]
    Assign { reason: String },
    #[error(
        "offsets for tools that show lag were not written to group {group}: {reason}; nothing else depends on them"
    )]
    Release { group: String, reason: String },
}
