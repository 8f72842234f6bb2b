//! `millrace run`: the engine, until it is told to stop.

use super::rejected::{Place, of_read};
use super::rejecting::Watch;
use super::replay::{SummaryFormat, print_summary};
use super::signal::{self, Stop};
use super::{Going, SettingsArgs, Usage, now_ms, serving};
use crate::allocator;
use crate::checkpoint::NowMs;
use crate::commands::{Elsewhere, Running, Serving, Start, is_at_end, summary_of, supervise};
use crate::live::Replica;
use crate::log;
use crate::memory::usage;
use crate::mesh::Hosts;
use crate::metrics::{Extra, Process};
use crate::output::terminal;
use crate::serve::status::{Engine, EngineStatus, PartitionStatus};
use crate::serve::{Board, Server};
use crate::settings::{Loaded, Settings};
use crate::sinks::{Committed, Sinks};
use anyhow::Context;
use clap::Args;
use millrace_dataflows::views::quality::Accounting;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const EXAMPLES: &str = "\
Examples:
  millrace run --config millrace.toml
  millrace run --set source.kind=kafka --set source.kafka.brokers=broker:9092 --set 'source.kafka.topics=[{name=\"events\"}]'
  millrace run --set 'source.log.paths=[\"shop-log\"]' --until-end --format json
  millrace run --config millrace.toml --process 1 --processes 3 --hosts hosts

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
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    going: Going,
    /// How to print the summary; json is one object
    #[arg(long, value_enum, default_value_t)]
    format: SummaryFormat,
}

