//! What is published to Kafka: who applies a topic's changes has the view at each frontier, whatever was killed on the way.
//!
//! The reader here is none of ours: a client that reads what is committed, JSON, and the Parquet files that `lake export` makes.
//! `MILLTEST_CRASHES=50 cargo test --test main kafka_out::kills` kills that often.

use super::crash::harness;
use super::crash::input::Input;
use super::support::{Answer, Place, SHOP};
use millrace::checkpoint::crash::POINTS_OF_SINKS;
use millrace_connectors::producer::Producer;
use millrace_connectors::sink::{Message as Sent, SinkSettings, TopicSink};
use millrace_parts::kafka::{Broker, Options};
use millrace_parts::or_skip;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// A name for topics that no other test has.
fn prefix() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("out-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// One committed message.
#[derive(Clone, Debug)]
struct Read {
    key: Option<String>,
    value: Vec<u8>,
    headers: BTreeMap<String, String>,
}

impl Read {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.value).expect("JSON")
    }

    fn is(&self, key: &str) -> bool {
        self.key.as_deref() == Some(key)
    }
}

/// All that a topic has, by partition, as who reads only what is committed sees it. None where there is no such topic.
fn read(brokers: &str, topic: &str) -> Vec<Vec<Read>> {
    let mut config = ClientConfig::new();
    for (name, value) in [
        ("bootstrap.servers", brokers),
        ("group.id", "reader"),
        ("isolation.level", "read_committed"),
        ("enable.partition.eof", "true"),
        ("enable.auto.commit", "false"),
        ("allow.auto.create.topics", "false"),
    ] {
        config.set(name, value);
    }
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("a broker answers");
    let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
    let mut list = TopicPartitionList::new();
    for partition in 0..count {
        list.add_partition_offset(topic, partition as i32, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&list).expect("it is assigned");
    let (mut read, mut ended) = (vec![Vec::new(); count], BTreeSet::new());
    let since = Instant::now();
    while ended.len() < count {
        assert!(since.elapsed() < PATIENCE, "{topic} is not read to its end: a transaction is left open");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
                let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
                let header = |header: rdkafka::message::Header<'_, &[u8]>| {
                    (header.key.to_owned(), header.value.map(text).unwrap_or_default())
                };
                let (key, value) = (message.key().map(text), message.payload().unwrap_or_default().to_vec());
                read[message.partition() as usize].push(Read { key, value, headers: headers.map(header).collect() });
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
            Some(Err(error)) => panic!("{topic}: {error}"),
            None => {}
        }
    }
    read
}

/// What a reader has at one frontier.
struct Seen {
    frontier: Value,
    /// The rows as JSON.
    rows: BTreeSet<String>,
    /// Of this transaction.
    changes: usize,
    begins_anew: bool,
}

impl Seen {
    fn epoch(&self) -> u64 {
        self.frontier["epoch"].as_u64().expect("a frontier has an epoch")
    }
}

