//! The parent of one process of a cluster: it serves, and has an engine compute. The engine may end; the parent goes on serving what was
//! shown last, and starts another.
//!
//! ```text
//! lake ─▶ replica ─▶ board ─▶ reads          engine (a process of its own) ──Shown──▶ replica
//!                                                └─ ends: started again, after a while that grows
//! ```

use super::engine::{DRAIN, this_program};
use crate::ingest::QUARANTINE_COLUMNS;
use crate::live::cluster::{LOST, Shown, SinkShown};
use crate::live::{Replica, silence};
use crate::log;
use crate::memory::usage;
use crate::mesh::{read_frame, write_frame};
use crate::metrics::Extra;
use crate::serve::Board;
use crate::serve::status::{Engine, EngineStatus};
use crate::settings::Settings;
use anyhow::Context;
use millrace_dataflows::table::Table;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often the engine is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How often the lake is looked at while there is no engine that shows anything.
const LOOK_AT_LAKE: Duration = Duration::from_secs(1);
/// An engine that has run for so long has started well: the next is not waited for longer than the first.
const WELL: Duration = Duration::from_secs(10);
/// How long an engine that was told to end may take to.
const END_MOST: Duration = Duration::from_secs(60);
/// The exit code of wrong settings: to start again does not help.
const USAGE: i32 = 2;
/// Frames that wait for the parent before the engine does.
const FRAMES: usize = 256;
/// No frame of an engine is longer.
const FRAME_MOST: usize = 1 << 30;

struct State {
    status: EngineStatus,
    /// Why there is no engine that reads, where there is none.
    down: Option<String>,
    /// Processes that are there while it waits for others.
    connected: u64,
    sinks: Vec<SinkShown>,
}

/// The engine of another process, as it is served here.
pub struct Elsewhere {
    state: Mutex<State>,
    settings: String,
    stop: AtomicBool,
    /// Engines that were started after the first.
    restarts: AtomicU64,
    /// Whether some engine has read.
    has_run: AtomicBool,
}

impl Elsewhere {
    /// Before anything is known of it; with the settings as they may be shown.
    pub fn new(workers: usize, settings: String, started_at_ms: u64) -> Elsewhere {
        let started_at_ms = i64::try_from(started_at_ms).unwrap_or(i64::MAX);
        let status = EngineStatus { workers, started_at_ms, ..EngineStatus::default() };
        let state =
            Mutex::new(State { status, down: Some("it is starting".to_owned()), connected: 1, sinks: Vec::new() });
        Elsewhere {
            state,
            settings,
            stop: AtomicBool::new(false),
            restarts: AtomicU64::new(0),
            has_run: AtomicBool::new(false),
        }
    }

