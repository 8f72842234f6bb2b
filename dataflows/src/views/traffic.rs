//! `traffic`: what happens per minute, hour and day.
//!
//! ```sql
//! SELECT date_trunc('hour', event_time) AS hour, count_if(event_type = 'page_view') AS page_views, …,
//!        count(DISTINCT session_id) AS active_sessions, count(DISTINCT user_id) AS active_users
//! ```
//!
//! Distinct counts do not add up over time, so each grain has its rows. Purchases and net sales are in the rows of
//! their currency, everything else in those of none; with one currency an answer adds the two.

use crate::context::{Bucket, Buckets, Shared};
use crate::facts::{Facts, LineKind, OrderLine, Presence, Present, Uses};
use crate::netted::{Out, rows_of};
use crate::oracle::{self, Observed};
use crate::query::{Query, QueryError};
use crate::row_set::{RowSet, Span};
use crate::rows::{Key, Measures, Rows};
use crate::settings::ViewContext;
use crate::table::{Table, Value};
use crate::views::grouping::{
    GroupColumns, GroupType, Groups, currency, days_asked, filled_currencies, instants_of, only_currency, sum,
    zero_filled,
};
use crate::views::magnitude::{self, Magnitudes};
use crate::views::{AnswerContext, Definition, Measure, Part, TableSchema, View, ViewSchema};
use millrace_schema::Currency;
use std::collections::BTreeSet;

const PAGE_VIEWS: usize = 0;
const CART_ADDITIONS: usize = 1;
const PURCHASES: usize = 2;
const ACTIVE_SESSIONS: usize = 3;
const ACTIVE_USERS: usize = 4;
const NET_SALES: usize = 5;
/// How many lines a currency's row stands for, so that one whose sums happen to be 0 is still there.
const FACTS: usize = 6;
/// See [`magnitude`].
const MAGNITUDE: usize = 7;
const MAGNITUDE_TABLE: u8 = Grain::All as u8 + 1;

/// How long a bucket is: the numbers are those of the bits of [`Presence::first_in`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Grain {
    Minute = Bucket::MINUTE,
    Hour = Bucket::HOUR,
    Day = Bucket::DAY,
    All = Bucket::ALL,
}

const GRAINS: [Grain; 4] = [Grain::Minute, Grain::Hour, Grain::Day, Grain::All];

impl Grain {
    /// The row of a bucket; `currency` is its code or 0.
    fn key(self, bucket: &Bucket, currency: u64) -> Key {
        let part = match self {
            Grain::Minute => bucket.minute,
            Grain::Hour => bucket.hour,
            Grain::Day => bucket.day,
            Grain::All => 0,
        };
        Key::new(self as u8, [part as u64, currency])
    }
}

const COLUMNS: GroupColumns<'static> = GroupColumns {
    view: "traffic",
    known: &[
        ("minute", GroupType::Minute),
        ("hour", GroupType::Hour),
        ("day", GroupType::Day),
        ("currency", GroupType::Currency),
    ],
};

pub struct Traffic {
    definition: Definition,
}

impl Traffic {
    pub fn new() -> Traffic {
        let names = ["page_views", "cart_additions", "purchases", "active_sessions", "active_users", "net_sales"];
        let table = |name: &str, time: Part| TableSchema::new(name, vec![time, Part::Currency]);
        let tables = vec![
            table("minute", Part::Minute),
            table("hour", Part::Hour),
            table("day", Part::Day),
            table("all", Part::Unused),
            magnitude::table(),
        ];
        let mut measures = names[..NET_SALES].iter().map(|name| Measure::count(name)).collect::<Vec<_>>();
        measures.push(Measure::money("net_sales"));
        measures.extend(["facts", magnitude::NAME].map(Measure::count));
        Traffic {
            definition: Definition {
                name: "traffic",
                version: 2,
                question: "What is going on in the shop, by the minute?",
                by_default: true,
                always: false,
                uses: Uses { presence: true, lines: true, ..Uses::NOTHING },
                groups: ["minute", "hour", "day"].map(String::from).to_vec(),
                values: names.map(String::from).to_vec(),
                schema: ViewSchema { tables, measures },
            },
        }
    }
}

impl Default for Traffic {
    fn default() -> Traffic {
        Traffic::new()
    }
}

impl View for Traffic {
    fn definition(&self) -> &Definition {
        &self.definition
    }

    fn depends_on(&self, context: &ViewContext) -> Vec<(&'static str, String)> {
        vec![context.time_zone(), context.session_gap()]
    }