/// Applies the changes of a topic. Each says what was before, which has to be what the reader has.
fn follow(brokers: &str, topic: &str) -> Vec<Seen> {
    let mut by_frontier: Vec<Seen> = Vec::new();
    for (partition, messages) in read(brokers, topic).into_iter().enumerate() {
        let mut rows: BTreeMap<String, Value> = BTreeMap::new();
        let (mut number, mut changes, mut anew) = (0, 0, false);
        for message in messages {
            let value = message.json();
            if message.is("_begin_anew") {
                rows.clear();
                anew = true;
            } else if message.is("_frontier") {
                assert_eq!(message.headers["millrace-epoch"], value["epoch"].to_string());
                if partition == 0 {
                    let (frontier, rows) = (value.clone(), BTreeSet::new());
                    by_frontier.push(Seen { frontier, rows, changes: 0, begins_anew: anew });
                }
                let seen = &mut by_frontier[number];
                assert_eq!(seen.frontier, value, "all partitions have the same frontiers");
                seen.rows.extend(rows.values().map(Value::to_string));
                seen.changes += changes;
                (number, changes, anew) = (number + 1, 0, false);
            } else {
                let key = message.key.expect("changes have keys");
                let (before, after) = (&value["before"], &value["after"]);
                assert_ne!(before, after, "{key} of {topic} is told without a change");
                assert_eq!(rows.get(&key).unwrap_or(&Value::Null), before, "{key} of {topic}");
                let columns: Map<String, Value> = serde_json::from_str(&key).expect("keys are objects");
                let row = if after.is_null() { before } else { after };
                assert!(columns.iter().all(|(column, value)| row[column] == *value), "{key} is a part of {row}");
                match after {
                    Value::Null => drop(rows.remove(&key)),
                    after => drop(rows.insert(key, after.clone())),
                }
                changes += 1;
            }
        }
        assert_eq!(changes, 0, "a partition of {topic} ends with a frontier");
        assert!(partition == 0 || number == by_frontier.len(), "all partitions have all frontiers");
    }
    for pair in by_frontier.windows(2) {
        let from = &pair[1].frontier["from_epoch"];
        assert!(pair[1].begins_anew == from.is_null() && (from.is_null() || *from == pair[0].frontier["epoch"]));
        assert!(pair[0].frontier["manifest"].as_u64() < pair[1].frontier["manifest"].as_u64());
    }
    for seen in &by_frontier {
        assert_eq!(seen.frontier["messages"].as_u64(), Some(seen.changes as u64), "{}", seen.frontier);
    }
    by_frontier
}

/// The rows of a view at an epoch, as anybody reads them from Parquet.
fn exported(place: &Place, lake: &str, view: &str, epoch: u64) -> BTreeSet<String> {
    place.ok(&format!("lake export {view} --data-dir {lake} --at {epoch} --to exported.parquet"));
    let file = std::fs::File::open(place.path("exported.parquet")).expect("it was written");
    let reader = SerializedFileReader::new(file).expect("Parquet");
    let rows = reader.get_row_iter(None).expect("rows").map(|row| {
        let row = row.expect("a row");
        let columns = row.get_column_iter().map(|(name, field)| (name.clone(), value_of(field)));
        Value::Object(columns.collect()).to_string()
    });
    rows.collect()
}

fn value_of(field: &Field) -> Value {
    let time = |micros: i64| jiff::Timestamp::from_microsecond(micros).expect("a time");
    match field {
        Field::Null => Value::Null,
        Field::Str(text) => json!(text),
        Field::Long(value) => json!(value),
        Field::TimestampMicros(micros) => json!(format!("{:.6}", time(*micros))),
        Field::Date(days) => json!(time(i64::from(*days) * 86_400_000_000).strftime("%Y-%m-%d").to_string()),
        Field::Decimal(decimal) => {
            let bytes = decimal.data();
            let sign = if bytes.first().is_some_and(|byte| *byte > 127) { -1_i128 } else { 0 };
            let value = bytes.iter().fold(sign, |value, byte| value << 8 | i128::from(*byte));
            let text = format!("{}", value as f64 / 10_f64.powi(decimal.scale()));
            // As a number that is read back, whatever zeros it is written with.
            serde_json::from_str(&text).expect("a number")
        }
        other => panic!("{other:?} is in no view"),
    }
}

/// Numbers that are the same are written the same.
fn canonical(rows: &BTreeSet<String>) -> BTreeSet<String> {
    fn of(value: Value) -> Value {
        match value {
            Value::Number(number) => json!(number.as_f64()),
            Value::Object(columns) => {
                Value::Object(columns.into_iter().map(|(name, value)| (name, of(value))).collect())
            }
            other => other,
        }
    }
    rows.iter().map(|row| of(serde_json::from_str(row).expect("JSON")).to_string()).collect()
}

