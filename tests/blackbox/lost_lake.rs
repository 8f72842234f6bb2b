//! A lake that has lost something: nothing more is lost by starting on it, and what can be made anew is.

use super::support::{OF_ALL, OF_EVENTS, Place, SHOP, accounting, answers, check_equal};
use millrace::checkpoint::{FileEntry, Kind, Manifest};
use millrace_connectors::source::log::LogWriter;
use millrace_parts::or_skip;
use millrace_parts::s3::Moto;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const RUN: &str = "run --quiet --until-end --format json --set serve.address= --set source.log.paths=['shop-log'] \
    --set lake.url=lake --set lake.checkpoint_ms=20 --set live.epoch_records=60 --set horizons.deduplication=unlimited \
    --set horizons.sessions=unlimited";
const REPAIR: &str =
    "repair --all --data-dir lake --set horizons.deduplication=unlimited --set horizons.sessions=unlimited";

struct Shop {
    place: Place,
    lines: Vec<Vec<u8>>,
}

/// A lake that two engines have written one after the other, and what a replay of the same answers, in `whole`.
fn shop() -> Shop {
    let place = Place::new();
    place.ok(&format!("{SHOP} shop.jsonl"));
    place.replay("shop.jsonl", "whole", "");
    let lines = place.read("shop.jsonl");
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
    let shop = Shop { place, lines };
    let half = shop.lines.len() / 2;
    for lines in [&shop.lines[..half], &shop.lines[half..]] {
        shop.append(lines);
        shop.place.ok(RUN);
    }
    shop
}

impl Shop {
    fn append(&self, lines: &[Vec<u8>]) {
        let mut log = LogWriter::open(&self.place.path("shop-log"), 3, 1 << 16).expect("a log");
        for (number, line) in (0..).zip(lines) {
            log.append(number % 3, line).expect("it is appended");
        }
        log.flush().expect("it is written");
    }

    /// Some views that nobody has read yet.
    fn append_more(&self, name: &str) {
        let line = format!(
            "{{\"event_id\":\"{name}\",\"event_type\":\"page_view\",\"event_time\":\"2026-03-09T00:00:00Z\",\"session_id\":\"{name}\",\
             \"page_type\":\"home\"}}"
        );
        self.append(&[line.into_bytes()]);
    }

    fn manifests(&self) -> Vec<PathBuf> {
        manifests(&self.place.path("lake"))
    }

    fn newest(&self) -> (Manifest, Vec<FileEntry>) {
        self.read(&self.manifests().pop().expect("there are some"))
    }

    /// A manifest, and the files of the lake at it.
    fn read(&self, path: &Path) -> (Manifest, Vec<FileEntry>) {
        let manifest = Manifest::of_bytes(&fs::read(path).expect("it is there")).expect("it is whole");
        let mut files: Vec<FileEntry> = match &manifest.catalog {
            Some(catalog) => serde_json::from_slice(&self.place.read(&format!("lake/{}", catalog.key))).expect("JSON"),
            None => Vec::new(),
        };
        files.extend(manifest.added.iter().cloned());
        files.retain(|file| !manifest.removed.contains(&file.key));
        (manifest, files)
    }

    /// Files that hold records, as they are in the folder.
    fn record_files(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        for folder in ["events", "dimensions", "pending", "quarantine"] {
            collect(&self.place.path("lake").join(folder), &mut found);
        }
        found
    }

    fn check(&self, wanted: fn(&str) -> bool, label: &str) {
        check_equal(&answers(&self.place, "whole", wanted), &answers(&self.place, "lake", wanted), label);
        let said = self.place.ok("verify --data-dir lake");
        assert!(said.contains(" 0 answers differ"), "{label}: {said}");
    }
}

fn manifests(lake: &Path) -> Vec<PathBuf> {
    let Ok(listed) = fs::read_dir(lake.join("_manifests")) else { return Vec::new() };
    let mut found: Vec<PathBuf> = listed.map(|entry| entry.expect("it").path()).filter(|path| path.is_file()).collect();
    found.sort();
    found
}

fn collect(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("listed").path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.insert(path);
        }
    }
}

