//! Lakes of programs that were released open in this one: answers, going on, and what is said of each kind of damage.
//!
//! `tests/lakes/<format>/` has the lake as a program of that format left it, the log that it was read from, what that program answered,
//! and what comes after that; `tests/lakes.sh` makes it.

use super::support::{Answer, Place, accounting, manifest_dir};
use millrace::checkpoint::Manifest;
use millrace_connectors::source::log::LogWriter;
use std::fs;
use std::path::{Path, PathBuf};

/// Those that are checked in.
const FORMATS: [&str; 1] = ["v2"];

const RUN: &str = "run --quiet --until-end --format json --set serve.address= --set source.log.paths=['shop-log'] \
    --set lake.url=lake --set lake.checkpoint_ms=20 --set live.epoch_records=60 --set lake.sync=false \
    --set horizons.deduplication=12d --set horizons.sessions=10d --set views.allowed_lateness_ms=1000";
const HORIZONS: &str =
    "--set horizons.deduplication=12d --set horizons.sessions=10d --set views.allowed_lateness_ms=1000";

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.expect("listed");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).expect("it is copied");
        }
    }
}

fn fixture(format: &str) -> PathBuf {
    manifest_dir().join("tests/lakes").join(format)
}

/// A copy of the lake, and of the log that it was read from.
fn lake(format: &str) -> Place {
    let place = Place::new();
    copy(&fixture(format).join("lake"), &place.path("lake"));
    copy(&fixture(format).join("shop-log"), &place.path("shop-log"));
    place
}

fn append_next(place: &Place, format: &str) {
    let mut log = LogWriter::open(&place.path("shop-log"), 2, 1 << 26).expect("a log");
    let lines = fs::read(fixture(format).join("next.jsonl")).expect("it is there");
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    for (number, line) in (0..).zip(lines) {
        log.append(number % 2, line).expect("it is appended");
    }
    log.flush().expect("it is written");
}

/// What the program of that time answered.
fn answered(format: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(fixture(format).join("answers.txt")).expect("it is there");
    let blocks = text.split("# ").filter(|block| !block.is_empty());
    let answers = blocks.map(|block| block.split_once('\n').expect("a question and its answer"));
    answers.map(|(question, answer)| (question.to_owned(), answer.to_owned())).collect()
}

fn newest(place: &Place) -> (PathBuf, Manifest) {
    let listed = fs::read_dir(place.path("lake/_manifests")).expect("a folder").map(|entry| entry.expect("it").path());
    let path = listed.filter(|path| path.is_file()).max().expect("there is one");
    let manifest = Manifest::of_bytes(&fs::read(&path).expect("it is there")).expect("it is whole");
    (path, manifest)
}

#[test]
fn a_lake_of_every_released_format_opens_answers_and_goes_on() {
    for format in FORMATS {
        let place = lake(format);
        for (question, answer) in answered(format) {
            assert_eq!(place.csv("lake", &question), answer, "{format}: {question}");
        }
        let quarantined = place.table("lake", "quarantine").rows.len();
        assert!(quarantined > 0, "{format}: it has a quarantine");
        assert!(place.ok("verify --data-dir lake").contains(" 0 answers differ"), "{format}");
        let before = accounting(&place.ok(RUN));
        assert!(before[4] > 0, "{format}: it has pending records: {before:?}");
        append_next(&place, format);
        let after = accounting(&place.ok(RUN));
        assert!(after[1] > before[1] && after[2] > before[2], "{format}: new ones and copies: {before:?} {after:?}");
        assert_eq!(after[3], before[3], "{format}: a copy is no conflict");
        assert!(place.ok("verify --data-dir lake").contains(" 0 answers differ"), "{format}");
        // What this program has written is read like what it has found.
        place.ok(&format!("repair --data-dir lake {HORIZONS}"));
        assert!(place.ok("verify --data-dir lake").contains(" 0 answers differ"), "{format}");
        place.ok("lake export sales --data-dir lake --to out");
    }
}

fn files_of(place: &Place, kind: &str) -> Vec<PathBuf> {
    let files = Answer::of_csv(&place.ok(&format!("lake files --data-dir lake --format csv --kind {kind}")));
    files.column("path").into_iter().map(|path| place.path("").join(path)).collect()
}

fn change_a_byte(path: &Path) {
    let mut bytes = fs::read(path).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("it is ours");
}

/// What is said of a kind of damage by those who write and by those who look, and whether `repair --all` mends it.
struct Damage {
    what: &'static str,
    make: fn(&Place),
    run: Result<&'static [&'static str], &'static [&'static str]>,
    verify: Result<&'static [&'static str], &'static [&'static str]>,
    mends: bool,
}

