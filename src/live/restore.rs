//! What a run begins with: the answers that are there already, and what of them has to be made anew.
//!
//! ```text
//! manifest ─▶ names, rows of views ─▶ publisher ─▶ board            (what is shown already is not loaded twice)
//! repair:    of quality its rows; the other views are made anew     (what is in their files is kept for the changes)
//! rebuild:   of quality what the quarantine's files count
//! ```

use super::publish::by_source;
use super::run::Plan;
use super::start::Restored;
use crate::checkpoint::{self, Lake, Manifest, Mode, Redefinition, RestoredRows, load_names, load_views};
use crate::numbers::{Epoch, Offset};
use crate::serve::{Board, Published, Publisher};
use crate::settings::Settings;
use anyhow::Context;
use millrace_connectors::source::{PartitionInfo, Remembered, Resume};
use millrace_connectors::store::Store;
use millrace_dataflows::context::{Partitions, Shared};
use millrace_dataflows::settings::ViewContext;
use millrace_dataflows::views::{View, maintained};
use millrace_schema::Names;
use std::sync::Arc;

/// What a run begins with.
pub struct Begun {
    /// The checkpoint that it goes on from, where it does.
    pub before: Option<Manifest>,
    pub shared: Shared,
    pub publisher: Publisher,
    pub board: Arc<Board>,
    /// What is in the lake's files of views.
    pub kept: Arc<Published>,
    pub lost: Lost,
}

/// What of a lake could not be read, and is written anew by a repair.
#[derive(Debug, Default)]
pub struct Lost {
    pub names: bool,
    pub views: Vec<&'static str>,
}

impl Begun {
    /// Takes up what the lake of a plan holds.
    ///
    /// # Errors
    /// Where it cannot be read, or was decided by other settings.
    pub fn of(settings: &Settings, plan: &mut Plan) -> anyhow::Result<Begun> {
        let before =
            plan.lake.as_ref().filter(|(lake, mode)| *mode == Mode::Continue && lake.manifest.epoch > Epoch::NONE);
        let before: Option<Manifest> = before.map(|(lake, _)| lake.manifest.clone());
        let is_shown = |restored: &Restored| before.as_ref().is_some_and(|manifest| restored.is_of(manifest));
        let restored = plan.restored.take().filter(is_shown);
        let is_restored = restored.is_some();
        let (shared, mut publisher) = match restored {
            Some(Restored { shared, publisher, .. }) => (shared, publisher),
            None => {
                let context = Arc::new(plan.validated.views.clone());
                let shared = Shared::new(context, Arc::new(Names::default()), Arc::new(Partitions::default()))
                    .keeping_users(shows_users(settings));
                let publisher = new_publisher(settings, plan, &shared);
                (shared, publisher)
            }
        };
        if let Some(board) = plan.board.take() {
            publisher = publisher.onto(board);
        }
        let mut lost = Lost::default();
        if let (Some(manifest), Some((lake, _)), false) = (&before, &plan.lake, is_restored) {
            let redefined: Vec<String> = plan.redefine.as_ref().map(|one| one.views.clone()).unwrap_or_default();
            check_settings(manifest, settings, &lake.store.place(), &redefined)?;
            lost = load(lake, manifest, plan.repair, &redefined, &mut publisher, &shared.names)?;
        }
        let kept = publisher.board().current();
        if let (Some(manifest), Some((lake, _)), true) = (&before, &plan.lake, plan.repair) {
            // Of quality, what is kept is the only record; the other views are made anew.
            publisher = new_publisher(settings, plan, &shared);
            let quality = load_quality(&*lake.store, manifest, &publisher.board(), &shared.names)?;
            show(&mut publisher, manifest, quality);
        }
        if let (Some(found), Some((lake, _))) = (&mut plan.rebuild, &plan.lake) {
            // Of rejected records their rows are all there is.
            let rejected = found.count_rejected(&*lake.store, &shared)?;
            let position = position_of_quality(&publisher.board())?;
            publisher.restore(0, 0, None, Arc::default(), [(position, rejected)]);
        }
        let board = publisher.board();
        // All that is restored carries these, and no others.
        let shared = shared.knowing_names();
        Ok(Begun { before, shared, publisher, board, kept, lost })
    }

    /// The rows that the state is built of, where it goes on from a checkpoint: those of the state, or for a repair the lake's own events.
    pub fn rows(&self, plan: &Plan) -> Option<RestoredRows> {
        let (manifest, (lake, _)) = (self.before.as_ref()?, plan.lake.as_ref()?);
        let store = lake.store.clone();
        let building = plan.redefine.as_ref().map(|redefine| redefine.building.clone());
        Some(match plan.repair || building.is_some() {
            true => {
                let decode = plan.validated.decode.clone();
                RestoredRows::of_lake(store, manifest, &lake.files, decode).telling(building)
            }
            false => RestoredRows::new(store, manifest),
        })
    }

    /// Where reading goes on.
    pub fn resume(&self) -> Resume {
        self.before.as_ref().map(resume_of).unwrap_or_default()
    }
}

