//! What every store keeps to, whoever made it.

use super::support::*;
use bytes::Bytes;
use millrace_connectors::store::{Failures, Put, Retry, Retrying, Store, StoreError, Unreliable};
use std::sync::Arc;

#[test]
fn a_local_store_conforms() {
    let (_folder, store) = local();
    check(&*store);
}

#[test]
fn an_unreliable_one_that_never_fails_conforms() {
    let (_folder, store) = local();
    check(&Unreliable::new(store, Failures::default()));
}

#[test]
fn one_that_is_tried_again_conforms_although_it_fails() {
    let (_folder, store) = local();
    let failures = Failures { before: 200, after: 200, seed: 3, ..Failures::default() };
    let (store, retry) = (Arc::new(Unreliable::new(store, failures)), Retry::DEFAULT);
    let store = Retrying::new(store, Retry { first_pause: std::time::Duration::from_millis(1), ..retry });
    // An upload that has begun is not tried again.
    check_but_uploads(&store);
}

/// `store` is empty.
pub fn check(store: &dyn Store) {
    uploads_show_when_they_are_finished(store);
    check_but_uploads(store);
}

fn check_but_uploads(store: &dyn Store) {
    assert!(keys(store, "").is_empty(), "the suite wants an empty store");
    objects_are_written_over(store);
    only_the_first_is_created(store);
    what_is_not_there_is_not_found(store);
    ranges_are_cut_at_the_end(store);
    lists_are_whole_and_in_order(store);
    deleting_is_quiet_about_what_is_not_there(store);
    keys_stay_inside(store);
    assert!(keys(store, "").is_empty(), "all was removed");
    assert!(!store.place().is_empty());
}

fn clear(store: &dyn Store) {
    store.delete(&keys(store, "")).unwrap();
}

fn uploads_show_when_they_are_finished(store: &dyn Store) {
    let mut open = upload(store, "up/one", &[b"some ", b"", b"bytes"]);
    assert!(!is_there(store, "up/one") && keys(store, "").is_empty());
    assert_eq!(open.finish().unwrap(), 10);
    assert_eq!(get(store, "up/one"), "some bytes");

    drop(upload(store, "up/one", &[b"other"]));
    drop(upload(store, "up/two", &[b"other"]));
    assert_eq!((get(store, "up/one").as_str(), keys(store, "")), ("some bytes", vec!["up/one".to_owned()]));

    assert_eq!(upload(store, "up/one", &[b"other"]).finish().unwrap(), 5);
    assert_eq!(get(store, "up/one"), "other");
    assert_eq!(store.create("up/empty").unwrap().finish().unwrap(), 0);
    assert_eq!(get(store, "up/empty"), "");
    clear(store);
}

fn objects_are_written_over(store: &dyn Store) {
    for text in ["first", "", "a third that is longer"] {
        put(store, "a/b/c", text);
        assert_eq!(get(store, "a/b/c"), text);
    }
    let odd = "views/größe €/k=a b+c%20&d;e=f/part-0.parquet";
    put(store, odd, "odd");
    assert_eq!((get(store, odd).as_str(), keys(store, "views/größe")), ("odd", vec![odd.to_owned()]));
    clear(store);
}

fn only_the_first_is_created(store: &dyn Store) {
    assert_eq!(put_new(store, "m/1", "first").unwrap(), Put::Created);
    assert_eq!(put_new(store, "m/1", "second").unwrap(), Put::Exists);
    assert_eq!(get(store, "m/1"), "first");
    put(store, "m/2", "plain");
    assert_eq!(put_new(store, "m/2", "second").unwrap(), Put::Exists);
    store.delete(&["m/1".to_owned()]).unwrap();
    assert_eq!(put_new(store, "m/1", "").unwrap(), Put::Created);
    assert_eq!(put_new(store, "m/1", "second").unwrap(), Put::Exists);
    clear(store);
}

