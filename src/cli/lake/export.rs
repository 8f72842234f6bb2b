//! `millrace lake export`.

use super::super::{SettingsArgs, Usage, now_ms, views, warn};
use crate::ingest::QUARANTINE;
use crate::settings::nearest;
use clap::Args;
use std::io::Write;
use std::sync::Arc;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The view
    view: String,
    /// The lake: a folder or s3://bucket/prefix
    #[arg(long, value_name = "PLACE")]
    data_dir: String,
    /// The epoch of a checkpoint that is kept, or latest
    #[arg(long, value_name = "EPOCH", default_value = "latest")]
    at: String,
    /// A file whose name ends in .parquet, or a folder or s3://bucket/prefix, where it is VIEW.parquet
    #[arg(long, value_name = "PATH")]
    to: String,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl ExportArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let known: Vec<&str> = views::queryable().into_iter().filter(|name| *name != QUARANTINE).collect();
        if !known.contains(&self.view.as_str()) {
            let (nearest, known) = (nearest(&self.view, &known), known.join(", "));
            let unknown = format!("no view {:?}; did you mean {nearest}? The views are {known}", self.view);
            return Err(Usage(unknown).into());
        }
        let epoch = match self.at.as_str() {
            "latest" => None,
            at => Some(at.parse().map_err(|_| Usage(format!("--at {at}: the epoch of a checkpoint, or latest")))?),
        };
        let settings = self.settings.load()?.settings;
        let (view, now) = ((self.view.as_str(), epoch), Arc::new(now_ms));
        let done = crate::commands::export(&self.data_dir, &settings, view, &self.to, now, &mut warn)?;
        writeln!(
            out,
            "{}: {} rows of {} at epoch {}, {} bytes",
            done.path, done.rows, self.view, done.epoch, done.bytes
        )?;
        Ok(())
    }
}
