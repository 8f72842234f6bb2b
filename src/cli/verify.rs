//! `millrace verify`: the answers of a checkpoint against the naive ones from the lake's events.

use super::SettingsArgs;
use crate::checkpoint::{checkpoint_at, open_store};
use crate::engine::{Difference, Extent, verify};
use clap::Args;
use millrace_dataflows::table::Value;
use std::io::Write;

const EXAMPLES: &str = "\
Examples:
  millrace verify --data-dir lake
  millrace verify --data-dir s3://shop/lake --sample 20
  millrace verify --data-dir lake --at 1795596449708

Exit code 1 where an answer differs; the rows that do are printed.";

/// Rows that are printed of a difference.
const ROWS_MOST: usize = 20;

/// Recompute the views from the lake's events, naively, and compare
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct VerifyArgs {
    /// The lake: a folder or s3://bucket/prefix
    #[arg(long, value_name = "PLACE")]
    data_dir: String,
    /// The epoch of a checkpoint that is kept; the newest if not given
    #[arg(long, value_name = "EPOCH")]
    at: Option<u64>,
    /// Compare so many days and products instead of all
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl VerifyArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let settings = self.settings.load()?.settings;
        let store = open_store(&self.data_dir, &settings)?;
        let (manifest, files) = checkpoint_at(&*store, self.at, &mut |warning| eprintln!("warning: {warning}"))?;
        let extent = self.sample.map_or(Extent::Whole, Extent::Sample);
        let verified = verify(&*store, &manifest, &files, extent)?;
        for difference in &verified.differences {
            print(difference, out)?;
        }
        writeln!(
            out,
            "epoch {}: {} events, {} questions, {} rows compared, {} answers differ",
            manifest.epoch,
            verified.events,
            verified.questions,
            verified.rows,
            verified.differences.len()
        )?;
        anyhow::ensure!(verified.differences.is_empty(), "the views of {} are not what its events say", store.place());
        Ok(())
    }
}

fn print(difference: &Difference, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "{}:", difference.question)?;
    for (sign, rows) in [("kept      ", &difference.kept), ("recomputed", &difference.recomputed)] {
        for row in rows.iter().take(ROWS_MOST) {
            let cells: Vec<String> = row.iter().map(Value::to_string).collect();
            writeln!(out, "  {sign}  {}", super::terminal::plain(&cells.join(" | "), usize::MAX))?;
        }
        if rows.len() > ROWS_MOST {
            writeln!(out, "  {sign}  and {} more", rows.len() - ROWS_MOST)?;
        }
    }
    Ok(())
}
