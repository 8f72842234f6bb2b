//! Killed anywhere and started again with any number of workers, an engine ends with what an uninterrupted run gives.
//!
//! `MILLTEST_CRASHES=500 cargo test --test main crash::log` kills that often.

pub(super) mod harness;
pub(super) mod input;
mod resumed;
mod takeover;
mod torn;

use super::support::{OF_ALL, OF_EVENTS, Place, SHOP, answers, check_equal};
use harness::{Crashes, kills};
use input::Input;
use millrace::checkpoint::crash::POINTS_OF_REPAIR;
use millrace_parts::kafka::Broker;
use millrace_parts::or_skip;
use millrace_parts::s3::Moto;

/// The lines of a shop, and the folder of what a replay answers.
fn shop() -> (Place, Vec<Vec<u8>>) {
    let place = Place::new();
    place.ok(&format!("{SHOP} shop.jsonl"));
    place.replay("shop.jsonl", "whole", "");
    let lines = place.read("shop.jsonl").split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    (place, lines)
}

/// The lake has the answers of the replay, and they follow from its own events.
fn check(place: &Place, wanted: fn(&str) -> bool, report: &str) {
    check_equal(&answers(place, "whole", wanted), &answers(place, "lake", wanted), report);
    let said = place.ok("verify --data-dir lake");
    assert!(said.contains(" 0 answers differ"), "{said}");
}

#[test]
fn log() {
    let (place, lines) = shop();
    let input = Input::log(&place, lines);
    let crashes = Crashes::new(&place, input, "lake", &[]);
    let report = crashes.run(kills(20), 1);
    check(&place, OF_ALL, &report);
    println!("{report}");
}

const HORIZONS: [&str; 3] = ["horizons.deduplication=1m", "horizons.sessions=1m", "views.allowed_lateness_ms=1000"];

/// Sessions pause, are forgotten and go on, and where they are cut does not depend on when that was, nor on when what is left of
/// them was merged.
#[test]
fn horizons() {
    let (place, lines) = shop();
    place.replay("shop.jsonl", "whole", "--set views.allowed_lateness_ms=1000");
    let settings = [&HORIZONS[..], &["lake.merge_state_rows=100"]].concat();
    let crashes = Crashes::new(&place, Input::log(&place, lines), "lake", &[]).under(&settings);
    let report = crashes.run(kills(12), 5);
    let said = place.ok("verify --data-dir lake");
    assert!(said.contains(" 0 answers differ"), "{said}{report}");
    let set: String = HORIZONS.iter().map(|setting| format!(" --set {setting}")).collect();
    place.ok(&format!("repair --all --data-dir lake{set}"));
    check(&place, OF_ALL, &report);
}

/// Also while it merges what has become pending.
#[test]
fn repairs() {
    let (place, lines) = shop();
    place.replay("shop.jsonl", "whole", "--set views.allowed_lateness_ms=1000");
    let mut settings = HORIZONS.to_vec();
    settings.extend(["lake.repair_every_ms=120", "lake.merge_state_rows=100"]);
    let crashes = Crashes::new(&place, Input::log(&place, lines), "lake", &[]);
    let points = [&POINTS_OF_REPAIR[..], &POINTS_OF_REPAIR[..], &["before-manifest", "after-manifest"]].concat();
    let report = crashes.under(&settings).at(&points).run(kills(16), 4);
    assert!(POINTS_OF_REPAIR.iter().all(|point| report.contains(point)), "{report}");
    let said = place.ok("verify --data-dir lake");
    assert!(said.contains(" 0 answers differ"), "{said}{report}");
    let set: String = HORIZONS.iter().map(|setting| format!(" --set {setting}")).collect();
    place.ok(&format!("repair --all --data-dir lake{set}"));
    check(&place, OF_ALL, &report);
    println!("{report}");
}

/// Other definitions of views: another window, another calendar, another list, and two views more.
const REDEFINED: [&str; 4] = [
    "views.funnel.window=1h",
    "store.time_zone=America/New_York",
    "views.related_products.list_length=7",
    "views.enabled=sales,funnel,related_products,traffic,quality,customers,trending",
];

