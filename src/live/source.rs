//! From settings to a source.

use crate::settings::{self, Settings, SettingsError, SourceKind, TopicSettings, kind};
use anyhow::Context;
use millrace_connectors::source::kafka::{KafkaSettings, KafkaSource, LostOffsets, Topic};
use millrace_connectors::source::log::LogTail;
use millrace_connectors::source::{Deal, LiveSource, ReadOptions, Resume, Start};
use std::path::PathBuf;
use std::time::Duration;

/// How many bytes one chunk holds, where so many are there.
const CHUNK_BYTES: usize = 512 << 10;
const CHUNK_RECORDS: u32 = 8_192;

const NOTHING_TO_READ: &str = "what is to be read: the directories of one or more logs, or source.kind=kafka and \
    source.kafka.topics. `millrace demo` needs no settings, `millrace replay` reads files";

/// Opens the source that the settings name, to read what is dealt to this process.
///
/// # Errors
/// Where it cannot be reached or read, or a setting is missing.
pub fn open(settings: &Settings, start: Start, resume: Resume, deal: Deal) -> anyhow::Result<Box<dyn LiveSource>> {
    let max_records = u32::try_from(settings.live.epoch_records).unwrap_or(u32::MAX).min(CHUNK_RECORDS);
    let options = ReadOptions { chunk_bytes: CHUNK_BYTES, max_records, deal, ..ReadOptions::default() };
    match settings.source.kind {
        SourceKind::Log => {
            let log = &settings.source.log;
            let logs: Vec<(String, PathBuf)> =
                log.paths.iter().map(|path| (path.clone(), log.base.join(path))).collect();
            if logs.is_empty() {
                return Err(missing("source.log.paths", NOTHING_TO_READ).into());
            }
            let tail = LogTail::open_named(&logs, start, resume, options);
            Ok(Box::new(tail.context("opening source.log.paths")?))
        }
        SourceKind::Kafka => {
            let kafka = kafka_settings(settings)?;
            Ok(Box::new(KafkaSource::open(kafka, start, resume, options).context("opening source.kafka")?))
        }
    }
}

fn kafka_settings(settings: &Settings) -> anyhow::Result<KafkaSettings> {
    let given = &settings.source.kafka;
    if given.topics.is_empty() {
        return Err(missing("source.kafka.topics", "at least one topic: [\"events\"]").into());
    }
    let topic = |topic: &TopicSettings| -> Result<Topic, SettingsError> {
        Ok(Topic {
            name: topic.name.clone(),
            kind: kind("source.kafka.topics.event_type", &topic.event_type)?,
            kind_header: (!topic.type_header.is_empty()).then(|| topic.type_header.clone()),
        })
    };
    let property = |property: &String| {
        let (name, value) = property.split_once('=')?;
        Some((name.trim().to_owned(), value.trim().into()))
    };
    Ok(KafkaSettings {
        group: given.group.clone(),
        properties: given.properties.iter().filter_map(property).collect(),
        connect_timeout: Duration::from_millis(given.connect_timeout_ms),
        refresh: Duration::from_millis(given.refresh_ms),
        on_lost_offsets: match given.on_lost_offsets {
            settings::LostOffsets::Stop => LostOffsets::Stop,
            settings::LostOffsets::Skip => LostOffsets::Skip,
        },
        ..KafkaSettings::new(&given.brokers, given.topics.iter().map(topic).collect::<Result<_, _>>()?)
    })
}

fn missing(key: &str, expected: &str) -> SettingsError {
    SettingsError::BadValue { key: key.to_owned(), origin: None, value: "[]".to_owned(), expected: expected.to_owned() }
}
