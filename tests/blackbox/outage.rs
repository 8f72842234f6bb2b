//! A start, and a running engine, while something is away: what is there is served, and what is away is waited for.

use super::support::{Done, Place, accounting};
use millrace_connectors::producer::Producer;
use millrace_connectors::source::log::LogWriter;
use millrace_parts::kafka::{Broker, Options};
use millrace_parts::or_skip;
use millrace_parts::ports::Lease;
use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const RUN: &str = "run --set lake.url=lake --set lake.checkpoint_ms=20 --set live.epoch_records=60";
const LOG: &str = "--set source.log.paths=['shop-log']";

fn append(place: &Place, name: &str) {
    let mut log = LogWriter::open(&place.path("shop-log"), 1, 1 << 16).expect("a log");
    log.append(0, &view(name)).expect("it is appended");
    log.flush().expect("it is written");
}

fn view(name: &str) -> Vec<u8> {
    format!(
        "{{\"event_id\":\"{name}\",\"event_type\":\"page_view\",\"event_time\":\"2026-03-09T00:00:00Z\",\"session_id\":\"{name}\",\
         \"page_type\":\"home\"}}"
    )
    .into_bytes()
}

fn wait_for(what: &str, mut wanted: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !wanted() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn spawn(place: &Place, line: &str, closed: bool) -> Child {
    let mut command = place.command();
    command.args(line.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped());
    if closed {
        command.env("MILLTEST_UNRELIABLE", format!("closed:{}", place.path("closed").display()));
    }
    command.spawn().expect("it starts")
}

fn done(child: Child) -> Done {
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Done { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

fn end(child: Child) -> Done {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill").success());
    done(child)
}

fn page_views(place: &Place, address: &str) -> Option<String> {
    let done = place.run(&format!("query traffic --addr {address} --format csv"));
    (done.code == 0)
        .then(|| done.out.lines().nth(1).unwrap_or_default().split(',').next().unwrap_or_default().to_owned())
}

/// The answers of the lake are there at once; when the broker is, too, it reads on.
#[test]
fn a_start_serves_the_lake_while_the_broker_is_away() {
    let place = Place::new();
    let (lake, broker) = (Lease::any().expect("a port"), Lease::any().expect("a port"));
    append(&place, "first");
    let horizons = "--set horizons.deduplication=unlimited --set horizons.sessions=unlimited";
    place.ok(&format!("{RUN} {LOG} {horizons} --quiet --until-end --set serve.address="));
    let address = format!("127.0.0.1:{}", lake.port());
    let kafka = format!(
        "--set source.kind=kafka --set source.kafka.brokers=127.0.0.1:{} --set source.kafka.topics=[{{name=\"events\"}}] \
         --set source.kafka.connect_timeout_ms=300",
        broker.port()
    );
    let waits = spawn(&place, &format!("{RUN} {kafka} {horizons} --set serve.address={address}"), false);
    wait_for("an answer of the lake", || page_views(&place, &address).is_some());
    assert_eq!(page_views(&place, &address).as_deref(), Some("1"));
    wait_for("the reason", || {
        let status = place.ok(&format!("status --addr {address}"));
        status.contains("it is starting") && status.contains("no broker of")
    });
    let said = end(waits);
    assert!(said.code == 1 && said.err.contains("told to end before it had started"), "{}: {}", said.code, said.err);
    let warnings = said.err.matches("trying again").count();
    assert_eq!(warnings, 1, "each reason once: {}", said.err);

    // Not for ever.
    let begun = Instant::now();
    let line = format!("{RUN} {kafka} {horizons} --set serve.address= --set live.outage_ms=1500");
    let done = place.fails(&line, 1, &["no broker of", "it was tried to start since 2", "live.outage_ms"]);
    assert!(begun.elapsed() > Duration::from_millis(900), "{}", done.err);
}

#[test]
fn a_broker_that_comes_later_is_read() {
    let Some(mut broker) = or_skip(Broker::start(&Options::default())) else { return };
    let place = Place::new();
    let topic = "outage";
    let producer = Producer::open(broker.bootstrap(), topic, 1, &BTreeMap::new()).expect("a topic");
    producer.send(0, b"", &view("first"), None).expect("it is sent");
    producer.flush().expect("it is acknowledged");
    drop(producer);
    broker.stop().expect("it is ours");
    let line = format!(
        "{RUN} --until-end --format json --set serve.address= --set source.kind=kafka --set source.kafka.brokers={} \
         --set source.kafka.topics=[{{name=\"{topic}\"}}] --set source.kafka.connect_timeout_ms=500",
        broker.bootstrap()
    );
    let waits = spawn(&place, &line, false);
    std::thread::sleep(Duration::from_secs(2));
    assert!(!place.path("lake").exists(), "nothing is taken over before it can be read");
    broker.restart().expect("it starts again");
    let done = done(waits);
    assert!(done.code == 0 && done.err.contains("trying again"), "{}: {}", done.code, done.err);
    assert_eq!(accounting(&done.out)[..2], [1, 1]);
}

/// The lake is closed at the start, and while it runs: nothing is lost, and nothing is said twice.
#[test]
fn a_lake_that_is_closed_is_waited_for() {
    let place = Place::new();
    append(&place, "first");
    fs::write(place.path("closed"), "").expect("a file");
    let engine = spawn(&place, &format!("{RUN} {LOG} --format json --set serve.address="), true);
    std::thread::sleep(Duration::from_millis(700));
    assert!(!place.path("lake/_manifests").exists());
    fs::remove_file(place.path("closed")).expect("it is ours");
    let checkpoints = || fs::read_dir(place.path("lake/_manifests")).map_or(0, Iterator::count);
    wait_for("a checkpoint", || checkpoints() >= 2);

    std::thread::sleep(Duration::from_millis(200));
    fs::write(place.path("closed"), "").expect("a file");
    append(&place, "second");
    std::thread::sleep(Duration::from_millis(900));
    fs::remove_file(place.path("closed")).expect("it is ours");
    let accepted = || place.manifest("lake")["accounted"]["accepted"].as_i64();
    wait_for("the commit of what came meanwhile", || accepted() == Some(2));
    let done = end(engine);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(accounting(&done.out)[..2], [2, 2]);
    let said = |text: &str| done.err.matches(text).count();
    assert!(said("trying again for up to 300 s (live.outage_ms)") == 2 && said("answers again") >= 1, "{}", done.err);
}

/// One that stays closed ends it, with 1 and since when; what was committed is there.
#[test]
fn a_lake_that_stays_closed_ends_it() {
    let place = Place::new();
    append(&place, "first");
    let line = format!("{RUN} {LOG} --set serve.address= --set live.outage_ms=800");
    let engine = spawn(&place, &line, true);
    let checkpoints = || fs::read_dir(place.path("lake/_manifests")).map_or(0, Iterator::count);
    wait_for("a checkpoint", || checkpoints() >= 2);
    std::thread::sleep(Duration::from_millis(200));
    fs::write(place.path("closed"), "").expect("a file");
    append(&place, "second");
    let ended = done(engine);
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.err.contains("tried again since 2") && ended.err.contains("live.outage_ms"), "{}", ended.err);
    // Nor does a start wait for ever.
    let ended = done(spawn(&place, &line, true));
    assert!(ended.code == 1 && ended.err.contains("it was tried to start since 2"), "{}", ended.err);
    fs::remove_file(place.path("closed")).expect("it is ours");
    let summary = place.ok(&format!("{RUN} {LOG} --quiet --until-end --format json --set serve.address="));
    assert_eq!(accounting(&summary)[..2], [2, 2]);
}

/// What only other settings help is an error at once.
#[test]
fn a_path_that_is_not_there_is_not_waited_for() {
    let place = Place::new();
    let begun = Instant::now();
    place.fails(&format!("{RUN} --set source.log.paths=['nowhere'] --set serve.address="), 1, &["source.log.paths"]);
    assert!(begun.elapsed() < Duration::from_secs(20));
}
