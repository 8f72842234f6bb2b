//! A lake in a folder, engines that start on it and are killed, and somebody who removes what he likes.

use super::super::at::kept_manifests;
use super::super::open::{Lake, put, put_trail};
use super::super::pinned::{pin, unpin};
use super::super::present::Needs;
use super::super::protocol::Decision;
use super::*;
use crate::numbers::Generation;
use crate::settings::Settings;
use bytes::Bytes;
use millrace_connectors::store::Local;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Clone, Debug)]
enum Step {
    Start,
    /// Files that come with it, and whether all that there are become one.
    Commit {
        files: u8,
        merges: bool,
    },
    /// It is killed where it has written files, and perhaps the trail, and no manifest.
    Die {
        files: u8,
        trail: bool,
    },
    /// Of the manifests that are there, those of these bits go.
    RemoveManifests(u8),
    RemoveTrail,
    RemoveFiles(u8),
    /// A reader pins the manifest of this many from the newest back, if it is safe to.
    Pin(usize),
    /// A pin is let go, or ends.
    Unpin,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Start),
        8 => (0..3_u8, prop::bool::weighted(0.3)).prop_map(|(files, merges)| Step::Commit { files, merges }),
        2 => (0..3_u8, any::<bool>()).prop_map(|(files, trail)| Step::Die { files, trail }),
        2 => any::<u8>().prop_map(Step::RemoveManifests),
        1 => Just(Step::RemoveTrail),
        1 => any::<u8>().prop_map(Step::RemoveFiles),
        3 => (0..4_usize).prop_map(Step::Pin),
        2 => Just(Step::Unpin),
    ]
}

/// Nothing here goes by the time of day.
const NOW_MS: u64 = 1_000_000_000;
const FOR_MS: u64 = 1_000_000;

struct Engine {
    lake: Lake,
    sweep: Sweep,
    next_file: usize,
    /// Manifests that it has seen or made. What others remove of them expires all the same when its time has come.
    seen: BTreeSet<(u64, String)>,
}

