//! Who reads a checkpoint keeps its files; what changed in a view can be followed; and a view is read from outside.

use super::support::{Answer, Place, SHOP};
use millrace::checkpoint::{Cursor, FileEntry, Manifest, Since, since};
use millrace_connectors::lake::{Column, Columns, read_table};
use millrace_connectors::source::log::LogWriter;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// One checkpoint is kept, so that every other expires at once.
const RUN: &str = "run --quiet --set serve.address= --set source.log.paths=['shop-log'] --set lake.url=lake \
    --set lake.checkpoint_ms=20 --set lake.keep_checkpoints=1 --set live.epoch_records=60 --set lake.sync=false \
    --set horizons.deduplication=unlimited --set horizons.sessions=unlimited";

struct Shop {
    place: Place,
    lines: Vec<Vec<u8>>,
}

impl Shop {
    fn new() -> Shop {
        let place = Place::new();
        place.ok(&format!("{SHOP} shop.jsonl"));
        let lines = place.read("shop.jsonl");
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
        Shop { place, lines }
    }

    fn append(&self, lines: &[Vec<u8>]) {
        let mut log = LogWriter::open(&self.place.path("shop-log"), 2, 1 << 16).expect("a log");
        for (number, line) in (0..).zip(lines) {
            log.append(number % 2, line).expect("it is appended");
        }
        log.flush().expect("it is written");
    }

    /// Reads so many parts of the shop, each by an engine of its own.
    fn run(&self, lines: &[Vec<u8>], more: &str) {
        self.append(lines);
        self.place.ok(&format!("{RUN} --until-end {more}"));
    }

    fn files(&self, more: &str) -> Answer {
        Answer::of_csv(&self.place.ok(&format!("lake files --data-dir lake --format csv {more}")))
    }

    fn are_there(&self, files: &Answer) -> bool {
        files.column("path").iter().all(|path| self.place.path(path).is_file())
    }

    /// Beside an engine, whose manifests come and go.
    fn newest_number(&self) -> Option<u64> {
        let listed = fs::read_dir(self.place.path("lake/_manifests")).ok()?;
        let name = |entry: fs::DirEntry| entry.file_name().into_string().ok();
        listed.flatten().filter_map(name).filter_map(|name| Manifest::number_of(&format!("_manifests/{name}"))).max()
    }

    fn manifests(&self) -> Vec<Manifest> {
        let folder = self.place.path("lake/_manifests");
        let paths = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("listed").path());
        let mut paths: Vec<PathBuf> = paths.filter(|path| path.is_file()).collect();
        paths.sort();
        let read = |path: &PathBuf| Manifest::of_bytes(&fs::read(path).expect("it is there")).expect("it is whole");
        paths.iter().map(read).collect()
    }
}

#[test]
fn a_pinned_checkpoint_keeps_its_files_until_it_is_let_go() {
    let shop = Shop::new();
    let place = &shop.place;
    let parts: Vec<&[Vec<u8>]> = shop.lines.chunks(shop.lines.len().div_ceil(4)).collect();
    shop.run(parts[0], "");
    let pinned = shop.files("--pin nightly --for 1h");
    let epoch = place.manifest("lake")["epoch"].clone();
    shop.run(parts[1], "");
    shop.run(parts[2], "");
    assert!(shop.are_there(&pinned), "an engine with one checkpoint holds it for the pin");
    let now = shop.files("");
    assert_ne!(now, pinned);
    // By its name the same files are listed, and the checkpoint can be read in full.
    assert_eq!(shop.files("--pin nightly"), pinned);
    assert_eq!(shop.files(&format!("--at {epoch}")), pinned);
    let said = place.ok(&format!("verify --data-dir lake --at {epoch}"));
    assert!(said.contains(" 0 answers differ"), "{said}");
    let pins = Answer::of_csv(&place.ok("lake pins --data-dir lake --format csv"));
    assert_eq!(pins.pick("pin holds epoch who"), [format!("nightly yes {epoch} millrace lake files")]);
    // Renewed it ends later.
    let before = pins.column("expires")[0].to_owned();
    std::thread::sleep(Duration::from_millis(2));
    shop.files("--pin nightly --for 2h");
    let pins = Answer::of_csv(&place.ok("lake pins --data-dir lake --format csv"));
    assert!(pins.column("expires")[0] > before.as_str(), "{pins:?}");
    place.fails("lake files --data-dir lake --pin nightly --at 7", 2, &["--at 7", "nightly"]);

    place.ok("lake unpin nightly --data-dir lake");
    shop.run(parts[3], "");
    assert!(!shop.are_there(&pinned), "it has been let go");
    assert!(place.ok("lake pins --data-dir lake --format csv").lines().count() == 1);
    assert!(!place.path("lake/_pins").exists());
    place.fails("lake files --data-dir lake --pin nightly", 1, &["no pin nightly", "--for 1h"]);
    place.fails("lake unpin nightly --data-dir lake", 1, &["no pin nightly"]);
}

