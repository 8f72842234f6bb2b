//! `millrace lake`: which files there are at a checkpoint, who holds them, and what S3 removes by itself.

mod changes;
mod export;
mod pins;

use super::{SettingsArgs, Usage};
use crate::checkpoint::{FileEntry, Kind, Manifest, ViewEntry, open_store};
use crate::numbers::Epoch;
use crate::output::{Format, Layout, print};
use changes::ChangesArgs;
use clap::{Args, Subcommand};
use export::ExportArgs;
use millrace_connectors::store::Store;
use millrace_dataflows::table::{Table, Value};
use pins::{PinArgs, PinsArgs, UnpinArgs};
use std::io::Write;

const EXAMPLES: &str = "\
Examples:
  millrace lake files --data-dir lake --kind events
  millrace lake files --data-dir lake --view funnel --format csv
  millrace lake files --data-dir s3://shop/lake --at 1795596449708 --format csv
  millrace lake files --data-dir lake --kind events --pin nightly --for 1h --format csv
  millrace lake export funnel --data-dir lake --to out
  millrace lake export sales --data-dir s3://shop/lake --at 1795596449708 --to sales.parquet
  millrace lake changes sales --data-dir lake --since 3:71:1796116789159 --format csv
  millrace lake unpin nightly --data-dir lake
  millrace lake lifecycle --data-dir s3://shop/lake --expire quarantine=90 --unfinished-days 3
  millrace lake lifecycle --data-dir s3://shop/lake

Credentials for S3 come from where the AWS SDK looks for them; lake.s3.* says how it is spoken to.";

/// List, pin and export what a checkpoint has; set what S3 removes by itself
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct LakeArgs {
    #[command(subcommand)]
    command: LakeCommand,
}

#[derive(Debug, Subcommand)]
enum LakeCommand {
    /// The exact set of files of a checkpoint
    Files(FilesArgs),
    /// What changed in a view since a checkpoint: files, or the snapshot to begin with anew
    Changes(ChangesArgs),
    /// Write the rows of a view at a checkpoint as one Parquet file
    Export(ExportArgs),
    /// The pins: who keeps the files of which checkpoint
    Pins(PinsArgs),
    /// Let the files of a pinned checkpoint go
    Unpin(UnpinArgs),
    /// Show S3's lifecycle rules, or set ours
    Lifecycle(LifecycleArgs),
}

#[derive(Debug, Args)]
struct FilesArgs {
    /// The lake: a folder or s3://bucket/prefix
    #[arg(long, value_name = "PLACE")]
    data_dir: String,
    /// The epoch of a checkpoint that is kept; the newest if not given
    #[arg(long, value_name = "EPOCH")]
    at: Option<u64>,
    /// Only files of this kind: events, dimensions, quarantine, pending, changes, views, state
    #[arg(long)]
    kind: Option<String>,
    /// Only the files whose rows, added up by key, are those of this view: its snapshot and the changes since
    #[arg(long, conflicts_with = "kind")]
    view: Option<String>,
    #[command(flatten)]
    pin: PinArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Debug, Args)]
struct LifecycleArgs {
    /// The lake: s3://bucket/prefix
    #[arg(long, value_name = "PLACE")]
    data_dir: String,
    /// Set: objects of a folder go after so many days: quarantine=90. Not of folders that manifests need
    #[arg(long, value_name = "FOLDER=DAYS")]
    expire: Vec<String>,
    /// Set: unfinished uploads go after so many days. With --expire 3, if there is no such rule yet
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..))]
    unfinished_days: Option<u16>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl LakeArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        match &self.command {
            LakeCommand::Files(args) => args.run(out),
            LakeCommand::Changes(args) => args.run(out),
            LakeCommand::Export(args) => args.run(out),
            LakeCommand::Pins(args) => args.run(out),
            LakeCommand::Unpin(args) => args.run(),
            LakeCommand::Lifecycle(args) => args.run(out),
        }
    }
}

const KINDS: [Kind; 7] =
    [Kind::Events, Kind::Dimensions, Kind::Quarantine, Kind::Pending, Kind::Changes, Kind::View, Kind::State];

