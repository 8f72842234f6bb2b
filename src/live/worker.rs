//! One timely worker of a running engine: takes chunks, drives the dataflow, hands over the changes of closed epochs.

use super::feed::{Feeding, Progress, Stamp, Work};
use super::state_rows::StateRows;
use crate::checkpoint::RestoredRows;
use crate::ingest::{Ingest, ReadAs};
use crate::numbers::{Epoch, Offset};
use crate::serve::commit::Changed;
use millrace_dataflows::context::Shared;
use millrace_dataflows::durable::{Kept, Needed, OpenWarning, PairCount, Restored, Settled};
use millrace_dataflows::facts::{Account, FactChange};
use millrace_dataflows::graph::{self, Sources};
use millrace_dataflows::operators::dedup::Verdict;
use millrace_dataflows::rows::{Change, Netting};
use millrace_schema::{Event, Name, Named, Place};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::input::Handle;
use timely::dataflow::operators::{Input, Probe, probe};
use timely::worker::Worker;

/// So many names are told before the dataflow takes a step.
const TOLD_AT_ONCE: usize = 4_096;

/// How long a worker with nothing to do sleeps at most; the feed and other workers wake it.
const NAP: Duration = Duration::from_millis(20);

/// What all workers share.
pub struct Plan {
    pub feed: Arc<dyn Feeding>,
    pub shared: Shared,
    /// The views that are maintained. `quality` always is.
    pub enabled: Vec<String>,
    pub restored: Option<RestoredRows>,
    /// Whether sessions are counted whole, and not by visits: so does what has no horizons.
    pub counts_whole: bool,
    /// Whether what was pending may be merged.
    pub recalls: bool,
}

