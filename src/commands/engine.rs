//! One process of a cluster, as its parent starts it: it computes and serves nobody. What it has to show goes to its parent, over its
//! standard output; what it is told comes over its standard input.
//!
//! ```text
//! parent ──Ask──▶ stdin │ engine │ stdout ──Shown──▶ parent
//! ```
//! Where the parent ends the engine does.

use super::running::Running;
use crate::checkpoint::NowMs;
use crate::clock::{Clock, SystemClock};
use crate::live::cluster::{LOST, Leading, Shown, SinkShown, Tell, Told, follow};
use crate::live::silence;
use crate::mesh::{Hello, Hosts, Meeting, Outbox, Purpose, Security, read_frame};
use crate::serve::status::{Engine, EngineStatus};
use crate::settings::{Settings, SourceKind};
use crate::sinks::{Committed, SinkStatus, Sinks};
use anyhow::Context;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::Xxh3;

/// How often the engine is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How often its parent is told how it does.
const STATUS_EVERY: Duration = Duration::from_millis(500);
/// What a parent says: end well.
pub const DRAIN: &[u8] = b"drain";
/// No word of a parent is longer.
const WORD_MOST: usize = 16;

/// Which process of which cluster it is.
#[derive(Clone, Debug)]
pub struct Place {
    pub process: usize,
    pub hosts: Hosts,
}

/// Runs one process of a cluster until it is told to end, or all ends.
///
/// # Errors
/// Where a setting does not fit, another process refuses this one, or something fails. Where another process is lost, the process ends
/// with [`LOST`].
pub fn engine(
    settings: &Settings,
    shown_settings: String,
    place: &Place,
    until_end: bool,
    refuse_rebuild: bool,
    say: &dyn Fn(String),
) -> anyhow::Result<()> {
    anyhow::ensure!(
        !settings.lake.url.is_empty(),
        "a cluster needs a lake: set lake.url to a place that all of its processes reach"
    );
    let stop = listen()?;
    let should_stop = || stop.load(Ordering::Relaxed);
    // Where nobody takes it any more, the parent has gone.
    let gone = |_: String| std::process::exit(LOST);
    let parent = Outbox::to(std::io::stdout(), silence(settings) / 10, "parent", gone)?;
    warn_if_open(settings, &place.hosts);
    let meeting = Meeting::open(&place.hosts, hello(settings, place)?, security(settings)?)?;
    if place.process > 0 {
        return follow(settings, &place.hosts, &meeting, &parent, say, &stop);
    }
    let shown: Tell = Arc::new(move |shown: &Shown| parent.send(shown.to_bytes()));
    let lost = Arc::new(|reason: String| {
        crate::log::warning(format_args!("{reason}; this generation ends"));
        std::process::exit(LOST)
    });
    let connect = Duration::from_millis(settings.cluster.connect_ms);
    let leading = Leading::new(place.hosts.clone(), meeting, settings.live.workers, connect, shown, lost);
    let leading = Arc::new(leading);
    leading.gather(say, &should_stop)?;
    let mut serve_nobody = |_: &Arc<_>, _: Arc<dyn Engine>| Ok(());
    let cluster = Some(leading.clone());
    let mut running =
        Running::start(settings, shown_settings, say, &should_stop, refuse_rebuild, cluster, &mut serve_nobody)?;
    let of_sinks = running.engine.clone();
    let committed: Committed = Arc::new(move || of_sinks.last_committed());
    let now: NowMs = Arc::new(|| SystemClock.now_ms());
    let sinks = Sinks::start(settings, &committed, &now, false)?;
    say(format!("{} processes run with {} workers", place.hosts.processes(), leading.workers()));
    let mut next_status = Instant::now();
    while !running.has_ended() {
        std::thread::sleep(LOOK);
        running.repair_if_due(say)?;
        if should_stop() || until_end && is_at_end(&running.engine.status()) {
            running.engine.drain();
        }
        if Instant::now() >= next_status {
            next_status = Instant::now() + STATUS_EVERY;
            leading.show(&Shown::Status(running.engine.status()));
            let shown = |sink: &Arc<SinkStatus>| SinkShown {
                name: sink.name.clone(),
                lag_ms: sink.lag_ms(now()),
                published: sink.published(),
                failures: sink.failures(),
            };
            leading.show(&Shown::Sinks(sinks.status().iter().map(shown).collect()));
        }
    }
    let engine = running.engine.clone();
    running.join()?;
    leading.tell(&Told::Committed);
    sinks.finish();
    leading.show(&Shown::Status(engine.status()));
    // What is on its way to others is written before the sockets close with the process.
    std::thread::sleep(LOOK * 5);
    Ok(())
}

