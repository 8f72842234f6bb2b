//! An engine that goes on, and now and then merges what has become pending.
//!
//! ```text
//! engine ──drained──▶ last checkpoint ──repair──▶ repaired checkpoint ──restored──▶ engine
//!    └─────────────────── the same board: readers stay where they are ───────────────┘
//! ```
//! While it repairs, nothing is read, and answers are those of the last epoch.

use super::repair::{Repaired, pending, repair};
use crate::checkpoint::{Lake, Superseded};
use crate::live::{self, CurrentEngine, Live};
use crate::serve::Board;
use crate::serve::status::Engine;
use crate::settings::Settings;
use anyhow::Context;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub struct Running {
    settings: Settings,
    shown_settings: String,
    /// None once it has ended.
    live: Option<Live>,
    pub board: Arc<Board>,
    pub engine: Arc<CurrentEngine>,
    next_repair: Option<Instant>,
}

impl Running {
    /// Starts reading. `say` is told what people should know; a repair ends early where `should_stop`.
    ///
    /// # Errors
    /// As [`live::start`], and where `lake.repair_at_start` asks for a repair that is not possible.
    pub fn start(
        settings: &Settings,
        shown_settings: String,
        say: &dyn Fn(String),
        should_stop: &dyn Fn() -> bool,
    ) -> anyhow::Result<Running> {
        let lake = &settings.lake;
        let mut generation = None;
        if lake.repair_at_start && !lake.url.is_empty() {
            settings.validate_live()?;
            let lake = Lake::claim(&lake.url, settings)?;
            generation = Some(lake.manifest.generation);
            let repaired = repair(lake, settings, settings.live.workers, false, should_stop)?;
            tell(&repaired.context("it was told to end while it repaired; the lake is as it was")?, say);
        }
        let live = live::start(settings, shown_settings.clone(), generation, None)?;
        let mut running = Running {
            settings: settings.clone(),
            shown_settings,
            board: live.board.clone(),
            engine: Arc::new(CurrentEngine::new(live.engine.clone())),
            live: Some(live),
            next_repair: None,
        };
        running.schedule();
        Ok(running)
    }

    fn schedule(&mut self) {
        let lake = &self.settings.lake;
        let every = (lake.repair_every_ms > 0 && !lake.url.is_empty()).then_some(lake.repair_every_ms);
        self.next_repair = every.map(|ms| Instant::now() + Duration::from_millis(ms));
    }

    /// Repairs, if it is time to and something is pending; returns when the engine reads again.
    ///
    /// # Errors
    /// Where the engine failed, cannot be started again, or another has taken over the lake. A repair that fails is said, and the
    /// engine goes on without.
    pub fn repair_if_due(&mut self, say: &dyn Fn(String), should_stop: &dyn Fn() -> bool) -> anyhow::Result<()> {
        if self.next_repair.is_none_or(|at| Instant::now() < at) || self.has_ended() {
            return Ok(());
        }
        self.schedule();
        let version = self.board.current();
        let records = pending(&version)?;
        if records == 0 || self.engine.is_drained() {
            return Ok(());
        }
        let Some(live) = self.live.take() else { return Ok(()) };
        say(format!("repairing {records} pending records; until then answers are those of epoch {}", version.epoch));
        let ours = live.generation;
        live.engine.drain();
        live.join()?;
        let lake = Lake::claim_if(&self.settings.lake.url, &self.settings, ours, &|_| Ok(()))?;
        let ours = lake.manifest.generation;
        let should_stop = || should_stop() || self.engine.is_drained();
        match repair(lake, &self.settings, self.settings.live.workers, false, &should_stop) {
            Ok(Some(repaired)) => tell(&repaired, say),
            Ok(None) => return Ok(()),
            Err(error) if error.is::<Superseded>() => return Err(error),
            Err(error) => say(format!("warning: pending records stay pending: {error:#}")),
        }
        let shown = self.shown_settings.clone();
        let live = live::start(&self.settings, shown, Some(ours), Some(self.board.clone()))?;
        self.engine.replace(live.engine.clone());
        self.live = Some(live);
        self.schedule();
        Ok(())
    }

    /// Whether it has ended: after [`Engine::drain`], or because some part failed.
    pub fn has_ended(&self) -> bool {
        self.live.as_ref().is_none_or(Live::has_ended)
    }

    /// Waits until everything that was read is published.
    ///
    /// # Errors
    /// As [`Live::join`].
    pub fn join(self) -> anyhow::Result<()> {
        self.live.map_or(Ok(()), Live::join)
    }
}

fn tell(repaired: &Repaired, say: &dyn Fn(String)) {
    if repaired.records > 0 {
        say(format!("repaired {} records that were pending; {} were accepted", repaired.records, repaired.accepted));
    }
}
