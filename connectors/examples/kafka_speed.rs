//! What reading from Kafka costs: CPU time (all threads, the library's too) for a million messages of 230 bytes, as chunks
//! and, to compare with, as single messages of the library's consumer; and how long a message takes from its producer.
//!
//! `cargo run --release -p millrace-connectors --example kafka_speed -- 127.0.0.1:9092 [MESSAGES]`
//!
//! The library allocates in one thread what it frees in another. The allocator of glibc makes them wait for each other:
//! compare `LD_PRELOAD=libmimalloc.so`.

use cpu_time::ProcessTime;
use millrace_connectors::source::kafka::{KafkaSettings, KafkaSource, Topic};
use millrace_connectors::source::{LiveSource, ReadOptions, Resume, Source, Start};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use std::fmt::Write;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::{Thread, current, park};
use std::time::{Duration, Instant};

const PARTITIONS: i32 = 4;
const WAIT: Duration = Duration::from_millis(100);
const LATENCIES: usize = 1_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let brokers = arguments.next().expect("the first argument is host:port of a broker");
    let messages = arguments.next().map_or(2_000_000, |text| text.parse().expect("a number of messages"));
    for codec in ["none", "lz4", "zstd"] {
        let topic = format!("kafka-speed-{codec}-{}", std::process::id());
        create(&brokers, &topic);
        produce(&brokers, &topic, codec, messages);
        for _ in 0..3 {
            measure(&format!("{codec} in chunks"), messages, || read_chunks(&brokers, &topic, messages));
        }
        measure(&format!("{codec} one by one"), messages, || read_messages(&brokers, &topic, messages));
    }
    latency(&brokers);
}

fn measure(what: &str, messages: u64, read: impl FnOnce() -> u64) {
    let (cpu, start) = (ProcessTime::now(), Instant::now());
    let chunks = read();
    let (cpu, wall) = (cpu.elapsed().as_secs_f64(), start.elapsed().as_secs_f64());
    let each = cpu / messages as f64 * 1e6;
    println!("{what}: {each:.3} CPU-s per million, {wall:.2} s for {messages} in {chunks} pieces");
}

fn source(brokers: &str, topic: &str, start: Start) -> KafkaSource {
    let settings = KafkaSettings::new(brokers, vec![Topic::named(topic)]);
    KafkaSource::open(settings, start, Resume::default(), ReadOptions::default()).expect("the topic can be read")
}

fn read_chunks(brokers: &str, topic: &str, messages: u64) -> u64 {
    let mut source = source(brokers, topic, Start::Earliest);
    let (mut read, mut chunks) = (0, 0);
    while read < messages {
        match source.next_chunk().expect("it can be read") {
            Some(chunk) => (read, chunks) = (read + u64::from(chunk.records), chunks + 1),
            None => source.wait(WAIT),
        }
    }
    chunks
}

fn read_messages(brokers: &str, topic: &str, messages: u64) -> u64 {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "kafka-speed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&list).expect("partitions");
    let (mut read, mut bytes) = (0, Vec::new());
    while read < messages {
        if let Some(Ok(message)) = consumer.poll(WAIT) {
            bytes.extend_from_slice(message.payload().unwrap_or_default());
            if bytes.len() > 512 << 10 {
                bytes.clear();
            }
            read += 1;
        }
    }
    read
}

/// One message at a time: from before it is sent until it has been handed out.
fn latency(brokers: &str) {
    let topic = format!("kafka-speed-latency-{}", std::process::id());
    create(brokers, &topic);
    let mut source = source(brokers, &topic, Start::Latest);
    let producer = producer(brokers, "none", "0");
    let mut taken = Vec::new();
    for number in 0..LATENCIES {
        let start = Instant::now();
        let partition = number as i32 % PARTITIONS;
        let record = BaseRecord::<(), str>::to(&topic).partition(partition).payload("{}");
        producer.send(record).expect("there is room for one");
        producer.poll(Duration::ZERO);
        while source.next_chunk().expect("it can be read").is_none() {
            source.wait(WAIT);
        }
        taken.push(start.elapsed().as_micros());
        std::thread::sleep(Duration::from_millis(3));
    }
    taken.sort_unstable();
    let at = |share: f64| taken[((LATENCIES - 1) as f64 * share) as usize];
    println!("latency: p50 {} µs, p99 {} µs, most {} µs", at(0.5), at(0.99), at(1.0));
}

fn producer(brokers: &str, codec: &str, linger: &str) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("compression.codec", codec).set("linger.ms", linger);
    config.set("batch.size", "65536").set("queue.buffering.max.messages", "100000").create().expect("a producer")
}

fn produce(brokers: &str, topic: &str, codec: &str, messages: u64) {
    let producer = producer(brokers, codec, "20");
    let (mut line, mut bytes) = (String::new(), 0);
    for number in 0..messages {
        write_event(number, &mut line);
        bytes += line.len() as u64;
        let mut record = BaseRecord::<(), str>::to(topic).payload(&line).partition(number as i32 % PARTITIONS);
        while let Err((_, back)) = producer.send(record) {
            record = back;
            producer.poll(WAIT);
        }
    }
    producer.flush(Duration::from_secs(60)).expect("all are sent");
    println!("{codec}: {} bytes each", bytes / messages);
}

fn write_event(number: u64, line: &mut String) {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (minute, second, milli) = (number / 60 % 60, number % 60, number % 1_000);
    let (session, user, product) = (spread >> 24, number % 100_000, number * 7_919 % 20_000);
    line.clear();
    write!(
        line,
        r#"{{"event_type":"page_view","event_id":"e{spread:016x}","event_time":"2025-03-04T05:{minute:02}:{second:02}.{milli:03}Z","session_id":"s{session:010x}","user_id":"u{user:06}","product_id":"p{product:05}","page_type":"product_detail","device":"mobile"}}"#,
    )
    .expect("a string takes everything");
}

fn create(brokers: &str, topic: &str) {
    let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", brokers).create().expect("a client");
    let (topics, options) = ([NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1))], AdminOptions::new());
    let created = wait_for(admin.create_topics(&topics, &options)).expect("the broker answers");
    created.into_iter().for_each(|result| drop(result.expect("the topic is new")));
}

/// Runs a future that another thread moves on.
fn wait_for<F: Future>(future: F) -> F::Output {
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
