//! Replays of one history told in many ways give the same answers, to the byte.

use super::support::{OF_ALL, OF_EVENTS, Place, SHOP, answers, check_equal};
use millrace_connectors::lake::{Column, Columns, Compression, TextBuilder, write_table};
use millrace_connectors::source::{ReadOptions, Source, open};
use millrace_connectors::store::{Local, Store};
use millrace_schema::calendar::parse_rfc3339;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

/// A place with `shop.jsonl` and its replay in `whole`.
fn shop(options: &str) -> Place {
    let place = Place::new();
    place.ok(&format!("{options} shop.jsonl"));
    place.replay("shop.jsonl", "whole", "");
    place
}

fn clean_shop() -> Place {
    shop(&SHOP.replace("--malformed-fraction 0.03", "--malformed-fraction 0"))
}

fn lines(place: &Place) -> Vec<Vec<u8>> {
    place.read("shop.jsonl").split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// The number of each line that the replay in `whole` has put into quarantine.
fn rejected(place: &Place) -> BTreeSet<usize> {
    let ends = lines(place).into_iter().scan(0, |end, line| {
        *end += line.len();
        Some(*end)
    });
    let starts: Vec<String> = [0].into_iter().chain(ends).map(|start| start.to_string()).collect();
    let offsets = place.table("whole", "quarantine");
    let line = |offset: &str| starts.iter().position(|start| start == offset).expect("a line begins there");
    offsets.column("offset").into_iter().map(line).collect()
}

fn shuffled<T>(mut items: Vec<T>) -> Vec<T> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for place in (1..items.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(place, (state >> 33) as usize % (place + 1));
    }
    items
}

#[test]
fn every_line_is_accounted_for() {
    let place = Place::new();
    let said = place.run(&format!("{} shop.jsonl", SHOP.replace("--quiet", ""))).err;
    let count = |word: &str| -> u64 {
        let words: Vec<&str> = said.split_whitespace().map(|text| text.trim_matches(['(', ')', ','])).collect();
        let at = words.iter().position(|text| *text == word).unwrap_or_else(|| panic!("no {word} in {said}"));
        words[at - 1].parse().expect("a number")
    };
    let (read, duplicates, malformed) = (count("lines"), count("duplicates"), count("malformed"));
    assert!(duplicates > 50 && malformed > 50, "{said}");
    let expected = [read, read - duplicates - malformed, duplicates, malformed, 0];
    assert_eq!(place.replay("shop.jsonl", "data", ""), expected);

    let total = place.table("data", "quality");
    let counts: Vec<String> = expected.map(|count| count.to_string()).to_vec();
    assert_eq!(total.pick("read accepted duplicates quarantined pending"), [counts.join(" ")]);
    assert_eq!(place.table("data", "quarantine").rows.len() as u64, malformed);
    let by_rule = place.table("data", "quality --group-by rule").column("quarantined").join(" ");
    let by_rule: u64 = by_rule.split(' ').map(|count| count.parse::<u64>().expect("a number")).sum();
    assert_eq!(by_rule, malformed);
}

#[test]
fn workers_and_epochs_change_nothing() {
    let place = shop(SHOP);
    let whole = answers(&place, "whole", OF_ALL);
    let mut epochs = BTreeSet::new();
    for (workers, epoch_records) in [(1, 1_000), (2, 50_000), (2, 7), (3, 1_000), (3, 1)] {
        let label = format!("{workers} workers, epochs of {epoch_records}");
        let settings = format!("--workers {workers} --set replay.epoch_records={epoch_records}");
        place.replay("shop.jsonl", "other", &settings);
        check_equal(&whole, &answers(&place, "other", OF_ALL), &label);
        epochs.insert(place.manifest("other")["epoch"].as_u64().expect("a number"));
    }
    assert!(epochs.len() == 4 && epochs.last() > Some(&2_500), "the epochs were not cut as asked: {epochs:?}");
}

#[test]
fn the_order_of_lines_changes_nothing() {
    let place = shop(SHOP);
    place.write("shuffled.jsonl", shuffled(lines(&place)).concat());
    place.replay("shuffled.jsonl", "shuffled", "--workers 2 --set replay.epoch_records=300");
    check_equal(&answers(&place, "whole", OF_ALL), &answers(&place, "shuffled", OF_ALL), "shuffled");
}

