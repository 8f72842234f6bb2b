//! Starts a running engine: its threads, and what connects them.

use super::engine::LiveEngine;
use super::feed::{Feed, Rules};
use super::publish::{Collector, by_source, publish};
use super::reader::{enter_new, read};
use super::rejects::{OutletOfWorker, RecentRejects};
use super::start::Restored;
use super::watermarks::Watermarks;
use super::worker::{self, Plan as WorkerPlan};
use crate::checkpoint::Found;
use crate::checkpoint::{
    self, Claim, Committer, Lake, LakeWriter, Manifest, Mode, Outgoing, RestoredRows, ViewFiles, load_names, load_views,
};
use crate::clock::{Clock, SystemClock};
use crate::ingest::{Ingest, PartitionTable};
use crate::memory::{self, Memory, Sampler};
use crate::numbers::{Epoch, Generation, Offset};
use crate::serve::{Board, Publisher};
use crate::settings::{Settings, Validated};
use anyhow::Context;
use millrace_connectors::lake::{EventFiles, EventSettings, PendingFiles, QuarantineFiles, QuarantineSettings};
use millrace_connectors::source::{LiveSource, PartitionInfo, Remembered, Resume};
use millrace_connectors::store::Store;
use millrace_dataflows::context::{Partitions, Shared};
use millrace_dataflows::views::{VIEWS, view};
use millrace_schema::Names;
use millrace_schema::decode::DecodeSettings;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

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
    pub shown_settings: String,
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
    plan: Plan,
    open: impl FnOnce(Resume) -> anyhow::Result<Box<dyn LiveSource>>,
) -> anyhow::Result<Live> {
    let Plan { validated, workers, rules, partition_idle_ms, lake, keeps_state, repair, shown_settings, .. } = plan;
    let memory = watched_memory(settings)?;
    let generation = lake.as_ref().map(|(lake, _)| lake.manifest.generation);
    let before = lake.as_ref().filter(|(lake, mode)| *mode == Mode::Continue && lake.manifest.epoch > Epoch::NONE);
    let before: Option<Manifest> = before.map(|(lake, _)| lake.manifest.clone());
    let is_shown = |restored: &Restored| before.as_ref().is_some_and(|manifest| restored.is_of(manifest));
    let restored = plan.restored.filter(is_shown);
    let shared = restored.as_ref().map(|restored| restored.shared.clone()).unwrap_or_else(|| {
        let context = Arc::new(validated.views.clone());
        Shared::new(context, Arc::new(Names::default()), Arc::new(Partitions::default()))
    });
    let (context, names) = (shared.context.clone(), shared.names.clone());
    let enabled = settings.views.enabled.clone();
    let rendered = rendered(settings);
    let is_plain = rules.only_the_end_counts;
    let new_publisher = || match is_plain {
        true => Publisher::plain(&shared, &rendered),
        false => Publisher::new(&shared, &rendered, settings.serve.keep_epochs()),
    };
    let is_restored = restored.is_some();
    let (mut names_lost, mut views_lost) = (false, Vec::new());
    let mut publisher = restored.map_or_else(new_publisher, |restored| restored.publisher);
    if let Some(board) = plan.board {
        publisher = publisher.onto(board);
    }
    let board = publisher.board();
    if let (Some(manifest), Some((lake, _)), false) = (&before, &lake, is_restored) {
        check_settings(manifest, settings, &lake.store.place())?;
        match load_names(&*lake.store, manifest, &names) {
            Err(error) if repair => {
                crate::log::warning(format_args!("names are written anew: {error:#}"));
                names_lost = true;
            }
            loaded => loaded?,
        }
        let views: Vec<_> = publisher.version().views.iter().map(|rows| rows.view.clone()).collect();
        let mut loaded = Vec::new();
        for (position, view) in views.iter().enumerate() {
            match load_views(&*lake.store, manifest, std::slice::from_ref(view), &names) {
                Err(error) if repair => {
                    crate::log::warning(format_args!("the view {} is made anew: {error:#}", view.name()));
                    views_lost.push(view.name());
                }
                rows => loaded.extend(rows?.into_iter().map(|(_, rows)| (position, rows))),
            }
        }
        show(&mut publisher, manifest, loaded);
    }
    // What is in the lake's files of views.
    let kept = board.current();
    let mut board = board;
    if let (Some(manifest), true) = (&before, repair) {
        // Of quality, what is kept is the only record; the other views are made anew.
        publisher = new_publisher();
        board = publisher.board();
        let quality = load_quality(lake.as_ref().map(|(lake, _)| &*lake.store), manifest, &board, &names)?;
        show(&mut publisher, manifest, quality);
    }

    let (of_views, of_state) = (board.clone(), shared.clone());
    memory.tell_by(move || held(&of_views, &of_state));

    let mut rebuild = plan.rebuild;
    if let (Some(found), Some((lake, _))) = (&mut rebuild, &lake) {
        // Of rejected records their rows are all there is.
        let rejected = found.count_rejected(&*lake.store, &shared)?;
        publisher.restore(0, 0, None, Arc::default(), [(position_of_quality(&board)?, rejected)]);
    }

    let mut source = open(before.as_ref().map(resume_of).unwrap_or_default())?;
    let partitions = PartitionTable::default();
    enter_new(&*source, &shared, &partitions)?;
    let jump = i64::try_from(settings.live.clock_jump_ms * 1_000).unwrap_or(i64::MAX);
    let mut watermarks = Watermarks::new(context.allowed_lateness_micros, partition_idle_ms, jump);
    if rules.only_the_end_counts {
        watermarks = watermarks.of_history();
    }
    if let Some(manifest) = &before {
        let latests: Vec<Option<i64>> = manifest.sources.partitions.iter().map(|partition| partition.latest).collect();
        watermarks.resume(manifest.watermark.unwrap_or(Watermarks::UNKNOWN), &latests);
    }

    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let status = source.status();
    let last_epoch = before.as_ref().map_or(Epoch::NONE, |manifest| manifest.epoch);
    // An earlier run may have published epochs, even where it has left no checkpoint.
    let reads_again = last_epoch > Epoch::NONE || generation.is_some_and(|generation| generation > Generation(1));
    let feed = Feed::new(rules, clock.clone(), status.clone(), watermarks, workers, last_epoch, reads_again);
    let feed = Arc::new(feed.within(memory.clone()));
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
        memory: memory.clone(),
        stop: lake.as_ref().map_or_else(Arc::default, |(lake, _)| lake.waiting.stop.clone()),
    });
    let positions = status.with(|state| state.partitions.iter().map(|partition| Offset(partition.next)).collect());
    let collector = Collector::new(workers, positions);
    let (reports, reported) = mpsc::channel();
    let mut threads = Threads { engine: engine.clone(), started: Vec::new() };

    let restored = match (&before, &lake) {
        (Some(manifest), Some((lake, _))) if repair => {
            let decode = validated.decode.clone();
            Some(RestoredRows::of_lake(lake.store.clone(), manifest, &lake.files, decode, names.clone()))
        }
        (Some(manifest), Some((lake, _))) => Some(RestoredRows::new(lake.store.clone(), manifest)),
        _ => None,
    };
    let mut writers: Vec<Option<LakeWriter>> = (0..workers).map(|_| None).collect();
    let (mut cuts, mut released) = (None, None);
    if let Some((lake, mode)) = lake {
        let (incoming, received) = Committer::channel();
        for (worker, writer) in writers.iter_mut().enumerate() {
            let outgoing = outgoing(settings, &lake, worker, workers, &partitions, &memory, keeps_state);
            let (started, thread) = LakeWriter::start(outgoing, incoming.clone())?;
            *writer = Some(started);
            threads.watch(thread)?;
        }
        let (cut_sender, cut_receiver) = mpsc::channel();
        let views = kept.views.iter().map(|rows| {
            let entry =
                before.as_ref().and_then(|manifest| manifest.views.iter().find(|view| view.name == rows.view.name()));
            let entry = entry.filter(|entry| !views_lost.contains(&&*entry.name));
            ViewFiles::new(rows, (!is_plain).then_some(&*shared.context), entry.cloned())
        });
        let committer = Committer::new(checkpoint::Parts {
            settings: settings.clone(),
            mode,
            keeps_state,
            counts_whole: is_plain,
            names,
            workers,
            views: views.collect(),
            now_ms: Box::new(move || clock.now_ms()),
            beside: (!is_plain).then(|| beside(&shared, &validated.decode, &feed)),
            repaired: repair.then(|| pending_keys(&lake)),
            carried: rebuild.map(|found| found.quarantine).unwrap_or_default(),
            names_lost,
            lake,
        });
        (cuts, released) = (Some(cut_sender), Some(committer.released()));
        let feed = feed.clone();
        threads.first("committer", move || {
            let ends = CommitsEnd(feed);
            committer.run(&received, &cut_receiver, &*ends.0)
        })?;
    }

    let counts_whole = is_plain;
    let plan = WorkerPlan {
        feed: feed.clone(),
        shared: shared.clone(),
        enabled,
        restored,
        counts_whole,
        recalls: !is_plain && shared.context.horizons.any(),
    };
    let plan = Arc::new(plan);
    let reject_bytes_max = settings.lake.quarantine_bytes_max;
    let ingests = writers.into_iter().map(|lake| {
        let outlet = Box::new(OutletOfWorker { recent: rejects.clone(), lake });
        let ingest = Ingest::new(validated.decode.clone(), &shared, outlet, reject_bytes_max);
        Mutex::new(Some(ingest))
    });
    let ingests: Arc<Vec<_>> = Arc::new(ingests.collect());
    let config = match workers {
        1 => timely::Config::thread(),
        workers => timely::Config::process(workers),
    };
    let stopping = engine.clone();
    let guards = timely::execute(config, move |worker| {
        let mine = ingests[worker.index()].lock().map(|mut slot| slot.take());
        let ingest = mine.ok().flatten().expect("each worker takes its own reader once");
        let result = worker::run(worker, &plan, ingest, &reports);
        if result.is_err() {
            // The others end with the source.
            stopping.stop.store(true, Ordering::Relaxed);
        }
        result
    });
    let guards = guards.map_err(|error| anyhow::anyhow!("starting the workers: {error}"))?;

    let (feed_of_reader, stopping) = (feed.clone(), engine.clone());
    let (table, shared_of_reader) = (partitions.clone(), shared.clone());
    threads.start("reader", move || {
        read(&mut *source, &feed_of_reader, &shared_of_reader, &table, &stopping.stop, released.as_ref())
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

/// The memory of the process, watched from now on. Where it does not suffice the process ends, which harms no lake: all that is
/// committed is safe, and the rest is read again.
fn watched_memory(settings: &Settings) -> anyhow::Result<Arc<Memory>> {
    let memory = Arc::new(Memory::new(settings.memory_limit()?));
    let end = |words: String| {
        // Where stderr is gone, the exit code still tells.
        let _ = writeln!(std::io::stderr(), "error: {words}");
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

/// The views that are kept: those that are enabled, and `quality`.
pub(super) fn rendered(settings: &Settings) -> Vec<&'static str> {
    let enabled = &settings.views.enabled;
    let names = VIEWS.map(|(name, _)| name).into_iter();
    names.filter(|name| *name == "quality" || enabled.iter().any(|on| on == name)).collect()
}

fn beside(shared: &Shared, decode: &DecodeSettings, feed: &Arc<Feed>) -> checkpoint::Beside {
    let feed = feed.clone();
    checkpoint::Beside {
        shared: shared.clone(),
        decode: decode.clone(),
        found: Box::new(move |found| feed.found(found)),
    }
}

/// The files of pending records.
fn pending_keys(lake: &Lake) -> Vec<String> {
    let pending = lake.files.iter().filter(|file| checkpoint::Kind::of(&file.key) == Some(checkpoint::Kind::Pending));
    pending.map(|file| file.key.clone()).collect()
}

/// The rows of quality alone.
fn load_quality(
    store: Option<&dyn Store>,
    manifest: &Manifest,
    board: &Board,
    names: &Names,
) -> anyhow::Result<Vec<(usize, checkpoint::ViewRowsByKey)>> {
    let Some(store) = store else { return Ok(Vec::new()) };
    let current = board.current();
    let position = position_of_quality(board)?;
    let entry = manifest.views.iter().find(|entry| entry.name == "quality").context("quality is always kept")?;
    Ok(vec![(position, checkpoint::rows_of(store, entry, &*current.views[position].view, names)?)])
}

fn position_of_quality(board: &Board) -> anyhow::Result<usize> {
    let position = board.current().views.iter().position(|rows| rows.view.name() == "quality");
    position.context("quality is always rendered")
}

/// What was decided by other settings cannot be gone on with.
///
/// # Errors
/// Where it was; it names the settings.
pub fn check_settings(manifest: &Manifest, settings: &Settings, place: &str) -> anyhow::Result<()> {
    if manifest.epoch == Epoch::NONE {
        return Ok(());
    }
    anyhow::ensure!(
        manifest.state.complete,
        "{place} holds the answers of a replay and not its state, so they cannot be gone on with: replay again with --set replay.state=true, or set lake.url to another place"
    );
    let (then, now) = (&manifest.settings, checkpoint::deciding(settings));
    let differing = crate::settings::differing(then, &now)?;
    anyhow::ensure!(
        differing.is_empty(),
        "{place} was written under other settings ({}): set them back, or set lake.url to another place and read again from the start",
        differing.join(", ")
    );
    let rendered = rendered(settings);
    let kept: Vec<&str> = manifest.views.iter().map(|view| &*view.name).collect();
    anyhow::ensure!(
        kept == rendered,
        "{place} keeps the views {}, and views.enabled asks for {}: set it back, or set lake.url to another place",
        kept.join(", "),
        rendered.join(", ")
    );
    let context = settings.validate()?.views;
    for entry in &manifest.views {
        checkpoint::check_version(entry, &*view(&entry.name, &context).context("those that are kept are known")?)?;
    }
    Ok(())
}

pub(super) fn resume_of(manifest: &Manifest) -> Resume {
    let mut resume = Resume::default();
    for entry in &manifest.sources.partitions {
        let (source, path) = (entry.source.clone(), entry.path.clone().into());
        resume.partitions.push(PartitionInfo { source, partition: entry.partition, path });
        resume.positions.push(entry.next_offset.0);
        resume.kept.push(Remembered { mark: entry.mark.clone(), lost: entry.lost });
    }
    resume
}

/// Publishes what a manifest holds: these rows, by the position of their view.
pub(super) fn show(
    publisher: &mut Publisher,
    manifest: &Manifest,
    rows: impl IntoIterator<Item = (usize, checkpoint::ViewRowsByKey)>,
) {
    let partitions = resume_of(manifest).partitions;
    let positions: Vec<Offset> = manifest.sources.partitions.iter().map(|entry| entry.next_offset).collect();
    let positions = by_source(&positions, &partitions);
    publisher.restore(manifest.epoch.0, manifest.epoch_at_ms(), manifest.watermark, positions, rows);
}

/// What a worker's writer needs.
fn outgoing(
    settings: &Settings,
    lake: &Lake,
    worker: usize,
    workers: usize,
    partitions: &PartitionTable,
    memory: &Memory,
    state: bool,
) -> Outgoing {
    let name = format!("{}-w{worker:03}", checkpoint::prefix(lake.manifest.generation));
    let compression = checkpoint::compression(settings);
    let defaults = EventSettings::default();
    let event_settings = EventSettings {
        compression,
        file_rows: settings.lake.events_file_rows as u64,
        buffer_bytes: memory.share(defaults.buffer_bytes) / workers,
        uploads_most: (defaults.uploads_most / workers).max(1),
        ..defaults
    };
    let quarantine_settings = QuarantineSettings {
        compression,
        record_bytes: settings.lake.quarantine_bytes_max,
        ..QuarantineSettings::default()
    };
    let store = &lake.store;
    Outgoing {
        worker,
        store: store.clone(),
        partitions: partitions.clone(),
        events: settings.lake.events.then(|| EventFiles::new(store.clone(), &name, event_settings)),
        quarantine: QuarantineFiles::new(store.clone(), &name, quarantine_settings),
        pending: PendingFiles::new(store.clone(), &name, compression),
        state,
        queue_bytes: memory.share(checkpoint::QUEUE_BYTES) / workers,
        name,
    }
}

/// However the committer ends, the feed knows that it has.
struct CommitsEnd(Arc<Feed>);

impl Drop for CommitsEnd {
    fn drop(&mut self) {
        self.0.commits_end();
    }
}

/// The threads of an engine. One that fails stops the engine: what is read is closed, and all end.
struct Threads {
    engine: Arc<LiveEngine>,
    started: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Threads {
    fn start(&mut self, name: &str, work: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> anyhow::Result<()> {
        let engine = self.engine.clone();
        let work = move || {
            let result = work();
            if result.is_err() {
                engine.stop.store(true, Ordering::Relaxed);
            }
            result
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
        self.started.push(thread.with_context(|| format!("starting the thread {name}"))?);
        Ok(())
    }

    /// A thread whose error explains those of others.
    fn first(&mut self, name: &str, work: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> anyhow::Result<()> {
        self.start(name, work)?;
        self.started.rotate_right(1);
        Ok(())
    }

    /// A thread that was started elsewhere.
    fn watch(&mut self, thread: JoinHandle<anyhow::Result<()>>) -> anyhow::Result<()> {
        self.start("watch", move || {
            thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread of the engine panicked")))
        })
    }
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
