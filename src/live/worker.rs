//! One timely worker of a running engine: takes chunks, drives the dataflow, hands over the changes of closed epochs.

use super::feed::{Feed, Next, Stamp};
use crate::engine::ingest::Ingest;
use millrace_dataflows::context::Shared;
use millrace_dataflows::graph::{self, Sources};
use millrace_dataflows::operators::dedup::Verdict;
use millrace_dataflows::rows::{Change, Netting};
use millrace_schema::{Event, Place};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::input::Handle;
use timely::dataflow::operators::{Input, Probe, probe};
use timely::worker::Worker;

/// How long a worker with nothing to do sleeps at most; the feed and other workers wake it.
const NAP: Duration = Duration::from_millis(20);

/// What all workers share.
pub struct Plan {
    pub feed: Arc<Feed>,
    pub shared: Shared,
    /// The views that are maintained. `quality` always is.
    pub enabled: Vec<String>,
}

/// The changes of one epoch, by view (its number among those that the dataflow renders).
pub type Changes = Vec<(usize, Vec<Change>)>;

/// What a worker says: it has closed every epoch before `open`, and what changed in those of them that it has not reported.
pub struct Report {
    pub worker: usize,
    pub open: u64,
    pub changes: Changes,
}

/// While reading is behind, nobody waits for the next epoch more than for those after it: a worker nets the changes of so
/// long a time before it reports them.
const REPORT_BEHIND: Duration = Duration::from_secs(2);

/// What a worker has closed and not reported.
struct Unreported {
    worker: usize,
    feed: Arc<Feed>,
    reports: Sender<Report>,
    open: u64,
    reported_at: Instant,
    /// By view.
    netted: Vec<Netting>,
}

struct Inputs {
    events: Handle<u64, Event>,
    receipts: Handle<u64, Change>,
    watermarks: Handle<u64, i64>,
    /// What the records of the present epoch are read under.
    stamp: Stamp,
    /// Whether this worker tells the others the watermark.
    is_clock: bool,
}

type Left<D> = Rc<RefCell<D>>;

struct Outcomes {
    probe: probe::Handle<u64>,
    verdict_probe: probe::Handle<u64>,
    verdicts: Left<Vec<(u64, Place, Verdict)>>,
    changes: Left<BTreeMap<u64, Changes>>,
}

/// Runs the worker until the feed is done and every epoch closed.
///
/// # Errors
/// Where what was rejected cannot be kept.
pub fn run(worker: &mut Worker, plan: &Plan, mut ingest: Ingest, reports: &Sender<Report>) -> anyhow::Result<()> {
    plan.feed.register();
    let (mut inputs, outcomes) = build(worker, plan);
    let mut unreported = Unreported::new(worker.index(), plan.feed.clone(), reports.clone());
    loop {
        match plan.feed.next() {
            Next::Done => break,
            Next::Nothing(stamp) => {
                inputs.advance(stamp, &mut ingest);
                worker.step_or_park(Some(NAP));
            }
            Next::Chunk(stamp, chunk) => {
                inputs.advance(stamp, &mut ingest);
                let partition = chunk.partition;
                let latest = ingest.chunk(stamp.epoch, stamp.watermark, chunk, |event| inputs.events.send(event))?;
                if let Some(latest) = latest {
                    plan.feed.heard(stamp.epoch, partition, latest);
                }
                inputs.events.flush();
                worker.step();
            }
        }
        outcomes.settle(&mut ingest)?;
        unreported.close(&outcomes);
    }
    inputs.close(&mut ingest);
    while !outcomes.probe.done() || !outcomes.verdict_probe.done() {
        worker.step_or_park(Some(NAP));
    }
    outcomes.settle(&mut ingest)?;
    unreported.close(&outcomes);
    ingest.finish()?;
    Ok(())
}

impl Unreported {
    fn new(worker: usize, feed: Arc<Feed>, reports: Sender<Report>) -> Unreported {
        Unreported { worker, feed, reports, open: 0, reported_at: Instant::now(), netted: Vec::new() }
    }

