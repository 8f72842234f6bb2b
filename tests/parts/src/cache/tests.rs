//! What is provisioned is made once, is whole, and is made anew when what it is made from changes.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

fn recipe(text: &str) -> Recipe<'_> {
    Recipe { name: "thing", text, proof: "file" }
}

fn write_file(folder: &Path) -> Result<(), PartError> {
    fs::write(folder.join("file"), "content").map_err(PartError::io(PART, folder))
}

#[test]
fn many_ask_and_one_builds() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let builds = AtomicUsize::new(0);
    let ask = || {
        let folder = provision_in(root.path(), &recipe("1"), |folder| {
            builds.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_millis(50));
            write_file(folder)
        });
        assert_eq!(fs::read_to_string(folder.expect("it is built").join("file")).expect("a file"), "content");
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(ask);
        }
    });
    assert_eq!(builds.load(Ordering::Relaxed), 1);
}

#[test]
fn another_recipe_is_another_folder_and_a_broken_one_is_made_anew() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let first = provision_in(root.path(), &recipe("1"), write_file).expect("it is built");
    let second = provision_in(root.path(), &recipe("2"), write_file).expect("it is built");
    assert_ne!(first, second);
    for broken in ["file", MARKER] {
        fs::remove_file(first.join(broken)).expect("it is there");
        assert_eq!(provision_in(root.path(), &recipe("1"), write_file).expect("it is built again"), first);
        assert!(first.join(broken).exists(), "{broken}");
    }
}

#[test]
fn a_failure_leaves_nothing_and_is_remembered() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let fail = |folder: &Path| {
        write_file(folder)?;
        Err(PartError::Missing { part: "thing", what: "no network".to_owned(), how_to_get_it: "plug it in" })
    };
    let error = provision_in(root.path(), &recipe("1"), fail).expect_err("it fails");
    assert_eq!(error.to_string(), "thing is missing: no network; plug it in");
    let again = provision_in(root.path(), &recipe("1"), |_| panic!("it is not tried again")).expect_err("still");
    assert_eq!(again.to_string(), error.to_string());
    let left: Vec<_> =
        fs::read_dir(root.path()).expect("a folder").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(left, ["locks"]);
}

#[test]
fn only_what_was_left_of_the_same_is_cleared_away() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let made = provision_in(root.path(), &recipe("1"), write_file).expect("it is built");
    let name = made.file_name().expect("a name").display().to_string();
    fs::remove_dir_all(&made).expect("it is there");
    let [left, of_another] =
        [format!(".making-{name}-a"), ".making-thing-0-a".to_owned()].map(|name| root.path().join(name));
    fs::create_dir(&left).and_then(|()| fs::create_dir(&of_another)).expect("folders");
    provision_in(root.path(), &recipe("1"), write_file).expect("it is built");
    assert!(!left.exists() && of_another.exists());
}
