//! Reads through codecs that are no protocol at all: what is shared between callers and codecs, and what is not.

use super::live::{Message, MessageKind, Messages, Reason};
use super::*;
use crate::serve::callers::connections::Connections;
use crate::serve::callers::memory::Memory;
use crate::serve::commit::Changed;
use crate::serve::status::{Engine, EngineStatus};
use crate::serve::{Commit, Publisher, ServeSettings};
use bytes::Bytes;
use millrace_dataflows::context::Shared;
use millrace_dataflows::facts::{Account, Counted};
use millrace_dataflows::query::Query;
use millrace_dataflows::settings::ViewContext;
use millrace_dataflows::table::{Table, Value};
use millrace_dataflows::views::quality;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::watch;
use tokio_stream::Stream;

/// Rows as texts, between a mark of its own; and how many it was given.
struct Lines {
    mark: &'static str,
    rows: AtomicUsize,
}

impl Lines {
    fn new(mark: &'static str) -> Arc<Lines> {
        Arc::new(Lines { mark, rows: AtomicUsize::new(0) })
    }
}

impl Codec for Lines {
    fn name(&self) -> &'static str {
        self.mark
    }

    fn put_row(&self, out: &mut Vec<u8>, role: RowRole, key: &[Value], values: &[Value]) {
        self.rows.fetch_add(1, SeqCst);
        let cells: Vec<String> = key.iter().chain(values.iter().take(1)).map(ToString::to_string).collect();
        out.extend_from_slice(format!("{role:?}{}{}\n", self.mark, cells.join(self.mark)).as_bytes());
    }

    fn place(&self, place: &Place) -> Bytes {
        format!("{}{}", self.mark, place.epoch).into()
    }
}

/// An engine that may refuse.
#[derive(Default)]
struct Said {
    refuses: AtomicBool,
}

impl Engine for Said {
    fn status(&self) -> EngineStatus {
        EngineStatus::default()
    }

    fn drain(&self) {}

    fn refuses_reads(&self) -> Option<String> {
        self.refuses.load(SeqCst).then(|| "there is no memory".to_owned())
    }

    fn quarantine(&self) -> Table {
        let mut table = Table::new(self.quarantine_columns());
        table.rows = vec![vec![Value::text("bad_time"), Value::Int(7)]];
        table
    }

    fn quarantine_columns(&self) -> Vec<String> {
        ["rule", "offset"].map(str::to_owned).to_vec()
    }

    fn settings(&self) -> String {
        String::new()
    }
}

/// A board that records of some hours are put on, and reads of it.
struct Fixture {
    publisher: Publisher,
    shared: Shared,
    engine: Arc<Said>,
    draining: watch::Sender<bool>,
    reads: Reads,
}

fn context() -> ViewContext {
    ViewContext { allowed_lateness_micros: 0, ..ViewContext::default() }
}

fn fixture(settings: &ServeSettings) -> Fixture {
    let shared = Shared::new(Arc::new(context()), Arc::default(), Arc::default());
    let publisher = Publisher::new(&shared, &["quality"], settings.keep_epochs());
    let (draining, drained) = watch::channel(false);
    let engine = Arc::<Said>::default();
    let clock: Clock = Arc::new(|| 1_000);
    let reads = Reads::new(settings, publisher.board(), engine.clone(), clock, drained, Memory::ample());
    Fixture { publisher, shared, engine, draining, reads }
}

/// Somebody without a connection.
fn nobody(deadline: Deadline) -> Asker {
    Asker { deadline, connection: None }
}

fn settings() -> ServeSettings {
    ServeSettings { subscription_interval_min_ms: 1, ..ServeSettings::default() }
}

const HOUR: i64 = 3_600_000_000;

