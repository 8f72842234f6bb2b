//! A start, from what the lake holds: that is shown first, then the source is opened, then the lake is taken over, and then it runs.
//!
//! ```text
//! newest manifest ─▶ views shown (restored) ─▶ source opened ─▶ [views with another definition made] ─▶ claim ─▶ state, threads
//! ```
//! What is there after a step that failed is kept for the next try. Nothing is taken over before all before it has worked.

use super::cluster::Leading;
use super::feed::{Numbering, Rules};
use super::pace::Pace;
use super::restore::{check_complete, check_settings, rendered, resume_of, show, shows_users};
use super::run::{Live, Plan, start_with};
use super::source;
use super::standby::Standby;
use crate::checkpoint::{self, Lake, Manifest, Mode, Needs, Redefinition, load_names, load_views};
use crate::numbers::{Epoch, Generation};
use crate::serve::{Board, Building, Publisher};
use crate::settings::{Settings, ValidatedLive};
use millrace_connectors::source::{Deal, LiveSource, Resume};
use millrace_connectors::store::Store;
use millrace_dataflows::context::{Partitions, Shared};
use millrace_schema::Names;
use std::sync::Arc;

/// The views of a lake, as they are shown.
pub struct Restored {
    pub manifest: Manifest,
    pub publisher: Publisher,
    pub shared: Shared,
}

impl Restored {
    /// Whether it is what a manifest, or a claim of it, holds.
    pub fn is_of(&self, manifest: &Manifest) -> bool {
        (self.manifest.epoch, &self.manifest.written_at) == (manifest.epoch, &manifest.written_at)
    }
}

/// Views would have to be made anew, and it was asked not to.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RebuildRefused(String);

/// How far a start has come.
pub struct Starting<'a> {
    settings: &'a Settings,
    live: ValidatedLive,
    shown_settings: String,
    /// What is served before there is an engine.
    pub standby: Arc<Standby>,
    /// Where answers are shown, if any are.
    board: Option<Arc<Board>>,
    restored: Option<Restored>,
    /// What becomes of the views of the lake, and those that have to be made before it runs.
    pub redefinition: Redefinition,
    pub building: Option<Arc<Building>>,
    refuse_rebuild: bool,
    /// The other processes, where there are any.
    cluster: Option<Arc<Leading>>,
    /// And where it goes on.
    source: Option<(Resume, Box<dyn LiveSource>)>,
}

impl<'a> Starting<'a> {
    /// With the settings as they may be shown to whoever asks.
    ///
    /// # Errors
    /// Where a setting does not fit.
    pub fn new(settings: &'a Settings, shown_settings: String) -> anyhow::Result<Starting<'a>> {
        let live = settings.validate_live()?;
        let standby = Arc::new(Standby::new(settings.live.workers, shown_settings.clone()));
        Ok(Starting {
            settings,
            live,
            shown_settings,
            standby,
            board: None,
            restored: None,
            redefinition: Redefinition::default(),
            building: None,
            refuse_rebuild: false,
            cluster: None,
            source: None,
        })
    }

    /// Whether it is an error where views have to be made anew.
    #[must_use]
    pub fn refusing_rebuild(self, refuse_rebuild: bool) -> Starting<'a> {
        Starting { refuse_rebuild, ..self }
    }

