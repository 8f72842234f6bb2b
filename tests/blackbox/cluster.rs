//! Several processes as one engine: the answers of one, whoever is killed; and who does not belong is refused.

#[cfg(feature = "serve-tls")]
use super::serve::tls::certificates;
use super::support::{Done, PATIENCE, Place, wait_for};
use millrace_connectors::source::log::LogWriter;
use millrace_parts::kafka::{Broker, Options};
use millrace_parts::or_skip;
use millrace_parts::ports::Lease;
#[cfg(feature = "s3")]
use millrace_parts::s3::Moto;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PARTITIONS: u32 = 5;
const LOG: &str = "--set source.log.paths=['shop-log'] --set horizons.deduplication=unlimited --set horizons.sessions=unlimited \
                   --set lake.checkpoint_ms=150 --set cluster.silence_ms=2500";
const QUESTIONS: [&str; 6] = [
    "sales --group-by day,product_id",
    "funnel --group-by day,device",
    "funnel --group-by category",
    "traffic --group-by hour",
    "quality --group-by day,rule",
    "related_products",
];

/// Appends a part of a shop's history to the log.
fn append(place: &Place, events: u32, seed: u32) {
    place.ok(&format!(
        "generate --events {events} --seed {seed} --start 2026-03-01 --days 2 --products 40 --users 60 --log shop-log --partitions {PARTITIONS} --quiet"
    ));
}

/// One that no other part has.
fn append_one(place: &Place, name: &str, partition: u32) {
    let event = format!(
        "{{\"event_id\":\"{name}\",\"event_type\":\"page_view\",\"event_time\":\"2026-03-02T00:00:00Z\",\"session_id\":\"{name}\",\
         \"page_type\":\"home\"}}"
    );
    let mut log = LogWriter::open(&place.path("shop-log"), PARTITIONS, 1 << 26).expect("a log");
    log.append(partition, event.as_bytes()).expect("it is appended");
    log.flush().expect("it is written");
}

fn answers(place: &Place, lake: &str) -> Vec<String> {
    QUESTIONS.iter().map(|question| place.csv(lake, &format!("{question} --limit 1000000"))).collect()
}

/// What one process makes of all that is in the log.
fn whole(place: &Place, name: &str) -> Vec<String> {
    place.ok(&format!("run {LOG} --set lake.url={name} --set serve.address= --until-end --quiet"));
    answers(place, name)
}

fn check(place: &Place, name: &str) {
    let (ours, wanted) = (answers(place, "lake"), whole(place, name));
    for (question, (ours, wanted)) in QUESTIONS.iter().zip(ours.iter().zip(&wanted)) {
        assert_eq!(ours, wanted, "{question}");
    }
    let verified = place.ok("verify --data-dir lake");
    assert!(verified.contains("0 answers differ"), "{verified}");
}

/// A command that runs, and is killed where a test ends early.
struct Process(Child);

