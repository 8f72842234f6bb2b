//! One timely worker: takes chunks, drives the dataflow, keeps the states of its share of the views' rows.

use super::feed::{FIRST_EPOCH, Feed, Next};
use super::ingest::Ingest;
use millrace_dataflows::context::Shared;
use millrace_dataflows::graph::{self, Sources};
use millrace_dataflows::operators::dedup::Verdict;
use millrace_dataflows::rows::{Change, State};
use millrace_schema::{Event, Place};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::input::Handle;
use timely::dataflow::operators::{Input, Probe, probe};
use timely::worker::Worker;

/// How long a worker with nothing to do sleeps at most; word from other workers wakes it, chunks in the feed do not.
const NAP: Duration = Duration::from_millis(2);

/// What all workers share.
pub struct Plan {
    pub feed: Feed,
    pub shared: Shared,
    pub enabled: Vec<String>,
    pub epochs_in_flight: u64,
}

/// One worker's share of the result.
pub struct Share {
    /// By view.
    pub states: Vec<(&'static str, State)>,
    pub latest: Option<i64>,
    pub epoch: u64,
}

type Collected = Rc<RefCell<State>>;
type Verdicts = Rc<RefCell<Vec<(u64, Place, Verdict)>>>;

/// What goes into the dataflow.
struct Inputs {
    events: Handle<u64, Event>,
    receipts: Handle<u64, Change>,
}

/// What comes out of it.
struct Outcomes {
    probe: probe::Handle<u64>,
    verdict_probe: probe::Handle<u64>,
    verdicts: Verdicts,
    states: Vec<(&'static str, Collected)>,
}

/// Runs the worker until the feed is done and every epoch closed.
///
/// # Errors
/// Where the lake cannot be written; the worker then still runs the dataflow to its end, so that the others can.
pub fn run(worker: &mut Worker, plan: &Plan, mut ingest: Ingest) -> anyhow::Result<Share> {
    let (mut inputs, outcomes) = build(worker, plan);
    let mut failure = None;
    let (mut last_epoch, mut latest) = (0, None);
    loop {
        let open = first_open(&outcomes.probe).unwrap_or(FIRST_EPOCH);
        match plan.feed.next(open.max(FIRST_EPOCH) + plan.epochs_in_flight) {
            Next::Done => break,
            Next::Nothing(epoch) => {
                inputs.advance(epoch, &mut ingest);
                worker.step_or_park(Some(NAP));
            }
            Next::Chunk(epoch, chunk) => {
                inputs.advance(epoch, &mut ingest);
                last_epoch = epoch;
                if failure.is_none() {
                    // Nothing is too late: a replay has no horizons, and so no watermark.
                    match ingest.chunk(epoch, i64::MIN, chunk, |event| inputs.events.send(event)) {
                        Ok(of_chunk) => latest = latest.max(of_chunk),
                        Err(error) => failure = Some(error),
                    }
                }
                inputs.events.flush();
                worker.step();
            }
        }
        failure = failure.or(outcomes.settle(&mut ingest).err());
        if failure.is_some() {
            plan.feed.abandon();
        }
    }
    inputs.close(&mut ingest);
    while !outcomes.probe.done() || !outcomes.verdict_probe.done() {
        worker.step_or_park(Some(NAP));
    }
    failure = failure.or(outcomes.settle(&mut ingest).err());
    let finished = ingest.finish();
    if let Some(failure) = failure {
        return Err(failure);
    }
    finished?;
    let states = outcomes.states.into_iter().map(|(view, state)| (view, state.take())).collect();
    Ok(Share { states, latest, epoch: last_epoch })
}

fn build(worker: &mut Worker, plan: &Plan) -> (Inputs, Outcomes) {
    worker.dataflow(|scope| {
        let (events, event_stream) = scope.new_input();
        let (receipts, receipt_stream) = scope.new_input();
        let sources = Sources { events: event_stream, receipts: receipt_stream, watermarks: None, restored: None };
        let outputs = graph::build(scope, sources, &plan.shared, &plan.enabled, false);
        let mut states = Vec::new();
        let probe = probe::Handle::new();
        for (view, rows) in outputs.views {
            let state = Collected::default();
            let sum = state.clone();
            let done = rows.inner.unary::<timely::container::CapacityContainerBuilder<Vec<()>>, _, _, _>(
                Pipeline,
                "Collect",
                move |_, _| {
                    move |input, _output| {
                        input.for_each(|_, data| sum.borrow_mut().apply_all(data));
                    }
                },
            );
            done.probe_with(&probe);
            states.push((view, state));
        }
        let verdicts = Verdicts::default();
        let list = verdicts.clone();
        let verdict_probe = probe::Handle::new();
        outputs
            .verdicts
            .unary::<timely::container::CapacityContainerBuilder<Vec<()>>, _, _, _>(
                Pipeline,
                "Verdicts",
                move |_, _| {
                    move |input, _output| {
                        input.for_each(|capability, data| {
                            let epoch = *capability.least().expect("a message has a time");
                            list.borrow_mut().extend(data.drain(..).map(|(place, verdict)| (epoch, place, verdict)));
                        });
                    }
                },
            )
            .probe_with(&verdict_probe);
        (Inputs { events, receipts }, Outcomes { probe, verdict_probe, verdicts, states })
    })
}

fn first_open(probe: &probe::Handle<u64>) -> Option<u64> {
    probe.with_frontier(|frontier| frontier.first().copied())
}

impl Inputs {
    /// Closes the epochs before `epoch` on this worker's inputs.
    fn advance(&mut self, epoch: u64, ingest: &mut Ingest) {
        let now = *self.receipts.time();
        if epoch > now {
            ingest.receipts().drain(now).for_each(|change| self.receipts.send(change));
            self.events.advance_to(epoch);
            self.receipts.advance_to(epoch);
        }
    }

    fn close(mut self, ingest: &mut Ingest) {
        let now = *self.receipts.time();
        ingest.receipts().drain(now).for_each(|change| self.receipts.send(change));
    }
}

impl Outcomes {
    /// Hands over the verdicts that came, and settles the epochs whose verdicts are all in.
    fn settle(&self, ingest: &mut Ingest) -> anyhow::Result<()> {
        for (epoch, place, verdict) in self.verdicts.borrow_mut().drain(..) {
            ingest.verdict(epoch, place, verdict);
        }
        ingest.settle(first_open(&self.verdict_probe).unwrap_or(u64::MAX))
    }
}
