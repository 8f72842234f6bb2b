//! A thread beside the one that reads: it looks after the client, so that reading waits for nothing but records.
//!
//! ```text
//! reader ──Ask──▶ watch: a partition to watch, a position that is gone, offsets to release
//! reader ◀──News── watch: a new partition, where a partition begins and ends now
//!                  watch ──▶ status: ends, connection, topics that are gone
//! ```

use super::client::{At, Event, Handle, Queue};
use super::code::Code;
use crate::source::{Connection, SourceStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the ends of partitions are asked for, for reports of lag.
const LOOK_AT_ENDS: Duration = Duration::from_secs(1);
/// How often a cluster that is away is asked whether it is back.
const LOOK_FOR_BROKERS: Duration = Duration::from_millis(500);
/// A cluster that leaves a question open for so long is away.
const ANSWER: Duration = Duration::from_secs(3);
/// How long offsets that were released last may take to be written when the source ends.
const LAST_COMMIT: Duration = Duration::from_secs(1);

pub(super) enum Ask {
    /// A partition that is read.
    Watch {
        topic: usize,
        partition: u32,
        ordinal: u16,
    },
    /// Where does it begin and end now?
    Range {
        topic: usize,
        partition: u32,
        ordinal: u16,
        wanted: u64,
    },
    /// (topic, partition, offset)
    Release(Vec<(usize, u32, u64)>),
    End,
}

pub(super) enum News {
    Partition { topic: usize, partition: u32, earliest: u64 },
    Range { ordinal: u16, wanted: u64, earliest: u64, end: u64 },
}

/// The reader's end.
pub(super) struct Watcher {
    handle: Arc<Handle>,
    asks: Sender<Ask>,
    news: Receiver<News>,
    /// News that were looked for and not taken yet.
    seen: Option<News>,
    /// Why offsets cannot be written, as far as is known.
    commit: Arc<Mutex<Option<Code>>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub(super) fn start(
        handle: Arc<Handle>,
        status: Arc<SourceStatus>,
        topics: impl Iterator<Item = String>,
        refresh: Duration,
    ) -> Watcher {
        let (asks, asked) = channel();
        let (tell, news) = channel();
        let commit = Arc::new(Mutex::new(None));
        let watch = Watch {
            wake: handle.messages(),
            handle: Arc::clone(&handle),
            status,
            topics: topics.map(Topic::named).collect(),
            ranges: Vec::new(),
            asked,
            tell,
            commit: Arc::clone(&commit),
            released: BTreeMap::new(),
            is_committing: false,
            trouble: None,
            is_down: false,
            refresh,
            refreshed: Instant::now(),
        };
        let thread = std::thread::Builder::new().name("kafka-watch".to_owned()).spawn(|| watch.run());
        let thread = Some(thread.expect("the system has room for a thread"));
        Watcher { handle, asks, news, seen: None, commit, thread }
    }

    pub(super) fn ask(&self, ask: Ask) {
        // It hears as long as we are here.
        let _ = self.asks.send(ask);
        self.handle.wake();
    }

    pub(super) fn news(&mut self) -> Option<News> {
        self.seen.take().or_else(|| self.news.try_recv().ok())
    }

    pub(super) fn has_news(&mut self) -> bool {
        self.seen = self.news();
        self.seen.is_some()
    }

    /// Why the offsets that were released last were not written.
    pub(super) fn commit_failure(&self) -> Option<Code> {
        *self.commit.lock().expect("no holder panics")
    }

    /// That offsets will not be written, before any was released.
    pub(super) fn commits_fail(&self, code: Code) {
        *self.commit.lock().expect("no holder panics") = Some(code);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.ask(Ask::End);
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell that anybody would still hear.
            let _ = thread.join();
        }
    }
}

struct Watch {
    handle: Arc<Handle>,
    /// The reader waits for it.
    wake: Queue,
    status: Arc<SourceStatus>,
    topics: Vec<Topic>,
    ranges: Vec<Range>,
    asked: Receiver<Ask>,
    tell: Sender<News>,
    commit: Arc<Mutex<Option<Code>>>,
    /// By topic and partition, what is to be written when what was sent before is answered: nothing piles up.
    released: BTreeMap<(usize, u32), u64>,
    is_committing: bool,
    /// What the client told of last.
    trouble: Option<String>,
    is_down: bool,
    refresh: Duration,
    refreshed: Instant,
}

