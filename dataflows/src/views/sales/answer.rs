//! Questions to the sales.

use super::grain::{Grain, Time};
use super::rollup;
use super::{
    GROSS_SALES, LINES, MAGNITUDE, MAGNITUDE_TABLE, ORDER_REVENUE, ORDERS, RETURNS, RETURNS_AS_SOLD, UNITS,
    UNITS_RETURNED,
};
use crate::query::{Query, QueryError};
use crate::row_set::{RowSet, Span};
use crate::rows::{Key, Measures};
use crate::table::{Table, Value};
use crate::views::AnswerContext;
use crate::views::grouping::{
    GroupColumns, GroupType, Groups, currency, days_asked, filled_currencies, instants_of, only_currency, sum,
    zero_filled,
};
use crate::views::magnitude::Magnitudes;
use millrace_schema::Currency;
use millrace_schema::calendar::Calendar;
use std::collections::BTreeSet;

pub const VALUES: [&str; 12] = [
    "lines",
    "orders",
    "units",
    "units_returned",
    "net_units",
    "gross_sales",
    "discounts",
    "order_revenue",
    "returns",
    "returns_as_sold",
    "net_sales",
    "average_order_value",
];

const COLUMNS: GroupColumns<'static> = GroupColumns {
    view: "sales",
    known: &[
        ("hour", GroupType::Hour),
        ("day", GroupType::Day),
        ("month", GroupType::Month),
        ("product_id", GroupType::Name),
        ("category", GroupType::Name),
        ("category_as_was", GroupType::Name),
        ("currency", GroupType::Currency),
    ],
};

/// The value of a group column in a row of a table whose time is at least as fine.
fn part(key: &Key, time: Time, column: &str, calendar: &Calendar) -> u64 {
    let [bucket, product, category, as_was, currency] = key.parts;
    let day = || match time {
        Time::Hour => calendar.day(bucket as i64),
        _ => bucket as i64,
    };
    match column {
        "hour" => bucket,
        "day" => day() as u64,
        "month" => Calendar::month_of_day(day()) as u64,
        "product_id" => product,
        "category" => category,
        "category_as_was" => as_was,
        _ => currency,
    }
}

pub fn answer(rows: &dyn RowSet, context: &AnswerContext, query: &Query) -> Result<Table, QueryError> {
    let mut asked = COLUMNS.asked(query)?;
    let filters = COLUMNS.filters(query)?;
    let grain = overlap_grain(query)?;
    let magnitudes = Magnitudes::of(rows, MAGNITUDE_TABLE, MAGNITUDE);
    let currencies = &magnitudes.currencies;
    let several = currencies.len() > 1;
    if several && !query.group_by.iter().any(|column| column == "currency") {
        asked.insert(0, ("currency".to_owned(), GroupType::Currency));
    }

    let calendar = context.calendar();
    let days = days_asked(&filters, query.days, calendar);
    let product = filters.iter().find(|(column, ..)| column == "product_id").map(|(_, _, part)| *part);
    let mut groups = Groups::new();
    for source in sources(rows, grain, days, product, calendar) {
        rows.scan(&source.span, &mut |key, measures| {
            let key = if source.product_first { rollup::time_first(key) } else { *key };
            let of = |column: &str| part(&key, source.time, column, calendar);
            let wanted = filters.iter().all(|(column, _, wanted)| of(column) == *wanted)
                && query.days.is_none_or(|(first, last)| (first..=last).contains(&(of("day") as i64)));
            if wanted {
                sum(&mut groups, asked.iter().map(|(column, _)| of(column)).collect(), measures);
            }
        });
    }
    let default = context.shared.context.default_currency;
    let there_are = if currencies.is_empty() { &BTreeSet::from([default.code()]) } else { currencies };
    let filled = filled_currencies(&filters, there_are);
    for group in zero_filled(&asked, &filters, query.days, &filled, calendar)? {
        groups.entry(group).or_default();
    }

    let only = only_currency(&filters).filter(|&code| code != 0).or(currencies.first().copied());
    let only = only.map_or(default, currency);
    let currency_at = asked.iter().position(|(column, _)| column == "currency");
    let mut table = Table::new(asked.iter().map(|(column, _)| column.as_str()).chain(VALUES));
    for (parts, measures) in &groups {
        let mut row: Vec<Value> = asked.iter().zip(parts).map(|((_, kind), &part)| kind.value(part, context)).collect();
        let currency = currency_at.map_or(only, |index| currency(parts[index]));
        magnitudes.check(currency)?;
        row.extend(values(measures, currency));
        table.rows.push(row);
    }
    query.arrange(table)
}

