//! Records that are gone before they were read.

use super::support::*;
use crate::Checked;
use millrace_connectors::source::kafka::{KafkaError, KafkaSource, LostOffsets};
use millrace_connectors::source::{
    LiveSource, Lost, Mark, PartitionInfo, ReadOptions, Resume, Source, SourceError, Start,
};
use millrace_parts::kafka::Broker;
use millrace_parts::or_skip;
use rdkafka::producer::Producer;
use std::time::Instant;

fn at(topic: &str, position: u64) -> Resume {
    let info = PartitionInfo { source: topic.into(), partition: 0, path: topic.into() };
    Resume { partitions: vec![info], positions: vec![position], ..Resume::default() }
}

#[test]
fn what_retention_removed_while_nobody_read_is_an_error_or_is_counted() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let name = topic(broker, "retention", 1);
    let producer = producer(broker, &[]);
    let lines: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    send(&producer, &name, &lines.iter().map(|line| value(0, line.as_bytes())).collect::<Vec<_>>());
    delete_before(broker, &name, 0, 6);

    let stop = settings(broker, &[&name]);
    let error = KafkaSource::open(stop.clone(), Start::Earliest, at(&name, 2), ReadOptions::default()).err().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "partition 0 of topic {name} begins at offset 6 now, and reading was to go on at 2: up to 4 records were \
             removed before they were read; raise the topic's retention, restore them, or go on without them by \
             source.kafka.on_lost_offsets = \"skip\""
        )
    );
    let mut skip = stop.clone();
    skip.on_lost_offsets = LostOffsets::Skip;
    let mut reader = resume(skip, Start::Earliest, at(&name, 2));
    assert_eq!(values(&read_all(&mut reader, 4)), ["6", "7", "8", "9"]);
    let lost = Lost { records: 4, from: 2, to: 6 };
    assert_eq!(reader.source.status().get().partitions[0].lost, lost);
    // A later run still says so, and counts none twice that had to begin before them.
    for position in [2, 10] {
        let mut later = positions(&reader);
        later.positions[0] = position;
        let mut skip = stop.clone();
        skip.on_lost_offsets = LostOffsets::Skip;
        let reader = resume(skip, Start::Earliest, later);
        assert_eq!(reader.source.status().get().partitions[0].lost, lost, "from {position}");
    }
    // All that is there is not lost, and what never was is not the first that is left.
    for position in [6, 10] {
        read_all(&mut resume(stop.clone(), Start::Earliest, at(&name, position)), 10 - position as usize);
    }
    let error = KafkaSource::open(stop, Start::Earliest, at(&name, 11), ReadOptions::default()).err().unwrap();
    assert!(matches!(error, SourceError::Kafka(KafkaError::Beyond { wanted: 11, end: 10, .. })), "{error}");
}

#[test]
fn a_mark_of_a_transaction_is_not_a_record_that_was_lost() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let name = topic(broker, "marked", 1);
    let producer = producer(broker, &[("transactional.id", &unique("marking"))]);
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    send(&producer, &name, &[value(0, b"a")]);
    producer.commit_transaction(PATIENCE).unwrap();
    let mut reader = open(settings(broker, &[&name]), Start::Earliest);
    read_until(&mut reader, |_, state| state.partitions[0].next == 2);
    let position = positions(&reader);
    drop(reader);
    delete_before(broker, &name, 0, 2);
    assert_eq!(read_all(&mut resume(settings(broker, &[&name]), Start::Earliest, position), 0), []);
}

#[test]
fn what_retention_removes_while_reading_is_an_error_or_is_counted() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    for policy in [LostOffsets::Stop, LostOffsets::Skip] {
        let (name, other) = (topic(broker, "removed", 1), topic(broker, "whole", 1));
        let producer = producer(broker, &[("linger.ms", "0")]);
        let line = [b'x'; 2_000];
        for _ in 0..40 {
            send(&producer, &name, &[value(0, &line)]);
        }
        // The client fetches no more than a few ahead.
        let mut settings = settings(broker, &[&name, &other]);
        settings.on_lost_offsets = policy;
        for (property, bytes) in [("fetch.message.max.bytes", "1000"), ("queued.min.messages", "1")] {
            settings.properties.insert(property.into(), bytes.into());
        }
        let mut reader = open(settings, Start::Earliest);
        let mut read = loop {
            if let Some(chunk) = reader.next_chunk().unwrap() {
                break u64::from(chunk.records);
            }
            reader.source.wait(PATIENCE);
        };
        delete_before(broker, &name, 0, 30);
        send(&producer, &other, &[value(0, b"goes on")]);
        if policy == LostOffsets::Skip {
            let got = read_until(&mut reader, |_, state| state.partitions.iter().all(|partition| partition.is_read()));
            read += got.len() as u64 - 1;
            assert_eq!(got.iter().map(|got| got.offset).max(), Some(39));
            let lost = reader.source.status().get().partitions[0].lost.records;
            assert!(lost > 0 && read + lost == 40, "{read} read and {lost} lost");
        } else {
            let error = fail(&mut reader);
            let SourceError::Kafka(KafkaError::Lost { wanted, earliest, missing, .. }) = error else {
                panic!("{error}")
            };
            assert_eq!((earliest, missing), (30, 30 - wanted));
        }
    }
}