/// Nobody asks a replay before its end.
fn new_publisher(settings: &Settings, plan: &Plan, shared: &Shared) -> Publisher {
    match plan.rules.only_the_end_counts {
        true => Publisher::plain(shared, &rendered(settings)),
        false => Publisher::new(shared, &rendered(settings), settings.serve.keep_epochs()),
    }
}

/// Publishes the rows of a lake's views. A repair goes on without what cannot be read.
fn load(
    lake: &Lake,
    manifest: &Manifest,
    repair: bool,
    redefined: &[String],
    publisher: &mut Publisher,
    names: &Names,
) -> anyhow::Result<Lost> {
    let mut lost = Lost::default();
    match load_names(&*lake.store, manifest, names) {
        Err(error) if repair => {
            crate::log::warning(format_args!("names are written anew: {error:#}"));
            lost.names = true;
        }
        loaded => loaded?,
    }
    let views: Vec<Arc<dyn View>> = publisher.version().views.iter().map(|rows| rows.view.clone()).collect();
    let mut loaded = Vec::new();
    for (position, view) in views.iter().enumerate() {
        if redefined.iter().any(|name| name == view.name()) {
            lost.views.push(view.name());
            continue;
        }
        match load_views(&*lake.store, manifest, std::slice::from_ref(view), names) {
            Err(error) if repair => {
                crate::log::warning(format_args!("the view {} is made anew: {error:#}", view.name()));
                lost.views.push(view.name());
            }
            rows => loaded.extend(rows?.into_iter().map(|(_, rows)| (position, rows))),
        }
    }
    show(publisher, manifest, loaded);
    Ok(lost)
}

/// The rows of quality alone.
fn load_quality(
    store: &dyn Store,
    manifest: &Manifest,
    board: &Board,
    names: &Names,
) -> anyhow::Result<Vec<(usize, checkpoint::ViewRowsByKey)>> {
    let current = board.current();
    let position = position_of_quality(board)?;
    let entry = manifest.views.iter().find(|entry| entry.name == "quality").context("quality is always kept")?;
    Ok(vec![(position, checkpoint::rows_of(store, entry, &*current.views[position].view, names)?)])
}

fn position_of_quality(board: &Board) -> anyhow::Result<usize> {
    let position = board.current().views.iter().position(|rows| rows.view.name() == "quality");
    position.context("quality is always rendered")
}

/// The views that are kept: those that are enabled, and those that always are.
pub(super) fn rendered(settings: &Settings) -> Vec<&'static str> {
    let context = ViewContext::default();
    maintained(&settings.views.enabled, &context).map(|view| view.name()).collect()
}

/// Whether some view shows the texts of users.
pub(super) fn shows_users(settings: &Settings) -> bool {
    let context = ViewContext::default();
    maintained(&settings.views.enabled, &context).any(|view| view.definition().uses.orders)
}

/// Checks that a lake can be gone on with under these settings: the definitions of its views are theirs, but for those that are
/// `redefined`.
///
/// # Errors
/// Where they are not; it names the settings.
pub fn check_settings(
    manifest: &Manifest,
    settings: &Settings,
    place: &str,
    redefined: &[String],
) -> anyhow::Result<()> {
    if manifest.epoch == Epoch::NONE {
        return Ok(());
    }
    check_complete(manifest, place)?;
    let redefinition = Redefinition::of(manifest, settings)?;
    let others: Vec<&str> =
        redefinition.made_anew().into_iter().filter(|name| !redefined.iter().any(|known| known == name)).collect();
    anyhow::ensure!(
        others.is_empty(),
        "{place} has views of another definition: {}; `millrace run` makes them anew from the lake's events, and `millrace views plan` \
         says what that takes. To keep them, set the settings back",
        redefinition.reasons()
    );
    Ok(())
}

/// # Errors
/// Where the state is not there that a run goes on with.
pub fn check_complete(manifest: &Manifest, place: &str) -> anyhow::Result<()> {
    anyhow::ensure!(
        manifest.state.complete,
        "{place} holds the answers of a replay and not its state, so they cannot be gone on with: replay again with --set replay.state=true, or set lake.url to another place"
    );
    Ok(())
}

pub(super) fn resume_of(manifest: &Manifest) -> Resume {
    let mut resume = Resume::default();
    for entry in &manifest.sources.partitions {
        let (source, path) = (entry.source.clone(), entry.path.clone().into());
        resume.partitions.push(PartitionInfo { source, partition: entry.partition, path });
        resume.positions.push(entry.next_offset.0);
        resume.kept.push(Remembered { mark: entry.mark.clone(), lost: entry.lost });
    }
    resume
}

/// Publishes what a manifest holds: these rows, by the position of their view.
pub(super) fn show(
    publisher: &mut Publisher,
    manifest: &Manifest,
    rows: impl IntoIterator<Item = (usize, checkpoint::ViewRowsByKey)>,
) {
    let partitions = resume_of(manifest).partitions;
    let positions: Vec<Offset> = manifest.sources.partitions.iter().map(|entry| entry.next_offset).collect();
    let positions = by_source(&positions, &partitions);
    publisher.restore(manifest.epoch.0, manifest.epoch_at_ms(), manifest.watermark, positions, rows);
}