    /// Whether somebody has asked it to end.
    pub fn is_told_to_end(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// How often an engine was started again.
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Whether there is none that reads: what is served is what was shown last.
    pub fn is_down(&self) -> bool {
        self.lock().down.is_some()
    }

    fn has_run(&self) -> bool {
        self.has_run.load(Ordering::Relaxed)
    }

    pub fn is_up(&self, status: EngineStatus) {
        self.has_run.store(true, Ordering::Relaxed);
        let mut state = self.lock();
        (state.status, state.down) = (status, None);
    }

    /// There is nothing to wait for.
    pub fn goes_on(&self) {
        self.lock().down = None;
    }

    pub fn waits_for(&self, reason: String, connected: u64) {
        let mut state = self.lock();
        (state.down, state.connected) = (Some(reason), connected);
    }

    /// Tells what others count of it, in a cluster of so many processes.
    pub fn tell(&self, extra: &Extra, processes: u64, now_ms: u64) {
        let state = self.lock();
        extra.set_processes(processes, if state.down.is_some() { state.connected.min(processes) } else { processes });
        extra.set_restarts(self.restarts());
        for sink in &state.sinks {
            extra.sink(&sink.name).are(now_ms, sink.lag_ms, sink.published, sink.failures);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Elsewhere {
    fn status(&self) -> EngineStatus {
        let state = self.lock();
        let mut status = state.status.clone();
        if let Some(down) = &state.down {
            status.source_down = Some(format!("answers are the last that were shown: {down}"));
            status.standing_by = true;
            (status.memory_bytes, status.cpu_seconds) = (usage::rss_bytes(), usage::cpu_time().as_secs_f64());
        }
        status
    }

    fn drain(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Rejected records are in the lake, and counted by rule in the view `quality`.
    fn quarantine(&self) -> Table {
        Table::new(QUARANTINE_COLUMNS)
    }

    fn quarantine_columns(&self) -> Vec<String> {
        QUARANTINE_COLUMNS.map(str::to_owned).to_vec()
    }

    fn settings(&self) -> String {
        self.settings.clone()
    }
}

/// The engine has ended because of its settings, or because another engine has taken its lake over: to start it again does not help.
#[derive(Debug, thiserror::Error)]
#[error("the engine does not start with these settings: its own error says why")]
pub struct EngineRefuses;

/// How a parent is to start its engine.
pub struct Start {
    /// The arguments of this program.
    pub arguments: Vec<std::ffi::OsString>,
    /// It ends once everything there is has been read, and the parent with it.
    pub until_end: bool,
}

/// Serves a board, once there is something to show.
pub struct Serving<'a> {
    /// Called once.
    pub serve: &'a mut dyn FnMut(&Arc<Board>) -> anyhow::Result<()>,
    /// Called now and then.
    pub each: &'a mut dyn FnMut(&Arc<Board>),
    pub is_served: bool,
}

impl Serving<'_> {
    fn look(&mut self, replica: &Replica) -> anyhow::Result<()> {
        let board = replica.board();
        if !self.is_served && board.current().epoch > 0 {
            self.is_served = true;
            (self.serve)(&board)?;
        }
        (self.each)(&board);
        Ok(())
    }
}

/// Keeps an engine running, and shows what it shows, until `should_stop`.
///
/// # Errors
/// Where an engine cannot be started, or says that the settings are wrong; where what it shows cannot be taken.
pub fn supervise(
    settings: &Settings,
    replica: &mut Replica,
    elsewhere: &Elsewhere,
    start: &Start,
    serving: &mut Serving<'_>,
    say: &dyn Fn(String),
    should_stop: &dyn Fn() -> bool,
) -> anyhow::Result<()> {
    let should_stop = || should_stop() || elsewhere.is_told_to_end();
    // The lake's answers are there before there is an engine.
    if let Err(error) = replica.look() {
        say(format!("warning: the answers of the lake are not shown yet: {error:#}"));
    }
    serving.look(replica)?;
    let (least, most) = (settings.cluster.restart_ms, settings.cluster.restart_most_ms);
    let mut pause = Duration::from_millis(least);
    loop {
        let begun = Instant::now();
        let ended = match run(settings, replica, elsewhere, start, serving, &should_stop) {
            Ok(ended) => ended,
            // There may be no process to be had for now.
            Err(error) if elsewhere.has_run() && !should_stop() => {
                log::warning(format_args!("{error:#}; it is tried again"));
                std::thread::sleep(Duration::from_millis(most));
                continue;
            }
            Err(error) => return Err(error),
        };
        if should_stop() || start.until_end && ended.success() {
            // Of a process that leaves while the others go on, nothing is lost.
            let is_well = ended.success() || ended.code() == Some(LOST);
            anyhow::ensure!(is_well, "the engine did not end well ({ended}): its own error says why");
            return Ok(());
        }
        if ended.code() == Some(USAGE) {
            return Err(EngineRefuses.into());
        }
        // Where another process was lost it is none of this engine's faults.
        if begun.elapsed() >= WELL || ended.code() == Some(LOST) {
            pause = Duration::from_millis(least);
        }
        let words = format!("the engine of this process ended ({ended}), and is started again");
        say(format!("warning: {words} in {} ms; reads are answered as of the last epoch", pause.as_millis()));
        elsewhere.waits_for(words, 1);
        elsewhere.restarts.fetch_add(1, Ordering::Relaxed);
        let until = Instant::now() + pause;
        while Instant::now() < until && !should_stop() {
            std::thread::sleep(LOOK.min(pause));
        }
        pause = (pause * 2).min(Duration::from_millis(most));
    }
}

/// Runs one engine to its end.
fn run(
    settings: &Settings,
    replica: &mut Replica,
    elsewhere: &Elsewhere,
    start: &Start,
    serving: &mut Serving<'_>,
    should_stop: &dyn Fn() -> bool,
) -> anyhow::Result<ExitStatus> {
    let mut command = Command::new(this_program()?);
    command.arg0("millrace").args(&start.arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    if elsewhere.has_run() {
        // It was asked for a repair at the start, and not whenever some process is lost.
        command.args(["--set", "lake.repair_at_start=false"]);
    }
    let mut child = command.spawn().context("starting the engine")?;
    let mut stdin = child.stdin.take().context("the engine has a standard input")?;
    let shown = hear(&mut child)?;
    // Hearts beat ten times as often.
    let silence = silence(settings);
    let (mut heard, mut told, mut next_look) = (Instant::now(), None, Instant::now());
    loop {
        match shown.recv_timeout(LOOK) {
            Ok(frame) => {
                heard = Instant::now();
                if !frame.is_empty()
                    && let Err(error) = take(replica, elsewhere, &frame)
                {
                    log::warning(format_args!("what the engine shows cannot be served: {error:#}; it is ended"));
                    let _ = child.kill();
                    return child.wait().context("waiting for the engine");
                }
            }
            Err(RecvTimeoutError::Timeout) if heard.elapsed() > silence => {
                log::warning(format_args!("the engine has been silent for {} ms: it is killed", silence.as_millis()));
                let _ = child.kill();
                return child.wait().context("waiting for the engine");
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return child.wait().context("waiting for the engine"),
        }
        serving.look(replica)?;
        if elsewhere.is_down() && Instant::now() >= next_look {
            next_look = Instant::now() + LOOK_AT_LAKE;
            // What cannot be read now is shown by the engine, which says so, too.
            let _ = replica.look();
        }
        if should_stop() {
            end(&mut child, &mut stdin, &mut told);
        }
    }
}

/// Tells an engine to end; where it was told long ago, ends it.
fn end(child: &mut Child, stdin: &mut ChildStdin, told: &mut Option<Instant>) {
    match told {
        None => {
            *told = Some(Instant::now());
            if write_frame(stdin, DRAIN).is_err() {
                let _ = child.kill();
            }
        }
        Some(told) if told.elapsed() > END_MOST => {
            let _ = child.kill();
        }
        Some(_) => {}
    }
}

/// Starts what reads frames of an engine.
fn hear(child: &mut Child) -> anyhow::Result<Receiver<Vec<u8>>> {
    let mut stdout = child.stdout.take().context("the engine has a standard output")?;
    let (sender, shown) = sync_channel(FRAMES);
    let read = move || {
        while let Ok(frame) = read_frame(&mut stdout, FRAME_MOST) {
            if sender.send(frame).is_err() {
                break;
            }
        }
    };
    std::thread::Builder::new()
        .name("engine".to_owned())
        .spawn(read)
        .context("starting the thread that hears the engine")?;
    Ok(shown)
}

fn take(replica: &mut Replica, elsewhere: &Elsewhere, frame: &[u8]) -> anyhow::Result<()> {
    match Shown::of_bytes(frame)? {
        Shown::Status(status) => elsewhere.is_up(status),
        Shown::Waits { reason, connected } => elsewhere.waits_for(reason, connected),
        Shown::Sinks(sinks) => elsewhere.lock().sinks = sinks,
        shown => replica.take(shown).context("taking what the engine shows")?,
    }
    Ok(())
}

/// Shows new checkpoints of a lake, until `should_stop`: a read replica.
///
/// # Errors
/// Never: what cannot be read now is read later, and said.
pub fn follow_lake(
    replica: &mut Replica,
    elsewhere: &Elsewhere,
    every: Duration,
    serving: &mut Serving<'_>,
    say: &dyn Fn(String),
    should_stop: &dyn Fn() -> bool,
) -> anyhow::Result<()> {
    let mut failed = false;
    while !should_stop() && !elsewhere.is_told_to_end() {
        match replica.look() {
            Ok(_) => {
                if std::mem::take(&mut failed) {
                    say("the lake is read again".to_owned());
                }
                serving.look(replica)?;
                elsewhere.goes_on();
            }
            Err(error) => {
                if !std::mem::replace(&mut failed, true) {
                    say(format!("warning: the newest checkpoint cannot be shown: {error:#}"));
                }
            }
        }
        let until = Instant::now() + every;
        while Instant::now() < until && !should_stop() {
            std::thread::sleep(LOOK);
        }
    }
    Ok(())
}
