//! The rows that a run has left, as a whole: what can be served without running anything.

use super::results;
use super::run::Run;
use anyhow::Context;
use millrace_dataflows::context::{Partitions, Shared};
use millrace_dataflows::rows::State;
use millrace_dataflows::views::view;
use millrace_schema::Names;
use std::path::Path;
use std::sync::Arc;

/// All views of a data directory.
pub struct Kept {
    pub shared: Shared,
    /// How far the sources are complete, UTC microseconds.
    pub watermark: Option<i64>,
    pub epoch: u64,
    pub views: Vec<(&'static str, State)>,
}

/// # Errors
/// Where there are no answers, or they are of other versions of the views.
pub fn kept(data_dir: &Path) -> anyhow::Result<Kept> {
    let run = Run::read(data_dir)?;
    let context = Arc::new(run.settings.validate()?.views);
    let names = Arc::new(Names::default());
    let shared = Shared::new(context, names.clone(), Arc::new(Partitions::default()));
    let mut views = Vec::new();
    for (name, version) in &run.views {
        let view = view(name, &shared.context).with_context(|| format!("there is no view {name}"))?;
        let current = view.version();
        anyhow::ensure!(
            *version == current,
            "the rows of {name} are of version {version}, not {current}: replay again"
        );
        views.push((view.name(), results::read(&data_dir.join("views"), &*view, &names)?));
    }
    Ok(Kept { shared, watermark: run.watermark, epoch: run.epoch, views })
}
