//! Two engines on one lake.

use super::super::support::Place;
use super::input::Input;
use super::shop;
use millrace_parts::or_skip;
use millrace_parts::s3::Moto;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

fn wait_for(what: &str, mut wanted: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !wanted() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// In a folder, the second is told that it is taken.
#[test]
fn a_folder_has_one_engine() {
    let (place, lines) = shop();
    let mut input = Input::log(&place, lines);
    input.grow(1);
    let line = format!("run --quiet --set serve.address= --set lake.url=lake --set {}", input.settings[0]);
    let mut first = place.command().args(line.split(' ')).stderr(Stdio::null()).spawn().expect("the binary starts");
    wait_for("the first claim", || place.path("lake/_manifests/000000000001.json").exists());
    place.fails(&line, 1, &["another process writes to lake"]);
    first.kill().expect("it is ours");
    first.wait().expect("it is dead");
}

/// Where there is no lock, the one that started last goes on, and the other stops and has changed nothing.
#[test]
fn the_last_to_start_goes_on() {
    take_over(false);
}

/// Likewise where it stood still for so long that the number of its next manifest is free again.
#[test]
fn one_that_stood_still_does_not_go_on_either() {
    take_over(true);
}

const OTHER_ZONE: &str = "store.time_zone=Europe/London";
const OTHER_SETTINGS: &str = "has views of another definition: sales (store.time_zone: UTC, now Europe/London)";

/// One that could not go on is refused before it takes anything over: the other goes on.
#[test]
fn one_that_cannot_go_on_takes_nothing_over() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("serve.address={}", taken.local_addr().expect("it listens"));
    let nobody = [
        "source.kind=kafka",
        "source.kafka.brokers=127.0.0.1:1",
        "source.kafka.topics=[{name=\"events\"}]",
        "source.kafka.connect_timeout_ms=300",
        "live.outage_ms=0",
    ];
    let no_log = "source.log.paths=['elsewhere']";
    beside_an_engine(&[
        (Other::Run, &["source.log.paths=[]"], 2, "source.log.paths"),
        (Other::Run, &[no_log], 1, "opening source.log.paths"),
        (Other::Run, &[no_log, "lake.repair_at_start=true"], 1, "opening source.log.paths"),
        (Other::Run, &nobody, 1, "no broker of 127.0.0.1:1 answered"),
        (Other::Run, &[&address], 1, "(serve.address)"),
    ]);
}

/// Nor does a repair that does not fit, or has nothing to do.
#[test]
fn a_repair_of_nothing_takes_nothing_over() {
    beside_an_engine(&[
        (Other::Repair(&[]), &[], 0, ": 0 records were pending"),
        (Other::Repair(&["--all"]), &[OTHER_ZONE], 1, OTHER_SETTINGS),
    ]);
}

/// What is started beside an engine.
enum Other {
    Run,
    Repair(&'static [&'static str]),
}

/// Under some settings each ends with a code and says something, and the engine goes on.
fn beside_an_engine(others: &[(Other, &[&str], i32, &str)]) {
    let Some(moto) = or_skip(Moto::start()) else { return };
    let lake = Shared::new(&moto);
    let mut input = lake.input();
    let mut first: Child = lake.engine(&input, &[]).spawn().expect("the binary starts");
    wait_for("the first checkpoint", || lake.manifests() >= 2);
    for (number, (other, settings, code, words)) in others.iter().enumerate() {
        let mut command = match other {
            Other::Run => lake.engine(&input, &[]),
            Other::Repair(more) => lake.command(&[&["repair", "--data-dir", "s3://lake/x"], *more].concat()),
        };
        command.args(settings.iter().flat_map(|setting| ["--set", *setting]));
        let done = command.stdout(Stdio::piped()).output().expect("the binary starts");
        let said = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(done.status.code() == Some(*code) && said.contains(words), "{settings:?}: {said}");
        let before = lake.newest();
        input.grow(others.len() - number);
        wait_for(&format!("another checkpoint of the first after {settings:?}"), || lake.newest() > before);
        assert_eq!(first.try_wait().expect("it is ours"), None, "{settings:?}");
    }
    first.kill().expect("it is ours");
    first.wait().expect("it is dead");
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().expect("there is kill").success());
}

