//! A process that follows: it reads its share of the partitions, decodes, computes and writes its own files. Epochs and checkpoints are
//! decided elsewhere.
//!
//! ```text
//! link to process 0 ─▶ Begin ─▶ data sockets ─▶ lake looked at, names, source ─▶ workers, reader ─▶ … ─▶ Done ─▶ Ended
//! ```

use super::super::pace::Pace;
use super::super::reader::{enter_new, read};
use super::super::rejects::{OutletOfWorker, RecentRejects};
use super::super::restore::shows_users;
use super::super::run::{Crew, execute, watched_memory};
use super::super::source;
use super::super::worker::{self, Plan as WorkerPlan, Report};
use super::super::writing::outgoing_to;
use super::LOST;
use super::following::Following;
use super::said::{Begin, Said, SaidFile, SaidReport, Told, bytes_of, of_bytes};
use crate::checkpoint::{
    self, FileEntry, Incoming, LakeWriter, Manifest, RestoredRows, SharedLake, load_names, read_manifest,
};
use crate::ingest::{Ingest, PartitionTable};
use crate::mesh::{Hosts, Link, Meeting, Outbox, Purpose, Socket, join_control, join_data};
use crate::numbers::Epoch;
use crate::settings::Settings;
use anyhow::Context;
use bytes::Bytes;
use millrace_connectors::source::Deal;
use millrace_dataflows::context::{Partitions, Shared};
use millrace_schema::Names;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The exit code of a process of which a part has failed.
const FAILED: i32 = 1;

/// Files that may wait to be finished.
const QUEUE: usize = 16;
const LOOK: Duration = Duration::from_millis(100);
/// How long process 0 may take to say that all end.
const LEAVE: Duration = Duration::from_secs(2);

