//! What is damaged in a lake.

use super::super::support::{OF_ALL, Place, answers, check_equal};
use super::input::Input;
use super::shop;
use millrace::checkpoint::Manifest;
use std::fs;
use std::path::PathBuf;

/// A lake with several checkpoints, and what runs it.
fn lake() -> (Place, String) {
    let (place, lines) = shop();
    let mut input = Input::log(&place, lines);
    let line = format!(
        "run --quiet --until-end --set serve.address= --set lake.url=lake --set lake.checkpoint_ms=20 --set live.epoch_records=60 \
         --set horizons.deduplication=unlimited --set horizons.sessions=unlimited --set {}",
        input.settings[0]
    );
    for left in [4, 3, 2, 1] {
        input.grow(left);
        place.ok(&line);
    }
    (place, line)
}

fn manifests(place: &Place) -> Vec<PathBuf> {
    let listed = fs::read_dir(place.path("lake/_manifests")).expect("a folder").map(|entry| entry.expect("it").path());
    let mut found: Vec<PathBuf> = listed.filter(|path| path.is_file()).collect();
    found.sort();
    found
}

#[test]
fn a_torn_manifest_is_passed_over_with_a_warning() {
    let (place, line) = lake();
    for damage in [|bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2), |bytes: &mut Vec<u8>| bytes[200] ^= 1] {
        let newest = manifests(&place).pop().expect("there are some");
        let mut bytes = fs::read(&newest).expect("it is there");
        damage(&mut bytes);
        fs::write(&newest, bytes).expect("it is ours");
        let number: u64 = newest.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).expect("a number");
        let warning = format!("warning: manifest {number} of lake is passed over");
        // Who only reads is told, too.
        let done = place.run("query quality --data-dir lake");
        assert!(done.code == 0 && done.err.contains(&warning), "{}", done.err);
        let done = place.run(&line);
        assert!(done.code == 0 && done.err.contains(&warning), "{}", done.err);
        check_equal(&answers(&place, "whole", OF_ALL), &answers(&place, "lake", OF_ALL), "gone on from the one before");
        let said = place.ok("verify --data-dir lake");
        assert!(said.contains(" 0 answers differ"), "{said}");
    }
}

/// Nothing is taken over by a program that could not go on.
#[test]
fn views_of_another_version_are_found_before_the_claim() {
    let (place, line) = lake();
    let before = manifests(&place);
    let newest = before.last().expect("there are some");
    let mut manifest = Manifest::of_bytes(&fs::read(newest).expect("it is there")).expect("it is whole");
    manifest.views[0].version += 1;
    fs::write(newest, manifest.to_bytes()).expect("it is ours");
    place.fails(&line, 1, &["are of version", "use the program that wrote them"]);
    assert_eq!(manifests(&place), before);
}

#[test]
fn a_damaged_file_of_the_state_is_named() {
    let (place, line) = lake();
    // Of those that the newest manifest names: small files are joined, and stay for the manifests before.
    let listed = place.ok("lake files --data-dir lake --kind state --format csv");
    let paths = listed.lines().filter_map(|row| row.split(',').nth(1)).filter(|path| path.contains("_state/accepted"));
    let victim = paths
        .map(|path| place.path(path))
        .max_by_key(|path| fs::metadata(path).map_or(0, |metadata| metadata.len()))
        .expect("a file");
    let (bytes, before) = (fs::read(&victim).expect("it is there"), manifests(&place));
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    fs::write(&victim, damaged).expect("it is ours");
    let name = victim.file_name().and_then(|name| name.to_str()).expect("a name");
    // However often it is tried, as by a supervisor, nothing is forgotten over it.
    for _ in 0..4 {
        place.fails(&line, 1, &[name, "is not what its manifest says", "restore it from a copy"]);
    }
    // Of several workers one fails, and all end.
    place.fails(&line.replace("--until-end ", ""), 1, &[name, "restore it from a copy"]);
    fs::remove_file(&victim).expect("it is ours");
    place.fails(&line, 1, &[name, "restore it from a copy"]);
    // Nor does a start that fails add anything.
    assert!(before.len() >= 3 && before == manifests(&place), "{before:?}");
    fs::write(&victim, bytes).expect("it is ours");
    place.ok(&line);
    check_equal(&answers(&place, "whole", OF_ALL), &answers(&place, "lake", OF_ALL), "restored from a copy");
    let said: serde_json::Value =
        serde_json::from_str(&place.ok("inspect --data-dir lake --format json")).expect("JSON");
    let checkpoints = said["checkpoints"].as_array().expect("a list").len();
    assert_eq!(checkpoints, 3, "what is not kept goes with the first checkpoint");
}
