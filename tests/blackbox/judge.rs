//! The independent judge: awkward data and an SQL engine's answers to every question. See `tests/judge`.

use super::real_data::data;
use super::support::{Place, manifest_dir, skip};
use std::path::PathBuf;
use std::process::Command;

/// A Python with what the judge asks for: DuckDB, and tables of currencies and zones that are not the engine's.
fn python() -> Option<PathBuf> {
    let python = millrace_parts::python::venv(&manifest_dir().join("tests/judge/requirements.txt"));
    python.map_err(|error| skip(&format!("the judge: {error}"))).ok()
}

fn run(python: &PathBuf, script: &str, arguments: &str) -> (bool, String) {
    let mut command = Command::new(python);
    command.arg(manifest_dir().join("tests/judge").join(script)).args(arguments.split_whitespace());
    // Compiled Python does not belong among the sources.
    let output = command.env("PYTHONDONTWRITEBYTECODE", "1").output().expect("Python starts");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), said)
}

/// Replays data of a seed, and wants at least so many questions to be answered as the judge does.
fn check(seed: u32, events: u32, data: &str, compare: &str, questions: u32) {
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
    assert!(passed >= questions, "only {passed} questions were judged: {verdict}");
}

#[test]
fn several_currencies_in_london() {
    check(1, 8_000, "--currencies", "--time-zone Europe/London --workers 2", 105);
}

#[test]
fn one_currency_and_one_worker() {
    check(2, 6_000, "", "--workers 1", 105);
}

/// Clocks that are set by part of an hour, at midnight, in the middle of an hour, and over a whole day.
#[test]
fn zones_that_are_turned_otherwise() {
    for (seed, zone, around) in [
        (3, "Australia/Lord_Howe", "2026-04-04T15:00:00+00:00"),
        (4, "Pacific/Chatham", "2026-09-26T14:00:00+00:00"),
        (5, "America/Goose_Bay", "2010-11-07T03:01:00+00:00"),
        (6, "Asia/Kathmandu", "1985-12-31T18:30:00+00:00"),
        (7, "Pacific/Apia", "2011-12-30T10:00:00+00:00"),
    ] {
        let compare = format!("--time-zone {zone} --workers 1 --no-filters --views sales,traffic,quality");
        check(seed, 900, &format!("--around {around}"), &compare, 60);
    }
}

/// Inputs that once had wrong answers, stopped an engine or cost too much.
#[test]
fn inputs_that_failed_have_the_right_answers() {
    let Some(python) = python() else { return };
    let (right, said) = run(&python, "cases.py", &format!("--millrace {}", env!("CARGO_BIN_EXE_millrace")));
    assert!(right && said.contains("18 passed, 0 failed"), "{said}");
}

/// The files that the lake lists, read by another engine, before and after they are merged. The larger set takes long in a debug build.
#[test]
fn the_lakes_files_have_the_reference_answers() {
    let set = if cfg!(debug_assertions) { "rees46_sample" } else { "uci_online_retail" };
    let (Some(python), Some(folder)) = (python(), data(set)) else { return };
    let shared = folder.parent().expect("a folder of sets").display();
    let binary = env!("CARGO_BIN_EXE_millrace");
    let (agreed, said) = run(&python, "lake.py", &format!("--millrace {binary} --shared {shared} --sets {set}"));
    assert!(agreed && said.contains("18 passed, 0 failed"), "{said}");
}

/// Nothing of the binary's: it takes its minute in release builds and where everything must be looked at.
#[test]
fn the_judge_judges_itself() {
    if cfg!(debug_assertions) && std::env::var_os("CI").is_none_or(|ci| ci != "true") {
        return;
    }
    let Some(python) = python() else { return };
    for tests in ["test_decode.py", "test_judge.py"] {
        let (sound, said) = run(&python, tests, "");
        assert!(sound, "{said}");
    }
}
