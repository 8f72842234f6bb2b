//! The figures, gathered at each scrape.

use super::extra::Extra;
use super::sample::Sample;
use crate::durations::Histogram;
use crate::log;
use crate::serve::status::{EngineStatus, LakeStatus};
use crate::serve::{Published, ServeStatus};
use millrace_dataflows::views::quality::{Accounting, rejected};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use std::fmt;
use std::sync::Arc;

/// Milliseconds since 1970.
pub type NowMs = Arc<dyn Fn() -> u64 + Send + Sync>;

pub struct Figures {
    pub sample: Arc<dyn Sample>,
    pub extra: Arc<Extra>,
    pub now_ms: NowMs,
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        let now_ms = (self.now_ms)();
        let engine = self.sample.engine();
        let version = self.sample.version().filter(|version| version.epoch > 0);
        out.info("build", "The program", [("version", env!("CARGO_PKG_VERSION"))])?;
        if let Some(version) = &version {
            records(&mut out, version)?;
            answers(&mut out, version, now_ms)?;
        }
        if let Some(engine) = &engine {
            reading(&mut out, engine)?;
            if let Some(lake) = &engine.lake {
                checkpoints(&mut out, lake, now_ms)?;
            }
        }
        let stands_by = engine.as_ref().is_some_and(|engine| engine.standing_by);
        let is_stale = version.as_ref().is_some_and(|version| version.restored || stands_by);
        let help = "1 while answers are those of the last checkpoint: the dataflow is being restored, or not there";
        out.gauge("stale", None, help, u64::from(is_stale) as f64)?;
        if let Some(server) = self.sample.server() {
            reads(&mut out, &server)?;
        }
        others(&mut out, &self.extra, now_ms)?;
        let lines = log::lines().map(|(level, count)| ([("level", level.as_str())], count));
        out.counters("log_lines", "Lines that this process has said on stderr", lines)
    }
}

const OF_LAKE: &str = "Counted since the lake began, not since this process started";

fn records(out: &mut Out<'_>, version: &Published) -> fmt::Result {
    let Some(quality) = version.view("quality") else { return Ok(()) };
    let Accounting { read, accepted, duplicates, quarantined, pending } = Accounting::of(&quality.index);
    let outcomes = [
        ("read", read),
        ("accepted", accepted),
        ("duplicate", duplicates),
        ("quarantined", quarantined),
        ("pending", pending),
    ];
    let count = |count: i64| u64::try_from(count).unwrap_or(0);
    let help = format!(
        "Records by what became of them: read is the sum of the others. {OF_LAKE}. What was pending may be merged"
    );
    out.counters("records", &help, outcomes.map(|(outcome, records)| ([("outcome", outcome)], count(records))))?;
    let rules = rejected(&quality.index).into_iter().map(|(rule, records)| ([("rule", rule)], count(records)));
    out.counters("quarantined_records", &format!("Records that a rule has rejected. {OF_LAKE}"), rules)
}

fn answers(out: &mut Out<'_>, version: &Published, now_ms: u64) -> fmt::Result {
    out.gauge("epoch", None, "The epoch of the answers", version.epoch as f64)?;
    let age = now_ms.saturating_sub(version.at_ms) as f64 / 1_000.0;
    out.gauge("freshness", SECONDS, "How old answers are: now less the time of their epoch", age)?;
    let lag = version.watermark.map(|micros| now_ms as f64 / 1_000.0 - micros as f64 / 1e6);
    let help = "Now less the time up to which the sources are complete";
    out.gauges("watermark_lag", SECONDS, help, lag.map(|lag| (NO_LABELS, lag)))
}

fn reading(out: &mut Out<'_>, engine: &EngineStatus) -> fmt::Result {
    let records = Unit::Other("records".to_owned());
    let lags = engine.partitions.iter().filter_map(|partition| {
        let lag = partition.end_offset?.saturating_sub(partition.next_offset);
        Some(([("source", partition.source.clone()), ("partition", partition.partition.to_string())], lag as f64))
    });
    let help = "Offsets that are to be read: records of Kafka, bytes of a log";
    out.gauges("source_lag", Some(&records), help, lags)?;
    let is_up = engine.source_down.is_none() && !engine.standing_by;
    out.gauge("source_up", None, "Whether the source can be reached", u64::from(is_up) as f64)?;
    let faults = engine.partitions.iter().filter(|partition| partition.fault.is_some()).count();
    out.gauge(
        "source_partition_faults",
        None,
        "Partitions that are not read on, for a reason of their own",
        faults as f64,
    )?;
    let help = "Epochs that are stamped and not closed";
    out.gauge("epochs_in_flight", None, help, engine.epochs_in_flight as f64)?;
    let held = engine.held.iter().map(|(kind, count)| ([("kind", kind.as_str())], *count as f64));
    out.gauges("held_items", None, "What the operators keep in memory", held)?;
    out.gauge("memory", BYTES, "Resident memory of the process", engine.memory_bytes as f64)?;
    let limit = engine.memory_limit_bytes.map(|bytes| (NO_LABELS, bytes as f64));
    out.gauges("memory_limit", BYTES, "What it may have (limits.memory)", limit)
}

