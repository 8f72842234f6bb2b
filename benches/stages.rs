//! A bench a stage, on the same generated events: `cargo bench --bench stages`.

use divan::{Bencher, counter::ItemsCount};
use millrace::generate::{Generator, Options};
use millrace_connectors::lake::EventColumns;
use millrace_dataflows::context::{Partitions, Shared};
use millrace_dataflows::facts::{Account, FactChange};
use millrace_dataflows::graph::{self, Sources};
use millrace_dataflows::operators::dedup::{Ages, Claim, Seen};
use millrace_dataflows::receipts::Receipts;
use millrace_dataflows::rows::{Change, Key, Measures, State};
use millrace_dataflows::settings::ViewContext;
use millrace_dataflows::views::VIEWS;
use millrace_schema::calendar::Calendar;
use millrace_schema::decode::{Bump, DecodeSettings, decode, decode_reference};
use millrace_schema::{Event, NameCache, Named, Names, Place};
use std::sync::{Arc, OnceLock};
use timely::dataflow::operators::{Input, Probe, probe};

const EVENTS: u64 = 200_000;
const EPOCH: usize = 50_000;

fn main() {
    divan::main();
}

/// Generated lines, as the benchmark of the whole job has them.
fn lines() -> &'static [Vec<u8>] {
    static LINES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    LINES.get_or_init(|| {
        let options = Options { events: EVENTS, ..Options::bench() };
        let mut generator = Generator::new(options).expect("the options are good");
        let mut lines = Vec::new();
        let mut line = Vec::new();
        while generator.next_line(&mut line).is_some() {
            lines.push(line.trim_ascii_end().to_vec());
            line.clear();
        }
        lines
    })
}

fn shared() -> Shared {
    let context = ViewContext { allowed_lateness_micros: 0, ..ViewContext::default() };
    Shared::new(Arc::new(context), Arc::new(Names::default()), Arc::new(Partitions::default()))
}

fn events(shared: &Shared) -> Vec<Event> {
    events_and_names(shared).0
}

/// With the names that they carry.
fn events_and_names(shared: &Shared) -> (Vec<Event>, Vec<Named>) {
    let (arena, settings) = (Bump::new(), DecodeSettings::default());
    let mut names = NameCache::new(shared.names.clone());
    let event = |(offset, line): (usize, &Vec<u8>)| {
        let record = decode(line, None, &settings, &arena).expect("the lines are good");
        record.to_event(Place::new(0, offset as u64), &mut names).expect("no names collide")
    };
    let events = lines().iter().enumerate().map(event).collect();
    (events, names.drain_new().filter_map(|(name, text)| Named::of(name, &text)).collect())
}

#[divan::bench(args = ["fast", "reference"])]
fn decoding(bencher: Bencher, decoder: &str) {
    let settings = DecodeSettings::default();
    let decoder = if decoder == "fast" { decode } else { decode_reference };
    bencher
        .counter(ItemsCount::new(lines().len()))
        .with_inputs(Bump::new)
        .bench_refs(|arena| lines().iter().filter(|line| decoder(line, None, &settings, arena).is_ok()).count());
}

#[divan::bench]
fn decoding_to_events(bencher: Bencher) {
    bencher.counter(ItemsCount::new(lines().len())).with_inputs(shared).bench_refs(|shared| events(shared).len());
}

#[divan::bench]
fn deduplication(bencher: Bencher) {
    let events = events(&shared());
    let claims: Vec<Claim> =
        events.iter().zip(0..).map(|(event, number)| Claim::new(event, Ages::new(None), 0, number)).collect();
    let epochs: Vec<Vec<Vec<Claim>>> =
        claims.chunks(EPOCH).map(|epoch| epoch.chunks(256).map(<[Claim]>::to_vec).collect()).collect();
    bencher.counter(ItemsCount::new(events.len())).with_inputs(|| Seen::new(None)).bench_refs(|seen| {
        let mut decide = |epoch: &Vec<Vec<Claim>>| {
            seen.enter(epoch);
            seen.settle(epoch).len()
        };
        epochs.iter().map(&mut decide).sum::<usize>()
    });
}

