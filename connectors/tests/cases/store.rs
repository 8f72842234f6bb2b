//! What every store keeps to, and what S3 does when requests fail.

use bytes::Bytes;
use millrace_connectors::store::retry::Retry;
use millrace_connectors::store::{Entry, Expiry, Failures, Local, Put, Retrying, S3, S3Settings, Store, Unreliable};
use millrace_parts::or_skip;
use millrace_parts::s3::Moto;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::tempdir;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn keys(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| &*entry.key).collect()
}

/// Writes that cross several parts, on S3.
const LARGE: usize = 12 << 20;

fn conforms(store: &Arc<dyn Store>) {
    assert!(store.get("a/b").unwrap_err().is_not_found());
    store.put("a/b", bytes("one")).unwrap();
    store.put("a/b", bytes("two")).unwrap();
    assert_eq!(store.get("a/b").unwrap(), bytes("two"));
    assert_eq!(store.put_if_absent("a/c", bytes("first")).unwrap(), Put::Created);
    assert_eq!(store.put_if_absent("a/c", bytes("second")).unwrap(), Put::Exists);
    assert_eq!(store.put_if_absent("a/c", bytes("first")).unwrap(), Put::Created, "its own bytes are there");
    assert_eq!(store.get("a/c").unwrap(), bytes("first"));
    for key in ["", "/a", "a//b", "../a", "a/./b", "a/"] {
        assert!(store.put(key, bytes("x")).is_err(), "{key}");
    }

    let mut upload = store.create("large").unwrap();
    let block: Vec<u8> = (0..1 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for _ in 0..LARGE >> 20 {
        upload.write_all(&block).unwrap();
    }
    assert!(store.list("large").unwrap().is_empty(), "it shows when it is whole");
    assert_eq!(upload.finish().unwrap(), LARGE as u64);
    let read = store.get("large").unwrap();
    assert!(read.len() == LARGE && read.chunks(1 << 20).all(|part| part == block));
    let mut dropped = store.create("dropped").unwrap();
    (0..LARGE >> 20).for_each(|_| dropped.write_all(&block).unwrap());
    drop(dropped);
    assert!(store.get("dropped").unwrap_err().is_not_found());
    let mut small = store.create("small").unwrap();
    small.write_all(b"few").unwrap();
    small.finish().unwrap();

    assert_eq!(keys(&store.list("").unwrap()), ["a/b", "a/c", "large", "small"]);
    assert_eq!(
        store.list("a/").unwrap(),
        [("a/b", 3), ("a/c", 5)].map(|(key, bytes)| Entry { key: key.to_owned(), bytes })
    );
    assert_eq!(keys(&store.list("sm").unwrap()), ["small"]);
    store.delete(&["a/b".to_owned(), "a/c".to_owned(), "not there".to_owned()]).unwrap();
    assert_eq!(keys(&store.list("").unwrap()), ["large", "small"]);
    one_of_many_wins(store);
}

fn one_of_many_wins(store: &Arc<dyn Store>) {
    for round in 0..5 {
        let (key, wins) = (format!("race/{round}"), AtomicUsize::new(0));
        std::thread::scope(|threads| {
            for writer in 0..16 {
                let (key, wins) = (&key, &wins);
                threads.spawn(move || {
                    let put = store.put_if_absent(key, bytes(&format!("of writer {writer}"))).unwrap();
                    wins.fetch_add(usize::from(put == Put::Created), Ordering::Relaxed);
                });
            }
        });
        assert_eq!(wins.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn a_directory_conforms() {
    let directory = tempdir().unwrap();
    for (name, sync) in [("sync", true), ("fast", false)] {
        conforms(&(Arc::new(Local::new(&directory.path().join(name), sync)) as Arc<dyn Store>));
    }
}

#[test]
fn an_unreliable_store_that_is_tried_again_conforms() {
    let directory = tempdir().unwrap();
    let local = Arc::new(Local::new(directory.path(), false));
    let failures = Failures { before: 200, after: 200, slow: 50, delay: Duration::from_millis(1), seed: 7 };
    let unreliable: Arc<dyn Store> = Arc::new(Unreliable::new(local, failures));
    let failed = (0..200).filter(|at| unreliable.put(&format!("x/{at}"), bytes("x")).is_err()).count();
    let there =
        unreliable.list("x/").or_else(|_| unreliable.list("x/")).or_else(|_| unreliable.list("x/")).unwrap().len();
    assert!(
        failed > 40 && there > 200 - failed,
        "of {failed} that were reported as failed, some were done: {there} are there"
    );
    let retry = Retry { first_pause: Duration::from_millis(1), ..Retry::DEFAULT };
    let store = Retrying::new(unreliable, retry);
    for at in 0..100 {
        let key = format!("m/{at}");
        assert_eq!(store.put_if_absent(&key, bytes("mine")).unwrap(), Put::Created, "{key}");
        assert_eq!(store.put_if_absent(&key, bytes("other")).unwrap(), Put::Exists, "{key}");
    }
}

fn settings(endpoint: &str) -> S3Settings {
    S3Settings {
        bucket: "lake".to_owned(),
        prefix: "some/shop".to_owned(),
        endpoint: endpoint.to_owned(),
        region: "us-east-1".to_owned(),
        path_style: true,
        part_bytes: 5 << 20,
        ..S3Settings::default()
    }
}

/// The SDK looks for credentials in the environment.
fn moto() -> Option<Moto> {
    let moto = or_skip(Moto::start())?;
    // No other test of this binary reads the environment while it is set: all that use S3 come through here.
    static SET: std::sync::Once = std::sync::Once::new();
    SET.call_once(|| unsafe {
        std::env::set_var("AWS_ACCESS_KEY_ID", "any");
        std::env::set_var("AWS_SECRET_ACCESS_KEY", "secret-of-a-test");
    });
    moto.create_bucket("lake").expect("a bucket");
    Some(moto)
}

#[test]
fn s3_conforms_fails_clearly_and_keeps_its_rules() {
    let Some(moto) = moto() else { return };
    let endpoint = moto.endpoint().to_owned();
    conforms(&(Arc::new(S3::open(settings(&endpoint)).unwrap()) as Arc<dyn Store>));
    unreachable_is_told(&endpoint);
    lost_answers(&endpoint);
    lifecycle(&endpoint);
}

fn unreachable_is_told(endpoint: &str) {
    let told = |settings: S3Settings| {
        let started = Instant::now();
        let Err(error) = S3::open(settings) else { panic!("it cannot be reached") };
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
        let error = error.to_string();
        assert!(!error.contains("secret-of-a-test"), "{error}");
        error
    };
    let quick = |settings: S3Settings| S3Settings { attempts: 2, timeout: Duration::from_secs(5), ..settings };
    let none = told(quick(S3Settings { bucket: "nobody".to_owned(), ..settings(endpoint) }));
    assert!(none.contains("NoSuchBucket") && none.contains("s3://nobody/some/shop"), "{none}");
    let nobody = told(quick(settings("http://127.0.0.1:1")));
    assert!(nobody.contains("lake.s3.endpoint (http://127.0.0.1:1)"), "{nobody}");
}

/// A proxy that does every request and loses the answers of some: their clients see a connection that ends.
fn lossy(endpoint: &str, lose_every: usize) -> String {
    let target = endpoint.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("it listens"));
    std::thread::spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            let (Ok(mut client), Ok(mut server)) = (client, TcpStream::connect(&target)) else { continue };
            let (Ok(mut from_client), Ok(mut to_server)) = (client.try_clone(), server.try_clone()) else { continue };
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_server);
            });
            std::thread::spawn(move || {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(length) = server.read(&mut buffer) {
                    if length == 0 || (number + 1).is_multiple_of(lose_every) {
                        break;
                    }
                    if client.write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
                let _ = client.shutdown(std::net::Shutdown::Both);
                let _ = server.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    address
}

fn lost_answers(endpoint: &str) {
    let lossy = lossy(endpoint, 2);
    let settings = S3Settings { prefix: "lossy".to_owned(), ..settings(&lossy) };
    let store = Retrying::new(Arc::new(S3::open(settings).unwrap()), Retry::DEFAULT);
    for at in 0..12 {
        let key = format!("m/{at}");
        assert_eq!(store.put_if_absent(&key, bytes("mine")).unwrap(), Put::Created, "{key}");
        assert_eq!(store.put_if_absent(&key, bytes("other")).unwrap(), Put::Exists, "{key}");
    }
    assert_eq!(store.list("m/").unwrap().len(), 12);
}

fn lifecycle(endpoint: &str) {
    let store = S3::open(settings(endpoint)).unwrap();
    assert_eq!(store.lifecycle().unwrap(), []);
    let expiry = |days| Expiry { folder: "quarantine".to_owned(), days };
    store.set_lifecycle(&[expiry(30)], 3).unwrap();
    store.set_lifecycle(&[expiry(60)], 3).unwrap();
    let mut rules = store.lifecycle().unwrap();
    rules.sort();
    let want = [("millrace-some-shop-quarantine", Some(60)), ("millrace-some-shop-unfinished", None)];
    assert_eq!(rules, want.map(|(id, days)| (id.to_owned(), days)));
}
