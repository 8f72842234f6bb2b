//! Runs the dataflow over lines and keeps every change that leaves it.

use super::baton::Baton;
use super::compare::watermarks;
use super::{Line, SOURCES};
use millrace_dataflows::context::{Partitions, Shared};
use millrace_dataflows::durable::{Base, Kept, OpenWarning, PairCount, Restored, Settled};
use millrace_dataflows::facts::{Account, FactChange};
use millrace_dataflows::graph::{self, Sources};
use millrace_dataflows::operators::dedup::Verdict;
use millrace_dataflows::receipts::Receipts;
use millrace_dataflows::rows::Change;
use millrace_dataflows::settings::ViewContext;
use millrace_dataflows::views::VIEWS;
use millrace_schema::decode::{Bump, DecodeSettings, decode};
use millrace_schema::{Event, Name, NameCache, Named, Names, Place};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Input;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::{InputHandleVec, ProbeHandle, StreamVec};
use timely::worker::Worker;

/// How the lines are run. Nothing of it may show in an answer.
#[derive(Clone, Copy, Debug)]
pub struct How {
    pub workers: usize,
    /// Epochs that are open at once.
    pub in_flight: u64,
    /// Lines that a reader sends between two steps of its worker.
    pub burst: usize,
    /// Decides which worker reads what: even, partitions as a whole; odd, chunks of three lines.
    pub spread: u64,
    /// The view that is maintained, by its index in [`VIEWS`] (and `quality`, which always is); `None` for all.
    pub only: Option<usize>,
    /// Whether all messages are sent as bytes, as between processes, and each worker has a dictionary of its own.
    pub serialised: bool,
    /// The seed of the order in which workers move, one at a time; `None` where they run freely.
    pub schedule: Option<u64>,
}

impl How {
    pub fn workers(workers: usize) -> How {
        How { workers, in_flight: 1, burst: usize::MAX, spread: 1, only: None, serialised: false, schedule: None }
    }

    /// The worker that reads a place.
    pub fn reader(&self, place: Place) -> usize {
        let partition = u64::from(place.partition());
        let chunk = if self.spread.is_multiple_of(2) { 0 } else { place.offset() / 3 };
        let mixed = (partition + 31 * chunk + self.spread).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        mixed as usize % self.workers
    }
}

/// Everything that left the dataflow.
pub struct Ran {
    pub how: How,
    pub shared: Shared,
    /// The view's index in [`VIEWS`], and its change; of all workers, in the order in which they left.
    pub changes: Vec<(usize, Change)>,
    /// Each time that a worker saw an epoch closed: the epoch, and how many of the changes had left by then.
    pub closed: Vec<(u64, usize)>,
    /// What each worker heard of its records that were not accepted: epoch, place, verdict; in this order.
    pub verdicts: Vec<Vec<(u64, Place, Verdict)>>,
    /// The accepted events with their epochs, of all workers.
    pub accepted: Vec<(u64, Event)>,
}

/// What an earlier run has left. By default nothing.
#[derive(Clone, Default)]
pub struct Left {
    /// What is restored is fed in at this epoch.
    pub epoch: u64,
    pub kept: Vec<Kept>,
    pub base: Base,
    /// The names of that run.
    pub names: Arc<Names>,
    /// By epoch, where they are not those of the lines.
    pub watermarks: Option<BTreeMap<u64, i64>>,
    /// By epoch, what is to be remembered again.
    pub recalled: BTreeMap<u64, Vec<Kept>>,
}

type Log<D> = Rc<RefCell<Vec<D>>>;

/// What all workers have seen leave.
#[derive(Default)]
struct Seen {
    changes: Vec<(usize, Change)>,
    closed: Vec<(u64, usize)>,
    accepted: Vec<(u64, Event)>,
    /// The names that readers have told.
    names: Vec<(Name, Arc<str>)>,
}

/// # Panics
/// Where a worker does.
pub fn run(context: &Arc<ViewContext>, lines: &[Line], how: How) -> Ran {
    run_on(context, lines, how, Left::default())
}

