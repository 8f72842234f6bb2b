//! What serves apart from what computes: versions that are made from a lake, and from what an engine elsewhere shows.
//!
//! ```text
//! newest manifest ─▶ views loaded ─▶ shown, marked as restored
//! engine ─▶ Begin (a manifest) ─▶ views loaded, not shown ─▶ Add, Version, Show ─▶ shown, where it is later than what is shown
//! ```
//! Nobody who looks at the board ever sees an earlier epoch after a later one: an engine that begins again from a checkpoint is behind what
//! was shown before it was lost, and is only seen once it has passed that.

use super::cluster::Shown;
use super::restore::{check_complete, rendered, show, shows_users};
use crate::checkpoint::{self, Manifest, load_names, load_views, open_store, read_manifest};
use crate::numbers::Epoch;
use crate::serve::{Board, Building, Published, Publisher};
use crate::settings::{Settings, ValidatedLive};
use anyhow::Context;
use millrace_connectors::store::Store;
use millrace_dataflows::context::{Partitions, Shared};
use millrace_schema::Names;
use std::collections::VecDeque;
use std::sync::Arc;

/// Versions that were made and not shown yet, at most: one that waits for its checkpoint, and the newest.
const VERSIONS_MOST: usize = 8;

/// Serves what a lake holds, and what an engine that writes to it shows.
pub struct Replica {
    settings: Settings,
    live: ValidatedLive,
    store: Arc<dyn Store>,
    board: Arc<Board>,
    /// Whether views of other definitions are passed over, for an engine is about to make them.
    passes_over: bool,
    /// The manifest that is shown, where none of an engine's versions is.
    shown: Option<u64>,
    following: Option<Following>,
}

/// An engine that is followed.
struct Following {
    publisher: Publisher,
    versions: VecDeque<Published>,
    /// Whether one of its versions has been shown.
    is_shown: bool,
}

impl Replica {
    /// Of the lake of `lake.url`. Until something is shown the board is empty.
    ///
    /// # Errors
    /// Where a setting does not fit, or the lake cannot be opened.
    pub fn new(settings: &Settings) -> anyhow::Result<Replica> {
        Replica::open(settings, false)
    }

    /// Likewise, of an engine that is about to make those views anew whose definitions are others: until then they are being made.
    ///
    /// # Errors
    /// As [`Replica::new`].
    pub fn of_engine(settings: &Settings) -> anyhow::Result<Replica> {
        Replica::open(settings, true)
    }

    fn open(settings: &Settings, passes_over: bool) -> anyhow::Result<Replica> {
        let url = &settings.lake.url;
        anyhow::ensure!(!url.is_empty(), "there is nothing to serve: set lake.url to the lake that engines write to");
        let live = settings.validate_live()?;
        let store = open_store(url, settings)?;
        let board = publisher(settings, &live, &[]).board();
        Ok(Replica { settings: settings.clone(), live, store, board, passes_over, shown: None, following: None })
    }

    pub fn board(&self) -> Arc<Board> {
        self.board.clone()
    }

    /// Shows the newest checkpoint of the lake, where it is later than what is shown. Whether it was.
    ///
    /// # Errors
    /// Where it cannot be read, or its views are of other definitions.
    pub fn look(&mut self) -> anyhow::Result<bool> {
        loop {
            let newest = checkpoint::look(&*self.store)?;
            let Some(manifest) = newest.manifest.filter(|manifest| manifest.epoch.0 > self.board.current().epoch)
            else {
                return Ok(false);
            };
            if self.shown == Some(manifest.number) {
                return Ok(false);
            }
            match self.load(&manifest) {
                // It has expired meanwhile.
                Err(_) if checkpoint::look(&*self.store)?.next != newest.next => {}
                loaded => {
                    let mut publisher = loaded?.onto(self.board.clone());
                    let mut version = publisher.version();
                    // Of a replica it is all there is to show: its engine is elsewhere, and goes on.
                    version.restored = self.passes_over;
                    publisher.show(version);
                    self.shown = Some(manifest.number);
                    return Ok(true);
                }
            }
        }
    }

    /// Views as a manifest has them, on a board of their own.
    fn load(&self, manifest: &Manifest) -> anyhow::Result<Publisher> {
        if manifest.epoch == Epoch::NONE {
            return Ok(publisher(&self.settings, &self.live, &[]));
        }
        check_complete(manifest, &self.settings.lake.url)?;
        let redefinition = checkpoint::Redefinition::of(manifest, &self.settings)?;
        let others: Vec<&str> = redefinition.made_anew();
        anyhow::ensure!(
            others.is_empty() || self.passes_over,
            "the lake's views were made under other settings or by another program: {}; give this process those of its engine",
            others.join(", ")
        );
        let mut publisher = publisher(&self.settings, &self.live, &others);
        let version = publisher.version();
        let views: Vec<_> = version.views.iter().map(|rows| rows.view.clone()).collect();
        load_names(&*self.store, manifest, &version.shared.names)?;
        let rows = load_views(&*self.store, manifest, &views, &version.shared.names)?;
        show(&mut publisher, manifest, rows);
        Ok(publisher)
    }

    /// Takes what an engine shows.
    ///
    /// # Errors
    /// Where the checkpoint that it begins with cannot be read.
    pub fn take(&mut self, shown: Shown) -> anyhow::Result<()> {
        match shown {
            Shown::Begin { manifest: number, .. } => {
                self.following = None;
                let manifest =
                    read_manifest(&*self.store, number)?.with_context(|| format!("manifest {number} is not whole"))?;
                let publisher = self.load(&manifest)?.onto(self.board.clone());
                self.following = Some(Following { publisher, versions: VecDeque::new(), is_shown: false });
            }
            Shown::Add(commit) => {
                if let Some(following) = &mut self.following {
                    following.publisher.add(commit.commit());
                }
            }
            Shown::Version => {
                if let Some(following) = &mut self.following {
                    let version = following.publisher.version();
                    following.versions.push_back(version);
                    if following.versions.len() > VERSIONS_MOST {
                        following.versions.pop_front();
                    }
                }
            }
            Shown::Show { epoch } => self.show(epoch),
            Shown::Status(_) | Shown::Waits { .. } | Shown::Sinks(_) => {}
        }
        Ok(())
    }

    fn show(&mut self, epoch: u64) {
        let Some(following) = &mut self.following else { return };
        while following.versions.front().is_some_and(|version| version.epoch < epoch) {
            following.versions.pop_front();
        }
        let Some(mut version) = following.versions.front().filter(|version| version.epoch == epoch).cloned() else {
            return;
        };
        if version.epoch <= self.board.current().epoch {
            return;
        }
        if !std::mem::replace(&mut following.is_shown, true) {
            // What was shown before came another way: which views have changed since then is not known.
            following.publisher.changed_all(version.epoch);
            version.views.iter_mut().for_each(|rows| rows.changed_at = version.epoch);
        }
        following.publisher.show(version);
    }
}

/// Of all views that are kept, but for those that are to be made.
fn publisher(settings: &Settings, live: &ValidatedLive, others: &[&str]) -> Publisher {
    let context = Arc::new(live.validated.views.clone());
    let shared = Shared::new(context, Arc::new(Names::default()), Arc::new(Partitions::default()))
        .keeping_users(shows_users(settings));
    let mut names = rendered(settings);
    names.retain(|name| !others.contains(name));
    let publisher = Publisher::new(&shared, &names, settings.serve.keep_epochs());
    match others {
        [] => publisher,
        others => publisher.while_building(Arc::new(Building::new(others.iter().map(|&name| name.to_owned()).collect()))),
    }
}