impl Fixture {
    /// So many records more of an hour.
    fn publish(&mut self, epoch: u64, records: &[(i64, i64)]) {
        let change = |&(hour, count): &(i64, i64)| {
            let account = |what| (Account { hour: hour * HOUR, source: self.shared.none, what }, count);
            [Counted::Read, Counted::Accepted].map(account)
        };
        let rows = quality::rows(records.iter().flat_map(change));
        let changes = rows.iter().map(|(key, sums)| (*key, epoch, sums.to_measures())).collect();
        self.publisher.add(Commit { epoch, changes: vec![("quality", Changed::List(changes))], ..Commit::default() });
        self.publisher.publish();
    }

    async fn subscribe(&self, codec: &Arc<Lines>, resume_epoch: u64) -> Result<Messages, ReadError> {
        let deadline = self.reads.deadline(None);
        let asked = Subscribe { question: by_hour(), resume_epoch, min_interval: None, until: None, deadline };
        self.reads.admit_subscription()?.subscribe(codec.clone(), asked).await
    }

    async fn page(&self, codec: &Arc<Lines>, question: &Question, offset: u64) -> Result<Page, ReadError> {
        let codec: Arc<dyn Codec> = codec.clone();
        let deadline = self.reads.deadline(None);
        let version = self.reads.admit()?.version(&Wanted::default(), deadline).await?;
        self.reads.page(&codec, &version, question, offset, Some(2), &nobody(deadline)).await
    }
}

fn by_hour() -> Question {
    Question { view: "quality".to_owned(), query: Query::group_by(["hour"]) }
}

async fn next(messages: &mut Messages) -> Result<Message, ReadError> {
    let next = std::future::poll_fn(|context| Pin::new(&mut *messages).poll_next(context));
    tokio::time::timeout(Duration::from_secs(10), next).await.expect("within 10 s").expect("it says why it ends")
}

/// The next one that is no progress.
async fn news(messages: &mut Messages) -> Message {
    loop {
        let message = next(messages).await.expect("it goes on");
        if message.kind != MessageKind::Progress {
            return message;
        }
    }
}

fn text(bytes: &Bytes) -> String {
    let text = String::from_utf8(bytes.to_vec()).expect("texts");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join(" ")
}

#[tokio::test]
async fn codecs_share_a_live_question_and_callers_of_one_share_its_bytes() {
    let mut fixture = fixture(&settings());
    fixture.publish(10, &[(1, 5), (2, 6)]);
    let (bars, dots) = (Lines::new("|"), Lines::new("."));
    let mut all = Vec::new();
    for codec in [&bars, &bars, &dots] {
        let mut messages = fixture.subscribe(codec, 0).await.expect("it fits");
        let first = news(&mut messages).await;
        assert_eq!((first.kind, first.epoch, first.last), (MessageKind::Snapshot(Reason::New), 10, true));
        assert_eq!(first.columns.as_ref().map(|columns| columns.groups), Some(1));
        assert_eq!(text(&first.place), format!("{}10", codec.mark));
        let mark = codec.mark;
        let hour = |hour| format!("Snapshot{mark}1970-01-01T0{hour}:00:00+00:00{mark}{}", hour + 4);
        assert_eq!(text(&first.rows), [hour(1), hour(2)].join(" "));
        all.push((codec, messages));
    }
    assert_eq!((fixture.reads.live_questions(), fixture.reads.subscriptions()), (1, 3));
    let rows = || [&bars, &dots].map(|codec| codec.rows.load(SeqCst));
    assert_eq!(rows(), [2, 2], "an answer is encoded once a codec");
    fixture.publish(20, &[(2, 1), (3, 1), (1, -5)]);
    for (codec, messages) in &mut all {
        let changes = news(messages).await;
        assert_eq!((changes.kind, changes.epoch), (MessageKind::Changes, 20));
        let mark = codec.mark;
        let hour = |hour| format!("1970-01-01T0{hour}:00:00+00:00");
        let expected = [
            format!("Removed{mark}{}", hour(1)),
            format!("Upserted{mark}{}{mark}7", hour(2)),
            format!("Upserted{mark}{}{mark}1", hour(3)),
        ];
        assert_eq!(text(&changes.rows), expected.join(" "));
    }
    assert_eq!(rows(), [5, 5], "and so is what changed");
    // Whoever resumes where the others were is told the same.
    let mut resumed = fixture.subscribe(&bars, 10).await.expect("it fits");
    let changes = news(&mut resumed).await;
    assert_eq!((changes.kind, changes.columns.is_some()), (MessageKind::Changes, true));
    assert_eq!(rows(), [5, 5]);
    // What nobody holds is made again.
    fixture.reads.tidy();
    let mut resumed = fixture.subscribe(&bars, 10).await.expect("it fits");
    assert_eq!(news(&mut resumed).await.rows, changes.rows);
    assert_eq!(rows(), [8, 5]);
}