fn checkpoints(out: &mut Out<'_>, lake: &LakeStatus, now_ms: u64) -> fmt::Result {
    out.gauge("checkpoint_epoch", None, "The epoch of the last checkpoint", lake.epoch as f64)?;
    let age = lake.written_ms.map(|written| now_ms.saturating_sub(written) as f64 / 1_000.0);
    let help = "Now less the time at which the last checkpoint was written";
    out.gauges("checkpoint_age", SECONDS, help, age.map(|age| (NO_LABELS, age)))?;
    let help = "From when all workers had sealed a checkpoint to when its manifest was there";
    out.histograms("checkpoint_duration", SECONDS, help, [(NO_LABELS, &lake.took)])?;
    out.counter("checkpoints", "Checkpoints that this process has committed", lake.took.count())?;
    let help = "Calls of the lake that failed and were tried again, and commits that failed for good";
    out.counter("checkpoint_failures", help, lake.failures)?;
    let files = lake.files.iter().map(|(kind, files)| ([("kind", kind.as_str())], *files as f64));
    out.gauges("lake_files", None, "Files that the last checkpoint names", files)?;
    out.counter("compactions", "How often this process has merged files into others", lake.compactions)
}

fn reads(out: &mut Out<'_>, server: &ServeStatus) -> fmt::Result {
    let methods = || server.methods.iter().map(|counts| ([("method", counts.method)], counts));
    let requests = methods().map(|(label, counts)| (label, counts.requests));
    out.counters("reads", "Calls, with those that failed", requests)?;
    let errors = methods().map(|(label, counts)| (label, counts.errors));
    out.counters("read_errors", "Calls that were refused or failed before the first byte of an answer", errors)?;
    let took = methods().map(|(label, counts)| (label, &counts.took));
    out.histograms("read", SECONDS, "From a call to the first byte of its answer", took)?;
    out.gauge("subscriptions", None, "Subscriptions that are open", server.subscriptions as f64)?;
    out.gauge("connections", None, "Connections of clients", server.connections as f64)
}

fn others(out: &mut Out<'_>, extra: &Extra, now_ms: u64) -> fmt::Result {
    let (expected, connected) = extra.processes();
    let states = [("expected", expected), ("connected", connected)];
    let help = "Processes of the cluster, this one included";
    out.gauges("cluster_processes", None, help, states.map(|(state, count)| ([("state", state)], count as f64)))?;
    out.counter("restarts", "How often the engine was started again under its parent", extra.restarts())?;
    let sinks = extra.sinks();
    let label = |name: &String| [("sink", name.clone())];
    let lags = sinks.iter().map(|(name, sink)| (label(name), sink.lag(now_ms)));
    out.gauges("sink_lag", SECONDS, "How long the oldest that is not published waits", lags)?;
    let published = sinks.iter().map(|(name, sink)| (label(name), sink.counts().0));
    out.counters("sink_published", "Records that were published", published)?;
    let failures = sinks.iter().map(|(name, sink)| (label(name), sink.counts().1));
    out.counters("sink_failures", "Tries to publish that failed", failures)
}

const SECONDS: Option<&Unit> = Some(&Unit::Seconds);
const BYTES: Option<&Unit> = Some(&Unit::Bytes);
const NO_LABELS: [(&str, &str); 0] = [];

/// What is written, a metric after the other. One without values is left out, with its description.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn gauge(&mut self, name: &str, unit: Option<&Unit>, help: &str, value: f64) -> fmt::Result {
        self.gauges(name, unit, help, [(NO_LABELS, value)])
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        unit: Option<&Unit>,
        help: &str,
        values: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        values.try_for_each(|(labels, value)| metric.encode_family(&labels)?.encode_gauge(&value))
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.counters(name, help, [(NO_LABELS, value)])
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        values.try_for_each(|(labels, value)| {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, f64>(&value, None)
        })
    }

    fn histograms<'h, L: EncodeLabelSet>(
        &mut self,
        name: &str,
        unit: Option<&Unit>,
        help: &str,
        values: impl IntoIterator<Item = (L, &'h Histogram)>,
    ) -> fmt::Result {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        values.try_for_each(|(labels, took)| {
            let mut metric = metric.encode_family(&labels)?;
            metric.encode_histogram::<NoLabelSet>(took.seconds, took.count(), &took.buckets, None)
        })
    }

    fn info<L: EncodeLabelSet>(&mut self, name: &str, help: &str, labels: L) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(&labels)
    }
}

#[cfg(test)]
mod tests;
