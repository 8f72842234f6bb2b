//! TLS, where this build has it.

use super::support::*;
use millrace_connectors::source::kafka::{KafkaSettings, KafkaSource};
use millrace_connectors::source::{ReadOptions, Resume, Start};
use millrace_parts::kafka::{Auth, Broker, Options};
use millrace_parts::or_skip;
use std::time::{Duration, Instant};

#[test]
fn a_topic_is_read_through_tls() {
    let (user, password) = ("ann".to_owned(), "pass-1-secret".to_owned());
    let auth = Auth::SaslTls { user, password };
    let Some(broker) = or_skip(Broker::start(&Options { auth, ..Options::default() })) else { return };
    let name = topic(&broker, "private", 1);
    send(&producer(&broker, &[]), &name, &[value(0, b"{}")]);
    let with = |password, ca: Option<&str>| {
        let mut properties = as_user("ann", password);
        properties.insert("security.protocol".to_owned(), "SASL_SSL".into());
        properties.extend(ca.map(|ca| ("ssl.ca.location".to_owned(), ca.into())));
        KafkaSettings { properties, ..settings(&broker, &[&name]) }
    };
    let ca = broker.ca().map(|ca| ca.display().to_string());
    let mut reader = open(with("pass-1-secret", ca.as_deref()), Start::Earliest);
    assert_eq!(values(&read_all(&mut reader, 1)), ["{}"]);

    // The machine's own authorities have not signed the broker's certificate.
    for settings in [with("wrong-secret", ca.as_deref()), with("pass-1-secret", None)] {
        let start = Instant::now();
        let refused = KafkaSource::open(settings, Start::Earliest, Resume::default(), ReadOptions::default());
        let error = refused.err().unwrap().to_string();
        assert!(error.contains("do not let this client in") && !error.contains("secret"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
}