#[test]
fn what_is_no_span_or_no_name_is_an_error_that_says_so() {
    let shop = Shop::new();
    shop.run(&shop.lines[..200], "");
    for span in ["1", "8d", "unlimited", "-1h"] {
        shop.place.fails(&format!("lake files --data-dir lake --for={span}"), 2, &["--for", "7d"]);
    }
    shop.place.fails("lake files --data-dir lake --pin ../a --for 1h", 2, &["--pin", "letters"]);
    assert!(!shop.place.path("lake/_pins").exists());
}

/// Beside an engine that keeps one checkpoint and has one every 20 ms, nobody who reads is told that he comes too late.
#[test]
fn readers_beside_an_engine_never_come_too_late() {
    let shop = Shop::new();
    let place = &shop.place;
    shop.append(&shop.lines[..100]);
    let mut engine = place.command();
    engine.args(RUN.split(' ').filter(|word| !word.is_empty())).stdout(Stdio::null()).stderr(Stdio::null());
    let mut engine = engine.spawn().expect("it starts");
    let begun = Instant::now();
    while place.run("query sales --data-dir lake").code != 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "there is no checkpoint");
        std::thread::sleep(Duration::from_millis(20));
    }
    let newest = || shop.newest_number();
    let first = newest();
    let mut failed = Vec::new();
    for part in shop.lines[100..].chunks(100).take(20) {
        shop.append(part);
        for line in ["query traffic --data-dir lake --group-by day", "verify --data-dir lake"] {
            let done = place.run(line);
            if done.code != 0 || done.err.contains("without a pin") {
                failed.push(format!("{line}: {} {}", done.code, done.err));
            }
        }
    }
    let last = newest();
    engine.kill().expect("it is ours");
    engine.wait().expect("it is ours");
    assert!(failed.is_empty(), "{failed:?}");
    assert!(last > first, "checkpoints came and went meanwhile: {first:?} {last:?}");
    assert!(!place.path("lake/_pins").exists(), "none is left");
}