/// Goes on from what an earlier run has left. Changes of its epoch and before are left out.
///
/// # Panics
/// Where a worker does.
pub fn run_on(context: &Arc<ViewContext>, lines: &[Line], how: How, before: Left) -> Ran {
    let shared = shared(context, before.names.clone()).knowing_names();
    let of_workers: Vec<Shared> = (0..how.workers).map(|worker| of_worker(worker, &shared, how)).collect();
    let watermarks = before.watermarks.clone().unwrap_or_else(|| watermarks(lines));
    let last_epoch = lines.iter().map(|line| line.epoch).max().unwrap_or(0).max(before.epoch);
    let mut restored: Vec<VecDeque<Kept>> = vec![VecDeque::new(); how.workers];
    for (number, kept) in before.kept.iter().enumerate() {
        restored[number % how.workers].push_back(*kept);
    }
    let mut portions: Vec<VecDeque<Line>> = vec![VecDeque::new(); how.workers];
    let mut in_order: Vec<&Line> = lines.iter().collect();
    in_order.sort_by_key(|line| line.epoch);
    in_order.into_iter().for_each(|line| portions[how.reader(line.place)].push_back(line.clone()));

    let (baton, failed) = (Baton::new(how.schedule, how.workers), AtomicBool::new(false));
    let left: Arc<Mutex<Seen>> = Arc::default();
    let (built, of_all) = (Barrier::new(how.workers), left.clone());
    let config = match how.workers {
        workers if how.serialised => timely::Config {
            communication: timely::CommunicationConfig::ProcessBinary(workers),
            worker: timely::WorkerConfig::default(),
        },
        1 => timely::Config::thread(),
        workers => timely::Config::process(workers),
    };
    let guards = timely::execute(config, move |worker| {
        let portion = portions[worker.index()].clone();
        let mut reader = Reader::new(worker, &of_workers[worker.index()], of_all.clone(), portion, last_epoch, how);
        reader.restore(&restored[worker.index()], &before, worker.index(), &of_workers[worker.index()]);
        // One of them is the clock.
        if worker.index() == how.workers - 1 {
            (reader.watermarks, reader.recalled) = (watermarks.clone(), before.recalled.clone());
        }
        built.wait();
        let mut panicked = None;
        let mut more = true;
        while more {
            more = baton.turn(worker.index(), || {
                let more = catch_unwind(AssertUnwindSafe(|| reader.turn(worker)));
                let more = more.unwrap_or_else(|payload| {
                    panicked = Some(payload);
                    failed.store(true, Ordering::SeqCst);
                    false
                });
                more && !failed.load(Ordering::SeqCst)
            });
        }
        if let Some(payload) = panicked {
            resume_unwind(payload);
        }
        if failed.load(Ordering::SeqCst) {
            // Without the one that panicked, the dataflow never completes.
            worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
        }
        reader.verdicts.take()
    });
    let mut verdicts = Vec::new();
    for result in guards.expect("threads start").join() {
        let mut heard = result.expect("no worker panics");
        heard.sort_unstable();
        verdicts.push(heard);
    }
    let Seen { changes, closed, accepted, names } = std::mem::take(&mut *left.lock().expect("no worker panics"));
    // As whoever publishes does.
    names.iter().for_each(|(name, text)| drop(shared.names.enter(*name, text).expect("a name has one text")));
    Ran { how, shared, changes, closed, verdicts, accepted }
}

fn shared(context: &Arc<ViewContext>, names: Arc<Names>) -> Shared {
    let partitions = Partitions::default();
    (0..).zip(SOURCES).for_each(|(partition, source)| partitions.set(partition, Name::of(source)));
    for source in SOURCES {
        names.intern(source).expect("no collision");
    }
    Shared::new(context.clone(), names, Arc::new(partitions))
}

/// What a worker has besides its streams. Where messages are serialised, nothing of it is another worker's: only the first has the names
/// of an earlier run, and tells the others.
fn of_worker(worker: usize, of_all: &Shared, how: How) -> Shared {
    if !how.serialised {
        return of_all.clone();
    }
    let names = Names::default();
    if worker == 0 {
        let known = of_all.names.since(0);
        known.iter().for_each(|(name, text)| drop(names.enter(*name, text).expect("a name has one text")));
    }
    Shared { held: of_all.held.clone(), ..shared(&of_all.context, Arc::new(names)) }.knowing_names()
}

struct Inputs {
    events: InputHandleVec<u64, Event>,
    names: InputHandleVec<u64, Named>,
    receipts: InputHandleVec<u64, FactChange<Account>>,
    watermarks: InputHandleVec<u64, i64>,
    kept: InputHandleVec<u64, Kept>,
    pairs: InputHandleVec<u64, PairCount>,
    settled: InputHandleVec<u64, (Settled, u32)>,
    warnings: InputHandleVec<u64, (OpenWarning, i64)>,
}

