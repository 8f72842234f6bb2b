//! Memory is bounded, by what there is and by how it is shared.

use super::support::{OF_EVENTS, Place, accounting, answers, check_equal};
use serde_json::Value;

/// Events of one day each, days in no order, as `purchase` lines.
fn days(count: usize) -> String {
    let line = |number: usize| {
        let day = number * 7_919 % count;
        format!(
            "{{\"event_id\":\"d{number}\",\"event_type\":\"purchase\",\"event_time\":\"{}-{:02}-{:02}T10:00:00Z\",\
             \"session_id\":\"s{number}\",\"order_id\":\"o{number}\",\"product_id\":\"p{}\",\"quantity\":1,\"price_paid\":1.25}}\n",
            1990 + day / 336,
            1 + day % 336 / 28,
            1 + day % 28,
            number % 10
        )
    };
    (0..count).map(line).collect()
}

fn peak(summary: &str) -> u64 {
    let summary: Value = serde_json::from_str(summary).expect("JSON");
    summary["peak_rss_bytes"].as_u64().expect("a number")
}

/// Each day has a file of its own, and only some are open at a time.
#[test]
fn many_days_take_little_memory_and_few_descriptors() {
    let place = Place::new();
    let count = 800;
    place.write("days.jsonl", days(count));
    let few = [
        "-c",
        "ulimit -n 256; exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_millrace"),
        "replay",
        "days.jsonl",
        "--data-dir",
        "data",
        "--format",
        "json",
        "--quiet",
        "--set",
        "lake.sync=false",
    ];
    let done =
        std::process::Command::new("sh").args(few).current_dir(place.path("")).output().expect("there is a shell");
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{err}");
    assert_eq!(accounting(&out), [count as u64, count as u64, 0, 0, 0]);
    // One open file for each day takes as much again.
    assert!(peak(&out) < 200 << 20, "{} MB", peak(&out) >> 20);
    let folders = std::fs::read_dir(place.path("data/events")).expect("there are events").count();
    assert_eq!(folders, count);
    place.ok("verify --data-dir data");
}

/// What does not fit is said with figures, and harms nothing: with more memory it goes on, and all is counted once.
#[test]
fn a_state_that_does_not_fit_ends_with_figures_and_a_code_of_its_own() {
    let place = Place::new();
    place.ok("generate --events 40000 --seed 5 --days 3 --quiet --log log --partitions 2");
    let run = |limit: &str| {
        format!(
            "run --until-end --quiet --format json --set source.log.paths=['log'] --set lake.url=lake \
             --set lake.checkpoint_ms=100 --set lake.sync=false --set serve.address= --set limits.memory={limit}"
        )
    };
    let figures = ["memory does not suffice", "limits.memory is 80 MB", "event_ids ", "rows of sales "];
    place.fails(&run("80MB"), 4, &figures);
    // So does the next start, as often as it is tried.
    place.fails(&run("80MB"), 4, &figures[..2]);
    // Nothing has begun yet where even the program does not fit.
    place.fails(&run("16MB"), 4, &figures[..1]);
    let whole = accounting(&place.ok(&run("2GB")));
    assert_eq!(place.replay("log", "data", "--set horizons.sessions=unlimited"), whole);
    check_equal(&answers(&place, "data", OF_EVENTS), &answers(&place, "lake", OF_EVENTS), "after three ends");
}

/// Where it fits with little to spare (more than three quarters are in use), it takes smaller steps and comes to the same.
#[test]
fn little_memory_is_enough_for_small_epochs() {
    let place = Place::new();
    place.ok("generate --events 40000 --seed 5 --days 3 --quiet --log log --partitions 2");
    let run = |name: &str, limit: &str| {
        format!(
            "run --until-end --quiet --format json --set source.log.paths=['log'] --set lake.url={name} \
             --set lake.sync=false --set serve.address= --set limits.memory={limit}"
        )
    };
    let plenty = place.ok(&run("plenty", "unlimited"));
    let little = place.ok(&run("little", &format!("{}", peak(&plenty) * 23 / 20)));
    assert_eq!(accounting(&plenty), accounting(&little));
    check_equal(&answers(&place, "plenty", OF_EVENTS), &answers(&place, "little", OF_EVENTS), "with little memory");
}

#[test]
fn a_limit_is_a_size() {
    let place = Place::new();
    place.write("a.jsonl", "");
    for bad in ["lots", "5MB", "-1GB"] {
        place.fails(
            &format!("replay a.jsonl --data-dir data --set limits.memory={bad}"),
            2,
            &["limits.memory", "at least 16MB"],
        );
    }
    place.ok("replay a.jsonl --data-dir data --quiet --set limits.memory=unlimited");
}
