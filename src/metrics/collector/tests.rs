//! What is written of a process, by what it is.

use super::*;
use crate::durations::Durations;
use crate::metrics::Process;
use crate::serve::commit::Changed;
use crate::serve::status::{Engine, PartitionStatus};
use crate::serve::{Commit, Publisher};
use millrace_dataflows::context::Shared;
use millrace_dataflows::facts::{Account, Counted};
use millrace_dataflows::settings::ViewContext;
use millrace_dataflows::table::Table;
use millrace_dataflows::views::quality;
use millrace_schema::Rule;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use std::sync::Mutex;
use std::time::Duration;

/// An engine that says what a test has set.
#[derive(Default)]
struct Said(Mutex<EngineStatus>);

impl Engine for Said {
    fn status(&self) -> EngineStatus {
        self.0.lock().expect("no holder panics").clone()
    }

    fn drain(&self) {}

    fn quarantine(&self) -> Table {
        Table::new(self.quarantine_columns())
    }

    fn quarantine_columns(&self) -> Vec<String> {
        Vec::new()
    }

    fn settings(&self) -> String {
        String::new()
    }
}

impl Said {
    fn set(&self, set: impl FnOnce(&mut EngineStatus)) {
        set(&mut self.0.lock().expect("no holder panics"));
    }
}

const NOW_MS: u64 = 1_796_000_010_500;

struct Fixture {
    publisher: Publisher,
    shared: Shared,
    engine: Arc<Said>,
    process: Arc<Process>,
    extra: Arc<Extra>,
    registry: Registry,
}

fn fixture() -> Fixture {
    let shared = Shared::new(Arc::new(ViewContext::default()), Arc::default(), Arc::default());
    let publisher = Publisher::new(&shared, &["quality"], Duration::ZERO);
    let (process, extra) = (Arc::<Process>::default(), Arc::<Extra>::default());
    let mut registry = Registry::with_prefix("millrace");
    let figures = Figures { sample: process.clone(), extra: extra.clone(), now_ms: Arc::new(|| NOW_MS) };
    registry.register_collector(Box::new(figures));
    Fixture { publisher, shared, engine: Arc::default(), process, extra, registry }
}

impl Fixture {
    /// Its board and its engine are shown.
    fn shows(&self) {
        self.process.shows(&self.publisher.board(), self.engine.clone());
    }

    fn publish(&mut self, epoch: u64, accounts: &[(Counted, i64)]) {
        let account = |&(what, count): &(Counted, i64)| (Account { hour: 0, source: self.shared.none, what }, count);
        let rows = quality::rows(accounts.iter().map(account));
        let changes = rows.iter().map(|(key, sums)| (*key, epoch, sums.to_measures())).collect();
        let (at_ms, watermark) = (1_796_000_010_000, Some(1_796_000_000_000_000));
        let changes = vec![("quality", Changed::List(changes))];
        self.publisher.add(Commit { epoch, at_ms, watermark, changes, ..Commit::default() });
        self.publisher.publish();
    }

    /// The value of a series, if it is there.
    fn value(&self, series: &str) -> Option<f64> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("memory takes all");
        let line = out.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned));
        line.map(|value| value.parse().expect("a number"))
    }

    fn check(&self, expected: &[(&str, Option<f64>)]) {
        for (series, value) in expected {
            assert_eq!(self.value(series), *value, "{series}");
        }
    }
}

#[test]
fn before_anything_is_there_little_is_said() {
    let fixture = fixture();
    fixture.check(&[
        ("millrace_build_info{version=\"0.1.0\"}", Some(1.0)),
        ("millrace_cluster_processes{state=\"expected\"}", Some(1.0)),
        ("millrace_cluster_processes{state=\"connected\"}", Some(1.0)),
        ("millrace_restarts_total", Some(0.0)),
        ("millrace_stale", Some(0.0)),
        ("millrace_epoch", None),
        ("millrace_records_total{outcome=\"read\"}", None),
        ("millrace_source_up", None),
    ]);
    // A board that nothing was put on yet is no answer, either.
    fixture.shows();
    fixture.check(&[("millrace_epoch", None), ("millrace_freshness_seconds", None), ("millrace_source_up", Some(1.0))]);
}

