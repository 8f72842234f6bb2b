//! `replay`: reads history to its end through the engine, into a data directory.

use super::progress::Progress;
use super::request::{RejectedRule, ReplayRequest, ReplaySummary};
use crate::checkpoint::{Lake, Manifest, Mode, Needs};
use crate::live::{Live, Numbering, Pace, Plan, RejectExample, Rules, start_with};
use crate::memory::usage;
use crate::serve::status::Engine;
use crate::settings::Settings;
use anyhow::Context;
use millrace_connectors::source::{Once, Progress as Bytes, ReadOptions, Source, SourceError, open};
use millrace_dataflows::row_set::RowSet;
use millrace_dataflows::views::quality::{Accounting, rejected, warned};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const PROGRESS_EVERY: Duration = Duration::from_millis(50);
const CHUNK_RECORDS_MAX: u64 = 4_096;

/// What a replay came to.
pub struct Replayed {
    pub summary: ReplaySummary,
    /// The inputs that could not be read to their ends. What came before the faults is in the answers.
    pub failures: Vec<SourceError>,
}

/// Replays files and logs. Earlier results stay as they were until the new ones are whole.
///
/// # Errors
/// Where nothing could be read or written. Faults in the middle of inputs are in [`Replayed::failures`].
pub fn replay(settings: &Settings, request: &ReplayRequest, progress: &dyn Progress) -> anyhow::Result<Replayed> {
    let started = Instant::now();
    let cpu_before = usage::cpu_time();
    let validated = settings.validate()?;
    let epoch_records = settings.replay.epoch_records as u64;
    let max_records = u32::try_from(epoch_records.min(CHUNK_RECORDS_MAX)).unwrap_or(u32::MAX);
    let reader = open(&request.paths, ReadOptions { max_records, ..ReadOptions::default() })?;
    let bytes = reader.progress();
    let source = Once::new(reader);
    let failures = source.failures();

    let place = request.data_dir.to_string_lossy();
    let fits = |manifest: &Manifest| {
        anyhow::ensure!(
            !manifest.live,
            "{place} is the lake of a running engine, which a replay would replace: name another --data-dir"
        );
        Ok(())
    };
    let lake = Lake::claim_if(&place, settings, None, Needs::Nothing, &fits)?;
    let always = u64::MAX;
    let plan = Plan {
        validated,
        workers: request.workers,
        rules: Rules {
            // An epoch is so many records, however long that takes.
            pace: Pace {
                tick_ms: always,
                behind_tick_ms: always,
                idle_tick_ms: always,
                epoch_records,
                // Besides the one that is being filled.
                epochs_in_flight: (settings.replay.epochs_in_flight - 1).max(1),
            },
            numbering: Numbering::Count,
            checkpoint_ms: Some(settings.replay.checkpoint_ms).filter(|interval| *interval > 0),
            only_the_end_counts: true,
            reads_pending: false,
            read_at_ms: None,
            ahead_ms: None,
        },
        partition_idle_ms: 0,
        lake: Some((lake, Mode::Replace)),
        restored: None,
        board: None,
        keeps_state: settings.replay.state,
        rebuild: None,
        repair: false,
        redefine: None,
        cluster: None,
        shown_settings: String::new(),
    };
    progress.total(bytes.total_bytes);
    let live = start_with(settings, plan, |_| Ok(Box::new(source)))?;
    let engine = live.engine.clone();
    let version = wait(live, &bytes, progress)?;
    let quality = version.view("quality").context("quality is always rendered")?;
    let mut summary = summary_of(&quality.index, version.epoch, started, cpu_before, engine.reject_examples())?;
    for rows in &version.views {
        let errors = rows.view.untrusted(&rows.index).into_iter().filter_map(crate::checkpoint::sums_too_large);
        summary.warnings.extend(errors.map(|error| format!("{}: {error}", rows.view.name())));
    }
    let failures = std::mem::take(&mut *failures.lock().expect("no holder of the failures panics"));
    Ok(Replayed { summary, failures })
}

/// Waits for the end, and tells how far it is.
fn wait(live: Live, bytes: &Bytes, progress: &dyn Progress) -> anyhow::Result<crate::serve::Published> {
    while !live.has_ended() {
        std::thread::park_timeout(PROGRESS_EVERY);
        let records = live.engine.records();
        progress.advance(bytes.consumed_bytes(), records, live.engine.status().epoch);
        if let Some(total) = bytes.total_bytes {
            live.shared.expected.set(expected(records, bytes.consumed_bytes(), total));
        }
    }
    let board = live.board.clone();
    live.join()?;
    Ok((*board.current()).clone())
}

/// What a run has come to by now.
///
/// # Errors
/// Where not every record is accounted for.
pub fn summary_of(
    quality: &dyn RowSet,
    epoch: u64,
    started: Instant,
    cpu_before: Duration,
    examples: BTreeMap<&'static str, RejectExample>,
) -> anyhow::Result<ReplaySummary> {
    let accounting = Accounting::of(quality);
    anyhow::ensure!(accounting.balances(), "the accounting does not balance: {accounting:?}");
    let seconds = started.elapsed().as_secs_f64();
    let count = |value: i64| u64::try_from(value).unwrap_or(0);
    Ok(ReplaySummary {
        read: count(accounting.read),
        accepted: count(accounting.accepted),
        duplicates: count(accounting.duplicates),
        quarantined: count(accounting.quarantined),
        pending: count(accounting.pending),
        seconds,
        cpu_seconds: (usage::cpu_time() - cpu_before).as_secs_f64(),
        events_per_second: accounting.read as f64 / seconds,
        peak_rss_bytes: usage::peak_rss_bytes(),
        epoch,
        rejected: rejected_rules(quality, examples),
        warnings: warned(quality).into_iter().map(|(rule, count)| format!("{rule}: {count}")).collect(),
    })
}

/// What each rule has rejected, the commonest first.
pub fn rejected_rules(quality: &dyn RowSet, mut examples: BTreeMap<&'static str, RejectExample>) -> Vec<RejectedRule> {
    let rule = |(rule, count): (&'static str, i64)| RejectedRule {
        rule: rule.to_owned(),
        records: u64::try_from(count).unwrap_or(0),
        example: examples.remove(rule),
    };
    let mut rules: Vec<RejectedRule> = rejected(quality).into_iter().map(rule).collect();
    // Those of one count by name.
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.records));
    rules
}

/// How many records there are in all, if the rest is like what has been read.
fn expected(records: u64, consumed_bytes: u64, total_bytes: u64) -> usize {
    let expected = u128::from(records) * u128::from(total_bytes) / u128::from(consumed_bytes.max(1));
    usize::try_from(expected).unwrap_or(0)
}
