//! A run's way to its lake: a writer for each worker, and the committer behind them.
//!
//! ```text
//! worker ──▶ writer ──files──▶ committer ──▶ manifest
//! publisher ──cuts──────────────▶ │ ──released──▶ reader ──▶ source
//! ```

use super::feed::Feed;
use super::publish::Cuts;
use super::restore::Begun;
use super::run::{Plan, Reading};
use super::threads::Threads;
use crate::checkpoint::{self, Committer, Incoming, Lake, LakeWriter, Outgoing, Released, ViewFiles};
use crate::ingest::PartitionTable;
use crate::memory::Memory;
use crate::numbers::Generation;
use crate::settings::Settings;
use millrace_connectors::lake::{EventFiles, EventSettings, PendingFiles, QuarantineFiles, QuarantineSettings};
use millrace_connectors::store::Store;
use millrace_dataflows::context::Shared;
use millrace_schema::decode::DecodeSettings;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, mpsc};

/// The ends that others have of what writes. Without a lake there is none.
pub struct Writing {
    /// One for each worker.
    pub writers: Vec<Option<LakeWriter>>,
    /// Of the publisher.
    pub cuts: Cuts,
    /// Of the reader.
    pub released: Option<Released>,
    /// Of those who hand over what other processes have written.
    pub incoming: Option<SyncSender<Incoming>>,
}

impl Writing {
    /// Starts what writes to the lake of a plan, if it has one.
    ///
    /// # Errors
    /// Where there are no threads to be had.
    pub fn start(
        settings: &Settings,
        plan: &mut Plan,
        begun: &Begun,
        reading: &Reading,
        memory: &Memory,
        threads: &mut Threads,
    ) -> anyhow::Result<Writing> {
        let mut writers: Vec<Option<LakeWriter>> = (0..plan.workers).map(|_| None).collect();
        let (Some((lake, mode)), Some(counts)) = (plan.lake.take(), threads.engine.counts.clone()) else {
            return Ok(Writing { writers, cuts: None, released: None, incoming: None });
        };
        let (incoming, received) = Committer::channel();
        for (worker, writer) in writers.iter_mut().enumerate() {
            let (generation, place) = (lake.manifest.generation, (worker, plan.workers));
            let outgoing =
                outgoing_to(settings, &lake.store, generation, place, &reading.partitions, memory, plan.keeps_state);
            let (started, thread) = LakeWriter::start(outgoing, incoming.clone())?;
            *writer = Some(started);
            threads.watch(thread)?;
        }
        let (cuts, cut_receiver) = mpsc::channel();
        let (clock, feed) = (reading.clock.clone(), reading.feed.clone());
        let is_plain = plan.rules.only_the_end_counts;
        let committer = Committer::new(checkpoint::Parts {
            settings: settings.clone(),
            mode,
            keeps_state: plan.keeps_state,
            counts_whole: plan.counts_whole(),
            names: begun.shared.names.clone(),
            workers: plan.all_workers(),
            views: views(settings, begun, is_plain)?,
            now_ms: Box::new(move || clock.now_ms()),
            beside: (!is_plain).then(|| beside(&begun.shared, &plan.validated.decode, &feed)),
            repaired: repaired(plan, &lake),
            carried: plan.rebuild.take().map(|found| found.quarantine).unwrap_or_default(),
            names_lost: begun.lost.names,
            counts,
            lake,
        });
        let released = committer.released();
        threads.first("committer", move || {
            let ends = CommitsEnd(feed);
            committer.run(&received, &cut_receiver, &*ends.0)
        })?;
        let incoming = plan.cluster.is_some().then_some(incoming);
        Ok(Writing { writers, cuts: Some(cuts), released: Some(released), incoming })
    }
}

/// The views as the lake has them: those whose rows are lost are written whole.
fn views(settings: &Settings, begun: &Begun, is_plain: bool) -> anyhow::Result<Vec<ViewFiles>> {
    let names: Vec<&str> = begun.kept.views.iter().map(|rows| rows.view.name()).collect();
    let mut definitions = checkpoint::definitions(settings, &names)?;
    let files = begun.kept.views.iter().map(|rows| {
        let name = rows.view.name();
        let entry = begun.before.as_ref().and_then(|manifest| manifest.views.iter().find(|view| view.name == name));
        let entry = entry.filter(|_| !begun.lost.views.contains(&name));
        let definition = definitions.remove(name).unwrap_or_default();
        ViewFiles::new(rows, (!is_plain).then_some(&*begun.shared.context), definition, entry.cloned())
    });
    Ok(files.collect())
}

fn beside(shared: &Shared, decode: &DecodeSettings, feed: &Arc<Feed>) -> checkpoint::Beside {
    let feed = feed.clone();
    checkpoint::Beside {
        shared: shared.clone(),
        decode: decode.clone(),
        found: Box::new(move |found| feed.found(found)),
    }
}

/// The files of pending records that are in with the first checkpoint; with it the state is written anew.
fn repaired(plan: &Plan, lake: &Lake) -> Option<Vec<String>> {
    match (&plan.redefine, plan.repair) {
        (Some(_), _) => Some(Vec::new()),
        (None, true) => Some(pending_keys(lake)),
        (None, false) => None,
    }
}

/// The files of pending records.
fn pending_keys(lake: &Lake) -> Vec<String> {
    let pending = lake.files.iter().filter(|file| checkpoint::Kind::of(&file.key) == Some(checkpoint::Kind::Pending));
    pending.map(|file| file.key.clone()).collect()
}

/// What the writer of a worker needs, by the worker's number and how many there are in this process.
pub fn outgoing_to(
    settings: &Settings,
    store: &Arc<dyn Store>,
    generation: Generation,
    (worker, workers): (usize, usize),
    partitions: &PartitionTable,
    memory: &Memory,
    state: bool,
) -> Outgoing {
    let name = format!("{}-w{worker:03}", checkpoint::prefix(generation));
    let compression = checkpoint::compression(settings);
    let defaults = EventSettings::default();
    let event_settings = EventSettings {
        compression,
        file_rows: settings.lake.events_file_rows as u64,
        buffer_bytes: memory.share(defaults.buffer_bytes) / workers,
        uploads_most: (defaults.uploads_most / workers).max(1),
        ..defaults
    };
    let quarantine_settings = QuarantineSettings {
        compression,
        record_bytes: settings.lake.quarantine_bytes_max,
        ..QuarantineSettings::default()
    };
    Outgoing {
        worker,
        store: store.clone(),
        partitions: partitions.clone(),
        events: settings.lake.events.then(|| EventFiles::new(store.clone(), &name, event_settings)),
        quarantine: QuarantineFiles::new(store.clone(), &name, quarantine_settings),
        pending: PendingFiles::new(store.clone(), &name, compression),
        state,
        queue_bytes: memory.share(checkpoint::QUEUE_BYTES) / workers,
        name,
    }
}

/// However the committer ends, the feed knows that it has.
struct CommitsEnd(Arc<Feed>);

impl Drop for CommitsEnd {
    fn drop(&mut self) {
        self.0.commits_end();
    }
}