/// Every program that may write refuses it, however often; and it can be made anew.
#[test]
fn a_lake_without_manifests_is_not_taken_for_a_new_one() {
    let shop = shop();
    let place = &shop.place;
    let before = shop.record_files();
    assert!(before.len() > 6, "{before:?}");
    shop.manifests().iter().for_each(|path| fs::remove_file(path).expect("it is ours"));
    for _ in 0..2 {
        place.fails(RUN, 1, &["lake holds", "files of a lake", "no manifest", "repair --all --data-dir lake"]);
        place.fails("replay shop.jsonl --data-dir lake --quiet", 1, &["no manifest", "repair --all"]);
        place.fails("query sales --data-dir lake", 1, &["no manifest", "repair --all"]);
        place.fails("repair --data-dir lake", 1, &["no manifest", "repair --all"]);
    }
    assert_eq!(shop.record_files(), before);
    assert!(shop.manifests().is_empty());

    let done = place.run(REPAIR);
    assert!(done.code == 0 && done.out.contains("made anew from"), "{}{}", done.out, done.err);
    assert!(done.err.contains("goes on at the last record"), "what cannot be known is said: {}", done.err);
    shop.check(OF_EVENTS, "made anew");
    // Nothing is counted twice by what is read again: one record of each partition, and copies and rejected ones behind it.
    let [_, accepted, ..] = accounting(&place.ok(RUN));
    let whole = place.table("whole", "quality").pick("accepted");
    assert_eq!(whole, [accepted.to_string()]);
    shop.check(OF_EVENTS, "gone on");
    shop.append_more("one-more");
    let [_, more, ..] = accounting(&place.ok(RUN));
    assert_eq!(more, accepted + 1);
}

/// Event files alone suffice.
#[test]
fn event_files_alone_make_a_lake() {
    let shop = shop();
    let place = &shop.place;
    for folder in ["_manifests", "views", "changes", "_state", "quarantine"] {
        let _ = fs::remove_dir_all(place.path("lake").join(folder));
    }
    let done = place.run(REPAIR);
    assert!(done.code == 0 && done.err.contains("neither views nor changes"), "{}{}", done.out, done.err);
    shop.check(OF_EVENTS, "made anew");
    let [_, accepted, duplicates, ..] = accounting(&place.ok(RUN));
    assert_eq!(place.table("whole", "quality").pick("accepted"), [accepted.to_string()]);
    assert!(duplicates >= accepted, "all is read again, and known by its id");
    shop.check(OF_EVENTS, "gone on");
}

/// A repair that is killed has lost nothing, and nobody takes what it has begun for a lake.
#[test]
fn a_repair_of_a_lost_lake_can_be_killed() {
    let shop = shop();
    let place = &shop.place;
    shop.manifests().iter().for_each(|path| fs::remove_file(path).expect("it is ours"));
    for point in ["file-written", "before-manifest"] {
        let mut command = place.command();
        let status = command.args(REPAIR.split(' ')).env("MILLTEST_CRASH_AT", point).stderr(Stdio::null()).status();
        assert_eq!(status.expect("it starts").code(), None, "it was killed");
        place.fails(RUN, 1, &["has begun and not ended", "repair --all"]);
        place.fails("replay shop.jsonl --data-dir lake --quiet", 1, &["has begun and not ended"]);
        place.fails("query sales --data-dir lake", 1, &["has begun and not ended"]);
    }
    place.ok(REPAIR);
    shop.check(OF_EVENTS, "made anew");
    place.ok(RUN);
    shop.check(OF_EVENTS, "gone on");
}

/// Files that only a removed manifest names are not swept, though their generation is known, and none is written over.
#[test]
fn what_removed_manifests_name_stays() {
    let shop = shop();
    let (_, named) = shop.newest();
    // What the oldest names, too, goes with that once it has been merged.
    let (_, of_oldest) = shop.read(&shop.manifests()[0]);
    let of_oldest: BTreeSet<String> = of_oldest.into_iter().map(|file| file.key).collect();
    let named: BTreeSet<String> = named
        .into_iter()
        .map(|file| file.key)
        .filter(|key| Kind::of(key) != Some(Kind::Changes) && !of_oldest.contains(key))
        .collect();
    assert!(!named.is_empty());
    let bytes = |key: &String| shop.place.read(&format!("lake/{key}"));
    let before: Vec<(String, Vec<u8>)> = named.iter().map(|key| (key.clone(), bytes(key))).collect();
    // All but the oldest: the next start goes back to that, and reads again.
    shop.manifests()[1..].iter().for_each(|path| fs::remove_file(path).expect("it is ours"));
    for more in ["a", "b", "c", "d"] {
        shop.append_more(more);
        shop.place.ok(RUN);
        for (key, was) in &before {
            assert!(bytes(key) == *was, "{key} was written over");
        }
    }
    let said = shop.place.ok("verify --data-dir lake");
    assert!(said.contains(" 0 answers differ"), "{said}");
}

