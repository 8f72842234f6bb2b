//! What cannot be read is said at once, says what to change, and shows no secret.

use super::support::*;
use crate::Checked;
use millrace_connectors::source::kafka::{KafkaSettings, KafkaSource, Topic};
use millrace_connectors::source::{LiveSource, ReadOptions, Resume, Source, Start};
use millrace_parts::kafka::{Auth, Broker, Options, tool};
use millrace_parts::or_skip;
use std::time::{Duration, Instant};

const PASSWORD: &str = "pass-1-secret";

fn refusal(settings: &KafkaSettings) -> String {
    match KafkaSource::open(settings.clone(), Start::Earliest, Resume::default(), ReadOptions::default()) {
        Ok(_) => panic!("it must be refused: {settings:?}"),
        Err(error) => {
            assert!(!error.to_string().contains("secret") && !format!("{error:?} {settings:?}").contains("secret"));
            error.to_string()
        }
    }
}

/// Port 1 is nobody's.
fn nowhere() -> KafkaSettings {
    KafkaSettings::new("127.0.0.1:1", vec![Topic::named("events")])
}

#[test]
fn settings_that_would_break_what_is_promised_are_refused() {
    let cases = [
        ("group.id", "set source.kafka.group"),
        ("group.instance.id", "joins no consumer group"),
        ("partition.assignment.strategy", "joins no consumer group"),
        ("isolation.level", "transactions that were aborted"),
        ("enable.auto.commit", "positions are kept with the results"),
        ("auto.offset.reset", "source.kafka.on_lost_offsets"),
        ("enable.partition.eof", "ends of partitions"),
        ("bootstrap.servers", "set source.kafka.brokers"),
        ("no.such.property", "no property of librdkafka's"),
        ("fetch.min.bytes", "does not take"),
    ];
    for (name, expected) in cases {
        let mut settings = nowhere();
        settings.properties.insert(name.into(), "secret".into());
        let error = refusal(&settings);
        assert!(error.starts_with(&format!("{name} ")) && error.contains(expected), "{error}");
    }
    let error = refusal(&KafkaSettings::new("127.0.0.1:1", vec![]));
    assert!(error.contains("source.kafka.topics"), "{error}");
    let twice = vec![Topic::named("events"), Topic::named("events")];
    assert!(refusal(&KafkaSettings::new("127.0.0.1:1", twice)).contains("named twice"));
    #[cfg(not(feature = "kafka-tls"))]
    for (name, value) in [("security.protocol", "SASL_SSL"), ("sasl.mechanism", "SCRAM-SHA-512")] {
        let mut settings = nowhere();
        settings.properties.insert(name.into(), value.into());
        assert!(refusal(&settings).contains("feature kafka-tls"));
    }
}

#[test]
fn brokers_that_are_away_are_waited_for_and_then_named() {
    let mut settings = nowhere();
    settings.connect_timeout = Duration::from_millis(700);
    let start = Instant::now();
    let error = refusal(&settings);
    assert!((600..3_000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    for part in ["127.0.0.1:1 ", "within 0.7 s", "Connection refused", "source.kafka.connect_timeout"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn a_topic_that_is_not_there_is_named_soon() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let there = topic(broker, "there", 1);
    let start = Instant::now();
    let error = refusal(&settings(broker, &[&there, "not-there"]));
    assert!(error.starts_with("there is no topic not-there at 127.0.0.1:"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(refusal(&settings(broker, &["not a name"])).contains("no topic not a name"));
}

#[test]
fn who_is_not_let_in_or_may_not_read_is_told_soon() {
    let (user, password) = ("ann".to_owned(), PASSWORD.to_owned());
    let properties =
        ["authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users=User:ANONYMOUS"]
            .map(str::to_owned)
            .to_vec();
    let auth = Auth::SaslPlain { user, password };
    let Some(broker) = or_skip(Broker::start(&Options { auth, properties, ..Options::default() })) else { return };
    let name = topic(&broker, "guarded", 1);
    send(&producer(&broker, &[]), &name, &[value(0, b"{}")]);
    let as_ann = |password: &str| {
        let mut settings = settings(&broker, &[&name]);
        settings.properties = as_user("ann", password);
        settings
    };
    let start = Instant::now();
    let error = refusal(&as_ann("wrong-secret"));
    assert!(error.contains("do not let this client in") && error.contains("source.kafka.properties"), "{error}");
    let error = refusal(&as_ann(PASSWORD));
    assert!(error.starts_with(&format!("this client may not read topic {name}")), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "not after the whole timeout");

    let acls = "org.apache.kafka.tools.AclCommand";
    let grant = ["--bootstrap-server", broker.internal(), "--add", "--allow-principal", "User:ann", "--topic", &name];
    let grant = |operations: &[&str]| tool(acls, &[&grant[..], operations].concat()).unwrap();
    grant(&["--operation", "Describe", "--operation", "Read"]);
    let mut reader = open(as_ann(PASSWORD), Start::Earliest);
    assert_eq!(values(&read_all(&mut reader, 1)), ["{}"]);
    // It may not write to the group, and reads all the same.
    check_release_fails(&mut reader);
}

fn check_release_fails(reader: &mut Checked<KafkaSource>) {
    let start = Instant::now();
    let error = loop {
        if let Err(error) = reader.source.release(&[(0, 1)]) {
            break error.to_string();
        }
        assert!(start.elapsed() < PATIENCE, "no error");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(error.contains("were not written to group millrace"), "{error}");
    assert!(reader.next_chunk().unwrap().is_none());
}
