//! What serves apart from what computes: versions that are made from a lake, and from what an engine elsewhere shows.
//!
//! ```text
//! newest manifest ─▶ views loaded ─▶ shown, marked as restored
//! engine ─▶ Begin (a manifest) ─▶ views loaded, not shown ─▶ Add, Version, Show ─▶ shown, where it is later than what is shown
//! ```
//! Nobody who looks at the board ever sees an earlier epoch after a later one: an engine that begins again from a checkpoint is behind what
//! was shown before it was lost, and is only seen once it has passed that.

use super::cluster::{Shown, ShownCommit};
use super::restore::{check_complete, rendered, show, shows_users};
use crate::checkpoint::{self, Manifest, load_names, load_views, open_store, read_manifest};
use crate::numbers::{Epoch, Generation};
use crate::serve::{Board, Building, Published, Publisher};
use crate::settings::{Settings, ValidatedLive};
use millrace_connectors::store::Store;
use millrace_dataflows::context::{Partitions, Shared};
use millrace_schema::Names;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Versions that were made and not shown yet, at most: one that waits for its checkpoint, and the newest.
const VERSIONS_MOST: usize = 8;
/// Commits that wait for a checkpoint that can be loaded.
const WAITING_MOST: usize = 100_000;
/// Until it is tried again to load one.
const AGAIN: Duration = Duration::from_secs(1);

impl Following {
    /// Adds what is not in the checkpoint that was loaded.
    fn add(&mut self, commit: ShownCommit) -> anyhow::Result<()> {
        if commit.epoch() <= self.from {
            return Ok(());
        }
        let commit = commit.commit();
        let unknown = commit.changes.iter().find(|(view, _)| !self.publisher.has(view));
        if let Some((view, _)) = unknown {
            let current = self.publisher.board().current();
            let known: Vec<&str> = current.views.iter().map(|rows| rows.view.name()).collect();
            anyhow::bail!(
                "the engine has a view {view}, and this process has {}: the settings have changed since it started; start it again",
                known.join(", ")
            );
        }
        self.publisher.add(commit);
        Ok(())
    }
}

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
    begins: Option<Begins>,
}

/// A generation whose beginning is not loaded yet.
struct Begins {
    manifest: u64,
    generation: Generation,
    /// What has come since.
    commits: Vec<ShownCommit>,
    /// The last epoch of what came and was not kept.
    left_out: u64,
    /// When it was last tried to load it.
    tried: Option<Instant>,
}

impl Begins {
    fn push(&mut self, commit: ShownCommit) {
        if self.commits.len() >= WAITING_MOST {
            self.left_out = self.commits.drain(..).map(|commit| commit.epoch()).max().unwrap_or(0);
        }
        self.commits.push(commit);
    }
}

/// An engine that is followed.
struct Following {
    publisher: Publisher,
    /// The epoch of the checkpoint that it was loaded from.
    from: u64,
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
        Ok(Replica {
            settings: settings.clone(),
            live,
            store,
            board,
            passes_over,
            shown: None,
            following: None,
            begins: None,
        })
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
    /// Where it shows a view that there is none of here: the settings have changed since this process started.
    pub fn take(&mut self, shown: Shown) -> anyhow::Result<()> {
        match shown {
            Shown::Begin { manifest, generation } => {
                self.following = None;
                let generation = Generation(generation);
                self.begins = Some(Begins { manifest, generation, commits: Vec::new(), left_out: 0, tried: None });
                self.begin()?;
            }
            Shown::Add(commit) => {
                if let Some(begins) = &mut self.begins {
                    begins.push(commit);
                    self.begin()?;
                } else if let Some(following) = &mut self.following {
                    following.add(commit)?;
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

    /// Loads what a generation begins with; where that is gone or cannot be read, a later checkpoint of it, some time later.
    fn begin(&mut self) -> anyhow::Result<()> {
        let Some(mut begins) = self.begins.take() else { return Ok(()) };
        if begins.tried.is_some_and(|tried| tried.elapsed() < AGAIN) {
            self.begins = Some(begins);
            return Ok(());
        }
        let is_first = begins.tried.is_none();
        let loaded = self.load_begin(&begins);
        begins.tried = Some(Instant::now());
        match loaded {
            Ok(Some((epoch, publisher))) => {
                let publisher = publisher.onto(self.board.clone());
                let mut following = Following { publisher, from: epoch.0, versions: VecDeque::new(), is_shown: false };
                let commits = std::mem::take(&mut begins.commits);
                commits.into_iter().try_for_each(|commit| following.add(commit))?;
                self.following = Some(following);
            }
            waits => {
                if let (Err(error), true) = (waits, is_first) {
                    crate::log::warning(format_args!(
                        "what the engine begins with cannot be read, and answers stay as they are until a checkpoint can: {error:#}"
                    ));
                }
                self.begins = Some(begins);
            }
        }
        Ok(())
    }

    /// The views of the first checkpoint that what has come since goes on from; none where there is none yet.
    fn load_begin(&self, begins: &Begins) -> anyhow::Result<Option<(Epoch, Publisher)>> {
        let manifest = match begins.tried {
            None => read_manifest(&*self.store, begins.manifest)?,
            Some(_) => checkpoint::look(&*self.store)?.manifest,
        };
        // A commit ends where a checkpoint does: none is in a checkpoint in part.
        let goes_on =
            |manifest: &Manifest| manifest.generation == begins.generation && manifest.epoch.0 >= begins.left_out;
        let Some(manifest) = manifest.filter(goes_on) else { return Ok(None) };
        Ok(Some((manifest.epoch, self.load(&manifest)?)))
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
            let rows = following.versions.iter_mut().flat_map(|version| &mut version.views);
            rows.for_each(|rows| rows.changed_at = rows.changed_at.max(version.epoch));
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
        others => {
            publisher.while_building(Arc::new(Building::new(others.iter().map(|&name| name.to_owned()).collect())))
        }
    }
}
