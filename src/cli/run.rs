//! `millrace run`: the engine, until it is told to stop.

use super::replay::{SummaryFormat, print_summary};
use super::{SettingsArgs, serving, signal};
use crate::allocator;
use crate::engine::{Running, summary_of, usage};
use crate::serve::status::{Engine, EngineStatus};
use crate::serve::{Board, Server};
use anyhow::Context;
use clap::Args;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const EXAMPLES: &str = "\
Examples:
  millrace run --config millrace.toml
  millrace run --set source.kind=kafka --set source.kafka.brokers=broker:9092 --set 'source.kafka.topics=[{name=\"events\"}]'
  millrace run --set 'source.log.paths=[\"shop-log\"]' --until-end --format json

Ctrl-C stops reading, closes what is open, and ends.";

/// How often the engine is looked at.
const LOOK: Duration = Duration::from_millis(20);
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Run the engine: read a log or Kafka, keep every view, serve
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RunArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// End once everything there is has been read
    #[arg(long)]
    until_end: bool,
    /// How to print the summary; json is one object
    #[arg(long, value_enum, default_value_t)]
    format: SummaryFormat,
    /// No lines about how it goes
    #[arg(long, short)]
    quiet: bool,
}

impl RunArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let (started, cpu_before) = (Instant::now(), usage::cpu_time());
        let loaded = self.settings.load()?;
        loaded.validate_live()?;
        if !loaded.settings.lake.url.is_empty() {
            allocator::give_back_what_is_large();
        }
        let stop = signal::stop_flag()?;
        signal::end_on_panic();
        let say = |text: String| {
            if !self.quiet || text.starts_with("warning") {
                eprintln!("{text}");
            }
        };
        let should_stop = || stop.load(Ordering::Relaxed);
        serving::check(&loaded.settings.serve)?;
        let mut server = None;
        let mut serve = |board: &Arc<Board>, engine: Arc<dyn Engine>| {
            server = serving::start(&loaded.settings.serve, board, engine)?;
            if let Some(server) = &server {
                say(format!("serving on {}", server.address));
            }
            Ok(())
        };
        let mut live = Running::start(&loaded.settings, loaded.to_toml(), &say, &should_stop, &mut serve)?;
        let mut next_line = started + LINE_EVERY;
        while !live.has_ended() {
            std::thread::sleep(LOOK);
            live.repair_if_due(&say)?;
            if stop.load(Ordering::Relaxed) || self.until_end && is_at_end(&live.engine.status()) {
                live.engine.drain();
                server.iter().for_each(Server::begin_drain);
            }
            if !self.quiet && Instant::now() >= next_line {
                next_line += LINE_EVERY;
                eprintln!("{}", line(&live.engine.status()));
            }
        }
        let board = live.board.clone();
        live.join()?;
        let version = board.current();
        let quality = version.view("quality").context("quality is always rendered")?;
        let summary = summary_of(&quality.index, version.epoch, started, cpu_before)?;
        if let Some(server) = server {
            server.drain()?;
        }
        print_summary(&summary, self.format, out)
    }
}

fn is_at_end(status: &EngineStatus) -> bool {
    let read = |partition: &crate::serve::status::PartitionStatus| {
        partition.fault.is_some() || partition.end_offset.is_some_and(|end| partition.next_offset >= end)
    };
    status.source_down.is_none() && status.partitions.iter().all(read)
}

fn line(status: &EngineStatus) -> String {
    let lag: u64 = status
        .partitions
        .iter()
        .map(|partition| partition.end_offset.unwrap_or(0).saturating_sub(partition.next_offset))
        .sum();
    let held: Vec<String> = status.held.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let down = status.source_down.as_ref().map_or(String::new(), |reason| format!(", source down: {reason}"));
    format!(
        "epoch {}, {} in flight, lag {lag}, {} MB, {}{down}",
        status.epoch,
        status.epochs_in_flight,
        status.memory_bytes >> 20,
        held.join(", ")
    )
}