struct Topic {
    name: String,
    partitions: Vec<u32>,
    /// Of each partition.
    ordinals: Vec<u16>,
    /// Those that the reader has been told of.
    told: BTreeSet<u32>,
    /// That we have said that it cannot be read.
    is_at_fault: bool,
}

#[derive(Clone, Copy)]
struct Range {
    topic: usize,
    partition: u32,
    ordinal: u16,
    wanted: u64,
}

/// That nobody answered.
struct Silence;

impl Topic {
    fn named(name: String) -> Topic {
        let (partitions, ordinals, told) = (Vec::new(), Vec::new(), BTreeSet::new());
        Topic { name, partitions, ordinals, told, is_at_fault: false }
    }
}

impl Watch {
    fn run(mut self) {
        let mut next = Instant::now() + LOOK_AT_ENDS.min(self.refresh);
        loop {
            match self.asked.try_recv() {
                Ok(Ask::End) | Err(TryRecvError::Disconnected) => return self.end(),
                Ok(ask) => {
                    self.hear(ask);
                    continue;
                }
                Err(TryRecvError::Empty) => {}
            }
            if let Some(event) = self.handle.next_event(next.saturating_duration_since(Instant::now())) {
                self.take(event);
                continue;
            }
            let now = Instant::now();
            if now < next && self.ranges.is_empty() {
                continue;
            }
            match self.look() {
                Ok(()) => self.is_up(),
                Err(Silence) => self.is_silent(),
            }
            let pause = if self.is_down { LOOK_FOR_BROKERS } else { LOOK_AT_ENDS.min(self.refresh) };
            next = Instant::now() + pause;
        }
    }

    fn hear(&mut self, ask: Ask) {
        match ask {
            Ask::Watch { topic, partition, ordinal } => {
                let topic = &mut self.topics[topic];
                topic.partitions.push(partition);
                topic.ordinals.push(ordinal);
                topic.told.insert(partition);
            }
            Ask::Range { topic, partition, ordinal, wanted } => {
                self.ranges.push(Range { topic, partition, ordinal, wanted });
            }
            Ask::Release(positions) => {
                self.released.extend(positions.iter().map(|&(topic, partition, offset)| ((topic, partition), offset)));
                self.commit();
            }
            Ask::End => unreachable!("`run` has returned"),
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Trouble { code, text } => {
                if code != Code::ALL_DOWN || self.trouble.is_none() {
                    self.trouble = Some(text);
                }
                // One broker of several that is away, or one connection, is not the whole.
                if self.is_down || [Code::ALL_DOWN, Code::AUTHENTICATION, Code::TLS].contains(&code) {
                    self.is_silent();
                }
            }
            Event::Committed(result) => {
                self.is_committing = false;
                *self.commit.lock().expect("no holder panics") = result.err();
                self.commit();
            }
            Event::Other => {}
        }
    }

    fn commit(&mut self) {
        if self.is_committing || self.released.is_empty() {
            return;
        }
        let released = std::mem::take(&mut self.released);
        let name = |topic: usize| self.topics[topic].name.as_str();
        let positions: Vec<_> =
            released.iter().map(|(&(topic, partition), &offset)| (name(topic), partition, offset)).collect();
        self.handle.commit(&positions);
        self.is_committing = true;
    }

    /// Asks all there is to ask.
    fn look(&mut self) -> Result<(), Silence> {
        if self.is_down || self.refreshed.elapsed() >= self.refresh {
            for topic in 0..self.topics.len() {
                self.look_for_partitions(topic)?;
            }
            self.refreshed = Instant::now();
        }
        self.look_at_ranges()?;
        for topic in 0..self.topics.len() {
            self.look_at_ends(topic)?;
        }
        Ok(())
    }

