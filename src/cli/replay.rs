//! `millrace replay`: history through the dataflow, into a data directory.

use super::failure::TooMuchRejected;
use super::rejected::{self, Counts, Place, of_read};
use super::{SettingsArgs, progress};
use crate::commands::{ReplayRequest, ReplaySummary};
use crate::output::{Format, Layout, print, terminal};
use clap::{Args, ValueEnum};
use indicatif::{HumanBytes, HumanCount};
use millrace_dataflows::table::{Table, Value};
use std::io::Write;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  millrace replay events.jsonl --data-dir data
  millrace replay logs/2019-10/ logs/2019-11/ --data-dir data --workers 4
  millrace replay events.jsonl.gz --data-dir data --set store.time_zone=Europe/London
  millrace replay events.jsonl --data-dir data --format json --quiet
  millrace replay events.jsonl --data-dir data --fail-above 1

Then ask: millrace query sales --data-dir data --group-by day
Exit code 3 where more was rejected than --fail-above says; the results are written all the same.";

/// Replay files of events into a data directory
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReplayArgs {
    /// Files (JSON lines, also gzip or zstd; Parquet), logs, or folders of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Where the answers and the lake go
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Worker threads, instead of replay.workers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    workers: Option<u16>,
    #[command(flatten)]
    settings: SettingsArgs,
    /// End with code 3 where more than this share of the records was rejected, in percent; 100: never
    #[arg(long, value_name = "PERCENT", default_value_t = 50.0, value_parser = parse_percent)]
    fail_above: f64,
    /// How to print the summary; json is one object
    #[arg(long, value_enum, default_value_t)]
    format: SummaryFormat,
    /// No progress
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum SummaryFormat {
    #[default]
    Table,
    Json,
}

impl ReplayArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut loaded = self.settings.load()?;
        if let Some(workers) = self.workers {
            loaded.settings.replay.workers = usize::from(workers);
        }
        loaded.validate()?;
        let request = ReplayRequest {
            paths: self.paths.clone(),
            data_dir: self.data_dir.clone(),
            workers: loaded.settings.replay.workers,
        };
        let progress = progress::of_stderr("replay", self.quiet);
        let summary = crate::commands::replay(&loaded.settings, &request, &*progress);
        progress.finish();
        let replayed = summary?;
        let place = Place::of("--data-dir", &self.data_dir.to_string_lossy());
        print_summary(&replayed.summary, Some(&place), self.format, out)?;
        let failures: Vec<String> = replayed.failures.iter().map(ToString::to_string).collect();
        anyhow::ensure!(failures.is_empty(), "not everything could be read:\n  {}", failures.join("\n  "));
        Ok(self.check_rejected(&replayed.summary)?)
    }

    fn check_rejected(&self, summary: &ReplaySummary) -> Result<(), TooMuchRejected> {
        if summary.quarantined as f64 * 100.0 <= self.fail_above * summary.read as f64 {
            return Ok(());
        }
        Err(TooMuchRejected(format!(
            "rejected {}, which is more than --fail-above {}; the results are written",
            of_read(summary.quarantined, summary.read),
            self.fail_above
        )))
    }
}

fn parse_percent(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent)).ok_or("expected a number from 0 to 100")
}

impl Counts {
    fn of(summary: &ReplaySummary) -> Counts {
        Counts { read: summary.read, rejected: summary.quarantined, pending: summary.pending }
    }
}

/// `place` is where the rejected records can be asked for, if they can.
pub(super) fn print_summary(
    summary: &ReplaySummary,
    place: Option<&Place>,
    format: SummaryFormat,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    if format == SummaryFormat::Json {
        writeln!(out, "{}", serde_json::to_string(summary)?)?;
        return Ok(());
    }
    print(&rows(summary), Format::Table, Layout::of_stdout(), out)?;
    for warning in &summary.warnings {
        writeln!(out, "warning: {}", terminal::plain(warning, usize::MAX))?;
    }
    if summary.read == 0 {
        writeln!(out, "warning: no record was read")?;
    }
    rejected::write(Counts::of(summary), &summary.rejected, place, out)?;
    Ok(())
}

fn rows(summary: &ReplaySummary) -> Table {
    let count = |count: u64| HumanCount(count).to_string();
    let lines = [
        ("read", count(summary.read)),
        ("accepted", count(summary.accepted)),
        ("duplicates", count(summary.duplicates)),
        ("quarantined", count(summary.quarantined)),
        ("pending", count(summary.pending)),
        ("seconds", format!("{:.2}", summary.seconds)),
        ("CPU seconds", format!("{:.2}", summary.cpu_seconds)),
        ("events per second", count(summary.events_per_second as u64)),
        ("peak memory", HumanBytes(summary.peak_rss_bytes).to_string()),
        ("last epoch", count(summary.epoch)),
    ];
    let mut table = Table::new(["summary", ""]);
    table.rows = lines.map(|(name, text)| vec![Value::text(name), Value::text(text)]).to_vec();
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(format: SummaryFormat) -> String {
        let warnings = vec!["quantity_zero: 3".to_owned()];
        let summary =
            ReplaySummary { read: 1_234, accepted: 1_234, seconds: 0.5, warnings, ..ReplaySummary::default() };
        let mut out = Vec::new();
        print_summary(&summary, None, format, &mut out).expect("memory takes all");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn json_is_one_object_without_warnings() {
        let expected = "{\"read\":1234,\"accepted\":1234,\"duplicates\":0,\"quarantined\":0,\"pending\":0,\
            \"seconds\":0.5,\"cpu_seconds\":0.0,\"events_per_second\":0.0,\"peak_rss_bytes\":0,\"epoch\":0,\"rejected\":[]}\n";
        assert_eq!(printed(SummaryFormat::Json), expected);
    }

    #[test]
    fn people_see_warnings() {
        let text = printed(SummaryFormat::Table);
        assert!(text.contains("1,234") && text.ends_with("warning: quantity_zero: 3\n"), "{text}");
    }
}