/// A lake in a bucket, where there is no lock.
struct Shared<'a> {
    moto: &'a Moto,
    place: Place,
    lines: Vec<Vec<u8>>,
}

impl<'a> Shared<'a> {
    fn new(moto: &'a Moto) -> Shared<'a> {
        moto.create_bucket("lake").expect("a bucket");
        let (place, lines) = shop();
        Shared { moto, place, lines }
    }

    /// A part of the records; the rest is yet to come.
    fn input(&self) -> Input {
        let mut input = Input::log(&self.place, self.lines.clone());
        input.grow(9);
        input
    }

    /// A command that reaches the bucket.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.place.command();
        command.env("AWS_ACCESS_KEY_ID", "any").env("AWS_SECRET_ACCESS_KEY", "any").args(words);
        let endpoint = format!("lake.s3.endpoint={}", self.moto.endpoint());
        let horizons = ["horizons.deduplication=unlimited", "horizons.sessions=unlimited"];
        for setting in [&endpoint, "lake.s3.path_style=true"].into_iter().chain(horizons) {
            command.args(["--set", setting]);
        }
        command
    }

    fn engine(&self, input: &Input, more: &[&str]) -> Command {
        let mut command = self.command(&[&["run", "--quiet"], more].concat());
        for setting in ["lake.url=s3://lake/x", "lake.checkpoint_ms=50", "serve.address=", &input.settings[0]] {
            command.args(["--set", setting]);
        }
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// The numbers of the manifests that there are, as texts of one length.
    fn numbers(&self) -> Vec<String> {
        let listed = self.moto.request("GET", "/lake?list-type=2&prefix=x/_manifests/0", &[], b"").expect("an answer");
        let numbers = listed.text.split("<Key>x/_manifests/").skip(1).filter_map(|rest| rest.get(..12));
        numbers.map(str::to_owned).collect()
    }

    fn manifests(&self) -> usize {
        self.numbers().len()
    }

    fn newest(&self) -> Option<String> {
        self.numbers().into_iter().max()
    }
}

fn take_over(stands_still: bool) {
    let Some(moto) = or_skip(Moto::start()) else { return };
    let lake = Shared::new(&moto);
    let mut input = lake.input();
    let manifests = || lake.manifests();
    let mut first: Child = lake.engine(&input, &[]).spawn().expect("the binary starts");
    wait_for("the first checkpoint", || manifests() >= 2);
    let before = manifests();
    if stands_still {
        signal(&first, "-STOP");
    }
    let mut second: Child = lake.engine(&input, &[]).spawn().expect("the binary starts");
    wait_for("the second claim", || manifests() > before || manifests() >= 3);
    if stands_still {
        let oldest = || lake.numbers().first().and_then(|number| number.parse::<u64>().ok());
        let first_number = oldest().expect("there is one") + before as u64;
        for left in [9, 8, 7, 6, 5, 4, 3, 2] {
            input.grow(left);
            std::thread::sleep(Duration::from_millis(200));
        }
        wait_for("that manifests expire", || oldest() > Some(first_number));
        signal(&first, "-CONT");
    }
    // The first has something to commit, and finds that it may not.
    input.grow(1);
    let mut ended = None;
    wait_for("the end of the first", || {
        ended = first.try_wait().expect("it is ours");
        ended.is_some()
    });
    assert_eq!(ended.and_then(|status| status.code()), Some(1));
    let mut said = String::new();
    std::io::Read::read_to_string(&mut first.stderr.take().expect("it is a pipe"), &mut said).expect("text");
    assert!(said.contains("another engine has taken over s3://lake/x") && !said.contains("panicked"), "{said}");
    second.kill().expect("it is ours");
    second.wait().expect("it is dead");
    let done = lake.engine(&input, &["--until-end", "--format", "json"]).output().expect("the binary starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let done = lake.command(&["verify", "--data-dir", "s3://lake/x"]).output().expect("the binary starts");
    let said = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(said.contains(" 0 answers differ"), "{said}");
}
