//! `verify`: the views at a checkpoint against the naive answers from the lake's own events.

use super::kept::{shared_of, view_of};
use crate::checkpoint::{FileEntry, Kind, Manifest};
use anyhow::Context;
use millrace_connectors::lake::read_event_rows;
use millrace_connectors::store::Store;
use millrace_dataflows::context::Shared;
use millrace_dataflows::oracle::visits::cut_sessions;
use millrace_dataflows::oracle::{Observed, Outcome};
use millrace_dataflows::query::Query;
use millrace_dataflows::table::{Table, Value};
use millrace_dataflows::views::{AnswerContext, view};
use millrace_schema::Place;
use millrace_schema::decode::{Bump, decode};
use std::collections::{BTreeMap, BTreeSet};

/// How much is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Whole,
    /// So many days and so many products.
    Sample(usize),
}

/// A question that has two answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub question: String,
    /// Rows that only the checkpoint has.
    pub kept: Vec<Vec<Value>>,
    /// Rows that only the events give.
    pub recomputed: Vec<Vec<Value>>,
}

/// What a comparison came to.
#[derive(Debug, Default)]
pub struct Verified {
    pub events: usize,
    pub questions: usize,
    pub rows: usize,
    pub differences: Vec<Difference>,
}

/// Compares a checkpoint with the events that its files hold.
///
/// # Errors
/// Where something cannot be read, or event files are not kept.
pub fn verify(store: &dyn Store, manifest: &Manifest, files: &[FileEntry], extent: Extent) -> anyhow::Result<Verified> {
    let shared = shared_of(manifest)?;
    let (mut observed, epochs) = observed(store, manifest, files)?;
    let accepted = manifest.accounted.accepted;
    anyhow::ensure!(
        i64::try_from(observed.len()).ok() == Some(accepted),
        "the lake's files hold {} events and the checkpoint counts {accepted} accepted ones: verify needs lake.events = true and lake.keep_days = 0 from the start",
        observed.len()
    );
    if manifest.state.complete
        && let Some(pause) = manifest.settings.horizons()?.pause()
    {
        cut_sessions(&mut observed, pause, |at| Some(epochs[at]) <= manifest.state.whole_until);
    }
    let mut verified = Verified { events: observed.len(), ..Verified::default() };
    for (name, query) in questions(manifest, &observed, &shared, extent) {
        compare(store, manifest, &shared, &observed, name, &query, &mut verified)?;
    }
    Ok(verified)
}

/// The accepted records, as the oracles take them, and the epochs that they were accepted at.
fn observed(store: &dyn Store, manifest: &Manifest, files: &[FileEntry]) -> anyhow::Result<(Vec<Observed>, Vec<u64>)> {
    let decode_settings = manifest.settings.validate()?.decode;
    let ordinals: BTreeMap<(&str, u32), u16> = (0..)
        .zip(&manifest.sources.partitions)
        .map(|(ordinal, partition)| ((&*partition.source, partition.partition), ordinal))
        .collect();
    let (mut observed, mut epochs, mut arena) = (Vec::new(), Vec::new(), Bump::new());
    for file in files.iter().filter(|file| matches!(Kind::of(&file.key), Some(Kind::Events | Kind::Dimensions))) {
        let bytes = store.get(&file.key)?;
        anyhow::ensure!(file.is(&bytes), "{} is not what its manifest says: it was changed or damaged", file.key);
        for row in read_event_rows(&file.key, &bytes)? {
            let record = decode(&row.line, None, &decode_settings, &arena);
            let record = record.map_err(|reject| anyhow::anyhow!("{reject}"));
            let record = record.with_context(|| format!("an event of {}", file.key))?.to_owned();
            let ordinal = ordinals.get(&(&*row.source, row.partition)).copied();
            let ordinal = ordinal.with_context(|| format!("{} of {} is no partition", row.partition, row.source))?;
            epochs.push(row.epoch);
            observed.push(Observed {
                source: row.source,
                place: Place::new(ordinal, row.offset),
                received_at: record.received_at,
                record: Some(record),
                outcome: Outcome::Accepted,
            });
        }
        arena.reset();
    }
    Ok((observed, epochs))
}