#[test]
fn a_topic_that_was_made_anew_is_not_taken_for_the_old_one() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let name = topic(broker, "anew", 2);
    let producer = producer(broker, &[]);
    send(&producer, &name, &[value(0, b"old"), value(0, b"old"), value(1, b"old")]);
    let mut reader = open(settings(broker, &[&name]), Start::Earliest);
    read_all(&mut reader, 3);
    let before = positions(&reader);
    delete(broker, &name);
    read_until(&mut reader, |_, state| state.partitions.iter().all(|partition| partition.fault.is_some()));
    make(broker, &name, 1, &[]);
    let error = fail(&mut reader);
    assert!(matches!(error, SourceError::Kafka(KafkaError::MadeAnew { .. })), "{error}");
    drop(reader);
    let error = KafkaSource::open(settings(broker, &[&name]), Start::Earliest, before.clone(), ReadOptions::default());
    let error = error.err().unwrap();
    assert!(matches!(error, SourceError::Kafka(KafkaError::MadeAnew { .. })), "{error}");
    // As far as an earlier version could tell.
    let kept = Vec::new();
    let error = KafkaSource::open(
        settings(broker, &[&name]),
        Start::Earliest,
        Resume { kept, ..before },
        ReadOptions::default(),
    );
    let error = error.err().unwrap();
    assert!(matches!(error, SourceError::Kafka(KafkaError::NoSuchPartition { partition: 1, .. })), "{error}");
}

/// Offsets alone cannot tell: there are as many records, and as many partitions.
#[test]
fn a_topic_that_was_made_anew_and_is_as_long_is_not_read_on_in_its_middle() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let name = topic(broker, "as-long", 1);
    send(&producer(broker, &[]), &name, &[value(0, b"old"), value(0, b"old")]);
    let mut reader = open(settings(broker, &[&name]), Start::Earliest);
    read_all(&mut reader, 2);
    let before = positions(&reader);
    drop(reader);
    delete(broker, &name);
    make_again(broker, &name);
    let new = ["new 0", "new 1", "new 2", "new 3"];
    send(&producer(broker, &[]), &name, &new.map(|line| value(0, line.as_bytes())));
    let error = KafkaSource::open(settings(broker, &[&name]), Start::Earliest, before.clone(), ReadOptions::default());
    let error = error.err().expect("its first records were never read").to_string();
    let Some(Mark::Topic(id)) = &before.kept[0].mark else { panic!("{before:?}") };
    assert!(error.contains(&name) && error.contains("made anew") && error.contains(id.as_str()), "{error}");
    // A topic that nothing was read of is a topic.
    let mut reader = open(settings(broker, &[&name]), Start::Earliest);
    assert_eq!(values(&read_all(&mut reader, 4)), new);
    assert_ne!(positions(&reader).kept[0].mark, before.kept[0].mark);
}

#[test]
fn a_topic_that_is_made_anew_and_as_long_while_it_is_read_ends_the_source() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let (name, other) = (topic(broker, "as-long-live", 1), topic(broker, "other-live", 1));
    send(&producer(broker, &[]), &name, &[value(0, b"old"), value(0, b"old")]);
    let mut reader = open(settings(broker, &[&name, &other]), Start::Earliest);
    read_all(&mut reader, 2);
    delete(broker, &name);
    make_again(broker, &name);
    send(&producer(broker, &[]), &name, &["a", "b", "c"].map(|line| value(0, line.as_bytes())));
    let error = fail(&mut reader);
    assert!(matches!(&error, SourceError::Kafka(KafkaError::MadeAnew { topic, .. }) if *topic == name), "{error}");
}

/// A broker takes a moment to forget a topic.
fn make_again(broker: &Broker, name: &str) {
    std::thread::sleep(std::time::Duration::from_millis(500));
    make(broker, name, 1, &[]);
}

/// Reads until there is an error.
#[track_caller]
fn fail(reader: &mut Checked<KafkaSource>) -> SourceError {
    let start = Instant::now();
    loop {
        match reader.next_chunk() {
            Err(error) => return error,
            Ok(_) => {
                assert!(start.elapsed() < PATIENCE, "no error: {:?}", reader.source.status().get());
                reader.source.wait(std::time::Duration::from_millis(20));
            }
        }
    }
}