#[test]
fn what_is_sent_twice_counts_once() {
    let place = shop(SHOP);
    let (all, rejected) = (lines(&place), rejected(&place));
    let again: BTreeSet<usize> = shuffled((0..all.len()).collect()).into_iter().take(all.len() / 10).collect();
    let bad = again.intersection(&rejected).count() as u64;
    let [read, accepted, duplicates, quarantined, _] = place.replay("shop.jsonl", "whole", "");
    let copies: Vec<u8> = again.iter().flat_map(|&line| all[line].clone()).collect();
    place.write("copies.jsonl", copies);
    let more = again.len() as u64;
    let expected = [read + more, accepted, duplicates + more - bad, quarantined + bad, 0];
    let whole = answers(&place, "whole", OF_EVENTS);
    for (label, paths) in [("after", "shop.jsonl copies.jsonl"), ("before", "copies.jsonl shop.jsonl")] {
        assert_eq!(place.replay(paths, "twice", "--workers 2 --set replay.epoch_records=500"), expected, "{label}");
        check_equal(&whole, &answers(&place, "twice", OF_EVENTS), label);
    }
}

#[test]
fn packed_piped_and_cut_up_inputs_are_one_history() {
    let place = shop(SHOP);
    let text = place.read("shop.jsonl");
    let middle = lines(&place)[..900].concat().len();
    let (head, tail) = text.split_at(middle);
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes all")
    };
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).expect("memory takes all");
    // Members and frames may follow one another, and need not end with a line.
    place.write("shop.jsonl.gz", [gzip(&text[..middle - 7]), gzip(&text[middle - 7..])].concat());
    place.write("shop.zst", [zstd(&text[..100]), zstd(&text[100..])].concat());
    place.write("folder/a.jsonl", head);
    place.write("folder/deeper/b.ndjson.gz", gzip(tail));
    place.write("folder/notes.txt", "not an input");
    place.write("folder/_SUCCESS.json", "not an input");
    place.write("no_newline.jsonl", text.trim_ascii_end());
    let whole = answers(&place, "whole", OF_ALL);
    for path in ["shop.jsonl.gz", "shop.zst", "folder", "no_newline.jsonl"] {
        place.replay(path, "other", "--workers 2");
        check_equal(&whole, &answers(&place, "other", OF_ALL), path);
    }
    let piped = place.run_with("replay - --data-dir other --quiet --format json", &text);
    assert_eq!(piped.code, 0, "{}", piped.err);
    check_equal(&whole, &answers(&place, "other", OF_ALL), "a pipe");
}

#[test]
fn a_log_and_parquet_are_one_history() {
    let place = clean_shop();
    let whole = answers(&place, "whole", OF_ALL);
    let to_log = SHOP.replace("--malformed-fraction 0.03", "--malformed-fraction 0").replace("--to", "--log");
    place.ok(&format!("{to_log} log --partitions 3"));
    place.replay("log", "other", "--workers 2");
    check_equal(&whole, &answers(&place, "other", OF_ALL), "a log");

    write_parquet(&place.read("shop.jsonl"), &place.path("shop.parquet"));
    place.replay("shop.parquet", "other", "--workers 2");
    check_equal(&whole, &answers(&place, "other", OF_ALL), "Parquet");
}

/// The lines as a table that another program could have written: times and decimals, not text.
fn write_parquet(text: &[u8], path: &Path) {
    const MONEY: [&str; 5] = ["price_paid", "unit_price", "amount", "price", "cost"];
    let parse = |line: &[u8]| serde_json::from_slice::<Map<String, Value>>(line).expect("the shop is clean");
    let rows: Vec<_> = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(parse).collect();
    let names: BTreeSet<&String> = rows.iter().flat_map(Map::keys).collect();
    let mut table = Columns::default();
    for name in names {
        let values = rows.iter().map(|row| row.get(name));
        let first = values.clone().flatten().next().expect("a name is of a field");
        table.push(
            name,
            match first {
                _ if MONEY.contains(&name.as_str()) => Column::Decimal {
                    scale: 3,
                    values: values.map(|value| value.map(|value| thousandths(value).into())).collect(),
                },
                Value::String(text) if parse_rfc3339(text).is_some() => {
                    let time = |value: &Value| parse_rfc3339(value.as_str().expect("a text")).expect("a time");
                    Column::Timestamp(values.map(|value| value.map(time)).collect())
                }
                Value::String(_) => {
                    let mut texts = TextBuilder::default();
                    values.for_each(|value| texts.push(value.map(|value| value.as_str().expect("a text"))));
                    Column::Text(texts.finish())
                }
                Value::Number(_) => {
                    Column::Int(values.map(|value| value.map(|value| value.as_i64().expect("an integer"))).collect())
                }
                other => panic!("{name} is {other}"),
            },
        );
    }
    let (folder, name) = (path.parent().expect("a folder"), path.file_name().expect("a name").to_string_lossy());
    let store: Arc<dyn Store> = Arc::new(Local::new(folder, false));
    write_table(&store, &name, &table, Compression::Zstd).expect("it can be written");
}

