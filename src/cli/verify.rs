//! `millrace verify`: the answers of a checkpoint against the naive ones from the lake's events.

use super::{SettingsArgs, now_ms, warn};
use crate::checkpoint::{Pinned, open_store};
use crate::commands::{Difference, Extent, Files, verify};
use crate::numbers::Epoch;
use crate::output::terminal;
use clap::Args;
use millrace_dataflows::table::Value;
use std::io::Write;
use std::num::NonZeroUsize;
use std::sync::Arc;

const EXAMPLES: &str = "\
Examples:
  millrace verify --data-dir lake
  millrace verify --data-dir s3://shop/lake --sample 20
  millrace verify --data-dir lake --at 1795596449708

A sample is of days and products because the views have rows by these, and none by session or order.
A day is compared with all events of the sessions that touch it.

Exit code 1 where an answer differs, with the rows that do, or a file is missing or damaged.";

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
    /// Compare only so many days (funnel, traffic) and so many products (sales, related products), evenly spread
    #[arg(long, value_name = "N")]
    sample: Option<NonZeroUsize>,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl VerifyArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let settings = self.settings.load()?.settings;
        let store = open_store(&self.data_dir, &settings)?;
        let pinned = Pinned::checkpoint(&store, self.at.map(Epoch), "verify", Arc::new(now_ms), &mut warn)?;
        let (manifest, files) = (&pinned.manifest, &pinned.files);
        let extent = self.sample.map_or(Extent::Whole, |count| Extent::Sample(count.get()));
        let checked = Files::check(&*store, manifest, files)?;
        for (fault, file) in &checked.faults {
            writeln!(out, "{fault}: {}", file.key)?;
        }
        if checked.expired > 0 {
            writeln!(
                out,
                "{} quarantine files are not there: the bucket may remove them by their age",
                checked.expired
            )?;
        }
        let faults = || {
            let count = checked.faults.len();
            anyhow::ensure!(
                count == 0,
                "{count} files of {} are missing or damaged: {}",
                store.place(),
                checked.advice(&store.place())
            );
            Ok(())
        };
        if checked.are_needed() {
            faults()?;
        }
        let verified = verify(&*store, manifest, files, extent)?;
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
        faults()
    }
}

fn print(difference: &Difference, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "{}:", terminal::plain(&difference.question, usize::MAX))?;
    let mut line = |sign: &str, cells: &[String]| {
        writeln!(out, "  {sign:10}  {}", terminal::plain(&cells.join(" | "), usize::MAX))
    };
    let mut columns: &[String] = &[];
    for (sign, table) in [("kept", &difference.kept), ("recomputed", &difference.recomputed)] {
        if table.columns != columns {
            columns = &table.columns;
            line("", columns)?;
        }
        for row in table.rows.iter().take(ROWS_MOST) {
            line(sign, &row.iter().map(Value::to_string).collect::<Vec<_>>())?;
        }
        if table.rows.len() > ROWS_MOST {
            line(sign, &[format!("and {} more", table.rows.len() - ROWS_MOST)])?;
        }
    }
    Ok(())
}
