//! From settings to a source.

use crate::settings::{Settings, SettingsError, SourceKind};
use anyhow::Context;
use millrace_connectors::source::log::LogTail;
use millrace_connectors::source::{LiveSource, ReadOptions, Resume, Start};
use std::path::PathBuf;

/// How many bytes of a log one chunk holds: small, so that what comes after it need not wait.
const CHUNK_BYTES: usize = 256 << 10;
const CHUNK_RECORDS: u32 = 4_096;

/// Opens the source that the settings name.
///
/// # Errors
/// Where it cannot be reached or read, or a setting is missing.
pub fn open(settings: &Settings, start: Start, resume: Resume) -> anyhow::Result<Box<dyn LiveSource>> {
    let max_records = u32::try_from(settings.live.epoch_records).unwrap_or(u32::MAX).min(CHUNK_RECORDS);
    let options = ReadOptions { chunk_bytes: CHUNK_BYTES, max_records, ..ReadOptions::default() };
    match settings.source.kind {
        SourceKind::Log => {
            let paths: Vec<PathBuf> = settings.source.log.paths.iter().map(PathBuf::from).collect();
            if paths.is_empty() {
                return Err(missing("source.log.paths", "the directories of one or more logs").into());
            }
            Ok(Box::new(LogTail::open(&paths, start, resume, options).context("opening source.log.paths")?))
        }
        SourceKind::Kafka => anyhow::bail!("Kafka is not built in"),
    }
}

fn missing(key: &str, expected: &str) -> SettingsError {
    SettingsError::BadValue { key: key.to_owned(), origin: None, value: "[]".to_owned(), expected: expected.to_owned() }
}