/// Whether everything there is has been read.
pub fn is_at_end(status: &EngineStatus) -> bool {
    let read = |partition: &crate::serve::status::PartitionStatus| {
        partition.fault.is_some() || partition.end_offset.is_some_and(|end| partition.next_offset >= end)
    };
    status.source_down.is_none() && status.partitions.iter().all(read)
}

/// Hears what the parent says. Where it goes this process ends.
fn listen() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    let hear = move || {
        let mut from = std::io::stdin().lock();
        loop {
            match read_frame(&mut from, WORD_MOST) {
                Ok(word) if word == DRAIN => told.store(true, Ordering::Relaxed),
                Ok(_) => {}
                Err(_) => std::process::exit(LOST),
            }
        }
    };
    std::thread::Builder::new()
        .name("parent".to_owned())
        .spawn(hear)
        .context("starting the thread that hears the parent")?;
    Ok(stop)
}

/// Says where anybody who reaches the port could take part.
fn warn_if_open(settings: &Settings, hosts: &Hosts) {
    let is_near = |host: &str| host.starts_with("127.") || host.starts_with("localhost:") || host.starts_with("[::1]");
    let all_near = (0..hosts.processes()).all(|process| is_near(hosts.of(process)));
    if !all_near && settings.cluster.token.is_empty() && settings.cluster.tls_ca_file.is_empty() {
        crate::log::warning(
            "whoever reaches the mesh port can take part in this cluster: set cluster.token, or cluster.tls_certificate_file and its like",
        );
    }
}

/// How sockets to other processes are secured.
fn security(settings: &Settings) -> anyhow::Result<Security> {
    let files = settings.cluster.tls_files().map_err(|missing| {
        anyhow::anyhow!(
            "{missing} is empty: TLS between processes takes a certificate, its key, and who signs all of them"
        )
    })?;
    Security::new(silence(settings), files)
}

/// As this process presents itself to others.
fn hello(settings: &Settings, place: &Place) -> anyhow::Result<Hello> {
    let mut decides = Vec::new();
    let deciding = serde_json::to_value(crate::checkpoint::deciding(settings)).context("settings are plain data")?;
    for part in ["store", "decode", "views", "horizons"] {
        leaves(part, &deciding[part], &mut decides);
    }
    let source = match settings.source.kind {
        SourceKind::Log => format!("{:?}", settings.source.log.paths),
        SourceKind::Kafka => format!("{:?}", settings.source.kafka.topics),
    };
    decides.push(("source".to_owned(), source));
    decides.push(("lake.events".to_owned(), settings.lake.events.to_string()));
    decides.push(("cluster.silence_ms".to_owned(), settings.cluster.silence_ms.to_string()));
    Ok(Hello {
        program: program()?,
        cluster: settings.cluster.name.clone(),
        token: settings.cluster.token.clone(),
        process: place.process,
        processes: place.hosts.processes(),
        workers: settings.live.workers,
        settings: decides,
        purpose: Purpose::Control,
    })
}

fn leaves(key: &str, value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::Object(parts) => parts.iter().for_each(|(name, part)| leaves(&format!("{key}.{name}"), part, into)),
        leaf => into.push((key.to_owned(), leaf.to_string())),
    }
}

/// The program that runs here, also where another has taken its place on the disk.
///
/// # Errors
/// Where the system does not say.
pub fn this_program() -> anyhow::Result<PathBuf> {
    let linux = Path::new("/proc/self/exe");
    if linux.exists() {
        return Ok(linux.to_owned());
    }
    std::env::current_exe().context("asking which program this is")
}

/// The version of this program, and what tells its build from others: processes of one generation speak without versions.
fn program() -> anyhow::Result<String> {
    let path = this_program()?;
    let mut file = std::fs::File::open(&path).with_context(|| format!("reading {}", path.display()))?;
    let (mut hash, mut buffer) = (Xxh3::new(), vec![0; 1 << 20]);
    loop {
        match std::io::Read::read(&mut file, &mut buffer).with_context(|| format!("reading {}", path.display()))? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    Ok(format!("{} ({:016x})", env!("CARGO_PKG_VERSION"), hash.digest()))
}
