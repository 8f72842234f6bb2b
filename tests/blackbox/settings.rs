//! Settings through the binary: which layer wins, what is refused, and what they do.

use super::support::Place;
use serde_json::Value;

/// Value and origin of a setting as `config` prints them.
fn setting(place: &Place, key: &str, more: &str, variable: Option<(&str, &str)>) -> (Value, String) {
    let mut command = place.command();
    command.args(format!("config --format json {more}").split_whitespace()).envs(variable);
    let output = command.output().expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let settings: Vec<Value> = serde_json::from_slice(&output.stdout).expect("an array");
    let found = settings.iter().find(|setting| setting["key"] == key).expect("a known key");
    (found["value"].clone(), found["origin"].as_str().expect("a text").to_owned())
}

#[test]
fn each_layer_is_stronger_than_the_one_before() {
    let place = Place::new();
    let variable = Some(("MILLRACE_VIEWS__FUNNEL__WINDOW", "4h"));
    let window = |more: &str, variable| setting(&place, "views.funnel.window", more, variable);
    assert_eq!(window("", None), ("24h".into(), "default".to_owned()));
    place.write("millrace.toml", "[views.funnel]\nwindow = '1h'\n");
    assert_eq!(window("", None), ("1h".into(), "file millrace.toml".to_owned()));
    place.write("other.toml", "[views.funnel]\nwindow = '2h'\n");
    assert_eq!(window("--config other.toml", None), ("2h".into(), "file other.toml".to_owned()));
    let environment = "environment MILLRACE_VIEWS__FUNNEL__WINDOW".to_owned();
    assert_eq!(window("--config other.toml", variable), ("4h".into(), environment));
    let set = "--config other.toml --set views.funnel.window=5h --set views.funnel.window=6h";
    assert_eq!(window(set, variable), ("6h".into(), "--set".to_owned()));
}

#[test]
fn config_prints_a_file_that_reads_back() {
    let place = Place::new();
    let set = "--set store.time_zone=Asia/Kolkata --set views.enabled=sales,quality --set replay.workers=2";
    let printed = place.ok(&format!("config --format toml {set}"));
    place.write("again.toml", &printed);
    let again = place.ok("config --format toml --config again.toml");
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split(" # ").next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(values(&printed), values(&again));
    assert!(printed.contains("workers = 2 # --set"), "{printed}");
    let table = place.ok("config --config again.toml");
    assert!(table.contains("store.time_zone") && table.contains("file again.toml"), "{table}");
}

#[test]
fn mistakes_are_usage_and_name_the_remedy() {
    let place = Place::new();
    place.write("a.jsonl", "");
    place.write("bad.toml", "[replay]\nworker = 2\n");
    place.write("broken.toml", "[replay\n");
    for (more, words) in [
        ("--set replay.worker=2", &["replay.worker", "replay.workers", "--set"][..]),
        ("--set views.funel.window=2h", &["views.funnel.window"]),
        ("--config bad.toml", &["replay.workers", "bad.toml"]),
        ("--config broken.toml", &["broken.toml", "line 1"]),
        ("--config nowhere.toml", &["nowhere.toml"]),
        ("--set replay.workers=0", &["replay.workers", "1 to"]),
        ("--set replay.epoch_records=0", &["replay.epoch_records"]),
        ("--set replay.epochs_in_flight=0", &["replay.epochs_in_flight"]),
        ("--set replay.workers=two", &["replay.workers", "whole number"]),
        ("--set store.time_zone=Europe/Londres", &["store.time_zone", "Europe/Londres"]),
        ("--set store.currency=pounds", &["store.currency", "pounds"]),
        ("--set views.enabled=sales,funel", &["views.enabled", "funnel"]),
        ("--set views.funnel.window=soon", &["views.funnel.window", "soon"]),
        ("--set views.funnel.unit=visit", &["views.funnel.unit", "visit"]),
        ("--set views.related_products.list_length=1000", &["views.related_products.list_length"]),
        ("--set decode.max_record_bytes=99999999999", &["decode.max_record_bytes"]),
        ("--set decode.default_event_type=buy", &["decode.default_event_type", "buy"]),
        ("--set lake.compression=gzip", &["lake.compression", "snappy"]),
        ("--set lake.events", &["KEY=VALUE"]),
        ("--workers 0", &["--workers"]),
        ("--workers many", &["--workers"]),
        ("--frobnicate", &["--frobnicate"]),
    ] {
        place.fails(&format!("replay a.jsonl --data-dir data --quiet {more}"), 2, words);
        assert!(!place.path("data").exists(), "{more}: nothing is touched");
    }
    let mut command = place.command();
    command.args(["config"]).env("MILLRACE_REPLAY__WORKER", "2");
    let output = command.output().expect("the binary starts");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("MILLRACE_REPLAY__WORKERS"), "{message}");
    place.fails("", 2, &["Usage"]);
    place.fails("frobnicate", 2, &["frobnicate"]);
    for line in ["--help", "--version", "replay --help", "query --help"] {
        place.ok(line);
    }
}

