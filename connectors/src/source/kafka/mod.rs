//! Kafka: topics as a source that goes on.
//!
//! ```text
//! brokers ──▶ librdkafka's queue ──▶ Batch ──▶ Gather ──▶ chunks      this thread
//!                    │                           ▲
//!                    └── Watch: ends, new partitions, brokers that are away      a thread of its own
//! ```
//! Partitions are assigned, not shared out by a consumer group: positions are the engine's, kept with its results. Only
//! what transactions have committed is read. A message is a record, whatever its bytes are; one without a value is the
//! deletion of what its key names ([`millrace_schema::tombstone`]), where its kind has that, or an empty record.
//!
//! What a position counts are the broker's offsets: transactions leave gaps, and so does compaction.

mod batch;
mod client;
mod code;
mod error;
mod gather;
mod lost;
mod open;
mod properties;
mod settings;
mod watch;

pub use error::KafkaError;
pub use settings::{KafkaSettings, LostOffsets, Secret, Topic};

use super::{
    Chunk, LiveSource, PartitionInfo, PartitionState, Progress, ReadOptions, Resume, Source, SourceError, SourceStatus,
    Start,
};
use batch::{Batch, Message, Origin};
use client::Handle;
use code::Code;
use gather::{Gather, Ready};
use lost::go_on;
use millrace_schema::{Kind, tombstone};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;
use watch::{Ask, News, Watcher};

/// Reads topics from given offsets, and on as they grow.
pub struct KafkaSource {
    /// Before the client: its messages and threads end first.
    watcher: Watcher,
    batch: Batch,
    handle: Arc<Handle>,
    settings: KafkaSettings,
    /// The headers that name kinds, as the library takes their names, by topic.
    kind_headers: Vec<Option<CString>>,
    table: Vec<PartitionInfo>,
    readings: BTreeMap<(String, u32), Reading>,
    /// Where the message before came from: mostly the next one does, too.
    last: Option<(Origin, Reading)>,
    /// By ordinal, the offset after the last message that was taken.
    taken: Vec<u64>,
    gather: Gather,
    limits: Limits,
    status: Arc<SourceStatus>,
    progress: Progress,
}

/// A partition that is read.
#[derive(Clone, Copy)]
struct Reading {
    ordinal: u16,
    topic: usize,
}

/// How much is gathered before it is handed out.
struct Limits {
    bytes: usize,
    records: u32,
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
        let table = open::open(&handle, &settings, start, &resume)?;

