//! An engine that goes on, and now and then merges what has become pending.
//!
//! ```text
//! every so often: nothing is forgotten any more ─▶ next checkpoint ─▶ pending records and what they need are looked up in the lake
//!      └──────────────── merged in one epoch, like any other ◀──────────────────────────────────────┘
//! ```
//! It reads on meanwhile.

use super::redefine::redefine;
use super::repair::{Repaired, pending, repair};
use crate::checkpoint::{Change, LATE_AT_ONCE, Redefinition};
use crate::live::cluster::Leading;
use crate::live::{Live, LiveEngine, Patience, Starting};
use crate::serve::Board;
use crate::serve::status::Engine;
use crate::settings::Settings;
use anyhow::Context;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Serves what is on a board, and what an engine says of itself.
pub type Serve<'a> = &'a mut dyn FnMut(&Arc<Board>, Arc<dyn Engine>) -> anyhow::Result<()>;

pub struct Running {
    live: Live,
    pub board: Arc<Board>,
    pub engine: Arc<LiveEngine>,
    /// Time between two repairs, and when the next is due; `None` where there is none.
    repairs: Option<(Duration, Instant)>,
    /// Records that were pending when it began to merge them.
    merging: Option<i64>,
}

impl Running {
    /// Starts reading. What is away is waited for, `live.outage_ms` long. `serve` is called once, as soon as there are answers: those
    /// of the lake, or at last those of the engine. Views of the lake whose definitions are others are made anew before it reads on, which
    /// is an error where `refuse_rebuild`. Where there are other processes, this is the one that leads the `cluster`. `say` is told what people should know; it ends early where `should_stop`.
    ///
    /// # Errors
    /// As [`crate::live::start`], where `lake.repair_at_start` asks for a repair that is not possible, and what `serve` fails with.
    pub fn start(
        settings: &Settings,
        shown_settings: String,
        say: &dyn Fn(String),
        should_stop: &dyn Fn() -> bool,
        refuse_rebuild: bool,
        cluster: Option<Arc<Leading>>,
        serve: Serve<'_>,
    ) -> anyhow::Result<Running> {
        let lake = &settings.lake;
        let mut starting = Starting::new(settings, shown_settings)?.refusing_rebuild(refuse_rebuild).leading(cluster);
        let standby = starting.standby.clone();
        let should_stop = || should_stop() || standby.is_told_to_end();
        let mut patience = Patience::new(settings.live.outage_ms, say, &should_stop);
        let (mut is_served, mut is_repaired) = (false, !lake.repair_at_start);
        let mut attempt = || {
            let board = starting.show()?;
            if let Some(board) = board.as_ref().filter(|_| !is_served) {
                is_served = true;
                serve(board, starting.standby.clone())?;
            }
            starting.open()?;
            let mut generation = None;
            tell_changes(&std::mem::take(&mut starting.redefinition), say);
            if let Some(building) = starting.building.take() {
                let views = building.views.join(", ");
                say(format!("making {views} from the events of the lake; the other views are served"));
                let redefined = redefine(&lake.url, settings, &building, &should_stop)?;
                let redefined =
                    redefined.context("it was told to end while it made views anew; the lake is as it was")?;
                generation = Some(redefined.generation);
                say(format!("made {} from {} events", redefined.views.join(", "), redefined.events));
                starting.show()?;
            }
            if !is_repaired && board.is_some() {
                let repaired = repair(&lake.url, settings, settings.live.workers, false, &should_stop)?;
                let repaired = repaired.context("it was told to end while it repaired; the lake is as it was")?;
                generation = repaired.generation;
                is_repaired = true;
                tell(&repaired, say);
            }
            starting.run(generation)
        };
        let live = loop {
            match attempt() {
                Ok(live) => break live,
                Err(error) => {
                    standby.waits_for(&error);
                    patience.wait(error)?;
                }
            }
        };
        if !is_served {
            serve(&live.board, live.engine.clone())?;
        }
        standby.runs(live.engine.clone());
        let every = Duration::from_millis(lake.repair_every_ms);
        Ok(Running {
            board: live.board.clone(),
            engine: live.engine.clone(),
            live,
            repairs: settings.repairs_itself().then(|| (every, Instant::now() + every)),
            merging: None,
        })
    }

    /// Begins to merge what is pending, if it is time to, and says so when it has been.
    ///
    /// # Errors
    /// Where the views do not say what is pending.
    pub fn repair_if_due(&mut self, say: &dyn Fn(String)) -> anyhow::Result<()> {
        let Some((every, next)) = &mut self.repairs else { return Ok(()) };
        let current = self.board.current();
        // What is merged shows a moment after it is committed.
        let is_over = !self.engine.is_merging() && current.epoch >= self.engine.last_committed().0;
        if let Some(before) = self.merging.filter(|_| is_over) {
            self.merging = None;
            let left = pending(&current)?;
            // More than are merged at a time do not wait.
            let is_on = left < before && left >= LATE_AT_ONCE as i64;
            *next = if is_on { Instant::now() } else { Instant::now() + *every };
            say(match left < before {
                true => format!("repaired {before} records that were pending; {left} are pending now"),
                false => format!("{left} records are pending; {before} were before they were looked up"),
            });
        }
        if self.merging.is_some() || Instant::now() < *next {
            return Ok(());
        }
        *next = Instant::now() + *every;
        let records = pending(&current)?;
        if records > 0 && self.engine.merge_pending() {
            say(format!("repairing {records} pending records at epoch {}", current.epoch));
            self.merging = Some(records);
        }
        Ok(())
    }

    /// Whether it has ended: after [`crate::serve::status::Engine::drain`], or because some part failed.
    pub fn has_ended(&self) -> bool {
        self.live.has_ended()
    }

    /// Waits until everything that was read is published.
    ///
    /// # Errors
    /// As [`Live::join`].
    pub fn join(self) -> anyhow::Result<()> {
        self.live.join()
    }
}

/// What changes besides the views that are made anew.
fn tell_changes(redefinition: &Redefinition, say: &dyn Fn(String)) {
    for (view, _) in redefinition.views.iter().filter(|(_, change)| *change == Change::Gone) {
        say(format!("warning: {view} is not in views.enabled any more: its rows leave the lake"));
    }
    for setting in &redefinition.from_now_on {
        say(format!("warning: {setting}; what was decided before stays as it was decided"));
    }
}

fn tell(repaired: &Repaired, say: &dyn Fn(String)) {
    if repaired.records > 0 {
        say(format!("repaired {} records that were pending; {} were accepted", repaired.records, repaired.accepted));
    }
}
