//! The lines: their number, order and soundness, and what is wrong with those that are not. The shop is in `shop`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroUsize;

use serde_json::Value;

use super::options::MICROS_PER_HOUR;
use super::random::Random;
use super::{Class, Fault, Generator, LineInfo, Options, Tally, command};

mod shop;

struct Line {
    info: LineInfo,
    bytes: Vec<u8>,
}

impl Line {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("a sound line is JSON")
    }

    fn is_sound_event(&self) -> bool {
        !self.info.dimension && matches!(self.info.class, Class::Fresh | Class::Late)
    }
}

fn generate(options: Options) -> (Vec<Line>, Tally) {
    let mut generator = Generator::new(options).expect("the options of a test are valid");
    let mut lines = Vec::new();
    let mut bytes = Vec::new();
    while let Some(info) = generator.next_line(&mut bytes) {
        assert_eq!(bytes.iter().filter(|&&byte| byte == b'\n').count(), 1, "one line a call");
        assert_eq!(bytes.pop(), Some(b'\n'));
        lines.push(Line { info, bytes: std::mem::take(&mut bytes) });
    }
    assert!(bytes.is_empty(), "nothing is appended at the end");
    (lines, generator.tally().clone())
}

fn tally(options: Options) -> Tally {
    let mut generator = Generator::new(options).expect("the options of a test are valid");
    let mut lines = Vec::new();
    while generator.next_line(&mut lines).is_some() {
        lines.clear();
    }
    generator.tally().clone()
}

/// Everything that can go wrong, often.
fn stormy() -> Options {
    Options {
        events: 40_000,
        seed: 7,
        days: 10,
        products: 500,
        users: 2_000,
        currencies: ["EUR", "JPY", "KWD"].map(str::to_owned).to_vec(),
        bot_fraction: 0.1,
        late_fraction: 0.03,
        duplicate_fraction: 0.05,
        conflict_fraction: 0.02,
        malformed_fraction: 0.05,
        refund_fraction: 0.1,
        return_line_fraction: 0.1,
        recategorised_fraction: 0.2,
        late_product_fraction: 0.1,
        ..Options::default()
    }
}

fn assert_near(what: &str, actual: f64, expected: f64, tolerance: f64) {
    assert!((actual - expected).abs() <= tolerance, "{what} is {actual}, not {expected} ± {tolerance}");
}

fn text<'a>(record: &'a Value, key: &str) -> &'a str {
    record[key].as_str().unwrap_or_else(|| panic!("{key} of {record} is a text"))
}

/// The rules of docs/metrics.md that a line can break, in short.
fn judge(bytes: &[u8]) -> Result<Value, &'static str> {
    let line = std::str::from_utf8(bytes).map_err(|_| "not UTF-8")?;
    let record: Value = serde_json::from_str(line).map_err(|_| "not JSON")?;
    if line.matches("\"event_id\":").count() > 1 {
        return Err("duplicate key");
    }
    let texts: &[&str] = match record["event_type"].as_str().ok_or("no event_type")? {
        "page_view" => &["event_id", "event_time", "session_id", "page_type"],
        "add_to_cart" | "remove_from_cart" => &["event_id", "event_time", "session_id", "product_id"],
        "checkout_started" => &["event_id", "event_time", "session_id"],
        "purchase" => &["event_id", "event_time", "session_id", "order_id", "product_id"],
        "refund" => &["event_id", "event_time", "order_id", "product_id"],
        "product" | "inventory" => &["product_id", "updated_at"],
        "user" => &["user_id", "updated_at"],
        _ => return Err("unknown event_type"),
    };
    let numbers: &[&str] = match text(&record, "event_type") {
        "add_to_cart" | "remove_from_cart" => &["quantity"],
        "purchase" => &["quantity", "price_paid"],
        "refund" => &["quantity", "amount"],
        "inventory" => &["on_hand"],
        _ => &[],
    };
    if texts.iter().any(|key| record[key].as_str().is_none_or(str::is_empty)) {
        return Err("missing or no text");
    }
    if numbers.iter().any(|key| !record[key].is_number()) {
        return Err("missing or no number");
    }
    let time = record["event_time"].as_str().or(record["updated_at"].as_str()).ok_or("no time")?;
    if time.len() != "2026-03-01T00:00:00.123456Z".len() || !time.ends_with('Z') {
        return Err("bad time");
    }
    let is_return = record["quantity"].as_i64().is_some_and(|quantity| quantity < 0);
    if record["price_paid"].as_f64().is_some_and(|price| price < 0.0 && !is_return) {
        return Err("negative price");
    }
    Ok(record)
}

