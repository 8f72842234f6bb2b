//! A running engine, random events in any order, and subscriptions: whatever they are told folds to the answer at that epoch.

use super::super::support::Place;
use super::fixture::{answer_at, settings};
use super::folding::{Folded, sorted, subscription};
use millrace::live;
use millrace::serve::status::Engine;
use millrace::serve::{Board, Published, Server, SourcePositions};
use millrace::settings::Sources;
use millrace_connectors::source::log::LogWriter;
use millrace_dataflows::query::Query;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

fn questions() -> Vec<(&'static str, Query)> {
    let top = Query { order_by: vec![("lines".to_owned(), true)], limit: Some(2), ..Query::group_by(["product_id"]) };
    let garden = Query { filters: vec![("category".to_owned(), "garden".to_owned())], ..Query::group_by(["day"]) };
    vec![
        ("funnel", Query::group_by(["day"])),
        ("funnel", Query::group_by(["day", "category"])),
        ("funnel", Query::group_by(["referrer"])),
        ("funnel", garden),
        ("sales", Query::group_by(["day", "category"])),
        ("sales", Query::group_by(["category_as_was", "product_id"])),
        ("sales", top),
        ("related_products", Query::default()),
        ("traffic", Query::group_by(["hour"])),
        ("quality", Query::group_by(["rule"])),
    ]
}

/// A few sessions around midnight, so that each event may move the day of its session, and often changes nothing else.
struct World {
    random: SmallRng,
    sent: Vec<String>,
}