impl Engine {
    fn look(&mut self, book: &Book) {
        self.sweep.look(&*self.lake.store).expect("a folder");
        if self.seen.is_empty() {
            let there = book.manifests.iter().filter(|(_, (_, fate))| *fate == Fate::IsThere);
            self.seen.extend(there.map(|(which, _)| which.clone()));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    IsThere,
    /// Somebody has removed it.
    Removed,
    Expired,
}

/// What was there.
#[derive(Default)]
struct Book {
    /// By number and run: the files that it named.
    manifests: BTreeMap<(u64, String), (BTreeSet<String>, Fate)>,
    /// What each file held; those that somebody has removed are not in it.
    files: BTreeMap<String, Vec<u8>>,
    /// By name: the manifests that readers have pinned, and their files.
    pinned: BTreeMap<String, (u64, BTreeSet<String>)>,
    pins: usize,
}

impl Book {
    /// After what an engine has done: manifests that are gone have expired.
    fn look(&mut self, place: &Path) {
        for ((number, _), (_, fate)) in &mut self.manifests {
            if *fate == Fate::IsThere && !place.join(Manifest::key(*number)).exists() {
                *fate = Fate::Expired;
            }
        }
    }

    /// Files that are to be there: a manifest that is there names them, or only such that somebody has removed.
    fn protected(&self) -> BTreeSet<&String> {
        let of = |fate: Fate| -> BTreeSet<&String> {
            self.manifests.values().filter(|(_, is)| *is == fate).flat_map(|(files, _)| files).collect()
        };
        let (kept, expired) = (of(Fate::IsThere), of(Fate::Expired));
        of(Fate::Removed)
            .difference(&expired)
            .copied()
            .chain(kept)
            .chain(self.pinned.values().flat_map(|(_, files)| files))
            .filter(|key| self.files.contains_key(*key))
            .collect()
    }
}

fn write(engine: &mut Engine, files: u8, book: &mut Book) -> Vec<FileEntry> {
    let mut written = Vec::new();
    for _ in 0..files {
        engine.next_file += 1;
        let generation = engine.lake.manifest.generation;
        let key = format!(
            "events/event_date=2026-01-01/{}-w000-{:06}.parquet",
            super::super::free::prefix(generation),
            engine.next_file
        );
        let bytes = format!("{key} of {}", engine.lake.manifest.run).into_bytes();
        // A name may come again once its file is gone: where manifests are missing, so may a generation.
        assert!(engine.lake.store.get(&key).is_err(), "{key} is written over");
        engine.lake.store.put(&key, Bytes::from(bytes.clone())).expect("a folder takes it");
        book.files.insert(key.clone(), bytes.clone());
        let entry = FileEntry { key, rows: 1, bytes: bytes.len() as u64, ..FileEntry::default() };
        written.push(entry);
    }
    written
}

/// As the committer does.
fn commit(engine: &mut Engine, files: u8, merges: bool, book: &mut Book) {
    if engine.lake.check_there().is_err() {
        return;
    }
    let before = engine.lake.manifest.clone();
    engine.look(book);
    let files_before = engine.lake.files.clone();
    let written = write(engine, files, book);
    let mut next = Manifest { number: before.number + 1, epoch: before.epoch.next(), ..before.clone() };
    next.written_at = format!("{} of {}", next.epoch, next.run);
    let mut now = if merges && !written.is_empty() { Vec::new() } else { files_before.clone() };
    now.extend(written);
    next.added = now.clone();
    put_trail(&*engine.lake.store, engine.sweep.trail(next.number)).expect("a folder");
    let (decision, entry) = put(&*engine.lake.store, &next, engine.lake.entry.as_ref()).expect("a folder");
    assert_eq!(decision, Decision::Done, "nobody else is there");
    let keys = |files: &[FileEntry]| files.iter().map(|file| file.key.clone()).collect::<BTreeSet<_>>();
    book.manifests.insert((next.number, next.run.clone()), (keys(&now), Fate::IsThere));
    engine.seen.insert((next.number, next.run.clone()));
    let oldest = engine.sweep.trail(next.number).oldest;
    for seen in engine.seen.iter().filter(|(number, _)| *number < oldest) {
        book.manifests.get_mut(seen).expect("it was there").1 = Fate::Expired;
    }
    engine.sweep.dropped(before.number, keys(&files_before).difference(&keys(&now)).cloned().collect());
    engine.sweep.committed(&*engine.lake.store, &next, &now, NOW_MS).expect("a folder");
    (engine.lake.manifest, engine.lake.files, engine.lake.entry) = (next, now, entry);
}

fn start(place: &Path, settings: &Settings, book: &mut Book) -> Option<Engine> {
    let place = place.to_string_lossy();
    let lake = Lake::claim_if(&place, settings, None, Needs::State, &|_| Ok(())).ok()?;
    let named = lake.manifest.own_files().chain(&lake.files).map(|file| file.key.clone()).collect();
    book.manifests.insert((lake.manifest.number, lake.manifest.run.clone()), (named, Fate::IsThere));
    let sweep = Sweep::new(settings.lake.keep_checkpoints as u64, lake.manifest.generation, lake.spared);
    Some(Engine { lake, sweep, next_file: 0, seen: BTreeSet::new() })
}

fn check(steps: Vec<Step>, keep: usize) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("lake");
    let mut settings = Settings::default();
    (settings.lake.keep_checkpoints, settings.lake.sync) = (keep, false);
    let (mut book, mut engine) = (Book::default(), None::<Engine>);
    for step in steps {
        match (&step, engine.take()) {
            (Step::Start, running) => {
                drop(running);
                engine = start(&place, &settings, &mut book);
            }
            (Step::Commit { files, merges }, Some(mut running)) => {
                commit(&mut running, *files, *merges, &mut book);
                engine = Some(running);
            }
            (Step::Die { files, trail }, Some(mut running)) => {
                running.look(&book);
                write(&mut running, *files, &mut book);
                if *trail {
                    let newest = running.lake.manifest.number + 1;
                    put_trail(&*running.lake.store, running.sweep.trail(newest)).expect("a folder");
                }
            }
            (Step::RemoveManifests(bits), running) => {
                engine = running;
                let there = book.manifests.iter_mut().filter(|(_, (_, fate))| *fate == Fate::IsThere);
                for (at, ((number, _), (_, fate))) in there.enumerate() {
                    if bits >> (at % 8) & 1 == 1 {
                        std::fs::remove_file(place.join(Manifest::key(*number))).expect("it is there");
                        *fate = Fate::Removed;
                        book.pinned.retain(|_, (pinned, _)| *pinned != *number);
                    }
                }
            }
            (Step::RemoveTrail, running) => {
                engine = running;
                let _ = std::fs::remove_file(place.join("_trail.json"));
            }
            (Step::RemoveFiles(bits), running) => {
                engine = running;
                let keys: Vec<String> = book.files.keys().cloned().collect();
                for (_, key) in keys.iter().enumerate().filter(|(at, _)| bits >> (at % 8) & 1 == 1) {
                    let _ = std::fs::remove_file(place.join(key));
                    book.files.remove(key);
                }
            }
            (Step::Pin(back), running) => {
                engine = running;
                let store = Local::new(&place, false);
                let there = kept_manifests(&store, &mut |_| {}).expect("a folder");
                let newest = there.last().map(|manifest| manifest.epoch);
                let chosen = there.iter().rev().nth(*back).map(|manifest| manifest.epoch);
                let id = format!("pin-{:06}", book.pins);
                book.pins += 1;
                let epoch = chosen.filter(|epoch| Some(*epoch) != newest);
                if let Ok((manifest, _)) = pin(&store, &id, epoch, ("a test", FOR_MS), &|| NOW_MS, &mut |_| {}) {
                    let files = files_of(&store, &manifest).expect("there is no catalog");
                    book.pinned.insert(id, (manifest.number, keys(&manifest, &files)));
                }
            }
            (Step::Unpin, running) => {
                engine = running;
                if let Some((id, _)) = book.pinned.pop_first() {
                    // Where its manifest was removed, the pin may be there or not.
                    let _ = unpin(&Local::new(&place, false), &id);
                }
            }
            (_, None) => {}
        }
        book.look(&place);
        for key in book.protected() {
            let bytes = std::fs::read(place.join(key)).ok();
            prop_assert_eq!(bytes.as_ref(), book.files.get(key), "{} after {:?}", key, step);
        }
    }
    Ok(())
}

proptest! {
    /// Whatever is removed, no engine removes or writes over a file of records that a manifest names which has not expired.
    #[test]
    fn nothing_is_lost_by_what_others_remove(
        steps in prop::collection::vec(step(), 1..40),
        keep in 1..4_usize,
    ) {
        check(steps, keep)?;
    }
}

/// What an engine that was killed has left goes with the first checkpoint of the next.
#[test]
fn what_was_never_named_is_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("lake");
    let mut settings = Settings::default();
    settings.lake.sync = false;
    let mut book = Book::default();
    let mut first = start(&place, &settings, &mut book).expect("it starts");
    commit(&mut first, 1, false, &mut book);
    let left = write(&mut first, 2, &mut book);
    drop(first);
    let mut second = start(&place, &settings, &mut book).expect("it starts");
    assert!(left.iter().all(|file| place.join(&file.key).exists()), "not before it has a checkpoint of its own");
    commit(&mut second, 1, false, &mut book);
    assert!(left.iter().all(|file| !place.join(&file.key).exists()));
    assert_eq!(second.lake.files.len(), 2);
}

