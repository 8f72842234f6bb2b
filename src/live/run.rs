//! Starts a running engine: its threads, and what connects them.
//!
//! ```text
//! plan ─▶ restore (what is there) ─▶ reading (source, feed) ─▶ engine ─▶ writing (lake) ─▶ workers ─▶ reader, publisher
//! ```

use super::cluster::{Begin, Leading, TapOf, hand_on};
use super::engine::LiveEngine;
use super::feed::{Feed, Rules};
use super::publish::{Collector, publish};
use super::reader::{enter_new, read};
use super::rejects::OutletOfWorker;
use super::restore::Begun;
use super::start::Restored;
use super::threads::Threads;
use super::watermarks::Watermarks;
use super::worker::{self, Plan as WorkerPlan, Report};
use super::writing::Writing;
use crate::checkpoint::{Claim, Counts, Found, Incoming, Lake, LakeWriter, Manifest, Mode, RestoredRows};
use crate::clock::{Clock, SystemClock};
use crate::ingest::{Ingest, PartitionTable};
use crate::memory::{self, Memory, Sampler};
use crate::mesh::Socket;
use crate::numbers::{Epoch, Generation, Offset};
use crate::serve::{Board, Building, Tap};
use crate::settings::{Settings, Validated};
use anyhow::Context;
use millrace_connectors::source::{Deal, LiveSource, PartitionState, Remembered, Resume};
use millrace_dataflows::context::Shared;
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::{Hooks, WorkerGuards};
use timely::worker::Worker;

/// A running engine.
pub struct Live {
    pub board: Arc<Board>,
    pub engine: Arc<LiveEngine>,
    pub shared: Shared,
    /// Of its lake.
    claim: Option<Claim>,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
}

/// What is to run.
pub struct Plan {
    pub validated: Validated,
    pub workers: usize,
    pub rules: Rules,
    /// How long a partition is silent before it is idle.
    pub partition_idle_ms: u64,
    /// Where it lasts, and how it stands to what is there.
    pub lake: Option<(Lake, Mode)>,
    /// What is shown of it already.
    pub restored: Option<Restored>,
    /// Where answers are shown, if they are already.
    pub board: Option<Arc<Board>>,
    /// Whether it can be taken up again from there.
    pub keeps_state: bool,
    /// What it is made anew from, in [`Mode::Rebuild`].
    pub rebuild: Option<Found>,
    /// Pending records are read, and all views made anew from the lake's events with them. `validated` has no horizons then.
    pub repair: bool,
    /// Some views are made anew from the lake's events, and nothing else changes.
    pub redefine: Option<Redefine>,
    /// The other processes, where this is process 0 of several.
    pub cluster: Option<Arc<Leading>>,
    pub shown_settings: String,
}

impl Plan {
    /// Whether sessions are counted whole: only the end counts, and what is read is not what another run has left.
    pub fn counts_whole(&self) -> bool {
        self.rules.only_the_end_counts && self.redefine.is_none()
    }

    /// The workers of all processes.
    pub fn all_workers(&self) -> usize {
        self.cluster.as_ref().map_or(self.workers, |cluster| cluster.workers())
    }

    fn deal(&self) -> Deal {
        self.cluster.as_ref().map_or(Deal::ALL, |cluster| cluster.deal())
    }
}

/// Views that are made anew, for their definitions are others.
pub struct Redefine {
    pub views: Vec<String>,
    pub building: Arc<Building>,
}

/// Starts a plan. The source is opened where the lake says that reading goes on.
///
/// # Errors
/// Where the lake cannot be taken up, or the source cannot be opened: then the claim is taken back.
pub fn start_with(
    settings: &Settings,
    plan: Plan,
    open: impl FnOnce(Resume) -> anyhow::Result<Box<dyn LiveSource>>,
) -> anyhow::Result<Live> {
    let claim = plan.lake.as_ref().map(|(lake, _)| lake.claim());
    match start_plan(settings, plan, open) {
        Ok(live) => Ok(Live { claim, ..live }),
        Err(error) => {
            claim.into_iter().for_each(Claim::retract);
            Err(error)
        }
    }
}

