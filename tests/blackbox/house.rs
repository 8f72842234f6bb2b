//! The rules of the house: what depends on what, and where the outside world may be touched.
//!
//! ```text
//! schema ◀── dataflows ◀── root      schema does no I/O, dataflows knows nothing of files or columns,
//!    ▲────── connectors ◀──┤         connectors knows nothing of dataflows
//!                proto ◀───┘         proto knows nothing of ours: whoever calls us may use it
//! ```
//! Within the root package the rooms of `src` lie on floors, and look down only: see [`FLOORS`].

use super::support::manifest_dir;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

const SCHEMA: &str = "millrace-schema";
const DATAFLOWS: &str = "millrace-dataflows";
const CONNECTORS: &str = "millrace-connectors";
const PROTO: &str = "millrace-proto";

/// The rooms of `src`, from the roof to the cellar. A room may use those on lower floors, and none beside it or above.
const FLOORS: [&[&str]; 10] = [
    &["cli"],
    &["commands", "demo"],
    &["live"],
    &["sinks"],
    &["checkpoint"],
    &["ingest", "mesh", "metrics"],
    &["log"],
    &["settings"],
    &["client", "generate", "memory", "output", "serve"],
    &["allocator", "clock", "durations", "numbers"],
];

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
    check_none("dataflows", &[&runtimes[2..], &formats, &[CONNECTORS]].concat());
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

#[test]
fn no_arrow_of_a_room_runs_up() {
    let src = manifest_dir().join("src");
    let mut rooms = BTreeSet::new();
    let mut files = Vec::new();
    sources(&src, &mut files);
    for path in &files {
        let module = module_of(path.strip_prefix(&src).expect("it is below src"));
        let Some(room) = module.first() else { continue };
        rooms.insert(room.clone());
        let text = std::fs::read_to_string(path).expect("a source");
        for (line, used) in arrows(&module, &text) {
            let fault = fault(room, &used);
            assert!(fault.is_none(), "{}:{line}: {}", path.display(), fault.unwrap_or_default());
        }
    }
    let known: BTreeSet<String> = FLOORS.concat().into_iter().map(str::to_owned).collect();
    assert_eq!(rooms, known, "a room of `src` has a floor in this file, and a floor has rooms that are there");
}

/// The rule can fail.
#[test]
fn an_arrow_that_runs_up_is_found() {
    let check = |module: &[&str], text: &str, expected: &[(usize, &str)]| {
        let module: Vec<String> = module.iter().map(|part| (*part).to_owned()).collect();
        let found = arrows(&module, text);
        let found: Vec<(usize, &str)> = found.iter().map(|(line, room)| (*line, room.as_str())).collect();
        assert_eq!(found, expected, "{text}");
    };
    check(
        &["live", "feed"],
        "use crate::cli::print;\n// crate::cli\nlet x = crate::log::info(1);",
        &[(1, "cli"), (3, "log")],
    );
    check(&["live", "feed"], "use super::pace;\nuse super::super::cli::Format;", &[(2, "cli")]);
    let nested = "mod tests {\n    use super::super::pace;\n    use super::super::super::serve::Board;\n}\nuse super::super::cli;";
    check(&["live", "feed"], nested, &[(3, "serve"), (5, "cli")]);
    check(&["log"], "use super::live::Clock;", &[(1, "live")]);
    check(&["live"], "use crate::{cli, serve::Board};", &[(1, "{")]);
    check(&["live"], "pub(crate) use run::Live; // crate::cli", &[]);
    assert!(fault("live", "cli").is_some_and(|fault| fault.contains("runs up")));
    assert!(fault("commands", "demo").is_some() && fault("live", "{").is_some() && fault("live", "attic").is_some());
    assert_eq!((fault("live", "checkpoint"), fault("live", "live")), (None, None));
}

/// What is wrong with one room's use of another.
fn fault(room: &str, used: &str) -> Option<String> {
    let floor = |room: &str| FLOORS.iter().position(|rooms| rooms.contains(&room));
    if used == "{" {
        return Some("a room that is used has a line of its own: `use crate::room::…`".to_owned());
    }
    match (floor(room), floor(used)) {
        (Some(from), Some(to)) if room == used || from < to => None,
        (Some(_), Some(_)) => Some(format!("`{room}` uses `{used}`: an arrow of the house runs up")),
        _ => Some(format!("`{room}` or `{used}` has no floor in this file")),
    }
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The module that a file is, by its path below `src`; none for the two roots, which see everything.
fn module_of(path: &Path) -> Vec<String> {
    let path = path.with_extension("");
    let parts = path.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    parts.filter(|part| !["mod", "lib", "main"].contains(&part.as_str())).collect()
}

/// The rooms that a module uses, each with the number of its line. Sources are as rustfmt leaves them, so a module in a file ends where a
/// brace stands as far in as it began.
fn arrows(module: &[String], text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut inner: Vec<usize> = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let code = line.split("//").next().unwrap_or_default();
        let indent = code.len() - code.trim_start().len();
        let code = code.trim();
        if code == "}" && inner.last() == Some(&indent) {
            inner.pop();
        }
        let depth = module.len() + inner.len();
        if code.ends_with('{')
            && code.split(" {").next().is_some_and(|head| head.split(' ').rev().nth(1) == Some("mod"))
        {
            inner.push(indent);
        }
        let is_in_name = |c: char| c.is_alphanumeric() || c == '_';
        for (at, _) in code.match_indices("crate::").chain(code.match_indices("super::")) {
            let before = &code[..at];
            if before.ends_with(is_in_name) || before.ends_with("::") {
                continue;
            }
            let mut rest = &code[at..];
            let mut up = 0;
            if let Some(of_root) = rest.strip_prefix("crate::") {
                (rest, up) = (of_root, depth);
            }
            while let Some(above) = rest.strip_prefix("super::") {
                (rest, up) = (above, up + 1);
            }
            if up >= depth {
                let name = rest.split(|c| !is_in_name(c)).next().unwrap_or_default();
                found.push((number, if rest.starts_with('{') { "{" } else { name }.to_owned()));
            }
        }
    }
    found
}
