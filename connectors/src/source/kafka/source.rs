//! The source: what the library hands over becomes chunks, and what it says becomes the status.

use super::batch::{Batch, Message, Origin};
use super::client::Handle;
use super::code::Code;
use super::error::KafkaError;
use super::gather::{Gather, Ready};
use super::lost::go_on;
use super::settings::KafkaSettings;
use super::stalled::Stalled;
use super::watcher::{Ask, Gone, News, Watcher};
use super::{open, properties};
use crate::source::cutter::BYTE_ORDER_MARK;
use crate::source::{
    Chunk, Connection, Deal, LiveSource, Mark, PartitionInfo, PartitionState, Progress, ReadOptions, Resume, Source,
    SourceError, SourceStatus, Start,
};
use millrace_schema::{Kind, tombstone};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often it is looked whether a partition stands still.
const LOOK_FOR_STALLED: Duration = Duration::from_secs(1);

/// Reads topics from given offsets, and on as they grow.
pub struct KafkaSource {
    /// Before the handle, which ends when nothing of it is left.
    watcher: Watcher,
    batch: Batch,
    handle: Arc<Handle>,
    settings: KafkaSettings,
    /// As the settings number them.
    topics: Vec<TopicReading>,
    table: Vec<PartitionInfo>,
    /// By ordinal, the offset after the last message that was taken.
    taken: Vec<u64>,
    /// Where the message before came from: mostly the next one does, too.
    last: Option<(Origin, Reading)>,
    gather: Gather,
    /// Of which it is asked where to go on.
    gone: BTreeSet<u16>,
    stalled: Stalled,
    /// When it was last looked whether one is.
    looked_at: Instant,
    /// About how many bytes, and how many records, are gathered before they are handed out.
    gather_bytes: usize,
    gather_records: u32,
    deal: Deal,
    status: Arc<SourceStatus>,
    progress: Progress,
}

struct TopicReading {
    kind: Option<Kind>,
    /// As the library takes it.
    kind_header: Option<CString>,
    /// The one that it has had since it was read first.
    id: Option<String>,
    /// The ordinals of its partitions.
    ordinals: BTreeMap<u32, u16>,
}

/// A partition that is read.
#[derive(Clone, Copy)]
struct Reading {
    ordinal: u16,
    topic: usize,
}

impl KafkaSource {
    /// Connects, finds the partitions and where to begin with each, and starts to read.
    ///
    /// # Errors
    /// [`SourceError::Kafka`] where settings are wrong, no broker answers in time, a topic is not there or may not be
    /// read, or records that were to be read next are gone.
    pub fn open(
        settings: KafkaSettings,
        start: Start,
        resume: Resume,
        options: ReadOptions,
    ) -> Result<KafkaSource, SourceError> {
        open::check(&settings)?;
        let config = properties::client_config(&settings)?;
        let handle = Arc::new(Handle::new(&config, properties::secrets(&settings))?);
        let open::Table { partitions, states, read, ids } =
            open::open(&handle, &settings, start, &resume, options.deal)?;

        let taken = states.iter().map(|state| state.next).collect();
        let status = Arc::new(SourceStatus::default());
        status.with(|state| {
            state.partitions = states;
            if ids.iter().all(Option::is_none) {
                state.warnings.push(format!(
                    "the brokers {} give topics no ids, as Kafka does from version 2.8 on: a topic that is deleted and made \
                     anew with as many records as were read is taken for the old one",
                    settings.brokers
                ));
            }
        });
        let names = settings.topics.iter().map(|topic| topic.name.clone()).zip(ids.iter().cloned()).collect();
        let header = |name: &String| CString::new(name.as_str()).expect("`open::check` has looked for zeros");
        let reading = |(topic, id): (&super::Topic, Option<String>)| TopicReading {
            kind: topic.kind,
            kind_header: topic.kind_header.as_ref().map(header),
            id,
            ordinals: BTreeMap::new(),
        };
        let mut source = KafkaSource {
            watcher: Watcher::start(Arc::clone(&handle), Arc::clone(&status), names, settings.refresh),
            batch: Batch::new(Arc::clone(&handle)),
            handle,
            topics: settings.topics.iter().zip(ids).map(reading).collect(),
            settings,
            table: partitions,
            taken,
            last: None,
            gather_bytes: options.chunk_bytes,
            gather_records: options.max_records,
            deal: options.deal,
            gather: Gather::new(options),
            gone: BTreeSet::new(),
            stalled: Stalled::default(),
            looked_at: Instant::now(),
            status,
            progress: Progress::new(None),
        };
        source.read(&read)?;
        Ok(source)
    }