/// One worker's inputs, and what it has seen leave.
struct Reader {
    lines: VecDeque<Line>,
    last_epoch: u64,
    how: How,
    /// `None` once everything is read.
    inputs: Option<Inputs>,
    watermarks: BTreeMap<u64, i64>,
    recalled: BTreeMap<u64, Vec<Kept>>,
    probe: ProbeHandle<u64>,
    names: NameCache,
    receipts: Receipts,
    left: Arc<Mutex<Seen>>,
    /// The first epoch that was open when last looked.
    open: u64,
    verdicts: Log<(u64, Place, Verdict)>,
}

impl Reader {
    fn new(
        worker: &mut Worker,
        shared: &Shared,
        left: Arc<Mutex<Seen>>,
        lines: VecDeque<Line>,
        last_epoch: u64,
        how: How,
    ) -> Reader {
        let verdicts = Log::default();
        let probe = ProbeHandle::new();
        let inputs = worker.dataflow::<u64, _, _>(|scope| {
            let (events_input, events) = scope.new_input();
            let (names_input, names) = scope.new_input();
            let (receipts_input, receipts) = scope.new_input();
            let (watermarks_input, watermarks) = scope.new_input();
            let (kept_input, kept) = scope.new_input();
            let (pairs_input, pairs) = scope.new_input();
            let (settled_input, settled) = scope.new_input();
            let (warnings_input, warnings) = scope.new_input();
            let wanted = |(index, _): &(usize, &str)| how.only.is_none_or(|only| only == *index);
            let views = VIEWS.iter().map(|(name, _)| *name).enumerate();
            let enabled: Vec<String> = views.filter(wanted).map(|(_, name)| name.to_owned()).collect();
            let restored = Some(Restored { kept, pairs, settled, warnings });
            let sources = Sources { events, names, receipts, watermarks: Some(watermarks), restored, recalled: None };
            let outputs = graph::build(scope, sources, shared, &enabled, true);
            for (name, rows) in outputs.views {
                let index = VIEWS.iter().position(|(known, _)| *known == name).expect("VIEWS names it");
                let left = left.clone();
                keep(rows.inner, &probe, move |epoch, change: Change| {
                    assert!(change.1 >= epoch, "{name}: a change of epoch {} left at {epoch}", change.1);
                    left.lock().expect("no worker panics").changes.push((index, change));
                });
            }
            let of_all = left.clone();
            keep(outputs.accepted, &probe, move |epoch, event: Event| {
                of_all.lock().expect("no worker panics").accepted.push((epoch, event));
            });
            let log = Log::clone(&verdicts);
            keep(outputs.verdicts, &probe, move |epoch, (place, verdict)| {
                log.borrow_mut().push((epoch, place, verdict))
            });
            Inputs {
                events: events_input,
                names: names_input,
                receipts: receipts_input,
                watermarks: watermarks_input,
                kept: kept_input,
                pairs: pairs_input,
                settled: settled_input,
                warnings: warnings_input,
            }
        });
        let (names, receipts) = (shared.name_cache().keeping_users(true), Receipts::new(shared));
        let (watermarks, recalled) = (BTreeMap::new(), BTreeMap::new());
        Reader {
            lines,
            last_epoch,
            how,
            inputs: Some(inputs),
            watermarks,
            recalled,
            probe,
            names,
            receipts,
            left,
            open: 0,
            verdicts,
        }
    }

    /// Feeds in this worker's share of what an earlier run has left, all of it at that run's epoch.
    fn restore(&mut self, kept: &VecDeque<Kept>, before: &Left, worker: usize, shared: &Shared) {
        let inputs = self.inputs.as_mut().expect("nothing has been read yet");
        let Inputs { events, names, receipts, watermarks, kept: kept_input, pairs, settled, warnings } = inputs;
        events.advance_to(before.epoch);
        names.advance_to(before.epoch);
        receipts.advance_to(before.epoch);
        watermarks.advance_to(before.epoch);
        kept_input.advance_to(before.epoch);
        pairs.advance_to(before.epoch);
        settled.advance_to(before.epoch);
        warnings.advance_to(before.epoch);
        kept.iter().for_each(|kept| kept_input.send(*kept));
        if worker == 0 {
            shared.known().for_each(|named| names.send(named));
            let sum = |count: i64| u32::try_from(count).expect("nothing is taken back that was not counted");
            let pair_counts = before.base.pairs.iter().filter(|(_, count)| **count != 0);
            pair_counts.for_each(|(&(kind, a, b), &count)| pairs.send(PairCount { kind, a, b, count: sum(count) }));
            before.base.settled.iter().for_each(|(one, count)| settled.send((*one, sum(*count))));
            before.base.warnings.iter().for_each(|(warning, count)| warnings.send((*warning, *count)));
        }
    }