/// Where a reader is killed its pin is left, and ends by itself; where an engine is, nothing that is pinned is lost.
#[test]
fn a_kill_of_a_reader_or_an_engine_loses_nothing_that_is_pinned() {
    let shop = Shop::new();
    let place = &shop.place;
    let parts: Vec<&[Vec<u8>]> = shop.lines.chunks(shop.lines.len().div_ceil(5)).collect();
    shop.run(parts[0], "");
    let mut reader = place.command();
    reader.args(["verify", "--data-dir", "lake"]).env("MILLTEST_CRASH_AT", "pinned").stderr(Stdio::null());
    assert_eq!(reader.stdout(Stdio::null()).status().expect("it starts").code(), None, "it was killed");
    let pins = Answer::of_csv(&place.ok("lake pins --data-dir lake --format csv"));
    assert_eq!(pins.column("holds"), ["yes"], "{pins:?}");
    let id = pins.column("pin")[0].to_owned();
    let pinned = shop.files(&format!("--pin {id}"));
    shop.append(parts[1]);
    for point in ["before-manifest", "after-manifest", "sweeping", "swept:2"] {
        let mut engine = place.command();
        engine.args(RUN.split(' ').filter(|word| !word.is_empty())).arg("--until-end");
        let status = engine.env("MILLTEST_CRASH_AT", point).stderr(Stdio::null()).stdout(Stdio::null()).status();
        status.expect("it starts");
        assert!(shop.are_there(&pinned), "{point}");
    }
    shop.run(parts[2], "");
    assert!(shop.are_there(&pinned));
    place.ok(&format!("lake unpin {id} --data-dir lake"));
    // Killed before what it held is removed: it is then left to the next.
    shop.append(parts[3]);
    let mut engine = place.command();
    engine.args(RUN.split(' ').filter(|word| !word.is_empty())).arg("--until-end");
    let status = engine.env("MILLTEST_CRASH_AT", "sweeping:2").stderr(Stdio::null()).stdout(Stdio::null()).status();
    status.expect("it starts");
    shop.run(parts[4], "");
    assert!(!shop.are_there(&pinned));
    assert!(place.ok("verify --data-dir lake").contains(" 0 answers differ"));
}

/// A pin that cannot be read holds every checkpoint, and that is said.
#[test]
fn an_unreadable_pin_is_told_of_and_holds_everything() {
    let shop = Shop::new();
    let place = &shop.place;
    let parts: Vec<&[Vec<u8>]> = shop.lines.chunks(shop.lines.len().div_ceil(3)).collect();
    shop.run(parts[0], "");
    let before = shop.files("");
    place.write("lake/_pins/broken.json", "{\"manifest\": ");
    shop.append(parts[1]);
    let done = place.run(&format!("{RUN} --until-end"));
    assert!(done.code == 0 && done.err.contains("the pin broken of lake cannot be read"), "{}", done.err);
    assert!(done.err.contains("millrace lake unpin broken"), "{}", done.err);
    assert!(shop.are_there(&before));
    let pins = Answer::of_csv(&place.ok("lake pins --data-dir lake --format csv"));
    assert!(pins.column("holds")[0].starts_with("every checkpoint: it cannot be read"), "{pins:?}");
    place.ok("lake unpin broken --data-dir lake");
    shop.run(parts[2], "");
    assert!(!shop.are_there(&before));
}

type Row = Vec<(String, String)>;
/// By the columns that are no measures: the sums.
type Sums = BTreeMap<Row, BTreeMap<String, i128>>;

/// Adds the rows of a file up. Measures are those columns of numbers that are not `duration_bucket`.
fn add(sums: &mut Sums, path: &Path) {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let Columns { names, columns } = read_table(&path.display().to_string(), bytes.into()).expect("a table");
    let rows = columns.first().map_or(0, Column::len);
    for row in 0..rows {
        let (mut key, mut values) = (Row::new(), Vec::new());
        for (name, column) in names.iter().zip(&columns) {
            match column {
                Column::Int(of) if name != "duration_bucket" => {
                    values.push((name.clone(), i128::from(of[row].unwrap_or(0))))
                }
                Column::Decimal { values: of, .. } => values.push((name.clone(), of[row].unwrap_or(0))),
                Column::Int(of) => key.push((name.clone(), format!("{:?}", of[row]))),
                Column::Text(of) => key.push((name.clone(), format!("{:?}", of.get(row)))),
                Column::Timestamp(of) => key.push((name.clone(), format!("{:?}", of[row]))),
                Column::Date(of) => key.push((name.clone(), format!("{:?}", of[row]))),
                other => panic!("{name}: {other:?}"),
            }
        }
        let sum = sums.entry(key).or_default();
        values.into_iter().for_each(|(name, value)| *sum.entry(name).or_default() += value);
    }
    sums.retain(|_, values| values.values().any(|value| *value != 0));
}