    /// Starts to read these, from where they are.
    fn read(&mut self, ordinals: &[u16]) -> Result<(), KafkaError> {
        let mut positions = Vec::new();
        for &ordinal in ordinals {
            let (name, partition) = place(&self.table, ordinal);
            let topic = self.topic(name).expect("only partitions of topics that are named are read");
            self.topics[topic].ordinals.insert(partition, ordinal);
            self.watcher.ask(Ask::Watch { topic, partition, ordinal });
            positions.push((name, partition, self.taken[usize::from(ordinal)]));
        }
        self.handle.assign(&positions)
    }

    fn topic(&self, name: &str) -> Option<usize> {
        self.settings.topics.iter().position(|topic| topic.name == name)
    }

    /// What the watcher has found out.
    fn take_news(&mut self) -> Result<(), KafkaError> {
        while let Some(news) = self.watcher.news() {
            match news {
                News::Partition { topic, partition, earliest } if self.deal.discovers() => {
                    self.add(topic, partition, earliest)?;
                }
                // It is told of.
                News::Partition { .. } => {}
                News::MadeAnew { topic, now } => {
                    let before = self.topics[topic].id.clone().unwrap_or_default();
                    let topic = self.settings.topics[topic].name.clone();
                    return Err(KafkaError::MadeAnew { topic, before, now });
                }
                News::Range { ordinal, wanted, earliest, end } => self.go_on(ordinal, wanted, earliest, end)?,
            }
        }
        Ok(())
    }

    fn add(&mut self, topic: usize, partition: u32, earliest: u64) -> Result<(), KafkaError> {
        let name = &self.settings.topics[topic].name;
        if self.table.iter().any(|info| info.source == *name && info.partition == partition) {
            return Ok(());
        }
        let ordinal = open::next_ordinal(&self.table)?;
        self.table.push(open::info(&self.settings.topics[topic].name, partition));
        self.taken.push(earliest);
        let mut state = PartitionState { next: earliest, ..PartitionState::default() };
        state.marks.push(self.topics[topic].id.clone().map(Mark::Topic));
        self.status.with(|status| status.partitions.push(state));
        if self.deal.reads(usize::from(ordinal)) { self.read(&[ordinal]) } else { Ok(()) }
    }

    /// Goes on with a partition whose position was gone.
    fn go_on(&mut self, ordinal: u16, wanted: u64, earliest: u64, end: u64) -> Result<(), KafkaError> {
        self.gone.remove(&ordinal);
        let (topic, partition) = place(&self.table, ordinal);
        let go_on = go_on((topic, partition), wanted, earliest, end, self.settings.on_lost_offsets)?;
        self.handle.unassign(topic, partition)?;
        self.handle.assign(&[(topic, partition, go_on.at)])?;
        self.taken[usize::from(ordinal)] = go_on.at;
        self.status.with(|state| {
            let state = &mut state.partitions[usize::from(ordinal)];
            (state.next, state.end) = (go_on.at, state.end.max(Some(end)));
            state.lost.add(go_on.lost);
        });
        Ok(())
    }