    /// Reads some lines and steps once. Returns whether there is more to do.
    fn turn(&mut self, worker: &mut Worker) -> bool {
        self.read();
        worker.step();
        let open = self.probe.with_frontier(|frontier| frontier.first().copied().unwrap_or(self.last_epoch + 1));
        if open > self.open {
            let mut left = self.left.lock().expect("no worker panics");
            let count = left.changes.len();
            left.closed.push((open - 1, count));
            self.open = open;
        }
        if self.how.schedule.is_none() {
            std::thread::yield_now();
        }
        self.inputs.is_some() || !self.probe.done()
    }

    /// Sends up to a burst of lines, closing epochs on the way, as far as the epochs in flight allow.
    fn read(&mut self) {
        let Some(inputs) = &mut self.inputs else { return };
        let Inputs { events, names, receipts, watermarks, kept, pairs, settled, warnings } = inputs;
        let mut left = self.how.burst;
        loop {
            let epoch = *events.time();
            if epoch > self.last_epoch {
                self.inputs = None;
                return;
            }
            // Open: this one and what is not yet through. `probe` tells the first epoch that is not.
            if epoch >= self.how.in_flight && self.probe.less_equal(&(epoch - self.how.in_flight)) {
                return;
            }
            while let Some(line) = self.lines.pop_front_if(|line| line.epoch == epoch) {
                read_line(&line, &mut self.names, &mut self.receipts).into_iter().for_each(|event| events.send(event));
                left -= 1;
                if left == 0 {
                    return;
                }
            }
            let new: Vec<(Name, Arc<str>)> = self.names.drain_new().collect();
            new.iter().filter_map(|(name, text)| Named::of(*name, text)).for_each(|named| names.send(named));
            self.left.lock().expect("no worker panics").names.extend(new);
            self.receipts.drain(epoch).for_each(|change| receipts.send(change));
            self.recalled.remove(&epoch).into_iter().flatten().for_each(|recalled| kept.send(recalled));
            self.watermarks.get(&epoch).into_iter().for_each(|watermark| watermarks.send(*watermark));
            watermarks.advance_to(epoch + 1);
            kept.advance_to(epoch + 1);
            pairs.advance_to(epoch + 1);
            settled.advance_to(epoch + 1);
            warnings.advance_to(epoch + 1);
            events.advance_to(epoch + 1);
            names.advance_to(epoch + 1);
            receipts.advance_to(epoch + 1);
        }
    }
}

/// The event of a line, by the names of a run.
pub fn event_of(line: &Line, shared: &Shared) -> Option<Event> {
    let line = Line { pending: false, ..line.clone() };
    read_line(&line, &mut NameCache::new(shared.names.clone()).keeping_users(true), &mut Receipts::new(shared))
}

fn read_line(line: &Line, names: &mut NameCache, receipts: &mut Receipts) -> Option<Event> {
    let source = Name::of(SOURCES[usize::from(line.place.partition())]);
    let arena = Bump::new();
    match decode(line.text.as_bytes(), line.received_at, &DecodeSettings::default(), &arena) {
        Ok(record) => {
            let event = record.to_event(line.place, names).expect("no two of a few names collide");
            if line.pending {
                receipts.pending(&event, source);
                return None;
            }
            receipts.valid(&event, source);
            if line.was_pending {
                receipts.no_longer_pending(&event, source);
            }
            Some(event)
        }
        Err(reject) => {
            receipts.rejected(reject.rule, line.received_at, source);
            None
        }
    }
}

/// Hands what leaves to `take` with the epoch it leaves at, and counts on `probe`.
fn keep<'s, D: Clone + 'static>(
    stream: StreamVec<'s, u64, D>,
    probe: &ProbeHandle<u64>,
    mut take: impl FnMut(u64, D) + 'static,
) {
    let kept = stream.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(Pipeline, "Keep", move |_, _| {
        move |input, _| {
            input.for_each(|capability, data| {
                let epoch = *capability.least().expect("a message has a time");
                data.drain(..).for_each(|change| take(epoch, change));
            });
        }
    });
    kept.probe_with(probe);
}
