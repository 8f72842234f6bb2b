//! `replay`: reads history to its end through the dataflow, into a data directory.

use super::feed::Feed;
use super::ingest::Ingest;
use super::worker::{self, Plan, Share};
use super::{results, run::Run, usage};
use crate::cli::{Progress, ReplayRequest, ReplaySummary};
use crate::settings::{Compression, Settings};
use anyhow::Context;
use millrace_connectors::lake::{
    self, DataDir, EventSettings, EventWriter, QuarantineSettings, QuarantineWriter, Staging,
};
use millrace_connectors::source::{PartitionInfo, ReadOptions, Reader, Source, SourceError, open};
use millrace_dataflows::context::{Partitions, Shared};
use millrace_dataflows::row_set::RowSet;
use millrace_dataflows::rows::State;
use millrace_dataflows::views::quality::{Accounting, warned};
use millrace_dataflows::views::view;
use millrace_schema::Names;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PROGRESS_EVERY: Duration = Duration::from_millis(50);

/// What a replay came to.
pub struct Replayed {
    pub summary: ReplaySummary,
    /// The inputs that could not be read to their ends. What came before the faults is in the answers.
    pub failures: Vec<SourceError>,
}

/// Replays files and logs.
///
/// # Errors
/// Where nothing could be read or written. Faults in the middle of inputs are in [`Replayed::failures`].
pub fn replay(settings: &Settings, request: &ReplayRequest, progress: &dyn Progress) -> anyhow::Result<Replayed> {
    let started = Instant::now();
    let cpu_before = usage::cpu_time();
    let validated = settings.validate()?;
    let epoch_records = settings.replay.epoch_records as u64;
    let chunk_records = u32::try_from(epoch_records).unwrap_or(u32::MAX).min(4_096);
    let options = ReadOptions { max_records: chunk_records, ..ReadOptions::default() };
    let mut reader = open(&request.paths, options)?;
    let partitions = reader.partitions().to_vec();
    let staging = DataDir::open(&request.data_dir)?.begin()?;

    let names = Arc::new(Names::default());
    let shared = Shared::new(Arc::new(validated.views), names.clone(), Arc::new(Partitions::default()));
    enter_sources(&partitions, 0, &shared)?;
    let plan = Arc::new(Plan {
        feed: Feed::default(),
        shared: shared.clone(),
        enabled: settings.views.enabled.clone(),
        epochs_in_flight: settings.replay.epochs_in_flight as u64,
    });
    let writers = event_writers(settings, request.workers, &partitions, &staging)?;
    let ingest = |worker: usize| {
        let events = writers.get(worker).map(EventWriter::sender);
        let quarantine = quarantine_writer(settings, worker, &partitions, &staging);
        Ingest::new(validated.decode.clone(), &shared, events, Box::new(quarantine))
    };
    let ingests = (0..request.workers).map(ingest).collect();

    let (shares, failures) = run_workers(&plan, ingests, &mut reader, epoch_records, progress)?;
    for writer in writers {
        writer.finish().context("writing the events")?;
    }
    let (states, latest, epoch) = merge(shares);
    let watermark = latest.map(|latest| latest - shared.context.allowed_lateness_micros);
    for (name, state) in &states {
        let view = view(name, &shared.context).expect("the dataflow renders known views");
        results::write(&staging.views(), &*view, state, &names, compression(settings))?;
    }
    let versions = states.iter().map(|(name, _)| {
        let view = view(name, &shared.context).expect("the dataflow renders known views");
        ((*name).to_owned(), view.version())
    });
    Run { settings: settings.clone(), watermark, epoch, views: versions.collect() }.write(staging.path())?;
    staging.commit()?;

    let quality = states.iter().find(|(name, _)| *name == "quality").map(|(_, state)| state);
    let quality = quality.expect("quality is always rendered");
    let summary = summary_of(quality, epoch, started, cpu_before)?;
    Ok(Replayed { summary, failures })
}

/// What a run has come to by now.
///
/// # Errors
/// Where not every record is accounted for.
pub fn summary_of(
    quality: &dyn RowSet,
    epoch: u64,
    started: Instant,
    cpu_before: Duration,
) -> anyhow::Result<ReplaySummary> {
    let accounting = Accounting::of(quality);
    anyhow::ensure!(accounting.balances(), "the accounting does not balance: {accounting:?}");
    let seconds = started.elapsed().as_secs_f64();
    let count = |value: i64| u64::try_from(value).unwrap_or(0);
    Ok(ReplaySummary {
        read: count(accounting.read),
        accepted: count(accounting.accepted),
        duplicates: count(accounting.duplicates),
        quarantined: count(accounting.quarantined),
        pending: count(accounting.pending),
        seconds,
        cpu_seconds: (usage::cpu_time() - cpu_before).as_secs_f64(),
        events_per_second: accounting.read as f64 / seconds,
        peak_rss_bytes: usage::peak_rss_bytes(),
        epoch,
        warnings: warned(quality).into_iter().map(|(rule, count)| format!("{rule}: {count}")).collect(),
    })
}