fn start_plan(
    settings: &Settings,
    mut plan: Plan,
    open: impl FnOnce(Resume) -> anyhow::Result<Box<dyn LiveSource>>,
) -> anyhow::Result<Live> {
    let memory = watched_memory(settings)?;
    let begun = Begun::of(settings, &mut plan)?;
    let (of_views, of_state) = (begun.board.clone(), begun.shared.clone());
    memory.tell_by(move || held(&of_views, &of_state));
    let reading = Reading::open(settings, &plan, &begun, &memory, open)?;
    let positions = reading.source.status().with(|state| state.partitions.iter().map(|one| Offset(one.next)).collect());
    let collector = Collector::new(plan.all_workers(), positions);
    let claimed = plan.lake.as_ref().map(|(lake, _)| lake.manifest.clone());
    let engine = Arc::new(engine(&mut plan, &begun, &reading, memory.clone()));
    let mut threads = Threads { engine: engine.clone(), started: Vec::new() };
    let (deal, cluster) = (plan.deal(), plan.cluster.clone());
    let restored = begun.rows(&plan).map(|rows| rows.dealt(deal));
    let Writing { writers, cuts, released, incoming } =
        Writing::start(settings, &mut plan, &begun, &reading, &memory, &mut threads)?;
    let (reports, reported) = mpsc::channel();
    let crew = cluster.as_deref().map(|cluster| meet(settings, cluster, claimed, &begun, &reading)).transpose()?;
    if let (Some(cluster), Some(incoming)) = (cluster.clone(), incoming) {
        hear(cluster, reading.feed.clone(), reports.clone(), incoming, &mut threads)?;
    }
    let guards = start_workers(settings, &plan, &engine, restored, writers, reports, crew)?;

    let Begun { shared, board, publisher, .. } = begun;
    let tap = cluster.map(|cluster| -> Box<dyn Tap> { Box::new(TapOf(Arc::new(move |shown| cluster.show(shown)))) });
    let publisher = publisher.tapped(tap);
    let Reading { mut source, partitions, feed, .. } = reading;
    let (feed_of_reader, stopping) = (feed.clone(), engine.clone());
    let (table, shared_of_reader) = (partitions.clone(), shared.clone());
    threads.start("reader", move || {
        read(&mut *source, &*feed_of_reader, &shared_of_reader, &table, &stopping.stop, released.as_ref(), deal)
    })?;
    threads.start("publisher", move || {
        publish(&reported, &feed, &partitions, collector, publisher, &cuts);
        Ok(())
    })?;
    threads.start("workers", move || {
        for result in guards.join() {
            result.map_err(|panic| anyhow::anyhow!("a worker panicked: {panic}"))??;
        }
        Ok(())
    })?;
    Ok(Live { board, engine, shared, claim: None, threads: threads.started })
}

/// A source that is open, and the feed that takes what is read of it.
pub struct Reading {
    source: Box<dyn LiveSource>,
    pub partitions: PartitionTable,
    pub clock: Arc<dyn Clock>,
    pub feed: Arc<Feed>,
}

impl Reading {
    /// Opens the source where reading goes on.
    fn open(
        settings: &Settings,
        plan: &Plan,
        begun: &Begun,
        memory: &Arc<Memory>,
        open: impl FnOnce(Resume) -> anyhow::Result<Box<dyn LiveSource>>,
    ) -> anyhow::Result<Reading> {
        let source = open(begun.resume())?;
        let partitions = PartitionTable::default();
        enter_new(&*source, &begun.shared, &partitions)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let last_epoch = begun.before.as_ref().map_or(Epoch::NONE, |manifest| manifest.epoch);
        let generation = plan.lake.as_ref().map(|(lake, _)| lake.manifest.generation);
        // An earlier run may have published epochs, even where it has left no checkpoint.
        let reads_again = last_epoch > Epoch::NONE || generation.is_some_and(|generation| generation > Generation(1));
        let watermarks = watermarks(settings, plan, begun);
        let (status, workers) = (source.status(), plan.all_workers());
        let mut feed = Feed::new(plan.rules, clock.clone(), status, watermarks, workers, last_epoch, reads_again);
        if let Some(cluster) = plan.cluster.clone() {
            feed = feed.of_cluster(cluster.deal().processes, move |told| cluster.tell(told));
        }
        Ok(Reading { source, partitions, clock, feed: Arc::new(feed.within(memory.clone())) })
    }
}