/// Killed while views are made anew from the lake's events, and started again, it ends with what a replay under the new settings gives.
#[test]
fn redefinitions() {
    let (place, lines) = shop();
    let crashes = Crashes::new(&place, Input::log(&place, lines), "lake", &[]);
    crashes.run(0, 6);
    let before = (place.csv("lake", "quality --group-by rule"), place.manifest("lake")["sources"].clone());
    let set: String = REDEFINED.iter().map(|setting| format!(" --set {setting}")).collect();
    place.replay("shop.jsonl", "whole", &set);
    // As the engines of this harness are set.
    let unlimited = " --set horizons.deduplication=unlimited --set horizons.sessions=unlimited";
    let plan = place.ok(&format!("views plan --data-dir lake --format json{unlimited}{set}"));
    let plan: serde_json::Value = serde_json::from_str(&plan).expect("JSON");
    let changes = plan["views"].as_array().expect("a list").iter();
    let changes: Vec<(&str, &str)> =
        changes.map(|one| (one["view"].as_str().expect("a name"), one["change"].as_str().expect("a word"))).collect();
    let anew = ["sales", "funnel", "related_products", "traffic"].map(|view| (view, "made anew"));
    let expected = [&anew[..], &[("customers", "made"), ("trending", "made"), ("quality", "kept")]].concat();
    assert_eq!(changes, expected);
    let points = [
        "restoring",
        "restored",
        "state-encoded",
        "views-written",
        "names-written",
        "before-manifest",
        "after-manifest",
    ];
    let report = crashes.under(&REDEFINED).at(&points).run(kills(12), 6);
    check(&place, OF_ALL, &report);
    for question in OF_NEW_VIEWS {
        let question = format!("{question} --as-of 2026-03-09T00:00:00Z");
        let (expected, found) = (place.csv("whole", &question), place.csv("lake", &question));
        assert_eq!(expected, found, "{question}: {report}");
        assert!(expected.lines().count() > 1, "{question} has rows");
    }
    // What was counted of records that are not there any more stays, and so does where reading goes on.
    let after = (place.csv("lake", "quality --group-by rule"), place.manifest("lake")["sources"].clone());
    assert_eq!(before, after);
    println!("{report}");
}

const OF_NEW_VIEWS: [&str; 7] = [
    "customers",
    "customers --group-by user_id",
    "customers --group-by day",
    "customers --group-by segment",
    "trending --group-by product_id",
    "trending --group-by day,product_id",
    "trending --group-by hour",
];

#[test]
fn kafka() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let (place, lines) = shop();
    let input = Input::kafka(broker.bootstrap(), lines);
    let crashes = Crashes::new(&place, input, "lake", &[]);
    let report = crashes.run(kills(6), 2);
    check(&place, OF_EVENTS, &report);
    println!("{report}");
}

/// Requests fail, are done and reported as failed, and crawl.
#[test]
fn s3() {
    let Some(moto) = or_skip(Moto::start()) else { return };
    moto.create_bucket("lake").expect("a bucket");
    let (place, lines) = shop();
    let input = Input::log(&place, lines);
    let settings = format!("[lake.s3]\nendpoint = '{}'\nregion = 'us-east-1'\npath_style = true\n", moto.endpoint());
    place.write("millrace.toml", settings);
    let environment = [
        ("AWS_ACCESS_KEY_ID", "any"),
        ("AWS_SECRET_ACCESS_KEY", "any"),
        ("MILLTEST_UNRELIABLE", "before:20,after:20,slow:50,delay_ms:60,seed:5"),
    ];
    let crashes = Crashes::new(&place, input, "s3://lake/shop", &environment);
    let report = crashes.run(kills(6), 3);
    let answers_of_lake: Vec<_> = answers(&place, "whole", OF_ALL)
        .into_iter()
        .map(|(question, _)| {
            let line = format!("query {question} --data-dir s3://lake/shop --format csv");
            (question, crashes.ok(&line))
        })
        .collect();
    check_equal(&answers(&place, "whole", OF_ALL), &answers_of_lake, &report);
    let said = crashes.ok("verify --data-dir s3://lake/shop");
    assert!(said.contains(" 0 answers differ"), "{said}");
    println!("{report}");
}