#[divan::bench]
fn receipts(bencher: Bencher) {
    let shared = shared();
    let events = events(&shared);
    bencher.counter(ItemsCount::new(events.len())).with_inputs(|| Receipts::new(&shared)).bench_refs(|receipts| {
        events.iter().for_each(|event| receipts.valid(event, shared.none));
        receipts.drain(1).count()
    });
}

/// The dataflow on one worker with one view on; `""` is deduplication and quality's counts alone.
#[divan::bench(args = ["", "sales", "funnel", "related_products", "traffic", "quality"], sample_count = 5)]
fn dataflow(bencher: Bencher, enabled: &str) {
    let shared = shared();
    let (events, names) = events_and_names(&shared);
    bencher.counter(ItemsCount::new(events.len())).bench_local(|| run(&shared, &events, &names, &[enabled.to_owned()]));
}

#[divan::bench(sample_count = 5)]
fn dataflow_of_all_views(bencher: Bencher) {
    let shared = shared();
    let (events, names) = events_and_names(&shared);
    let enabled: Vec<String> = VIEWS.iter().map(|(name, _)| (*name).to_owned()).collect();
    bencher.counter(ItemsCount::new(events.len())).bench_local(|| run(&shared, &events, &names, &enabled));
}

fn run(shared: &Shared, events: &[Event], names: &[Named], enabled: &[String]) {
    let (shared, events, names, enabled) = (shared.clone(), events.to_vec(), names.to_vec(), enabled.to_vec());
    timely::execute_directly(move |worker| {
        let probe = probe::Handle::new();
        let (mut input, mut told, mut receipts) = worker.dataflow(|scope| {
            let (input, stream) = scope.new_input();
            let (told, name_stream) = scope.new_input();
            let (receipts, receipt_stream) = scope.new_input::<Vec<FactChange<Account>>>();
            let sources = Sources {
                events: stream,
                names: name_stream,
                receipts: receipt_stream,
                watermarks: None,
                restored: None,
                recalled: None,
            };
            let outputs = graph::build(scope, sources, &shared, &enabled, false);
            outputs.views.into_iter().for_each(|(_, rows)| drop(rows.inner.probe_with(&probe)));
            (input, told, receipts)
        });
        names.into_iter().for_each(|named| told.send(named));
        for (epoch, events) in events.chunks(EPOCH).enumerate() {
            let next = epoch as u64 + 1;
            events.iter().for_each(|event| input.send(*event));
            input.advance_to(next);
            told.advance_to(next);
            receipts.advance_to(next);
            worker.step_while(|| probe.less_than(&next));
        }
    });
}

#[divan::bench]
fn folding_changes(bencher: Bencher) {
    let change = |index: u64| {
        let mixed = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
        (Key::new(0, [mixed % 2, mixed % 997, mixed]), 1, Measures::one(1))
    };
    let changes: Vec<Change> = (0..EVENTS).map(change).collect();
    bencher.counter(ItemsCount::new(changes.len())).with_inputs(State::default).bench_refs(|state| {
        state.apply_all(&changes);
        state.len()
    });
}

#[divan::bench]
fn staging_for_the_lake(bencher: Bencher) {
    let (arena, settings) = (Bump::new(), DecodeSettings::default());
    let records: Vec<_> = lines().iter().filter_map(|line| decode(line, None, &settings, &arena).ok()).collect();
    bencher.counter(ItemsCount::new(records.len())).with_inputs(|| EventColumns::new(Calendar::utc())).bench_refs(
        |columns| {
            records.iter().enumerate().for_each(|(offset, record)| columns.push(record, offset as u64, 0, 1));
            columns.finish(None).rows()
        },
    );
}
