//! A bucket is a store as any other.

use super::super::support::*;
use super::super::{conformance, race};
use super::support::*;
use bytes::Bytes;
use millrace_connectors::store::{Expiry, Failures, Lifecycle, S3Settings, Store, Unreliable};
use std::sync::Arc;

#[test]
fn a_bucket_conforms_with_and_without_a_prefix() {
    let Some(moto) = server() else { return };
    let settings = bucket(moto);
    let store = open(&settings);
    conformance::check(&store);
    assert_eq!(store.place(), format!("s3://{}/some/where", settings.bucket));
    // What is beside the prefix is not its own.
    let whole = open(&S3Settings { prefix: String::new(), ..settings.clone() });
    put(&whole, "some/wherever", "beside");
    conformance::check(&store);
    whole.delete(&["some/wherever".to_owned()]).unwrap();
    conformance::check(&Unreliable::new(Arc::new(whole), Failures::default()));
}

#[test]
fn one_of_sixteen_creates_an_object() {
    let Some(moto) = server() else { return };
    let store: Arc<dyn Store> = Arc::new(open(&bucket(moto)));
    race::check(&store, 6);
}

#[test]
fn more_objects_than_a_page_are_listed_and_deleted() {
    let Some(moto) = server() else { return };
    let settings = bucket(moto);
    let store = open(&settings);
    let key = |number| format!("many/{number:05}");
    for number in 0..1_203 {
        moto.request("PUT", &format!("/{}/some/where/{}", settings.bucket, key(number)), &[], b"x").unwrap();
    }
    // A folder as some tools put it is no object of ours.
    moto.request("PUT", &format!("/{}/some/where/many/", settings.bucket), &[], b"").unwrap();
    let all = keys(&store, "");
    assert_eq!(all, (0..1_203).map(key).collect::<Vec<_>>());
    store.delete(&all).unwrap();
    assert!(keys(&store, "").is_empty());
}

#[test]
fn it_can_be_called_from_a_thread_that_runs_asynchronous_tasks() {
    let Some(moto) = server() else { return };
    let settings = bucket(moto);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = open(&settings);
        put(&store, "a", "x");
        assert_eq!(get(&store, "a"), "x");
        // Dropped here, too.
    });
}

#[test]
fn lifecycle_rules_come_back_and_those_of_others_stay() {
    let Some(moto) = server() else { return };
    let settings = bucket(moto);
    let path = format!("/{}?lifecycle", settings.bucket);
    let theirs = "<LifecycleConfiguration><Rule><ID>theirs</ID><Filter><Prefix>logs/</Prefix></Filter>\
                  <Status>Enabled</Status><Expiration><Days>9</Days></Expiration></Rule></LifecycleConfiguration>";
    let (store, other) = (open(&settings), open(&S3Settings { prefix: "else".to_owned(), ..settings.clone() }));
    assert_eq!(store.lifecycle().unwrap(), Lifecycle::default());
    store.set_lifecycle(&Lifecycle::default()).unwrap();
    assert_eq!(moto.request("PUT", &path, &[], theirs.as_bytes()).unwrap().status, 200);

    let rules = |days| Lifecycle {
        expire: vec![
            Expiry { prefix: "quarantine/".to_owned(), days },
            Expiry { prefix: "pending/".to_owned(), days: 90 },
        ],
        abort_uploads_days: Some(2),
    };
    for (store, days) in [(&store, 30), (&other, 60), (&store, 31)] {
        store.set_lifecycle(&rules(days)).unwrap();
    }
    assert_eq!((store.lifecycle().unwrap(), other.lifecycle().unwrap()), (rules(31), rules(60)));
    let text = moto.request("GET", &path, &[], b"").unwrap().text;
    for part in ["theirs", "logs/", "some/where/quarantine/", "else/pending/"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    store.set_lifecycle(&Lifecycle::default()).unwrap();
    assert_eq!((store.lifecycle().unwrap(), other.lifecycle().unwrap()), (Lifecycle::default(), rules(60)));
    other.set_lifecycle(&Lifecycle::default()).unwrap();
    assert!(moto.request("GET", &path, &[], b"").unwrap().text.contains("theirs"));

    // Where no rule is left, there is no list of rules.
    let alone = open(&bucket(moto));
    alone.set_lifecycle(&rules(1)).unwrap();
    alone.set_lifecycle(&Lifecycle::default()).unwrap();
    assert_eq!(alone.lifecycle().unwrap(), Lifecycle::default());
}

#[test]
fn conditional_writes_are_found_and_leave_no_object() {
    let Some(moto) = server() else { return };
    let store = open(&bucket(moto));
    store.check_conditional_writes().unwrap();
    store.check_conditional_writes().unwrap();
    assert!(keys(&store, "").is_empty());
    store.put("a", Bytes::from_static(b"x")).unwrap();
}