fn questions(
    manifest: &Manifest,
    observed: &[Observed],
    shared: &Shared,
    extent: Extent,
) -> Vec<(&'static str, Query)> {
    let kept = |name: &str| manifest.views.iter().any(|view| view.name == name);
    let mut questions: Vec<(&'static str, Query)> = Vec::new();
    match extent {
        Extent::Whole => {
            questions.extend([
                ("sales", Query::group_by(["day", "product_id", "category"])),
                ("sales", Query::group_by(["month", "currency"])),
                ("funnel", Query::group_by(["day", "device"])),
                ("funnel", Query::group_by(["category"])),
                ("related_products", Query::default()),
                ("traffic", Query::group_by(["day"])),
            ]);
        }
        Extent::Sample(count) => {
            let (mut days, mut products) = (BTreeSet::new(), BTreeSet::new());
            for record in observed.iter().filter_map(|one| one.record.as_ref()) {
                if !record.kind.is_dimension() {
                    days.insert(shared.context.calendar.day(record.time));
                }
                if !record.product_id.is_empty() {
                    products.insert(record.product_id.as_str());
                }
            }
            for day in spread(&days.into_iter().collect::<Vec<_>>(), count) {
                let of_day = |columns: &[&str]| Query { days: Some((day, day)), ..Query::group_by(columns.to_vec()) };
                questions.push(("funnel", of_day(&["day", "device"])));
                questions.push(("traffic", of_day(&["day"])));
            }
            for product in spread(&products.into_iter().collect::<Vec<_>>(), count) {
                let of_product = |columns: &[&str]| Query {
                    filters: vec![("product_id".to_owned(), product.to_owned())],
                    ..Query::group_by(columns.to_vec())
                };
                questions.push(("sales", of_product(&["day", "product_id", "category"])));
                questions.push(("related_products", of_product(&[])));
            }
        }
    }
    questions.retain(|(name, _)| kept(name));
    questions
}

/// So many of them, evenly spread.
fn spread<T: Copy>(all: &[T], count: usize) -> Vec<T> {
    let step = all.len().div_ceil(count.max(1)).max(1);
    all.iter().copied().step_by(step).collect()
}

fn compare(
    store: &dyn Store,
    manifest: &Manifest,
    shared: &Shared,
    observed: &[Observed],
    name: &'static str,
    query: &Query,
    verified: &mut Verified,
) -> anyhow::Result<()> {
    let view_of_name = view(name, &shared.context).with_context(|| format!("there is no view {name}"))?;
    let (_, state) = view_of(store, manifest, name, shared)?;
    // Complete up to the last event, as the oracles take it: what is right does not depend on how far a partition was behind.
    let records = observed.iter().filter_map(|one| one.record.as_ref()).filter(|record| !record.kind.is_dimension());
    let last = records.map(|record| record.time).max();
    let watermark = last.map(|last| last - shared.context.allowed_lateness_micros);
    let context = AnswerContext { shared: shared.clone(), watermark };
    let kept = view_of_name.answer(&state, &context, query)?;
    let recomputed = view_of_name.oracle(&shared.context, observed, query)?;
    verified.questions += 1;
    verified.rows += recomputed.rows.len();
    if kept != recomputed {
        let question = format!("{name} by {} where {:?}", query.group_by.join(","), query.filters);
        let only = |a: &Table, b: &Table| a.rows.iter().filter(|row| !b.rows.contains(row)).cloned().collect();
        let difference = Difference { question, kept: only(&kept, &recomputed), recomputed: only(&recomputed, &kept) };
        verified.differences.push(difference);
    }
    Ok(())
}
