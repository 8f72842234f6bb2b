//! A running engine answers what a replay of the same records does.

use super::support::{Place, QUESTIONS, SHOP, check_equal};
use millrace::live;
use millrace::output::{Format, Layout, print};
use millrace::serve::status::Engine;
use millrace::serve::{Board, Published};
use millrace::settings::Sources;
use millrace_dataflows::query::Query;
use millrace_dataflows::table::Table;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn settings(place: &Place, set: &[&str]) -> millrace::settings::Settings {
    let sources = Sources {
        file: Some(place.write("live.toml", "[horizons]\ndeduplication = 'unlimited'\nsessions = 'unlimited'\n")),
        environment: Vec::new(),
        set: set.iter().map(|&set| set.to_owned()).collect(),
    };
    sources.load().expect("good settings").settings
}

/// Waits for a version that the engine has published.
fn wait_for(board: &Board, what: &str, wanted: impl Fn(&Published) -> bool) -> Arc<Published> {
    let begun = Instant::now();
    loop {
        let version = board.current();
        if wanted(&version) {
            return version;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A question as `millrace query` takes it.
fn asked(question: &str) -> (&str, Query) {
    let mut words = question.split_whitespace();
    let name = words.next().expect("a view");
    let mut query = Query::default();
    while let Some(flag) = words.next() {
        let value = words.next().expect("a value").to_owned();
        match flag {
            "--group-by" => query.group_by = value.split(',').map(str::to_owned).collect(),
            "--rank-by" => query.rank_by = Some(value),
            "--where" => {
                let (column, text) = value.split_once('=').expect("column=text");
                query.filters.push((column.to_owned(), text.to_owned()));
            }
            _ => panic!("no flag is called {flag}"),
        }
    }
    (name, query)
}

fn csv(table: &Table) -> String {
    let mut out = Vec::new();
    print(table, Format::Csv, Layout::of_texts(), &mut out).expect("memory takes all");
    String::from_utf8(out).expect("text")
}

fn answers(version: &Published) -> Vec<(&'static str, String)> {
    let answer = |question: &&'static str| {
        let (name, query) = asked(question);
        let rows = version.view(name).expect("it is maintained");
        (*question, csv(&rows.view.answer(&rows.index, &version.answer_context(), &query).expect("an answer")))
    };
    QUESTIONS.iter().map(answer).collect()
}

/// The log's ends: what a version must cover.
fn ends(log: &Path) -> Vec<u64> {
    let folders = std::fs::read_dir(log).expect("a log").map(|entry| entry.expect("an entry").path());
    let mut partitions: Vec<_> = folders.filter(|path| path.is_dir()).collect();
    partitions.sort();
    let bytes = |partition: &std::path::PathBuf| {
        std::fs::read_dir(partition).expect("a partition").map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    partitions.iter().map(bytes).collect()
}

#[test]
fn a_log_is_followed_and_answers_are_those_of_a_replay() {
    let place = Place::new();
    let generate = SHOP.replace("--to", "--log shop-log --partitions 3");
    place.ok(&generate);
    place.replay("shop-log", "whole", "");
    let expected: Vec<_> = QUESTIONS.iter().map(|question| (*question, place.csv("whole", question))).collect();

    let log = place.path("shop-log");
    let wanted = millrace::serve::SourcePositions { source: log.display().to_string(), next_offsets: ends(&log) };
    for workers in [1, 3] {
        let set = [format!("source.log.paths=['{}']", log.display()), format!("live.workers={workers}")];
        let settings = settings(&place, &[&set[0], &set[1], "live.epoch_records=300"]);
        let live = live::start(&settings, String::new()).expect("it starts");
        let version =
            wait_for(&live.board, "all that was read", |version| version.covers(std::slice::from_ref(&wanted)));
        check_equal(&expected, &answers(&version), &format!("{workers} workers"));

        let status = live.engine.status();
        assert_eq!(status.partitions.len(), 3);
        assert!(status.partitions.iter().all(|partition| partition.end_offset == Some(partition.next_offset)));
        assert!(status.held.iter().any(|(name, count)| name == "sessions" && *count > 50), "{:?}", status.held);
        assert!(live.engine.quarantine().rows.len() > 10);
        live.engine.drain();
        live.join().expect("it ends well");
    }
}

/// A log of one partition or more, dealt in turns.
fn write_log(place: &Place, name: &str, partitions: usize, lines: &[String]) {
    place.write(
        &format!("{name}/log.json"),
        format!(r#"{{"format":"millrace-log","version":1,"partitions":{partitions}}}"#),
    );
    for partition in 0..partitions {
        let lines: String = lines.iter().skip(partition).step_by(partitions).map(String::as_str).collect();
        place.write(&format!("{name}/partition={partition:05}/{:020}.jsonl", 0), lines);
    }
}

/// A backlog of three days without `received_at`, and among it events of a clock that is wrong: whatever they say, the others are
/// in time.
#[test]
fn wrong_clocks_in_a_backlog_make_nothing_pending() {
    let place = Place::new();
    let time =
        |minute: usize| format!("2026-03-{:02}T{:02}:{:02}:00Z", 1 + minute / 1_440, minute / 60 % 24, minute % 60);
    let sale = |number: usize| {
        format!(
            "{{\"event_id\":\"e{number}\",\"event_type\":\"purchase\",\"event_time\":\"{}\",\"session_id\":\"s{number}\",\
             \"order_id\":\"o{number}\",\"product_id\":\"p\",\"quantity\":1,\"price_paid\":1}}\n",
            time(number * 5)
        )
    };
    let wrong = |number: usize| {
        format!(
            "{{\"event_id\":\"w{number}\",\"event_type\":\"page_view\",\"event_time\":\"2150-01-01T00:00:00Z\",\
             \"session_id\":\"clock\",\"page_type\":\"home\"}}\n"
        )
    };
    let sales = 800;
    let log = |places: Vec<usize>| {
        let mut lines: Vec<String> = (0..sales).map(sale).collect();
        places.iter().zip(0..).for_each(|(&place, number)| lines.insert(place + number, wrong(number)));
        lines
    };
    let cases = [
        ("first", vec![0]),
        ("middle", vec![100]),
        ("last", vec![sales]),
        ("ten", (0..10).map(|tenth| tenth * 80).collect()),
        ("half", (0..sales).collect()),
    ];
    for (turn, (case, places)) in cases.into_iter().enumerate() {
        // With the wrong one alone it may come before anything else is known.
        let ways = [(1, 2, true), (4, 1, false)];
        for (partitions, workers, lake) in ways.into_iter().skip(usize::from(turn % 2 == 1)) {
            let name = format!("{case}-{partitions}");
            let lines = log(places.clone());
            write_log(&place, &name, partitions, &lines);
            let lake = if lake { format!("--set lake.url={name}-lake") } else { String::new() };
            let summary = place.ok(&format!(
                "run --until-end --quiet --format json --set serve.address= --set source.log.paths=['{name}'] --set live.epoch_records=100 \
                 --set live.workers={workers} --set lake.checkpoint_ms=50 {lake}"
            ));
            let read = lines.len() as u64;
            assert_eq!(super::support::accounting(&summary), [read, read, 0, 0, 0], "{name}");
            // A replay's now is that of the right clocks.
            place.replay(&name, &format!("{name}-data"), "--set views.allowed_lateness_ms=0");
            let now = place.manifest(&format!("{name}-data"))["watermark"].as_i64().expect("there is one");
            assert_eq!(now, 1_772_323_200_000_000 + (sales as i64 - 1) * 300_000_000, "{name}");
        }
    }
}
