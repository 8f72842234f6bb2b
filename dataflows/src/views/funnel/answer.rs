//! Questions to the funnel.

use super::{CAPPED, CARTS, CARTS_ABANDONED, COUNTERS, DURATIONS, FIRST_STEP, SESSIONS, buckets};
use crate::query::{Query, QueryError};
use crate::row_set::{RowSet, Span};
use crate::rows::{Key, Measures};
use crate::table::{Table, Value};
use crate::views::AnswerContext;
use crate::views::grouping::{GroupColumns, GroupType, days_asked, zero_filled};
use millrace_schema::calendar::Calendar;
use std::collections::{BTreeMap, BTreeSet};

const COLUMNS: GroupColumns<'static> = GroupColumns {
    view: "funnel",
    known: &[
        ("day", GroupType::Day),
        ("month", GroupType::Month),
        ("category", GroupType::Name),
        ("referrer", GroupType::Name),
        ("device", GroupType::Name),
    ],
};

pub fn value_columns(steps: &[&str]) -> Vec<String> {
    let each = |prefix: &str, steps: &[&str]| steps.iter().map(|step| format!("{prefix}_{step}")).collect::<Vec<_>>();
    let mut columns = vec!["sessions".to_owned()];
    columns.extend(each("reached", steps));
    columns.extend(each("ordered", steps));
    columns.extend(["carts_abandoned", "cart_abandonment"].map(String::from));
    columns.extend(each("step_conversion", &steps[1..]));
    let last = [
        "overall_conversion",
        "median_seconds_to_purchase",
        "p90_seconds_to_purchase",
        "mean_seconds_to_purchase",
        "immature_until",
        "capped_sessions",
    ];
    columns.extend(last.map(String::from));
    columns
}

/// The value of a group column in a row's key.
fn part(key: &Key, column: &str) -> u64 {
    match column {
        "day" => key.parts[0],
        "month" => Calendar::month_of_day(key.parts[0] as i64) as u64,
        "category" => key.parts[1],
        "referrer" => key.parts[2],
        _ => key.parts[3],
    }
}

#[derive(Default)]
struct Group {
    counters: Measures,
    durations: BTreeMap<u16, i64>,
    last_day: Option<i64>,
}

pub fn answer(
    values: &[String],
    rows: &dyn RowSet,
    context: &AnswerContext,
    query: &Query,
) -> Result<Table, QueryError> {
    let asked = COLUMNS.asked(query)?;
    let filters = COLUMNS.filters(query)?;
    let times = asked.iter().filter(|(_, kind)| matches!(kind, GroupType::Day | GroupType::Month)).count();
    if times > 1 {
        return Err(QueryError::SeveralTimes("day and month"));
    }
    let wanted = |key: &Key| {
        filters.iter().all(|(column, _, wanted)| part(key, column) == *wanted)
            && query.days.is_none_or(|(first, last)| (first..=last).contains(&(key.parts[0] as i64)))
    };
    let mut groups: BTreeMap<Vec<u64>, Group> = BTreeMap::new();
    // West of Greenwich there are sessions of the last day of 1969, which is before all others and after them as a part of
    // a key: only days that are asked for bound what is looked at.
    let days = days_asked(&filters, query.days, context.calendar());
    for table in [COUNTERS, DURATIONS].into_iter().filter(|_| days.is_none_or(|(first, last)| first <= last)) {
        let all = Span::of(table, &[]);
        let span = days.map_or(all, |(first, last)| all.between(0, first as u64, last as u64));
        rows.scan(&span, &mut |key, measures| {
            if !wanted(key) {
                return;
            }
            let group = groups.entry(asked.iter().map(|(column, _)| part(key, column)).collect()).or_default();
            if key.table == COUNTERS {
                group.counters.add_sums(measures);
                group.last_day = group.last_day.max(Some(key.parts[0] as i64));
            } else {
                *group.durations.entry(key.parts[4] as u16).or_default() += measures.get(0);
            }
        });
    }
    for group in zero_filled(&asked, &filters, query.days, &BTreeSet::new(), context.calendar())? {
        groups.entry(group).or_default();
    }
    let mut table = Table::new(query.group_by.iter().chain(values));
    for (parts, group) in &groups {
        let mut row: Vec<Value> = asked.iter().zip(parts).map(|((_, kind), &part)| kind.value(part, context)).collect();
        row.extend(row_values(group, context, query));
        table.rows.push(row);
    }
    query.arrange(table)
}

fn row_values(group: &Group, context: &AnswerContext, query: &Query) -> Vec<Value> {
    let plan = &context.shared.context.funnel;
    let steps = plan.steps.len();
    let counter = |index: usize| group.counters.get(index);
    let ordered = |step: usize| counter(FIRST_STEP + steps + step);
    let mut row = vec![Value::Int(counter(SESSIONS))];
    row.extend((0..2 * steps).map(|index| Value::Int(counter(FIRST_STEP + index))));
    row.push(Value::Int(counter(CARTS_ABANDONED)));
    row.push(Value::ratio(counter(CARTS_ABANDONED), counter(CARTS)));
    let mut before = 0;
    for step in 1..steps {
        row.push(Value::ratio(ordered(step), ordered(before)));
        if !plan.steps[step].optional {
            before = step;
        }
    }
    row.push(Value::ratio(ordered(steps - 1), ordered(0)));
    let durations: Vec<(u16, i64)> = group.durations.iter().map(|(&bucket, &count)| (bucket, count)).collect();
    let seconds =
        |tenths| buckets::quantile(&durations, tenths).map_or(Value::Null, |b| Value::Float(buckets::seconds_of(b)));
    row.push(seconds(5));
    row.push(seconds(9));
    row.push(buckets::mean(&durations).map_or(Value::Null, Value::Float));
    let last_day = group.last_day.filter(|_| counter(SESSIONS) != 0);
    row.push(last_day.map_or(Value::Null, |day| immature_until(day, context, query)));
    row.push(Value::Int(counter(CAPPED)));
    row
}

/// When the window of the cohort of a day closes, where that is still to come.
fn immature_until(day: i64, context: &AnswerContext, query: &Query) -> Value {
    let (Some(window), Some(now)) = (context.shared.context.funnel.window_micros, query.as_of.or(context.watermark))
    else {
        return Value::Null;
    };
    // A day on which a session begins has instants.
    let Some((_, end)) = context.calendar().span(day, day) else { return Value::Null };
    let closes = end + window;
    if closes > now { Value::text(context.calendar().format_instant(closes)) } else { Value::Null }
}