fn folded<'a>(shop: &Shop, mut sums: Sums, files: impl IntoIterator<Item = &'a FileEntry>) -> Sums {
    files.into_iter().for_each(|file| add(&mut sums, &shop.place.path("lake").join(&file.key)));
    sums
}

fn files_of(shop: &Shop, manifest: &Manifest) -> Vec<FileEntry> {
    let mut files: Vec<FileEntry> = match &manifest.catalog {
        Some(catalog) => serde_json::from_slice(&shop.place.read(&format!("lake/{}", catalog.key))).expect("JSON"),
        None => Vec::new(),
    };
    files.extend(manifest.added.iter().cloned());
    files.retain(|file| !manifest.removed.contains(&file.key));
    files
}

/// What leads from every kept checkpoint to the newest gives the newest's rows, across engines; and a repair of everything, which
/// makes the views anew, is no more than a change.
#[test]
fn the_changes_since_any_kept_checkpoint_lead_to_the_newest() {
    let shop = Shop::new();
    let more = "--set lake.keep_checkpoints=60";
    for part in shop.lines.chunks(shop.lines.len().div_ceil(3)) {
        shop.run(part, more);
    }
    shop.place
        .ok("repair --all --data-dir lake --set lake.keep_checkpoints=60 --set horizons.deduplication=unlimited \
         --set horizons.sessions=unlimited");
    let manifests = shop.manifests();
    let newest = manifests.last().expect("there are some");
    let files = files_of(&shop, newest);
    let mut contiguous = 0;
    for view in &newest.views {
        let rows = folded(&shop, Sums::new(), view.snapshot.iter().chain(&view.changes));
        assert!(!rows.is_empty(), "{}", view.name);
        for manifest in &manifests {
            let had = manifest.views.iter().find(|had| had.name == view.name);
            let had =
                had.map_or_else(Sums::new, |had| folded(&shop, Sums::new(), had.snapshot.iter().chain(&had.changes)));
            let given = match since(view, Some(Cursor::of(manifest)), newest, &files) {
                Since::Changes(changes) => {
                    contiguous += 1;
                    folded(&shop, had, changes)
                }
                Since::BeginAnew { snapshot, changes } => {
                    assert_eq!(manifest.epoch.0, 0, "{}: nothing was dropped since {}", view.name, manifest.epoch);
                    folded(&shop, Sums::new(), snapshot.into_iter().chain(changes))
                }
            };
            assert!(given == rows, "{} from manifest {}", view.name, manifest.number);
        }
    }
    assert!(contiguous > 20, "{contiguous}");
}

