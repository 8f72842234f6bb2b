//! What the commands show of a lake, and whether its views are what its events say.

use super::support::{Answer, Place, SHOP};
use millrace::checkpoint::Manifest;
use millrace_connectors::source::log::LogWriter;
use millrace_parts::or_skip;
use millrace_parts::s3::Moto;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

const KINDS: [&str; 7] = ["events", "dimensions", "quarantine", "pending", "changes", "views", "state"];

const RUN: &str = "run --quiet --until-end --set serve.address= --set source.log.paths=['shop-log'] --set lake.url=lake \
    --set lake.checkpoint_ms=20 --set lake.keep_checkpoints=50 --set live.epoch_records=60 \
    --set horizons.deduplication=1m --set horizons.sessions=1m --set views.allowed_lateness_ms=1000";

fn lines(place: &Place) -> Vec<Vec<u8>> {
    place.ok(&format!("{SHOP} shop.jsonl"));
    place.read("shop.jsonl").split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

fn append(place: &Place, partitions: u32, segment_bytes: u64, lines: &[Vec<u8>]) {
    let mut log = LogWriter::open(&place.path("shop-log"), partitions, segment_bytes).expect("a log");
    for (number, line) in (0..).zip(lines) {
        log.append(number % partitions, line).expect("it is appended");
    }
    log.flush().expect("it is written");
}

/// A lake that two engines have written one after the other, with checkpoints and claims of both.
fn lake() -> Place {
    let place = Place::new();
    let lines = lines(&place);
    for half in lines.chunks(lines.len().div_ceil(2)) {
        append(&place, 3, 1 << 16, half);
        place.ok(RUN);
    }
    place
}

fn inspect(place: &Place) -> Value {
    serde_json::from_str(&place.ok("inspect --data-dir lake --format json")).expect("JSON")
}

/// Of the checkpoints that are shown, the oldest first.
fn epochs(place: &Place) -> Vec<u64> {
    let said = inspect(place);
    let checkpoints = said["checkpoints"].as_array().expect("a list").iter();
    checkpoints.map(|checkpoint| checkpoint["epoch"].as_u64().expect("an epoch")).collect()
}

fn files(place: &Place, more: &str) -> Answer {
    Answer::of_csv(&place.ok(&format!("lake files --data-dir lake --format csv {more}")))
}

fn paths(files: &Answer) -> BTreeSet<PathBuf> {
    files.column("path").into_iter().map(PathBuf::from).collect()
}

/// The newest manifest, and where it is.
fn newest(place: &Place, lake: &str) -> (PathBuf, Manifest) {
    let listed =
        fs::read_dir(place.path(lake).join("_manifests")).expect("a folder").map(|entry| entry.unwrap().path());
    let path = listed.filter(|path| path.is_file()).max().expect("there is one");
    let manifest = Manifest::of_bytes(&fs::read(&path).expect("it is there")).expect("it is whole");
    (path, manifest)
}

#[test]
fn every_kind_of_file_is_listed_and_there() {
    let place = lake();
    let all = files(&place, "");
    for kind in KINDS {
        let of_kind = files(&place, &format!("--kind {kind}"));
        assert!(!of_kind.rows.is_empty() && of_kind.column("kind").iter().all(|of| *of == kind), "{kind}: {of_kind:?}");
        let expected: Vec<_> = all.rows.iter().filter(|row| row[0] == kind).cloned().collect();
        assert_eq!(of_kind.rows, expected);
    }
    assert!(all.column("kind").iter().all(|kind| KINDS.contains(kind)));
    for path in paths(&all) {
        assert!(place.path("").join(&path).is_file(), "{} is not there", path.display());
    }
    place.fails("lake files --data-dir lake --kind snapshots", 2, &["no kind of file", "views", "state"]);
}

#[test]
fn an_earlier_checkpoint_has_files_of_its_own() {
    let place = lake();
    let epochs = epochs(&place);
    assert!(epochs.len() >= 2 && epochs.is_sorted_by(|a, b| a < b), "claims are no checkpoints: {epochs:?}");
    let (first, last) = (epochs[0], epochs[epochs.len() - 1]);
    let (earlier, now) = (files(&place, &format!("--at {first}")), files(&place, ""));
    assert_eq!(files(&place, &format!("--at {last}")), now);
    let only_earlier: Vec<PathBuf> = paths(&earlier).difference(&paths(&now)).cloned().collect();
    assert!(!only_earlier.is_empty() && earlier.column("epoch").iter().all(|epoch| **epoch <= *first.to_string()));
    for path in paths(&earlier) {
        assert!(place.path("").join(&path).is_file(), "{} is not there", path.display());
    }
    let events = |said: &str| said.split_whitespace().nth(2).and_then(|count| count.parse().ok()).unwrap_or(0_u64);
    let verify = format!("verify --data-dir lake --at {first}");
    let said = place.ok(&verify);
    assert!(
        said.contains(" 0 answers differ") && events(&said) < events(&place.ok("verify --data-dir lake")),
        "{said}"
    );
    place.fails("lake files --data-dir lake --at 7", 1, &["no checkpoint of epoch 7", "lake.keep_checkpoints"]);

    // What a checkpoint that is kept has lost no engine has removed.
    let view = only_earlier.iter().find(|path| path.to_string_lossy().contains("/views/")).expect("views change");
    fs::remove_file(place.path("").join(view)).expect("it is ours");
    place.fails(&verify, 1, &["missing or damaged", "restore it from a copy"]);
    let view = paths(&files(&place, "--kind views")).pop_first().expect("there are views");
    fs::remove_file(place.path("").join(view)).expect("it is ours");
    place.fails("verify --data-dir lake", 1, &["restore it from a copy"]);
}

#[test]
fn a_torn_manifest_is_named_whoever_looks() {
    let place = lake();
    let (path, manifest) = newest(&place, "lake");
    fs::write(&path, &fs::read(&path).expect("it is there")[..200]).expect("it is ours");
    let warning = format!("warning: manifest {} of lake is passed over", manifest.number);
    let first = epochs(&place)[0];
    for line in ["inspect --data-dir lake".to_owned(), format!("lake files --data-dir lake --at {first}")] {
        let done = place.run(&line);
        assert!(done.code == 0 && done.err.contains(&warning), "{line}: {}", done.err);
    }
}

#[test]
fn inspect_says_how_old_and_how_far_behind() {
    let place = lake();
    let said = inspect(&place);
    let read = said["accounted"]["read"].as_u64().expect("a count");
    let age = &said["age"][0];
    assert!(age["age_ms"].as_i64().is_some_and(|ms| (0..600_000).contains(&ms)), "{age}");
    assert!(age["watermark_behind_ms"].is_i64() && age["watermark"].is_string(), "{age}");
    let lags = |said: &Value| -> Vec<Option<u64>> {
        said["sources"].as_array().expect("a list").iter().map(|source| source["lag"].as_u64()).collect()
    };
    assert_eq!(lags(&said), [Some(0); 3]);
    append(&place, 3, 1 << 16, &[b"not read yet".to_vec()]);
    assert_eq!(lags(&inspect(&place)), [Some(13), Some(0), Some(0)]);
    fs::rename(place.path("shop-log"), place.path("elsewhere")).expect("it is ours");
    assert_eq!(lags(&inspect(&place)), [None; 3]);

    let table = place.ok("inspect --data-dir lake");
    for text in ["checkpoint", "age_ms", "collection", "view", "kind", "lag", &format!("read {read} = accepted")] {
        assert!(table.contains(text), "{text} is not in {table}");
    }
}

/// Puts views of another lake in place of this one's.
fn take_views(place: &Place, lake: &str, other: &str, names: &[&str]) {
    let ((path, mut manifest), (_, theirs)) = (newest(place, lake), newest(place, other));
    for view in manifest.views.iter_mut().filter(|view| names.contains(&&*view.name)) {
        *view = theirs.views.iter().find(|theirs| theirs.name == view.name).expect("it has it").clone();
        for file in view.snapshot.iter().chain(&view.changes) {
            let [from, to] = [other, lake].map(|lake| place.path(lake).join(&file.key));
            fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            fs::copy(from, to).expect("it is there");
        }
    }
    fs::write(path, manifest.to_bytes()).expect("it is ours");
}

/// A purchase that cost more, and a record that is none: the views of one are not what the events of the other say.
#[test]
fn verify_finds_what_differs() {
    let place = Place::new();
    let mut lines = lines(&place);
    place.replay("shop.jsonl", "lake", "");
    let sold = lines.iter_mut().find(|line| {
        let line = String::from_utf8_lossy(line);
        line.contains("\"event_type\":\"purchase\"") && line.contains("\"price_paid\":") && !line.contains(":-")
    });
    let sold = sold.expect("something is sold");
    *sold = String::from_utf8_lossy(sold).replace("\"price_paid\":", "\"price_paid\":1").into_bytes();
    lines.push(b"not json".to_vec());
    place.write("other.jsonl", lines.join(&b'\n'));
    place.replay("other.jsonl", "other", "");
    for lake in ["lake", "other"] {
        assert!(place.ok(&format!("verify --data-dir {lake}")).contains(" 0 answers differ"));
    }

    take_views(&place, "lake", "other", &["sales", "traffic", "quality"]);
    let done = place.fails("verify --data-dir lake", 1, &["the views of lake are not what its events say"]);
    // Each of 13 about sales, 4 about traffic, and what became of the records.
    assert!(done.out.contains(", 18 answers differ"), "{}", done.out);
    for text in [
        "sales by day, product_id, category:\n              currency | day | product_id | category | lines | orders | ",
        "sales in total:\n",
        "traffic by minute:\n              currency | minute | page_views | ",
        "quality in total:\n              accepted | quarantined | pending\n  kept        ",
    ] {
        assert!(done.out.contains(text), "{text} is not in {}", done.out);
    }
    let question = done.out.split("sales by month:\n").nth(1).expect("it differs").lines().skip(1);
    let row: Vec<&str> = question.take(2).collect();
    assert!(row[0].starts_with("  kept        ") && row[1].starts_with("  recomputed  "), "{row:?}");

    let done = place.fails("verify --data-dir lake --sample 100", 1, &["the views of lake"]);
    let of_days = done.out.lines().find(|line| line.starts_with("traffic by day of ")).expect("it differs");
    assert!(of_days.matches(", ").count() >= 3, "{of_days}");
}

#[test]
fn a_sample_is_of_days_and_products() {
    let place = lake();
    let rows = |said: &str| said.split(", ").nth(2).and_then(|rows| rows.split(' ').next()?.parse::<u64>().ok());
    let [whole, sample, most] =
        ["", "--sample 2", "--sample 1000"].map(|more| place.ok(&format!("verify --data-dir lake {more}")));
    for said in [&whole, &sample, &most] {
        assert!(said.contains(" 0 answers differ"), "{said}");
    }
    assert!(rows(&sample) < rows(&most) && rows(&most) < rows(&whole), "{whole}{sample}{most}");
    place.fails("verify --data-dir lake --sample 0", 2, &["--sample"]);
}

/// By its length alone nothing tells: its last bytes are kept with the positions.
#[test]
fn a_log_that_was_written_anew_between_two_runs_is_not_read_on() {
    let place = Place::new();
    let lines = lines(&place);
    append(&place, 1, 1 << 30, &lines[..lines.len() / 2]);
    place.ok(RUN);
    let segment = place.path("shop-log/partition=00000/00000000000000000000.jsonl");
    let before = fs::read(&segment).expect("it was written");
    let anew: Vec<u8> = before.iter().map(|byte| if *byte == b'1' { b'2' } else { *byte }).collect();
    fs::write(&segment, &anew).expect("it can be written");
    let said = format!("offset {}, where reading was to go on, is not in shop-log/partition=00000", before.len());
    place.fails(RUN, 1, &[&said, "what stands before it is not what was read", "lake.url"]);
    fs::write(&segment, &before).expect("it can be written");
    append(&place, 1, 1 << 30, &lines[lines.len() / 2..]);
    place.ok(RUN);
    let next = inspect(&place)["sources"][0]["next_offset"].as_u64();
    assert_eq!(next, Some(fs::metadata(&segment).expect("it is there").len()));
}

/// Where a log has lost what was not read yet, the error says how much, and what can be done does help.
#[test]
fn segments_that_were_removed_unread_are_missed() {
    let place = Place::new();
    let lines = lines(&place);
    append(&place, 1, 2_000, &lines[..40]);
    place.ok(RUN);
    let next = inspect(&place)["sources"][0]["next_offset"].as_u64().expect("an offset");
    append(&place, 1, 2_000, &lines[40..120]);
    let base = |path: &PathBuf| path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
    let folder = fs::read_dir(place.path("shop-log/partition=00000")).expect("a folder");
    let segments = folder.map(|entry| entry.unwrap().path());
    let (gone, left): (Vec<_>, Vec<_>) = segments.partition(|path| base(path).is_some_and(|base| base <= next));
    gone.iter().for_each(|path| fs::remove_file(path).expect("it is ours"));
    let begins = left.iter().filter_map(base).min().expect("some are left");
    let said = format!(
        "begins at offset {begins} now, and reading was to go on at {next}: {} bytes were removed before they were read",
        begins - next
    );
    place.fails(RUN, 1, &[&said, "put the segments back", "set lake.url to another place", "source.start"]);
    place.ok(&RUN.replace("lake.url=lake", "lake.url=another"));
}

#[test]
fn lifecycle_rules_are_set_one_by_one() {
    let Some(moto) = or_skip(Moto::shared()) else { return };
    moto.create_bucket("lifecycle").expect("a bucket");
    let place = Place::new();
    let settings = format!("[lake.s3]\nendpoint = '{}'\nregion = 'us-east-1'\npath_style = true\n", moto.endpoint());
    place.write("millrace.toml", settings);
    let check = |lake: &str, more: &str, expected: &str| {
        let mut command = place.command();
        let line = format!("lake lifecycle --data-dir s3://lifecycle/{lake} --format csv {more}");
        command.args(line.split_whitespace()).envs([("AWS_ACCESS_KEY_ID", "any"), ("AWS_SECRET_ACCESS_KEY", "any")]);
        let output = command.output().expect("the binary starts");
        assert!(output.status.success(), "{more}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("rule,days\n{expected}"), "{more}");
    };
    check("shop", "", "");
    check("shop", "--unfinished-days 5", "unfinished uploads,5\n");
    check("shop", "--expire quarantine=90", "quarantine/,90\nunfinished uploads,5\n");
    check("shop", "--unfinished-days 2", "quarantine/,90\nunfinished uploads,2\n");
    check("shop", "", "quarantine/,90\nunfinished uploads,2\n");
    check("other", "--expire quarantine=30", "quarantine/,30\nunfinished uploads,3\n");
}

/// Changes that a snapshot has in it stay in the lake for a while. Added to the snapshot they would count twice.
#[test]
fn the_files_of_a_view_are_its_snapshot_and_what_has_changed_since() {
    let place = lake();
    let (_, manifest) = newest(&place, "lake");
    for view in ["sales", "funnel", "related_products", "traffic", "quality"] {
        let of_view = files(&place, &format!("--view {view}"));
        let snapshots = of_view.rows.iter().filter(|row| row[0] == "views").count();
        assert_eq!(snapshots, 1, "{view}: {of_view:?}");
        let epochs = |kind: &str, of: &Answer| -> Vec<u64> {
            let wanted = of.rows.iter().filter(|row| row[0] == kind && row[1].contains(&format!("/{view}/")));
            wanted.map(|row| row[4].parse().expect("an epoch")).collect()
        };
        let snapshot = epochs("views", &of_view)[0];
        assert!(epochs("changes", &of_view).iter().all(|epoch| *epoch > snapshot), "{view}: {of_view:?}");
        let all = epochs("changes", &files(&place, ""));
        let since = all.iter().filter(|epoch| **epoch > snapshot).count();
        assert_eq!(epochs("changes", &of_view).len(), since, "{view}");
        assert!(all.len() > since, "{view} has no changes that its snapshot has in it: this test shows nothing");
        let kept = manifest.views.iter().find(|entry| entry.name == view).expect("it is kept");
        assert_eq!(of_view.rows.len(), 1 + kept.changes.len(), "{view}");
    }
    place.fails("lake files --data-dir lake --view funel", 2, &["funel", "related_products"]);
    place.fails("lake files --data-dir lake --view sales --kind views", 2, &["cannot be used with"]);
}
