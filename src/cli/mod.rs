//! The command line: what is asked, who answers, how it ends.
//!
//! Answers and summaries go to stdout, progress and errors to stderr. The exit code tells what to do:
//!
//! | code | meaning | then |
//! |---|---|---|
//! | 0 | fine; also where the reader of a pipe went away | |
//! | 1 | something outside failed: a file, a disk, the data | mend it, run again |
//! | 2 | the command line or the settings are wrong | change what the message names |
//! | 3 | more was rejected than `--fail-above` allows | look at `millrace query quarantine`, mend the data or the settings, run again |
//! | 4 | memory does not suffice for what is kept | give more, or keep less |

mod cluster;
mod config;
mod demo;
mod engine;
mod failure;
mod generate;
mod inspect;
mod lake;
mod place;
mod progress;
mod query;
mod question;
mod rejected;
mod rejecting;
mod repair;
mod replay;
mod run;
mod serve;
mod serving;
mod signal;
mod status;
mod verify;
mod views;
mod watch;

pub use failure::Usage;

use crate::clock::{Clock, SystemClock};
use crate::log;
use crate::settings::{Loaded, SettingsError, Sources, exposed};
use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  millrace generate --events 1000000 --seed 7 --to events.jsonl
  millrace replay events.jsonl --data-dir data
  millrace query sales --data-dir data --group-by day --order-by day
  millrace config

Exit codes: 0 fine, 1 failure (files, data), 2 usage or settings, 3 too much was rejected, 4 out of memory.
`millrace COMMAND --help` has examples of each command.";

/// Live, exact shop analytics in one dataflow.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Replay(replay::ReplayArgs),
    Run(run::RunArgs),
    Cluster(cluster::ClusterArgs),
    Serve(serve::ServeArgs),
    #[command(hide = true)]
    Engine(engine::EngineArgs),
    Demo(Box<demo::DemoArgs>),
    Query(query::QueryArgs),
    Generate(Box<generate::GenerateArgs>),
    Config(config::ConfigArgs),
    Views(views::ViewsArgs),
    Watch(watch::WatchArgs),
    Status(status::StatusArgs),
    Lake(lake::LakeArgs),
    Inspect(inspect::InspectArgs),
    Verify(verify::VerifyArgs),
    Repair(repair::RepairArgs),
}

/// Where settings come from, for the commands that use them.
#[derive(Debug, Args)]
struct SettingsArgs {
    /// Settings file (TOML); otherwise millrace.toml in the working directory, if it is there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, stronger than the file and the environment: --set views.funnel.window=2h
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl SettingsArgs {
    /// As another process of this program takes them.
    fn to_arguments(&self) -> Vec<OsString> {
        let config = self.config.iter().flat_map(|path| ["--config".into(), path.clone().into_os_string()]);
        config.chain(self.set.iter().flat_map(|set| ["--set".into(), set.into()])).collect()
    }

    fn load_quietly(&self) -> Result<Loaded, SettingsError> {
        let loaded = Sources::of_process(self.config.clone(), self.set.clone()).load()?;
        log::set_format(loaded.settings.log.format);
        Ok(loaded)
    }

    fn load(&self) -> Result<Loaded, SettingsError> {
        let loaded = self.load_quietly()?;
        for warning in exposed(&loaded) {
            warn(warning);
        }
        Ok(loaded)
    }
}

/// How a command that goes on says how it goes: warnings as such, all else only where it is not `quiet`. `who` begins each line.
fn teller(who: &str, quiet: bool) -> impl Fn(String) + use<> {
    let who = who.to_owned();
    move |text: String| match text.strip_prefix("warning: ") {
        Some(warning) => log::warning(format_args!("{who}{warning}")),
        None if quiet => {}
        None => log::info(format_args!("{who}{text}")),
    }
}

/// What `run`, `cluster` and the engines that they start have in common.
#[derive(Debug, Args)]
struct Going {
    /// End once everything there is has been read
    #[arg(long)]
    until_end: bool,
    /// End with an error where views of the lake have to be made anew, for their settings or versions are others
    #[arg(long)]
    refuse_rebuild: bool,
    /// No lines about how it goes but warnings
    #[arg(long, short)]
    quiet: bool,
}

impl Going {
    /// As another process of this program takes them.
    fn to_arguments(&self) -> impl Iterator<Item = OsString> + use<> {
        let flags =
            [("--until-end", self.until_end), ("--refuse-rebuild", self.refuse_rebuild), ("--quiet", self.quiet)];
        flags.into_iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag.into())
    }
}

fn warn(warning: String) {
    log::note(format!("warning: {warning}"));
}

impl Command {
    fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        match self {
            Command::Replay(args) => args.run(out),
            Command::Run(args) => args.run(out),
            Command::Cluster(args) => args.run(out),
            Command::Serve(args) => args.run(out),
            Command::Engine(args) => args.run(),
            Command::Demo(args) => args.run(out),
            Command::Query(args) => args.run(out),
            Command::Generate(args) => args.run(out),
            Command::Config(args) => args.run(out),
            Command::Views(args) => args.run(out),
            Command::Watch(args) => args.run(out),
            Command::Status(args) => args.run(out),
            Command::Lake(args) => args.run(out),
            Command::Inspect(args) => args.run(out),
            Command::Verify(args) => args.run(out),
            Command::Repair(args) => args.run(out),
        }
    }
}

/// To say how old an epoch is.
fn now_ms() -> u64 {
    SystemClock.now_ms()
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            // Also the way of --help and --version. If it cannot be printed, nobody is there to be told.
            let _ = answer.print();
            return ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(failure::USAGE));
        }
    };
    let mut out = BufWriter::new(std::io::stdout());
    let result = cli.command.run(&mut out);
    // What was printed before a failure is part of the answer.
    let flushed = out.flush().context("cannot write to stdout");
    let code = failure::report(result.and(flushed), &mut std::io::stderr());
    // What a broken pipe left in the buffer must not be written again on drop.
    drop(out.into_parts());
    ExitCode::from(code)
}

#[cfg(test)]
mod tests;