        let status = Arc::new(SourceStatus::default());
        let taken = table.states.iter().map(|state| state.next).collect();
        status.with(|state| state.partitions.clone_from(&table.states));
        let names = settings.topics.iter().map(|topic| topic.name.clone());
        let header = |topic: &Topic| {
            let name = topic.kind_header.as_deref()?;
            Some(CString::new(name).expect("`check` has looked for zeros"))
        };
        let mut source = KafkaSource {
            watcher: Watcher::start(Arc::clone(&handle), Arc::clone(&status), names, settings.refresh),
            batch: Batch::new(Arc::clone(&handle)),
            handle,
            kind_headers: settings.topics.iter().map(header).collect(),
            table: table.partitions,
            readings: BTreeMap::new(),
            last: None,
            taken,
            limits: Limits { bytes: options.chunk_bytes, records: options.max_records },
            gather: Gather::new(options),
            status,
            progress: Progress::new(None),
            settings,
        };
        source.read(&table.read)?;
        Ok(source)
    }

    /// Starts to read these, from where they are.
    fn read(&mut self, ordinals: &[u16]) -> Result<(), KafkaError> {
        let mut positions = Vec::new();
        for &ordinal in ordinals {
            let place = usize::from(ordinal);
            let PartitionInfo { source, partition, .. } = &self.table[place];
            let topic = self.settings.topics.iter().position(|topic| topic.name == *source);
            let topic = topic.expect("only partitions of topics that are named are read");
            self.readings.insert((source.clone(), *partition), Reading { ordinal, topic });
            positions.push((source.as_str(), *partition, self.taken[place]));
            self.watcher.ask(Ask::Watch { topic, partition: *partition, ordinal });
        }
        self.handle.assign(&positions)
    }

    /// What the watcher has found out.
    fn take_news(&mut self) -> Result<(), KafkaError> {
        while let Some(news) = self.watcher.news() {
            match news {
                News::Partition { topic, partition, earliest } => self.add(topic, partition, earliest)?,
                News::Range { ordinal, wanted, earliest, end } => self.go_on(ordinal, wanted, earliest, end)?,
            }
        }
        Ok(())
    }

    fn add(&mut self, topic: usize, partition: u32, earliest: u64) -> Result<(), KafkaError> {
        let (count, limit) = (self.table.len() + 1, usize::from(u16::MAX));
        let too_many = |_| KafkaError::TooManyPartitions { count, limit };
        let ordinal = u16::try_from(self.table.len()).map_err(too_many)?;
        self.table.push(open::info(&self.settings.topics[topic].name, partition));
        self.taken.push(earliest);
        let state = PartitionState { next: earliest, ..PartitionState::default() };
        self.status.with(|status| status.partitions.push(state));
        self.read(&[ordinal])
    }

    fn go_on(&mut self, ordinal: u16, wanted: u64, earliest: u64, end: u64) -> Result<(), KafkaError> {
        let place = usize::from(ordinal);
        let PartitionInfo { source, partition, .. } = &self.table[place];
        let (topic, partition) = (source.as_str(), *partition);
        let go_on = go_on((topic, partition), wanted, earliest, end, self.settings.on_lost_offsets)?;
        self.handle.unassign(topic, partition)?;
        self.handle.assign(&[(topic, partition, go_on.at)])?;
        self.taken[place] = go_on.at;
        self.status.with(|state| {
            let state = &mut state.partitions[place];
            (state.next, state.end) = (go_on.at, state.end.max(Some(end)));
            state.lost += go_on.lost;
        });
        Ok(())
    }

    /// Takes what has come, a chunk's worth at most, and says whether that was something.
    fn gather(&mut self) -> Result<bool, KafkaError> {
        let (mut bytes, mut records) = (0, 0);
        while records < self.limits.records && bytes < self.limits.bytes {
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
            let taken = &mut self.taken[usize::from(reading.ordinal)];
            if offset < *taken {
                let PartitionInfo { source, partition, .. } = self.table[usize::from(reading.ordinal)].clone();
                return Err(KafkaError::WentBack { topic: source, partition, offset, expected: *taken });
            }
            *taken = offset + 1;
            records += 1;
            bytes += self.push(reading, offset, &message);
        }
        self.gather.close_all();
        Ok(self.gather.has_ready())
    }

    /// Which partition it is of; none where it is none of ours, or of no partition.
    #[inline]
    fn reading(&mut self, message: &Message) -> Option<Reading> {
        let origin = message.origin();
        if let Some((last, reading)) = self.last
            && last == origin
        {
            return Some(reading);
        }
        let Some((topic, partition)) = message.place() else {
            // Only the group concerns no partition, and only offsets are written to it.
            self.watcher.commits_fail(message.code());
            return None;
        };
        let reading = *self.readings.get(&(topic.to_owned(), partition))?;
        self.last = Some((origin, reading));
        Some(reading)
    }

    /// Adds a record. How many bytes it has.
    #[inline]
    fn push(&mut self, reading: Reading, offset: u64, message: &Message) -> usize {
        let kind = match &self.kind_headers[reading.topic] {
            None => self.settings.topics[reading.topic].kind,
            Some(name) => match message.header(name) {
                None => self.settings.topics[reading.topic].kind,
                Some(text) => std::str::from_utf8(text).ok().and_then(Kind::parse),
            },
        };
        let received_at = message.received_at();
        match message.value() {
            Some(value) => {
                self.gather.push(reading.ordinal, kind, offset, received_at, value);
                value.len()
            }
            None => {
                let key = message.key().unwrap_or_default();
                let deletion = kind.zip(received_at).and_then(|(kind, at)| tombstone(kind, key, at));
                let value = deletion.unwrap_or_default();
                self.gather.push(reading.ordinal, kind, offset, received_at, &value);
                value.len()
            }
        }
    }

    /// Takes what the library says of a partition.
    fn hear(&mut self, Reading { ordinal, .. }: Reading, message: &Message) {
        let (code, offset) = (message.code(), message.offset());
        let said = || self.handle.clean(&String::from_utf8_lossy(message.value().unwrap_or_default()));
        let ready = if code == Code::PARTITION_END {
            Ready::End { ordinal, offset }
        } else if code == Code::OFFSET_GONE {
            Ready::Gone { ordinal, offset }
        } else if code.leaves_records_out() {
            Ready::Damaged { ordinal, offset, reason: said() }
        } else if code.is_unknown_topic() || code.is_silence() {
            // The watcher sees that, and also when it is over.
            return;
        } else {
            Ready::Fault { ordinal, reason: said() }
        };
        self.gather.say(ordinal, ready);
    }

    /// Hands out what is ready; none of what was said of partitions.
    fn hand_out(&mut self, ready: Ready) -> Result<Option<Chunk>, KafkaError> {
        match ready {
            Ready::Chunk(chunk) => {
                self.progress.add(chunk.bytes().len() as u64);
                self.status.with(|state| {
                    let partition = &mut state.partitions[usize::from(chunk.partition)];
                    partition.next = chunk.next_offset();
                    // Where its end is not known yet, this is not it.
                    partition.end = partition.end.map(|end| end.max(partition.next));
                    partition.fault = None;
                });
                return Ok(Some(chunk));
            }
            Ready::End { ordinal, offset } => self.status.with(|state| {
                let partition = &mut state.partitions[usize::from(ordinal)];
                // Behind the last record there may be marks of transactions, and records of those that were aborted.
                partition.next = partition.next.max(offset);
                partition.end = partition.end.max(Some(offset));
                partition.fault = None;
            }),
            Ready::Fault { ordinal, reason } => {
                self.status.with(|state| state.partitions[usize::from(ordinal)].fault = Some(reason));
            }
            Ready::Gone { ordinal, offset } => {
                let PartitionInfo { source, partition, .. } = &self.table[usize::from(ordinal)];
                let Reading { topic, .. } = self.readings[&(source.clone(), *partition)];
                self.watcher.ask(Ask::Range { topic, partition: *partition, ordinal, wanted: offset });
            }
            Ready::Damaged { ordinal, offset, reason } => {
                let PartitionInfo { source, partition, .. } = self.table[usize::from(ordinal)].clone();
                return Err(KafkaError::Damaged { topic: source, partition, offset, reason });
            }
        }
        Ok(None)
    }
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
            if !self.gather()? {
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

    /// The offsets are written while reading goes on: an error is what became of those that were released before.
    fn release(&mut self, positions: &[(u16, u64)]) -> Result<(), SourceError> {
        let place = |&(ordinal, offset): &(u16, u64)| {
            let PartitionInfo { source, partition, .. } = self.table.get(usize::from(ordinal))?;
            let reading = self.readings.get(&(source.clone(), *partition))?;
            Some((reading.topic, *partition, offset))
        };
        let positions: Vec<_> = positions.iter().filter_map(place).collect();
        if !positions.is_empty() {
            self.watcher.ask(Ask::Release(positions));
        }
        match self.watcher.commit_failure() {
            Some(code) => {
                let (group, reason) = (self.settings.group.clone(), code.to_string());
                Err(KafkaError::Commit { group, reason }.into())
            }
            None => Ok(()),
        }
    }
}
