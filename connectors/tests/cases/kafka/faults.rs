//! What goes wrong while reading, and passes.

use super::support::*;
use millrace_connectors::source::{Connection, LiveSource, Source, SourceStatus, Start};
use millrace_parts::kafka::{Auth, Broker, Options};
use millrace_parts::or_skip;
use rdkafka::producer::Producer;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_broker_that_was_frozen_or_restarted_loses_and_repeats_nothing() {
    let Some(mut broker) = or_skip(Broker::start(&Options::default())) else { return };
    let name = topic(&broker, "through", 2);
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let producer = producer(&broker, &[("enable.idempotence", "true"), ("message.timeout.ms", "0")]);
    let sending = thread::spawn({
        let (stop, sent, name) = (Arc::clone(&stop), Arc::clone(&sent), name.clone());
        move || {
            while !stop.load(Ordering::Relaxed) {
                let number = sent.fetch_add(1, Ordering::Relaxed);
                queue(&producer, &name, &value((number % 2) as i32, number.to_string().as_bytes()));
                thread::sleep(Duration::from_millis(2));
            }
            producer.flush(PATIENCE).unwrap();
        }
    });
    let mut reader = open(settings(&broker, &[&name]), Start::Earliest);
    let status = reader.source.status();
    let reading = thread::spawn({
        let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
        move || {
            read_until(&mut reader, |got, _| {
                stop.load(Ordering::Relaxed) && got.len() as u64 == sent.load(Ordering::Relaxed)
            })
        }
    });
    thread::sleep(Duration::from_millis(300));
    broker.freeze();
    wait_until_down(&status, "no answer within 3 s");
    broker.thaw();
    wait_until_up(&status);
    broker.stop().unwrap();
    wait_until_down(&status, &format!("{}/", broker.bootstrap()));
    broker.restart().unwrap();
    wait_until_up(&status);
    thread::sleep(Duration::from_millis(300));
    stop.store(true, Ordering::Relaxed);
    sending.join().unwrap();
    let got = reading.join().unwrap();
    for partition in 0..2 {
        let got: Vec<String> = values(&got.iter().filter(|got| got.ordinal == partition).cloned().collect::<Vec<_>>());
        let expected: Vec<String> =
            (u64::from(partition)..sent.load(Ordering::Relaxed)).step_by(2).map(|number| number.to_string()).collect();
        assert_eq!(got, expected);
    }
}

#[track_caller]
fn wait_until_up(status: &SourceStatus) {
    wait_until(status, |connection| *connection == Connection::Up);
}

#[track_caller]
fn wait_until_down(status: &SourceStatus, why: &str) {
    wait_until(status, |connection| matches!(connection, Connection::Down(reason) if reason.contains(why)));
}

#[track_caller]
fn wait_until(status: &SourceStatus, is_so: impl Fn(&Connection) -> bool) {
    let start = Instant::now();
    while !is_so(&status.get().connection) {
        assert!(start.elapsed() < PATIENCE, "it stays {:?}", status.get().connection);
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_password_that_is_changed_while_reading_shows() {
    let with = |password: &str, port| {
        let auth = Auth::SaslPlain { user: "ann".to_owned(), password: password.to_owned() };
        Broker::start(&Options { auth, port, ..Options::default() })
    };
    let Some(broker) = or_skip(with("first-secret", None)) else { return };
    let name = topic(&broker, "changed", 1);
    let mut settings = settings(&broker, &[&name]);
    settings.properties = as_user("ann", "first-secret");
    let mut reader = open(settings, Start::Earliest);
    read_all(&mut reader, 0);
    let port = broker.bootstrap().rsplit(':').next().and_then(|port| port.parse().ok());
    drop(broker);
    let _other = with("second-secret", port).unwrap();
    let status = reader.source.status();
    wait_until_down(&status, "uthentication failed");
    assert!(!format!("{status:?}").contains("secret"));
    assert!(reader.next_chunk().unwrap().is_none());
}

#[test]
fn a_topic_that_is_deleted_is_a_fault_of_its_own_partitions() {
    let Some(broker) = or_skip(Broker::shared()) else { return };
    let (gone, kept) = (topic(broker, "gone", 2), topic(broker, "kept", 1));
    let producer = producer(broker, &[]);
    send(&producer, &gone, &[value(0, b"a"), value(1, b"b")]);
    let mut reader = open(settings(broker, &[&gone, &kept]), Start::Earliest);
    read_all(&mut reader, 2);
    delete(broker, &gone);
    read_until(&mut reader, |_, state| state.partitions[..2].iter().all(|partition| partition.fault.is_some()));
    send(&producer, &kept, &[value(0, b"c")]);
    let got = read_until(&mut reader, |got, _| got.len() == 1);
    assert_eq!(values(&got), ["c"]);
    let state = reader.source.status().get();
    assert_eq!(state.partitions[0].fault, Some(format!("topic {gone} is gone")));
    assert_eq!((&state.partitions[2].fault, state.connection), (&None, Connection::Up));
}

#[test]
fn a_broker_that_is_away_holds_up_the_end_of_a_source_but_shortly_and_its_start_until_it_is_back() {
    let Some(mut broker) = or_skip(Broker::start(&Options::default())) else { return };
    let name = topic(&broker, "ends", 1);
    send(&producer(&broker, &[]), &name, &[value(0, b"{}")]);
    let mut readers: Vec<Reader> = (0..2).map(|_| open(settings(&broker, &[&name]), Start::Earliest)).collect();
    readers.iter_mut().for_each(|reader| drop(read_all(reader, 1)));
    // One that does not answer, and one that is not there.
    for is_there in [true, false] {
        if is_there {
            broker.freeze();
        } else {
            broker.kill();
        }
        let mut reader = readers.pop().unwrap();
        reader.source.release(&[(0, 1)]).unwrap();
        let start = Instant::now();
        drop(reader);
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    }
    let late = thread::spawn({
        let settings = settings(&broker, &[&name]);
        move || values(&read_all(&mut open(settings, Start::Earliest), 1))
    });
    thread::sleep(Duration::from_secs(1));
    broker.restart().unwrap();
    assert_eq!(late.join().unwrap(), ["{}"]);
}