#[tokio::test]
async fn pages_are_encoded_once_a_codec() {
    let mut fixture = fixture(&settings());
    fixture.publish(10, &[(1, 5), (2, 6), (3, 7)]);
    let (bars, dots) = (Lines::new("|"), Lines::new("."));
    let first = fixture.page(&bars, &by_hour(), 0).await.expect("it fits");
    let hour = |hour, mark| format!("Page{mark}1970-01-01T0{hour}:00:00+00:00{mark}{}", hour + 4);
    assert_eq!(text(&first.rows), [hour(1, "|"), hour(2, "|")].join(" "));
    let next = first.next.expect("there is more");
    assert_eq!((next, first.total_rows), (PageToken { epoch: 10, offset: 2 }, 3));
    // The next page is of the epoch of the first, and there already.
    fixture.publish(20, &[(1, 1)]);
    let version = fixture.reads.version_of(next).expect("it is kept");
    let (codec, asker): (Arc<dyn Codec>, _) = (bars.clone(), nobody(fixture.reads.deadline(None)));
    let second = fixture.reads.page(&codec, &version, &by_hour(), 2, Some(2), &asker).await.expect("it fits");
    assert_eq!((text(&second.rows), second.next), (hour(3, "|"), None));
    assert_eq!(bars.rows.load(SeqCst), 3);
    let other = fixture.page(&dots, &by_hour(), 2).await.expect("it fits");
    assert_eq!((text(&other.rows), dots.rows.load(SeqCst)), (hour(3, "."), 3));
    let gone = fixture.reads.version_of(PageToken { epoch: 15, offset: 2 }).map(|_| ()).expect_err("it never was");
    assert_eq!((gone.kind, gone.details), (Kind::Expired, vec![("epoch", "15".to_owned())]));
    // What was rejected is a list of the engine's, asked like a view.
    let rejected = Question { view: QUARANTINE.to_owned(), query: Query::default() };
    let page = fixture.page(&bars, &rejected, 0).await.expect("it fits");
    assert_eq!((&*text(&page.rows), page.columns.groups), ("Page|bad_time", 0));
}

