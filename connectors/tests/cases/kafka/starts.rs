//! Where reading begins, and what goes on when partitions are added.

use super::support::*;
use millrace_connectors::source::{LiveSource, PartitionInfo, Resume, Source, Start};
use millrace_parts::kafka::Broker;
use millrace_parts::or_skip;
use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::time::{Duration, Instant};

#[test]
fn reading_begins_at_either_end_or_at_a_time() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let name = topic(broker, "starts", 2);
    let producer = producer(broker, &[]);
    let lines = ["one", "two", "three"];
    let at = |index: usize| Sent { time: Some(1_000 * (index as i64 + 1)), ..value(0, lines[index].as_bytes()) };
    send(&producer, &name, &[at(0), at(1), at(2)]);
    let cases: [(Start, &[&str]); 8] = [
        (Start::Earliest, &["one", "two", "three"]),
        (Start::Latest, &[]),
        (Start::Timestamp(-5), &["one", "two", "three"]),
        (Start::Timestamp(1_000_000), &["one", "two", "three"]),
        (Start::Timestamp(1_000_001), &["two", "three"]),
        (Start::Timestamp(2_000_000), &["two", "three"]),
        (Start::Timestamp(2_999_999), &["three"]),
        (Start::Timestamp(3_000_001), &[]),
    ];
    let mut readers = Vec::new();
    for (start, expected) in cases {
        let mut reader = open(settings(broker, &[&name]), start);
        let first = reader.source.status().get().partitions;
        assert_eq!(first.iter().map(|state| state.end).collect::<Vec<_>>(), [Some(3), Some(0)], "known at once");
        assert_eq!(values(&read_all(&mut reader, expected.len())), expected, "{start:?}");
        readers.push(reader);
    }
    // Wherever it began, it goes on.
    send(&producer, &name, &[value(0, b"four"), value(1, b"five")]);
    for mut reader in readers {
        assert_eq!(values(&read_all(&mut reader, 2)), ["four", "five"]);
    }
}

#[test]
fn ordinals_stay_and_positions_are_the_engines() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let (first, second) = (topic(broker, "first", 2), topic(broker, "second", 1));
    let producer = producer(broker, &[]);
    send(&producer, &first, &[value(0, b"0"), value(1, b"1"), value(1, b"2")]);
    send(&producer, &second, &[value(0, b"3")]);
    let info = |source: &str, partition| PartitionInfo { source: source.into(), partition, path: "any".into() };
    // In another order than the broker's, and with one that is not read any more.
    let partitions = vec![info(&first, 1), info("left", 7), info(&first, 0)];
    let from = Resume { partitions: partitions.clone(), positions: vec![1, 40, 1], ..Resume::default() };
    let mut reader = resume(settings(broker, &[&second, &first]), Start::Earliest, from);
    assert_eq!(reader.source.partitions()[..3], partitions);
    assert_eq!(reader.source.partitions()[3].source, second);
    let got = read_all(&mut reader, 2);
    assert_eq!(got.iter().map(|got| (got.ordinal, got.offset)).collect::<Vec<_>>(), [(0, 1), (3, 0)]);
    assert_eq!(values(&got), ["2", "3"]);
    assert_eq!(positions(&reader).positions, [2, 40, 1, 1]);
}

#[test]
fn a_new_partition_is_read_from_its_beginning() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let (name, other) = (topic(broker, "grows", 1), topic(broker, "other", 1));
    let producer = producer(broker, &[]);
    send(&producer, &name, &[value(0, b"before")]);
    let mut reader = open(settings(broker, &[&name, &other]), Start::Latest);
    assert_eq!(read_all(&mut reader, 0), []);
    let before = positions(&reader);

    grow(broker, &name, 3);
    let producer = self::producer(broker, &[]);
    send(&producer, &name, &[value(1, b"one"), value(2, b"two"), value(0, b"zero")]);
    let got = read_all(&mut reader, 3);
    assert_eq!(values(&got), ["zero", "one", "two"]);
    assert_eq!(got.iter().map(|got| got.ordinal).collect::<Vec<_>>(), [0, 2, 3], "behind those that were there");
    assert!(reader.source.status().get().partitions.iter().all(|partition| partition.is_read()));

    // An earlier run would have noticed them, had it not been away; a topic that is new begins where it is told.
    let late = topic(broker, "late", 1);
    send(&producer, &late, &[value(0, b"before")]);
    let mut reader = resume(settings(broker, &[&name, &late]), Start::Latest, before);
    assert_eq!(values(&read_all(&mut reader, 3)), ["zero", "one", "two"]);
}

#[test]
fn what_is_released_shows_in_the_group() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let name = topic(broker, "released", 2);
    send(&producer(broker, &[]), &name, &[value(0, b"a"), value(0, b"b"), value(1, b"c")]);
    let mut settings = settings(broker, &[&name]);
    settings.group = unique("group");
    let group = settings.group.clone();
    let mut reader = open(settings.clone(), Start::Earliest);
    read_all(&mut reader, 3);
    reader.source.release(&[(0, 1)]).unwrap();
    check_committed(broker, &group, &name, [Some(1), None]);
    reader.source.release(&[(0, 2), (1, 1), (9, 9)]).unwrap();
    // What was released last is written also where the source ends at once.
    drop(reader);
    check_committed(broker, &group, &name, [Some(2), Some(1)]);
    // And nothing begins there.
    assert_eq!(read_all(&mut open(settings, Start::Earliest), 3).len(), 3);
}

#[track_caller]
fn check_committed(broker: &Broker, group: &str, topic: &str, expected: [Option<i64>; 2]) {
    let mut config = ClientConfig::new();
    let consumer: BaseConsumer =
        config.set("bootstrap.servers", broker.bootstrap()).set("group.id", group).create().unwrap();
    let start = Instant::now();
    loop {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, 1);
        let committed = consumer.committed_offsets(list, PATIENCE).unwrap();
        let raw = |offset| if let rdkafka::Offset::Offset(offset) = offset { Some(offset) } else { None };
        let found: Vec<_> = committed.elements().iter().map(|element| raw(element.offset())).collect();
        if found == expected {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{found:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_record_is_handed_out_when_it_arrives() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let name = topic(broker, "soon", 2);
    let mut reader = open(settings(broker, &[&name]), Start::Latest);
    read_all(&mut reader, 0);
    let producer = producer(broker, &[("linger.ms", "0")]);
    send(&producer, &name, &[value(0, b"the first takes longer")]);
    read_all(&mut reader, 1);
    let mut taken = Vec::new();
    for number in 0..51 {
        let start = Instant::now();
        queue(&producer, &name, &value(number % 2, b"{}"));
        while reader.next_chunk().unwrap().is_none() {
            reader.source.wait(PATIENCE);
        }
        taken.push(start.elapsed());
    }
    taken.sort();
    // Mostly one or two; a machine may be busy, but no timer of ours may be in the way.
    assert!(taken[25] < Duration::from_millis(20), "{taken:?}");
}