fn sale(id: &str, time: &str, more: &str) -> String {
    format!(
        "{{\"event_type\":\"purchase\",\"event_id\":\"{id}\",\"event_time\":\"{time}\",\"session_id\":\"s\",\
         \"order_id\":\"{id}\",\"product_id\":\"p\",\"quantity\":1,\"price_paid\":10{more}}}\n"
    )
}

#[test]
fn the_time_zone_moves_hours_days_and_months() {
    let place = Place::new();
    // The last hour of March 31 in UTC; and the hour that London has twice, before and after the change.
    let times = ["2024-03-31T23:30:00Z", "2024-10-27T00:30:00Z", "2024-10-27T01:30:00Z", "2024-10-27T02:30:00Z"];
    place.write("a.jsonl", times.map(|time| sale(time, time, "")).concat());
    let zone = |zone: &str| place.replay("a.jsonl", "data", &format!("--set store.time_zone={zone}"));
    let lines = |by: &str| {
        let mut rows = place.table("data", &format!("sales --group-by {by}")).pick(&format!("{by} lines"));
        // Of the two hours of one name, an answer has the later first: it sorts texts.
        rows.sort();
        rows
    };
    zone("UTC");
    assert_eq!(lines("day"), ["2024-03-31 1", "2024-10-27 3"]);
    assert_eq!(lines("month"), ["2024-03 1", "2024-10 3"]);
    assert_eq!(lines("hour")[0], "2024-03-31T23:00:00+00:00 1");
    zone("Europe/London");
    assert_eq!(lines("day"), ["2024-04-01 1", "2024-10-27 3"]);
    assert_eq!(lines("month"), ["2024-04 1", "2024-10 3"]);
    let hours = ["2024-04-01T00:00:00+01:00 1", "2024-10-27T01:00:00+00:00 1", "2024-10-27T01:00:00+01:00 1"];
    assert_eq!(lines("hour")[..3], hours);
    let filtered = place.table("data", "sales --where hour=2024-10-27T01:00:00+00:00");
    assert_eq!(filtered.pick("lines"), ["1"]);
    zone("Asia/Kolkata");
    assert_eq!(lines("day"), ["2024-04-01 1", "2024-10-27 3"]);
    assert_eq!(lines("hour")[0], "2024-04-01T05:00:00+05:30 1");
    zone("America/New_York");
    assert_eq!(lines("day"), ["2024-03-31 1", "2024-10-26 3"]);
}

#[test]
fn only_what_is_enabled_is_there() {
    let place = Place::new();
    place.write("a.jsonl", [sale("a", "2024-05-01T10:00:00Z", ""), "{\n".to_owned()].concat());
    assert_eq!(place.replay("a.jsonl", "data", "--set views.enabled=sales,traffic"), [2, 1, 0, 1, 0]);
    assert_eq!(place.table("data", "sales").pick("lines"), ["1"]);
    assert_eq!(place.table("data", "traffic").pick("purchases"), ["1"]);
    for view in ["funnel", "related_products"] {
        place.fails(&format!("query {view} --data-dir data"), 1, &[view, "views.enabled"]);
    }
    assert_eq!(place.table("data", "quarantine").pick("rule"), ["malformed_json"]);
    assert_eq!(place.replay("a.jsonl", "data", "--set views.enabled="), [2, 1, 0, 1, 0]);
    assert_eq!(place.table("data", "quality").pick("read quarantined"), ["2 1"]);
}

