//! The rows that a lake holds, as a whole: what can be served without running anything.

use crate::checkpoint::{Manifest, open_store, read_newest, rows_of};
use crate::settings::Settings;
use anyhow::Context;
use millrace_connectors::store::Store;
use millrace_dataflows::context::{Partitions, Shared};
use millrace_dataflows::rows::State;
use millrace_dataflows::views::view;
use millrace_schema::Names;
use std::sync::Arc;

/// All views of a lake.
pub struct Kept {
    pub shared: Shared,
    /// How far the sources are complete, UTC microseconds.
    pub watermark: Option<i64>,
    pub epoch: u64,
    pub views: Vec<(&'static str, State)>,
}

/// # Errors
/// Where there are no answers, or they are of other versions of the views.
pub fn kept(place: &str, settings: &Settings) -> anyhow::Result<Kept> {
    let store = open_store(place, settings)?;
    let (manifest, _) = read_newest(&*store, &mut |_| {})?;
    has_results(&manifest, place)?;
    let shared = shared_of(&manifest)?;
    let mut views = Vec::new();
    for entry in &manifest.views {
        let (name, state) = view_of(&*store, &manifest, &entry.name, &shared)?;
        views.push((name, state));
    }
    Ok(Kept { shared, watermark: manifest.watermark, epoch: manifest.epoch.0, views })
}

/// Whether there is anything to answer from: who begins in an empty place claims it first.
///
/// # Errors
/// Where nothing is finished yet.
pub fn has_results(manifest: &Manifest, place: &str) -> anyhow::Result<()> {
    anyhow::ensure!(
        // `quality` is always kept.
        !manifest.views.is_empty(),
        "{place} has no results yet: a replay or an engine has begun there and has finished nothing so far. Wait for it, or if it has \
        ended, run it again"
    );
    Ok(())
}

/// What answers from a manifest's rows share.
///
/// # Errors
/// Where its settings are not ones that can be run.
pub fn shared_of(manifest: &Manifest) -> anyhow::Result<Shared> {
    let context = Arc::new(manifest.settings.validate()?.views);
    Ok(Shared::new(context, Arc::new(Names::default()), Arc::new(Partitions::default())))
}

/// The rows of one view at a manifest.
///
/// # Errors
/// Where it was not maintained, or its rows cannot be read.
pub fn view_of(
    store: &dyn Store,
    manifest: &Manifest,
    name: &str,
    shared: &Shared,
) -> anyhow::Result<(&'static str, State)> {
    let view = view(name, &shared.context).with_context(|| format!("there is no view {name}"))?;
    anyhow::ensure!(
        !manifest.views.is_empty(),
        "there are no answers yet: the first replay or run has not come to its end or to a checkpoint, or was ended before"
    );
    let entry =
        manifest.views.iter().find(|entry| entry.name == name).with_context(|| {
            format!("{name} was not maintained in this run: add it to views.enabled and replay again")
        })?;
    let rows = rows_of(store, entry, &*view, &shared.names)?;
    Ok((view.name(), rows.into_iter().collect()))
}
