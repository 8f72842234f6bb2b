//! The shop of the demonstration: generated lines, sent as their time comes.

use crate::generate::command::partition_of;
use crate::generate::{Generator, LineInfo, Options};
use anyhow::Context;
use millrace_connectors::producer::Producer;
use millrace_connectors::source::log::LogWriter;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Where lines go.
pub trait Sink: Send {
    /// # Errors
    /// Where the line cannot be written.
    fn send(&mut self, partition: u32, line: &[u8], received_at_micros: i64) -> anyhow::Result<()>;

    /// Makes what was sent visible.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn flush(&mut self) -> anyhow::Result<()>;
}

/// A log of the program's own.
pub struct LogSink(LogWriter);

impl LogSink {
    const SEGMENT_BYTES: u64 = 128 << 20;

    /// # Errors
    /// Where the directory is something else, or another process writes to it.
    pub fn open(path: &Path, partitions: NonZeroUsize) -> anyhow::Result<LogSink> {
        let partitions = u32::try_from(partitions.get()).context("too many partitions")?;
        Ok(LogSink(LogWriter::open(path, partitions, LogSink::SEGMENT_BYTES)?))
    }
}

impl Sink for LogSink {
    fn send(&mut self, partition: u32, line: &[u8], _received_at_micros: i64) -> anyhow::Result<()> {
        self.0.append(partition, line)?;
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.0.flush()?)
    }
}

/// A topic.
pub struct KafkaSink(Producer);

impl KafkaSink {
    /// # Errors
    /// Where no broker answers, or the topic cannot be made.
    pub fn open(brokers: &str, topic: &str, partitions: NonZeroUsize) -> anyhow::Result<KafkaSink> {
        let partitions = u32::try_from(partitions.get()).context("too many partitions")?;
        Ok(KafkaSink(Producer::open(brokers, topic, partitions, &BTreeMap::new())?))
    }
}

impl Sink for KafkaSink {
    fn send(&mut self, partition: u32, line: &[u8], received_at_micros: i64) -> anyhow::Result<()> {
        Ok(self.0.send(partition, &[], line, Some(received_at_micros))?)
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        // Records leave by themselves; what the brokers said is heard.
        self.0.poll();
        Ok(())
    }
}

/// What the feeder has done, for whoever looks.
#[derive(Debug, Default)]
pub struct Fed {
    pub lines: AtomicU64,
}

/// How long the feeder waits at most before it looks at the clock.
const STEP: Duration = Duration::from_millis(5);

/// Sends lines as they arrive, those of the past at once, until it is told to stop or all are sent.
///
/// # Errors
/// Where the options are out of range, or a line cannot be written.
pub fn feed(
    options: Options,
    partitions: NonZeroUsize,
    sink: &mut dyn Sink,
    now_micros: impl Fn() -> i64,
    fed: &Arc<Fed>,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let mut generator = Generator::new(options)?;
    let mut line = Vec::new();
    let mut now = now_micros();
    while let Some(info) = generator.next_line(&mut line) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        while info.arrival > now {
            sink.flush()?;
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            std::thread::sleep(STEP.min(Duration::from_micros(info.arrival.abs_diff(now))));
            now = now_micros();
        }
        send(sink, &info, partitions, &line)?;
        fed.lines.fetch_add(1, Ordering::Relaxed);
        line.clear();
    }
    sink.flush()
}

fn send(sink: &mut dyn Sink, info: &LineInfo, partitions: NonZeroUsize, line: &[u8]) -> anyhow::Result<()> {
    let partition = u32::try_from(partition_of(info, partitions)).context("too many partitions")?;
    sink.send(partition, line.strip_suffix(b"\n").unwrap_or(line), info.arrival)
}