#[test]
fn a_replay_in_place_of_another_and_dropped_changes_begin_the_log_anew() {
    let shop = Shop::new();
    let place = &shop.place;
    place.replay("shop.jsonl", "lake", "");
    let first = shop.manifests().pop().expect("there is one");
    place.replay("shop.jsonl", "lake", "");
    let second = shop.manifests().pop().expect("there is one");
    assert_eq!(first.epoch, second.epoch, "by the epoch alone they could not be told apart");
    let log = since(&second.views[0], Some(Cursor::of(&first)), &second, &[]);
    assert!(matches!(log, Since::BeginAnew { snapshot: Some(_), .. }), "{log:?}");

    fs::remove_dir_all(place.path("lake")).expect("it is ours");
    let parts: Vec<&[Vec<u8>]> = shop.lines.chunks(shop.lines.len().div_ceil(3)).collect();
    shop.run(parts[0], "--set lake.keep_changes_ms=0");
    let before = shop.manifests().pop().expect("there is one");
    shop.run(parts[1], "--set lake.keep_changes_ms=0");
    let after = shop.manifests().pop().expect("there is one");
    let files = files_of(&shop, &after);
    let log = since(&after.views[0], Some(Cursor::of(&before)), &after, &files);
    assert!(matches!(log, Since::BeginAnew { .. }), "its changes have gone: {log:?}");
    // As it is said to other programs.
    let changes = |more: &str| {
        let line = format!("lake changes {} --data-dir lake --format csv {more}", after.views[0].name);
        let done = place.run(&line);
        assert_eq!(done.code, 0, "{line}: {}", done.err);
        (Answer::of_csv(&done.out), done.err)
    };
    let (given, said) = changes(&format!("--since {}:{}:{}", before.generation, before.number, before.epoch));
    assert!(given.column("what")[0] == "snapshot" && said.contains("forget all rows"), "{given:?} {said}");
    let cursor = given.column("path").pop().expect("the last row").to_owned();
    assert_eq!(cursor, format!("{}:{}:{}", after.generation, after.number, after.epoch));
    let (given, said) = changes(&format!("--since {cursor}"));
    assert!(given.column("what") == ["cursor"] && !said.contains("forget"), "{given:?} {said}");
    assert_eq!(changes("").0.column("what")[0], "snapshot");
    place.fails("lake changes sales --data-dir lake --since now", 2, &["--since now", "a cursor"]);
    // A pin keeps them.
    place.ok("lake files --data-dir lake --pin sink --for 1h");
    shop.run(parts[2], "--set lake.keep_changes_ms=0");
    let last = shop.manifests().pop().expect("there is one");
    let files = files_of(&shop, &last);
    let log = since(&last.views[0], Some(Cursor::of(&after)), &last, &files);
    assert!(matches!(log, Since::Changes(_)), "{log:?}");
}

#[test]
fn an_exported_view_and_the_current_folder_have_each_row_once() {
    let shop = Shop::new();
    let place = &shop.place;
    let parts: Vec<&[Vec<u8>]> = shop.lines.chunks(shop.lines.len().div_ceil(2)).collect();
    let more = "--set lake.keep_checkpoints=60";
    shop.run(parts[0], more);
    let earlier = shop.manifests().pop().expect("there is one");
    shop.run(parts[1], more);
    let newest = shop.manifests().pop().expect("there is one");
    for (manifest, at) in [(&earlier, earlier.epoch.to_string()), (&newest, "latest".to_owned())] {
        for view in &manifest.views {
            let said = place.ok(&format!("lake export {} --data-dir lake --at {at} --to out", view.name));
            assert!(said.contains(&format!("at epoch {}", manifest.epoch)), "{said}");
            let mut exported = Sums::new();
            let path = place.path(&format!("out/{}.parquet", view.name));
            add(&mut exported, &path);
            let rows = folded(&shop, Sums::new(), view.snapshot.iter().chain(&view.changes));
            assert!(exported == rows, "{} at {at}", view.name);
            let bytes = fs::read(&path).expect("it is there");
            let table = read_table("out", bytes.into()).expect("a table");
            assert_eq!(table.columns[0].len(), rows.len(), "{} has a row twice", view.name);
        }
    }
    assert_eq!(fs::read_dir(place.path("out")).expect("a folder").count(), newest.views.len(), "nothing else is left");
    for view in &newest.views {
        let folder = place.path(&format!("lake/current/{}", view.name));
        let mut current = Sums::new();
        for entry in fs::read_dir(&folder).expect("it is there") {
            add(&mut current, &entry.expect("listed").path());
        }
        let rows = folded(&shop, Sums::new(), view.snapshot.iter().chain(&view.changes));
        assert!(current == rows, "{}", view.name);
    }
    place.ok("lake export sales --data-dir lake --to today.parquet");
    assert!(place.path("today.parquet").is_file());
    place.fails("lake export sale --data-dir lake --to out", 2, &["no view \"sale\"", "sales"]);
    place.fails("lake export sales --data-dir lake --at 7 --to out", 1, &["no checkpoint of epoch 7"]);
    place.fails("lake export sales --data-dir lake --at now --to out", 2, &["--at now", "latest"]);
}