    /// Tells the feed how far the worker is, and reports what changed if it is time to.
    fn close(&mut self, outcomes: &Outcomes) {
        let open = first_open(&outcomes.probe);
        if open <= self.open {
            return;
        }
        self.open = open;
        let later = outcomes.changes.borrow_mut().split_off(&open);
        let closed = outcomes.changes.replace(later);
        let is_behind = self.feed.close(self.worker, open);
        if is_behind && self.reported_at.elapsed() < REPORT_BEHIND {
            for (view, changes) in closed.into_values().flatten() {
                if self.netted.len() <= view {
                    self.netted.resize_with(view + 1, Netting::default);
                }
                self.netted[view].add_all(&changes);
            }
            return;
        }
        let netted = self.netted.iter_mut().enumerate().map(|(view, netted)| (view, netted.drain(open).collect()));
        let changes = netted.chain(closed.into_values().flatten()).collect();
        // Nobody listens once the engine has failed.
        let _ = self.reports.send(Report { worker: self.worker, open, changes });
        self.reported_at = Instant::now();
    }
}

fn build(worker: &mut Worker, plan: &Plan) -> (Inputs, Outcomes) {
    let is_clock = worker.index() == 0;
    worker.dataflow(|scope| {
        let (events, event_stream) = scope.new_input();
        let (receipts, receipt_stream) = scope.new_input();
        let (watermarks, watermark_stream) = scope.new_input();
        let watermarks_in = Some(watermark_stream);
        let sources =
            Sources { events: event_stream, receipts: receipt_stream, watermarks: watermarks_in, restored: None };
        let outputs = graph::build(scope, sources, &plan.shared, &plan.enabled, false);
        let (probe, verdict_probe) = (probe::Handle::new(), probe::Handle::new());
        let changes: Left<BTreeMap<u64, Changes>> = Left::default();
        for (view, (_, rows)) in outputs.views.into_iter().enumerate() {
            let changes = changes.clone();
            collect(rows.inner, &probe, move |epoch, data| {
                changes.borrow_mut().entry(epoch).or_default().push((view, std::mem::take(data)));
            });
        }
        let verdicts: Left<Vec<(u64, Place, Verdict)>> = Left::default();
        let list = verdicts.clone();
        collect(outputs.verdicts, &verdict_probe, move |epoch, data| {
            list.borrow_mut().extend(data.drain(..).map(|(place, verdict)| (epoch, place, verdict)));
        });
        let stamp = Stamp { epoch: 0, watermark: super::watermarks::Watermarks::UNKNOWN };
        let inputs = Inputs { events, receipts, watermarks, stamp, is_clock };
        (inputs, Outcomes { probe, verdict_probe, verdicts, changes })
    })
}

/// Hands over what leaves the dataflow, a message at a time with the epoch it leaves at.
fn collect<'s, D: 'static>(
    stream: StreamVec<'s, u64, D>,
    probe: &probe::Handle<u64>,
    mut take: impl FnMut(u64, &mut Vec<D>) + 'static,
) {
    let taken = stream.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(Pipeline, "Collect", move |_, _| {
        move |input, _output| {
            input.for_each(|capability, data| take(*capability.least().expect("a message has a time"), data));
        }
    });
    taken.probe_with(probe);
}

fn first_open(probe: &probe::Handle<u64>) -> u64 {
    probe.with_frontier(|frontier| frontier.first().copied()).unwrap_or(u64::MAX)
}

impl Inputs {
    /// Closes the epochs before `stamp`'s on this worker's inputs.
    fn advance(&mut self, stamp: Stamp, ingest: &mut Ingest) {
        let now = *self.receipts.time();
        if stamp.epoch > now {
            self.end_epoch(now, ingest);
            self.events.advance_to(stamp.epoch);
            self.receipts.advance_to(stamp.epoch);
            self.watermarks.advance_to(stamp.epoch);
            self.stamp = stamp;
        }
    }

    fn end_epoch(&mut self, now: u64, ingest: &mut Ingest) {
        ingest.receipts().drain(now).for_each(|change| self.receipts.send(change));
        if self.is_clock && self.stamp.watermark != super::watermarks::Watermarks::UNKNOWN {
            self.watermarks.send(self.stamp.watermark);
        }
    }

    fn close(mut self, ingest: &mut Ingest) {
        let now = *self.receipts.time();
        self.end_epoch(now, ingest);
    }
}

impl Outcomes {
    /// Hands over the verdicts that came, and settles the epochs whose verdicts are all in.
    fn settle(&self, ingest: &mut Ingest) -> anyhow::Result<()> {
        for (epoch, place, verdict) in self.verdicts.borrow_mut().drain(..) {
            ingest.verdict(epoch, place, verdict);
        }
        ingest.settle(first_open(&self.verdict_probe))
    }
}