    /// As process 0 of several.
    #[must_use]
    pub fn leading(self, cluster: Option<Arc<Leading>>) -> Starting<'a> {
        Starting { cluster, ..self }
    }

    fn deal(&self) -> Deal {
        self.cluster.as_ref().map_or(Deal::ALL, |cluster| cluster.deal())
    }

    /// Looks at the lake, and shows what it holds. Returns where that is, if it holds anything.
    ///
    /// # Errors
    /// Where the lake cannot be read, or its settings are others.
    pub fn show(&mut self) -> anyhow::Result<Option<Arc<Board>>> {
        let url = &self.settings.lake.url;
        if url.is_empty() {
            return Ok(None);
        }
        let store = checkpoint::open_store(url, self.settings)?;
        loop {
            let newest = checkpoint::look(&*store)?;
            let Some(manifest) = newest.manifest.filter(|manifest| manifest.epoch > Epoch::NONE) else {
                return Ok(self.board.clone());
            };
            check_complete(&manifest, url)?;
            let redefinition = Redefinition::of(&manifest, self.settings)?;
            if self.refuse_rebuild && !redefinition.made_anew().is_empty() {
                let refused = check_settings(&manifest, self.settings, url, &[]);
                refused.map_err(|error| RebuildRefused(format!("{error:#}")))?;
            }
            if self.restored.as_ref().is_some_and(|restored| restored.is_of(&manifest)) {
                return Ok(self.board.clone());
            }
            match self.load(&*store, manifest, redefinition) {
                // Another engine has gone on, and removed what it needs no more.
                Err(_) if checkpoint::look(&*store)?.next != newest.next => {}
                loaded => return loaded.map(|()| self.board.clone()),
            }
        }
    }

    fn load(&mut self, store: &dyn Store, manifest: Manifest, redefinition: Redefinition) -> anyhow::Result<()> {
        let context = Arc::new(self.live.validated.views.clone());
        let dictionary = Arc::new(Names::default());
        let shared = Shared::new(context, dictionary.clone(), Arc::new(Partitions::default()))
            .keeping_users(shows_users(self.settings));
        let missing: Vec<String> = redefinition.made_anew().into_iter().map(str::to_owned).collect();
        let mut names = rendered(self.settings);
        names.retain(|name| !missing.iter().any(|missing| missing == name));
        let mut publisher = Publisher::new(&shared, &names, self.settings.serve.keep_epochs());
        self.building = (!missing.is_empty()).then(|| Arc::new(Building::new(missing)));
        if let Some(building) = &self.building {
            publisher = publisher.while_building(building.clone());
        }
        let views: Vec<_> = publisher.board().current().views.iter().map(|rows| rows.view.clone()).collect();
        load_names(store, &manifest, &dictionary)?;
        let rows = load_views(store, &manifest, &views, &dictionary)?;
        let mut publisher = match &self.board {
            Some(board) => publisher.onto(board.clone()),
            None => publisher,
        };
        show(&mut publisher, &manifest, rows);
        self.standby.shows(&manifest);
        self.redefinition = redefinition;
        self.board = Some(publisher.board());
        self.restored = Some(Restored { manifest, publisher, shared });
        Ok(())
    }

    /// Opens the source where reading is to go on, as far as is known by now.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn open(&mut self) -> anyhow::Result<()> {
        let resume = self.restored.as_ref().map(|restored| resume_of(&restored.manifest)).unwrap_or_default();
        if self.source.as_ref().is_none_or(|(opened, _)| *opened != resume) {
            // One that is open may hold what another needs.
            self.source = None;
            let source = source::open(self.settings, self.live.start, resume.clone(), self.deal())?;
            self.source = Some((resume, source));
        }
        Ok(())
    }

    /// Takes the lake over, from `generation` only where one is given, and runs.
    ///
    /// # Errors
    /// Where the lake cannot be taken over or taken up.
    pub fn run(&mut self, generation: Option<Generation>) -> anyhow::Result<Live> {
        let (settings, url) = (self.settings, &self.settings.lake.url);
        let fits = |manifest: &Manifest| check_settings(manifest, settings, url, &[]);
        // Who was lost while it started is back by now, or is waited for.
        if let Some(cluster) = &self.cluster {
            cluster.gather(&|_| {}, &|| self.standby.is_told_to_end())?;
        }
        let claim = || Lake::claim_if(url, settings, generation, Needs::State, &fits);
        let lake = (!url.is_empty()).then(claim).transpose()?;
        let plan = Plan {
            validated: self.live.validated.clone(),
            workers: settings.live.workers,
            rules: rules(settings),
            partition_idle_ms: settings.live.partition_idle_ms,
            lake: lake.map(|lake| (lake, Mode::Continue)),
            restored: self.restored.take(),
            board: self.board.clone(),
            keeps_state: true,
            rebuild: None,
            repair: false,
            redefine: None,
            cluster: self.cluster.clone(),
            shown_settings: self.shown_settings.clone(),
        };
        let (opened, start, deal) = (self.source.take(), self.live.start, self.deal());
        start_with(settings, plan, |resume| match opened {
            Some((at, source)) if at == resume => Ok(source),
            _ => source::open(settings, start, resume, deal),
        })
    }
}

fn rules(settings: &Settings) -> Rules {
    Rules {
        pace: Pace::of(&settings.live),
        numbering: Numbering::Clock,
        checkpoint_ms: Some(settings.lake.checkpoint_ms),
        only_the_end_counts: false,
        reads_pending: false,
        read_at_ms: None,
        ahead_ms: u64::try_from(settings.decode.max_future_ms).ok(),
    }
}

/// Starts reading, and waits for nothing that is away.
///
/// # Errors
/// Where a setting does not fit, the lake cannot be opened, or the source cannot.
pub fn start(settings: &Settings, shown_settings: String) -> anyhow::Result<Live> {
    let mut starting = Starting::new(settings, shown_settings)?;
    starting.show()?;
    starting.open()?;
    starting.run(None)
}
