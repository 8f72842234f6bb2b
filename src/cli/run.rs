//! `millrace run`: the engine, until it is told to stop.

use super::rejected::{Place, of_read};
use super::rejecting::Watch;
use super::replay::{SummaryFormat, print_summary};
use super::signal::{self, Stop};
use super::{SettingsArgs, now_ms, serving};
use crate::allocator;
use crate::checkpoint::NowMs;
use crate::commands::{Running, summary_of};
use crate::log;
use crate::memory::usage;
use crate::output::terminal;
use crate::serve::status::{Engine, EngineStatus};
use crate::serve::{Board, Server};
use crate::settings::Settings;
use crate::sinks::{Committed, Sinks};
use anyhow::Context;
use clap::Args;
use millrace_dataflows::views::quality::Accounting;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

const EXAMPLES: &str = "\
Examples:
  millrace run --config millrace.toml
  millrace run --set source.kind=kafka --set source.kafka.brokers=broker:9092 --set 'source.kafka.topics=[{name=\"events\"}]'
  millrace run --set 'source.log.paths=[\"shop-log\"]' --until-end --format json

Ctrl-C stops reading, closes what is open, and ends. So does SIGTERM, and a terminal that goes away; under nohup it goes on.";

/// The first look at what is rejected is a soon one: where all is, whoever has just started it still looks.
const FIRST_LOOK: Duration = Duration::from_secs(1);
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
    /// End with an error where views of the lake have to be made anew, for their settings or versions are others
    #[arg(long)]
    refuse_rebuild: bool,
    /// How to print the summary; json is one object
    #[arg(long, value_enum, default_value_t)]
    format: SummaryFormat,
    /// No lines about how it goes but warnings
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
        let stop = Stop::listen()?;
        signal::end_on_panic();
        let say = |text: String| match text.strip_prefix("warning: ") {
            Some(warning) => log::warning(warning),
            None if self.quiet => {}
            None => log::info(text),
        };
        let should_stop = || stop.is_asked();
        serving::check(&loaded.settings.serve)?;
        crate::sinks::check(&loaded.settings)?;
        let mut server = None;
        let mut serve = |board: &Arc<Board>, engine: Arc<dyn Engine>| {
            server = serving::start(&loaded.settings.serve, board, engine)?;
            if let Some(server) = &server {
                say(format!("serving on {}", server.address));
            }
            Ok(())
        };
        let mut live =
            Running::start(&loaded.settings, loaded.to_toml(), &say, &should_stop, self.refuse_rebuild, &mut serve)?;
        let engine = live.engine.clone();
        let committed: Committed = Arc::new(move || engine.last_committed());
        let now: NowMs = Arc::new(now_ms);
        let sinks = Sinks::start(&loaded.settings, &committed, &now, self.quiet)?;
        let address = server.as_ref().map(|server: &Server| server.address.to_string());
        let mut watch = Watch::of(&live.board.current(), place(&loaded.settings, address.as_deref()));
        let (mut next_line, mut next_look) = (started + LINE_EVERY, started + FIRST_LOOK);
        while !live.has_ended() {
            std::thread::sleep(LOOK);
            live.repair_if_due(&say)?;
            if stop.is_asked() || self.until_end && is_at_end(&live.engine.status()) {
                live.engine.drain();
                server.iter().for_each(Server::begin_drain);
            }
            if Instant::now() >= next_line {
                next_line += LINE_EVERY;
                let version = live.board.current();
                let accounting = version.view("quality").map(|quality| Accounting::of(&quality.index));
                say(line(&live.engine.status(), accounting.unwrap_or_default()));
            }
            if Instant::now() >= next_look {
                next_look += LINE_EVERY;
                let examples = || live.engine.reject_examples();
                watch.look(&live.board.current(), examples).iter().for_each(log::warning);
            }
        }
        let (board, engine) = (live.board.clone(), live.engine.clone());
        live.join()?;
        sinks.finish();
        let version = board.current();
        let quality = version.view("quality").context("quality is always rendered")?;
        let examples = engine.reject_examples();
        let summary = summary_of(&quality.index, version.epoch, started, cpu_before, examples)?;
        if let Some(server) = server {
            server.drain()?;
        }
        // Who would read it there has gone; a file takes it all the same.
        if stop.has_hung_up() && terminal::is_on_stdout() {
            return Ok(());
        }
        print_summary(&summary, place(&loaded.settings, None).as_ref(), self.format, out)
    }
}

/// Where rejected records can be asked for: of the server while there is one, else of the lake.
fn place(settings: &Settings, address: Option<&str>) -> Option<Place> {
    let lake = || Some(&*settings.lake.url).filter(|url| !url.is_empty()).map(|url| Place::of("--data-dir", url));
    address.map(|address| Place::of("--addr", address)).or_else(lake)
}

fn is_at_end(status: &EngineStatus) -> bool {
    let read = |partition: &crate::serve::status::PartitionStatus| {
        partition.fault.is_some() || partition.end_offset.is_some_and(|end| partition.next_offset >= end)
    };
    status.source_down.is_none() && status.partitions.iter().all(read)
}

fn line(status: &EngineStatus, accounting: Accounting) -> String {
    let lag: u64 = status
        .partitions
        .iter()
        .map(|partition| partition.end_offset.unwrap_or(0).saturating_sub(partition.next_offset))
        .sum();
    let held: Vec<String> = status.held.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let down = status.source_down.as_ref().map_or(String::new(), |reason| format!(", source down: {reason}"));
    let count = |count: i64| u64::try_from(count).unwrap_or(0);
    let read = count(accounting.read);
    let of = |what: &str, part: i64| match count(part) {
        0 => String::new(),
        part => format!(", {what} {}", of_read(part, read)),
    };
    let (rejected, pending) = (of("rejected", accounting.quarantined), of("pending", accounting.pending));
    format!(
        "epoch {}, {} in flight, lag {lag}, {} MB, read {read}{rejected}{pending}, {}{down}",
        status.epoch,
        status.epochs_in_flight,
        status.memory_bytes >> 20,
        held.join(", ")
    )
}
