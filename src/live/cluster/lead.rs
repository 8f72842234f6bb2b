//! Process 0 of a cluster: it gathers the others, tells them when a generation begins, and hears what they say.
//!
//! ```text
//! door ─▶ links of all others (gathered) ─▶ lake claimed ─▶ Begin told ─▶ data sockets ─▶ timely
//! link ─▶ said: to the feed · the publisher (reports) · the committer (files)
//! ```
//! A link that is lost before the generation begins may come again. After that it ends the generation, and with it this process.

use super::super::feed::{Feed, Feeding};
use super::super::worker::Report;
use super::said::{Begin, Said, Told, bytes_of, of_bytes};
use super::shown::{Shown, Tell};
use crate::checkpoint::Incoming;
use crate::mesh::{Hosts, Link, Meeting, Outbox, Socket};
use anyhow::Context;
use millrace_connectors::source::Deal;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a link is waited for before it is looked whether to stop.
const LOOK: Duration = Duration::from_millis(100);
/// How often it is said that others are waited for.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// What a process that is lost is to be told of.
pub type OnLost = Arc<dyn Fn(String) + Send + Sync>;

struct State {
    links: Vec<Option<Link>>,
    /// Which processes have said everything.
    ended: Vec<bool>,
    is_running: bool,
}

/// The others, as process 0 has them.
pub struct Leading {
    hosts: Hosts,
    meeting: Arc<Meeting>,
    /// Workers of each process.
    workers: usize,
    connect: Duration,
    state: Arc<Mutex<State>>,
    inbox: Mutex<Option<Receiver<(usize, Said)>>>,
    said: Sender<(usize, Said)>,
    shown: Tell,
    on_lost: OnLost,
}

impl Leading {
    /// Of processes with so many workers each. `shown` takes what the parent of this process is shown; `on_lost` is told when a process is
    /// lost while a generation runs, and does not return to it.
    pub fn new(
        hosts: Hosts,
        meeting: Arc<Meeting>,
        workers: usize,
        connect: Duration,
        shown: Tell,
        on_lost: OnLost,
    ) -> Leading {
        let count = hosts.processes();
        let links = (0..count).map(|_| None).collect();
        let state = Arc::new(Mutex::new(State { links, ended: vec![false; count], is_running: false }));
        let (said, inbox) = channel();
        let inbox = Mutex::new(Some(inbox));
        Leading { hosts, meeting, workers, connect, state, inbox, said, shown, on_lost }
    }

    pub fn deal(&self) -> Deal {
        Deal { process: 0, processes: self.hosts.processes() }
    }

    /// Workers of all processes.
    pub fn workers(&self) -> usize {
        self.workers * self.hosts.processes()
    }

    /// Waits until all others have a link to this process.
    ///
    /// # Errors
    /// Where `should_stop`, or a link cannot be started.
    pub fn gather(&self, say: &dyn Fn(String), should_stop: &dyn Fn() -> bool) -> anyhow::Result<()> {
        let mut next_line = Instant::now() + SAY_EVERY / 5;
        loop {
            let missing = self.missing();
            if missing.is_empty() {
                return Ok(());
            }
            anyhow::ensure!(!should_stop(), "it was told to end before all processes were there");
            if Instant::now() >= next_line {
                next_line = Instant::now() + SAY_EVERY;
                let connected = (self.hosts.processes() - missing.len()) as u64;
                let missing: Vec<String> =
                    missing.iter().map(|&process| format!("{process} ({})", self.hosts.of(process))).collect();
                let words = format!("waiting for process {}", missing.join(", "));
                (self.shown)(&Shown::Waits { reason: words.clone(), connected });
                say(words);
            }
            if let Some((process, stream)) = self.meeting.control(LOOK) {
                match self.link(process, stream) {
                    Ok(link) => self.lock().links[process] = Some(link),
                    // It has gone already, and knocks again.
                    Err(_) => self.meeting.lost(process),
                }
            }
        }
    }

    fn missing(&self) -> Vec<usize> {
        let mut state = self.lock();
        for link in &mut state.links {
            if link.as_ref().is_some_and(Link::is_lost) {
                *link = None;
            }
        }
        (1..state.links.len()).filter(|&process| state.links[process].is_none()).collect()
    }

