//! What is particular to a folder.

use super::support::*;
use millrace_connectors::store::{Local, Outcome, Store};
use std::fs::{self, File};
use std::path::Path;

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn nothing_is_left_beside_what_was_written() {
    for sync in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let store = Local::new(folder.path(), sync);
        put(&store, "a/b", "x");
        put_new(&store, "a/c", "x").unwrap();
        put_new(&store, "a/c", "y").unwrap();
        upload(&store, "a/d", &[b"x"]).finish().unwrap();
        drop(upload(&store, "a/e", &[b"x"]));
        assert!(names(&folder.path().join("_tmp")).is_empty());
        let all = keys(&store, "");
        store.delete(&all).unwrap();
        assert_eq!(names(folder.path()), ["_tmp"], "folders that are empty go, too");
        assert_eq!(store.local_root(), Some(folder.path()));
    }
}

#[test]
fn what_the_dead_left_is_swept_and_what_is_being_written_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = Local::new(folder.path(), true);
    assert_eq!(store.sweep().unwrap(), 0);
    let mut open = upload(&store, "a", &[b"alive"]);
    // One of a process that is gone has no lock.
    fs::write(folder.path().join("_tmp/1-0"), "dead").unwrap();
    // One that another process holds has.
    let other = File::create(folder.path().join("_tmp/2-0")).unwrap();
    other.lock().unwrap();
    assert_eq!(store.sweep().unwrap(), 1);
    assert_eq!(names(&folder.path().join("_tmp")).len(), 2);
    open.finish().unwrap();
    assert_eq!(get(&store, "a"), "alive");
    drop(other);
    assert_eq!(store.sweep().unwrap(), 1);
    assert!(keys(&store, "").contains(&"a".to_owned()));
}

#[test]
fn sweeping_while_others_write_loses_nothing() {
    let (folder, store) = local();
    let sweeper = Local::new(folder.path(), true);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let store = &store;
                scope.spawn(move || (0..50).for_each(|round| put(&**store, &format!("{writer}/{round}"), "x")))
            })
            .collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            sweeper.sweep().unwrap();
        }
    });
    assert_eq!(keys(&*store, "").len(), 200);
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let store = Local::new(&file, true);
    let error = store.put("a/b", "x".into()).unwrap_err();
    assert_eq!(error.outcome(), Outcome::Refused);
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    assert!(store.get("a/b").unwrap_err().is_not_found());
}