#[test]
fn records_are_those_of_the_view() {
    let mut fixture = fixture();
    fixture.shows();
    let accounts = [
        (Counted::Read, 100),
        (Counted::Accepted, 70),
        (Counted::Duplicate, 11),
        (Counted::Pending, 9),
        (Counted::Rejected(Rule::MalformedJson), 8),
        (Counted::Rejected(Rule::IdConflict), 2),
    ];
    fixture.publish(7, &accounts);
    fixture.publish(8, &[(Counted::Read, 1), (Counted::Accepted, 1)]);
    fixture.check(&[
        ("millrace_records_total{outcome=\"read\"}", Some(101.0)),
        ("millrace_records_total{outcome=\"accepted\"}", Some(71.0)),
        ("millrace_records_total{outcome=\"duplicate\"}", Some(11.0)),
        ("millrace_records_total{outcome=\"quarantined\"}", Some(10.0)),
        ("millrace_records_total{outcome=\"pending\"}", Some(9.0)),
        ("millrace_quarantined_records_total{rule=\"malformed_json\"}", Some(8.0)),
        ("millrace_quarantined_records_total{rule=\"id_conflict\"}", Some(2.0)),
        ("millrace_quarantined_records_total{rule=\"missing_field\"}", None),
        ("millrace_epoch", Some(8.0)),
        ("millrace_freshness_seconds", Some(0.5)),
        ("millrace_watermark_lag_seconds", Some(10.5)),
        ("millrace_stale", Some(0.0)),
    ]);
}

#[test]
fn an_engine_is_shown_as_it_says() {
    let mut fixture = fixture();
    fixture.shows();
    fixture.publish(7, &[]);
    let partition = |partition, next_offset, end_offset, fault: Option<&str>| PartitionStatus {
        source: "a \"shop\"\\\n".to_owned(),
        partition,
        next_offset,
        end_offset,
        fault: fault.map(str::to_owned),
        ..PartitionStatus::default()
    };
    fixture.engine.set(|status| {
        status.partitions = vec![
            partition(0, 40, Some(100), None),
            partition(1, 5, None, Some("it is gone")),
            partition(2, 9, Some(8), None),
        ];
        status.epochs_in_flight = 2;
        status.memory_bytes = 5_000;
        status.held = vec![("sessions".to_owned(), 12)];
    });
    let lag = |partition: u32| {
        format!("millrace_source_lag_records{{source=\"a \\\"shop\\\"\\\\\\n\",partition=\"{partition}\"}}")
    };
    fixture.check(&[
        (&lag(0), Some(60.0)),
        (&lag(1), None),
        (&lag(2), Some(0.0)),
        ("millrace_source_up", Some(1.0)),
        ("millrace_source_partition_faults", Some(1.0)),
        ("millrace_epochs_in_flight", Some(2.0)),
        ("millrace_held_items{kind=\"sessions\"}", Some(12.0)),
        ("millrace_memory_bytes", Some(5_000.0)),
        ("millrace_memory_limit_bytes", None),
        ("millrace_checkpoint_epoch", None),
    ]);
    fixture.engine.set(|status| {
        status.source_down = Some("no broker".to_owned());
        status.memory_limit_bytes = Some(9_000);
    });
    fixture.check(&[("millrace_source_up", Some(0.0)), ("millrace_memory_limit_bytes", Some(9_000.0))]);
    fixture.engine.set(|status| (status.standing_by, status.source_down) = (true, None));
    fixture.check(&[("millrace_source_up", Some(0.0)), ("millrace_stale", Some(1.0))]);
}

#[test]
fn what_is_restored_is_stale() {
    let fixture = fixture();
    fixture.shows();
    let restored = Published { epoch: 7, restored: true, ..(*fixture.publisher.board().current()).clone() };
    fixture.publisher.board().publish(restored);
    fixture.check(&[("millrace_stale", Some(1.0)), ("millrace_epoch", Some(7.0))]);
}

