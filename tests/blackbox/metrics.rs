//! What a process shows over HTTP, and what it says as JSON: the figures are those of the answers, and nobody holds the endpoint.

use super::support::{Answer, PATIENCE, Place, SHOP, manifest_dir, skip, wait_for};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A process that shows figures. It goes with the test.
struct Process {
    child: Option<Child>,
    said: Arc<Mutex<Vec<String>>>,
    /// Of its figures.
    address: String,
}

impl Process {
    fn start(place: &Place, line: &str) -> Process {
        let mut command = place.command();
        command.args(line.split_whitespace()).args(["--set", "metrics.address=127.0.0.1:0"]);
        command.env("MILLTEST_UNRELIABLE", format!("closed:{}", place.path("closed").display()));
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let (said, stderr) = (Arc::<Mutex<Vec<String>>>::default(), child.stderr.take().expect("it is a pipe"));
        let lines = said.clone();
        std::thread::spawn(move || {
            let said = BufReader::new(stderr).lines().map_while(Result::ok);
            said.for_each(|line| lines.lock().expect("no holder panics").push(line));
        });
        let mut process = Process { child: Some(child), said, address: String::new() };
        process.address = process.said_after("figures on http://").trim_end_matches("/metrics").to_owned();
        process
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().expect("no holder panics").clone()
    }

    /// What follows some words, up to the end of the line or of a text.
    fn said_after(&self, words: &str) -> String {
        wait_for(words, || {
            let said = self.said();
            let rest = said.iter().find_map(|line| line.split_once(words)).map(|(_, rest)| rest.to_owned());
            rest.map(|rest| rest.split('"').next().unwrap_or_default().to_owned())
        })
    }

    fn get(&self, path: &str) -> Got {
        ask(&self.address, &format!("GET {path} HTTP/1.1\r\nHost: millrace\r\n\r\n"))
    }

    fn scrape(&self) -> Scrape {
        let got = self.get("/metrics");
        assert_eq!(got.status, 200, "{}", got.body);
        assert!(got.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{}", got.head);
        Scrape::of(&got.body)
    }

    fn health(&self) -> [u16; 2] {
        ["/livez", "/readyz"].map(|path| self.get(path).status)
    }

    fn terminate(&self) {
        let id = self.child.as_ref().expect("it has not ended").id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("there is kill").success());
    }

