//! `repair`: pending records are merged, exactly.
//!
//! ```text
//! lake: accepted events ──restored, without horizons──▶ views made anew ─┐
//!       pending records ──read as what they are────────▶ + what they add ─┴─▶ checkpoint: nothing is pending
//! ```
//! Nothing has been forgotten then, so it is also decided rightly what is a copy, and which session goes on. Where the manifest is lost,
//! or what quality counted, everything is made anew from the records instead: see [`crate::checkpoint::Found`].

use crate::checkpoint::{
    Found, Kind, Lake, Manifest, Mode, Needs, check_whole, checked, chunks_of, files_of, is_left, open_store,
    pending_of, read_newest,
};
use crate::live::{Live, Numbering, Pace, Plan, Rules, check_settings, start_with};
use crate::numbers::{Epoch, Generation};
use crate::serve::Published;
use crate::settings::{Settings, Validated};
use anyhow::Context;
use millrace_connectors::lake::PendingRecord;
use millrace_connectors::source::{
    Chunk, LiveSource, PartitionInfo, Progress, Resume, Source, SourceError, SourceStatus,
};
use millrace_dataflows::settings::Horizons;
use millrace_dataflows::views::quality::Accounting;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// What a repair came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Records that were pending.
    pub records: i64,
    /// How many of them were accepted.
    pub accepted: i64,
    pub epoch: Epoch,
    /// Under which the lake was taken over; `None` where it was not, for there was nothing to do.
    pub generation: Option<Generation>,
    /// Records that are in: all were read from the lake's files.
    pub rebuilt: Option<i64>,
}

/// How often somebody looks whether to stop.
const LOOK: Duration = Duration::from_millis(20);

/// Merges what is pending in a lake, if anything is, or makes the views anew all the same where `all`. Only then is the
/// lake taken over. `None` where `should_stop` came first: then the lake is as it was.
///
/// # Errors
/// Where there is no lake, the settings do not fit, or it does not hold all accepted events: then it is not taken over.
/// Where it cannot be read or written.
pub fn repair(
    place: &str,
    settings: &Settings,
    workers: usize,
    all: bool,
    should_stop: &dyn Fn() -> bool,
) -> anyhow::Result<Option<Repaired>> {
    let mut validated = settings.validate_live()?.validated;
    validated.views.horizons = Horizons::NONE;
    let store = open_store(place, settings)?;
    if all && is_left(&*store)? {
        let lake = Lake::claim_left(place, settings)?;
        let found = Found::left(&lake.files);
        return rebuild(lake, found, validated, settings, workers, should_stop);
    }
    let is_due = |manifest: &Manifest| manifest.epoch > Epoch::NONE && (all || manifest.accounted.pending > 0);
    let (newest, _) = read_newest(&*store, &mut |_| {})?;
    if !is_due(&newest) {
        return Ok(Some(Repaired { epoch: newest.epoch, ..Repaired::default() }));
    }
    let fits = |manifest: &Manifest| {
        check_settings(manifest, settings, place, &[])?;
        check_whole(place, manifest, &files_of(&*store, manifest)?)
    };
    let quality = newest.views.iter().find(|view| view.name == "quality");
    if let Some(entry) = quality.filter(|_| all)
        && let Err(error) =
            entry.snapshot.iter().chain(&entry.changes).try_for_each(|file| checked(&*store, file).map(drop))
    {
        crate::log::warning(format_args!(
            "what quality counted is counted anew, as far as there are records of it: {error:#}"
        ));
        let lake = Lake::claim_if(place, settings, None, Needs::Events, &fits)?;
        let found = Found::of(&lake.manifest, &lake.files);
        return rebuild(lake, found, validated, settings, workers, should_stop);
    }
    let lake = Lake::claim_if(place, settings, None, Needs::Events, &fits)?;
    let (before, generation) = (lake.manifest.accounted, Some(lake.manifest.generation));
    // Whoever had it may have merged it meanwhile.
    if !is_due(&lake.manifest) {
        return Ok(Some(Repaired { epoch: lake.manifest.epoch, generation, ..Repaired::default() }));
    }
    let mut records = Vec::new();
    for file in lake.files.iter().filter(|file| Kind::of(&file.key) == Some(Kind::Pending)) {
        records.extend(pending_of(&*lake.store, file)?);
    }
    anyhow::ensure!(
        i64::try_from(records.len()).ok() == Some(before.pending),
        "{place} counts {} pending records and holds {}",
        before.pending,
        records.len()
    );
    let plan = Plan { repair: true, ..pass(lake, Mode::Continue, validated, settings, workers, true) };
    let live = start_with(settings, plan, |resume| Ok(Box::new(PendingSource::new(records, resume))))?;
    let Some((epoch, after)) = wait(live, should_stop)? else { return Ok(None) };
    let (records, accepted) = (before.pending, after.accepted - before.accepted);
    Ok(Some(Repaired { records, accepted, epoch, generation, rebuilt: None }))
}