#[tokio::test]
async fn errors_say_what_kind_they_are_and_when_to_ask_again() {
    let mut fixture = fixture(&ServeSettings { max_result_rows: 1, subscriptions_max: 1, ..settings() });
    let lines = Lines::new("|");
    let early = fixture.page(&lines, &by_hour(), 0).await.expect_err("nothing is published");
    assert_eq!((early.kind, early.retry_after()), (Kind::Unavailable, Some(Duration::from_secs(1))));
    fixture.publish(10, &[(1, 5), (2, 6)]);
    let of = |view: &str, query: Query| Question { view: view.to_owned(), query };
    let unknown = fixture.page(&lines, &of("nothing", Query::default()), 0).await.expect_err("there is none");
    assert_eq!((unknown.kind, unknown.retry_after()), (Kind::NotFound, None));
    let misfit = fixture.page(&lines, &of("quality", Query::group_by(["colour"])), 0).await.expect_err("no column");
    assert_eq!(misfit.kind, Kind::Invalid);
    let deadline = fixture.reads.deadline(None);
    let version = fixture.reads.board.current();
    let large = fixture.reads.answer(&version, by_hour(), &nobody(deadline), "filter", Table::clone).await;
    let large = large.expect_err("it has two rows");
    assert_eq!(large.kind, Kind::TooLarge);
    assert_eq!(large.text, "the answer has 2 rows, and the server gives 1 at once: filter");
    assert_eq!(large.details, [("rows", "2".to_owned()), ("rows_max", "1".to_owned())]);
    let late = fixture.reads.deadline(Some(Duration::ZERO));
    let late =
        fixture.reads.answer(&version, by_hour(), &nobody(late), "filter", Table::clone).await.expect_err("no time");
    assert_eq!(late.kind, Kind::Late);
    let old = Wanted::default().no_older_than(Some(100));
    let stale = fixture.reads.admit().expect("it takes reads").version(&old, deadline).await;
    let stale = stale.map(|_| ()).expect_err("it is older");
    assert_eq!((stale.kind, stale.details[1].0), (Kind::Unmet, "age_ms"));
    let mut one = fixture.subscribe(&lines, 0).await.expect("it fits");
    let two = fixture.subscribe(&lines, 0).await.map(|_| ()).expect_err("there is one already");
    assert_eq!((two.kind, two.details[0].clone()), (Kind::Busy, ("setting", "serve.subscriptions_max".to_owned())));
    fixture.engine.refuses.store(true, SeqCst);
    let refused = fixture.reads.admit().map(|_| ()).expect_err("there is no memory");
    assert_eq!((refused.kind, &*refused.text), (Kind::Busy, "there is no memory"));
    fixture.draining.send_replace(true);
    let why = loop {
        if let Err(why) = next(&mut one).await {
            break why;
        }
    };
    assert_eq!(why.kind, Kind::Unavailable);
    let refused = fixture.reads.admit_subscription().map(|_| ()).expect_err("it drains");
    assert_eq!(refused.text, "the server is draining");
}

/// What nobody waits for any more is left, and what was asked by somebody who has gone is never begun.
#[tokio::test]
async fn whoever_has_gone_is_not_worked_for() {
    // Every question waits for the one turn that there is.
    let few = ServeSettings { light_rows_max: 0, heavy_queries_max: 1, max_result_rows: 10_000, ..settings() };
    let mut fixture = fixture(&few);
    let hours: Vec<(i64, i64)> = (1..5_000).map(|hour| (hour, 1)).collect();
    fixture.publish(10, &hours);
    let version = fixture.reads.board.current();
    let (bars, stars) = (Lines::new("|"), Lines::new("*"));
    let codec: Arc<dyn Codec> = bars.clone();
    let asker = nobody(fixture.reads.deadline(None));
    let question = by_hour();
    let broken_off = fixture.reads.page(&codec, &version, &question, 0, Some(2), &asker);
    assert!(tokio::time::timeout(Duration::ZERO, broken_off).await.is_err(), "it takes longer");
    assert_eq!(fixture.page(&stars, &by_hour(), 0).await.expect("it has its turn").total_rows, hours.len());
    assert_eq!([&bars, &stars].map(|lines| lines.rows.load(SeqCst)), [0, hours.len()]);

    let all = Connections::new(1, 1, Duration::ZERO);
    let place = all.enter(std::net::Ipv4Addr::LOCALHOST.into()).await;
    let asker = Asker { connection: Some(place.connection.clone()), ..asker };
    let ask = || fixture.reads.answer(&version, by_hour(), &asker, "filter", |table| table.rows.len());
    assert_eq!(ask().await, Ok(hours.len()));
    drop(place);
    assert_eq!(ask().await.expect_err("it has gone").kind, Kind::Gone);
}