/// At each frontier a reader of the topic has the view. Tells how many frontiers there are, and changes.
fn check(place: &Place, lake: &str, (brokers, topic): (&str, &str), view: &str) -> (usize, usize) {
    let seen = follow(brokers, topic);
    assert!(!seen.is_empty(), "{topic} has no frontier");
    for seen in &seen {
        let (expected, found) = (canonical(&exported(place, lake, view, seen.epoch())), canonical(&seen.rows));
        let (missing, more): (Vec<_>, Vec<_>) =
            (expected.difference(&found).take(3).collect(), found.difference(&expected).take(3).collect());
        assert!(expected == found, "{view} at {}: missing {missing:#?}, too many {more:#?}", seen.frontier);
    }
    let newest = place.manifest(lake)["epoch"].as_u64().expect("an epoch");
    assert_eq!(seen.last().map(Seen::epoch), Some(newest), "{topic} has the last checkpoint");
    (seen.len(), seen.iter().map(|seen| seen.changes).sum())
}

/// Rejected records arrive once each, with where they came from.
fn check_dead_letters(place: &Place, lake: &str, brokers: &str, topic: &str) -> usize {
    let read = read(brokers, topic);
    let letters = read.iter().flatten().filter(|read| !read.is("_frontier") && !read.is("_begin_anew"));
    let header = |read: &Read, name: &str| read.headers.get(name).cloned().unwrap_or_default();
    let mut found: Vec<Vec<String>> = letters
        .map(|read| {
            let names = ["source-topic", "source-partition", "source-offset", "millrace-rule", "millrace-reason"];
            let bytes = String::from_utf8_lossy(&read.value).into_owned();
            names.iter().map(|name| header(read, name)).chain([bytes, header(read, "source-bytes")]).collect()
        })
        .collect();
    let expected: Answer = place.table(lake, "quarantine --limit 100000");
    let columns =
        ["source", "partition", "offset", "rule", "message", "bytes", "bytes_total"].map(|name| expected.column(name));
    let row = |row: usize| columns.iter().map(|column| column[row].to_owned()).collect();
    let mut expected: Vec<Vec<String>> = (0..expected.rows.len()).map(row).collect();
    found.sort();
    expected.sort();
    assert!(!expected.is_empty(), "nothing is rejected: there is nothing to see");
    assert_eq!(found.len(), expected.len(), "each once");
    assert_eq!(found, expected);
    found.len()
}

/// A topic of three partitions. Others have as many as the broker gives them.
fn make(brokers: &str, topic: &str) {
    Producer::open(brokers, topic, 3, &BTreeMap::new()).expect("a topic");
}

fn out(brokers: &str, prefix: &str, views: &[&str]) -> String {
    let views: Vec<String> =
        views.iter().map(|view| format!("{{view=\"{view}\",topic=\"{prefix}.{view}\"}}")).collect();
    format!(
        "--set kafka_out.brokers={brokers} --set kafka_out.views=[{}] --set kafka_out.dead_letter_topic={prefix}.dead",
        views.join(",")
    )
}

fn run(more: &str) -> String {
    format!(
        "run --until-end --quiet --format json --set serve.address= --set source.log.paths=['shop-log'] --set lake.url=lake \
         --set lake.checkpoint_ms=50 --set live.epoch_records=200 --set lake.keep_checkpoints=100000 {more}"
    )
}

fn shop() -> Place {
    let place = Place::new();
    place.ok(&SHOP.replace("--to", "--log shop-log --partitions 3"));
    place
}