fn what_is_not_there_is_not_found(store: &dyn Store) {
    put(store, "is/there", "x");
    for key in ["is", "is/not", "is/there/not", "not/there"] {
        assert!(store.get(key).unwrap_err().is_not_found(), "{key}");
        assert!(store.get_range(key, 0..1).unwrap_err().is_not_found(), "{key}");
    }
    let error = store.get("is/not").unwrap_err().to_string();
    assert!(error.contains("is/not") && error.contains(&store.place()), "{error}");
    clear(store);
}

fn ranges_are_cut_at_the_end(store: &dyn Store) {
    put(store, "r", "0123456789");
    put(store, "empty", "");
    let range = |key, range| String::from_utf8(store.get_range(key, range).unwrap().to_vec()).unwrap();
    for (from, to, expected) in
        [(0, 10, "0123456789"), (3, 5, "34"), (9, 10, "9"), (8, 99, "89"), (0, u64::MAX, "0123456789")]
    {
        assert_eq!(range("r", from..to), expected);
    }
    for (from, to) in [(10, 11), (99, 100), (4, 4)] {
        assert_eq!(range("r", from..to), "");
    }
    assert_eq!(range("empty", 0..5), "");
    clear(store);
}

fn lists_are_whole_and_in_order(store: &dyn Store) {
    for key in ["b/2", "a", "b/10", "b/c/d", "bc", "b-", "b/1"] {
        put(store, key, key);
    }
    assert_eq!(keys(store, ""), ["a", "b-", "b/1", "b/10", "b/2", "b/c/d", "bc"]);
    assert_eq!(keys(store, "b/"), ["b/1", "b/10", "b/2", "b/c/d"]);
    assert_eq!(keys(store, "b/1"), ["b/1", "b/10"]);
    assert_eq!(keys(store, "b/c"), ["b/c/d"]);
    assert_eq!(keys(store, "b"), ["b-", "b/1", "b/10", "b/2", "b/c/d", "bc"]);
    assert_eq!(keys(store, "a"), ["a"]);
    for nothing in ["c", "a/", "b/c/d/e/", "nothing/at/all"] {
        assert!(keys(store, nothing).is_empty(), "{nothing}");
    }
    let listed = store.list("b/c").unwrap();
    assert_eq!(listed[0].bytes, 5);
    // Since 2020 and before 2100.
    assert!((1_577_836_800_000_000..4_102_444_800_000_000).contains(&listed[0].modified_micros), "{listed:?}");
    clear(store);
}

fn deleting_is_quiet_about_what_is_not_there(store: &dyn Store) {
    put(store, "d/1", "x");
    put(store, "d/2", "x");
    let of = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    store.delete(&of(&["d/1", "d/3", "d", "e/f/g", "d/1"])).unwrap();
    assert_eq!(keys(store, ""), ["d/2"]);
    store.delete(&[]).unwrap();
    store.delete(&of(&["d/2"])).unwrap();
    // A folder that is empty is none.
    put(store, "d", "x");
    store.delete(&of(&["d"])).unwrap();
}

fn keys_stay_inside(store: &dyn Store) {
    put(store, "inside", "x");
    let bad = |result: Result<(), StoreError>| matches!(result, Err(StoreError::BadKey { .. }));
    for key in ["", "/inside", "../inside", "a/../../b", "a//b", "inside/", "./inside", "_tmp/x", "a\\b", "a\nb"] {
        assert!(bad(store.put(key, Bytes::new())), "{key}");
        assert!(bad(store.put_if_absent(key, Bytes::new()).map(drop)), "{key}");
        assert!(bad(store.create(key).map(drop)), "{key}");
        assert!(bad(store.get(key).map(drop)), "{key}");
        assert!(bad(store.get_range(key, 0..1).map(drop)) && bad(store.get_range(key, 0..0).map(drop)), "{key}");
        assert!(bad(store.delete(&["inside".to_owned(), key.to_owned()])), "{key}");
    }
    for prefix in ["/", "../", "a//", "_tmp/"] {
        assert!(bad(store.list(prefix).map(drop)), "{prefix}");
    }
    assert_eq!(keys(store, ""), ["inside"], "none of the keys is deleted where one is bad");
    clear(store);
}
