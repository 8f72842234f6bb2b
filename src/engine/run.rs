//! The record of a run: what a later question needs besides the rows.

use crate::settings::Settings;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::path::Path;

const FILE: &str = "run.json";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// The settings that the rows were made with.
    pub settings: Settings,
    /// How far the sources are complete, UTC microseconds: the largest event time less the allowed lateness.
    pub watermark: Option<i64>,
    pub epoch: u64,
    /// View versions by name.
    pub views: Vec<(String, u32)>,
}

impl Run {
    /// # Errors
    /// Where the file cannot be written.
    pub fn write(&self, directory: &Path) -> anyhow::Result<()> {
        let path = directory.join(FILE);
        // What decides the answers, and nothing else: who may read is no part of that, and secrets do not belong into data.
        let Settings { store, decode, views, lake, .. } = self.settings.clone();
        let settings = Settings { store, decode, views, lake, ..Settings::default() };
        let text =
            serde_json::to_string_pretty(&Run { settings, ..self.clone() }).context("writing the record of the run")?;
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// # Errors
    /// Where there is none, or it cannot be read.
    pub fn read(directory: &Path) -> anyhow::Result<Run> {
        let path = directory.join(FILE);
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!("{} holds no answers: run `millrace replay PATH… --data-dir` on it first", directory.display())
        })?;
        serde_json::from_str(&text).with_context(|| format!("{} is not the record of a run", path.display()))
    }
}
