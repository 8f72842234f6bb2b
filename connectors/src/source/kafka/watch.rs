//! A thread beside the one that reads: it looks after the client, so that reading waits for nothing but records.

use super::client::{At, Event, Handle};
use super::code::Code;
use super::queue::Queue;
use super::release::{Outcome, Releases};
use super::watcher::{Ask, Gone, News};
use crate::source::{Connection, SourceStatus};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

/// How often the ends of partitions are asked for, for reports of lag.
const LOOK_AT_ENDS: Duration = Duration::from_secs(1);
/// How often a cluster that is away is asked whether it is back.
const LOOK_FOR_BROKERS: Duration = Duration::from_millis(500);
/// The most often that a cluster is asked anything.
const PAUSE: Duration = Duration::from_millis(50);
/// A cluster that leaves a question open for so long is away.
const ANSWER: Duration = Duration::from_secs(3);
/// How long offsets that were released last may take to be written when the source ends.
const LAST_RELEASE: Duration = Duration::from_secs(1);

pub(super) struct Watch {
    /// The reader waits for it. Before the handle.
    wake: Queue,
    handle: Arc<Handle>,
    status: Arc<SourceStatus>,
    topics: Vec<Topic>,
    gone: Vec<Gone>,
    asked: Receiver<Ask>,
    tell: Sender<News>,
    releases: Releases,
    outcome: Arc<Outcome>,
    /// What the client told of last.
    trouble: Option<String>,
    is_down: bool,
    refresh: Duration,
    refreshed: Instant,
}

struct Topic {
    name: String,
    /// None where the brokers give none.
    id: Option<String>,
    partitions: Vec<u32>,
    /// Of each partition.
    ordinals: Vec<u16>,
    /// Those that the reader knows, or has been told of.
    known: BTreeSet<u32>,
    /// That we have said that it cannot be read.
    is_at_fault: bool,
}

/// That nobody answered.
struct Silence;

impl Watch {
    pub(super) fn new(
        handle: Arc<Handle>,
        status: Arc<SourceStatus>,
        topics: Vec<(String, Option<String>)>,
        refresh: Duration,
        asked: Receiver<Ask>,
        tell: Sender<News>,
        outcome: Arc<Outcome>,
    ) -> Watch {
        let topic = |(name, id)| {
            let (partitions, ordinals, known) = (Vec::new(), Vec::new(), BTreeSet::new());
            Topic { name, id, partitions, ordinals, known, is_at_fault: false }
        };
        Watch {
            wake: handle.messages(),
            handle,
            status,
            topics: topics.into_iter().map(topic).collect(),
            gone: Vec::new(),
            asked,
            tell,
            releases: Releases::default(),
            outcome,
            trouble: None,
            is_down: false,
            refresh,
            refreshed: Instant::now(),
        }
    }

    pub(super) fn run(mut self) {
        let mut next = Instant::now() + self.pause();
        loop {
            match self.asked.try_recv() {
                Ok(Ask::End) | Err(TryRecvError::Disconnected) => return self.end(),
                Ok(ask) => {
                    // At once.
                    if matches!(ask, Ask::Range(_)) {
                        next = Instant::now();
                    }
                    self.hear(ask);
                    continue;
                }
                Err(TryRecvError::Empty) => {}
            }
            let left = next.saturating_duration_since(Instant::now());
            if let Some(event) = self.handle.next_event(left) {
                self.take(event);
            } else if Instant::now() >= next {
                match self.look() {
                    Ok(()) => self.set_up(),
                    Err(Silence) => self.set_down(),
                }
                next = Instant::now() + self.pause();
            }
        }
    }

    fn pause(&self) -> Duration {
        if self.is_down { LOOK_FOR_BROKERS } else { LOOK_AT_ENDS.min(self.refresh).max(PAUSE) }
    }

