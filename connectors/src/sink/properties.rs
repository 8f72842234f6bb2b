//! The properties of the clients: ours, the user's, and those that nobody may change.

use super::error::SinkError;
use crate::source::kafka::{Secret, is_secret_property, needs_tls};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::producer::BaseProducer;
use std::collections::BTreeMap;

/// A topic to write to.
#[derive(Clone, Debug)]
pub struct SinkSettings {
    /// `host:port` of some brokers, separated by commas.
    pub brokers: String,
    pub topic: String,
    /// Of two producers with the same, the later fences the earlier.
    pub transactional_id: String,
    /// Settings of librdkafka. They win over our defaults; those that what is promised here rests on are refused.
    pub properties: BTreeMap<String, Secret>,
}

/// What may be set otherwise. A transaction that is left open, for its engine was killed and did not start again, holds up who reads what
/// is committed for `transaction.timeout.ms`.
const DEFAULTS: [(&str, &str); 7] = [
    ("client.id", "millrace"),
    ("compression.type", "lz4"),
    ("enable.metrics.push", "false"),
    ("linger.ms", "5"),
    ("queue.buffering.max.kbytes", "65536"),
    ("socket.keepalive.enable", "true"),
    ("transaction.timeout.ms", "60000"),
];

const ONCE: &str = "messages could come twice, or in another order";
/// What is refused, and why. All names that librdkafka knows them by.
const REFUSED: [(&str, &str); 14] = [
    ("acks", ONCE),
    ("bootstrap.servers", "set kafka_out.brokers"),
    ("delivery.report.only.error", "where messages went would not be known"),
    ("enable.auto.commit", "no position is read from a group"),
    ("enable.gapless.guarantee", ONCE),
    ("enable.idempotence", ONCE),
    ("enable.partition.eof", "the ends of partitions would not be known"),
    ("group.id", "no group is joined"),
    ("isolation.level", "what was not committed would pass for published"),
    ("max.in.flight", ONCE),
    ("metadata.broker.list", "set kafka_out.brokers"),
    ("plugin.library.paths", "the client loads no code"),
    ("request.required.acks", ONCE),
    ("transactional.id", "set kafka_out.transactional_id"),
];

/// Properties that librdkafka gives a consumer only, or a producer only: the other of the two clients here would refuse them.
fn is_of_producer(name: &str) -> bool {
    ["batch.", "compression.", "linger.", "message.send.", "message.timeout.", "queue.buffering.", "transaction."]
        .iter()
        .any(|start| name.starts_with(start))
}

/// Checks what can be checked without a broker.
///
/// # Errors
/// [`SinkError`] for a property that is refused, unknown or has a bad value, or that this build has no code for.
pub fn check(settings: &SinkSettings) -> Result<(), SinkError> {
    let made: Result<BaseProducer, KafkaError> = producer(settings)?.create();
    made.map(drop).map_err(|error| refused(settings, &error))
}

fn base(settings: &SinkSettings, wanted: impl Fn(&str) -> bool) -> Result<ClientConfig, SinkError> {
    let mut config = ClientConfig::new();
    for (name, value) in DEFAULTS.into_iter().filter(|(name, _)| wanted(name)) {
        config.set(name, value);
    }
    for (name, value) in &settings.properties {
        if let Some((name, reason)) = REFUSED.into_iter().find(|(refused, _)| refused == name) {
            return Err(SinkError::Refused { name, reason });
        }
        if !cfg!(feature = "kafka-tls") && needs_tls(name, value) {
            return Err(SinkError::NoTls { name: name.clone() });
        }
        if wanted(name) {
            config.set(name, value.reveal());
        }
    }
    config.set("bootstrap.servers", &settings.brokers);
    // What it has to say comes with the calls that fail.
    config.set_log_level(RDKafkaLogLevel::Emerg);
    Ok(config)
}

/// # Errors
/// As [`check`].
pub(super) fn producer(settings: &SinkSettings) -> Result<ClientConfig, SinkError> {
    let mut config = base(settings, |_| true)?;
    config.set("transactional.id", &settings.transactional_id).set("enable.idempotence", "true");
    Ok(config)
}

/// Of a client that reads what was committed, and makes no topic by asking for one. It joins no group.
///
/// # Errors
/// As [`check`].
pub(super) fn reader(settings: &SinkSettings) -> Result<BaseConsumer, SinkError> {
    let mut config = base(settings, |name| !is_of_producer(name))?;
    config
        .set("group.id", &settings.transactional_id)
        .set("allow.auto.create.topics", "false")
        .set("auto.offset.reset", "error")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "100")
        .set("isolation.level", "read_committed");
    config.create().map_err(|error| refused(settings, &error))
}

pub(super) fn refused(settings: &SinkSettings, error: &KafkaError) -> SinkError {
    match error {
        // Its text may hold the value.
        KafkaError::ClientConfig(_, _, name, _) => SinkError::BadProperty { name: name.clone() },
        error => SinkError::Client { topic: settings.topic.clone(), reason: clean(settings, &error.to_string()) },
    }
}

/// A text of the library's without any secret that may have got into it.
pub(super) fn clean(settings: &SinkSettings, text: &str) -> String {
    let secrets =
        settings.properties.iter().filter(|(name, value)| is_secret_property(name) && !value.reveal().is_empty());
    secrets.fold(text.to_owned(), |text, (_, value)| text.replace(value.reveal(), "***"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(properties: &[(&str, &str)]) -> SinkSettings {
        SinkSettings {
            // Nobody listens there, and nobody needs to.
            brokers: "127.0.0.1:1".to_owned(),
            topic: "out".to_owned(),
            transactional_id: "shop.out".to_owned(),
            properties: properties.iter().map(|&(name, value)| (name.to_owned(), value.into())).collect(),
        }
    }

    #[test]
    fn what_exactly_once_rests_on_is_refused() {
        assert!(check(&settings(&[("compression.type", "zstd"), ("transaction.timeout.ms", "90000")])).is_ok());
        for name in ["acks", "transactional.id", "enable.idempotence", "isolation.level", "bootstrap.servers"] {
            let error = check(&settings(&[(name, "1")])).expect_err(name).to_string();
            assert!(error.contains(name) && error.contains("kafka_out"), "{error}");
        }
        for (name, value) in [("no.such.property", "1"), ("compression.type", "hunter2")] {
            let error = check(&settings(&[(name, value)])).expect_err(name).to_string();
            assert!(error.contains(name) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_reader_is_not_given_what_only_a_producer_takes() {
        let given = settings(&[("linger.ms", "50"), ("compression.type", "zstd"), ("client.id", "shop")]);
        assert!(reader(&given).is_ok());
    }

    #[test]
    #[cfg(not(feature = "kafka-tls"))]
    fn what_this_build_cannot_do_is_said() {
        let error = check(&settings(&[("security.protocol", "sasl_ssl")])).expect_err("no TLS").to_string();
        assert!(error.contains("security.protocol") && error.contains("kafka-tls"), "{error}");
    }

    #[test]
    fn no_message_carries_a_secret() {
        let given = settings(&[("sasl.password", "hunter2")]);
        assert_eq!(clean(&given, "sasl: hunter2 is wrong"), "sasl: *** is wrong");
    }
}
