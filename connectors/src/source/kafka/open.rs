//! The start: brokers that answer, topics that are there, and for each partition the offset that reading begins at.

use super::client::{At, Event, Handle};
use super::code::Code;
use super::error::KafkaError;
use super::lost::go_on;
use super::settings::KafkaSettings;
use crate::source::{Deal, Mark, PartitionInfo, PartitionState, Resume, Start};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long one question may take, before we look whether there is a reason why nobody answers.
const QUESTION: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(50);
/// A topic that was created just now is not known to every broker yet.
const TOPIC_GRACE: Duration = Duration::from_secs(2);
/// How long the ids of topics are waited for, where all else was answered.
const ID_GRACE: Duration = Duration::from_secs(3);
/// How often TLS may fail before we believe that it always will.
const TLS_TRIES: u32 = 2;

/// All partitions, by ordinal.
#[derive(Default)]
pub(super) struct Table {
    pub(super) partitions: Vec<PartitionInfo>,
    pub(super) states: Vec<PartitionState>,
    /// The ordinals of those that are read. Others were read by an earlier run, of topics that are not wanted any more.
    pub(super) read: Vec<u16>,
    /// The ids of the topics, as the settings number them, where the brokers give them.
    pub(super) ids: Vec<Option<String>>,
}

impl Table {
    fn add(&mut self, info: PartitionInfo, state: PartitionState) -> Result<u16, KafkaError> {
        let ordinal = next_ordinal(&self.partitions)?;
        self.partitions.push(info);
        self.states.push(state);
        Ok(ordinal)
    }
}

/// # Errors
/// [`KafkaError::TooManyPartitions`]
pub(super) fn next_ordinal(table: &[PartitionInfo]) -> Result<u16, KafkaError> {
    let (count, limit) = (table.len() + 1, usize::from(u16::MAX));
    let ordinal = u16::try_from(table.len()).ok().filter(|&ordinal| ordinal < u16::MAX);
    ordinal.ok_or(KafkaError::TooManyPartitions { count, limit })
}

pub(super) fn info(topic: &str, partition: u32) -> PartitionInfo {
    let path = Path::new(topic).join(partition.to_string());
    PartitionInfo { source: topic.to_owned(), partition, path }
}

/// # Errors
/// [`KafkaError`] for what the user has to put right.
pub(super) fn check(settings: &KafkaSettings) -> Result<(), KafkaError> {
    if settings.topics.is_empty() {
        return Err(KafkaError::NoTopic);
    }
    for (name, value) in [("brokers", &settings.brokers), ("group", &settings.group)] {
        if value.trim().is_empty() {
            return Err(KafkaError::Empty { name });
        }
        if value.contains('\0') {
            return Err(KafkaError::ZeroByte { name });
        }
    }
    let mut names = BTreeSet::new();
    for topic in &settings.topics {
        if !names.insert(&topic.name) {
            return Err(KafkaError::TopicTwice { topic: topic.name.clone() });
        }
        if topic.name.contains('\0') || topic.kind_header.as_ref().is_some_and(|name| name.contains('\0')) {
            return Err(KafkaError::ZeroByte { name: "topics" });
        }
    }
    Ok(())
}

/// Finds the partitions and where to begin with each.
///
/// A partition that an earlier run has read goes on there. One that is new to a topic which an earlier run has read is
/// read from its beginning, as if that run had noticed it. Others begin at `start`.
///
/// # Errors
/// [`KafkaError`] where the brokers cannot be reached in time, or a topic cannot be read.
pub(super) fn open(
    handle: &Handle,
    settings: &KafkaSettings,
    start: Start,
    resume: &Resume,
    deal: Deal,
) -> Result<Table, KafkaError> {
    let mut patience = Patience { handle, settings, since: Instant::now(), reason: None, tls_failures: 0 };
    let mut table = Table::default();
    for (info, state) in resume.partitions.iter().zip(resume.states()) {
        // Nothing is left to be read of what is not wanted any more.
        let end = Some(state.next);
        table.add(info.clone(), PartitionState { end, ..state })?;
    }
    let found = settings.topics.iter().map(|topic| patience.partitions(&topic.name));
    let found = found.collect::<Result<Vec<_>, _>>()?;
    table.ids = patience.topic_ids()?;
    for (number, (topic, partitions)) in settings.topics.iter().zip(found).enumerate() {
        let name = &topic.name;
        let id = table.ids[number].clone();
        is_the_same(name, id.as_ref(), resume)?;
        if let Some(gone) =
            resume.partitions.iter().position(|info| info.source == *name && !partitions.contains(&info.partition))
        {
            let (partition, position) = (resume.partitions[gone].partition, resume.positions[gone]);
            return Err(KafkaError::NoSuchPartition { topic: name.clone(), partition, position });
        }
        let earliest = patience.offsets(name, &partitions, At::Earliest)?;
        // Before the offsets of a time: a record that comes between the two questions is not left out.
        let ends = patience.offsets(name, &partitions, At::End)?;
        let begins = patience.begins(name, &partitions, start, &earliest)?;
        let was_read = resume.partitions.iter().any(|info| info.source == *name);
        for (index, &partition) in partitions.iter().enumerate() {
            let (earliest, end) = (earliest[index].unwrap_or(0), ends[index]);
            if let Some((ordinal, wanted)) = resume.find(name, partition) {
                // The offsets were not asked for at one moment.
                let end = end.unwrap_or(0).max(earliest);
                let go_on = go_on((name, partition), wanted, earliest, end, settings.on_lost_offsets)?;
                let state = &mut table.states[ordinal];
                (state.next, state.end) = (go_on.at, Some(end));
                state.lost.add(go_on.lost);
                state.marks.push(id.clone().map(Mark::Topic));
                table.read.push(u16::try_from(ordinal).expect("`Table::add` has given it"));
            } else if deal.discovers() {
                let next = if was_read { earliest } else { begins[index].or(end).unwrap_or(earliest) };
                let end = end.map(|end| end.max(next));
                let mut state = PartitionState { next, end, ..PartitionState::default() };
                state.marks.push(id.clone().map(Mark::Topic));
                let ordinal = table.add(info(name, partition), state)?;
                table.read.push(ordinal);
            }
        }
    }
    table.read.retain(|&ordinal| deal.reads(usize::from(ordinal)));
    Ok(table)
}