#[test]
fn a_reader_has_the_view_at_each_frontier_and_another_window_is_net_changes() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let (place, prefix, views) = (shop(), prefix(), ["sales", "funnel", "related_products", "traffic", "quality"]);
    let set = out(broker.bootstrap(), &prefix, &views);
    let topic = |view: &str| format!("{prefix}.{view}");
    make(broker.bootstrap(), &topic("funnel"));
    place.ok(&run(&set));
    let mut frontiers = BTreeMap::new();
    for view in views {
        let (count, changes) = check(&place, "lake", (broker.bootstrap(), &topic(view)), view);
        assert!(changes > 0, "{view} has no changes");
        frontiers.insert(view, count);
    }
    let dead = check_dead_letters(&place, "lake", broker.bootstrap(), &topic("dead"));

    // The funnel is made anew from the lake's events: what leads there is told, and not all of it again.
    let done = place.run(&run(&format!("{set} --set views.funnel.window=60s")));
    assert_eq!(done.code, 0, "{}", done.err);
    for view in views {
        let seen = follow(broker.bootstrap(), &topic(view));
        let since = &seen[frontiers[view]..];
        assert!(!since.is_empty() && since.iter().all(|seen| !seen.begins_anew), "{view}");
        let changes: usize = since.iter().map(|seen| seen.changes).sum();
        let rows = seen.last().map_or(0, |seen| seen.rows.len());
        match view {
            "funnel" => assert!((1..rows).contains(&changes), "{changes} changes of {rows} rows"),
            view => assert_eq!(changes, 0, "{view} does not depend on it"),
        }
        check(&place, "lake", (broker.bootstrap(), &topic(view)), view);
    }
    let definition = |seen: &Seen| seen.frontier["definition"]["views.funnel.window"].clone();
    let seen = follow(broker.bootstrap(), &topic("funnel"));
    assert_eq!((definition(&seen[0]), seen.last().map(definition)), (json!("86400s"), Some(json!("60s"))));
    // Other steps are other columns.
    let steps = "--set views.funnel.steps=[{name=\"saw\",events=[\"page_view:product\"]},{name=\"bought\",events=[\"purchase\"]}]";
    let done = place.run(&run(&format!("{set} {steps}")));
    assert_eq!(done.code, 0, "{}", done.err);
    let seen_before = seen.len();
    let seen = follow(broker.bootstrap(), &topic("funnel"));
    assert!(seen[seen_before..].iter().all(|seen| !seen.begins_anew));
    assert!(seen[seen_before - 1].rows.iter().all(|row| row.contains("reached_purchase")));
    assert!(seen.last().is_some_and(|seen| {
        seen.rows.iter().all(|row| row.contains("reached_saw") && !row.contains("reached_purchase"))
    }));
    check(&place, "lake", (broker.bootstrap(), &topic("funnel")), "funnel");
    assert_eq!(check_dead_letters(&place, "lake", broker.bootstrap(), &topic("dead")), dead, "none comes twice");
}