/// However often a start fails, no manifest is added, and none expires.
#[test]
fn a_start_that_fails_adds_nothing() {
    let shop = shop();
    let (newest, _) = shop.newest();
    let state = newest.state.deltas.iter().chain(&newest.state.base).next().expect("there is state");
    let path = shop.place.path("lake").join(&state.key);
    let bytes = fs::read(&path).expect("it is there");
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    fs::write(&path, damaged).expect("it is ours");
    let before = shop.manifests();
    for _ in 0..12 {
        shop.place.fails(
            RUN,
            1,
            &["is not what its manifest says", "restore it from a copy", "repair --all --data-dir lake"],
        );
        assert_eq!(shop.manifests(), before);
    }
    fs::write(&path, bytes).expect("it is ours");
    shop.place.ok(RUN);
    shop.check(OF_ALL, "mended");
}

/// What is damaged and was made of events is made anew, also what every kept manifest names.
#[test]
fn all_but_event_files_is_made_anew() {
    let shop = shop();
    let place = &shop.place;
    type Of = fn(&Manifest) -> Vec<FileEntry>;
    let view = |manifest: &Manifest, name: &str| {
        let view = manifest.views.iter().find(|view| view.name == name).expect("it is kept").clone();
        view.snapshot.into_iter().chain(view.changes).collect::<Vec<_>>()
    };
    let sales: Of = |manifest| {
        manifest.views.iter().filter(|view| view.name == "sales").flat_map(|view| view.snapshot.clone()).collect()
    };
    let state: Of = |manifest| manifest.state.deltas.iter().chain(&manifest.state.base).cloned().collect();
    let names: Of = |manifest| manifest.state.names.clone();
    let rounds = [
        ("sales", Some(sales), true),
        ("state", Some(state), false),
        ("names", Some(names), true),
        ("quality", None, false),
    ];
    for (label, of, is_damaged) in rounds {
        let (manifest, _) = shop.newest();
        let files = of.map_or_else(|| view(&manifest, "quality"), |of| of(&manifest));
        assert!(!files.is_empty(), "{label}");
        for file in files {
            let path = place.path("lake").join(&file.key);
            if is_damaged {
                fs::write(&path, vec![0; file.bytes as usize]).expect("it is ours");
            } else {
                fs::remove_file(&path).expect("it is ours");
            }
        }
        place.fails(RUN, 1, &["restore it from a copy", "repair --all --data-dir lake"]);
        let done = place.run(REPAIR);
        assert_eq!(done.code, 0, "{label}: {}", done.err);
        let said = place.ok("verify --data-dir lake");
        assert!(said.contains(" 0 answers differ"), "{label}: {said}");
        place.ok(RUN);
        // How many copies were read is not known any more, once what quality counted is lost.
        shop.check(if label == "quality" { OF_EVENTS } else { OF_ALL }, label);
    }
}

/// Each kind of file is missed, by `verify` and by a start; a start goes on where answers do not need it.
#[test]
fn missing_files_are_noticed() {
    let shop = shop();
    let place = &shop.place;
    let (manifest, files) = shop.newest();
    let of = |kind| files.iter().find(|file| Kind::of(&file.key) == Some(kind)).map(|file| file.key.clone());
    let state = manifest.state.files().next().expect("there is state").key.clone();
    let view = manifest.views[0].snapshot.as_ref().expect("there is one").key.clone();
    let keys = [
        (of(Kind::Events), true),
        (of(Kind::Dimensions), true),
        (of(Kind::Quarantine), true),
        (Some(state), false),
        (Some(view), false),
    ];
    for (key, goes_on) in keys {
        let key = key.expect("there is one");
        let (path, aside) = (place.path("lake").join(&key), place.path("aside"));
        fs::rename(&path, &aside).expect("it is ours");
        let done = place.fails("verify --data-dir lake", 1, &["missing or damaged", "restore it from a copy"]);
        assert!(done.out.contains(&format!("missing: {key}")), "{}", done.out);
        let done = place.run(RUN);
        assert!((done.code == 0) == goes_on && done.err.contains(&key), "{key}: {} {}", done.code, done.err);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        // Cut off is as good as gone.
        let bytes = fs::read(&aside).expect("it is there");
        fs::write(&path, &bytes[..bytes.len() - 1]).expect("it is ours");
        place.fails("verify --data-dir lake", 1, &["missing or damaged"]);
        fs::rename(&aside, &path).expect("it is ours");
    }
    // The same size and other bytes is found by verify.
    let key = of(Kind::Quarantine).expect("there is one");
    let mut bytes = place.read(&format!("lake/{key}"));
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(place.path("lake").join(&key), bytes).expect("it is ours");
    let done = place.fails("verify --data-dir lake", 1, &["missing or damaged"]);
    assert!(done.out.contains(&format!("damaged: {key}")), "{}", done.out);
}