impl World {
    fn one_of<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.random.random_range(0..of.len())]
    }

    /// From 20:00 of one day to 04:00 of the next.
    fn time(&mut self) -> String {
        let minute = self.random.random_range(0..480);
        let (day, hour) = if minute < 240 { (1, 20 + minute / 60) } else { (2, minute / 60 - 4) };
        format!("2026-03-0{day}T{hour:02}:{:02}:00Z", minute % 60)
    }

    fn line(&mut self) -> String {
        if !self.sent.is_empty() && self.random.random_bool(0.05) {
            return self.sent[self.random.random_range(0..self.sent.len())].clone();
        }
        let (id, time) = (self.sent.len(), self.time());
        let session = self.one_of(&["s1", "s2", "s3", "s4"]);
        let (product, category) = (self.one_of(&["p1", "p2", "p3"]), self.one_of(&["garden", "kitchen"]));
        let of_session = format!(r#""event_id":"e{id}","event_time":"{time}","session_id":"{session}""#);
        let line = match self.random.random_range(0..100) {
            0..45 => {
                let page = self.one_of(&["home", "category", "product_detail", "search"]);
                let referrer = self.one_of(&["mail", "search"]);
                let rest = format!(r#""page_type":"{page}","product_id":"{product}","referrer":"{referrer}""#);
                format!(r#"{{"event_type":"page_view",{of_session},{rest}}}"#)
            }
            45..60 => {
                format!(r#"{{"event_type":"add_to_cart",{of_session},"product_id":"{product}","quantity":1}}"#)
            }
            60..75 => {
                let rest =
                    format!(r#""order_id":"o{session}","product_id":"{product}","quantity":1,"price_paid":"5.00""#);
                format!(r#"{{"event_type":"purchase",{of_session},{rest}}}"#)
            }
            75..80 => format!(
                r#"{{"event_type":"refund","event_id":"e{id}","event_time":"{time}","order_id":"o{session}","product_id":"{product}","amount":"1.00"}}"#
            ),
            80..95 => {
                let rest = format!(r#""product_id":"{product}","updated_at":"{time}","category":"{category}""#);
                format!(r#"{{"event_type":"product",{rest}}}"#)
            }
            _ => r#"{"event_type":"page_view"}"#.to_owned(),
        };
        self.sent.push(line.clone());
        line
    }
}

/// All versions that were published, by epoch.
type Versions = Arc<Mutex<BTreeMap<u64, Arc<Published>>>>;

async fn record(board: Arc<Board>, versions: Versions) {
    let mut changes = board.changes();
    while changes.changed().await.is_ok() {
        let version = board.current();
        versions.lock().expect("no panic").insert(version.epoch, version);
    }
}

fn check(folded: &Folded, versions: &Versions, question: &(&str, Query), what: &str) -> bool {
    let known = || versions.lock().expect("no panic").get(&folded.epoch).cloned();
    // The recorder may be a moment behind.
    let version = known().or_else(|| {
        std::thread::sleep(Duration::from_millis(20));
        known()
    });
    let Some(version) = version else { return false };
    let (view, query) = question;
    let expected = sorted(answer_at(&version, view, query));
    assert_eq!(sorted(folded.rows.table()), expected, "{what}: {view} {query:?} at epoch {}", folded.epoch);
    true
}

fn live_world(seed: u64, steps: usize) {
    let place = Place::new();
    let log = place.path("log");
    let mut writer = LogWriter::open(&log, 1, 1 << 20).expect("a log");
    let set = [
        format!("source.log.paths=['{}']", log.display()),
        "live.workers=1".to_owned(),
        "live.tick_ms=10".to_owned(),
        "horizons.deduplication=unlimited".to_owned(),
        "horizons.sessions=unlimited".to_owned(),
    ];
    let sources = Sources { file: Some(place.write("live.toml", "")), environment: Vec::new(), set: set.to_vec() };
    let engine_settings = sources.load().expect("good settings").settings;
    let engine = live::start(&engine_settings, String::new()).expect("it starts");
    let server = Server::start(&settings(), engine.board.clone(), engine.engine.clone(), Arc::new(|| 0));
    let server = server.expect("it starts");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let versions = Versions::default();
    runtime.spawn(record(engine.board.clone(), versions.clone()));
    let source = log.display().to_string();

    let mut world = World { random: SmallRng::seed_from_u64(seed), sent: Vec::new() };
    let address = server.address.to_string();
    let subscribe = |question: &(&'static str, Query)| {
        Folded::open(runtime.handle(), &address, subscription(question.0, &question.1, 0)).expect("it fits")
    };
    let mut all: Vec<Folded> = Vec::new();
    let (mut compared, mut missed) = (0, 0);
    for step in 0..steps {
        for _ in 0..world.random.random_range(1..4) {
            writer.append(0, world.line().as_bytes()).expect("it is appended");
        }
        writer.flush().expect("it is written");
        let ends = SourcePositions { source: source.clone(), next_offsets: vec![writer.end(0).expect("a partition")] };
        let begun = Instant::now();
        while !engine.board.current().covers(std::slice::from_ref(&ends)) {
            assert!(begun.elapsed() < PATIENCE, "seed {seed}, step {step}: it is not read");
            std::thread::sleep(Duration::from_millis(2));
        }
        let epoch = engine.board.current().epoch;
        if all.is_empty() {
            all = questions().iter().map(subscribe).collect();
        }
        let mut late: Vec<Folded> = Vec::new();
        if step % 8 == 7 {
            // Those who come later see what the first do.
            late = questions().iter().map(subscribe).collect();
        }
        for (who, subscribers) in [("kept up", &mut all), ("new", &mut late)] {
            for (folded, question) in subscribers.iter_mut().zip(questions()) {
                let what = format!("seed {seed}, step {step}, {who}");
                while folded.epoch < epoch {
                    folded.step().expect("it goes on");
                    let known = check(folded, &versions, &question, &what);
                    compared += usize::from(known);
                    missed += usize::from(!known);
                }
            }
        }
    }
    assert!(compared >= steps * questions().len() && missed * 10 < compared, "{compared} compared, {missed} missed");
    engine.engine.drain();
    engine.join().expect("it ends well");
}

#[test]
fn messages_fold_to_the_answer_at_each_epoch() {
    (1..=3).for_each(|seed| live_world(seed, 40));
}
