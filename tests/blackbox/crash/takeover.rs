//! Two engines on one lake.

use super::input::Input;
use super::shop;
use millrace_parts::or_skip;
use millrace_parts::s3::Moto;
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

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().expect("there is kill").success());
}

fn take_over(stands_still: bool) {
    let Some(moto) = or_skip(Moto::start()) else { return };
    moto.create_bucket("lake").expect("a bucket");
    let (place, lines) = shop();
    let mut input = Input::log(&place, lines);
    input.grow(9);
    let source = input.settings[0].clone();
    let engine = |more: &[&str]| -> Command {
        let mut command = place.command();
        command.env("AWS_ACCESS_KEY_ID", "any").env("AWS_SECRET_ACCESS_KEY", "any").args(["run", "--quiet"]).args(more);
        let endpoint = format!("lake.s3.endpoint={}", moto.endpoint());
        let settings = ["lake.url=s3://lake/x", &endpoint, "lake.s3.path_style=true", "lake.checkpoint_ms=50"];
        for setting in settings.iter().copied().chain(["serve.address=", &source]) {
            command.args(["--set", setting]);
        }
        command.args(["--set", "horizons.deduplication=unlimited", "--set", "horizons.sessions=unlimited"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let manifests = || {
        let listed = moto.request("GET", "/lake?list-type=2&prefix=x/_manifests/0", &[], b"").expect("an answer");
        listed.text.matches("<Key>").count()
    };
    let mut first: Child = engine(&[]).spawn().expect("the binary starts");
    wait_for("the first checkpoint", || manifests() >= 2);
    let before = manifests();
    if stands_still {
        signal(&first, "-STOP");
    }
    let mut second: Child = engine(&[]).spawn().expect("the binary starts");
    wait_for("the second claim", || manifests() > before || manifests() >= 3);
    if stands_still {
        let oldest = || {
            let listed = moto.request("GET", "/lake?list-type=2&prefix=x/_manifests/0", &[], b"").expect("an answer");
            listed.text.split("<Key>x/_manifests/").nth(1).and_then(|rest| rest.get(..12)?.parse::<u64>().ok())
        };
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
    let done = engine(&["--until-end", "--format", "json"]).output().expect("the binary starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let mut verify = place.command();
    verify.env("AWS_ACCESS_KEY_ID", "any").env("AWS_SECRET_ACCESS_KEY", "any");
    verify.args(["verify", "--data-dir", "s3://lake/x", "--set", "lake.s3.path_style=true", "--set"]);
    let done = verify.arg(format!("lake.s3.endpoint={}", moto.endpoint())).output().expect("the binary starts");
    let said = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(said.contains(" 0 answers differ"), "{said}");
}