/// Makes everything anew from the records in a lake's files.
fn rebuild(
    lake: Lake,
    found: Found,
    validated: Validated,
    settings: &Settings,
    workers: usize,
    should_stop: &dyn Fn() -> bool,
) -> anyhow::Result<Option<Repaired>> {
    let (place, generation) = (lake.store.place(), Some(lake.manifest.generation));
    if found.is_empty() {
        lake.claim().retract();
        anyhow::bail!(
            "{place} holds no event files, and nothing can be made anew without them: restore {place} from a copy"
        );
    }
    found.caveats().into_iter().for_each(|caveats| crate::log::warning(format_args!("{place} is {caveats}")));
    let source = found.source(lake.store.clone());
    let plan = pass(lake, Mode::Rebuild, validated, settings, workers, false);
    let live = start_with(settings, Plan { rebuild: Some(found), ..plan }, |_| Ok(Box::new(source)))?;
    let Some((epoch, after)) = wait(live, should_stop)? else { return Ok(None) };
    Ok(Some(Repaired { epoch, generation, rebuilt: Some(after.accepted), ..Repaired::default() }))
}

/// One pass over a lake's own events.
pub(super) fn pass(
    lake: Lake,
    mode: Mode,
    validated: Validated,
    settings: &Settings,
    workers: usize,
    reads_pending: bool,
) -> Plan {
    let read_at_ms = Some(lake.manifest.epoch_at_ms());
    Plan {
        validated,
        workers,
        rules: Rules {
            pace: Pace {
                tick_ms: u64::MAX,
                behind_tick_ms: u64::MAX,
                idle_tick_ms: u64::MAX,
                epoch_records: settings.replay.epoch_records as u64,
                epochs_in_flight: settings.replay.epochs_in_flight,
            },
            numbering: Numbering::Count,
            checkpoint_ms: None,
            only_the_end_counts: true,
            reads_pending,
            read_at_ms,
            ahead_ms: None,
        },
        partition_idle_ms: 0,
        lake: Some((lake, mode)),
        restored: None,
        board: None,
        rebuild: None,
        keeps_state: true,
        repair: false,
        redefine: None,
        cluster: None,
        shown_settings: String::new(),
    }
}

/// Waits for the end: its epoch, and what became of the records. `None` where `should_stop` came first.
pub(super) fn wait(live: Live, should_stop: &dyn Fn() -> bool) -> anyhow::Result<Option<(Epoch, Accounting)>> {
    let board = live.board.clone();
    while !live.is_over() {
        if should_stop() {
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
    live.join()?;
    let version = board.current();
    let after = accounting(&version)?;
    anyhow::ensure!(after.balances(), "the accounting does not balance: {after:?}");
    Ok(Some((Epoch(version.epoch), after)))
}

/// How many records are pending at a version.
///
/// # Errors
/// Where it does not say.
pub fn pending(version: &Published) -> anyhow::Result<i64> {
    Ok(accounting(version)?.pending)
}

fn accounting(version: &Published) -> anyhow::Result<Accounting> {
    let quality = version.view("quality").context("quality is always rendered")?;
    Ok(Accounting::of(&quality.index))
}

/// Pending records as a source that ends. The positions stay where the lake has them.
pub(super) struct PendingSource {
    partitions: Vec<PartitionInfo>,
    chunks: VecDeque<Chunk>,
    status: Arc<SourceStatus>,
}

impl PendingSource {
    pub(super) fn new(records: Vec<PendingRecord>, resume: Resume) -> PendingSource {
        let status = Arc::new(SourceStatus::default());
        // None has been read to its end, so the least of them says how far all are complete, as it did before.
        status.with(|source| source.partitions = resume.states());
        PendingSource { partitions: resume.partitions, chunks: chunks_of(records).into(), status }
    }
}

impl Source for PendingSource {
    fn partitions(&self) -> &[PartitionInfo] {
        &self.partitions
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, SourceError> {
        Ok(self.chunks.pop_front())
    }

    fn progress(&self) -> Progress {
        Progress::unknown()
    }
}

impl LiveSource for PendingSource {
    fn wait(&mut self, _timeout: Duration) {}

    fn status(&self) -> Arc<SourceStatus> {
        self.status.clone()
    }

    fn ends(&self) -> bool {
        true
    }
}