impl FilesArgs {
    fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let kind = self.kind.as_deref().map(|name| KINDS.into_iter().find(|kind| kind.as_str() == name).ok_or(name));
        let kind = kind.transpose().map_err(|name| {
            Usage(format!("no kind of file is called {name:?}; there are {}", KINDS.map(Kind::as_str).join(", ")))
        })?;
        let settings = self.settings.load()?.settings;
        let store = open_store(&self.data_dir, &settings)?;
        let (manifest, files) = self.pin.checkpoint(&*store, self.at.map(Epoch))?;
        let own = manifest.own_files().filter(|file| Kind::of(&file.key).is_some());
        let mut files: Vec<_> = match &self.view {
            Some(name) => of_view(&manifest, name)?,
            None => files.iter().chain(own).collect(),
        };
        files.sort_by(|a, b| a.key.cmp(&b.key));
        files.dedup_by(|a, b| a.key == b.key);
        let mut table = Table::new(["kind", "path", "rows", "bytes", "epoch"]);
        for file in files {
            let Some(of) = Kind::of(&file.key).filter(|of| kind.is_none_or(|kind| kind == *of)) else { continue };
            let path = path_of(&*store, file);
            let count = |count: u64| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
            let (rows, bytes, epoch) = (count(file.rows), count(file.bytes), count(file.epoch.0));
            table.rows.push(vec![Value::text(of.as_str()), Value::text(path), rows, bytes, epoch]);
        }
        print(&table, self.format, Layout::of_stdout(), out)?;
        Ok(())
    }
}

/// Not the changes that the snapshot has in it, which stay in the lake for a while: added to it they would count twice.
fn of_view<'a>(manifest: &'a Manifest, name: &str) -> Result<Vec<&'a FileEntry>, Usage> {
    let view = view_of(manifest, name)?;
    Ok(view.snapshot.iter().chain(&view.changes).collect())
}

fn view_of<'a>(manifest: &'a Manifest, name: &str) -> Result<&'a ViewEntry, Usage> {
    manifest.views.iter().find(|view| view.name == name).ok_or_else(|| {
        let kept: Vec<&str> = manifest.views.iter().map(|view| &*view.name).collect();
        Usage(format!("the lake keeps no view {name:?}; it keeps {}", kept.join(", ")))
    })
}

/// As other programs find it.
fn path_of(store: &dyn Store, file: &FileEntry) -> String {
    match store.local_root() {
        Some(root) => root.join(&file.key).display().to_string(),
        None => format!("{}/{}", store.place(), file.key),
    }
}

impl LifecycleArgs {
    #[cfg(not(feature = "s3"))]
    fn run(&self, _out: &mut dyn Write) -> anyhow::Result<()> {
        anyhow::bail!("this program was built without S3 (feature s3)")
    }

    #[cfg(feature = "s3")]
    fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        use millrace_connectors::store::Expiry;
        // What an engine needs to start must not go by its age; this is for the record only.
        const MAY_EXPIRE: [&str; 1] = ["quarantine"];
        const UNFINISHED_DAYS: u32 = 3;
        let expiry = |text: &String| -> Result<Expiry, Usage> {
            let parsed = text.split_once('=').and_then(|(folder, days)| {
                let days = days.parse().ok().filter(|days| *days > 0)?;
                MAY_EXPIRE.contains(&folder).then(|| Expiry { prefix: format!("{folder}/"), days })
            });
            let known = MAY_EXPIRE.join(" or ");
            parsed.ok_or_else(|| Usage(format!("--expire {text}: give {known}, and days, as quarantine=90")))
        };
        let expiries = self.expire.iter().map(expiry).collect::<Result<Vec<_>, _>>()?;
        let settings = self.settings.load()?.settings;
        let store = crate::checkpoint::s3_of(&self.data_dir, &settings)?;
        let mut lifecycle = store.lifecycle()?;
        if !expiries.is_empty() || self.unfinished_days.is_some() {
            // What is not given stays as it is.
            if !expiries.is_empty() {
                lifecycle.expire = expiries;
            }
            let days = self.unfinished_days.map(u32::from).or(lifecycle.abort_uploads_days);
            lifecycle.abort_uploads_days = days.or(Some(UNFINISHED_DAYS));
            store.set_lifecycle(&lifecycle)?;
            lifecycle = store.lifecycle()?;
        }
        let mut table = Table::new(["rule", "days"]);
        let expire = lifecycle.expire.into_iter().map(|expiry| (expiry.prefix, expiry.days));
        let abort = lifecycle.abort_uploads_days.map(|days| ("unfinished uploads".to_owned(), days));
        for (rule, days) in expire.chain(abort) {
            table.rows.push(vec![Value::text(rule), Value::Int(days.into())]);
        }
        print(&table, self.format, Layout::of_stdout(), out)?;
        Ok(())
    }
}