#[test]
fn settings_do_what_they_say() {
    let place = Place::new();
    let time = "2024-05-01T10:00:00Z";
    let untyped = sale("untyped", time, "").replace("\"event_type\":\"purchase\",", "");
    let received = |at: &str| format!(",\"received_at\":\"{at}\"");
    let lines = [
        sale("a", time, ""),
        untyped,
        sale("late", time, &received("2024-05-01T10:20:00Z")),
        sale("future", time, &received("2024-05-01T09:57:00Z")),
    ];
    place.write("a.jsonl", lines.concat());
    let run = |more: &str| place.replay("a.jsonl", "data", more);
    assert_eq!(run(""), [4, 3, 0, 1, 0]);
    assert_eq!(place.table("data", "quality").pick("late"), ["1"]);
    assert_eq!(
        run("--set decode.default_event_type=purchase --set views.allowed_lateness_ms=1200000"),
        [4, 4, 0, 0, 0]
    );
    assert_eq!(place.table("data", "quality").pick("late"), ["0"]);
    assert_eq!(run("--set decode.max_future_ms=179999"), [4, 2, 0, 2, 0]);
    assert_eq!(
        run("--set store.currency=JPY --set lake.compression=zstd --set lake.events_file_rows=1"),
        [4, 3, 0, 1, 0]
    );
    assert_eq!(place.table("data", "sales --group-by currency").pick("currency order_revenue"), ["JPY 30"]);
}

/// The watermark is the largest event time less the allowed lateness; it, or `--as-of`, says which windows are open.
#[test]
fn windows_close() {
    let place = Place::new();
    place.write("a.jsonl", [sale("a", "2024-05-01T10:00:00Z", ""), sale("b", "2024-05-02T23:59:00Z", "")].concat());
    let open = |replay: &str, query: &str| {
        place.replay("a.jsonl", "data", replay);
        place.table("data", &format!("funnel --group-by day {query}")).column("immature_until").join(" ")
    };
    // The session's first event is of May 1: its window closes a day after that day's end.
    assert_eq!(open("", ""), "2024-05-03T00:00:00+00:00");
    assert_eq!(open("", "--as-of 2024-05-02T23:59:59.999999Z"), "2024-05-03T00:00:00+00:00");
    assert_eq!(open("", "--as-of 2024-05-03T00:00:00Z"), "");
    assert_eq!(open("--set views.funnel.window=12h", ""), "");
    assert_eq!(
        open("--set views.funnel.window=12h --set views.allowed_lateness_ms=86400000", ""),
        "2024-05-02T12:00:00+00:00"
    );
    assert_eq!(open("--set views.funnel.window=unlimited", "--as-of 2024-05-01T00:00:00Z"), "");
}

#[test]
fn the_funnel_is_made_of_settings() {
    let place = Place::new();
    place.write("a.jsonl", sale("a", "2024-05-01T10:00:00Z", ",\"user_id\":\"u\""));
    place.write(
        "own.toml",
        "[views.funnel]\nunit = 'user'\nwindow = 'unlimited'\n\
         [[views.funnel.steps]]\nname = 'look'\nevents = ['page_view']\noptional = true\n\
         [[views.funnel.steps]]\nname = 'buy'\nevents = ['purchase']\n",
    );
    // An optional first step is no step to begin with.
    let done = place.run("replay a.jsonl --data-dir data --quiet --config own.toml");
    if done.code == 0 {
        assert_eq!(place.table("data", "funnel").pick("sessions reached_look reached_buy ordered_buy"), ["1 0 1 1"]);
    } else {
        assert!(done.code == 2 && done.err.contains("views.funnel.steps"), "{}", done.err);
    }
    let own = String::from_utf8(place.read("own.toml")).expect("text").replace("optional = true\n", "");
    place.write("own.toml", own);
    place.replay("a.jsonl", "data", "--config own.toml");
    assert_eq!(place.table("data", "funnel").pick("sessions reached_look reached_buy ordered_buy"), ["1 0 1 0"]);
}