/// Follows process 0 through one generation, from its beginning to its end. What the parent is to be shown goes to `parent`.
///
/// # Errors
/// Where it is refused, the lake or the source cannot be read, or something fails. Where process 0 is lost the process ends with [`LOST`].
pub fn follow(
    settings: &Settings,
    hosts: &Hosts,
    meeting: &Meeting,
    parent: &Outbox,
    say: &dyn Fn(String),
    asked: &Arc<AtomicBool>,
) -> anyhow::Result<()> {
    let should_stop = || asked.load(Ordering::Relaxed);
    let live = settings.validate_live()?;
    let me = meeting.hello(Purpose::Control);
    let deal = Deal { process: me.process, processes: me.processes };
    let stream = join_control(hosts, &me, meeting.security(), say, &should_stop)?;
    let has_ended = Arc::new(AtomicBool::new(false));
    let is_committed = Arc::new(AtomicBool::new(false));
    let flags = (has_ended.clone(), is_committed.clone());
    let (link, told) = link(stream, hosts.of(0), meeting.security().silence(), parent, flags)?;
    let begin = loop {
        anyhow::ensure!(!should_stop(), "it was told to end before the generation began");
        match told.recv_timeout(LOOK) {
            Ok(Told::Begin(begin)) => break begin,
            Ok(other) => anyhow::bail!("a generation begins with its beginning, and not with {other:?}"),
            Err(_) => {}
        }
    };
    say(format!("generation {} begins: process {} of {}", begin.generation, me.process, me.processes));
    let connect = Duration::from_millis(settings.cluster.connect_ms);
    meeting.expect(begin.generation.0);
    let hello = meeting.hello(Purpose::Data { generation: begin.generation.0 });
    let mut sockets: Vec<_> = join_data(hosts, &hello, meeting.security(), connect)?.into_iter().map(Some).collect();
    sockets.push(None);
    sockets.extend(meeting.data(connect)?.into_iter().skip(me.process + 1));
    let crew = Crew { deal, workers: settings.live.workers, sockets };

    let memory = watched_memory(settings)?;
    let (lake, manifest) = look_at(settings, &begin, me.process)?;
    let store = lake.store.clone();
    let (context, names) = (Arc::new(live.validated.views.clone()), Arc::new(Names::default()));
    let shared =
        Shared::new(context, names.clone(), Arc::new(Partitions::default())).keeping_users(shows_users(settings));
    load_names(&*store, &manifest, &names)?;
    let shared = shared.knowing_names();
    let mut source = source::open(settings, live.start, begin.resume(), deal)?;
    let partitions = PartitionTable::default();
    enter_new(&*source, &shared, &partitions)?;

    let outbox = link.outbox.clone();
    let pace = Pace::of(&settings.live);
    let says = outbox.clone();
    let feed = Arc::new(Following::new(
        pace,
        source.status(),
        memory.clone(),
        deal,
        settings.live.workers,
        begin.stamp,
        Box::new(move |said| says.send(bytes_of(said))),
    ));
    let stop = Arc::new(AtomicBool::new(false));
    let mut threads: Vec<JoinHandle<anyhow::Result<()>>> = Vec::new();
    hear(told, feed.clone(), stop.clone())?;
    leave_when_asked(asked.clone(), stop.clone())?;

    let (incoming, received) = sync_channel(QUEUE);
    let (reports, reported) = channel();
    let mut ingests = Vec::new();
    for worker in 0..settings.live.workers {
        let number = deal.process * settings.live.workers + worker;
        let place = (number, settings.live.workers);
        let outgoing = outgoing_to(settings, &store, begin.generation, place, &partitions, &memory, true);
        let (lake, thread) = LakeWriter::start(outgoing, incoming.clone())?;
        threads.push(start("watch", move || joined(thread))?);
        let outlet = Box::new(OutletOfWorker { recent: Arc::new(RecentRejects::default()), lake: Some(lake) });
        let ingest = Ingest::new(live.validated.decode.clone(), &shared, outlet, settings.lake.quarantine_bytes_max);
        ingests.push(Mutex::new(Some(ingest)));
    }
    drop(incoming);
    let of_workers = WorkerPlan {
        feed: feed.clone(),
        shared: shared.clone(),
        enabled: settings.views.enabled.clone(),
        restored: begin.restores.then(|| RestoredRows::new(store.clone(), &manifest).dealt(deal)),
        counts_whole: false,
        recalls: shared.context.horizons.any(),
    };
    let first = deal.process * settings.live.workers;
    let guards = execute(Some(crew), settings.live.workers, fail, move |timely| {
        let mine = ingests[timely.index() - first].lock().map(|mut slot| slot.take());
        let ingest = mine.ok().flatten().expect("each worker takes its own reader once");
        worker::run(timely, &of_workers, ingest, &reports)
    })?;
    let say_files = outbox.clone();
    threads.push(start("files", move || finish(&received, &lake, &say_files))?);
    let say_reports = outbox.clone();
    let reporting = start("reports", move || {
        say_all(&reported, &say_reports);
        Ok(())
    })?;
    let (of_reader, read_feed) = (stop.clone(), feed);
    let (table, of_shared) = (partitions, shared);
    let reading = start("reader", move || read(&mut *source, &*read_feed, &of_shared, &table, &of_reader, None, deal))?;

    let mut result = joined(reading);
    for ended in guards.join() {
        let ended = ended.unwrap_or_else(|panic| Err(anyhow::anyhow!("a worker panicked: {panic}")));
        result = result.and(ended);
    }
    // The plan of the workers is gone with them, and with it the last who reports or writes.
    for thread in threads {
        result = result.and(joined(thread));
    }
    result = result.and(joined(reporting));
    result?;
    has_ended.store(true, Ordering::Relaxed);
    outbox.send(bytes_of(&Said::Ended));
    while !is_committed.load(Ordering::Relaxed) {
        if link.is_lost() {
            end("process 0 is lost, and had not said that everything is committed");
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

fn start(
    name: &str,
    work: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    let work = move || work().inspect_err(fail);
    std::thread::Builder::new().name(name.to_owned()).spawn(work).with_context(|| format!("starting the thread {name}"))
}

/// A part of this process has failed: it ends at once, for the others cannot go on without it, and all begin again.
fn fail(error: &anyhow::Error) {
    crate::log::warning(format_args!("{error:#}; this process ends, and with it the generation"));
    std::process::exit(FAILED)
}

fn joined(thread: JoinHandle<anyhow::Result<()>>) -> anyhow::Result<()> {
    thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread of the engine panicked")))
}

/// The link to process 0, and what it tells but what is for the parent.
fn link(
    stream: Socket,
    host: &str,
    silence: Duration,
    parent: &Outbox,
    (has_ended, is_committed): (Arc<AtomicBool>, Arc<AtomicBool>),
) -> anyhow::Result<(Link, Receiver<Told>)> {
    let (sender, told) = channel();
    let parent = parent.clone();
    let take = move |bytes: Vec<u8>| match of_bytes::<Told>(&bytes) {
        Ok(Told::Shown(bytes)) => parent.send(bytes.into()),
        Ok(Told::Committed) => is_committed.store(true, Ordering::Relaxed),
        Ok(told) => drop(sender.send(told)),
        Err(error) => end(&format!("process 0: {error}")),
    };
    let on_lost = move |reason: String| {
        if !has_ended.load(Ordering::Relaxed) {
            end(&format!("process 0 is lost: {reason}"));
        }
    };
    Ok((Link::start(stream, host, silence, take, on_lost).context("the link to process 0")?, told))
}

/// Ends the process: what is not committed is read again by the next generation.
fn end(reason: &str) -> ! {
    crate::log::warning(format_args!("{reason}; this generation ends"));
    std::process::exit(LOST)
}

/// Does what is told, until nothing is any more.
fn hear(told: Receiver<Told>, feed: Arc<Following>, stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    let hear = move || {
        for told in told {
            match told {
                Told::Open { stamp, ends_report } => feed.open(stamp, ends_report),
                Told::Partitions { infos, begins } => feed.told(infos, begins),
                Told::Stop => stop.store(true, Ordering::Relaxed),
                Told::Done { stamp } => feed.done(stamp),
                Told::Begin(_) | Told::Shown(_) | Told::Committed => {
                    unreachable!("a generation begins once, and this is taken where it comes")
                }
            }
        }
    };
    std::thread::Builder::new().name("told".to_owned()).spawn(hear).context("starting the thread that hears")?;
    Ok(())
}

/// Ends the process where it was asked to end and process 0 does not end with it: the others begin again, and wait for it.
fn leave_when_asked(asked: Arc<AtomicBool>, stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    let leave = move || {
        while !asked.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
        }
        std::thread::sleep(LEAVE);
        if !stop.load(Ordering::Relaxed) {
            end("this process was asked to end, and process 0 goes on");
        }
    };
    std::thread::Builder::new()
        .name("leave".to_owned())
        .spawn(leave)
        .context("starting the thread that ends this process")?;
    Ok(())
}

/// The lake, looked at and tried: what process 0 has claimed is there to be read, and files can be written.
fn look_at(settings: &Settings, begin: &Begin, process: usize) -> anyhow::Result<(SharedLake, Manifest)> {
    let url = &settings.lake.url;
    let lake = SharedLake::open(url, settings)?;
    let elsewhere = || {
        format!(
            "reading manifest {} of {url}, which process 0 has just written: lake.url names another place here",
            begin.manifest
        )
    };
    let manifest = read_manifest(&*lake.store, begin.manifest).with_context(elsewhere)?.with_context(elsewhere)?;
    anyhow::ensure!(
        (manifest.generation, &manifest.run) == (begin.generation, &begin.run),
        "manifest {} of {url} is not the one that process 0 has just written: lake.url names another place here",
        begin.manifest
    );
    let probe = format!("_state/probes/{}-p{process}.probe", checkpoint::prefix(begin.generation));
    let written = lake.store.put(&probe, Bytes::from_static(b"can be written"));
    written.with_context(|| format!("trying to write to lake.url {url}"))?;
    let removed = lake.store.delete(&[probe]);
    removed.with_context(|| format!("trying to remove what was written to lake.url {url}"))?;
    Ok((lake, manifest))
}

/// Finishes files, and says which there are.
fn finish(incoming: &Receiver<Incoming>, lake: &SharedLake, outbox: &Outbox) -> anyhow::Result<()> {
    for message in incoming {
        let said = match message {
            Incoming::File { worker, file } => {
                let key = file.key().to_owned();
                let file = file.finish().with_context(|| format!("writing {key}"))?;
                lake.check_there()?;
                checkpoint::crash::point("file-written");
                Said::File { worker, file: SaidFile::of(FileEntry::of(file, Epoch::NONE)) }
            }
            Incoming::Finished { worker, file } => Said::File { worker, file: SaidFile::of(file) },
            Incoming::Sealed { worker, epoch } => Said::Sealed { worker, epoch },
        };
        outbox.send(bytes_of(&said));
    }
    Ok(())
}

fn say_all(reports: &Receiver<Report>, outbox: &Outbox) {
    for report in reports {
        outbox.send(bytes_of(&Said::Report(SaidReport::of(&report))));
    }
}