/// Whether a topic is the one that an earlier run has read. Where one of the two has no id, nobody can say.
fn is_the_same(topic: &str, id: Option<&String>, resume: &Resume) -> Result<(), KafkaError> {
    let Some(now) = id else { return Ok(()) };
    for (info, kept) in resume.partitions.iter().zip(&resume.kept) {
        if let Some(Mark::Topic(before)) = &kept.mark
            && info.source == topic
            && before != now
        {
            let (topic, before, now) = (topic.to_owned(), before.clone(), now.clone());
            return Err(KafkaError::MadeAnew { topic, before, now });
        }
    }
    Ok(())
}

/// What keeps asking until somebody answers, or it is no use.
struct Patience<'a> {
    handle: &'a Handle,
    settings: &'a KafkaSettings,
    since: Instant,
    /// The last trouble that the client told of.
    reason: Option<String>,
    tls_failures: u32,
}

impl Patience<'_> {
    fn partitions(&mut self, topic: &str) -> Result<Vec<u32>, KafkaError> {
        let mut missing_since: Option<Instant> = None;
        loop {
            let code = match self.handle.partitions(topic, self.question()) {
                Ok(partitions) if !partitions.is_empty() => return Ok(partitions),
                Ok(_) => Code::NO_ANSWER,
                Err(code) => code,
            };
            if code == Code::MAY_NOT {
                return Err(KafkaError::MayNotRead { topic: topic.to_owned() });
            }
            if code.is_unknown_topic() {
                let since = *missing_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= TOPIC_GRACE.min(self.settings.connect_timeout) {
                    let brokers = self.settings.brokers.clone();
                    return Err(KafkaError::NoSuchTopic { topic: topic.to_owned(), brokers });
                }
            }
            self.wait(code)?;
        }
    }

    /// The ids of all topics, none where the brokers give none.
    fn topic_ids(&mut self) -> Result<Vec<Option<String>>, KafkaError> {
        let names: Vec<&str> = self.settings.topics.iter().map(|topic| topic.name.as_str()).collect();
        let since = Instant::now();
        loop {
            match self.handle.topic_ids(&names, self.question()) {
                Ok(ids) => return Ok(ids.into_iter().map(|id| id.unwrap_or(None)).collect()),
                // Reading does not depend on them.
                Err(_) if since.elapsed() >= ID_GRACE => return Ok(vec![None; names.len()]),
                Err(code) => self.wait(code)?,
            }
        }
    }

    fn offsets(&mut self, topic: &str, partitions: &[u32], at: At) -> Result<Vec<Option<u64>>, KafkaError> {
        loop {
            match self.handle.offsets(topic, partitions, at, self.question()) {
                Ok(offsets) => return Ok(offsets),
                Err(Code::MAY_NOT) => return Err(KafkaError::MayNotRead { topic: topic.to_owned() }),
                Err(code) => self.wait(code)?,
            }
        }
    }

    /// Where partitions begin that have no position; none at their ends.
    fn begins(
        &mut self,
        topic: &str,
        partitions: &[u32],
        start: Start,
        earliest: &[Option<u64>],
    ) -> Result<Vec<Option<u64>>, KafkaError> {
        match start {
            Start::Earliest => Ok(earliest.to_vec()),
            Start::Latest => Ok(vec![None; partitions.len()]),
            Start::Timestamp(time) => {
                // The broker keeps milliseconds: the first that is not before.
                let time = time.div_euclid(1_000) + i64::from(time.rem_euclid(1_000) > 0);
                self.offsets(topic, partitions, At::Time(time))
            }
        }
    }

    fn question(&self) -> Duration {
        QUESTION.min(self.settings.connect_timeout.saturating_sub(self.since.elapsed())).max(PAUSE)
    }

    /// Hears why nobody answered, and whether it is any use to ask again.
    fn wait(&mut self, code: Code) -> Result<(), KafkaError> {
        let mut pause = PAUSE;
        while let Some(event) = self.handle.next_event(pause) {
            pause = Duration::ZERO;
            let Event::Trouble { code, text } = event else { continue };
            self.tls_failures += u32::from(code == Code::TLS);
            if code == Code::AUTHENTICATION || self.tls_failures >= TLS_TRIES {
                return Err(KafkaError::NotLetIn { brokers: self.settings.brokers.clone(), reason: text });
            }
            if code != Code::ALL_DOWN || self.reason.is_none() {
                self.reason = Some(text);
            }
        }
        let timeout = self.settings.connect_timeout;
        if self.since.elapsed() < timeout {
            return Ok(());
        }
        let reason = self.reason.take().unwrap_or_else(|| code.to_string());
        Err(KafkaError::Unreachable { brokers: self.settings.brokers.clone(), timeout, reason })
    }
}