/// A decimal of at most three places, exactly.
fn thousandths(number: &Value) -> i64 {
    let text = number.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    assert!(fraction.len() <= 3, "{text}");
    format!("{whole}{fraction:0<3}").parse().expect("digits")
}

#[test]
fn event_files_hold_each_accepted_event_once_and_replay_to_the_same() {
    let place = shop(SHOP);
    let rejected = rejected(&place);
    let good = lines(&place).into_iter().enumerate().filter(|(line, _)| !rejected.contains(line));
    let mut expected: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut dimensions = BTreeSet::new();
    for (_, line) in good {
        let record: Map<String, Value> = serde_json::from_slice(&line).expect("it was accepted");
        match record.get("event_id").and_then(Value::as_str) {
            Some(id) => drop(expected.insert(id.to_owned(), record)),
            None => drop(dimensions.insert(line)),
        }
    }

    let mut found = 0;
    for line in read_all(&place.path("whole")) {
        let record: Map<String, Value> = serde_json::from_slice(&line).expect("the lake has only JSON values");
        let Some(id) = record.get("event_id").and_then(Value::as_str) else {
            found += 1;
            continue;
        };
        let original = expected.remove(id).unwrap_or_else(|| panic!("{id} is there twice, or was not accepted"));
        for (name, value) in &original {
            let kept = record.get(name).unwrap_or_else(|| panic!("{id} has lost its {name}"));
            let same = kept == value || value.is_number() && kept.as_f64() == value.as_f64();
            assert!(same, "{id}: {name} was {value}, is {kept}");
        }
    }
    assert_eq!((expected.len(), found), (0, dimensions.len()), "not every event is in the files");

    let whole = answers(&place, "whole", OF_EVENTS);
    for (label, paths) in [("a data directory", "whole"), ("its folders", "whole/events whole/dimensions")] {
        let [read, accepted, ..] = place.replay(paths, "again", "--workers 2 --set replay.epoch_records=400");
        assert_eq!(read, accepted, "what is in the lake was accepted once");
        check_equal(&whole, &answers(&place, "again", OF_EVENTS), label);
    }
}

fn read_all(path: &Path) -> Vec<Vec<u8>> {
    let mut reader = open(&[path.to_owned()], ReadOptions::default()).expect("it can be read");
    let mut lines = Vec::new();
    while let Some(chunk) = reader.next_chunk().expect("it is whole") {
        lines.extend(chunk.records().map(|record| record.bytes.to_vec()));
    }
    lines
}

/// A replay replaces what was in its directory, and one that fails leaves it as it was.
#[test]
fn a_replay_replaces_and_a_failed_one_does_not() {
    let place = shop(SHOP);
    let whole = answers(&place, "whole", OF_ALL);
    place.fails("replay nowhere.jsonl --data-dir whole --quiet", 1, &["nowhere.jsonl"]);
    check_equal(&whole, &answers(&place, "whole", OF_ALL), "after a failure");
    let clean = lines(&place)[..130].concat();
    place.write("part.jsonl", clean);
    place.replay("part.jsonl", "whole", "");
    assert_ne!(whole, answers(&place, "whole", OF_ALL));
    place.replay("shop.jsonl", "whole", "--set lake.events=false");
    check_equal(&whole, &answers(&place, "whole", OF_ALL), "replaced");
    assert!(!place.path("whole/events").exists(), "events are not asked for");

    place.write("precious/thesis.txt", "years of work");
    place.fails("replay shop.jsonl --data-dir precious --quiet", 1, &["precious"]);
    assert_eq!(place.read("precious/thesis.txt"), b"years of work");
}

/// Two replays into one directory at a time: one of them is told so.
#[test]
fn a_directory_has_one_writer() {
    let place = shop(SHOP);
    let mut first = place.command();
    first.args("replay - --data-dir whole --quiet".split(' '));
    let mut first = first.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the binary starts");
    let mut input = first.stdin.take().expect("it is a pipe");
    input.write_all(&place.read("shop.jsonl")[..1_000]).expect("it reads");
    // It claims the lake once it has the lock.
    let before = place.manifest("whole")["number"].as_u64();
    let began = (0..2_000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        place.manifest("whole")["number"].as_u64() > before
    });
    assert!(began, "the first replay never began");
    place.fails("replay shop.jsonl --data-dir whole --quiet", 1, &["whole"]);
    drop(input);
    assert!(first.wait().expect("it ends").success());
}
