//! From settings to topics.

use crate::settings::Settings;
use millrace_connectors::sink::SinkSettings;

/// The topics that are published to, those of views first, in the order of the settings.
pub(super) fn topics(settings: &Settings) -> Vec<SinkSettings> {
    let (out, source) = (&settings.kafka_out, &settings.source.kafka);
    let dead_letters = Some(&out.dead_letter_topic).filter(|topic| !topic.is_empty());
    let topics = out.views.iter().map(|view| &view.topic).chain(dead_letters);
    let settings = |topic: &String| SinkSettings {
        brokers: out.brokers(source).to_owned(),
        topic: topic.clone(),
        transactional_id: format!("{}.{topic}", out.transactional_id.trim()),
        properties: out.properties(source).map(|(name, value)| (name.to_owned(), value.into())).collect(),
    };
    topics.map(settings).collect()
}

/// Begins the names of the pins of a topic.
pub(super) fn pin_prefix(topic: &str) -> String {
    const BYTES_MOST: usize = 60;
    match topic.get(BYTES_MOST..) {
        None => format!("out-{topic}-"),
        // Names of pins are shorter than those of topics may be.
        Some(_) => format!("out-{}-{:016x}-", &topic[..32], xxhash_rust::xxh3::xxh3_64(topic.as_bytes())),
    }
}

/// Whether a pin is one of a topic's.
pub(super) fn is_pin_of(topic: &str, id: &str) -> bool {
    // Another topic's name may begin with this one's.
    id.strip_prefix(&pin_prefix(topic))
        .is_some_and(|rest| rest.len() == 16 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{is_id, pin_id};
    use crate::settings::ViewTopic;

    #[test]
    fn pins_are_told_apart_by_their_topics() {
        let long = "x".repeat(249);
        for topic in ["sales", "sales-0123456789abcdef", ".x", &long] {
            let id = format!("{}{}", pin_prefix(topic), pin_id());
            assert!(is_id(&id) && is_pin_of(topic, &id), "{id}");
            assert!(!is_pin_of("other", &id) && !is_pin_of(topic, "mine"));
        }
        let other = format!("{}{}", pin_prefix("sales-0123456789abcdef"), pin_id());
        assert!(!is_pin_of("sales", &other));
    }

    #[test]
    fn without_brokers_the_sources_are_meant_with_what_a_connection_needs() {
        let mut settings = Settings::default();
        settings.kafka_out.views = vec![ViewTopic { view: "sales".to_owned(), topic: "out".to_owned() }];
        settings.kafka_out.dead_letter_topic = "dead".to_owned();
        settings.source.kafka.brokers = "source:9092".to_owned();
        settings.source.kafka.properties =
            ["security.protocol=plaintext", "fetch.min.bytes=7", "sasl.username=me"].map(str::to_owned).into();
        settings.kafka_out.properties = vec!["sasl.username = other".to_owned()];
        let found = topics(&settings);
        let topics: Vec<&str> = found.iter().map(|topic| topic.topic.as_str()).collect();
        assert_eq!(topics, ["out", "dead"]);
        assert_eq!((found[0].brokers.as_str(), found[1].transactional_id.as_str()), ("source:9092", "millrace.dead"));
        let properties: Vec<&String> = found[0].properties.keys().collect();
        assert_eq!(properties, ["sasl.username", "security.protocol"]);
        assert!(found[0].properties["sasl.username"] == "other".into());
        settings.kafka_out.brokers = "elsewhere:9092".to_owned();
        let found = super::topics(&settings);
        assert_eq!((found[0].brokers.as_str(), found[0].properties.len()), ("elsewhere:9092", 1));
    }
}