    fn hear(&mut self, ask: Ask) {
        match ask {
            Ask::Watch { topic, partition, ordinal } => {
                let topic = &mut self.topics[topic];
                topic.partitions.push(partition);
                topic.ordinals.push(ordinal);
                topic.known.insert(partition);
            }
            Ask::Range(gone) => self.gone.push(gone),
            Ask::Release(positions) => {
                self.releases.add(&positions);
                self.releases.send(&self.handle, |topic| &self.topics[topic].name);
            }
            Ask::End => unreachable!("`run` has returned"),
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Trouble { code, text } => {
                // That all are down says less than why one is.
                if code != Code::ALL_DOWN || self.trouble.is_none() {
                    self.trouble = Some(text);
                }
                // One broker of several that is away, or one connection, is not the whole.
                if self.is_down || [Code::ALL_DOWN, Code::AUTHENTICATION, Code::TLS].contains(&code) {
                    self.set_down();
                }
            }
            Event::Committed(result) => {
                self.outcome.set(result.err());
                self.releases.answered();
                self.releases.send(&self.handle, |topic| &self.topics[topic].name);
            }
            Event::Other => {}
        }
    }

    /// Asks all there is to ask.
    fn look(&mut self) -> Result<(), Silence> {
        self.look_at_ids()?;
        if self.is_down || self.refreshed.elapsed() >= self.refresh {
            for topic in 0..self.topics.len() {
                self.look_for_partitions(topic)?;
            }
            self.refreshed = Instant::now();
        }
        self.look_at_ranges()?;
        self.topics.iter().try_for_each(|topic| self.look_at_ends(topic))
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
        let new: Vec<u32> = found.into_iter().filter(|partition| !topic.known.contains(partition)).collect();
        // Without an answer, they are found anew the next time.
        let earliest = answered(self.handle.offsets(&topic.name, &new, At::Earliest, ANSWER))?;
        for (partition, earliest) in new.into_iter().zip(earliest.into_iter().flatten()) {
            topic.known.insert(partition);
            let earliest = earliest.unwrap_or(0);
            // The reader may have ended.
            let _ = self.tell.send(News::Partition { topic: number, partition, earliest });
            self.wake.wake();
        }
        Ok(())
    }

    /// Whether the topics are still those that were read.
    fn look_at_ids(&self) -> Result<(), Silence> {
        let known: Vec<(usize, &String)> =
            self.topics.iter().enumerate().filter_map(|(number, topic)| Some((number, topic.id.as_ref()?))).collect();
        if known.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = known.iter().map(|(number, _)| self.topics[*number].name.as_str()).collect();
        let Some(ids) = answered(self.handle.topic_ids(&names, ANSWER))? else { return Ok(()) };
        for (&(topic, before), now) in known.iter().zip(ids) {
            // One that is gone is told of elsewhere.
            if let Ok(Some(now)) = now
                && now != *before
            {
                // The reader may have ended.
                let _ = self.tell.send(News::MadeAnew { topic, now });
                self.wake.wake();
            }
        }
        Ok(())
    }

    fn look_at_ends(&self, topic: &Topic) -> Result<(), Silence> {
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
        // Those that get no answer stay.
        while let Some(&Gone { topic, partition, ordinal, wanted }) = self.gone.last() {
            let name = &self.topics[topic].name;
            let ask = |at| answered(self.handle.offsets(name, &[partition], at, ANSWER));
            let one = |offsets: Option<Vec<Option<u64>>>| offsets?.first().copied().flatten();
            let (Some(earliest), Some(end)) = (one(ask(At::Earliest)?), one(ask(At::End)?)) else { return Ok(()) };
            // What lies there may be of another topic: then that is said first.
            self.look_at_ids()?;
            // The reader may have ended.
            let _ = self.tell.send(News::Range { ordinal, wanted, earliest, end });
            self.wake.wake();
            self.gone.pop();
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

    fn set_up(&mut self) {
        self.trouble = None;
        if self.is_down {
            self.is_down = false;
            self.status.with(|state| state.connection = Connection::Up);
        }
    }

    fn set_down(&mut self) {
        self.is_down = true;
        let silence = || format!("no answer within {} s", ANSWER.as_secs());
        let reason = self.trouble.clone().unwrap_or_else(silence);
        self.status.with(|state| state.connection = Connection::Down(reason));
    }

    /// What was released last is written if that is soon done.
    fn end(mut self) {
        let deadline = Instant::now() + LAST_RELEASE;
        while self.releases.is_under_way() && !self.is_down && Instant::now() < deadline {
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