#[test]
fn checkpoints_and_calls_are_counted_with_how_long_they_took() {
    let fixture = fixture();
    fixture.shows();
    let took = Durations::new(&[0.5, 2.0]);
    for millis in [250, 250, 1_000, 9_000] {
        took.add(Duration::from_millis(millis));
    }
    let took = took.histogram();
    let lake = LakeStatus {
        epoch: 6,
        written_ms: Some(NOW_MS - 2_500),
        took: took.clone(),
        failures: 3,
        files: vec![("events".to_owned(), 5), ("pending".to_owned(), 0)],
        compactions: 2,
    };
    fixture.engine.set(|status| status.lake = Some(lake));
    let method = crate::serve::MethodCounts { method: "a.B/C", requests: 4, errors: 1, took };
    let server = ServeStatus { methods: vec![method], subscriptions: 2, connections: 3, draining: false };
    fixture.process.is_served_by(Arc::new(move || Some(server.clone())));
    fixture.check(&[
        ("millrace_checkpoint_epoch", Some(6.0)),
        ("millrace_checkpoint_age_seconds", Some(2.5)),
        ("millrace_checkpoint_duration_seconds_bucket{le=\"0.5\"}", Some(2.0)),
        ("millrace_checkpoint_duration_seconds_bucket{le=\"2.0\"}", Some(3.0)),
        ("millrace_checkpoint_duration_seconds_bucket{le=\"+Inf\"}", Some(4.0)),
        ("millrace_checkpoint_duration_seconds_count", Some(4.0)),
        ("millrace_checkpoint_duration_seconds_sum", Some(10.5)),
        ("millrace_checkpoints_total", Some(4.0)),
        ("millrace_checkpoint_failures_total", Some(3.0)),
        ("millrace_lake_files{kind=\"events\"}", Some(5.0)),
        ("millrace_lake_files{kind=\"pending\"}", Some(0.0)),
        ("millrace_compactions_total", Some(2.0)),
        ("millrace_reads_total{method=\"a.B/C\"}", Some(4.0)),
        ("millrace_read_errors_total{method=\"a.B/C\"}", Some(1.0)),
        ("millrace_read_seconds_bucket{le=\"2.0\",method=\"a.B/C\"}", Some(3.0)),
        ("millrace_read_seconds_count{method=\"a.B/C\"}", Some(4.0)),
        ("millrace_subscriptions", Some(2.0)),
        ("millrace_connections", Some(3.0)),
    ]);
}

#[test]
fn others_set_figures_of_their_own() {
    let fixture = fixture();
    fixture.extra.set_processes(3, 2);
    fixture.extra.set_restarts(5);
    let sink = fixture.extra.sink("sales");
    sink.published(12);
    sink.failed();
    sink.waits_since(Some(NOW_MS - 4_000));
    fixture.check(&[
        ("millrace_cluster_processes{state=\"expected\"}", Some(3.0)),
        ("millrace_cluster_processes{state=\"connected\"}", Some(2.0)),
        ("millrace_restarts_total", Some(5.0)),
        ("millrace_sink_lag_seconds{sink=\"sales\"}", Some(4.0)),
        ("millrace_sink_published_total{sink=\"sales\"}", Some(12.0)),
        ("millrace_sink_failures_total{sink=\"sales\"}", Some(1.0)),
    ]);
}

#[test]
fn it_is_ready_while_there_are_answers_and_it_is_not_ending() {
    let mut fixture = fixture();
    let process = fixture.process.clone();
    let not_ready = || process.not_ready().unwrap_or_default();
    assert_eq!((not_ready().as_str(), process.failed()), ("there are no answers yet", None));
    fixture.shows();
    fixture.engine.set(|status| status.source_down = Some("no broker".to_owned()));
    assert_eq!(not_ready(), "there are no answers yet: no broker");
    fixture.publish(7, &[]);
    // Old answers are answers.
    assert_eq!(not_ready(), "");
    fixture.process.is_served_by(Arc::new(|| Some(ServeStatus { draining: true, ..ServeStatus::default() })));
    assert_eq!(not_ready(), "it is ending");
    fixture.process.is_served_by(Arc::new(|| None));
    fixture.engine.set(|status| status.draining = true);
    assert_eq!((not_ready().as_str(), process.failed()), ("it is ending", None));
    fixture.engine.set(|status| status.failed = Some("a full disk".to_owned()));
    assert_eq!(not_ready(), "a part of the engine has failed: a full disk");
    assert_eq!(process.failed().as_deref(), Some("a full disk"));
}
