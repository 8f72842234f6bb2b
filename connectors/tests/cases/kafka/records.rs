//! What was sent is what is read: any bytes, any codec, only what was committed.

use super::support::*;
use millrace_connectors::source::kafka::{KafkaSettings, Topic};
use millrace_connectors::source::{LiveSource, Source, Start};
use millrace_parts::kafka::Broker;
use millrace_parts::or_skip;
use millrace_schema::Kind;
use rdkafka::producer::Producer;
use std::time::Duration;

#[test]
fn any_bytes_of_three_partitions_come_back_in_order() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let name = topic(broker, "odd", 3);
    let odd: [&[u8]; 8] = [b"{}", b"", b"two\nlines\r\n", b"\n", b"\xff\xfe\0", b"  ", &[0; 3], "größe €".as_bytes()];
    let producer = producer(broker, &[]);
    let sent: Vec<Sent> = (0..60).map(|number| value(number % 3, odd[number as usize % odd.len()])).collect();
    send(&producer, &name, &sent);

    let mut reader = open(settings(broker, &[&name]), Start::Earliest);
    let got = read_all(&mut reader, 60);
    let mut expected = Vec::new();
    for ordinal in 0..3 {
        let of_partition = sent.iter().filter(|sent| sent.partition == ordinal);
        let values = of_partition.zip(0..).map(|(sent, offset)| (ordinal as u16, offset, sent.value.unwrap().to_vec()));
        expected.extend(values);
    }
    let got: Vec<_> = got.into_iter().map(|got| (got.ordinal, got.offset, got.value)).collect();
    assert_eq!(got, expected);
    let bytes: usize = expected.iter().map(|(.., value)| value.len()).sum();
    assert_eq!(reader.progress().consumed_bytes(), bytes as u64);
}

/// Producers on some systems begin each message with it, as files do.
#[test]
fn a_byte_order_mark_is_not_part_of_a_message() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let name = topic(broker, "marked-bytes", 1);
    let sent: [&[u8]; 4] = [b"\xEF\xBB\xBF{\"a\":1}", b"{\"b\":\"\xEF\xBB\xBF\"}", b"\xEF\xBB\xBF", b"\xEF\xBB"];
    send(&producer(broker, &[]), &name, &sent.map(|bytes| value(0, bytes)));
    let got = read_all(&mut open(settings(broker, &[&name]), Start::Earliest), 4);
    let expected: [&[u8]; 4] = [b"{\"a\":1}", sent[1], b"", sent[3]];
    assert_eq!(got.iter().map(|got| &*got.value).collect::<Vec<_>>(), expected);
}

#[test]
fn every_codec_is_read() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let name = topic(broker, codec, 2);
        let producer = producer(broker, &[("compression.codec", codec), ("linger.ms", "50")]);
        let lines: Vec<String> =
            (0..500).map(|number| format!("{{\"number\":{number},\"text\":\"aaaaaaaaaa\"}}")).collect();
        let sent: Vec<Sent> = lines.iter().map(|line| value(0, line.as_bytes())).collect();
        send(&producer, &name, &sent);
        // The second partition has nothing, and is read, too.
        assert_eq!(values(&read_all(&mut open(settings(broker, &[&name]), Start::Earliest), 500)), lines, "{codec}");
    }
}

#[test]
fn only_what_transactions_have_committed_is_read() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let name = topic(broker, "transactions", 1);
    let id = unique("transactional");
    let producer = producer(broker, &[("transactional.id", &id)]);
    producer.init_transactions(PATIENCE).unwrap();
    let begin = |lines: &[&str]| {
        producer.begin_transaction().unwrap();
        send(&producer, &name, &lines.iter().map(|line| value(0, line.as_bytes())).collect::<Vec<_>>());
    };
    begin(&["a", "b"]);
    producer.commit_transaction(PATIENCE).unwrap();
    begin(&["never", "never"]);
    producer.abort_transaction(PATIENCE).unwrap();
    begin(&["c"]);
    producer.commit_transaction(PATIENCE).unwrap();
    begin(&["never"]);
    producer.abort_transaction(PATIENCE).unwrap();

    let mut reader = open(settings(broker, &[&name]), Start::Earliest);
    let got = read_all(&mut reader, 3);
    assert_eq!(values(&got), ["a", "b", "c"]);
    assert_eq!(got.iter().map(|got| got.offset).collect::<Vec<_>>(), [0, 1, 6]);
    let next = |reader: &Reader| reader.source.status().get().partitions[0].next;
    assert_eq!(next(&reader), 10, "behind the mark of the last transaction");

    // What is open is not there yet.
    begin(&["d"]);
    assert_eq!(read_until(&mut reader, |_, state| state.partitions[0].is_read()), []);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(read_until(&mut reader, |_, state| state.partitions[0].is_read()), []);
    let resumed = positions(&reader);
    producer.commit_transaction(PATIENCE).unwrap();
    let got = read_until(&mut reader, |_, state| state.partitions[0].next == 12);
    assert_eq!(values(&got), ["d"]);
    // Where reading begins inside all of that, it ends there, too.
    for position in 2..=12 {
        let mut from = resumed.clone();
        from.positions = vec![position];
        let expected = [(0, "a"), (1, "b"), (6, "c"), (10, "d")];
        let expected: Vec<&str> = expected.iter().filter(|(at, _)| *at >= position).map(|(_, line)| *line).collect();
        let mut reader = resume(settings(broker, &[&name]), Start::Earliest, from);
        assert_eq!(values(&read_all(&mut reader, expected.len())), expected, "from {position}");
    }
}

