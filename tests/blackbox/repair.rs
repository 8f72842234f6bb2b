//! What was too old to be merged when it came is merged by a repair, as if it had come in time.

use millrace_connectors::source::log::LogWriter;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::support::{OF_ALL, OF_EVENTS, Place, SHOP, accounting, answers, check_equal};

const SETTINGS: &str =
    "--set horizons.deduplication=1m --set horizons.sessions=1m --set views.allowed_lateness_ms=1000";

#[test]
fn what_was_pending_counts_as_if_it_had_come_in_time() {
    let place = Place::new();
    place.ok(&SHOP.replace("--to", "--log shop-log --partitions 3"));
    let whole = place.replay("shop-log", "whole", "--set views.allowed_lateness_ms=1000");
    let run = format!(
        "run --quiet --until-end --format json --set serve.address= --set source.log.paths=['shop-log'] \
         --set lake.url=lake --set lake.checkpoint_ms=50 --set live.epoch_records=30 {SETTINGS}"
    );
    let [read, accepted, .., pending] = accounting(&place.ok(&run));
    assert_eq!(read, whole[0]);
    assert!(pending > 10 && accepted < whole[1], "{pending} of {read} are pending");
    assert!(pending_files(&place) > 0);
    assert_ne!(answers(&place, "whole", OF_EVENTS), answers(&place, "lake", OF_EVENTS));
    // What was accepted is counted exactly, sessions by visits.
    let said = place.ok("verify --data-dir lake");
    assert!(said.contains(" 0 answers differ"), "{said}");

    let complete = watermark(&place);
    let said = place.ok(&format!("repair --data-dir lake {SETTINGS}"));
    assert_eq!(watermark(&place), complete, "no source was read further");
    assert!(said.contains(&format!("{pending} records were pending")) && said.contains("nothing is pending"), "{said}");
    // Its rows by hour and rule, too.
    check_equal(&answers(&place, "whole", OF_ALL), &answers(&place, "lake", OF_ALL), "repaired");
    let total = place.table("lake", "quality").pick("read accepted duplicates quarantined pending");
    assert_eq!(total, [whole.map(|count| count.to_string()).join(" ")]);
    let said = place.ok("verify --data-dir lake");
    assert!(said.contains(" 0 answers differ"), "{said}");
    assert_eq!(pending_files(&place), 0);

    // An engine goes on from it, and there is nothing more to repair.
    assert_eq!(accounting(&place.ok(&run)), whole);
    check_equal(&answers(&place, "whole", OF_ALL), &answers(&place, "lake", OF_ALL), "gone on");
    let said = place.ok(&format!("repair --data-dir lake {SETTINGS}"));
    assert!(said.contains(": 0 records were pending"), "{said}");
}

/// A place that holds no lake is not made one.
#[test]
fn a_place_without_answers_is_left_as_it_is() {
    let place = Place::new();
    for more in ["", " --all"] {
        place.fails(&format!("repair --data-dir typo{more}"), 1, &["typo holds no answers"]);
        assert!(!place.path("typo").exists());
    }
}

/// By itself, while it runs: readers stay where they are, and see nothing go back.
#[test]
fn an_engine_repairs_itself() {
    let place = Place::new();
    place.ok(&SHOP.replace("--to", "--log shop-log --partitions 3"));
    let whole = place.replay("shop-log", "whole", "--set views.allowed_lateness_ms=1000");
    let port = millrace_parts::ports::Lease::any().expect("a free port");
    let address = format!("127.0.0.1:{}", port.port());
    let mut command = place.command();
    let line = format!(
        "run --set serve.address={address} --set source.log.paths=['shop-log'] --set lake.url=lake \
         --set lake.checkpoint_ms=50 --set live.epoch_records=30 --set lake.repair_every_ms=300 {SETTINGS}"
    );
    let mut engine = command.args(line.split_whitespace()).stderr(Stdio::piped()).spawn().expect("it starts");
    let question = "quality --format csv";
    let (begun, mut last_epoch) = (Instant::now(), 0);
    loop {
        std::thread::sleep(Duration::from_millis(20));
        let status = place.run(&format!("status --addr {address} --format json"));
        let said = place.run(&format!("query {question} --addr {address}"));
        if status.code != 0 || said.code != 0 {
            assert!(begun.elapsed() < Duration::from_secs(5), "{}{}", status.err, said.err);
            continue;
        }
        let status: serde_json::Value = serde_json::from_str(&status.out).expect("JSON");
        let epoch = status["epoch"].as_u64().expect("an epoch");
        assert!(epoch >= last_epoch, "{epoch} after {last_epoch}");
        last_epoch = epoch;
        let row: Vec<&str> = said.out.lines().nth(1).expect("a row").split(',').collect();
        if row[0] == whole[0].to_string() && row[4] == "0" {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", said.out);
    }
    // What comes later is read, too.
    let late = br#"{"event_id":"one-more","event_type":"page_view","event_time":"2026-03-09T00:00:00Z","session_id":"one-more","page_type":"home"}"#;
    let mut writer = LogWriter::open(&place.path("shop-log"), 3, 1 << 16).expect("a log");
    writer.append(0, late).expect("it is appended");
    writer.flush().expect("it is written");
    while !place.ok(&format!("query {question} --addr {address}")).contains(&format!("\n{},", whole[0] + 1)) {
        assert!(begun.elapsed() < Duration::from_secs(60), "the record after the repair is not read");
    }
    assert!(Command::new("kill").args(["-INT", &engine.id().to_string()]).status().expect("there is kill").success());
    let status = engine.wait().expect("it is ours");
    let mut said = String::new();
    std::io::Read::read_to_string(&mut engine.stderr.take().expect("a pipe"), &mut said).expect("text");
    assert!(status.success() && said.contains("repairing "), "{status}: {said}");
    place.replay("shop-log", "whole", "--set views.allowed_lateness_ms=1000");
    let of_no_session = |question: &str| question.starts_with("sales") || question.starts_with("quality");
    let (expected, found) = (answers(&place, "whole", of_no_session), answers(&place, "lake", of_no_session));
    check_equal(&expected, &found, "repaired beside readers");
    // Sessions are counted by visits.
    let verified = place.run("verify --data-dir lake");
    assert!(verified.out.contains(" 0 answers differ"), "{}{}{said}", verified.out, verified.err);
}

/// How far the newest checkpoint is complete, in microseconds.
fn watermark(place: &Place) -> i64 {
    let said = place.ok("inspect --data-dir lake --format json");
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    said["watermark"].as_i64().expect("there is one")
}

fn pending_files(place: &Place) -> usize {
    // The first line is the header.
    place.ok("lake files --data-dir lake --kind pending --format csv").lines().skip(1).count()
}