    /// Takes partitions up anew that bring nothing although there is something. Called where nothing is left to be read.
    fn take_up_stalled(&mut self) -> Result<(), KafkaError> {
        let now = Instant::now();
        if now.duration_since(self.looked_at) < LOOK_FOR_STALLED {
            return Ok(());
        }
        self.looked_at = now;
        let (is_up, states) = self.status.with(|status| {
            // What is at fault has its own way back.
            let end = |state: &PartitionState| state.end.filter(|_| state.fault.is_none());
            let states = status.partitions.iter().map(|state| (state.next, end(state)));
            (status.connection == Connection::Up, states.collect::<Vec<_>>())
        });
        if !is_up {
            self.stalled.all_rest();
            return Ok(());
        }
        // Those that are dealt to others stand still here.
        let read_here = states.into_iter().enumerate().filter(|(ordinal, _)| self.deal.reads(*ordinal));
        for (ordinal, (next, end)) in read_here {
            if self.stalled.is_stalled(ordinal, next, end, now) && !self.gone.contains(&(ordinal as u16)) {
                let (topic, partition) = place(&self.table, ordinal as u16);
                self.handle.unassign(topic, partition)?;
                self.handle.assign(&[(topic, partition, next)])?;
            }
        }
        Ok(())
    }

    /// Takes what has come, a chunk's worth at most, and says whether that was something.
    fn gather(&mut self) -> bool {
        let (mut bytes, mut records) = (0, 0);
        while records < self.gather_records && bytes < self.gather_bytes {
            let Some(message) = self.batch.next() else {
                if self.batch.pull() {
                    continue;
                }
                break;
            };
            let Some(reading) = self.reading(&message) else { continue };
            if message.code() != Code::NONE {
                self.hear(reading, &message);
                continue;
            }
            let offset = message.offset();
            let expected = std::mem::replace(&mut self.taken[usize::from(reading.ordinal)], offset + 1);
            if offset < expected {
                let (topic, partition) = place(&self.table, reading.ordinal);
                let error = KafkaError::WentBack { topic: topic.to_owned(), partition, offset, expected };
                self.gather.say(reading.ordinal, Ready::Broken(error));
                break;
            }
            records += 1;
            bytes += self.push(reading, offset, &message);
        }
        // What is gathered waits for nothing: neither for the rest of a chunk, nor for other partitions.
        self.gather.close_all();
        self.gather.has_ready()
    }

    /// Which partition it is of; none where it is of none, or of none of ours.
    #[inline]
    fn reading(&mut self, message: &Message) -> Option<Reading> {
        let origin = message.origin();
        if let Some((last, reading)) = self.last
            && last == origin
        {
            return Some(reading);
        }
        let Some((name, partition)) = message.place() else {
            // Only the group concerns no partition, and only offsets are written to it.
            self.watcher.group_failed(message.code());
            return None;
        };
        let topic = self.topic(name)?;
        let ordinal = *self.topics[topic].ordinals.get(&partition)?;
        let reading = Reading { ordinal, topic };
        self.last = Some((origin, reading));
        Some(reading)
    }

    /// Adds a record. How many bytes it has.
    #[inline]
    fn push(&mut self, Reading { ordinal, topic }: Reading, offset: u64, message: &Message) -> usize {
        let topic = &self.topics[topic];
        let kind = match topic.kind_header.as_ref().and_then(|name| message.header(name)) {
            Some(text) => std::str::from_utf8(text).ok().and_then(Kind::parse),
            None => topic.kind,
        };
        let received_at = message.received_at();
        if let Some(value) = message.value() {
            // As at the beginning of a file: it is no part of the record.
            let value = value.strip_prefix(BYTE_ORDER_MARK).unwrap_or(value);
            self.gather.push(ordinal, kind, offset, received_at, value);
            return value.len();
        }
        let key = message.key().unwrap_or_default();
        let deletion = kind.zip(received_at).and_then(|(kind, at)| tombstone(kind, key, at)).unwrap_or_default();
        self.gather.push(ordinal, kind, offset, received_at, &deletion);
        deletion.len()
    }

    /// Takes what the library says of a partition.
    #[cold]
    fn hear(&mut self, Reading { ordinal, .. }: Reading, message: &Message) {
        let (code, offset) = (message.code(), message.offset());
        let reason = || self.handle.clean(&String::from_utf8_lossy(message.value().unwrap_or_default()));
        let ready = if code == Code::PARTITION_END {
            Ready::End { ordinal, offset }
        } else if code == Code::OFFSET_GONE {
            Ready::Gone { ordinal, offset }
        } else if code.leaves_records_out() {
            let (topic, partition) = place(&self.table, ordinal);
            let topic = topic.to_owned();
            Ready::Broken(KafkaError::Damaged { topic, partition, offset, reason: reason() })
        } else if code.is_unknown_topic() || code.is_silence() {
            // The watcher sees that, and also when it is over.
            return;
        } else {
            Ready::Fault { ordinal, reason: reason() }
        };
        self.gather.say(ordinal, ready);
    }