#[test]
fn a_message_without_a_value_deletes_what_its_key_names() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let names = ["products", "users", "events"].map(|name| topic(broker, name, 1));
    let producer = producer(broker, &[]);
    let tombstone = |key| Sent { key: Some(key), time: Some(1_700_000_000_123), ..Sent::default() };
    for name in &names {
        send(&producer, name, &[tombstone(b"k \"1\""), tombstone(b""), tombstone(b"\xff"), value(0, b"{}")]);
    }
    let kinds = [Some(Kind::Product), Some(Kind::User), None];
    let topics = names.iter().zip(kinds).map(|(name, kind)| Topic { kind, ..Topic::named(name) }).collect();
    let settings = KafkaSettings { topics, ..settings(broker, &[]) };
    let got = read_all(&mut open(settings, Start::Earliest), 12);
    let at = 1_700_000_000_123_000;
    let deleted = |kind| String::from_utf8(millrace_schema::tombstone(kind, b"k \"1\"", at).unwrap()).unwrap();
    let expected =
        [[&*deleted(Kind::Product), "", "", "{}"], [&*deleted(Kind::User), "", "", "{}"], ["", "", "", "{}"]];
    assert_eq!(values(&got), expected.concat());
    assert_eq!(got[0].kind, Some("product"));
    assert_eq!(got[0].received_at, Some(at));
}

#[test]
fn a_header_names_the_kind_of_its_record() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let name = topic(broker, "kinds", 1);
    let producer = producer(broker, &[]);
    let headed = |header| Sent { header, ..value(0, b"{}") };
    let headers = [
        Some(("type", "purchase")),
        Some(("type", "purchase")),
        None,
        Some(("type", "page_view")),
        Some(("type", "no such kind")),
        Some(("other", "refund")),
    ];
    send(&producer, &name, &headers.map(headed));
    let tombstone = Sent { key: Some(b"u1"), value: None, ..headed(Some(("type", "user"))) };
    send(&producer, &name, &[tombstone]);

    let topic = Topic { kind: Some(Kind::Refund), kind_header: Some("type".into()), ..Topic::named(&name) };
    let settings = KafkaSettings { topics: vec![topic], ..settings(broker, &[]) };
    let got = read_all(&mut open(settings, Start::Earliest), 7);
    let kinds: Vec<_> = got.iter().map(|got| got.kind.unwrap_or("none")).collect();
    assert_eq!(kinds, ["purchase", "purchase", "refund", "page_view", "none", "refund", "user"]);
    assert!(String::from_utf8_lossy(&got[6].value).contains("\"deleted\":true"));
}

#[test]
fn the_time_of_a_record_is_the_brokers() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let created = topic(broker, "created", 1);
    let appended = topic_with(broker, "appended", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let producer = producer(broker, &[]);
    let old = Sent { time: Some(1_000), ..value(0, b"{}") };
    send(&producer, &created, &[old.clone(), Sent { time: Some(999_999), ..old.clone() }]);
    send(&producer, &appended, &[old]);
    let got = read_all(&mut open(settings(broker, &[&created, &appended]), Start::Earliest), 3);
    assert_eq!(got[0].received_at, Some(1_000_000));
    assert_eq!(got[1].received_at, Some(999_999_000));
    assert!(got[2].received_at.unwrap() > 1_700_000_000_000_000, "when the broker took it: {got:?}");
}

#[test]
fn a_large_message_is_cut_and_its_length_is_kept() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let name = topic_with(broker, "large", 2, &[("max.message.bytes", "6000000")]);
    let producer = producer(broker, &[("message.max.bytes", "6000000")]);
    let large: Vec<u8> = (0..5_000_000_u32).map(|number| (number % 251) as u8).collect();
    for partition in 0..2 {
        send(&producer, &name, &[value(partition, b"before")]);
        send(&producer, &name, &[value(partition, &large)]);
        send(&producer, &name, &[value(partition, b"behind")]);
    }
    let got = read_all(&mut open(settings(broker, &[&name]), Start::Earliest), 6);
    for got in got.chunks(3) {
        assert_eq!((&*got[0].value, &*got[2].value), (&b"before"[..], &b"behind"[..]));
        assert_eq!(got[1].true_bytes, 5_000_000);
        assert!(got[1].value == large[..1 << 20], "as much as a record may have");
    }
}