    fn end(mut self) -> Output {
        self.child.take().expect("it ends once").wait_with_output().expect("it ends")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// An answer over HTTP.
#[derive(Debug)]
struct Got {
    status: u16,
    /// In small letters.
    head: String,
    body: String,
}

/// One question, as it is on the wire; the other side ends the connection.
fn ask(address: &str, request: &str) -> Got {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.write_all(request.as_bytes()).expect("it is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Got { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// A scrape, read strictly.
#[derive(Clone, Debug, Default, PartialEq)]
struct Scrape {
    /// By family.
    types: BTreeMap<String, String>,
    /// By series, as it is written.
    values: BTreeMap<String, f64>,
}

impl Scrape {
    fn of(text: &str) -> Scrape {
        let text = text.strip_suffix("# EOF\n").expect("it is whole");
        let mut scrape = Scrape::default();
        let (mut family, mut kind) = (String::new(), String::new());
        for line in text.lines() {
            if let Some(described) = line.strip_prefix("# ") {
                let mut words = described.splitn(3, ' ');
                let mut word = || words.next().unwrap_or_else(|| panic!("{line}")).to_owned();
                let (what, name, rest) = (word(), word(), word());
                match &*what {
                    "HELP" => assert!(!scrape.types.contains_key(&name) && rest.len() > 3, "{line}"),
                    "TYPE" => {
                        (family, kind) = (name.clone(), rest.clone());
                        assert!(scrape.types.insert(name, rest).is_none(), "{line}");
                    }
                    "UNIT" => assert!(name == family && name.ends_with(&format!("_{rest}")), "{line}"),
                    _ => panic!("{line}"),
                }
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            let name = series.split('{').next().unwrap_or_default();
            let suffix = name.strip_prefix(&*family).unwrap_or_else(|| panic!("{line} is not of {family}"));
            let suffixes: &[&str] = match &*kind {
                "gauge" => &[""],
                "counter" => &["_total"],
                "info" => &["_info"],
                "histogram" => &["_bucket", "_count", "_sum"],
                _ => panic!("{kind}"),
            };
            assert!(suffixes.contains(&suffix) && name.starts_with("millrace_"), "{line}");
            assert!(scrape.values.insert(series.to_owned(), value.parse().expect("a number")).is_none(), "{line}");
        }
        scrape
    }

    fn get(&self, series: &str) -> f64 {
        self.try_get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.values))
    }

    fn try_get(&self, series: &str) -> Option<f64> {
        self.values.get(&format!("millrace_{series}")).copied()
    }

    /// Values by the one label of a metric.
    fn by_label(&self, name: &str) -> BTreeMap<String, u64> {
        let of = |(series, value): (&String, &f64)| {
            let label = series.strip_prefix(&format!("millrace_{name}{{"))?.split('"').nth(1)?;
            Some((label.to_owned(), *value as u64))
        };
        self.values.iter().filter_map(of).collect()
    }

    /// The metrics as users know them, with their types.
    fn names(&self) -> BTreeMap<String, String> {
        let of = |(family, kind): (&String, &String)| match &**kind {
            "counter" => (format!("{family}_total"), kind.clone()),
            "info" => (format!("{family}_info"), kind.clone()),
            _ => (family.clone(), kind.clone()),
        };
        self.types.iter().map(of).collect()
    }
}

const RUN: &str = "run --set serve.address=127.0.0.1:0 --set source.log.paths=['shop-log'] --set lake.checkpoint_ms=50 \
    --set horizons.deduplication=unlimited --set horizons.sessions=unlimited";

/// The log of a small shop, with everything that goes wrong.
fn shop(place: &Place) {
    place.ok(&SHOP.replace("--to", "--log shop-log --partitions 3"));
}

/// What was read is in the answers, and in a checkpoint.
fn wait_until_read(process: &Process) -> Scrape {
    wait_for("everything is read", || {
        let scrape = process.scrape();
        let lags: Vec<u64> = (0..3)
            .filter_map(|at| scrape.try_get(&format!("source_lag_records{{source=\"shop-log\",partition=\"{at}\"}}")))
            .map(|lag| lag as u64)
            .collect();
        let is_read = lags == [0, 0, 0] && scrape.try_get("records_total{outcome=\"read\"}")? > 2_500.0;
        // Nothing is committed any more once all is: then all is.
        let is_safe = scrape.try_get("checkpoints_total")? >= 1.0 && scrape.try_get("checkpoint_age_seconds")? > 1.0;
        (is_read && is_safe && scrape.get("epochs_in_flight") == 0.0).then_some(scrape)
    })
}

/// Figures of records are those of the view that keeps them, whichever run has read them; and all metrics are documented as they are.
#[test]
fn figures_are_those_of_the_answers() {
    let place = Place::new();
    shop(&place);
    let process = Process::start(&place, &format!("{RUN} --set lake.url=lake"));
    let server = process.said_after("serving on ");
    let read = wait_until_read(&process);

    let quality =
        |group: &str| Answer::of_csv(&place.ok(&format!("query quality --addr {server} --format csv {group}")));
    let outcomes = read.by_label("records_total");
    let of_view = quality("").pick("read accepted duplicates quarantined pending");
    let of_figures =
        ["read", "accepted", "duplicate", "quarantined", "pending"].map(|outcome| outcomes[outcome].to_string());
    assert_eq!(of_view, [of_figures.join(" ")]);
    assert_eq!(outcomes["read"] * 2, outcomes.values().sum::<u64>());
    let rules: BTreeMap<String, u64> = quality("--group-by rule")
        .pick("rule quarantined")
        .iter()
        .filter_map(|row| row.rsplit_once(' '))
        .map(|(rule, count)| (rule.to_owned(), count.parse().expect("a count")))
        .filter(|(_, count)| *count > 0)
        .collect();
    assert!(rules.len() > 3 && read.by_label("quarantined_records_total") == rules, "{rules:?}");

    let status: Value =
        serde_json::from_str(&place.ok(&format!("status --addr {server} --format json"))).expect("JSON");
    for (outcome, name) in [("read", "read"), ("accepted", "accepted"), ("duplicate", "duplicates")] {
        assert_eq!(status["accounting"][name].as_u64(), Some(outcomes[outcome]), "{status}");
    }
    let now = process.scrape();
    assert!(status["epoch"].as_f64().is_some_and(|epoch| (read.get("epoch")..=now.get("epoch")).contains(&epoch)));
    let held = now.by_label("held_items");
    assert!(held["event_ids"] > 2_000 && held["sessions"] > 50, "{held:?}");
    assert!((0.0..30.0).contains(&now.get("freshness_seconds")), "{}", now.get("freshness_seconds"));
    assert!(now.get("memory_bytes") > 1e6 && now.get("memory_limit_bytes") > now.get("memory_bytes"));
    assert!(now.get("watermark_lag_seconds") > 0.0);

    let manifest = place.manifest("lake");
    assert_eq!(now.get("checkpoint_epoch"), manifest["epoch"].as_f64().expect("an epoch"));
    let took = now.get("checkpoint_duration_seconds_count");
    assert!(took >= 1.0 && took == now.get("checkpoints_total"));
    assert_eq!(now.get("checkpoint_duration_seconds_bucket{le=\"+Inf\"}"), took);
    assert!(now.get("checkpoint_duration_seconds_sum") > 0.0);
    let events = fs::read_dir(place.path("lake/events")).expect("days").count();
    let files = now.by_label("lake_files");
    assert!(files["events"] >= events as u64 && files["quarantine"] >= 1 && files["pending"] == 0, "{files:?}");

    // `status` has asked, too: what counts is what comes on top.
    place.ok(&format!("query sales --addr {server}"));
    let one_more = process.scrape();
    place.fails(&format!("query sales --group-by colour --addr {server}"), 2, &["colour"]);
    let later = process.scrape();
    let names = ["reads_total", "read_errors_total", "read_seconds_count"];
    let calls =
        |scrape: &Scrape| names.map(|name| scrape.get(&format!("{name}{{method=\"millrace.v1.Analytics/Query\"}}")));
    let [reads, errors, count] = calls(&now);
    assert_eq!(
        (calls(&one_more), calls(&later)),
        ([reads + 1.0, errors, count + 1.0], [reads + 2.0, errors + 1.0, count + 2.0])
    );
    assert!(reads == count && later.get("read_seconds_sum{method=\"millrace.v1.Analytics/Query\"}") > 0.0);
    let methods = status["methods"].as_array().expect("a list");
    let of_status: BTreeMap<String, u64> = methods
        .iter()
        .map(|method| {
            (method["method"].as_str().unwrap_or_default().to_owned(), method["requests"].as_u64().unwrap_or(0))
        })
        .collect();
    let of_figures = now.by_label("reads_total");
    assert!(
        !of_status.is_empty() && of_status.iter().all(|(method, count)| of_figures[method] >= *count),
        "{of_status:?}"
    );

    for (series, value) in [
        ("stale", 0.0),
        ("source_up", 1.0),
        ("source_partition_faults", 0.0),
        ("cluster_processes{state=\"expected\"}", 1.0),
        ("cluster_processes{state=\"connected\"}", 1.0),
        ("restarts_total", 0.0),
        ("checkpoint_failures_total", 0.0),
        ("subscriptions", 0.0),
        ("log_lines_total{level=\"error\"}", 0.0),
        (&format!("build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1.0),
    ] {
        assert_eq!(later.get(series), value, "{series}");
    }
    // What was rejected is said a moment after it was counted.
    wait_for("lines are counted", || {
        let lines = |level: &str| process.scrape().get(&format!("log_lines_total{{level=\"{level}\"}}"));
        (lines("info") >= 2.0 && lines("warning") >= 1.0).then_some(())
    });
    check_documented(&later.names());
    check_by_others(&process);
    process.terminate();
    assert!(process.end().status.success());

    // Another process goes on counting records where this one has stopped, and counts its own doing from 0.
    let process = Process::start(&place, &format!("{RUN} --set lake.url=lake"));
    let again = wait_for("it is as far", || {
        let scrape = process.scrape();
        (scrape.try_get("records_total{outcome=\"read\"}").is_some() && scrape.get("stale") == 0.0).then_some(scrape)
    });
    for name in ["records_total", "quarantined_records_total"] {
        assert_eq!(again.by_label(name), later.by_label(name), "{name}");
    }
    assert!(again.get("checkpoint_age_seconds") > 0.0 && again.get("checkpoint_epoch") >= now.get("checkpoint_epoch"));
    process.terminate();
    assert!(process.end().status.success());
}

/// The table of the documents has what is shown, with its types, and nothing else but what only sinks have.
fn check_documented(shown: &BTreeMap<String, String>) {
    let text = fs::read_to_string(manifest_dir().join("docs/operations.md")).expect("a document");
    let (_, section) = text.split_once("\n## Metrics and logs\n").expect("a section");
    let rows = section.split("\n## ").next().unwrap_or_default().lines();
    let rows = rows.filter_map(|line| line.strip_prefix("| `millrace_"));
    let documented: BTreeMap<String, String> = rows
        .map(|row| {
            let mut cells = row.split(" | ");
            let name = cells.next().unwrap_or_default().split(['`', '{']).next().unwrap_or_default();
            (format!("millrace_{name}"), cells.next().unwrap_or_default().to_owned())
        })
        .collect();
    for (name, kind) in shown {
        assert_eq!(documented.get(name), Some(kind), "{name}");
    }
    for name in documented.keys() {
        assert!(shown.contains_key(name) || name.starts_with("millrace_sink_"), "{name} is not shown");
    }
}

/// What Prometheus' own library reads is what is meant, in both formats.
fn check_by_others(process: &Process) {
    let folder = manifest_dir().join("tests/scrape");
    let python = millrace_parts::python::venv(&folder.join("requirements.txt"));
    let Ok(python) = python.map_err(|error| skip(&format!("the parser of Prometheus: {error}"))) else { return };
    let parsed = |python: &PathBuf, format: &str, text: &str| -> Value {
        let mut command = Command::new(python);
        command.arg(folder.join("parse.py")).arg(format).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.env("PYTHONDONTWRITEBYTECODE", "1").spawn().expect("Python starts");
        child.stdin.take().expect("it is a pipe").write_all(text.as_bytes()).expect("it reads all");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{text}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let text = process.get("/metrics").body;
    let (ours, theirs) = (Scrape::of(&text), parsed(&python, "openmetrics", &text));
    assert_eq!(theirs["types"], serde_json::to_value(&ours.types).expect("texts"));
    let values: BTreeMap<String, String> = serde_json::from_value(theirs["values"].clone()).expect("texts");
    let value = |(series, value): (String, String)| (series, value.parse::<f64>().expect("a number"));
    assert_eq!(values.into_iter().map(value).collect::<BTreeMap<_, _>>(), ours.values);

    let old = "GET /metrics HTTP/1.1\r\nHost: millrace\r\nAccept: text/plain;version=0.0.4\r\n\r\n";
    let old = ask(&process.address, old);
    assert!(
        old.head.contains("content-type: text/plain; version=0.0.4") && !old.body.contains("# EOF"),
        "{}",
        old.head
    );
    let old = parsed(&python, "text", &old.body);
    let read = old["values"]["millrace_records_total{outcome=\"read\"}"].as_str().and_then(|value| value.parse().ok());
    assert_eq!(read, ours.try_get("records_total{outcome=\"read\"}"));
    assert_eq!(old["types"]["millrace_read_seconds"], "histogram");
}

/// Not ready before there are answers, ready with old ones, not ready while it ends; alive all the time. A lake that is away is counted.
#[test]
fn health_says_how_far_it_is() {
    let place = Place::new();
    shop(&place);
    let closed = place.write("closed", "");
    let line = format!("{RUN} --set lake.url=lake --set live.outage_ms=60000");
    let process = Process::start(&place, &line);
    assert_eq!(process.health(), [200, 503]);
    let why = process.get("/readyz").body;
    assert!(why.starts_with("there are no answers yet"), "{why}");
    assert_eq!(process.scrape().try_get("epoch"), None);
    fs::remove_file(&closed).expect("it is ours");
    wait_for("it is ready", || (process.health() == [200, 200]).then_some(()));
    wait_until_read(&process);

    // The last checkpoint cannot be written, and is waited for a while: that it ends can be seen.
    place.write("closed", "");
    let more = SHOP.replace("--to", "--log shop-log --partitions 3").replace("--seed 11", "--seed 12");
    let more = more.replace("--events 2500", "--events 500");
    place.ok(&more);
    wait_for("a failure", || (process.scrape().get("checkpoint_failures_total") >= 1.0).then_some(()));
    assert_eq!(process.health(), [200, 200]);
    process.terminate();
    let why = wait_for("it is ending", || {
        let got = process.get("/readyz");
        (got.status == 503).then_some(got.body)
    });
    assert_eq!(why, "it is ending\n");
    assert_eq!(process.get("/livez").status, 200);
    fs::remove_file(&closed).expect("it is ours");
    assert!(process.end().status.success());

    // A source that is away: the answers are old, and served.
    let broker = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let kafka = format!(
        "{line} --set source.kind=kafka --set source.kafka.brokers={broker} --set source.kafka.topics=[{{name=\"events\"}}] \
         --set source.kafka.connect_timeout_ms=300"
    );
    let process = Process::start(&place, &kafka);
    wait_for("it is ready", || (process.health() == [200, 200]).then_some(()));
    let scrape = process.scrape();
    assert_eq!((scrape.get("stale"), scrape.get("source_up")), (1.0, 0.0));
    assert!(scrape.get("records_total{outcome=\"read\"}") > 2_500.0);
}

/// A part of the engine that fails for good makes it neither ready nor alive, for as long as it takes to end.
#[test]
fn an_engine_that_fails_is_not_alive() {
    let place = Place::new();
    shop(&place);
    let process = Process::start(&place, &format!("{RUN} --set lake.url=lake --set live.outage_ms=60000"));
    wait_until_read(&process);
    // What waits for the lake takes its time to end.
    place.write("closed", "");
    place.ok(&SHOP.replace("--to", "--log shop-log --partitions 3").replace("--seed 11", "--seed 12"));
    wait_for("a failure", || (process.scrape().get("checkpoint_failures_total") >= 1.0).then_some(()));
    assert_eq!(process.health(), [200, 200]);
    // The reader fails: a segment before this one is missing.
    place.write("shop-log/partition=00000/00000000000999999999.jsonl", "{}\n");
    let why = wait_for("it is not alive", || {
        let got = process.get("/livez");
        (got.status == 503).then_some(got.body)
    });
    assert!(why.contains("was removed before it was read"), "{why}");
    let not_ready = process.get("/readyz");
    assert!(not_ready.status == 503 && not_ready.body.contains(&why), "{not_ready:?}");
    assert_eq!(process.end().status.code(), Some(1));
}

#[test]
fn an_address_that_is_taken_or_none_is_an_error() {
    let place = Place::new();
    shop(&place);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let words = [&*format!("cannot listen on {address} (metrics.address)")];
    place.fails(&format!("{RUN} --set lake.url=lake --set metrics.address={address}"), 1, &words);
    assert!(!place.path("lake").exists(), "nothing is taken over before");
    place.fails(&format!("demo --for 1s --set serve.address= --set metrics.address={address}"), 1, &words);
    for line in [RUN, "config"] {
        let expected =
            "setting metrics.address = \"localhost:9117\" (--set): expected an IP address and a port such as";
        place.fails(&format!("{line} --set metrics.address=localhost:9117"), 2, &[expected]);
    }
    // Nobody listens where nobody is asked to.
    let done = place.run(&format!("{RUN} --until-end --set lake.url=lake"));
    assert!(done.code == 0 && !done.err.contains("figures on"), "{}", done.err);
}

/// Who connects and says nothing, says half, or takes nothing, keeps nobody from asking, and is closed.
#[test]
fn nobody_holds_the_endpoint() {
    let place = Place::new();
    shop(&place);
    let process = Process::start(&place, RUN);
    let connect = |_| TcpStream::connect(&process.address).expect("it listens");
    let mut silent: Vec<TcpStream> = (0..100).map(connect).collect();
    silent[99].write_all(b"GET /metrics HTTP/1.1\r\nHost: mill").expect("it is taken");
    let begun = Instant::now();
    for _ in 0..10 {
        assert_eq!(process.get("/livez").status, 200);
        process.scrape();
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    for stream in &mut silent {
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        let mut rest = Vec::new();
        // Closed, or reset; and not still there after 20 s.
        if let Err(error) = stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());

    let ask = |request: &str| ask(&process.address, request);
    assert_eq!(process.get("/").status, 404);
    let posted = ask("POST /metrics HTTP/1.1\r\nHost: millrace\r\nContent-Length: 5\r\n\r\nhello");
    assert!(posted.status == 405 && posted.head.contains("allow: get, head"), "{}", posted.head);
    let head = ask("HEAD /metrics HTTP/1.1\r\nHost: millrace\r\n\r\n");
    assert!(head.status == 200 && head.body.is_empty(), "{head:?}");
    assert_eq!(ask("nonsense\r\n\r\n").status, 400);
    let long = format!("GET /metrics HTTP/1.1\r\nHost: millrace\r\nX: {}\r\n\r\n", "x".repeat(12 << 10));
    assert_eq!(ask(&long).status, 200);
    assert_eq!(process.get("/livez").status, 200);
}

/// Whatever says it, and however it ends.
#[test]
fn lines_are_objects_where_that_is_asked_for() {
    let place = Place::new();
    shop(&place);
    let json = format!("{RUN} --set log.format=json");
    let process = Process::start(&place, &format!("{json} --set serve.read_tokens=sesame --set lake.url=lake"));
    let server = process.said_after("serving on ");
    place.fails(&format!("query sales --addr {server} --set client.token=wrong"), 1, &["token"]);
    let objects = || -> Vec<Value> {
        let parse = |line: String| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        process.said().into_iter().map(parse).collect()
    };
    let outcomes = wait_until_read(&process).by_label("records_total");
    let periodic = wait_for("a line of figures", || {
        objects().into_iter().find(|line| line["fields"]["read"].as_u64() == Some(outcomes["read"]))
    });
    for (field, outcome) in [
        ("read", "read"),
        ("accepted", "accepted"),
        ("duplicates", "duplicate"),
        ("rejected", "quarantined"),
        ("pending", "pending"),
    ] {
        assert_eq!(periodic["fields"][field].as_u64(), Some(outcomes[outcome]), "{periodic}");
    }
    for field in ["epoch", "in_flight", "lag", "memory_bytes"] {
        assert!(periodic["fields"][field].is_u64(), "{periodic}");
    }
    let text = periodic["message"].as_str().expect("a text");
    assert!(text.contains(&format!("accepted {}", outcomes["accepted"])) && text.contains("duplicates "), "{text}");
    let has = |said: &[Value], words: &str| {
        let is = |line: &Value| {
            line["level"] == "warning" && line["message"].as_str().is_some_and(|text| text.contains(words))
        };
        said.iter().any(is)
    };
    let said = wait_for("a warning of what is rejected", || Some(objects()).filter(|said| has(said, "rejected ")));
    assert!(has(&said, "a wrong token from"), "{said:?}");
    for line in &said {
        let time = line["time"].as_str().expect("a time");
        assert!(millrace_schema::calendar::parse_rfc3339(time).is_some() && time.len() == 24, "{line}");
        assert!(line["message"].is_string() && ["info", "warning"].map(Value::from).contains(&line["level"]), "{line}");
    }
    let scrape = process.scrape();
    for level in ["info", "warning"] {
        let counted = scrape.get(&format!("log_lines_total{{level=\"{level}\"}}"));
        assert!(counted >= said.iter().filter(|line| line["level"] == level).count() as f64, "{level}: {counted}");
    }

    // Whoever has the address is in the way of another.
    let done = place.run(&format!("{json} --set metrics.address={}", process.address));
    let error: Value = serde_json::from_str(done.err.trim_end()).expect("one object");
    assert_eq!((done.code, error["level"].as_str()), (1, Some("error")), "{error}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("metrics.address")), "{error}");
    process.terminate();
    assert!(process.end().status.success());
}
