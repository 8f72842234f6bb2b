//! The rules of the house: what depends on what, and where the outside world may be touched.
//!
//! ```text
//! schema ◀── dataflows ◀── root      schema does no I/O, dataflows knows nothing of files or columns,
//!    ▲────── connectors ◀──┤         connectors knows nothing of dataflows
//!                proto ◀───┘         proto knows nothing of ours: whoever calls us may use it
//! ```

use super::support::manifest_dir;
use std::path::Path;
use toml::{Table, Value};

const SCHEMA: &str = "millrace-schema";
const DATAFLOWS: &str = "millrace-dataflows";
const CONNECTORS: &str = "millrace-connectors";
const PROTO: &str = "millrace-proto";

/// The dependencies of a package, those of its targets and its build included; dev-dependencies are free.
fn dependencies(member: &str) -> Vec<String> {
    let path = manifest_dir().join(member).join("Cargo.toml");
    let manifest: Table = std::fs::read_to_string(&path).expect("a manifest").parse().expect("TOML");
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flatten();
    let places = targets.filter_map(|(_, target)| target.as_table()).chain([&manifest]);
    let sections = places.flat_map(|place| ["dependencies", "build-dependencies"].map(|section| place.get(section)));
    let tables = sections.flatten().filter_map(Value::as_table);
    // A renamed one goes by its own name.
    let name = |(key, value): (&String, &Value)| value.get("package").and_then(Value::as_str).unwrap_or(key).to_owned();
    let names: Vec<String> = tables.flatten().map(name).collect();
    assert!(!names.is_empty(), "{}", path.display());
    names
}

fn check_none(member: &str, forbidden: &[&str]) {
    for dependency in dependencies(member) {
        let found = forbidden.iter().find(|name| dependency == **name || dependency.starts_with(&format!("{name}-")));
        assert!(found.is_none(), "{member} depends on {dependency}: the rule of the house forbids it");
    }
}

#[test]
fn dependencies_point_one_way() {
    let runtimes = ["timely", "differential-dataflow", "tokio", "async", "futures", "mio", "hyper", "reqwest"];
    let formats = ["arrow", "parquet", "flate2", "zstd", "rdkafka", "tempfile", "memmap2"];
    check_none("schema", &[&runtimes[..], &formats, &["millrace"]].concat());
    check_none("dataflows", &[&runtimes[2..], &formats, &[CONNECTORS, "millrace-engine"]].concat());
    check_none("connectors", &["timely", "differential", DATAFLOWS]);
    check_none("schema", &["tonic", "prost"]);
    check_none("dataflows", &["tonic", "prost", PROTO]);
    check_none("connectors", &["tonic", "prost", PROTO]);
    for (member, ours) in [
        ("schema", &[][..]),
        ("dataflows", &[SCHEMA]),
        ("connectors", &[SCHEMA]),
        ("proto", &[]),
        (".", &[CONNECTORS, DATAFLOWS, PROTO, SCHEMA]),
    ] {
        let mut found = dependencies(member);
        found.retain(|name| name.starts_with("millrace"));
        found.sort();
        assert_eq!(found, ours, "{member}");
    }
}

/// Every member is one that the rules above know.
#[test]
fn no_other_members() {
    let manifest: Table =
        std::fs::read_to_string(manifest_dir().join("Cargo.toml")).expect("a manifest").parse().expect("TOML");
    let members: Vec<&str> =
        manifest["workspace"]["members"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(
        members,
        ["schema", "dataflows", "connectors", "proto", "tests/parts"],
        "a new member needs a rule in this file"
    );
}

#[test]
fn the_core_touches_nothing_outside() {
    let forbidden = [
        "std::fs",
        "std::net",
        "std::process",
        "std::env",
        "SystemTime::now",
        "Instant::now",
        "Timestamp::now",
        "Zoned::now",
        "rand::rng",
        "thread_rng",
        "println!",
        "print!",
        "dbg!",
    ];
    let mut files = 0;
    for member in ["schema/src", "dataflows/src"] {
        check_sources(&manifest_dir().join(member), &forbidden, &mut files);
    }
    assert!(files > 30, "only {files} sources were found");
}

/// What is printed past `log` ends a process where nobody reads it any more.
#[test]
fn nothing_is_printed_that_can_fail() {
    let mut files = 0;
    for folder in ["src", "connectors/src"] {
        check_sources(&manifest_dir().join(folder), &["println!", "print!", "dbg!"], &mut files);
    }
    assert!(files > 100, "only {files} sources were found");
}

/// Questions, answers and their errors are plain, so that another wire needs another codec and nothing else.
#[test]
fn reads_and_callers_know_no_protocol() {
    let protocols = ["tonic::", "prost::", "millrace_proto", "http_body", "tower::", "serde_json", "::grpc", "grpc::"];
    let serve = manifest_dir().join("src/serve");
    for folder in ["read", "callers"] {
        let mut files = 0;
        check_sources(&serve.join(folder), &protocols, &mut files);
        assert!(files > 4, "only {files} sources were found in {folder}");
    }
    // Callers are below reads: what is asked is none of their business.
    check_sources(&serve.join("callers"), &["serve::read"], &mut 0);
}

fn check_sources(folder: &Path, forbidden: &[&str], files: &mut usize) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            check_sources(&path, forbidden, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *files += 1;
            let text = std::fs::read_to_string(&path).expect("a source");
            let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
            for (number, line) in code {
                let found = forbidden.iter().find(|word| line.contains(*word));
                assert!(found.is_none(), "{}:{}: {line}", path.display(), number + 1);
            }
        }
    }
}