#[test]
fn equal_options_give_equal_bytes() {
    let bytes = |options| {
        let mut bytes = Vec::new();
        let mut generator = Generator::new(options).expect("valid");
        while generator.next_line(&mut bytes).is_some() {}
        bytes
    };
    assert!(bytes(stormy()) == bytes(stormy()));
    assert!(bytes(stormy()) != bytes(Options { seed: 8, ..stormy() }));
}

#[test]
fn chance_is_the_same_next_year() {
    let mut random = Random::new(1, 0);
    let numbers: [u64; 3] = std::array::from_fn(|_| random.bits());
    assert_eq!(numbers, [8_465_977_500_314_694_942, 4_772_434_725_006_487_858, 7_768_885_602_308_974_383]);
}

#[test]
fn the_number_of_events_is_exact() {
    for events in [0, 1, 7, 1_000, 20_001] {
        for options in [Options::default(), stormy()] {
            let options = Options { events, products: 50, ..options };
            assert_eq!(tally(options).events(), events);
        }
    }
    let bots_only = Options { events: 2_000, bot_fraction: 1.0, ..Options::default() };
    assert_eq!(tally(bots_only).events(), 2_000);
}

#[test]
fn sound_lines_are_sound_and_malformed_ones_are_not() {
    let (lines, _) = generate(Options { received_at: true, ..stormy() });
    let mut faults = HashSet::new();
    for line in &lines {
        let verdict = judge(&line.bytes);
        if let Class::Malformed(fault) = line.info.class {
            faults.insert(fault);
            assert!(verdict.is_err(), "{fault:?}: {}", String::from_utf8_lossy(&line.bytes));
        } else {
            assert!(verdict.is_ok(), "{verdict:?}: {}", String::from_utf8_lossy(&line.bytes));
        }
    }
    assert_eq!(faults.len(), Fault::ALL.len());
}

#[test]
fn the_tally_is_what_a_reader_counts() {
    let options = stormy();
    let (lines, tally) = generate(options.clone());
    let mut types: BTreeMap<(String, bool), u64> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.is_sound_event()) {
        let record = line.json();
        let is_return = record["quantity"].as_i64().is_some_and(|quantity| quantity < 0);
        *types.entry((text(&record, "event_type").to_owned(), is_return)).or_default() += 1;
    }
    let counted = |kind: &str, is_return| types.get(&(kind.to_owned(), is_return)).copied().unwrap_or(0);
    assert_eq!(counted("page_view", false), tally.page_views);
    assert_eq!(counted("add_to_cart", false), tally.cart_additions);
    assert_eq!(counted("purchase", false), tally.sold_lines);
    assert_eq!(counted("purchase", true), tally.return_lines);
    assert_eq!(counted("refund", false), tally.refunds);
    assert_eq!(lines.len() as u64, tally.lines);

    let share = |count: u64| count as f64 / options.events as f64;
    assert_near("late", share(tally.late), options.late_fraction, 0.004);
    assert_near("duplicates", share(tally.duplicates), options.duplicate_fraction, 0.005);
    assert_near("conflicts", share(tally.conflicts), options.conflict_fraction, 0.003);
    assert_near("malformed", share(tally.malformed), options.malformed_fraction, 0.005);
}