    fn link(&self, process: usize, stream: Socket) -> anyhow::Result<Link> {
        let (said, state, meeting) = (self.said.clone(), self.state.clone(), self.meeting.clone());
        let (on_lost, host) = (self.on_lost.clone(), self.hosts.of(process).to_owned());
        let of_lost = on_lost.clone();
        let take = move |bytes: Vec<u8>| match of_bytes::<Said>(&bytes) {
            Ok(message) => {
                // Nobody listens once this process ends.
                let _ = said.send((process, message));
            }
            Err(error) => on_lost(format!("process {process}: {error}")),
        };
        let lost = move |reason: String| {
            let (is_running, has_ended) = {
                let state = state.lock().unwrap_or_else(PoisonError::into_inner);
                (state.is_running, state.ended[process])
            };
            if !is_running {
                meeting.lost(process);
            } else if !has_ended {
                of_lost(format!("process {process} at {host} is lost: {reason}"));
            }
        };
        Link::start(stream, self.hosts.of(process), self.meeting.security().silence(), take, lost)
            .with_context(|| format!("the link to process {process}"))
    }

    /// Tells all others.
    pub fn tell(&self, told: &Told) {
        let bytes = bytes_of(told);
        // Out of the lock: a link that is lost by it says so, and that takes the lock.
        let outboxes: Vec<Outbox> = self.lock().links.iter().flatten().map(|link| link.outbox.clone()).collect();
        outboxes.iter().for_each(|outbox| outbox.send(bytes.clone()));
    }

    /// Shows something to the parents of all processes.
    pub fn show(&self, shown: &Shown) {
        (self.shown)(shown);
        self.tell(&Told::Shown(shown.to_bytes().to_vec()));
    }

    /// Tells the others that a generation begins, and returns the sockets to them, by process.
    ///
    /// # Errors
    /// Where one is lost, or does not connect in time.
    pub fn begin(&self, begin: Begin) -> anyhow::Result<Vec<Option<Socket>>> {
        {
            let mut state = self.lock();
            if let Some(process) = (1..state.links.len()).find(|&process| !is_up(&state, process)) {
                anyhow::bail!("process {process} at {} was lost before the generation began", self.hosts.of(process));
            }
            state.is_running = true;
        }
        self.meeting.expect(begin.generation.0);
        self.show(&Shown::Begin { manifest: begin.manifest, generation: begin.generation.0 });
        self.tell(&Told::Begin(begin));
        self.meeting.data(self.connect)
    }

    /// Hears the others until all have said everything.
    ///
    /// # Errors
    /// Never: who is lost ends this process.
    pub fn hear(&self, feed: &Feed, reports: &Sender<Report>, files: &Sender<Incoming>) -> anyhow::Result<()> {
        let inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner).take();
        let inbox = inbox.context("the others are heard once")?;
        for (process, said) in &inbox {
            match said {
                Said::Read { epoch, records, moved } => feed.read_elsewhere(epoch, records, &moved),
                Said::CaughtUp { epoch } => feed.caught_up_elsewhere(process, epoch),
                Said::Heard { epoch, place, times } => feed.heard(epoch, place, times),
                Said::Closed { worker, open } => drop(feed.close(worker, open)),
                // Where nobody takes them, the publisher or the committer has failed, and says so itself.
                Said::Report(report) => drop(reports.send(report.report())),
                Said::File { worker, file } => drop(files.send(Incoming::Finished { worker, file: file.file() })),
                Said::Sealed { worker, epoch } => drop(files.send(Incoming::Sealed { worker, epoch })),
                // They read until this process has told them not to.
                Said::Finished if !feed.is_finishing() => {
                    (self.on_lost)(format!("process {process} reads nothing more, and was not told so"));
                }
                Said::Finished => feed.finish_of(process),
                Said::Stands { moved, down } => feed.stands_elsewhere(process, &moved, down),
                Said::Warning(text) => crate::log::warning(format_args!("process {process}: {text}")),
                Said::Ended => {
                    let mut state = self.lock();
                    state.ended[process] = true;
                    if state.ended[1..].iter().all(|ended| *ended) {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_up(state: &State, process: usize) -> bool {
    state.links[process].as_ref().is_some_and(|link| !link.is_lost())
}

/// Hands files on to the committer, however busy it is: who says that there are some is not held up.
///
/// # Errors
/// Where the committer takes none any more.
pub fn hand_on(files: &Receiver<Incoming>, committer: &SyncSender<Incoming>) -> anyhow::Result<()> {
    for file in files {
        committer.send(file).ok().context("nothing is committed any more: the committer's own error says why")?;
    }
    Ok(())
}
