//! Subscriptions: snapshot and changes fold to exactly what a fresh question gives.

use super::fixture::{Serving, answer_at, eventually, request, settings, spread};
use super::folding::{Folded, sorted, subscription};
use millrace::client::KeyedRows;
use millrace::serve::ServeSettings;
use millrace_dataflows::query::Query;
use millrace_proto::v1;
use millrace_proto::v1::snapshot_batch::Reason;
use millrace_proto::v1::subscribe_response::Message;
use std::time::Duration;
use tonic::{Code, IntoRequest, Status};

fn open(serving: &Serving, request: impl IntoRequest<v1::SubscribeRequest>) -> Result<Folded, Status> {
    Folded::open(serving.runtime.handle(), &serving.address(), request)
}

fn check(folded: &Folded, serving: &Serving, view: &str, query: &Query) {
    let version = serving.board().current();
    assert_eq!(folded.epoch, version.epoch);
    assert_eq!(sorted(folded.rows.table()), sorted(answer_at(&version, view, query)), "{view} {query:?}");
}

fn questions() -> Vec<(&'static str, Query)> {
    let top = Query { order_by: vec![("lines".to_owned(), true)], limit: Some(5), ..Query::group_by(["product_id"]) };
    vec![
        ("sales", Query::group_by(["day", "product_id"])),
        ("sales", Query::default()),
        ("sales", top),
        ("funnel", Query::group_by(["device"])),
        ("related_products", Query::default()),
        ("traffic", Query::group_by(["hour", "currency"])),
        ("quality", Query::group_by(["rule"])),
    ]
}

#[test]
fn changes_fold_to_the_answer_and_resume() {
    let mut serving = Serving::new(&settings());
    let mut commits = spread(12, 5).into_iter().zip((100..).step_by(10));
    let (first, epoch) = commits.next().expect("some");
    serving.publish(epoch, first);
    let subscribe = |serving: &Serving, resume: u64| -> Vec<Folded> {
        let of = |(view, query): &(&str, Query)| open(serving, subscription(view, query, resume));
        questions().iter().map(|question| of(question).expect("it fits")).collect()
    };
    let mut all = subscribe(&serving, 0);
    for (changes, epoch) in commits.by_ref().take(6) {
        serving.publish(epoch, changes);
        // Half of them look each time, half are slow: they get several epochs at once.
        for (index, (folded, (view, query))) in all.iter_mut().zip(questions()).enumerate() {
            if index % 2 == 0 || epoch == 160 {
                folded.until(epoch);
                check(folded, &serving, view, &query);
            }
        }
    }
    assert!(all.iter().skip(1).all(|folded| folded.deltas > 0));
    // They break off, things go on, and they come back with what they had.
    let broken: Vec<(KeyedRows, u64)> = all.into_iter().map(|folded| (folded.rows, folded.epoch)).collect();
    let mut last = 160;
    for (changes, epoch) in commits.by_ref().take(2) {
        serving.publish(epoch, changes);
        last = epoch;
    }
    let mut again = subscribe(&serving, 160);
    for ((folded, (rows, epoch)), (view, query)) in again.iter_mut().zip(broken).zip(questions()) {
        assert_eq!(epoch, 160);
        folded.rows = rows;
        folded.until(last);
        assert_eq!(folded.snapshots, [], "{view}");
        check(folded, &serving, view, &query);
    }
    for (changes, epoch) in commits {
        serving.publish(epoch, changes);
        last = epoch;
    }
    for (folded, (view, query)) in again.iter_mut().zip(questions()) {
        folded.until(last);
        check(folded, &serving, view, &query);
    }
}

