//! `millrace inspect`: what a lake holds.

use super::{SettingsArgs, warn};
use crate::checkpoint::{FileEntry, Kind, Manifest, files_of, is_claim, kept_manifests, open_store};
use crate::output::{Format, Layout, print};
use clap::{Args, ValueEnum};
use millrace_connectors::source::log::partition_end;
use millrace_dataflows::table::{Table, Value};
use millrace_schema::calendar::{parse_rfc3339, rfc3339_micros};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

const EXAMPLES: &str = "\
Examples:
  millrace inspect --data-dir lake
  millrace inspect --data-dir s3://shop/lake --format json";

/// Show the checkpoints, their age, state, files, positions and lag of a lake
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InspectArgs {
    /// The lake: a folder or s3://bucket/prefix
    #[arg(long, value_name = "PLACE")]
    data_dir: String,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: InspectFormat,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum InspectFormat {
    /// For people; fits the terminal
    #[default]
    Table,
    /// One object
    Json,
}

fn int(count: u64) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Files, rows, bytes.
type Sum = (u64, u64, u64);

fn sum<'a>(files: impl IntoIterator<Item = &'a FileEntry>) -> Sum {
    files.into_iter().fold((0, 0, 0), |(count, rows, bytes), file| (count + 1, rows + file.rows, bytes + file.bytes))
}

impl InspectArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let settings = self.settings.load()?.settings;
        let store = open_store(&self.data_dir, &settings)?;
        let kept = kept_manifests(&*store, &mut warn)?;
        let Some(newest) = kept.last() else { anyhow::bail!("{} has no checkpoint that is whole", store.place()) };
        let files = files_of(&*store, newest)?;
        let sections = [
            ("checkpoints", checkpoints(&kept)),
            ("age", age(newest, super::now_ms())),
            ("state", state(newest)),
            ("views", views(newest)),
            ("files", of_kinds(newest, &files)),
            ("sources", sources(newest)),
        ];
        match self.format {
            InspectFormat::Table => {
                for (_, table) in &sections {
                    print(table, Format::Table, Layout::of_stdout(), out)?;
                }
                let accounted = newest.accounted;
                writeln!(
                    out,
                    "read {} = accepted {} + duplicates {} + quarantined {} + pending {}",
                    accounted.read, accounted.accepted, accounted.duplicates, accounted.quarantined, accounted.pending
                )?;
            }
            InspectFormat::Json => {
                let mut object = serde_json::Map::new();
                for (name, table) in &sections {
                    let mut rows = Vec::new();
                    print(table, Format::Json, Layout::of_stdout(), &mut rows)?;
                    object.insert((*name).to_owned(), serde_json::from_slice(&rows)?);
                }
                object.insert("accounted".to_owned(), serde_json::to_value(newest.accounted)?);
                object.insert("watermark".to_owned(), json!(newest.watermark));
                serde_json::to_writer_pretty(&mut *out, &Json::Object(object)).map_err(std::io::Error::from)?;
                writeln!(out)?;
            }
        }
        Ok(())
    }
}

/// Claims are not shown.
fn checkpoints(kept: &[Manifest]) -> Table {
    let mut table = Table::new(["checkpoint", "generation", "epoch", "written_at", "state_rows", "complete"]);
    let before = std::iter::once(None).chain(kept.iter().map(Some));
    for (manifest, _) in kept.iter().zip(before).filter(|(manifest, before)| !is_claim(manifest, *before)) {
        let (_, rows, _) = sum(manifest.state.base.iter().chain(&manifest.state.deltas));
        table.rows.push(vec![
            int(manifest.number),
            int(manifest.generation.0),
            int(manifest.epoch.0),
            Value::text(&manifest.written_at),
            int(rows),
            Value::text(if manifest.state.complete { "yes" } else { "no" }),
        ]);
    }
    table
}

/// How old the newest checkpoint is, and how far the sources were complete when it was written.
fn age(newest: &Manifest, now_ms: u64) -> Table {
    let mut table = Table::new(["epoch", "age_ms", "watermark", "watermark_behind_ms"]);
    let written_ms = parse_rfc3339(&newest.written_at).map(|micros| micros / 1_000);
    let age_ms = written_ms.zip(i64::try_from(now_ms).ok()).map(|(written, now)| now - written);
    let behind_ms = written_ms.zip(newest.watermark).map(|(written, watermark)| written - watermark / 1_000);
    let watermark = newest.watermark.map_or(Value::Null, |micros| Value::text(rfc3339_micros(micros)));
    let count = |count: Option<i64>| count.map_or(Value::Null, Value::Int);
    table.rows.push(vec![int(newest.epoch.0), count(age_ms), watermark, count(behind_ms)]);
    table
}

fn counted(names: [&str; 4], rows: impl IntoIterator<Item = (String, Sum)>) -> Table {
    let mut table = Table::new(names);
    for (name, (count, rows, bytes)) in rows {
        table.rows.push(vec![Value::text(name), int(count), int(rows), int(bytes)]);
    }
    table
}

fn state(newest: &Manifest) -> Table {
    let state = &newest.state;
    let rows = [
        ("names", sum(&state.names)),
        ("base", sum(&state.base)),
        ("sums of what is forgotten", sum(&state.sums)),
        ("accepted events since", sum(&state.deltas)),
    ];
    counted(["collection", "files", "rows", "bytes"], rows.map(|(name, sum)| (name.to_owned(), sum)))
}

fn views(newest: &Manifest) -> Table {
    let mut table = Table::new(["view", "version", "rows", "snapshot_epoch", "changes_since"]);
    for view in &newest.views {
        let snapshot = view.snapshot.as_ref().map_or(Value::Null, |file| int(file.epoch.0));
        let (_, changes, _) = sum(&view.changes);
        let version = Value::Int(view.version.into());
        table.rows.push(vec![Value::text(&view.name), version, int(view.rows), snapshot, int(changes)]);
    }
    table
}

fn of_kinds(newest: &Manifest, files: &[FileEntry]) -> Table {
    let mut kinds: BTreeMap<Kind, Vec<&FileEntry>> = BTreeMap::new();
    let snapshots = newest.views.iter().filter_map(|view| view.snapshot.as_ref());
    for file in files.iter().chain(snapshots).chain(newest.state.files()) {
        if let Some(kind) = Kind::of(&file.key) {
            kinds.entry(kind).or_default().push(file);
        }
    }
    let rows = kinds.into_iter().map(|(kind, files)| (kind.as_str().to_owned(), sum(files)));
    counted(["kind", "files", "rows", "bytes"], rows)
}

/// Where reading goes on, and how far that is from the end of a log that can be seen from here.
fn sources(newest: &Manifest) -> Table {
    let mut table = Table::new(["source", "partition", "next_offset", "end_offset", "lag"]);
    for partition in &newest.sources.partitions {
        let number = Value::Int(partition.partition.into());
        let end = partition_end(Path::new(&partition.path));
        let lag = end.map(|end| end.saturating_sub(partition.next_offset.0));
        let [end, lag] = [end, lag].map(|offset| offset.map_or(Value::Null, int));
        table.rows.push(vec![Value::text(&partition.source), number, int(partition.next_offset.0), end, lag]);
    }
    table
}