impl Process {
    fn start(place: &Place, line: &str, log: &str) -> Process {
        let log = std::fs::OpenOptions::new().append(true).create(true).open(place.path(log)).expect("a file");
        let mut command = place.command();
        command.args(line.split_whitespace()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Process(command.spawn().expect("it starts"))
    }

    fn signal(&self, signal: &str) {
        kill(self.0.id(), signal);
    }

    fn ends(mut self) -> i32 {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.0.try_wait().expect("it can be asked") {
                return status.code().unwrap_or(-1);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not end");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn kill(process: u32, signal: &str) {
    let done = Command::new("kill").args([&format!("-{signal}"), &process.to_string()]).status();
    assert!(done.expect("kill is there").success(), "{process} is there to be sent {signal}");
}

/// The processes that a process has started and that run.
fn children(parent: u32) -> Vec<u32> {
    let found = Command::new("pgrep").args(["-P", &parent.to_string()]).output().expect("pgrep is there");
    String::from_utf8_lossy(&found.stdout).lines().filter_map(|line| line.parse().ok()).collect()
}

fn page_views(place: &Place, address: &str) -> Option<u64> {
    let done = place.run(&format!("query traffic --addr {address} --format csv"));
    let row = (done.code == 0).then(|| done.out.lines().nth(1).unwrap_or_default().to_owned())?;
    row.split(',').next()?.parse().ok()
}

fn epoch(place: &Place, address: &str) -> Result<u64, Done> {
    let done = place.run(&format!("status --addr {address} --format json"));
    if done.code != 0 {
        return Err(done);
    }
    let status: serde_json::Value = serde_json::from_str(&done.out).expect("JSON");
    Ok(status["epoch"].as_u64().unwrap_or_else(|| panic!("no epoch in {status}")))
}

/// Ports one after the other, which no other test takes meanwhile.
struct Ports(Vec<Lease>);

impl Ports {
    fn new(count: usize) -> Ports {
        let mut leases: Vec<Lease> = Vec::new();
        while leases.len() < count {
            let next = Lease::any().expect("a port");
            if leases.last().is_some_and(|last| last.port() + 1 != next.port()) {
                leases.clear();
            }
            leases.push(next);
        }
        Ports(leases)
    }

    fn first(&self) -> u16 {
        self.0[0].port()
    }
}

/// Whatever wrote the state, its keys go to those who run now. `lake` is where it is, and `settings` what it takes to reach it.
fn goes_on(place: &Place, lake: &str, environment: &[(&str, &str)]) {
    let ok = |line: &str| {
        let mut command = place.command();
        command.args(line.split_whitespace()).envs(environment.iter().copied()).stdin(Stdio::null());
        let output = command.output().expect("it starts");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let starts = ["cluster --processes 2 -w 1", "cluster --processes 3 -w 2", "run --set live.workers=1"];
    for (number, start) in (1..).zip(starts) {
        append(place, 1_800 / number, number);
        ok(&format!("{start} {LOG} --set lake.url={lake} --set serve.address= --until-end --quiet"));
        let wanted = whole(place, &format!("whole-{number}"));
        for (question, wanted) in QUESTIONS.iter().zip(wanted) {
            let ours = ok(&format!("query {question} --limit 1000000 --data-dir {lake} --format csv"));
            assert_eq!(ours, wanted, "{start}: {question}");
        }
        let verified = ok(&format!("verify --data-dir {lake}"));
        assert!(verified.contains("0 answers differ"), "{start}: {verified}");
    }
}

#[test]
fn any_number_of_processes_goes_on_from_any_other() {
    goes_on(&Place::new(), "lake", &[]);
}

#[test]
#[cfg(feature = "s3")]
fn any_number_of_processes_goes_on_from_any_other_on_s3() {
    let Some(moto) = or_skip(Moto::start()) else { return };
    moto.create_bucket("lake").expect("a bucket");
    let place = Place::new();
    place.write(
        "millrace.toml",
        format!("[lake.s3]\nendpoint = '{}'\nregion = 'us-east-1'\npath_style = true\n", moto.endpoint()),
    );
    goes_on(&place, "s3://lake/shop", &[("AWS_ACCESS_KEY_ID", "any"), ("AWS_SECRET_ACCESS_KEY", "any")]);
}

/// Each process has files of its own, and one manifest names them all.
#[test]
fn every_process_writes_its_share() {
    let place = Place::new();
    append(&place, 2_000, 4);
    place.ok(&format!("cluster --processes 2 -w 1 {LOG} --set lake.url=lake --set serve.address= --until-end --quiet"));
    let files = place.ok("lake files --data-dir lake");
    for worker in ["w000", "w001"] {
        assert!(files.lines().any(|file| file.contains("events/") && file.contains(worker)), "{worker}: {files}");
    }
}

/// Engines and parents are killed in turns while the shop goes on: reads are answered all the time, epochs never fall, nothing is lost.
#[test]
fn whoever_is_killed_nobody_who_reads_sees_it() {
    let place = Place::new();
    append(&place, 500, 5);
    let ports = Ports::new(2);
    let first = ports.first();
    let addresses = [format!("127.0.0.1:{first}"), format!("127.0.0.1:{}", first + 1)];
    let line = format!("cluster --processes 2 -w 1 {LOG} --set lake.url=lake --set serve.address={}", addresses[0]);
    let cluster = Process::start(&place, &line, "stderr");
    let mut seen = addresses.clone().map(|address| wait_for("an answer", || epoch(&place, &address).ok()));
    let mut views = wait_for("the views", || page_views(&place, &addresses[1]).filter(|views| *views > 0));
    for round in 0..6_u32 {
        let parents = wait_for("both parents", || Some(children(cluster.0.id())).filter(|parents| parents.len() == 2));
        let parent = parents[(round % 2) as usize];
        let of_parent = round == 4;
        let victim = match of_parent {
            true => parent,
            false => wait_for("an engine", || children(parent).first().copied()),
        };
        kill(victim, "KILL");
        for partition in 0..PARTITIONS {
            append_one(&place, &format!("round {round} of {partition}"), partition);
        }
        let wanted = views + u64::from(PARTITIONS);
        let begun = Instant::now();
        let mut left = [true, true];
        while left.contains(&true) {
            assert!(begun.elapsed() < PATIENCE, "what came after round {round} is not seen: {wanted} views");
            for (index, address) in addresses.iter().enumerate() {
                match epoch(&place, address) {
                    Ok(now) => {
                        assert!(of_parent || now >= seen[index], "epochs fell from {} to {now}", seen[index]);
                        seen[index] = now;
                    }
                    Err(done) => assert!(of_parent, "round {round}: a read was refused: {}", done.err),
                }
                left[index] = page_views(&place, address) != Some(wanted);
            }
        }
        views = wanted;
    }
    cluster.signal("TERM");
    assert_eq!(cluster.ends(), 0, "{}", String::from_utf8_lossy(&place.read("stderr")));
    check(&place, "whole");
}

/// Who knocks at the mesh and does not belong to it is refused, and all goes on; so it does where a process stands still.
#[test]
fn strays_are_refused_and_who_stands_still_is_noticed() {
    let place = Place::new();
    append(&place, 300, 6);
    let ports = Ports::new(4);
    let mesh = ports.first();
    let serve = mesh + 2;
    place.write("hosts", format!("127.0.0.1:{mesh}\n127.0.0.1:{}\n", mesh + 1));
    let of = |process: u16| {
        format!(
            "run {LOG} --set lake.url=lake --set live.workers=1 --set serve.address=127.0.0.1:{} --process {process} --processes 2 --hosts hosts",
            serve + process
        )
    };
    let leader = Process::start(&place, &of(0), "stderr-0");
    let other = Process::start(&place, &format!("{} --set store.time_zone=Asia/Tokyo", of(1)), "stderr-other");
    let said = |log: &str, words: &str| String::from_utf8_lossy(&place.read(log)).contains(words).then_some(());
    wait_for("another zone is refused", || {
        said("stderr-other", "store.time_zone is \"UTC\" here and \"Asia/Tokyo\" there")
    });
    drop(other);
    let other = Process::start(&place, &format!("{} --set cluster.name=test", of(1)), "stderr-other");
    wait_for("another cluster is refused", || said("stderr-other", "cluster.name is millrace here and test there"));
    drop(other);
    let other = Process::start(&place, &format!("{} --set lake.url=elsewhere", of(1)), "stderr-other");
    wait_for("another lake is named", || said("stderr-other", "lake.url names another place here"));
    drop(other);
    let follower = Process::start(&place, &of(1), "stderr-1");
    let address = format!("127.0.0.1:{}", serve + 1);
    wait_for("an answer", || page_views(&place, &address).filter(|views| *views > 0));

    let mut garbage = TcpStream::connect(("127.0.0.1", mesh)).expect("it listens");
    garbage.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n").expect("it is taken");
    let _silent = TcpStream::connect(("127.0.0.1", mesh + 1)).expect("it listens");
    garbage.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    assert_eq!(garbage.read(&mut [0; 8]).unwrap_or(0), 0, "it is closed and told nothing");
    wait_for("the stray is named", || said("stderr-0", "refused 127.0.0.1:"));
    let views = page_views(&place, &address).expect("an answer");
    append_one(&place, "after the strays", 1);
    wait_for("it goes on", || page_views(&place, &address).filter(|now| *now > views));
    let generation = |log: &str| String::from_utf8_lossy(&place.read(log)).matches("begins: process 1 of 2").count();
    assert_eq!(generation("stderr-1"), 1, "nobody was lost");

    // An engine that stands still: it is noticed, all begin again, and reads go on.
    let stopped = wait_for("an engine", || children(follower.0.id()).first().copied());
    kill(stopped, "STOP");
    wait_for("it is noticed", || said("stderr-0", "this generation ends"));
    assert!(page_views(&place, &address).is_some(), "its parent serves on");
    append_one(&place, "after the silence", 2);
    wait_for("they begin again", || (generation("stderr-1") > 1).then_some(()));
    wait_for("it goes on", || page_views(&place, &address).filter(|now| *now > views + 1));
    drop(follower);
    drop(leader);
    place.ok(&format!("run {LOG} --set lake.url=lake --set serve.address= --until-end --quiet"));
    check(&place, "whole");
}

/// Each process shows a certificate and wants one: what is sent between them is TLS, and who has none from their authority is refused.
#[test]
#[cfg(feature = "serve-tls")]
fn processes_speak_tls_where_they_have_certificates() {
    let place = Place::new();
    append(&place, 800, 8);
    if !certificates(&place, "authority", &["shop"]) || !certificates(&place, "other", &["stranger"]) {
        return super::support::skip("TLS: no openssl to make certificates with");
    }
    let tls = |name: &str, authority: &str| {
        format!(
            "--set cluster.tls_certificate_file={name}.pem --set cluster.tls_key_file={name}.key --set cluster.tls_ca_file={authority}.pem"
        )
    };
    let line = format!("{LOG} --set lake.url=lake --set serve.address=");
    place.ok(&format!("cluster --processes 2 -w 1 {line} {} --until-end --quiet", tls("shop", "authority")));
    check(&place, "whole");
    let ports = Ports::new(2);
    place.write("hosts", format!("127.0.0.1:{}\n127.0.0.1:{}\n", ports.first(), ports.first() + 1));
    let of = |process: u16, tls: &str| {
        format!("run {line} --set live.workers=1 --process {process} --processes 2 --hosts hosts {tls}")
    };
    let _leader = Process::start(&place, &of(0, &tls("shop", "authority")), "stderr-0");
    let said = |words: &str| String::from_utf8_lossy(&place.read("stderr-0")).contains(words).then_some(());
    let stranger = Process::start(&place, &of(1, &tls("stranger", "authority")), "stderr-1");
    wait_for("a stranger's certificate is refused", || said("at the mesh port: TLS:"));
    drop(stranger);
    let _plain = Process::start(&place, &of(1, ""), "stderr-1");
    wait_for("who speaks no TLS waits for ever", || {
        String::from_utf8_lossy(&place.read("stderr-1")).contains("waiting for process 0").then_some(())
    });
    let half = format!("{line} --set cluster.tls_key_file=shop.key");
    let half = Process::start(&place, &format!("cluster --processes 2 {half}"), "stderr-half");
    wait_for("what is missing is named", || {
        String::from_utf8_lossy(&place.read("stderr-half"))
            .contains("cluster.tls_certificate_file is empty")
            .then_some(())
    });
    drop(half);
}

/// Nothing comes for longer than a source is believed to stand still; then records come to partitions of each process.
#[test]
fn records_come_after_a_while_of_silence() {
    let Some(broker) = or_skip(Broker::start(&Options::default())) else { return };
    let place = Place::new();
    let kafka = format!(
        "--set source.kind=kafka --set source.kafka.brokers={} --set source.kafka.topics=[{{name=\"events\"}}] \
         --set horizons.deduplication=unlimited --set horizons.sessions=unlimited --set lake.checkpoint_ms=300",
        broker.bootstrap()
    );
    let send = |seed: u32| {
        place.ok(&format!(
            "generate --events 400 --seed {seed} --start 2026-03-01 --days 2 --kafka {} --partitions 4 --quiet",
            broker.bootstrap()
        ))
    };
    send(1);
    let ports = Ports::new(2);
    let address = format!("127.0.0.1:{}", ports.first());
    let line = format!("cluster --processes 2 -w 1 {kafka} --set lake.url=lake --set serve.address={address}");
    let cluster = Process::start(&place, &line, "stderr");
    let status = || -> Option<serde_json::Value> {
        let done = place.run(&format!("status --addr {address} --format json"));
        (done.code == 0).then(|| serde_json::from_str(&done.out).expect("JSON"))
    };
    let lag = |status: &serde_json::Value| -> Option<u64> {
        let partitions = status["partitions"].as_array().filter(|partitions| partitions.len() == 4)?;
        let left = |one: &serde_json::Value| Some(one["end_offset"].as_u64()? - one["next_offset"].as_u64()?);
        partitions.iter().map(left).sum()
    };
    let read = |status: &serde_json::Value| status["accounting"]["read"].as_u64();
    let first = wait_for("all is read", || status().filter(|now| lag(now) == Some(0)).and_then(|now| read(&now)));
    std::thread::sleep(Duration::from_secs(8));
    send(2);
    let second = wait_for("what came later is read", || {
        status().filter(|now| lag(now) == Some(0)).and_then(|now| read(&now)).filter(|now| *now > first)
    });
    std::thread::sleep(Duration::from_secs(7));
    send(3);
    wait_for("and what came still later", || {
        status().filter(|now| lag(now) == Some(0)).and_then(|now| read(&now)).filter(|now| *now > second)
    });
    let said = String::from_utf8_lossy(&place.read("stderr")).into_owned();
    assert!(!said.contains("this generation ends") && !said.contains("started again"), "{said}");
    cluster.signal("TERM");
    assert_eq!(cluster.ends(), 0, "{}", String::from_utf8_lossy(&place.read("stderr")));
    place.ok(&format!("run {kafka} --set lake.url=whole --set serve.address= --until-end --quiet"));
    for (question, (ours, wanted)) in QUESTIONS.iter().zip(answers(&place, "lake").iter().zip(answers(&place, "whole")))
    {
        assert_eq!(*ours, wanted, "{question}");
    }
}

/// A process that cannot write what it has to ends, and says why; nothing of it counts, and all go on once it can.
#[test]
fn a_process_that_cannot_write_says_so() {
    let place = Place::new();
    append(&place, 300, 9);
    let ports = Ports::new(4);
    let mesh = ports.first();
    place.write("hosts", format!("127.0.0.1:{mesh}\n127.0.0.1:{}\n", mesh + 1));
    let of = |process: u16| {
        format!(
            "run {LOG} --set lake.url=lake --set live.workers=1 --set live.outage_ms=1000 --set serve.address=127.0.0.1:{} \
             --process {process} --processes 2 --hosts hosts",
            mesh + 2 + process
        )
    };
    let _leader = Process::start(&place, &of(0), "stderr-0");
    let mut command = place.command();
    let log = std::fs::File::create(place.path("stderr-1")).expect("a file");
    command.args(of(1).split_whitespace()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.env("MILLTEST_UNRELIABLE", format!("closed:{}", place.path("closed").display()));
    let _follower = Process(command.spawn().expect("it starts"));
    let address = format!("127.0.0.1:{}", mesh + 2);
    let views = wait_for("an answer", || page_views(&place, &address).filter(|views| *views > 0));
    place.write("closed", "");
    append_one(&place, "while its disk is full", 1);
    wait_for("it says so", || {
        String::from_utf8_lossy(&place.read("stderr-1"))
            .contains("this process ends, and with it the generation")
            .then_some(())
    });
    assert!(page_views(&place, &address).is_some(), "the others serve on");
    std::fs::remove_file(place.path("closed")).expect("it is there");
    wait_for("it goes on", || page_views(&place, &address).filter(|now| *now > views));
}

#[test]
fn a_hosts_file_that_does_not_fit_is_usage() {
    let place = Place::new();
    place.write("short", "127.0.0.1:7001\n");
    place.write("twice", "127.0.0.1:7001\n127.0.0.1:7001\n");
    place.write("plain", "127.0.0.1\n127.0.0.1:7001\n");
    let run = format!("run {LOG} --set lake.url=lake --set serve.address=");
    for (hosts, words) in [
        ("short", "1 lines"),
        ("twice", "is there twice"),
        ("plain", "no port"),
        ("nowhere", "reading --hosts nowhere"),
    ] {
        place.fails(&format!("{run} --process 0 --processes 2 --hosts {hosts}"), 2, &[words]);
    }
    place.fails(&format!("{run} --process 2 --processes 2 --hosts twice"), 2, &["--process 2", "0 to 1"]);
    place.fails(&format!("{run} --process 0"), 2, &["--processes"]);
    place.fails(&format!("cluster {LOG} --set serve.address="), 2, &["lake.url"]);
}

/// A read replica shows what the lake holds, and its newer checkpoints as they come. It writes nothing.
#[test]
fn a_replica_follows_a_lake() {
    let place = Place::new();
    append(&place, 300, 7);
    let run = format!("run {LOG} --set lake.url=lake --set serve.address= --until-end --quiet");
    place.ok(&run);
    let ports = Ports::new(1);
    let address = format!("127.0.0.1:{}", ports.first());
    let line = format!("serve --every 50 --set lake.url=lake --set serve.address={address} {LOG}");
    let replica = Process::start(&place, &line, "stderr");
    let before = wait_for("an answer", || page_views(&place, &address));
    let began = epoch(&place, &address).expect("it serves");
    assert_eq!(place.manifest("lake")["epoch"].as_u64(), Some(began), "it answers with the epoch that it has");
    let listed = place.ok("lake files --data-dir lake");
    append_one(&place, "later", 3);
    assert_eq!(page_views(&place, &address), Some(before));
    assert_eq!(place.ok("lake files --data-dir lake"), listed, "a replica writes nothing");
    place.ok(&run);
    wait_for("it follows", || page_views(&place, &address).filter(|now| *now == before + 1));
    assert!(epoch(&place, &address).expect("it serves") > began);
    replica.signal("TERM");
    assert_eq!(replica.ends(), 0);
}