/// How far the sources are complete before anything is read: as they were at the checkpoint.
fn watermarks(settings: &Settings, plan: &Plan, begun: &Begun) -> Watermarks {
    let jump = i64::try_from(settings.live.clock_jump_ms * 1_000).unwrap_or(i64::MAX);
    let lateness = begun.shared.context.allowed_lateness_micros;
    let mut watermarks = Watermarks::new(lateness, plan.partition_idle_ms, jump);
    if plan.rules.only_the_end_counts {
        watermarks = watermarks.of_history();
    }
    if let Some(manifest) = &begun.before {
        let latests: Vec<Option<i64>> = manifest.sources.partitions.iter().map(|partition| partition.latest).collect();
        watermarks.resume(manifest.watermark.unwrap_or(Watermarks::UNKNOWN), &latests);
    }
    watermarks
}

/// The engine, as serving sees it.
fn engine(plan: &mut Plan, begun: &Begun, reading: &Reading, memory: Arc<Memory>) -> LiveEngine {
    LiveEngine {
        feed: reading.feed.clone(),
        source: reading.source.status(),
        shared: begun.shared.clone(),
        partitions: reading.partitions.clone(),
        rejects: Arc::default(),
        workers: plan.all_workers(),
        started_at_ms: i64::try_from(reading.clock.now_ms()).unwrap_or(i64::MAX),
        settings: std::mem::take(&mut plan.shown_settings),
        memory,
        stop: plan.lake.as_ref().map_or_else(Arc::default, |(lake, _)| lake.waiting.stop.clone()),
        counts: plan.lake.as_ref().map(|(lake, _)| Arc::new(Counts::of(lake))),
        failed: OnceLock::new(),
    }
}

/// Starts the workers, each with its writer to the lake.
fn start_workers(
    settings: &Settings,
    plan: &Plan,
    engine: &Arc<LiveEngine>,
    restored: Option<RestoredRows>,
    writers: Vec<Option<LakeWriter>>,
    reports: mpsc::Sender<Report>,
    crew: Option<Crew>,
) -> anyhow::Result<WorkerGuards<anyhow::Result<()>>> {
    let is_plain = plan.rules.only_the_end_counts;
    let shared = &engine.shared;
    let of_workers = Arc::new(WorkerPlan {
        feed: engine.feed.clone(),
        shared: shared.clone(),
        enabled: match &plan.redefine {
            Some(redefine) => redefine.views.clone(),
            None => settings.views.enabled.clone(),
        },
        restored,
        counts_whole: plan.counts_whole(),
        recalls: !is_plain && shared.context.horizons.any(),
    });
    let ingests = writers.into_iter().map(|lake| {
        let outlet = Box::new(OutletOfWorker { recent: engine.rejects.clone(), lake });
        let ingest = Ingest::new(plan.validated.decode.clone(), shared, outlet, settings.lake.quarantine_bytes_max);
        Mutex::new(Some(ingest))
    });
    let ingests: Arc<Vec<_>> = Arc::new(ingests.collect());
    let failing = engine.clone();
    execute(
        crew,
        plan.workers,
        move |error| failing.fail(error),
        move |worker| {
            // This process has the first of all workers.
            let mine = ingests[worker.index()].lock().map(|mut slot| slot.take());
            let ingest = mine.ok().flatten().expect("each worker takes its own reader once");
            worker::run(worker, &of_workers, ingest, &reports)
        },
    )
}

/// Other processes, and the sockets to them.
pub struct Crew {
    pub deal: Deal,
    /// Workers of each process.
    pub workers: usize,
    /// By process; none to this one.
    pub sockets: Vec<Option<Socket>>,
}

