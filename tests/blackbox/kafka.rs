//! The engine on a real Kafka, from records to answers over gRPC.

use super::real_data::{SALES, check_sales, data, lines_of};
use super::support::{Place, accounting};
use millrace::client::{ClientSettings, Connection};
use millrace_connectors::producer::Producer;
use millrace_dataflows::query::Query;
use millrace_parts::kafka::{Broker, Options};
use millrace_parts::or_skip;
use millrace_parts::ports::Lease;
use millrace_proto::v1;
use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn topic() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("engine-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// `millrace run` in a process of its own. Dropped, it is gone.
struct Engine {
    child: Child,
    lease: Lease,
}

impl Engine {
    fn start(place: &Place, brokers: &str, topic: &str, more: &[&str]) -> Engine {
        let lease = Lease::any().expect("a free port");
        let mut command = place.command();
        command.args(["run", "--quiet"]);
        let settings = [
            "source.kind=kafka".to_owned(),
            format!("source.kafka.brokers={brokers}"),
            format!("source.kafka.topics=[{{name=\"{topic}\"}}]"),
            format!("serve.address=127.0.0.1:{}", lease.port()),
            "horizons.deduplication=unlimited".to_owned(),
            "horizons.sessions=unlimited".to_owned(),
        ];
        settings.iter().map(String::as_str).chain(more.iter().copied()).for_each(|setting| {
            command.args(["--set", setting]);
        });
        let child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().expect("the binary starts");
        Engine { child, lease }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.lease.port())
    }

    fn connection(&mut self) -> Connection {
        let begun = Instant::now();
        loop {
            match Connection::open(&self.address(), &ClientSettings::default()) {
                Ok(connection) if connection.status().is_ok() => return connection,
                _ => {
                    assert!(self.child.try_wait().expect("it is ours").is_none(), "the engine has ended");
                    assert!(begun.elapsed() < PATIENCE, "nobody serves");
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The ends of what was sent, as a read asks for them.
fn covers(topic: &str, ends: &BTreeMap<i32, u64>) -> v1::Consistency {
    let last = ends.keys().max().copied().unwrap_or(0);
    let next_offsets = (0..=last).map(|partition| ends.get(&partition).copied().unwrap_or(0)).collect();
    let positions = v1::SourcePositions { source: topic.to_owned(), next_offsets };
    v1::Consistency { covers: vec![positions], ..v1::Consistency::default() }
}

fn accepted(connection: &Connection, when: v1::Consistency) -> i64 {
    let (table, _) = connection.query_when("quality", &Query::default(), when).expect("an answer");
    let column = table.columns.iter().position(|column| column == "accepted").expect("it is a column");
    table.rows.first().map_or(0, |row| row[column].to_string().parse().expect("a number"))
}

fn view(number: usize, time: &str) -> String {
    format!(
        r#"{{"event_type":"page_view","event_id":"e{number}","event_time":"{time}","session_id":"s{}","page_type":"home"}}"#,
        number / 3
    )
}

/// The larger set takes long in a debug build.
const SET: &str = if cfg!(debug_assertions) { "rees46_sample" } else { "uci_online_retail" };

#[test]
fn real_data_shuffled_with_copies_over_twelve_partitions_and_three_workers() {
    let (Some(folder), Some(broker)) = (data(SET), or_skip(Broker::shared())) else { return };
    let (events, products) = (lines_of(&folder.join("events.jsonl.gz")), lines_of(&folder.join("products.jsonl.gz")));
    let topic = topic();
    let producer = Producer::open(broker.bootstrap(), &topic, 12, &BTreeMap::new()).expect("a topic");
    let send = |number: usize, line: &[u8]| {
        let partition = (number as u32).wrapping_mul(2_654_435_761) >> 8;
        producer.send(partition % 12, b"", line.trim_ascii_end(), None).expect("it is sent");
    };
    // A stride that is prime to their number visits every line once, far from its neighbours.
    let stride = (events.len() / 3) | 1;
    let stride =
        (stride..).step_by(2).find(|stride| super::real_data::gcd(*stride, events.len()) == 1).expect("a prime");
    for number in 0..events.len() {
        let at = number * stride % events.len();
        send(at, &events[at]);
        if number % 10 == 3 {
            send(at + 5, &events[at]);
        }
        if let Some(product) = products.get(number) {
            send(number, product);
        }
    }
    producer.flush().expect("it is acknowledged");
    let place = Place::new();
    let more = ["live.workers=3", "views.funnel.window=unlimited"];
    let mut engine = Engine::start(&place, broker.bootstrap(), &topic, &more);
    let connection = engine.connection();
    let begun = Instant::now();
    let lag = || {
        let partitions = connection.status().expect("a status").engine.expect("an engine").partitions;
        let behind =
            |partition: &v1::PartitionStatus| partition.end_offset.is_none_or(|end| partition.next_offset < end);
        partitions.len() < 12 || partitions.iter().any(behind)
    };
    while lag() {
        assert!(begun.elapsed() < PATIENCE * 3, "it is not read");
        std::thread::sleep(Duration::from_millis(200));
    }
    accepted(&connection, covers(&topic, &producer.ends()));
    check_sales(&format!("{SET} over Kafka"), &folder, &SALES, |question| {
        place.ok(&format!("query {question} --addr {} --format csv", engine.address()))
    });
}

/// A broker that stands still, then one that dies and comes back: the stream goes on, and a read of a record's offset waits for it.
#[test]
fn an_outage_and_a_restart_hold_up_only_what_comes_after() {
    let Some(mut broker) = or_skip(Broker::start(&Options::default())) else { return };
    let seconds = std::env::var("MILLTEST_OUTAGE_S").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let topic = topic();
    // Longer than the outage.
    let patient = BTreeMap::from([("message.timeout.ms".to_owned(), ((seconds + 60) * 1_000).to_string())]);
    let producer = Producer::open(broker.bootstrap(), &topic, 2, &patient).expect("a topic");
    let place = Place::new();
    let mut engine = Engine::start(&place, broker.bootstrap(), &topic, &["live.workers=2"]);
    let connection = engine.connection();
    let mut sent = 0;
    let mut send = |count: usize| {
        for _ in 0..count {
            producer
                .send(sent as u32 % 2, b"", view(sent, "2019-10-01T10:00:00Z").as_bytes(), None)
                .expect("it is sent");
            sent += 1;
        }
        sent as i64
    };
    let wanted = send(100);
    producer.flush().expect("it is acknowledged");
    assert_eq!(accepted(&connection, covers(&topic, &producer.ends())), wanted);

    broker.freeze();
    let wanted = send(100);
    for _ in 0..seconds {
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(accepted(&connection, v1::Consistency::default()), 100, "answers go on meanwhile");
    }
    broker.thaw();
    producer.flush().expect("it is acknowledged");
    assert_eq!(accepted(&connection, covers(&topic, &producer.ends())), wanted);

    broker.kill();
    std::thread::sleep(Duration::from_secs(1));
    broker.restart().expect("it comes back");
    let wanted = send(100);
    producer.flush().expect("it is acknowledged");
    let begun = Instant::now();
    assert_eq!(accepted(&connection, covers(&topic, &producer.ends())), wanted);
    assert!(begun.elapsed() < PATIENCE);
}

/// Thirty-one partitions with an hour of events, and one that stays silent: it holds nobody back.
#[test]
fn a_silent_partition_does_not_hold_the_others() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let topic = topic();
    let producer = Producer::open(broker.bootstrap(), &topic, 32, &BTreeMap::new()).expect("a topic");
    producer.send(31, b"", view(1_000_000, "2019-10-01T10:00:00Z").as_bytes(), None).expect("it is sent");
    let place = Place::new();
    let more = ["live.workers=2", "live.partition_idle_ms=300", "views.allowed_lateness_ms=0"];
    let mut engine = Engine::start(&place, broker.bootstrap(), &topic, &more);
    let connection = engine.connection();
    let (mut number, mut slowest) = (0, Duration::ZERO);
    for minute in 0..60 {
        for partition in 0..31 {
            let time = format!("2019-10-01T10:{minute:02}:30Z");
            producer.send(partition, b"", view(number, &time).as_bytes(), None).expect("it is sent");
            number += 1;
        }
        producer.flush().expect("it is acknowledged");
        let begun = Instant::now();
        assert_eq!(accepted(&connection, covers(&topic, &producer.ends())), number as i64 + 1);
        slowest = slowest.max(begun.elapsed());
    }
    assert!(slowest < Duration::from_secs(3), "an answer took {slowest:?}");
    let begun = Instant::now();
    loop {
        let (_, at) = connection.query("quality", &Query::default()).expect("an answer");
        // 2019-10-01T10:59:30Z
        if at.watermark.is_some_and(|watermark| watermark.seconds >= 1_569_927_570) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the watermark stands at {:?}", at.watermark);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A subscriber that goes away and comes back with its epoch ends with the table that a fresh question gives.
#[test]
fn a_subscriber_resumes_from_its_epoch() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let topic = topic();
    let producer = Producer::open(broker.bootstrap(), &topic, 3, &BTreeMap::new()).expect("a topic");
    let place = Place::new();
    let mut engine = Engine::start(&place, broker.bootstrap(), &topic, &["live.workers=2"]);
    let connection = engine.connection();
    let query = Query::group_by(["hour"]);
    let request = v1::SubscribeRequest {
        query: Some(millrace::client::query_of("traffic", &query)),
        ..v1::SubscribeRequest::default()
    };
    let mut sent = 0;
    let mut send = |rounds: usize| {
        for _ in 0..rounds * 50 {
            let time = format!("2019-10-01T{:02}:{:02}:00Z", sent % 24, sent % 60);
            producer.send(sent as u32 % 3, b"", view(sent, &time).as_bytes(), None).expect("it is sent");
            sent += 1;
        }
        producer.flush().expect("it is acknowledged");
    };
    send(2);
    accepted(&connection, covers(&topic, &producer.ends()));
    let mut watching = connection.watch(request).expect("it is answered");
    for _ in 0..4 {
        send(1);
        let (_, at) = connection.query_when("traffic", &query, covers(&topic, &producer.ends())).expect("an answer");
        while watching.at.epoch < at.epoch {
            watching.next(Some(Instant::now() + PATIENCE)).expect("it goes on");
        }
        watching.resume().expect("it is taken up");
    }
    send(1);
    let (fresh, at) = connection.query_when("traffic", &query, covers(&topic, &producer.ends())).expect("an answer");
    while watching.at.epoch < at.epoch {
        watching.next(Some(Instant::now() + PATIENCE)).expect("it goes on");
    }
    let sorted = |rows: Vec<Vec<millrace_dataflows::table::Value>>| {
        let mut rows: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
        rows.sort();
        rows
    };
    assert_eq!(sorted(watching.rows.table().rows), sorted(fresh.rows));
}

/// What cannot be decoded is accounted for, and the stream goes on.
#[test]
fn poison_is_quarantined() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let topic = topic();
    let producer = Producer::open(broker.bootstrap(), &topic, 1, &BTreeMap::new()).expect("a topic");
    let records: [&[u8]; 4] = [b"\xff\xfe", b"{", br#"{"event_type":"page_view"}"#, b"[]"];
    records.iter().for_each(|record| producer.send(0, b"", record, None).expect("it is sent"));
    producer.send(0, b"", view(1, "2019-10-01T10:00:00Z").as_bytes(), None).expect("it is sent");
    // Microseconds for milliseconds: a time that no calendar has is none.
    let no_time = Some(1_700_000_000_000_000_000);
    producer.send(0, b"", view(2, "2019-10-01T10:00:00Z").as_bytes(), no_time).expect("it is sent");
    producer.send(0, b"", b"{", no_time).expect("it is sent");
    producer.flush().expect("it is acknowledged");
    let place = Place::new();
    let line = format!(
        "run --quiet --until-end --format json --set serve.address= --set source.kind=kafka --set source.kafka.brokers={} --set",
        broker.bootstrap()
    );
    let topics = format!("source.kafka.topics=[{{name=\"{topic}\"}}]");
    let done = place.run_arguments(line.split(' ').chain([&*topics]));
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(accounting(&done.out), [7, 2, 0, 5, 0]);
}