#[test]
fn an_epoch_that_is_not_known_gets_a_snapshot_that_says_so() {
    let mut serving = Serving::new(&settings());
    let mut commits = spread(3, 6).into_iter();
    serving.publish(10, commits.next().expect("three"));
    serving.publish(20, commits.next().expect("three"));
    let query = Query::group_by(["day"]);
    for (resume, reason) in [(0, Reason::New), (10, Reason::Expired), (15, Reason::Expired)] {
        let mut folded = open(&serving, subscription("traffic", &query, resume)).expect("it fits");
        folded.step().expect("it goes on");
        assert_eq!(folded.snapshots, [reason], "{resume}");
        check(&folded, &serving, "traffic", &query);
    }
    // The current epoch is known, and so is one that somebody keeps, though nobody has subscribed to that question.
    let other = Query::group_by(["hour"]);
    let mut current = open(&serving, subscription("traffic", &other, 20)).expect("it fits");
    assert!(matches!(current.message(), Ok(Message::Progress(progress)) if !progress.columns.is_empty()));
    let kept = serving.board().current();
    serving.board().keep(&kept);
    serving.publish(30, commits.next().expect("three"));
    let minutes = Query::group_by(["minute"]);
    let mut resumed = open(&serving, subscription("traffic", &minutes, 20)).expect("it fits");
    match resumed.message().expect("it goes on") {
        Message::Changes(batch) => assert!(!batch.columns.is_empty() && !batch.upserted.is_empty()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_second_currency_brings_a_new_column_and_a_snapshot() {
    let mut serving = Serving::new(&settings());
    let usd = millrace_schema::Currency::USD.code();
    let sales = |wanted: bool| {
        let mut all = super::fixture::whole();
        all[0].1.retain(|(key, ..)| (key.parts[4] == usd) == wanted);
        vec![all.swap_remove(0)]
    };
    serving.publish(1, sales(true));
    let query = Query::group_by(["day"]);
    let mut folded = open(&serving, subscription("sales", &query, 0)).expect("it fits");
    folded.until(1);
    check(&folded, &serving, "sales", &query);
    serving.publish(2, sales(false));
    folded.until(2);
    assert_eq!(folded.snapshots, [Reason::New, Reason::ColumnsChanged]);
    check(&folded, &serving, "sales", &query);
    // Whoever resumes from before the change hears of it as well.
    let mut resumed = open(&serving, subscription("sales", &query, 1)).expect("it fits");
    resumed.step().expect("it goes on");
    assert_eq!(resumed.snapshots, [Reason::ColumnsChanged]);
}

#[test]
fn a_slow_one_is_told_less_often_and_holds_up_nobody() {
    let mut serving = Serving::new(&settings());
    let commits = spread(60, 8);
    let query = Query::group_by(["day", "product_id"]);
    let epochs = 1..=commits.len() as u64;
    let mut commits = commits.into_iter();
    serving.publish(1, commits.next().expect("many"));
    let mut slow = open(&serving, subscription("sales", &query, 0)).expect("it fits");
    let mut fast = open(&serving, subscription("sales", &query, 0)).expect("it fits");
    for (changes, epoch) in commits.zip(2..) {
        serving.publish(epoch, changes);
        fast.until(epoch);
    }
    let last = *epochs.end();
    slow.until(last);
    check(&fast, &serving, "sales", &query);
    check(&slow, &serving, "sales", &query);
}

#[test]
fn one_that_takes_nothing_is_ended() {
    let mut serving = Serving::new(&ServeSettings { subscription_stall_ms: 200, ..settings() });
    let mut commits = spread(200, 13).into_iter().zip(1..);
    let (changes, epoch) = commits.next().expect("many");
    serving.publish(epoch, changes);
    let query = Query::group_by(["hour", "product_id", "category_as_was"]);
    let mut stuck = open(&serving, subscription("sales", &query, 0)).expect("it fits");
    let subscriptions = |serving: &Serving| {
        let mut client = serving.client();
        let status = serving.runtime.block_on(client.get_status(v1::GetStatusRequest {})).expect("status");
        status.into_inner().server.expect("the server's").subscriptions
    };
    assert_eq!(subscriptions(&serving), 1);
    // More changes than the connection buffers, as often as it takes.
    for (changes, epoch) in commits {
        serving.publish(epoch, changes);
        serving.publish(epoch, super::fixture::whole());
        if subscriptions(&serving) == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    eventually("it is ended", || subscriptions(&serving) == 0);
    // What it was sent before is still there to be taken, and after it the end.
    let status = std::iter::repeat_with(|| stuck.step()).find_map(Result::err).expect("it ends");
    assert_eq!(status.code(), Code::Aborted, "{status:?}");
}

#[test]
fn intervals_and_limits() {
    let limits = ServeSettings {
        subscriptions_max: 2,
        subscription_rows_max: 30,
        subscription_interval_min_ms: 150,
        ..settings()
    };
    let mut serving = Serving::new(&limits);
    let mut commits = spread(40, 9).into_iter();
    let refused = |serving: &Serving, view: &str, query: &Query| {
        open(serving, subscription(view, query, 0)).map(|_| ()).expect_err("it is refused").code()
    };
    assert_eq!(refused(&serving, "traffic", &Query::default()), Code::Unavailable);
    serving.publish(1, commits.next().expect("many"));
    assert_eq!(refused(&serving, "nothing", &Query::default()), Code::NotFound);
    assert_eq!(refused(&serving, "sales", &Query::group_by(["colour"])), Code::InvalidArgument);
    assert_eq!(refused(&serving, "traffic", &Query::group_by(["minute"])), Code::ResourceExhausted);
    let mut folded = open(&serving, subscription("traffic", &Query::default(), 0)).expect("it fits");
    let second = open(&serving, subscription("traffic", &Query::default(), 0)).expect("it fits");
    assert_eq!(refused(&serving, "traffic", &Query::default()), Code::ResourceExhausted);
    drop(second);
    // The place of one that is gone is free again.
    let place = || open(&serving, subscription("traffic", &Query::default(), 0)).is_ok();
    eventually("a place is free", place);
    // In a second of many epochs there are few messages.
    let started = std::time::Instant::now();
    for (changes, epoch) in commits.zip(2..) {
        serving.publish(epoch, changes);
        std::thread::sleep(Duration::from_millis(15));
    }
    folded.until(40);
    let most = started.elapsed().as_millis() / 150 + 2;
    assert!((folded.deltas as u128) <= most && folded.deltas > 0, "{} of {most}", folded.deltas);
}

#[test]
fn a_deadline_and_a_drain_end_it_with_a_status() {
    let serving = Serving::whole(&settings(), 5);
    let mut timed = tonic::Request::new(subscription("traffic", &Query::default(), 0));
    timed.metadata_mut().insert("grpc-timeout", "300m".parse().expect("ASCII"));
    let mut folded = open(&serving, timed).expect("it fits");
    let status = std::iter::repeat_with(|| folded.step()).find_map(Result::err).expect("it ends");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let mut folded = open(&serving, subscription("traffic", &Query::default(), 0)).expect("it fits");
    folded.step().expect("a snapshot");
    serving.server.begin_drain();
    let status = std::iter::repeat_with(|| folded.step()).find_map(Result::err).expect("it ends");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("draining"), "{status:?}");
    let refused = open(&serving, subscription("traffic", &Query::default(), 0)).map(|_| ());
    assert_eq!(refused.expect_err("it drains").code(), Code::Unavailable);
    // Other reads go on until the end.
    assert!(serving.ask(request("traffic", &Query::default())).is_ok());
    serving.server.drain().expect("it ends");
}

/// Whoever has an epoch is told of none before it, whatever became of the server meanwhile.
#[test]
fn an_epoch_that_is_yet_to_come_is_waited_for() {
    let mut serving = Serving::new(&settings());
    let mut commits = spread(3, 6).into_iter();
    serving.publish(10, commits.next().expect("three"));
    let query = Query::group_by(["day"]);
    // Somebody else has the question looked at, at an epoch before.
    let mut other = open(&serving, subscription("traffic", &query, 0)).expect("it fits");
    other.step().expect("a snapshot");
    let mut timed = tonic::Request::new(subscription("traffic", &query, 99));
    timed.metadata_mut().insert("grpc-timeout", "1000m".parse().expect("ASCII"));
    let refused = open(&serving, timed).map(|_| ()).expect_err("it does not come in time");
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(refused.message().contains("resume_epoch = 99") && refused.message().contains("newest is 10"));
    let (runtime, address) = (serving.runtime.handle().clone(), serving.address());
    let asked = query.clone();
    let resumed = std::thread::spawn(move || Folded::open(&runtime, &address, subscription("traffic", &asked, 99)));
    std::thread::sleep(Duration::from_millis(100));
    serving.publish(50, commits.next().expect("three"));
    std::thread::sleep(Duration::from_millis(50));
    assert!(!resumed.is_finished());
    serving.publish(120, commits.next().expect("three"));
    let mut resumed = resumed.join().expect("no panic").expect("it fits");
    resumed.step().expect("it goes on");
    assert_eq!((resumed.epoch, &*resumed.snapshots), (120, &[Reason::Expired][..]));
    check(&resumed, &serving, "traffic", &query);
}

/// Nor is an answer taken to be known at an epoch that lies between two at which it was looked at.
#[test]
fn an_epoch_between_two_is_not_known() {
    let mut serving = Serving::new(&settings());
    serving.publish(10, super::fixture::whole());
    let query = Query::group_by(["day"]);
    let mut folded = open(&serving, subscription("traffic", &query, 0)).expect("it fits");
    folded.step().expect("a snapshot");
    // The view's rows change, and the answer does not.
    let traffic = super::fixture::shop().views.iter().position(|(name, _)| *name == "traffic").expect("a view");
    let minutes = super::fixture::whole().swap_remove(traffic);
    let gone = minutes.1.iter().map(|(key, time, sums)| {
        (*key, *time, millrace_dataflows::rows::Measures(sums.0.iter().map(|value| -value).collect()))
    });
    serving.publish(20, vec![(minutes.0, gone.chain(minutes.1.iter().cloned()).collect())]);
    folded.until(20);
    let mut resumed = open(&serving, subscription("traffic", &query, 15)).expect("it fits");
    resumed.step().expect("it goes on");
    assert_eq!(resumed.snapshots, [Reason::Expired]);
    let mut known = open(&serving, subscription("traffic", &query, 10)).expect("it fits");
    assert!(matches!(known.message(), Ok(Message::Progress(_))));
}