    fn render<'s>(&self, facts: &Facts<'s>, shared: &Shared) -> Rows<'s> {
        let mut buckets = Buckets::new(shared.context.calendar.clone());
        let presence = rows_of(facts.presence.clone(), "Traffic of sessions and users", present);
        let sales = rows_of(facts.lines.clone(), "Traffic of sales", move |line, out| sold(line, &mut buckets, out));
        presence.concat(sales)
    }

    fn answer(&self, rows: &dyn RowSet, context: &AnswerContext, query: &Query) -> Result<Table, QueryError> {
        let asked = COLUMNS.asked(query)?;
        let filters = COLUMNS.filters(query)?;
        if asked.iter().filter(|(column, _)| column != "currency").count() > 1 {
            return Err(QueryError::SeveralTimes("minute, hour and day"));
        }
        // The finest that is named: a coarser filter or column follows from it, and where a filter is the finest, it
        // leaves one bucket, in which distinct counts are exact whatever they are grouped by.
        let named = |column: &str| {
            asked.iter().any(|(name, _)| name == column) || filters.iter().any(|(name, ..)| name == column)
        };
        let grain = match () {
            () if named("minute") => Grain::Minute,
            () if named("hour") => Grain::Hour,
            () if named("day") => Grain::Day,
            () if query.days.is_some() => return Err(QueryError::RangeNeedsDays),
            () => Grain::All,
        };
        let magnitudes = Magnitudes::of(rows, MAGNITUDE_TABLE, MAGNITUDE);
        let currencies = &magnitudes.currencies;
        let forced = currencies.len() > 1 && !query.group_by.iter().any(|column| column == "currency");
        let only = currencies.first().copied().filter(|_| currencies.len() == 1);
        let only = only_currency(&filters).filter(|&code| code != 0).or(only);
        let default_currency = only.map_or(context.shared.context.default_currency, currency);
        let calendar = context.calendar();
        let part = |key: &Key, column: &str| match (column, grain) {
            ("currency", _) => key.parts[1],
            ("hour", Grain::Minute) => calendar.hour_start(key.parts[0] as i64) as u64,
            ("day", Grain::Minute | Grain::Hour) => calendar.day(key.parts[0] as i64) as u64,
            _ => key.parts[0],
        };
        let mut groups = Groups::new();
        let mut span = Span::of(grain as u8, &[]);
        match (days_asked(&filters, query.days, calendar), grain) {
            (None, _) | (_, Grain::All) => {}
            // Empty where the first is after the last.
            (Some((first, last)), Grain::Day) => span = span.between(0, first as u64, last as u64),
            (Some(days), Grain::Minute | Grain::Hour) => {
                let (first, last) = instants_of(days, calendar);
                span = span.between(0, first, last);
            }
        }
        rows.scan(&span, &mut |key, measures| {
            let in_range = |(first, last): (i64, i64)| (first..=last).contains(&(part(key, "day") as i64));
            let wanted = filters.iter().all(|(column, _, wanted)| part(key, column) == *wanted);
            if !wanted || !query.days.is_none_or(in_range) {
                return;
            }
            let mut parts: Vec<u64> = asked.iter().map(|(column, _)| part(key, column)).collect();
            if forced {
                parts.insert(0, key.parts[1]);
            }
            sum(&mut groups, parts, measures);
        });
        let mut columns: Vec<(String, GroupType)> = asked;
        if forced {
            columns.insert(0, ("currency".to_owned(), GroupType::Currency));
        }
        // What has no currency stands in a row of its own.
        let filled = filled_currencies(&filters, &currencies.iter().copied().chain([0]).collect());
        for group in zero_filled(&columns, &filters, query.days, &filled, calendar)? {
            groups.entry(group).or_default();
        }
        let mut table = Table::new(columns.iter().map(|(column, _)| column).chain(&self.definition.values));
        let currency_at = columns.iter().position(|(column, _)| column == "currency");
        for (parts, measures) in &groups {
            let mut row: Vec<Value> =
                columns.iter().zip(parts).map(|((_, kind), &part)| kind.value(part, context)).collect();
            let code = currency_at.map(|index| parts[index]).filter(|&code| code != 0);
            let currency = code.map_or(default_currency, currency);
            // Under no currency there is no money.
            if currency_at.is_none_or(|index| parts[index] != 0) {
                magnitudes.check(currency)?;
            }
            row.extend(values(measures, currency));
            table.rows.push(row);
        }
        query.arrange(table)
    }

    fn untrusted(&self, rows: &dyn RowSet) -> BTreeSet<u64> {
        Magnitudes::of(rows, MAGNITUDE_TABLE, MAGNITUDE).into_untrusted()
    }

    fn oracle(&self, context: &ViewContext, observed: &[Observed], query: &Query) -> Result<Table, QueryError> {
        oracle::traffic::answer(context, observed, query)
    }
}

/// An event counts in each of its buckets, and who is present once in each.
fn present(presence: &Presence, out: &mut Out<'_>) {
    let (event, whose) = match presence.what {
        Present::PageView => (Some(PAGE_VIEWS), ACTIVE_SESSIONS),
        Present::CartAddition => (Some(CART_ADDITIONS), ACTIVE_SESSIONS),
        Present::OtherEvent => (None, ACTIVE_SESSIONS),
        Present::User => (None, ACTIVE_USERS),
    };
    for grain in GRAINS {
        let is_first = presence.first_in >> grain as u8 & 1 != 0;
        if event.is_none() && !is_first {
            continue;
        }
        let key = grain.key(&presence.bucket, 0);
        event.into_iter().for_each(|measure| out.add(key, measure, 1));
        out.add(key, whose, i64::from(is_first));
    }
}

fn sold(line: &OrderLine, buckets: &mut Buckets, out: &mut Out<'_>) {
    let (purchases, net) = match line.kind {
        LineKind::Sold => (1, line.amount),
        LineKind::Returned | LineKind::Refunded => (0, -line.amount),
    };
    let bucket = buckets.of(line.time);
    for grain in GRAINS {
        let key = grain.key(&bucket, line.currency.code());
        out.add(key, PURCHASES, purchases);
        out.add(key, NET_SALES, net);
        out.add(key, FACTS, 1);
    }
    let magnitude = magnitude::of_line(line.amount, 0);
    out.add(magnitude::key(MAGNITUDE_TABLE, line.currency), MAGNITUDE, magnitude);
}

fn values(measures: &Measures, currency: Currency) -> Vec<Value> {
    let mut row: Vec<Value> = (0..NET_SALES).map(|index| Value::Int(measures.get(index))).collect();
    row.push(Value::Money(measures.get(NET_SALES), currency));
    row
}