/// A lake with an engine that keeps one checkpoint, and a file that each merges away of the one before.
fn merging() -> (tempfile::TempDir, Engine, Book) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = Settings::default();
    (settings.lake.keep_checkpoints, settings.lake.sync) = (1, false);
    let mut book = Book::default();
    let mut engine = start(&folder.path().join("lake"), &settings, &mut book).expect("it starts");
    commit(&mut engine, 1, false, &mut book);
    (folder, engine, book)
}

#[test]
fn a_pinned_checkpoint_stays_and_goes_when_it_is_let_go() {
    let (folder, mut engine, mut book) = merging();
    let place = folder.path().join("lake");
    let store = engine.lake.store.clone();
    let now = || NOW_MS;
    let (pinned, _) = pin(&*store, "mine", None, ("a test", FOR_MS), &now, &mut |_| {}).expect("it is the newest");
    let file = place.join(&engine.lake.files[0].key);
    for _ in 0..4 {
        commit(&mut engine, 1, true, &mut book);
        assert!(file.exists() && place.join(Manifest::key(pinned.number)).exists());
    }
    let numbers = numbers(&*store).expect("a folder");
    assert_eq!(numbers.len(), 2, "no other is held by it: {numbers:?}");
    // Another engine knows of it, too, and nothing is missing.
    drop(engine);
    let mut settings = Settings::default();
    (settings.lake.keep_checkpoints, settings.lake.sync) = (1, false);
    let mut engine = start(&place, &settings, &mut book).expect("it starts");
    let trail = read_trail(&*store).expect("a folder").expect("it is there");
    assert_eq!(trail.spared, Generation(1), "a gap before what is kept is no loss");
    for _ in 0..2 {
        commit(&mut engine, 1, true, &mut book);
        assert!(file.exists());
    }
    unpin(&*store, "mine").expect("it is there");
    commit(&mut engine, 1, true, &mut book);
    assert!(!file.exists() && !place.join(Manifest::key(pinned.number)).exists());
    assert!(!place.join("_pins").exists());
}