const DAMAGES: [Damage; 7] = [
    Damage {
        what: "the newest manifest is torn",
        make: |place| {
            let (path, _) = newest(place);
            let bytes = fs::read(&path).expect("it is there");
            fs::write(&path, &bytes[..bytes.len() / 2]).expect("it is ours");
        },
        run: Ok(&["manifest", "is passed over", "its end is missing"]),
        verify: Ok(&["is passed over"]),
        mends: true,
    },
    Damage {
        what: "an event file is missing",
        make: |place| fs::remove_file(&files_of(place, "events")[0]).expect("it is ours"),
        run: Ok(&["is not there", "answers go on being right"]),
        verify: Err(&["missing or damaged", "restore it from a copy"]),
        mends: false,
    },
    Damage {
        what: "a byte of a view's file is another",
        make: |place| {
            let (_, manifest) = newest(place);
            let view = manifest.views.iter().find(|view| view.name == "sales").expect("it is kept");
            change_a_byte(&place.path("lake").join(&view.snapshot.as_ref().expect("there is one").key));
        },
        run: Err(&["is not what its manifest says", "repair --all --data-dir lake"]),
        verify: Err(&["is not what its manifest says", "repair --all --data-dir lake"]),
        mends: true,
    },
    Damage {
        what: "a file of names is missing",
        make: |place| {
            let (_, manifest) = newest(place);
            fs::remove_file(place.path("lake").join(&manifest.state.names[0].key)).expect("it is ours");
        },
        run: Err(&["_state/names/", "restore it from a copy", "repair --all --data-dir lake"]),
        verify: Err(&["missing or damaged", "repair --all --data-dir lake"]),
        mends: true,
    },
    Damage {
        what: "a file of the state is cut off",
        make: |place| {
            let (_, manifest) = newest(place);
            let state = manifest.state.base.iter().chain(&manifest.state.deltas).next().expect("there is one");
            let path = place.path("lake").join(&state.key);
            let bytes = fs::read(&path).expect("it is there");
            fs::write(path, &bytes[..bytes.len() - 9]).expect("it is ours");
        },
        run: Err(&["has another size", "repair --all --data-dir lake"]),
        verify: Err(&["missing or damaged", "repair --all --data-dir lake"]),
        mends: true,
    },
    Damage {
        what: "a file of rejected records is missing",
        make: |place| fs::remove_file(&files_of(place, "quarantine")[0]).expect("it is ours"),
        run: Ok(&["is not there", "answers go on being right"]),
        verify: Err(&["missing or damaged", "restore it from a copy"]),
        mends: false,
    },
    Damage {
        what: "all manifests are gone",
        make: |place| {
            let listed = fs::read_dir(place.path("lake/_manifests")).expect("a folder");
            let paths = listed.map(|entry| entry.expect("listed").path()).filter(|path| path.is_file());
            paths.for_each(|path| fs::remove_file(path).expect("it is ours"));
        },
        run: Err(&["no manifest", "repair --all --data-dir lake"]),
        verify: Err(&["no manifest", "repair --all"]),
        mends: true,
    },
];

#[test]
fn of_each_kind_of_damage_it_is_said_what_to_do_and_that_helps() {
    for format in FORMATS {
        for Damage { what, make, run, verify, mends } in DAMAGES {
            let label = format!("{format}: {what}");
            let check = |line: &str, expected: Result<&[&str], &[&str]>| {
                let place = lake(format);
                make(&place);
                let done = place.run(line);
                let (code, words) = match expected {
                    Ok(words) => (0, words),
                    Err(words) => (1, words),
                };
                assert_eq!(done.code, code, "{label}: {line}: {} {}", done.out, done.err);
                for word in words {
                    let said = [&done.err, &done.out].iter().any(|text| text.contains(word));
                    assert!(said, "{label}: {line}: {word:?} is not in {} {}", done.out, done.err);
                }
                assert!(!done.err.contains("panicked"), "{label}: {}", done.err);
            };
            check(RUN, run);
            check("verify --data-dir lake", verify);

            let place = lake(format);
            make(&place);
            let done = place.run(&format!("repair --all --data-dir lake {HORIZONS}"));
            if mends {
                assert_eq!(done.code, 0, "{label}: {}", done.err);
                assert!(place.ok("verify --data-dir lake").contains(" 0 answers differ"), "{label}");
                append_next(&place, format);
                place.ok(RUN);
                assert!(place.ok("verify --data-dir lake").contains(" 0 answers differ"), "{label}");
            } else {
                assert!(!done.err.contains("panicked"), "{label}: {}", done.err);
            }
        }
    }
}

/// The manifest of a later program, with fields and settings that this one does not know, and then with a feature.
#[test]
fn a_lake_of_a_later_program_is_read_as_far_as_it_may_be() {
    let place = lake("v2");
    let (path, _) = newest(&place);
    let text = fs::read_to_string(&path).expect("text");
    let (_, body) = text.split_once('\n').expect("a head");
    let mut body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let write = |body: &serde_json::Value| {
        let body = body.to_string();
        let sum = xxhash_rust::xxh3::xxh3_64(body.as_bytes());
        fs::write(&path, format!("millrace-manifest 2 {sum:016x}\n{body}\n")).expect("it is ours");
    };
    body["sinks"] = serde_json::json!([{ "name": "warehouse", "epoch": 3 }]);
    body["settings"]["views"]["customers"] = serde_json::json!({ "segments": 4 });
    write(&body);
    for (question, answer) in answered("v2") {
        assert_eq!(place.csv("lake", &question), answer, "a field more: {question}");
    }
    place.ok(RUN);

    let place = lake("v2");
    body["requires"] = serde_json::json!(["rows_by_month"]);
    let path = newest(&place).0;
    let body = body.to_string();
    let sum = xxhash_rust::xxh3::xxh3_64(body.as_bytes());
    fs::write(&path, format!("millrace-manifest 2 {sum:016x}\n{body}\n")).expect("it is ours");
    for line in [RUN, "query sales --data-dir lake", "verify --data-dir lake"] {
        place.fails(line, 1, &["another version of millrace", "rows_by_month"]);
    }
}
