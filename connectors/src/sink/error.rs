//! What can go wrong with a topic that is written to. Each says what to change; none carries a secret.

#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error("{name} must not be set in kafka_out.properties: {reason}")]
    Refused { name: &'static str, reason: &'static str },
    #[error(
        "{name} in kafka_out.properties asks for TLS, SCRAM or OAUTHBEARER, which this program was built without: build it with the \
         feature kafka-tls"
    )]
    NoTls { name: String },
    #[error(
        "{name} in kafka_out.properties is no property of librdkafka's, or has a value that it does not take: correct it"
    )]
    BadProperty { name: String },
    #[error("the Kafka client for topic {topic} cannot be made: {reason}; correct kafka_out.properties")]
    Client { topic: String, reason: String },
    #[error(
        "no broker of {brokers} answers: {reason}; check kafka_out.brokers, and that they run and can be reached from here"
    )]
    Unreachable { brokers: String, reason: String },
    #[error(
        "the topic {topic} is not there and cannot be made: {reason}; create it, or grant the user of kafka_out.properties CREATE"
    )]
    NoTopic { topic: String, reason: String },
    #[error(
        "another producer has taken the transactional id {id} of topic {topic}, or a transaction took longer than \
         transaction.timeout.ms in kafka_out.properties: give each shop a kafka_out.transactional_id of its own, or raise that"
    )]
    Fenced { topic: String, id: String },
    #[error(
        "the last committed messages of topic {topic} cannot be read: {reason}; grant the user of kafka_out.properties READ and DESCRIBE"
    )]
    Unread { topic: String, reason: String },
    #[error("the topic {topic} was made anew since it was opened: all of it is published again")]
    MadeAnew { topic: String },
    #[error("{what} topic {topic} failed: {reason}")]
    Failed { topic: String, what: &'static str, reason: String },
}

impl SinkError {
    /// Whether somebody else writes there now.
    pub fn is_fenced(&self) -> bool {
        matches!(self, SinkError::Fenced { .. })
    }
}
