//! `millrace repair`: merges the records that were too old to be merged when they came.

use super::SettingsArgs;
use crate::commands::repair;
use clap::Args;
use std::io::Write;

const EXAMPLES: &str = "\
Examples:
  millrace repair --data-dir lake --config millrace.toml
  millrace repair --data-dir s3://shop/lake --workers 4
  millrace repair --data-dir lake --all

Stop the engine first; `millrace run` goes on from the result. A running engine merges what is pending by itself: lake.repair_every_ms.
With --all also a lake is made anew whose views, state or manifests are damaged or lost: it takes its event files, all of them.";

/// Make all views of a lake anew, with what is pending
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RepairArgs {
    /// The lake: a folder or s3://bucket/prefix
    #[arg(long, value_name = "PLACE")]
    data_dir: String,
    /// Worker threads, instead of live.workers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    workers: Option<u16>,
    /// Even if nothing is pending: all but event files is made anew, and sessions are counted whole, whatever pauses there were
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl RepairArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let loaded = self.settings.load()?;
        let workers = self.workers.map_or(loaded.settings.live.workers, usize::from);
        let never = || false;
        let repaired = repair(&self.data_dir, &loaded.settings, workers, self.all, &never)?.unwrap_or_default();
        if let Some(records) = repaired.rebuilt {
            writeln!(
                out,
                "epoch {}: made anew from {records} accepted records, and nothing is pending",
                repaired.epoch
            )?;
            return Ok(());
        }
        writeln!(
            out,
            "epoch {}: {} records were pending, {} of them are accepted now, and nothing is pending",
            repaired.epoch, repaired.records, repaired.accepted
        )?;
        Ok(())
    }
}