/// Rows to be added up.
struct Source {
    span: Span,
    time: Time,
    /// Whether the product stands before the time.
    product_first: bool,
}

/// Where the sums of a grain are: ready in one table, or to be added up from the cells and what overlaps there.
fn sources(
    rows: &dyn RowSet,
    grain: Grain,
    days: Option<(i64, i64)>,
    product: Option<u64>,
    calendar: &Calendar,
) -> Vec<Source> {
    if days.is_some_and(|(first, last)| first > last) {
        return Vec::new();
    }
    let of_days = |span: Span, index: usize, time: Time| match (days, time) {
        (None, _) | (_, Time::All) => span,
        (Some(days), Time::Hour) => {
            let (first, last) = instants_of(days, calendar);
            span.between(index, first, last)
        }
        (Some((first, last)), Time::Day) => span.between(index, first as u64, last as u64),
        (Some((first, last)), Time::Month) => {
            let month = |day| Calendar::month_of_day(day) as u64;
            span.between(index, month(first), month(last))
        }
    };
    if !rows.is_rolled_up(grain.table()) {
        let source = |grain: Grain| Source {
            span: of_days(Span::of(grain.table(), &[]), 0, grain.time),
            time: grain.time,
            product_first: false,
        };
        return if grain == Grain::CELL { vec![source(grain)] } else { vec![source(Grain::CELL), source(grain)] };
    }
    let (span, product_first) = match (rollup::product_first(&grain), product) {
        (Some(table), Some(product)) => (of_days(Span::of(table, &[product]), 1, grain.time), true),
        _ => (of_days(Span::of(grain.table(), &[]), 0, grain.time), false),
    };
    vec![Source { span, time: grain.time, product_first }]
}

/// The grain that the groups and the filters of a question need; a range of days needs days.
fn overlap_grain(query: &Query) -> Result<Grain, QueryError> {
    let named = |column: &str| {
        query.group_by.iter().any(|name| name == column) || query.filters.iter().any(|(name, _)| name == column)
    };
    let grouped: Vec<&str> =
        ["hour", "day", "month"].into_iter().filter(|time| query.group_by.iter().any(|name| name == time)).collect();
    if grouped.len() > 1 {
        return Err(QueryError::SeveralTimes("hour, day and month"));
    }
    let time = if named("hour") {
        Time::Hour
    } else if named("day") {
        Time::Day
    } else if named("month") {
        Time::Month
    } else {
        Time::All
    };
    // An order on two days of a range counts once: only rows that keep the days apart can tell.
    if query.days.is_some() && !grouped.iter().any(|time| ["hour", "day"].contains(time)) {
        return Err(QueryError::RangeNeedsDays);
    }
    Ok(Grain::of(time, named("product_id"), named("category"), named("category_as_was")))
}

fn values(measures: &Measures, currency: Currency) -> Vec<Value> {
    let of = |index: usize| measures.get(index);
    let money = |cents: i64| Value::Money(cents, currency);
    let orders = of(ORDERS);
    let average = Value::ratio(of(ORDER_REVENUE), orders * 10_i64.pow(currency.digits()));
    vec![
        Value::Int(of(LINES)),
        Value::Int(orders),
        Value::Int(of(UNITS)),
        Value::Int(of(UNITS_RETURNED)),
        Value::Int(of(UNITS) - of(UNITS_RETURNED)),
        money(of(GROSS_SALES)),
        money(of(GROSS_SALES) - of(ORDER_REVENUE)),
        money(of(ORDER_REVENUE)),
        money(of(RETURNS)),
        money(of(RETURNS_AS_SOLD)),
        money(of(ORDER_REVENUE) - of(RETURNS)),
        average,
    ]
}