/// Killed at every point of a transaction and anywhere else, while records come in and the files of the lake are merged.
#[test]
fn kills() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    /// How often records come, and so how long a run is looked at.
    const TICK: Duration = Duration::from_millis(100);
    const TICKS: usize = 18;
    let (place, prefix, views) = (Place::new(), prefix(), ["sales", "funnel"]);
    let kills = harness::kills(20);
    make(broker.bootstrap(), &format!("{prefix}.sales"));
    place.ok(&format!("{} shop.jsonl", SHOP.replace("--events 2500", &format!("--events {}", 2_500.max(kills * 150)))));
    let lines = place.read("shop.jsonl").split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let mut input = Input::kafka(broker.bootstrap(), lines);
    let settings: Vec<String> = input.settings.iter().map(|setting| format!("--set {setting}")).collect();
    let line = run(&format!(
        "{} {} --set lake.target_file_bytes=200000 --set horizons.deduplication=unlimited --set horizons.sessions=unlimited",
        out(broker.bootstrap(), &prefix, &views),
        settings.join(" ")
    ));
    let mut random = SmallRng::seed_from_u64(23);
    let points = [&POINTS_OF_SINKS[..], &["after-manifest", "before-manifest"]].concat();
    let mut in_turn = points.iter().cycle();
    let mut killed: BTreeMap<&str, usize> = BTreeMap::new();
    for kill in 0..kills {
        let point = random.random_bool(0.7).then(|| *in_turn.next().expect("it goes round"));
        let point = point.map(|point| (point, random.random_range(1..7)));
        let mut engine = Engine::start_at(&place, &line, point);
        let ticks = if point.is_some() { TICKS } else { random.random_range(2..TICKS) };
        let mut is_dead = false;
        for tick in 0..ticks {
            input.grow((kills - kill) * TICKS - tick);
            std::thread::sleep(TICK);
            if let Some(status) = engine.0.try_wait().expect("it is ours") {
                let said = String::from_utf8_lossy(&place.read("stderr")).into_owned();
                assert_eq!(status.code(), None, "it ended by itself: {said}");
                is_dead = true;
                break;
            }
        }
        drop(engine);
        *killed.entry(point.filter(|_| is_dead).map_or("at random", |(point, _)| point)).or_default() += 1;
    }
    input.grow(1);
    place.ok(&line);
    for view in views {
        let topic = format!("{prefix}.{view}");
        let (frontiers, changes) = check(&place, "lake", (broker.bootstrap(), &topic), view);
        let anew = follow(broker.bootstrap(), &topic).iter().filter(|seen| seen.begins_anew).count();
        assert_eq!(anew, 1, "{view} begins once: what it had was known after every kill");
        println!("{view}: {frontiers} frontiers, {changes} changes");
    }
    place.replay("shop.jsonl", "whole", "");
    assert_eq!(place.csv("whole", "sales"), place.csv("lake", "sales"));
    let dead = check_dead_letters(&place, "lake", broker.bootstrap(), &format!("{prefix}.dead"));
    println!("{dead} dead letters; {kills} kills: {killed:?}");
}

/// `millrace run` in a process of its own. Dropped, it is gone.
struct Engine(Child);

impl Engine {
    fn start(place: &Place, line: &str) -> Engine {
        Engine::start_at(place, line, None)
    }

    /// One that is killed at a point, when it is reached for the so many-th time.
    fn start_at(place: &Place, line: &str, point: Option<(&str, usize)>) -> Engine {
        let mut command = place.command();
        if let Some((point, times)) = point {
            command.env("MILLTEST_CRASH_AT", format!("{point}:{times}"));
        }
        command.args(line.split_whitespace().filter(|word| !["--until-end", "--quiet"].contains(word)));
        let stderr = std::fs::File::create(place.path("stderr")).expect("a file");
        Engine(command.stdout(Stdio::null()).stderr(stderr).spawn().expect("the binary starts"))
    }