/// Enters the sources of the partitions from an ordinal on.
pub fn enter_sources(partitions: &[PartitionInfo], from: usize, shared: &Shared) -> anyhow::Result<()> {
    for (ordinal, partition) in partitions.iter().enumerate().skip(from) {
        let source = shared.names.intern(&partition.source)?;
        shared.partitions.set(u16::try_from(ordinal).context("too many partitions")?, source);
    }
    Ok(())
}

fn compression(settings: &Settings) -> lake::Compression {
    match settings.lake.compression {
        Compression::Snappy => lake::Compression::Snappy,
        Compression::Zstd => lake::Compression::Zstd,
    }
}

fn event_writers(
    settings: &Settings,
    workers: usize,
    partitions: &[PartitionInfo],
    staging: &Staging,
) -> anyhow::Result<Vec<EventWriter>> {
    if !settings.lake.events {
        return Ok(Vec::new());
    }
    let defaults = EventSettings::default();
    let event_settings = EventSettings {
        compression: compression(settings),
        file_rows: settings.lake.events_file_rows as u64,
        buffer_bytes: defaults.buffer_bytes / workers,
        ..defaults
    };
    let start = |worker| EventWriter::start(&staging.events(), worker, partitions, event_settings.clone());
    Ok((0..workers).map(start).collect::<Result<_, _>>()?)
}

fn quarantine_writer(
    settings: &Settings,
    worker: usize,
    partitions: &[PartitionInfo],
    staging: &Staging,
) -> QuarantineWriter {
    let settings = QuarantineSettings {
        compression: compression(settings),
        record_bytes: settings.lake.quarantine_bytes_max,
        ..QuarantineSettings::default()
    };
    QuarantineWriter::new(&staging.quarantine(), worker, partitions, settings)
}

/// Runs reader and workers to the end.
fn run_workers(
    plan: &Arc<Plan>,
    ingests: Vec<Ingest>,
    reader: &mut Reader,
    epoch_records: u64,
    progress: &dyn Progress,
) -> anyhow::Result<(Vec<Share>, Vec<SourceError>)> {
    let workers = ingests.len();
    let config = match workers {
        1 => timely::Config::thread(),
        workers => timely::Config::process(workers),
    };
    let ingests: Arc<Vec<Mutex<Option<Ingest>>>> =
        Arc::new(ingests.into_iter().map(|ingest| Mutex::new(Some(ingest))).collect());
    let bytes = reader.progress();
    progress.total(bytes.total_bytes);
    std::thread::scope(|threads| {
        let feeding = threads.spawn(|| plan.feed.fill(reader, epoch_records));
        let shared_plan = plan.clone();
        let guards = timely::execute(config, move |worker| {
            let mine = ingests[worker.index()].lock().map(|mut slot| slot.take());
            let ingest = mine.ok().flatten().expect("each worker takes its own reader once");
            worker::run(worker, &shared_plan, ingest)
        });
        let guards = guards.map_err(|error| anyhow::anyhow!("starting the workers: {error}"))?;
        let joining = threads.spawn(move || guards.join());
        while !joining.is_finished() {
            std::thread::park_timeout(PROGRESS_EVERY);
            let (records, epoch) = plan.feed.position();
            progress.advance(bytes.consumed_bytes(), records, epoch);
            if let Some(total) = bytes.total_bytes {
                plan.shared.expected.set(expected(records, bytes.consumed_bytes(), total));
            }
        }
        let shares = joining.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
        plan.feed.abandon();
        let failures = feeding.join().map_err(|_| anyhow::anyhow!("the reading thread panicked"))?;
        let mut good = Vec::new();
        for share in shares {
            good.push(share.map_err(|panic| anyhow::anyhow!("a worker panicked: {panic}"))??);
        }
        Ok((good, failures))
    })
}

/// How many records there are in all, if the rest is like what has been read.
fn expected(records: u64, consumed_bytes: u64, total_bytes: u64) -> usize {
    let expected = u128::from(records) * u128::from(total_bytes) / u128::from(consumed_bytes.max(1));
    usize::try_from(expected).unwrap_or(0)
}

/// The workers' shares as one.
fn merge(shares: Vec<Share>) -> (Vec<(&'static str, State)>, Option<i64>, u64) {
    let latest = shares.iter().filter_map(|share| share.latest).max();
    let epoch = shares.iter().map(|share| share.epoch).max().unwrap_or(0);
    let mut shares = shares.into_iter();
    let mut states = shares.next().map(|share| share.states).unwrap_or_default();
    for share in shares {
        for ((_, sum), (_, part)) in states.iter_mut().zip(share.states) {
            part.iter().for_each(|(key, sums)| sum.merge(key, sums));
        }
    }
    (states, latest, epoch)
}