impl RunArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let (started, cpu_before) = (Instant::now(), usage::cpu_time());
        let loaded = self.settings.load()?;
        loaded.validate_live()?;
        if let Some(place) = self.place.place()? {
            return self.run_of_cluster(&loaded, &place, (started, cpu_before), out);
        }
        if !loaded.settings.lake.url.is_empty() {
            allocator::give_back_what_is_large();
        }
        let stop = Stop::listen()?;
        signal::end_on_panic();
        let say = super::teller("", self.going.quiet);
        let should_stop = || stop.is_asked();
        serving::check(&loaded.settings.serve)?;
        crate::sinks::check(&loaded.settings)?;
        let (process, extra) = (Arc::<Process>::default(), Arc::<Extra>::default());
        let endpoint = serving::figures(&loaded.settings.metrics, process.clone(), extra.clone())?;
        endpoint.iter().for_each(|endpoint| say(format!("figures on http://{}/metrics", endpoint.address)));
        let mut server = None;
        let mut serve = |board: &Arc<Board>, engine: Arc<dyn Engine>| {
            process.shows(board, engine.clone());
            server = serving::start(&loaded.settings.serve, board, engine)?;
            if let Some(server) = &server {
                process.is_served_by(server.ask());
                say(format!("serving on {}", server.address));
            }
            Ok(())
        };
        let mut live = Running::start(
            &loaded.settings,
            loaded.to_toml(),
            &say,
            &should_stop,
            self.going.refuse_rebuild,
            None,
            &mut serve,
        )?;
        let engine = live.engine.clone();
        let committed: Committed = Arc::new(move || engine.last_committed());
        let now: NowMs = Arc::new(now_ms);
        let sinks = Sinks::start(&loaded.settings, &committed, &now, self.going.quiet)?;
        let address = server.as_ref().map(|server: &Server| server.address.to_string());
        let mut watch = Watch::of(&live.board.current(), place(&loaded.settings, address.as_deref()));
        let (mut next_line, mut next_look) = (started + LINE_EVERY, started + FIRST_LOOK);
        while !live.has_ended() {
            std::thread::sleep(LOOK);
            live.repair_if_due(&say)?;
            for sink in sinks.status() {
                extra.sink(&sink.name).are(now_ms(), sink.lag_ms(now_ms()), sink.published(), sink.failures());
            }
            if stop.is_asked() || self.going.until_end && is_at_end(&live.engine.status()) {
                live.engine.drain();
                server.iter().for_each(Server::begin_drain);
            }
            if Instant::now() >= next_line {
                next_line += LINE_EVERY;
                let version = live.board.current();
                let accounting = version.view("quality").map(|quality| Accounting::of(&quality.index));
                let (status, accounting) = (live.engine.status(), accounting.unwrap_or_default());
                if !self.going.quiet {
                    log::info_with(line(&status, accounting), fields(&status, accounting));
                }
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

/// Which process of a cluster this is, if it is one
#[derive(Debug, Args)]
pub(super) struct PlaceArgs {
    /// Which process of a cluster this is, from 0 on
    #[arg(long, value_name = "I", requires = "processes", requires = "hosts")]
    process: Option<usize>,
    /// How many processes the cluster has
    #[arg(long, value_name = "P", requires = "process")]
    processes: Option<usize>,
    /// A file with a line for each process: host:port, where the others reach it
    #[arg(long, value_name = "FILE", requires = "process")]
    hosts: Option<PathBuf>,
}

impl PlaceArgs {
    /// None where this is no process of a cluster.
    pub(super) fn place(&self) -> anyhow::Result<Option<crate::commands::Place>> {
        let (Some(process), Some(processes), Some(hosts)) = (self.process, self.processes, &self.hosts) else {
            return Ok(None);
        };
        if process >= processes {
            let last = processes.saturating_sub(1);
            return Err(Usage(format!("--process {process}: with --processes {processes} they are 0 to {last}")).into());
        }
        let hosts = Hosts::read(hosts, processes).map_err(|error| Usage(format!("{error:#}")))?;
        Ok(Some(crate::commands::Place { process, hosts }))
    }

    fn to_arguments(&self) -> Vec<OsString> {
        let numbers = [("--process", self.process), ("--processes", self.processes)];
        let numbers = numbers.into_iter().filter_map(|(name, number)| Some([name.into(), number?.to_string().into()]));
        let hosts = self.hosts.iter().map(|hosts| ["--hosts".into(), hosts.clone().into_os_string()]);
        numbers.chain(hosts).flatten().collect()
    }
}

impl RunArgs {
    /// As the parent of one process of a cluster.
    fn run_of_cluster(
        &self,
        loaded: &Loaded,
        place: &crate::commands::Place,
        (started, cpu_before): (Instant, Duration),
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let stop = Stop::listen()?;
        signal::end_on_panic();
        let say = super::teller(&format!("process {}: ", place.process), self.going.quiet);
        let settings = &loaded.settings;
        serving::check(&settings.serve)?;
        crate::sinks::check(settings)?;
        let (figures, extra) = (Arc::<Process>::default(), Arc::<Extra>::default());
        let endpoint = serving::figures(&settings.metrics, figures.clone(), extra.clone())?;
        endpoint.iter().for_each(|endpoint| say(format!("figures on http://{}/metrics", endpoint.address)));
        let mut replica = Replica::of_engine(settings)?;
        let workers = settings.live.workers * place.hosts.processes();
        let elsewhere = Arc::new(Elsewhere::new(workers, loaded.to_toml(), now_ms()));
        let mut arguments: Vec<OsString> = vec!["engine".into()];
        arguments.extend(self.settings.to_arguments());
        arguments.extend(self.place.to_arguments());
        arguments.extend(self.going.to_arguments());
        let start = Start { arguments, until_end: self.going.until_end };
        let mut server = None;
        figures.shows(&replica.board(), elsewhere.clone());
        let mut serve = |board: &Arc<Board>| {
            server = serving::start(&settings.serve, board, elsewhere.clone())?;
            if let Some(server) = &server {
                figures.is_served_by(server.ask());
                say(format!("serving on {}", server.address));
            }
            Ok(())
        };
        let mut next_line = started + LINE_EVERY;
        let (processes, is_first) = (place.hosts.processes() as u64, place.process == 0);
        let mut each = |board: &Arc<Board>| {
            elsewhere.tell(&extra, processes, now_ms());
            if Instant::now() >= next_line {
                next_line += LINE_EVERY;
                if is_first && !self.going.quiet {
                    let accounting = board.current().view("quality").map(|quality| Accounting::of(&quality.index));
                    let (status, accounting) = (elsewhere.status(), accounting.unwrap_or_default());
                    log::info_with(line(&status, accounting), fields(&status, accounting));
                }
            }
        };
        let mut serving = Serving { serve: &mut serve, each: &mut each, is_served: false };
        supervise(settings, &mut replica, &elsewhere, &start, &mut serving, &say, &|| stop.is_asked())?;
        if let Some(server) = server {
            server.begin_drain();
            server.drain()?;
        }
        if place.process > 0 || stop.has_hung_up() && terminal::is_on_stdout() {
            return Ok(());
        }
        let version = replica.board().current();
        let quality = version.view("quality").context("quality is always rendered")?;
        let summary = summary_of(&quality.index, version.epoch, started, cpu_before, BTreeMap::new())?;
        let lake = Place::of("--data-dir", &settings.lake.url);
        print_summary(&summary, Some(&lake), self.format, out)
    }
}

/// Where rejected records can be asked for: of the server while there is one, else of the lake.
fn place(settings: &Settings, address: Option<&str>) -> Option<Place> {
    let lake = || Some(&*settings.lake.url).filter(|url| !url.is_empty()).map(|url| Place::of("--data-dir", url));
    address.map(|address| Place::of("--addr", address)).or_else(lake)
}

fn lag(status: &EngineStatus) -> u64 {
    let lag = |partition: &PartitionStatus| partition.end_offset.unwrap_or(0).saturating_sub(partition.next_offset);
    status.partitions.iter().map(lag).sum()
}

/// What [`line`] says, for machines.
fn fields(status: &EngineStatus, accounting: Accounting) -> log::Fields {
    let Accounting { read, accepted, duplicates, quarantined, pending } = accounting;
    let engine = [
        ("epoch", status.epoch),
        ("in_flight", status.epochs_in_flight),
        ("lag", lag(status)),
        ("memory_bytes", status.memory_bytes),
    ];
    let accounts = [
        ("read", read),
        ("accepted", accepted),
        ("rejected", quarantined),
        ("pending", pending),
        ("duplicates", duplicates),
    ];
    let engine = engine.map(|(name, figure)| (name.to_owned(), figure.into()));
    engine.into_iter().chain(accounts.map(|(name, count)| (name.to_owned(), count.into()))).collect()
}

fn line(status: &EngineStatus, accounting: Accounting) -> String {
    let lag = lag(status);
    let held: Vec<String> = status.held.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let down = status.source_down.as_ref().map_or(String::new(), |reason| format!(", source down: {reason}"));
    let count = |count: i64| u64::try_from(count).unwrap_or(0);
    let read = count(accounting.read);
    let of = |what: &str, part: i64| match count(part) {
        0 => String::new(),
        part => format!(", {what} {}", of_read(part, read)),
    };
    let (accepted, duplicates) = (count(accounting.accepted), of("duplicates", accounting.duplicates));
    let (rejected, pending) = (of("rejected", accounting.quarantined), of("pending", accounting.pending));
    format!(
        "epoch {}, {} in flight, lag {lag}, {} MB, read {read}, accepted {accepted}{rejected}{pending}{duplicates}, {}{down}",
        status.epoch,
        status.epochs_in_flight,
        status.memory_bytes >> 20,
        held.join(", ")
    )
}