#[test]
fn a_pin_that_has_ended_holds_nothing_and_is_cleared_away() {
    let (folder, mut engine, mut book) = merging();
    let place = folder.path().join("lake");
    let file = place.join(&engine.lake.files[0].key);
    let before = || NOW_MS - FOR_MS - 2 * CLOCKS_DIFFER_MS;
    pin(&*engine.lake.store, "mine", None, ("a test", FOR_MS), &before, &mut |_| {}).expect("it is the newest");
    (0..2).for_each(|_| commit(&mut engine, 1, true, &mut book));
    assert!(!file.exists());
    assert!(!place.join("_pins/mine.json").exists());
}

#[test]
fn what_is_expiring_cannot_be_pinned() {
    let (folder, mut engine, mut book) = merging();
    let store = engine.lake.store.clone();
    let oldest = engine.lake.manifest.clone();
    commit(&mut engine, 1, true, &mut book);
    // As if its engine were about to remove it.
    store.put(&Manifest::key(oldest.number), Bytes::from(oldest.to_bytes())).expect("a folder");
    let now = || NOW_MS;
    let error =
        pin(&*store, "mine", Some(oldest.epoch), ("a test", FOR_MS), &now, &mut |_| {}).expect_err("it expires");
    assert!(error.to_string().contains("is expiring"), "{error:#}");
    assert!(!folder.path().join("lake/_pins").exists(), "no pin is left");
    let (newest, _) = pin(&*store, "mine", None, ("a test", FOR_MS), &now, &mut |_| {}).expect("the newest stays");
    assert_eq!(newest.epoch, engine.lake.manifest.epoch);
    let error = pin(&*store, "mine", None, ("a test", FOR_MS), &now, &mut |_| {}).expect_err("the name is taken");
    assert!(error.to_string().contains("there is a pin mine"), "{error:#}");
}
