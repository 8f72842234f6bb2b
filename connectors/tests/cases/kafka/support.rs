//! What the tests do to a broker, and how they read from it.

use crate::Checked;
use millrace_connectors::source::kafka::{KafkaSettings, KafkaSource, Secret, Topic};
use millrace_connectors::source::{
    LiveSource, PartitionState, ReadOptions, Remembered, Resume, Source, SourceState, Start,
};
use millrace_parts::kafka::Broker;
use millrace_schema::Kind;
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake};
use std::thread::{Thread, current, park};
use std::time::{Duration, Instant};

/// Far more than anything takes on a machine with much else to do.
pub const PATIENCE: Duration = Duration::from_secs(90);

pub fn settings(broker: &Broker, topics: &[&str]) -> KafkaSettings {
    let topics = topics.iter().map(|name| Topic::named(*name)).collect();
    KafkaSettings { refresh: Duration::from_millis(200), ..KafkaSettings::new(broker.bootstrap(), topics) }
}

pub fn as_user(user: &str, password: &str) -> BTreeMap<String, Secret> {
    let properties = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", user),
        ("sasl.password", password),
    ];
    properties.map(|(name, value)| (name.to_owned(), value.into())).into()
}

/// A name that no other test has.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A new topic with a name of its own.
pub fn topic(broker: &Broker, name: &str, partitions: i32) -> String {
    topic_with(broker, name, partitions, &[])
}

pub fn topic_with(broker: &Broker, name: &str, partitions: i32, config: &[(&str, &str)]) -> String {
    let name = unique(name);
    make(broker, &name, partitions, config);
    name
}

pub fn make(broker: &Broker, name: &str, partitions: i32, config: &[(&str, &str)]) {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (key, value) in config {
        topic = topic.set(key, value);
    }
    let topics = [topic];
    let made = wait_for(admin(broker).create_topics(&topics, &AdminOptions::new())).unwrap();
    made.into_iter().for_each(|result| drop(result.unwrap()));
}

pub fn delete(broker: &Broker, name: &str) {
    let deleted = wait_for(admin(broker).delete_topics(&[name], &AdminOptions::new())).unwrap();
    deleted.into_iter().for_each(|result| drop(result.unwrap()));
}

pub fn grow(broker: &Broker, name: &str, partitions: usize) {
    let wanted = [NewPartitions::new(name, partitions)];
    let grown = wait_for(admin(broker).create_partitions(&wanted, &AdminOptions::new())).unwrap();
    grown.into_iter().for_each(|result| drop(result.unwrap()));
}

/// As retention would.
pub fn delete_before(broker: &Broker, name: &str, partition: i32, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(name, partition, rdkafka::Offset::Offset(offset)).unwrap();
    wait_for(admin(broker).delete_records(&list, &AdminOptions::new())).unwrap();
}

/// By the listener that asks for nothing.
fn admin(broker: &Broker) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", broker.internal()).create().unwrap()
}

pub fn producer(broker: &Broker, properties: &[(&str, &str)]) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.internal()).set("linger.ms", "1");
    for (key, value) in properties {
        config.set(*key, *value);
    }
    config.create().unwrap()
}

/// What is sent. The partition is 0 where nothing else is said.
#[derive(Clone, Default)]
pub struct Sent<'a> {
    pub partition: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub header: Option<(&'a str, &'a str)>,
    pub time: Option<i64>,
}

pub fn value(partition: i32, value: &[u8]) -> Sent<'_> {
    Sent { partition, value: Some(value), ..Sent::default() }
}

/// Puts it where the producer takes it from, and does not wait.
pub fn queue(producer: &BaseProducer, topic: &str, sent: &Sent<'_>) {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(sent.partition);
    record.key = sent.key;
    record.payload = sent.value;
    record.timestamp = sent.time;
    record.headers =
        sent.header.map(|(key, value)| OwnedHeaders::new().insert(Header { key, value: Some(value.as_bytes()) }));
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.poll(Duration::ZERO);
}

pub fn send(producer: &BaseProducer, topic: &str, sent: &[Sent<'_>]) {
    sent.iter().for_each(|sent| queue(producer, topic, sent));
    producer.flush(PATIENCE).unwrap();
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Got {
    pub ordinal: u16,
    pub offset: u64,
    pub kind: Option<&'static str>,
    pub received_at: Option<i64>,
    pub value: Vec<u8>,
    pub true_bytes: u64,
}

pub type Reader = Checked<KafkaSource>;

pub fn open(settings: KafkaSettings, start: Start) -> Reader {
    resume(settings, start, Resume::default())
}

pub fn resume(settings: KafkaSettings, start: Start, resume: Resume) -> Reader {
    let options = ReadOptions { max_line_bytes: 1 << 20, ..ReadOptions::default() };
    Checked::with_gaps(KafkaSource::open(settings, start, resume, options).unwrap())
}

/// Reads until it is so.
#[track_caller]
pub fn read_until(reader: &mut Reader, mut is_so: impl FnMut(&[Got], &SourceState) -> bool) -> Vec<Got> {
    let (mut got, start, status) = (Vec::new(), Instant::now(), reader.source.status());
    loop {
        match reader.next_chunk() {
            Ok(Some(chunk)) => {
                let kind = chunk.default_kind.map(Kind::as_str);
                got.extend(chunk.records().map(|record| Got {
                    ordinal: chunk.partition,
                    offset: record.offset,
                    kind,
                    received_at: record.received_at,
                    value: record.bytes.to_vec(),
                    true_bytes: record.true_bytes,
                }));
            }
            Ok(None) => {
                if is_so(&got, &status.get()) {
                    return got;
                }
                assert!(start.elapsed() < PATIENCE, "it never is so: {got:?} {:?}", status.get());
                reader.source.wait(Duration::from_millis(20));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads until there are so many and everything is read.
#[track_caller]
pub fn read_all(reader: &mut Reader, records: usize) -> Vec<Got> {
    let mut got = read_until(reader, |got, state| {
        got.len() >= records && state.partitions.iter().all(|partition| partition.is_read())
    });
    got.sort();
    got
}

pub fn positions(reader: &Reader) -> Resume {
    let state = reader.source.status().get();
    let kept = |partition: &PartitionState| Remembered {
        mark: partition.marks.at(partition.next).cloned(),
        lost: partition.lost,
    };
    Resume {
        partitions: reader.source.partitions().to_vec(),
        positions: state.partitions.iter().map(|partition| partition.next).collect(),
        kept: state.partitions.iter().map(kept).collect(),
    }
}

pub fn values(got: &[Got]) -> Vec<String> {
    got.iter().map(|got| String::from_utf8_lossy(&got.value).into_owned()).collect()
}

/// Runs a future that another thread moves on.
pub fn wait_for<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(current())).into();
    let (mut context, mut future) = (Context::from_waker(&waker), pin!(future));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => park(),
        }
    }
}