    /// Hands out what is ready: a chunk, or a change of the status.
    fn hand_out(&mut self, ready: Ready) -> Result<Option<Chunk>, KafkaError> {
        let change = |ordinal: u16, change: &dyn Fn(&mut PartitionState)| {
            self.status.with(|state| change(&mut state.partitions[usize::from(ordinal)]));
        };
        match ready {
            Ready::Chunk(chunk) => {
                self.progress.add(chunk.bytes().len() as u64);
                change(chunk.partition, &|state| {
                    state.next = chunk.next_offset();
                    // Where its end is not known yet, this is not it.
                    state.end = state.end.map(|end| end.max(state.next));
                    state.fault = None;
                });
                return Ok(Some(chunk));
            }
            Ready::End { ordinal, offset } => change(ordinal, &|state| {
                // Behind the last record there may be marks of transactions, and records of those that were aborted.
                state.next = state.next.max(offset);
                state.end = state.end.max(Some(offset));
                state.fault = None;
            }),
            Ready::Fault { ordinal, reason } => change(ordinal, &|state| state.fault = Some(reason.clone())),
            Ready::Gone { ordinal, offset } => {
                let (name, partition) = place(&self.table, ordinal);
                let topic = self.topic(name).expect("it is read, so that it is named");
                self.gone.insert(ordinal);
                self.watcher.ask(Ask::Range(Gone { topic, partition, ordinal, wanted: offset }));
            }
            Ready::Broken(error) => return Err(error),
        }
        Ok(None)
    }
}

fn place(table: &[PartitionInfo], ordinal: u16) -> (&str, u32) {
    let info = &table[usize::from(ordinal)];
    (&info.source, info.partition)
}

impl Source for KafkaSource {
    fn partitions(&self) -> &[PartitionInfo] {
        &self.table
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        loop {
            while let Some(ready) = self.gather.next() {
                if let Some(chunk) = self.hand_out(ready)? {
                    return Ok(Some(chunk));
                }
            }
            self.take_news()?;
            if !self.gather() {
                self.take_up_stalled()?;
                return Ok(None);
            }
        }
    }

    fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl LiveSource for KafkaSource {
    fn wait(&mut self, timeout: Duration) {
        if !self.gather.has_ready() && !self.watcher.has_news() {
            self.batch.wait(timeout);
        }
    }

    fn status(&self) -> Arc<SourceStatus> {
        Arc::clone(&self.status)
    }

    fn told(&mut self, infos: &[PartitionInfo], begins: &[u64]) -> Result<(), SourceError> {
        for (info, &begin) in infos.iter().zip(begins).skip(self.table.len()) {
            if let Some(topic) = self.topic(&info.source) {
                self.add(topic, info.partition, begin)?;
            } else {
                self.table.push(info.clone());
                self.taken.push(begin);
                let state = PartitionState { next: begin, end: Some(begin), ..PartitionState::default() };
                self.status.with(|status| status.partitions.push(state));
            }
        }
        Ok(())
    }

    /// The offsets are written while reading goes on: an error is what became of those that were released before.
    fn release(&mut self, positions: &[(u16, u64)]) -> Result<(), SourceError> {
        let place = |&(ordinal, offset): &(u16, u64)| {
            let info = self.table.get(usize::from(ordinal))?;
            Some((self.topic(&info.source)?, info.partition, offset))
        };
        // Those of others, too: one process says for all what is safe.
        let positions: Vec<_> = positions.iter().filter_map(place).collect();
        if !positions.is_empty() {
            self.watcher.ask(Ask::Release(positions));
        }
        match self.watcher.release_failure() {
            None => Ok(()),
            Some(code) => {
                let (group, reason) = (self.settings.group.clone(), code.to_string());
                Err(KafkaError::Release { group, reason }.into())
            }
        }
    }
}
