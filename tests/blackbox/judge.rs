//! The independent judge: awkward data and an SQL engine's answers to every question. See `tests/judge`.

use super::real_data::data;
use super::support::{Place, manifest_dir, skip};
use std::path::PathBuf;
use std::process::Command;

/// A Python that has DuckDB: that of the parts, or the system's.
fn python() -> Option<PathBuf> {
    let own = manifest_dir().join("target/parts/venv/bin/python");
    let found = [own, PathBuf::from("python3")].into_iter().find(|python| {
        let output = Command::new(python).args(["-c", "import duckdb"]).output();
        output.is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        skip("the judge: no python3 with duckdb; pip install -r tests/judge/requirements.txt");
    }
    found
}

fn run(python: &PathBuf, script: &str, arguments: &str) -> (bool, String) {
    let mut command = Command::new(python);
    command.arg(manifest_dir().join("tests/judge").join(script)).args(arguments.split_whitespace());
    // Compiled Python does not belong among the sources.
    let output = command.env("PYTHONDONTWRITEBYTECODE", "1").output().expect("Python starts");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), said)
}

fn check(seed: u32, events: u32, data: &str, compare: &str) {
    let Some(python) = python() else { return };
    let place = Place::new();
    let folder = place.path("judged");
    let (made, said) =
        run(&python, "make_data.py", &format!("{} --seed {seed} --events {events} {data}", folder.display()));
    assert!(made, "{said}");
    let binary = env!("CARGO_BIN_EXE_millrace");
    let (agreed, said) =
        run(&python, "compare.py", &format!("--millrace {binary} --data {} {compare}", folder.display()));
    let failed: Vec<&str> = said.lines().filter(|line| !line.starts_with("ok ")).collect();
    assert!(agreed, "seed {seed}: {}", failed.join("\n"));
    assert!(!said.contains("not compared"), "{said}");
    let verdict = said.lines().last().unwrap_or_default();
    let passed: u32 = verdict.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
    assert!(passed >= 60, "only {passed} questions were judged: {verdict}");
}

#[test]
fn several_currencies_in_london() {
    check(1, 8_000, "--currencies", "--time-zone Europe/London --workers 2");
}

#[test]
fn one_currency_and_one_worker() {
    check(2, 6_000, "", "--workers 1");
}

/// The files that the lake lists, read by another engine, before and after they are merged. The larger set takes long in a debug build.
#[test]
fn the_lakes_files_have_the_reference_answers() {
    let set = if cfg!(debug_assertions) { "rees46_sample" } else { "uci_online_retail" };
    let (Some(python), Some(folder)) = (python(), data(set)) else { return };
    let shared = folder.parent().expect("a folder of sets").display();
    let binary = env!("CARGO_BIN_EXE_millrace");
    let (agreed, said) = run(&python, "lake.py", &format!("--millrace {binary} --shared {shared} --sets {set}"));
    assert!(agreed && said.contains("16 passed, 0 failed"), "{said}");
}

/// Nothing of the binary's: it takes its minute in release builds and where everything must be looked at.
#[test]
fn the_judge_judges_itself() {
    if cfg!(debug_assertions) && std::env::var_os("CI").is_none_or(|ci| ci != "true") {
        return;
    }
    let Some(python) = python() else { return };
    let (sound, said) = run(&python, "test_judge.py", "");
    assert!(sound, "{said}");
}