    fn wait_for(&mut self, what: &str, is_so: impl Fn() -> bool) {
        let since = Instant::now();
        while !is_so() {
            assert!(self.0.try_wait().expect("it is ours").is_none(), "the engine has ended");
            assert!(since.elapsed() < PATIENCE, "{what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn end(mut self) {
        let pid = self.0.id().to_string();
        assert!(std::process::Command::new("kill").arg(pid).status().expect("it is sent").success());
        let since = Instant::now();
        while self.0.try_wait().expect("it is ours").is_none() {
            assert!(since.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A broker that stands still in the middle, dies, and comes back: the engine goes on, its checkpoints too, and the topic catches up.
#[test]
fn a_broker_that_is_away_holds_up_no_checkpoint() {
    let Some(mut broker) = or_skip(Broker::start(&Options::default())) else { return };
    let (place, prefix) = (Place::new(), prefix());
    place.ok(&format!("{SHOP} shop.jsonl"));
    let text = place.read("shop.jsonl");
    let lines: Vec<Vec<u8>> =
        text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
    let mut log =
        millrace_connectors::source::log::LogWriter::open(&place.path("shop-log"), 2, 1 << 16).expect("a log");
    let mut append = |lines: &[Vec<u8>]| {
        for (number, line) in (0..).zip(lines) {
            log.append(number % 2, line).expect("it is appended");
        }
        log.flush().expect("it is written");
    };
    let brokers = broker.bootstrap().to_owned();
    let topic = format!("{prefix}.sales");
    let parts: Vec<&[Vec<u8>]> = lines.chunks(lines.len().div_ceil(4)).collect();
    append(parts[0]);
    let mut engine = Engine::start(&place, &run(&out(&brokers, &prefix, &["sales"])));
    let epoch = |place: &Place| place.manifest("lake")["epoch"].as_u64().unwrap_or(0);
    let read_all = |place: &Place, wanted: usize| {
        std::fs::exists(place.path("lake/_manifests")).unwrap_or(false)
            && place.manifest("lake")["accounted"]["read"].as_u64() == Some(wanted as u64)
    };
    engine.wait_for("the first part is read", || read_all(&place, parts[0].len()));
    let mut wanted = parts[0].len();
    let stderr = || String::from_utf8(place.read("stderr")).expect("text");

    for (part, dies) in [(parts[1], false), (parts[2], true)] {
        if dies {
            broker.kill()
        } else {
            broker.freeze()
        };
        let before = epoch(&place);
        append(part);
        wanted += part.len();
        engine.wait_for("it reads on without the broker", || read_all(&place, wanted) && epoch(&place) > before);
        std::thread::sleep(Duration::from_secs(2));
        if dies {
            broker.restart().expect("it comes back")
        } else {
            broker.thaw()
        };
    }
    engine.wait_for("somebody says so", || stderr().contains("has everything again"));
    append(parts[3]);
    wanted += parts[3].len();
    engine.wait_for("the last part is read", || read_all(&place, wanted));
    engine.end();
    let said = stderr();
    assert!(
        said.contains(&format!("topic {topic} stands still at epoch")) && said.contains("the engine goes on"),
        "{said}"
    );
    assert!(said.matches("stands still").count() < 10, "{said}");
    check(&place, "lake", (&brokers, &topic), "sales");
    assert_eq!(follow(&brokers, &topic).iter().filter(|seen| seen.begins_anew).count(), 1);
    check_dead_letters(&place, "lake", &brokers, &format!("{prefix}.dead"));
}

/// Where the checkpoint that a topic has is gone, nobody can say what leads on from it: all is told anew, and readers hear that first.
#[test]
fn a_topic_begins_anew_where_its_checkpoint_is_gone() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let (place, prefix) = (shop(), prefix());
    let set = out(broker.bootstrap(), &prefix, &["sales"]);
    let topic = format!("{prefix}.sales");
    let one = |set: &str| run(set).replace("keep_checkpoints=100000", "keep_checkpoints=1");
    place.ok(&one(&set));
    let pins = || Answer::of_csv(&place.ok("lake pins --data-dir lake --format csv"));
    let held = pins();
    assert_eq!(held.rows.len(), 2, "one for each topic: {held:?}");
    assert!(held.column("who").iter().any(|who| who.contains(&topic)), "{held:?}");
    // While it is pinned it is gone on from, however many checkpoints came since.
    place.ok(&one(""));
    place.ok(&SHOP.replace("--to", "--log shop-log --partitions 3").replace("--seed 11", "--seed 12"));
    place.ok(&one(""));
    place.ok(&one(&set));
    let anew = |topic: &str| follow(broker.bootstrap(), topic).iter().filter(|seen| seen.begins_anew).count();
    assert_eq!(anew(&topic), 1);
    for id in pins().column("pin") {
        place.ok(&format!("lake unpin {id} --data-dir lake"));
    }
    place.ok(&one(""));
    place.ok(&one(""));
    place.ok(&one(&set));
    assert_eq!(anew(&topic), 2);
    let seen = follow(broker.bootstrap(), &topic).pop().expect("a frontier");
    assert_eq!(canonical(&seen.rows), canonical(&exported(&place, "lake", "sales", seen.epoch())));
    // A topic of another view is not written over.
    let other = format!(
        "--set kafka_out.brokers={} --set kafka_out.views=[{{view=\"traffic\",topic=\"{topic}\"}}]",
        broker.bootstrap()
    );
    let done = place.run(&run(&other));
    assert!(done.code == 0 && done.err.contains("has the changes of sales, not of traffic"), "{}", done.err);
}

/// Of two that write to a topic the later goes on. What the earlier had not committed is nowhere.
#[test]
fn who_was_fenced_commits_nothing() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let settings = SinkSettings {
        brokers: broker.bootstrap().to_owned(),
        topic: prefix(),
        transactional_id: prefix(),
        properties: BTreeMap::new(),
    };
    let open = || TopicSink::open(&settings, b"m").expect("a broker is there");
    let send = |sink: &mut TopicSink, value: &[u8]| {
        sink.begin().expect("it begins");
        for partition in 0..sink.partitions() {
            sink.send(&Sent { partition, key: Some(b"m"), value, headers: &[] })?;
        }
        sink.flush()
    };
    let mut first = open();
    assert_eq!(first.marker, None);
    send(&mut first.sink, b"1").expect("it is sent");
    first.sink.commit().expect("it is committed");
    send(&mut first.sink, b"lost").expect("it is sent");
    let mut second = open();
    assert_eq!(second.marker.as_deref(), Some(&b"1"[..]));
    let error = first.sink.commit().expect_err("it was fenced");
    assert!(error.is_fenced(), "{error}");
    send(&mut second.sink, b"2").expect("it is sent");
    second.sink.commit().expect("it is committed");
    // Far more than is looked through at first, and none of it is committed.
    second.sink.begin().expect("it begins");
    for number in 0..5_000_u32 {
        let value = number.to_be_bytes();
        second.sink.send(&Sent { partition: 0, key: None, value: &value, headers: &[] }).expect("it is sent");
    }
    second.sink.flush().expect("it is there");
    drop(second.sink);
    assert_eq!(open().marker.as_deref(), Some(&b"2"[..]));
    let committed: Vec<Vec<u8>> =
        read(&settings.brokers, &settings.topic)[0].iter().map(|read| read.value.clone()).collect();
    assert_eq!(committed, [b"1", b"2"]);
}

#[test]
fn mistakes_name_the_setting() {
    let place = Place::new();
    let run = "run --until-end --set serve.address= --set source.log.paths=['shop-log']";
    let view = |view: &str, topic: &str| format!("--set kafka_out.views=[{{view=\"{view}\",topic=\"{topic}\"}}]");
    let lake = "--set lake.url=lake";
    for (more, words) in [
        (view("sales", "t"), &["lake.url", "kafka_out"][..]),
        (format!("{lake} {}", view("customers", "t")), &["kafka_out.views", "views.enabled"]),
        (format!("{lake} {}", view("sales", "a/b")), &["kafka_out.views", "a/b"]),
        (
            format!("{lake} {} --set kafka_out.dead_letter_topic=t", view("sales", "t")),
            &["kafka_out.dead_letter_topic"],
        ),
        (format!("{lake} {} --set kafka_out.transactional_id=", view("sales", "t")), &["kafka_out.transactional_id"]),
        (format!("{lake} --set kafka_out.keep_ms=1"), &["kafka_out.keep_ms"]),
        (format!("{lake} --set kafka_out.format=avro"), &["kafka_out.format", "json"]),
        (format!("{lake} --set kafka_out.properties=['acks']"), &["kafka_out.properties", "name=value"]),
        (
            format!(
                "{lake} {} --set source.kind=kafka --set source.kafka.topics=['t'] --set source.kafka.brokers=b:1",
                view("sales", "t")
            ),
            &["kafka_out.views", "source.kafka.topics"],
        ),
    ] {
        place.fails(&format!("{run} {more}"), 2, words);
    }
    let refused = format!("{run} {lake} {} --set kafka_out.properties=['acks=1']", view("sales", "t"));
    place.fails(&refused, 1, &["acks", "kafka_out.properties"]);
    assert!(!place.path("lake").exists(), "nothing is touched");
}
