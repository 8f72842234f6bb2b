//! `millrace lake changes`: what leads a reader of a view from the checkpoint that it has to a later one.

use super::super::{SettingsArgs, Usage};
use super::pins::PinArgs;
use super::{path_of, view_of};
use crate::checkpoint::{Cursor, FileEntry, Since, open_store, since};
use crate::log;
use crate::numbers::{Epoch, Generation};
use crate::output::{Format, Layout, print};
use clap::Args;
use millrace_dataflows::table::{Table, Value};
use std::io::Write;

#[derive(Debug, Args)]
pub(super) struct ChangesArgs {
    /// The view
    view: String,
    /// The lake: a folder or s3://bucket/prefix
    #[arg(long, value_name = "PLACE")]
    data_dir: String,
    /// The cursor of the last row that this printed for the checkpoint that the reader has; none: it has nothing
    #[arg(long, value_name = "CURSOR")]
    since: Option<String>,
    /// The epoch of a checkpoint that is kept; the newest if not given
    #[arg(long, value_name = "EPOCH")]
    at: Option<u64>,
    #[command(flatten)]
    pin: PinArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl ChangesArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let from = self.since.as_deref().map(cursor_of).transpose()?;
        let settings = self.settings.load()?.settings;
        let store = open_store(&self.data_dir, &settings)?;
        let (manifest, files) = self.pin.checkpoint(&*store, self.at.map(Epoch))?;
        let view = view_of(&manifest, &self.view)?;
        let mut table = Table::new(["what", "path", "rows", "bytes", "epoch"]);
        let count = |count: u64| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
        let mut row = |what: &str, file: &FileEntry| {
            let path = Value::text(path_of(&*store, file));
            table.rows.push(vec![Value::text(what), path, count(file.rows), count(file.bytes), count(file.epoch.0)]);
        };
        match since(view, from, &manifest, &files) {
            Since::Changes(changes) => changes.into_iter().for_each(|file| row("changes", file)),
            Since::BeginAnew { snapshot, changes } => {
                if from.is_some() {
                    log::note("no changes lead from there to here: forget all rows, and begin with the snapshot");
                }
                snapshot.into_iter().for_each(|file| row("snapshot", file));
                changes.into_iter().for_each(|file| row("changes", file));
            }
        }
        let Cursor { generation, manifest, epoch } = Cursor::of(&manifest);
        let cursor = Value::text(format!("{generation}:{manifest}:{epoch}"));
        table.rows.push(vec![Value::text("cursor"), cursor, Value::Null, Value::Null, count(epoch.0)]);
        print(&table, self.format, Layout::of_stdout(), out)?;
        Ok(())
    }
}

/// `3:71:1796116789159`, as it is printed.
fn cursor_of(text: &str) -> Result<Cursor, Usage> {
    let parts: Option<Vec<u64>> = text.split(':').map(|part| part.parse().ok()).collect();
    match parts.as_deref() {
        Some(&[generation, manifest, epoch]) => {
            Ok(Cursor { generation: Generation(generation), manifest, epoch: Epoch(epoch) })
        }
        _ => Err(Usage(format!("--since {text}: a cursor as this command prints it, such as 3:71:1796116789159"))),
    }
}