/// The changes of one epoch, by view.
pub type Changes = Vec<(&'static str, Vec<Change>)>;

/// What a worker says: it has closed every epoch before `open`, and what changed in those of them from `from` on.
pub struct Report {
    pub worker: usize,
    pub from: Epoch,
    pub open: Epoch,
    pub changes: Vec<(&'static str, Changed)>,
    /// The names that its records carried for the first time, and their texts.
    pub names: Vec<(Name, Arc<str>)>,
}

/// What a worker has closed and not reported.
struct Unreported {
    worker: usize,
    feed: Arc<dyn Feeding>,
    reports: Sender<Report>,
    /// Every epoch before it is closed.
    open: Epoch,
    /// Every epoch before it is reported.
    reported: Epoch,
    /// The last epochs of checkpoints that are not sealed. No report goes on beyond one.
    checkpoints: VecDeque<Epoch>,
    /// By view.
    netted: BTreeMap<&'static str, Netting>,
    is_empty: bool,
    told: Told,
}

struct Inputs {
    events: Handle<u64, Event>,
    names: Handle<u64, Named>,
    told: Told,
    receipts: Handle<u64, FactChange<Account>>,
    watermarks: Handle<u64, i64>,
    recalled: Option<Handle<u64, Kept>>,
    restoring: Option<Restoring>,
    /// What the records of the present epoch are read under.
    stamp: Stamp,
    /// Whether this worker tells the others the watermark.
    is_clock: bool,
}

/// What comes before everything else.
struct Restoring {
    kept: Handle<u64, Kept>,
    pairs: Handle<u64, PairCount>,
    settled: Handle<u64, (Settled, u32)>,
    warnings: Handle<u64, (OpenWarning, i64)>,
}

type Left<D> = Rc<RefCell<D>>;

/// The names that a worker has told the others and not reported, in the order of the epochs at which it did.
type Told = Left<VecDeque<(Epoch, (Name, Arc<str>))>>;

struct Outcomes {
    probe: probe::Handle<u64>,
    verdict_probe: probe::Handle<u64>,
    verdicts: Left<BTreeMap<Epoch, Vec<(Place, Verdict)>>>,
    state: Left<StateRows>,
    changes: Left<BTreeMap<Epoch, Changes>>,
}

/// Runs the worker until the feed is done and every epoch closed.
///
/// # Errors
/// Where what was rejected cannot be kept.
pub fn run(worker: &mut Worker, plan: &Plan, mut ingest: Ingest, reports: &Sender<Report>) -> anyhow::Result<()> {
    plan.feed.register();
    let (mut inputs, outcomes) = build(worker, plan, ingest.wants_state());
    if inputs.is_clock {
        inputs.tell_known(&plan.shared, worker);
    }
    if let Some(restored) = &plan.restored {
        inputs.restore(restored, &outcomes, &mut ingest, worker)?;
    }
    let told = inputs.told.clone();
    let mut unreported = Unreported::new(worker.index(), plan.feed.clone(), reports.clone(), told);
    loop {
        let (stamp, work) = plan.feed.next();
        unreported.seen(stamp.checkpoint, &outcomes);
        inputs.advance(stamp, &mut ingest);
        match work {
            Work::Done => {
                unreported.seen(stamp.epoch, &outcomes);
                break;
            }
            Work::Nothing => {
                worker.step_or_park(Some(NAP));
            }
            Work::Chunk(chunk) => {
                let place = (chunk.partition, Offset(chunk.base_offset));
                let read_as = ReadAs::New { watermark: stamp.watermark };
                let times = ingest.chunk(stamp.epoch, read_as, chunk, |event| inputs.events.send(event));
                plan.feed.heard(stamp.epoch, place, times);
                inputs.events.flush();
                worker.step();
            }
            Work::Late(chunk) => {
                ingest.chunk(stamp.epoch, ReadAs::Late, chunk, |event| inputs.events.send(event));
                inputs.events.flush();
                worker.step();
            }
            Work::Names(names) => {
                names.into_iter().for_each(|Named { name, text }| inputs.tell(name, text.into()));
                worker.step();
            }
            Work::Recalled(rows) => {
                outcomes.state.borrow_mut().push_recalled(stamp.epoch, &rows);
                inputs.recall(rows);
                worker.step();
            }
        }
        unreported.close(&outcomes, &mut ingest)?;
    }
    inputs.close(&mut ingest);
    while outcomes.open() != Epoch::END {
        worker.step_or_park(Some(NAP));
        unreported.close(&outcomes, &mut ingest)?;
    }
    unreported.close(&outcomes, &mut ingest)?;
    Ok(())
}

impl Unreported {
    fn new(worker: usize, feed: Arc<dyn Feeding>, reports: Sender<Report>, told: Told) -> Unreported {
        Unreported {
            worker,
            feed,
            reports,
            open: Epoch::NONE,
            reported: Epoch::NONE,
            checkpoints: VecDeque::new(),
            netted: BTreeMap::new(),
            is_empty: true,
            told,
        }
    }

    /// An epoch that is seen tells where the last checkpoint before it ends.
    fn seen(&mut self, checkpoint: Epoch, outcomes: &Outcomes) {
        if checkpoint != Epoch::NONE
            && self.checkpoints.back().is_none_or(|last| *last < checkpoint)
            && checkpoint >= self.open
        {
            self.checkpoints.push_back(checkpoint);
            outcomes.state.borrow_mut().ends(checkpoint);
        }
    }

    /// Tells the feed how far the worker is, reports what changed if it is time to, and hands over what checkpoints need.
    fn close(&mut self, outcomes: &Outcomes, ingest: &mut Ingest) -> anyhow::Result<()> {
        let open = outcomes.open();
        if open <= self.open {
            return Ok(());
        }
        self.open = open;
        let later = outcomes.changes.borrow_mut().split_off(&open);
        let mut closed = outcomes.changes.replace(later);
        let Progress { is_behind, report_ends } = self.feed.close(self.worker, open);
        loop {
            let checkpoint = self.checkpoints.front().copied().filter(|checkpoint| *checkpoint < open);
            let first = if self.is_empty { closed.keys().next().copied() } else { Some(self.reported) };
            let end = first.and_then(|first| report_ends.iter().copied().find(|end| *end >= first));
            let Some(last) = checkpoint.into_iter().chain(end).min() else { break };
            let later = closed.split_off(&last.next());
            self.report(last.next(), std::mem::replace(&mut closed, later));
            if checkpoint == Some(last) {
                self.checkpoints.pop_front();
                outcomes.settle(last.next(), ingest)?;
                outcomes.state.borrow_mut().seal(last, ingest)?;
                ingest.seal(last)?;
            }
        }
        outcomes.settle(open, ingest)?;
        outcomes.state.borrow_mut().hand_over(ingest)?;
        if is_behind && open != Epoch::END {
            self.net(closed);
        } else {
            self.report(open, closed);
        }
        Ok(())
    }

    fn net(&mut self, closed: BTreeMap<Epoch, Changes>) {
        for (view, changes) in closed.into_values().flatten() {
            self.netted.entry(view).or_default().add_all(&changes);
            self.is_empty = false;
        }
    }

    fn report(&mut self, open: Epoch, closed: BTreeMap<Epoch, Changes>) {
        let changes = if self.is_empty {
            closed.into_values().flatten().map(|(view, changes)| (view, Changed::List(changes))).collect()
        } else {
            self.net(closed);
            self.is_empty = true;
            let netted = self.netted.iter_mut().map(|(view, netted)| (*view, Changed::Netted(netted.hand_over())));
            netted.collect()
        };
        let mut told = self.told.borrow_mut();
        let names =
            std::iter::from_fn(|| told.pop_front_if(|(epoch, _)| *epoch < open)).map(|(_, named)| named).collect();
        // Nobody listens once the engine has failed.
        let _ = self.reports.send(Report { worker: self.worker, from: self.reported, open, changes, names });
        self.reported = open;
    }
}

fn build(worker: &mut Worker, plan: &Plan, durable: bool) -> (Inputs, Outcomes) {
    let is_clock = worker.index() == 0;
    // What leaves at the epoch of what is restored has left before.
    let before = plan.restored.as_ref().map_or(Epoch::NONE, |restored| restored.epoch);
    let is_anew = plan.restored.as_ref().is_some_and(RestoredRows::is_of_lake);
    worker.dataflow(|scope| {
        let (events, event_stream) = scope.new_input();
        let (names, name_stream) = scope.new_input();
        let (receipts, receipt_stream) = scope.new_input();
        let (watermarks, watermark_stream) = scope.new_input();
        let (mut restoring, mut restored) = (None, None);
        let (recalled, recalled_stream) = match plan.recalls {
            true => {
                let (input, stream) = scope.new_input();
                (Some(input), Some(stream))
            }
            false => (None, None),
        };
        if plan.restored.is_some() {
            let (kept_input, kept) = scope.new_input();
            let (pairs_input, pairs) = scope.new_input();
            let (settled_input, settled) = scope.new_input();
            let (warnings_input, warnings) = scope.new_input();
            restored = Some(Restored { kept, pairs, settled, warnings });
            let (kept, pairs, settled, warnings) = (kept_input, pairs_input, settled_input, warnings_input);
            restoring = Some(Restoring { kept, pairs, settled, warnings });
        }
        let watermarks_in = Some(watermark_stream);
        let sources = Sources {
            events: event_stream,
            names: name_stream,
            receipts: receipt_stream,
            watermarks: watermarks_in,
            restored,
            recalled: recalled_stream,
        };
        let outputs = graph::build(scope, sources, &plan.shared, &plan.enabled, durable);
        let (probe, verdict_probe) = (probe::Handle::new(), probe::Handle::new());
        let changes: Left<BTreeMap<Epoch, Changes>> = Left::default();
        for (name, rows) in outputs.views {
            let changes = changes.clone();
            // Where all views are made anew, but for what was counted of records that are not there any more.
            let before = if is_anew && name != "quality" { Epoch::NONE } else { before };
            collect(rows.inner, &probe, move |epoch, data| {
                if epoch > before {
                    changes.borrow_mut().entry(epoch).or_default().push((name, std::mem::take(data)));
                }
            });
        }
        let verdicts: Left<BTreeMap<Epoch, Vec<(Place, Verdict)>>> = Left::default();
        let list = verdicts.clone();
        collect(outputs.verdicts, &verdict_probe, move |epoch, data| {
            if epoch > before {
                list.borrow_mut().entry(epoch).or_default().append(data);
            }
        });
        let state: Left<StateRows> = Rc::new(RefCell::new(StateRows::new(plan.counts_whole)));
        if durable {
            let rows = state.clone();
            collect(outputs.accepted, &probe, move |epoch, data| {
                if epoch > before {
                    rows.borrow_mut().push(epoch, data);
                }
            });
        }
        let stamp = Stamp {
            epoch: Epoch::NONE,
            at_ms: 0,
            watermark: super::watermarks::Watermarks::UNKNOWN,
            checkpoint: Epoch::NONE,
            forgets: true,
            again: false,
        };
        let told = Told::default();
        let inputs = Inputs { events, names, told, receipts, watermarks, recalled, restoring, stamp, is_clock };
        (inputs, Outcomes { probe, verdict_probe, verdicts, state, changes })
    })
}

/// Hands over what leaves the dataflow, a message at a time with the epoch it leaves at.
fn collect<'s, D: 'static>(
    stream: StreamVec<'s, u64, D>,
    probe: &probe::Handle<u64>,
    mut take: impl FnMut(Epoch, &mut Vec<D>) + 'static,
) {
    let taken = stream.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(Pipeline, "Collect", move |_, _| {
        move |input, _output| {
            input.for_each(|capability, data| take(Epoch(*capability.least().expect("a message has a time")), data));
        }
    });
    taken.probe_with(probe);
}

fn first_open(probe: &probe::Handle<u64>) -> Epoch {
    probe.with_frontier(|frontier| frontier.first().copied()).map_or(Epoch::END, Epoch)
}

impl Inputs {
    /// Takes in what a checkpoint has left. A file after the other has an epoch of its own, so that little is in flight; the last is
    /// the checkpoint's.
    fn restore(
        &mut self,
        restored: &RestoredRows,
        outcomes: &Outcomes,
        ingest: &mut Ingest,
        worker: &mut Worker,
    ) -> anyhow::Result<()> {
        let Some(mut restoring) = self.restoring.take() else { return Ok(()) };
        // Steps of the dataflow before the epochs of this run: the last is the one that all of it is of.
        let last = restored.epoch.0;
        let in_flight = 2 * worker.peers() as u64;
        self.restore_at(last.min(1), &mut restoring);
        if self.is_clock {
            // Before the rows: what was recalled is taken back from what they add to.
            restored.sums()?.read(
                |pair| restoring.pairs.send(pair),
                |settled| restoring.settled.send(settled),
                |warning| restoring.warnings.send(warning),
            )?;
        }
        let mut recalled = Vec::new();
        while let Some(file) = restored.take() {
            let epoch = (file.number + 1).min(last);
            self.restore_at(epoch, &mut restoring);
            if restored.is_of_lake() {
                let mut rows = outcomes.state.borrow_mut();
                restored.read(&file, ingest.names(), |kept| {
                    rows.push_again(restored.epoch, &kept);
                    restoring.kept.send(kept);
                })?;
            } else {
                restored.read(&file, ingest.names(), |kept| match kept.needed.holds(Needed::RECALLED) {
                    true => recalled.push(kept),
                    false => restoring.kept.send(kept),
                })?;
            }
            self.tell_new(ingest);
            restored.has_read(&file);
            restoring.kept.flush();
            crate::checkpoint::crash::point("restoring");
            while first_open(&outcomes.probe).0.saturating_add(in_flight) < epoch {
                worker.step_or_park(Some(NAP));
            }
            worker.step();
        }
        self.restore_at(last, &mut restoring);
        // A visit is recalled whole, and its rows may be in several files: those of all workers go in at one epoch, after all others.
        recalled.into_iter().for_each(|kept| restoring.kept.send(kept));
        self.stamp.watermark = restored.watermark.unwrap_or(super::watermarks::Watermarks::UNKNOWN);
        crate::checkpoint::crash::point("restored");
        Ok(())
    }

    /// Tells all workers the names that the run begins with, before anything that carries one.
    fn tell_known(&mut self, shared: &Shared, worker: &mut Worker) {
        for (number, named) in (1..).zip(shared.known()) {
            self.names.send(named);
            if number % TOLD_AT_ONCE == 0 {
                worker.step();
            }
        }
    }

    /// Tells all workers a name, at the present epoch.
    fn tell(&mut self, name: Name, text: Arc<str>) {
        let now = Epoch(*self.names.time());
        Named::of(name, &text).into_iter().for_each(|named| self.names.send(named));
        self.told.borrow_mut().push_back((now, (name, text)));
    }

    /// Tells the names that are new to this worker.
    fn tell_new(&mut self, ingest: &mut Ingest) {
        ingest.names().drain_new().for_each(|(name, text)| self.tell(name, text));
    }

    /// Opens an epoch on all inputs.
    fn advance_to(&mut self, epoch: u64) {
        self.events.advance_to(epoch);
        self.names.advance_to(epoch);
        self.receipts.advance_to(epoch);
        self.watermarks.advance_to(epoch);
        self.recalled.iter_mut().for_each(|recalled| recalled.advance_to(epoch));
    }

    fn restore_at(&mut self, epoch: u64, restoring: &mut Restoring) {
        self.advance_to(epoch);
        restoring.kept.advance_to(epoch);
        restoring.pairs.advance_to(epoch);
        restoring.settled.advance_to(epoch);
        restoring.warnings.advance_to(epoch);
    }

    /// Closes the epochs before `stamp`'s on this worker's inputs.
    fn advance(&mut self, stamp: Stamp, ingest: &mut Ingest) {
        let now = *self.receipts.time();
        if stamp.epoch.0 > now {
            self.end_epoch(now, ingest);
            self.advance_to(stamp.epoch.0);
            self.stamp = stamp;
        }
    }

    fn recall(&mut self, rows: Vec<Kept>) {
        if let Some(recalled) = &mut self.recalled {
            rows.into_iter().for_each(|row| recalled.send(row));
            recalled.flush();
        }
    }

    fn end_epoch(&mut self, now: u64, ingest: &mut Ingest) {
        self.tell_new(ingest);
        ingest.receipts().drain(now).for_each(|change| self.receipts.send(change));
        let is_known = self.stamp.watermark != super::watermarks::Watermarks::UNKNOWN;
        if self.is_clock && self.stamp.forgets && is_known {
            self.watermarks.send(self.stamp.watermark);
        }
    }

    fn close(mut self, ingest: &mut Ingest) {
        let now = *self.receipts.time();
        self.end_epoch(now, ingest);
    }
}

impl Outcomes {
    /// The first epoch of which something may still come.
    fn open(&self) -> Epoch {
        first_open(&self.probe).min(first_open(&self.verdict_probe))
    }

    /// Hands over the verdicts of epochs before `open`, which are all in.
    fn settle(&self, open: Epoch, ingest: &mut Ingest) -> anyhow::Result<()> {
        let mut verdicts = self.verdicts.borrow_mut();
        let later = verdicts.split_off(&open);
        for (epoch, verdicts) in std::mem::replace(&mut *verdicts, later) {
            verdicts.into_iter().for_each(|(place, verdict)| ingest.verdict(epoch, place, verdict));
        }
        ingest.settle(open)
    }
}