    fn look_for_partitions(&mut self, number: usize) -> Result<(), Silence> {
        let topic = &self.topics[number];
        let found = match self.handle.partitions(&topic.name, ANSWER) {
            Err(code) if code.is_silence() => return Err(Silence),
            Err(code) if code.is_unknown_topic() => {
                self.set_fault(number, Some(format!("topic {} is gone", topic.name)));
                return Ok(());
            }
            Err(Code::MAY_NOT) => {
                self.set_fault(number, Some(format!("this client may no longer read topic {}", topic.name)));
                return Ok(());
            }
            // It passes: a topic whose leader is being chosen, for example.
            Err(_) => return Ok(()),
            Ok(found) => found,
        };
        self.set_fault(number, None);
        let topic = &mut self.topics[number];
        let new: Vec<u32> = found.into_iter().filter(|partition| !topic.told.contains(partition)).collect();
        // Where there is no answer yet, they are found anew the next time.
        let Some(earliest) = answered(self.handle.offsets(&topic.name, &new, At::Earliest, ANSWER))? else {
            return Ok(());
        };
        for (partition, earliest) in new.into_iter().zip(earliest) {
            topic.told.insert(partition);
            // The reader may have ended.
            let _ = self.tell.send(News::Partition { topic: number, partition, earliest: earliest.unwrap_or(0) });
            self.wake.wake();
        }
        Ok(())
    }

    fn look_at_ends(&mut self, number: usize) -> Result<(), Silence> {
        let topic = &self.topics[number];
        let Some(ends) = answered(self.handle.offsets(&topic.name, &topic.partitions, At::End, ANSWER))? else {
            return Ok(());
        };
        self.status.with(|state| {
            for (&ordinal, end) in topic.ordinals.iter().zip(ends) {
                let partition = &mut state.partitions[usize::from(ordinal)];
                partition.end = partition.end.max(end);
            }
        });
        Ok(())
    }

    fn look_at_ranges(&mut self) -> Result<(), Silence> {
        for range in std::mem::take(&mut self.ranges) {
            let Range { topic, partition, ordinal, wanted } = range;
            let ask = |at| answered(self.handle.offsets(&self.topics[topic].name, &[partition], at, ANSWER));
            let one =
                |offsets: Option<Vec<Option<u64>>>| offsets.and_then(|offsets| offsets.first().copied().flatten());
            let (earliest, end) = (ask(At::Earliest), ask(At::End));
            // Until both are known it cannot go on.
            if let (Ok(earliest), Ok(end)) = (&earliest, &end)
                && let (Some(earliest), Some(end)) = (one(earliest.clone()), one(end.clone()))
            {
                let _ = self.tell.send(News::Range { ordinal, wanted, earliest, end });
                self.wake.wake();
                continue;
            }
            self.ranges.push(range);
            earliest.and(end)?;
        }
        Ok(())
    }

    fn set_fault(&mut self, number: usize, fault: Option<String>) {
        let topic = &mut self.topics[number];
        // Only what was said here is taken back here.
        if fault.is_some() || topic.is_at_fault {
            topic.is_at_fault = fault.is_some();
            self.status.with(|state| {
                for &ordinal in &topic.ordinals {
                    state.partitions[usize::from(ordinal)].fault.clone_from(&fault);
                }
            });
        }
    }

    fn is_up(&mut self) {
        self.trouble = None;
        if self.is_down {
            self.is_down = false;
            self.status.with(|state| state.connection = Connection::Up);
        }
    }

    fn is_silent(&mut self) {
        self.is_down = true;
        let silence = || format!("no answer within {} s", ANSWER.as_secs());
        let reason = self.trouble.clone().unwrap_or_else(silence);
        self.status.with(|state| state.connection = Connection::Down(reason));
    }

    /// What was released last is written if that is soon done.
    fn end(mut self) {
        let deadline = Instant::now() + LAST_COMMIT;
        while self.is_committing && !self.is_down && Instant::now() < deadline {
            if let Some(event) = self.handle.next_event(deadline.saturating_duration_since(Instant::now())) {
                self.take(event);
            }
        }
    }
}

/// None where the answer was an error that passes, or that is reported elsewhere.
fn answered<T>(answer: Result<T, Code>) -> Result<Option<T>, Silence> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(code) if code.is_silence() => Err(Silence),
        Err(_) => Ok(None),
    }
}
