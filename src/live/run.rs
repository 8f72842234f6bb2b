//! Starts a running engine: its threads, and what connects them.

use super::clock::{Clock, SystemClock};
use super::engine::LiveEngine;
use super::feed::Feed;
use super::pace::Pace;
use super::publish::{Collector, PartitionTable, publish};
use super::reader::{enter_new, read};
use super::rejects::{RecentRejects, RejectsOfWorker};
use super::source;
use super::watermarks::Watermarks;
use super::worker::{self, Plan};
use crate::engine::ingest::Ingest;
use crate::serve::{Board, Publisher};
use crate::settings::Settings;
use anyhow::Context;
use millrace_connectors::source::Resume;
use millrace_dataflows::context::{Partitions, Shared};
use millrace_dataflows::views::VIEWS;
use millrace_schema::Names;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

/// A running engine.
pub struct Live {
    pub board: Arc<Board>,
    pub engine: Arc<LiveEngine>,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
}

/// Starts reading, with the settings as they may be shown to whoever asks.
///
/// # Errors
/// Where a setting does not fit, or the source cannot be opened.
pub fn start(settings: &Settings, shown_settings: String) -> anyhow::Result<Live> {
    let live = settings.validate_live()?;
    let workers = settings.live.workers;
    let mut source = source::open(settings, live.start, Resume::default())?;
    let context = Arc::new(live.validated.views);
    let shared = Shared::new(context.clone(), Arc::new(Names::default()), Arc::new(Partitions::default()));
    let partitions = PartitionTable::default();
    enter_new(&*source, &shared, &partitions)?;

    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let pace = Pace {
        tick_ms: settings.live.tick_ms,
        behind_tick_ms: settings.live.behind_tick_ms,
        idle_tick_ms: settings.live.idle_tick_ms,
        epoch_records: settings.live.epoch_records as u64,
        epochs_in_flight: settings.live.epochs_in_flight,
    };
    let watermarks = Watermarks::new(context.allowed_lateness_micros, settings.live.partition_idle_ms);
    let status = source.status();
    let feed = Arc::new(Feed::new(pace, clock.clone(), status.clone(), watermarks, workers, 0));
    let rejects = Arc::new(RecentRejects::default());
    let engine = Arc::new(LiveEngine {
        feed: feed.clone(),
        source: status.clone(),
        shared: shared.clone(),
        partitions: partitions.clone(),
        rejects: rejects.clone(),
        workers,
        started_at_ms: i64::try_from(clock.now_ms()).unwrap_or(i64::MAX),
        settings: shown_settings,
        stop: AtomicBool::new(false),
    });

    let enabled = settings.views.enabled.clone();
    let rendered: Vec<&str> = VIEWS
        .map(|(name, _)| name)
        .into_iter()
        .filter(|name| *name == "quality" || enabled.iter().any(|on| on == name))
        .collect();
    let publisher = Publisher::new(&shared, &rendered, settings.serve.keep_epochs());
    let board = publisher.board();
    let positions = status.with(|state| state.partitions.iter().map(|partition| partition.next).collect());
    let collector = Collector::new(workers, positions);
    let (reports, reported) = mpsc::channel();

    let plan = Arc::new(Plan { feed: feed.clone(), shared: shared.clone(), enabled });
    let ingest = |_| {
        let record_bytes = settings.lake.quarantine_bytes_max;
        let rejects = Box::new(RejectsOfWorker { recent: rejects.clone(), record_bytes });
        Mutex::new(Some(Ingest::new(live.validated.decode.clone(), &shared, None, rejects)))
    };
    let ingests: Arc<Vec<_>> = Arc::new((0..workers).map(ingest).collect());
    let config = match workers {
        1 => timely::Config::thread(),
        workers => timely::Config::process(workers),
    };
    let guards = timely::execute(config, move |worker| {
        let mine = ingests[worker.index()].lock().map(|mut slot| slot.take());
        let ingest = mine.ok().flatten().expect("each worker takes its own reader once");
        worker::run(worker, &plan, ingest, &reports)
    });
    let guards = guards.map_err(|error| anyhow::anyhow!("starting the workers: {error}"))?;

    let (feed_of_reader, stopping) = (feed.clone(), engine.clone());
    let table = partitions.clone();
    let threads = vec![
        spawn("reader", move || read(&mut *source, &feed_of_reader, &shared, &table, &stopping.stop))?,
        spawn("publisher", move || {
            publish(&reported, &feed, &partitions, collector, publisher);
            Ok(())
        })?,
        spawn("workers", move || {
            for result in guards.join() {
                result.map_err(|panic| anyhow::anyhow!("a worker panicked: {panic}"))??;
            }
            Ok(())
        })?,
    ];
    Ok(Live { board, engine, threads })
}

fn spawn(
    name: &str,
    work: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).with_context(|| format!("starting the thread {name}"))
}

impl Live {
    /// Whether some part has ended: after [`crate::serve::status::Engine::drain`], or because it failed.
    pub fn has_ended(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Waits until everything that was read is published.
    ///
    /// # Errors
    /// The first failure of reading, of a worker, of publishing.
    pub fn join(self) -> anyhow::Result<()> {
        let mut result = Ok(());
        for thread in self.threads {
            let ended = thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread of the engine panicked")));
            result = result.and(ended);
        }
        result
    }
}
