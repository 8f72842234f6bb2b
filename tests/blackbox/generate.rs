//! The generator through the binary.

use super::support::{OF_ALL, Place, SHOP, answers, check_equal};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

#[test]
fn equal_options_give_equal_bytes() {
    let place = Place::new();
    place.ok(&format!("{SHOP} a.jsonl"));
    place.ok(&format!("{SHOP} b.jsonl"));
    let a = place.read("a.jsonl");
    assert!(a.iter().filter(|&&byte| byte == b'\n').count() >= 2_500 && a.ends_with(b"\n"));
    assert!(a == place.read("b.jsonl"));
    let printed = place.command().args(SHOP.split_whitespace()).arg("-").output().expect("the binary starts");
    assert!(printed.status.success() && printed.stdout == a, "stdout is a file like any other");
    place.ok(&format!("{} c.jsonl", SHOP.replace("--seed 11", "--seed 12")));
    assert!(a != place.read("c.jsonl"));
}

#[test]
fn a_log_holds_the_lines_of_the_file() {
    let place = Place::new();
    place.ok(&format!("{SHOP} a.jsonl"));
    let to_log = SHOP.replace("--to", "--log");
    place.ok(&format!("{to_log} log --partitions 3"));
    let sorted = |text: &[u8]| {
        let mut lines: Vec<Vec<u8>> = text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        lines.retain(|line| !line.is_empty());
        lines.sort();
        lines
    };
    let mut partitions = Vec::new();
    for partition in 0..3 {
        let name = format!("log/partition={partition:05}/{:020}.jsonl", 0);
        let part = place.read(&name);
        assert!(part.len() > 1_000, "{name} has its share");
        partitions.extend(part);
    }
    assert!(sorted(&partitions) == sorted(&place.read("a.jsonl")));

    let counts = place.replay("a.jsonl", "file", "");
    assert_eq!(place.replay("log", "log-data", "--workers 2"), counts);
    check_equal(&answers(&place, "file", OF_ALL), &answers(&place, "log-data", OF_ALL), "the log");

    // What is appended to a log is in it with what was there.
    place.ok(&format!("{to_log} log --partitions 3"));
    let [read, accepted, duplicates, quarantined, _] = counts;
    let twice = [2 * read, accepted, duplicates + read - quarantined, 2 * quarantined, 0];
    assert_eq!(place.replay("log", "log-data", ""), twice);
    place.fails(&format!("{to_log} log --partitions 4"), 1, &["log", "3"]);
}

/// The lines that somebody reads before they go away, and how the command takes it.
fn check_head(mut child: Child, lines: usize) {
    let mut reader = BufReader::new(child.stdout.take().expect("it is a pipe"));
    let mut line = String::new();
    for _ in 0..lines {
        line.clear();
        assert!(reader.read_line(&mut line).expect("text") > 0, "there are fewer than {lines} lines");
    }
    drop(reader);
    let mut said = String::new();
    child.stderr.take().expect("it is a pipe").read_to_string(&mut said).expect("text");
    assert_eq!((child.wait().expect("it ends").code(), said.as_str()), (Some(0), ""));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::new();
    let start = |line: &str| {
        let mut command = place.command();
        command.args(line.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary starts")
    };
    check_head(start("generate --events 100000000 --seed 1 --products 50 --quiet --to -"), 10);
    place.ok(&format!("{} a.jsonl", SHOP.replace("--products 60", "--products 200")));
    place.replay("a.jsonl", "data", "");
    for format in ["csv", "json", "table"] {
        // More than a pipe holds.
        let question = "query related_products --data-dir data --rank-by n_ab --limit 100000";
        assert!(place.ok(&format!("{question} --format {format}")).len() > 66_000, "it would fit into the pipe");
        check_head(start(&format!("{question} --format {format}")), 3);
    }
}

#[test]
fn mistakes_are_named() {
    let place = Place::new();
    for (more, words) in [
        ("--to a --duplicate-fraction 2", &["fraction"][..]),
        ("--to a --days 0", &["days"]),
        ("--to a --products 0", &["products"]),
        ("--to a --currencies USD,dollars", &["currencies"]),
        ("--to a --start yesterday", &["--start"]),
        ("--to a --log b", &["--log"]),
        ("--to a --partitions 2", &["--partitions"]),
        ("--log a --partitions 0", &["--partitions"]),
        ("", &["--to"]),
    ] {
        place.fails(&format!("generate --events 10 --seed 1 {more}"), 2, words);
    }
    assert!(!place.path("a").exists(), "nothing was written");
    place.fails("generate --events 10 --seed 1 --to nowhere/a.jsonl", 1, &["nowhere/a.jsonl"]);
    place.write("file", "");
    place.fails("generate --events 10 --seed 1 --log file", 1, &["file"]);
}
