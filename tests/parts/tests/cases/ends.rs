//! A part does not outlive who started it, however that one ends; and who lacks a part is told how to get it.

use millrace_parts::kafka::Broker;
use millrace_parts::or_skip;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const GONE_DEADLINE: Duration = Duration::from_secs(10);

/// The binary with a part that serves.
struct Started {
    binary: Child,
    pid: u64,
    folder: PathBuf,
}

fn start(arguments: &[&str]) -> Started {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-parts"));
    let mut binary = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(binary.stdout.take().expect("it is a pipe")).read_line(&mut line).expect("a line");
    let address: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    let pid = address["pid"].as_u64().expect("a process");
    let folder = PathBuf::from(format!("/proc/{pid}/cwd")).read_link().expect("it runs in its folder");
    assert!(folder.parent().is_some_and(|parent| parent.ends_with("run")), "{}", folder.display());
    Started { binary, pid, folder }
}

impl Started {
    fn check_gone(self) {
        let ended = Instant::now();
        while runs(self.pid) || self.folder.exists() {
            assert!(ended.elapsed() < GONE_DEADLINE, "process {} or {} is left", self.pid, self.folder.display());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// One that has ended but was not waited for does not run: who waits for orphans may take its time.
fn runs(pid: u64) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

fn signal(name: &str, pid: impl std::fmt::Display) {
    let status = Command::new("/bin/sh").args(["-c", "kill \"$1\" \"$2\"", "kill", name, &pid.to_string()]).status();
    assert!(status.expect("a shell").success());
}

#[test]
fn a_broker_is_gone_when_its_parent_is_killed() {
    if or_skip(Broker::shared()).is_none() {
        return;
    }
    let mut started = start(&["kafka", "--properties", "num.partitions=2"]);
    // Not even one that hears nothing stays.
    signal("-STOP", started.pid);
    started.binary.kill().expect("it runs");
    started.binary.wait().expect("it ends");
    started.check_gone();
}

#[test]
fn a_part_is_gone_when_stdin_ends_or_a_signal_comes() {
    if or_skip(millrace_parts::s3::Moto::start()).is_none() {
        return;
    }
    let mut started = start(&["s3"]);
    drop(started.binary.stdin.take());
    assert!(started.binary.wait().expect("it ends").success());
    started.check_gone();

    let mut started = start(&["s3"]);
    signal("-TERM", started.binary.id());
    started.binary.wait().expect("it ends");
    started.check_gone();
}

#[test]
fn what_is_missing_is_said() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    for (part, words) in [("kafka", ["mvn", "apt-get install"]), ("s3", ["python3", "apt-get install"])] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-parts"));
        let command = command.arg(part).env("PATH", "/nowhere").env_remove("JAVA_HOME");
        let output = command.env("MILLTEST_PARTS", cache.path()).stdin(Stdio::null()).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
    let left = |folder: &Path| std::fs::read_dir(folder).expect("a folder").count();
    assert_eq!(left(cache.path()), 1, "nothing but the locks is left of what could not be made");
}

/// The test of S3, without Python.
#[test]
fn a_missing_part_is_a_skip_and_in_ci_a_failure() {
    for (ci, passes, word) in [("", true, "SKIPPED: Python is missing"), ("true", false, "panicked")] {
        let cache = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", "s3::one_of_many_writers_wins"]).env("PATH", "/nowhere").env("CI", ci);
        let output = command.env("MILLTEST_PARTS", cache.path()).output().expect("it runs");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success() == passes && said.contains(word), "CI={ci}: {said}");
    }
}