/// Runs workers, each of which does `work`. Where one fails, `on_failure` has the source end, and the others with it.
///
/// # Errors
/// Where they cannot be started.
pub fn execute(
    crew: Option<Crew>,
    workers: usize,
    on_failure: impl Fn(&anyhow::Error) + Send + Sync + 'static,
    work: impl Fn(&mut Worker) -> anyhow::Result<()> + Send + Sync + 'static,
) -> anyhow::Result<WorkerGuards<anyhow::Result<()>>> {
    let work = move |worker: &mut Worker| {
        let result = work(worker);
        result.inspect_err(|error| on_failure(error))
    };
    let Some(crew) = crew else {
        let config = if workers == 1 { timely::Config::thread() } else { timely::Config::process(workers) };
        return timely::execute(config, work).map_err(|error| anyhow::anyhow!("starting the workers: {error}"));
    };
    assert_eq!(crew.workers, workers, "all processes have as many workers");
    let hooks = Hooks::default();
    let within = ProcessBuilder::new_typed_vector(workers, hooks.refill.clone(), None);
    let (builders, guard) = initialize_networking_from_sockets(within, crew.sockets, crew.deal.process, workers, hooks)
        .context("starting the threads that exchange data")?;
    let builders = builders.into_iter().map(AllocatorBuilder::Tcp).collect();
    let guards = timely::execute::execute_from(builders, Box::new(guard), timely::WorkerConfig::default(), work);
    guards.map_err(|error| anyhow::anyhow!("starting the workers: {error}"))
}

/// After how long without a sign of it a process is lost.
pub fn silence(settings: &Settings) -> Duration {
    Duration::from_millis(settings.cluster.silence_ms)
}

/// Has the other processes begin, and connects with them.
fn meet(
    settings: &Settings,
    cluster: &Leading,
    claimed: Option<Manifest>,
    begun: &Begun,
    reading: &Reading,
) -> anyhow::Result<Crew> {
    let claimed = claimed.context("a cluster needs a lake: set lake.url to a place that all processes reach")?;
    let (positions, kept) = reading.source.status().with(|state| {
        let kept = |one: &PartitionState| Remembered { mark: one.marks.at(one.next).cloned(), lost: one.lost };
        (state.partitions.iter().map(|one| one.next).collect(), state.partitions.iter().map(kept).collect())
    });
    let sockets = cluster.begin(Begin {
        generation: claimed.generation,
        run: claimed.run,
        manifest: claimed.number,
        restores: begun.before.is_some(),
        stamp: reading.feed.stamp(),
        partitions: reading.source.partitions().to_vec(),
        positions,
        kept,
    })?;
    Ok(Crew { deal: cluster.deal(), workers: settings.live.workers, sockets })
}

/// Starts what hears the other processes. What they report and write ends when they do.
fn hear(
    cluster: Arc<Leading>,
    feed: Arc<Feed>,
    reports: mpsc::Sender<Report>,
    incoming: mpsc::SyncSender<Incoming>,
    threads: &mut Threads,
) -> anyhow::Result<()> {
    let (files, finished) = mpsc::channel();
    threads.start("said", move || cluster.hear(&feed, &reports, &files))?;
    threads.start("files", move || hand_on(&finished, &incoming))
}

/// The memory of the process, watched from now on. Where it does not suffice the process ends, which harms no lake: all that is
/// committed is safe, and the rest is read again.
pub(super) fn watched_memory(settings: &Settings) -> anyhow::Result<Arc<Memory>> {
    let memory = Arc::new(Memory::new(settings.memory_limit()?));
    let end = |words: String| {
        // Where stderr is gone, the exit code still tells.
        crate::log::error(words);
        std::process::exit(i32::from(memory::EXIT_CODE));
    };
    Sampler::start(&memory, end).context("starting the thread that watches the memory")?;
    Ok(memory)
}

/// What takes memory, by name.
fn held(board: &Board, shared: &Shared) -> Vec<(String, u64)> {
    let state = shared.held.all().map(|(name, count)| (name.to_owned(), count as u64));
    let views = board.current();
    let rows = views.views.iter().map(|rows| (format!("rows of {}", rows.view.name()), rows.index.rows() as u64));
    state.chain([("names".to_owned(), shared.names.len() as u64)]).chain(rows).collect()
}

impl Live {
    /// Whether some part has ended: after [`crate::serve::status::Engine::drain`], or because it failed.
    pub fn has_ended(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Whether all has ended.
    pub fn is_over(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
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
        // Nobody has seen anything of one that fails now: the lake is as if it had not started.
        let current = self.board.current();
        if result.is_err() && (current.restored || current.epoch == 0) {
            self.claim.into_iter().for_each(Claim::retract);
        }
        result
    }
}
