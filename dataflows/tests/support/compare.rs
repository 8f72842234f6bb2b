//! Every answer at every closed epoch against its oracle.

use super::questions::{fixed, random};
use super::run::Ran;
use super::{LATENESS_MICROS, Line, SOURCES};
use differential_dataflow::difference::{IsZero, Semigroup};
use millrace_dataflows::index::{Index, IndexWriter, OwnRows};
use millrace_dataflows::operators::dedup::Verdict;
use millrace_dataflows::oracle::visits::cut_sessions;
use millrace_dataflows::oracle::{Incoming, Observed, Outcome, observe};
use millrace_dataflows::query::{Query, QueryError};
use millrace_dataflows::row_set::RowSet;
use millrace_dataflows::rows::{Key, Measures, State};
use millrace_dataflows::table::{Table, Value};
use millrace_dataflows::views::quality::Accounting;
use millrace_dataflows::views::{AnswerContext, VIEWS, View, position_of, view};
use millrace_schema::decode::{Bump, DecodeSettings, decode};
use millrace_schema::{OwnedRecord, Place, Rule};
use std::collections::BTreeMap;

/// The net changes of a view by epoch and group.
pub type Nets = BTreeMap<(u64, usize, Key), Measures>;

pub fn nets(ran: &Ran) -> Nets {
    let mut nets = Nets::new();
    for (view, (key, epoch, difference)) in &ran.changes {
        nets.entry((*epoch, *view, *key)).or_default().plus_equals(difference);
    }
    nets.retain(|_, measures| {
        // Trailing zeros mean nothing.
        while measures.0.last() == Some(&0) {
            measures.0.pop();
        }
        !measures.is_zero()
    });
    nets
}

/// Every view accumulated up to and with an epoch.
pub fn states(nets: &Nets, epoch: u64) -> Vec<State> {
    let mut states = vec![State::default(); VIEWS.len()];
    for ((of, view, key), measures) in nets {
        if *of <= epoch {
            states[*view].apply(*key, measures);
        }
    }
    states
}

/// What the lines up to and with an epoch are to the oracles.
pub fn observed(lines: &[Line], epoch: u64) -> Vec<Observed> {
    let incoming: Vec<Incoming> = lines.iter().filter(|line| line.epoch <= epoch).map(incoming).collect();
    observe(&incoming)
}

/// With the sessions cut where a horizon cuts them.
fn visits(ran: &Ran, observed: &[Observed]) -> Vec<Observed> {
    let mut visits = observed.to_vec();
    if let Some(pause) = ran.shared.context.horizons.pause() {
        cut_sessions(&mut visits, pause, |_| false);
    }
    visits
}

/// How far the lines are complete at each epoch: by the latest event time so far, as the watermark of one partition.
pub fn watermarks(lines: &[Line]) -> BTreeMap<u64, i64> {
    let mut watermarks = BTreeMap::new();
    for line in lines {
        let of_event = |record: &OwnedRecord| (!record.kind.is_dimension()).then_some(record.time);
        if let Some(time) = incoming(line).decoded.ok().and_then(|record| of_event(&record)) {
            let latest = watermarks.entry(line.epoch).or_insert(time);
            *latest = time.max(*latest);
        }
    }
    let mut latest = i64::MIN;
    watermarks.values_mut().for_each(|time| {
        latest = latest.max(*time);
        *time = latest - LATENESS_MICROS;
    });
    watermarks
}

pub fn incoming(line: &Line) -> Incoming {
    let arena = Bump::new();
    let decoded = decode(line.text.as_bytes(), line.received_at, &DecodeSettings::default(), &arena);
    Incoming {
        source: SOURCES[usize::from(line.place.partition())].to_owned(),
        epoch: line.epoch,
        is_pending: line.pending,
        place: line.place,
        received_at: decoded.as_ref().map_or(line.received_at, |record| record.received_at),
        decoded: decoded.map(|record| record.to_owned()).map_err(|reject| reject.rule),
    }
}

/// The context of answers at the point where `observed` is all there is.
pub fn answer_context(ran: &Ran, observed: &[Observed]) -> AnswerContext {
    let accepted = observed.iter().filter(|one| one.outcome == Outcome::Accepted);
    let events = accepted.filter_map(|one| one.record.as_ref()).filter(|record| !record.kind.is_dimension());
    let lateness = ran.shared.context.allowed_lateness_micros;
    AnswerContext { shared: ran.shared.clone(), watermark: events.map(|record| record.time - lateness).max() }
}