fn wait_for(what: &str, mut wanted: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !wanted() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ended(child: &mut Child) -> (Option<i32>, String) {
    let mut status = None;
    wait_for("its end", || {
        status = child.try_wait().expect("it is ours");
        status.is_some()
    });
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().expect("a pipe"), &mut said).expect("text");
    (status.and_then(|status| status.code()), said)
}

/// It stops, with an error, and writes to nothing that is in its place; told to end, it does not end with 0 either.
#[test]
fn a_lake_that_goes_while_it_runs_stops_its_engine() {
    type Harm = fn(&Place);
    let moved: Harm = |place| fs::rename(place.path("lake"), place.path("elsewhere")).expect("it is ours");
    let replaced: Harm = |place| {
        fs::rename(place.path("lake"), place.path("elsewhere")).expect("it is ours");
        fs::create_dir(place.path("lake")).expect("a folder");
    };
    let emptied: Harm = |place| {
        manifests(&place.path("lake")).iter().for_each(|path| fs::remove_file(path).expect("it is ours"));
    };
    for (number, (harm, is_told_to_end)) in
        [(moved, false), (moved, true), (replaced, false), (emptied, false)].into_iter().enumerate()
    {
        let shop = Shop { place: Place::new(), lines: Vec::new() };
        shop.append_more("first");
        let line = RUN.replace(" --until-end", "");
        let mut engine = shop.place.command();
        engine.args(line.split(' ')).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut engine = engine.spawn().expect("it starts");
        wait_for("a checkpoint", || shop.manifests().len() >= 2);
        // Its sweep may be under way.
        std::thread::sleep(Duration::from_millis(200));
        harm(&shop.place);
        if is_told_to_end {
            assert!(Command::new("kill").args(["-INT", &engine.id().to_string()]).status().expect("kill").success());
        } else {
            shop.append_more("second");
        }
        let (code, said) = ended(&mut engine);
        assert!(
            code == Some(1) && said.contains("lake is gone") && said.contains("committed at 2"),
            "{number}: {code:?} {said}"
        );
        assert!(!shop.place.path("lake/events").exists() || number == 3, "{number}: nothing is written in its place");
        if number == 0 {
            assert!(!shop.place.path("lake").exists());
            fs::rename(shop.place.path("elsewhere"), shop.place.path("lake")).expect("it is ours");
            let [read, accepted, ..] = accounting(&shop.place.ok(RUN));
            assert_eq!((read, accepted), (2, 2), "put back, it goes on");
        }
    }
}

#[test]
fn a_bucket_that_is_emptied_stops_its_engine() {
    let Some(moto) = or_skip(Moto::start()) else { return };
    moto.create_bucket("lake").expect("a bucket");
    let shop = Shop { place: Place::new(), lines: Vec::new() };
    shop.append_more("first");
    let settings = format!("[lake.s3]\nendpoint = '{}'\nregion = 'us-east-1'\npath_style = true\n", moto.endpoint());
    shop.place.write("millrace.toml", settings);
    let line = RUN.replace(" --until-end", "").replace("lake.url=lake", "lake.url=s3://lake/x");
    let mut engine = shop.place.command();
    engine.env("AWS_ACCESS_KEY_ID", "any").env("AWS_SECRET_ACCESS_KEY", "any");
    engine.args(line.split(' ')).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut engine = engine.spawn().expect("it starts");
    let keys = || -> Vec<String> {
        let listed = moto.request("GET", "/lake?list-type=2&prefix=x/", &[], b"").expect("an answer").text;
        listed.split("<Key>").skip(1).filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned())).collect()
    };
    wait_for("a checkpoint", || keys().iter().filter(|key| key.contains("/_manifests/0")).count() >= 2);
    std::thread::sleep(Duration::from_millis(300));
    for key in keys() {
        moto.request("DELETE", &format!("/lake/{key}"), &[], b"").expect("an answer");
    }
    shop.append_more("second");
    let (code, said) = ended(&mut engine);
    assert!(code == Some(1) && said.contains("s3://lake/x is gone"), "{code:?} {said}");
    assert!(!keys().iter().any(|key| key.contains("/_manifests/0")), "{:?}", keys());
}