#[test]
fn lines_come_in_the_order_of_their_arrival() {
    let options = stormy();
    let (lines, _) = generate(options.clone());
    assert!(lines.is_sorted_by_key(|line| line.info.arrival));
    let lateness_max = i64::from(options.lateness_hours_max) * MICROS_PER_HOUR;
    for Line { info, .. } in &lines {
        match info.class {
            Class::Fresh if info.dimension => assert!(info.time <= info.arrival),
            Class::Fresh => assert_eq!(info.time, info.arrival),
            Class::Late => assert!(info.time < info.arrival && info.arrival <= info.time + lateness_max),
            Class::Duplicate | Class::Conflict | Class::Malformed(_) => assert!(info.time <= info.arrival),
        }
    }
}

#[test]
fn copies_equal_what_went_before_and_conflicts_do_not() {
    let (lines, _) = generate(stormy());
    let mut known: HashMap<String, (Value, u64)> = HashMap::new();
    let mut reordered = 0;
    for line in lines.iter().filter(|line| !line.info.dimension) {
        if matches!(line.info.class, Class::Malformed(_)) {
            continue;
        }
        let record = line.json();
        let id = text(&record, "event_id").to_owned();
        if line.is_sound_event() {
            let before = known.insert(id, (record, line.info.partition_key));
            assert!(before.is_none(), "a sound event has an id of its own");
            continue;
        }
        let (original, partition_key) = &known[&id];
        assert_eq!(*partition_key, line.info.partition_key);
        assert_eq!(*original == record, line.info.class == Class::Duplicate);
        reordered += usize::from(line.info.class == Class::Duplicate && !line.bytes.starts_with(b"{\"event_id"));
    }
    assert!(reordered > 100, "some copies have their keys in another order");
}

#[test]
fn a_directory_holds_every_line_and_a_session_is_in_one_file() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("events");
    let partitions = NonZeroUsize::new(3).expect("3 is not 0");
    let options = Options { events: 5_000, products: 100, malformed_fraction: 0.0, ..stormy() };
    let generator = || Generator::new(options.clone()).expect("valid");
    let tally = command::write_directory(&mut generator(), &path, partitions).expect("written");
    let mut sessions: HashMap<String, usize> = HashMap::new();
    let mut lines = Vec::new();
    for partition in 0..3 {
        let file = std::fs::read_to_string(path.join(format!("part-{partition:05}.jsonl"))).expect("a file");
        for line in file.lines() {
            let record: Value = serde_json::from_str(line).expect("JSON");
            if let Some(session) = record["session_id"].as_str() {
                assert_eq!(*sessions.entry(session.to_owned()).or_insert(partition), partition);
            }
            lines.push(line.to_owned());
        }
        assert!(file.len() as u64 > tally.bytes / 6, "partitions are of one size, about");
    }
    let mut whole = Vec::new();
    command::write_to(&mut generator(), &mut whole).expect("written");
    let whole = String::from_utf8(whole).expect("UTF-8");
    let mut expected: Vec<&str> = whole.lines().collect();
    lines.sort_unstable();
    expected.sort_unstable();
    assert!(lines == expected);
    let again = command::write_directory(&mut generator(), &path, partitions);
    assert_eq!(again.expect_err("the files are there").kind(), std::io::ErrorKind::AlreadyExists);
}

#[test]
fn options_out_of_range_are_named() {
    type Spoil = fn(&mut Options);
    let cases: [(&str, Spoil); 8] = [
        ("late_fraction", |options| options.late_fraction = 1.5),
        ("guest_fraction", |options| options.guest_fraction = f64::NAN),
        ("duplicate_fraction", |options| options.duplicate_fraction = 0.6),
        ("bounce_fraction", |options| options.bounce_fraction = 0.9),
        ("products", |options| options.products = 0),
        ("currencies", |options| options.currencies.clear()),
        ("currencies", |options| options.currencies = vec!["euro".to_owned()]),
        ("days", |options| options.days = 0),
    ];
    for (setting, spoil) in cases {
        let mut options = Options::default();
        spoil(&mut options);
        let error = Generator::new(options).expect_err("out of range");
        assert_eq!(error.setting, setting);
    }
}