/// Checks all views at all epochs. At each, `questions` random ones a view; at the last, the fixed ones too.
///
/// # Panics
/// Where an answer is not the oracle's, the accounting does not balance, or a verdict is missing.
pub fn check(ran: &Ran, lines: &[Line], seed: u64, questions: usize) {
    let nets = nets(ran);
    let mut indexes: Vec<IndexWriter> =
        VIEWS.iter().map(|(_, make)| IndexWriter::new(&*make(&ran.shared.context), &ran.shared.context)).collect();
    let mut own: Vec<OwnRows> =
        VIEWS.iter().map(|(_, make)| OwnRows::new(&*make(&ran.shared.context), &ran.shared.context)).collect();
    let mut earlier: Vec<(Index, State)> =
        indexes.iter_mut().map(|index| (index.publish(), State::default())).collect();
    let last = lines.iter().map(|line| line.epoch).max().unwrap_or(0);
    for epoch in 0..=last {
        let observed = observed(lines, epoch);
        let visits = visits(ran, &observed);
        let states = states(&nets, epoch);
        let answers = answer_context(ran, &observed);
        // An index may be published at any epoch; now and then one is left out.
        for (of, change) in ran.changes.iter().filter(|(_, change)| change.1 == epoch) {
            indexes[*of].add(std::slice::from_ref(change));
        }
        let published: Option<Vec<Index>> = (epoch == last || !(seed ^ epoch).is_multiple_of(3))
            .then(|| indexes.iter_mut().map(|index| index.publish()).collect());
        for (number, index) in published.iter().flatten().enumerate() {
            let mut whole = State::default();
            own[number].scan(index, &mut |key, sums| whole.merge(key, sums));
            assert_eq!(whole, states[number], "the rows of {} at epoch {epoch}", VIEWS[number].0);
            let (before, sum) = &mut earlier[number];
            for (key, added) in own[number].added(index, before) {
                sum.apply(key, &added);
            }
            assert_eq!(*sum, whole, "the rows of {} up to epoch {epoch}, as they were added", VIEWS[number].0);
            *before = index.clone();
        }
        for (number, ((name, _), state)) in VIEWS.iter().zip(&states).enumerate() {
            let view = view(name, &ran.shared.context).expect("VIEWS names it");
            let mut asked = random(name, &ran.shared.context, seed ^ epoch, questions);
            if epoch == last && questions > 0 {
                asked.extend(fixed(name));
            }
            // An order's lines may be of one session and of two visits.
            let observed = if *name == "quality" { &observed } else { &visits };
            for query in &asked {
                check_answer(&*view, state, &answers, observed, query, epoch);
                if let Some(indexes) = &published {
                    check_answer(&*view, &indexes[number], &answers, observed, query, epoch);
                }
            }
        }
        let accounting = Accounting::of(&states[position_of("quality")]);
        assert!(accounting.balances(), "epoch {epoch}: {accounting:?}");
        assert_eq!(accounting.read, observed.len() as i64, "epoch {epoch}");
    }
    check_verdicts(ran, lines, last);
    // What is closed changes no more: an epoch that somebody could read was whole.
    for &(closed, count) in &ran.closed {
        let late = ran.changes[count..].iter().find(|(_, (_, epoch, _))| *epoch <= closed);
        assert_eq!(late, None, "a change after epoch {closed} was closed");
    }
}

pub fn check_answer(
    view: &dyn View,
    rows: &dyn RowSet,
    context: &AnswerContext,
    observed: &[Observed],
    query: &Query,
    epoch: u64,
) {
    let answer = view.answer(rows, context, query);
    let expected = view.oracle(&context.shared.context, observed, query);
    let kind = std::mem::discriminant::<QueryError>;
    match (&answer, &expected) {
        (Ok(answer), Ok(expected)) if answer == expected => {}
        (Err(error), Err(expected)) if kind(error) == kind(expected) => {}
        (Ok(answer), Ok(expected)) => panic!(
            "{} at epoch {epoch}, {query:?}\n{}\nrecords:\n{}",
            view.name(),
            difference(answer, expected),
            observed.iter().map(|one| format!("  {:?} {}\n", one.outcome, shown(one))).collect::<String>()
        ),
        _ => panic!("{} at epoch {epoch}, {query:?}\nanswer {answer:?}\noracle {expected:?}", view.name()),
    }
}

fn shown(one: &Observed) -> String {
    let place = format!("{}/{}", one.place.partition(), one.place.offset());
    format!("{place} {}", one.record.as_ref().map_or(String::new(), |record| record.to_json()))
}

/// The rows that one has and the other has not.
fn difference(answer: &Table, expected: &Table) -> String {
    let row = |row: &Vec<Value>| row.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(" | ");
    let rows = |table: &Table| table.rows.iter().map(row).collect::<Vec<String>>();
    let (got, wanted) = (rows(answer), rows(expected));
    let mut text = format!("  columns {}\n", answer.columns.join(" | "));
    if answer.columns != expected.columns {
        text += &format!("  oracle's {}\n", expected.columns.join(" | "));
    }
    let only =
        |of: &[String], other: &[String]| of.iter().filter(|row| !other.contains(row)).cloned().collect::<Vec<_>>();
    only(&got, &wanted).iter().for_each(|row| text += &format!("  answer  {row}\n"));
    only(&wanted, &got).iter().for_each(|row| text += &format!("  oracle  {row}\n"));
    text
}

/// Every worker hears of those records it read that were valid and not accepted, at their epoch.
fn check_verdicts(ran: &Ran, lines: &[Line], last: u64) {
    let epochs: BTreeMap<Place, u64> = lines.iter().map(|line| (line.place, line.epoch)).collect();
    let verdict = |one: &Observed| match one.outcome {
        Outcome::Duplicate => Some((epochs[&one.place], one.place, Verdict::Duplicate)),
        Outcome::Quarantined(Rule::IdConflict) => Some((epochs[&one.place], one.place, Verdict::Conflict)),
        _ => None,
    };
    let mut expected = vec![Vec::new(); ran.how.workers];
    for lost in observed(lines, last).iter().filter_map(verdict) {
        expected[ran.how.reader(lost.1)].push(lost);
    }
    expected.iter_mut().for_each(|lost| lost.sort_unstable());
    assert_eq!(ran.verdicts, expected, "verdicts");
}
