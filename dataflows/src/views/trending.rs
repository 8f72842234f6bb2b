//! `trending`: which products are asked for now?
//!
//! ```sql
//! SELECT product_id, sum(weight * 0.5 ** (seconds_since(hour) / half_life)) AS score
//! FROM (SELECT date_trunc('hour', event_time) AS hour, product_id,
//!              count_if(<product view>) + 3 * count_if(<add_to_cart>) + 5 * count_if(<sold line>) AS weight …)
//! ```
//!
//! Rows are whole counts by hour and product. How much an hour still counts is worked out when an answer is read, as of an instant
//! (default: the watermark): half as much for each half-life since the hour began. What is later than that instant counts nothing in
//! the score. Scores are added up hour by hour, the earliest first.

use super::additive::{Additive, Counting, Per};
use crate::context::Shared;
use crate::facts::{Facts, Uses};
use crate::oracle::Observed;
use crate::oracle::asked::{Asked, row};
use crate::query::{Query, QueryError};
use crate::row_set::RowSet;
use crate::rows::Rows;
use crate::settings::ViewContext;
use crate::table::{Table, Value};
use crate::views::grouping::zero_filled;
use crate::views::{AnswerContext, Definition, View};
use millrace_schema::{Body, Kind, OwnedRecord, Page};
use std::collections::{BTreeMap, BTreeSet};

/// What a product view, an addition to a cart and a sold line weigh.
const WEIGHTS: [i64; 3] = [1, 3, 5];
const COUNTS: [&str; 3] = ["product_views", "cart_additions", "purchases"];

static COUNTED: Additive = Additive {
    name: "trending",
    version: 1,
    question: "Which products are asked for now?",
    by_default: false,
    uses: Uses { events: true, ..Uses::NOTHING },
    per: Per::Hour,
    names: &["product_id"],
    counts: &COUNTS,
    rows: |facts, counter| {
        counter.rows(&facts.events, |event, counts| {
            let count = match event.body {
                Body::PageView { page: Page::ProductDetail, .. } => 0,
                Body::AddToCart { .. } => 1,
                Body::Purchase { quantity, .. } if quantity >= 0 => 2,
                Body::PageView { .. }
                | Body::RemoveFromCart { .. }
                | Body::CheckoutStarted
                | Body::Purchase { .. }
                | Body::Refund { .. }
                | Body::Product { .. }
                | Body::User { .. }
                | Body::Inventory { .. } => return,
            };
            if !event.product.is_none() {
                counts.add(event.time, [event.product], count, 1);
            }
        })
    },
    reference: |record| {
        let counts = [
            record.kind == Kind::PageView && record.page == Page::ProductDetail,
            record.kind == Kind::AddToCart,
            record.kind == Kind::Purchase && record.quantity >= 0,
        ];
        let is_counted = counts.contains(&true) && !record.product_id.is_empty();
        is_counted.then(|| (vec![&*record.product_id], counts.map(i64::from).to_vec()))
    },
};

pub struct Trending {
    counting: Counting,
    definition: Definition,
}

impl Trending {
    pub fn new() -> Trending {
        let counting = COUNTED.view();
        let mut definition = counting.definition().clone();
        definition.values.extend(["weight", "score"].map(String::from));
        Trending { counting, definition }
    }
}

impl Default for Trending {
    fn default() -> Trending {
        Trending::new()
    }
}

/// The counts of one row of an answer, by hour.
type ByHour = BTreeMap<i64, [i64; 3]>;

/// The values of a row. `now` and the half-life in microseconds.
fn values(hours: &ByHour, now: Option<i64>, half_life: i64) -> Vec<Value> {
    let mut counts = [0; 3];
    let mut score = 0.0;
    let weight = |counts: &[i64; 3]| -> i64 { counts.iter().zip(WEIGHTS).map(|(count, weight)| count * weight).sum() };
    for (hour, of_hour) in hours {
        counts.iter_mut().zip(of_hour).for_each(|(sum, count)| *sum += count);
        if let Some(age) = now.map(|now| now - hour).filter(|age| *age >= 0) {
            score += weight(of_hour) as f64 * (-(age as f64) / half_life as f64).exp2();
        }
    }
    let score = now.map_or(Value::Null, |_| Value::Float(score));
    counts.iter().map(|count| Value::Int(*count)).chain([Value::Int(weight(&counts)), score]).collect()
}

impl View for Trending {
    fn definition(&self) -> &Definition {
        &self.definition
    }

    fn depends_on(&self, context: &ViewContext) -> Vec<(&'static str, String)> {
        self.counting.depends_on(context)
    }

    fn render<'s>(&self, facts: &Facts<'s>, shared: &Shared) -> Rows<'s> {
        self.counting.render(facts, shared)
    }

    fn answer(&self, rows: &dyn RowSet, context: &AnswerContext, query: &Query) -> Result<Table, QueryError> {
        let asked = self.counting.asked(query, context)?;
        let mut groups: BTreeMap<Vec<u64>, ByHour> = BTreeMap::new();
        self.counting.scan(rows, &asked, context, &mut |group, key, sums| {
            let of_hour = groups.entry(group).or_default().entry(key.parts[0] as i64).or_default();
            (0..COUNTS.len()).for_each(|count| of_hour[count] += sums.get(count));
        });
        for group in zero_filled(&asked.columns, &asked.filters, query.days, &BTreeSet::new(), context.calendar())? {
            groups.entry(group).or_default();
        }
        let (now, half_life) = (query.as_of.or(context.watermark), context.shared.context.trending_half_life_micros);
        let mut table = Table::new(query.group_by.iter().chain(&self.definition.values));
        for (parts, hours) in &groups {
            let group = asked.columns.iter().zip(parts).map(|((_, kind), &part)| kind.value(part, context));
            table.rows.push(group.chain(values(hours, now, half_life)).collect());
        }
        query.arrange(table)
    }

    fn oracle(&self, context: &ViewContext, observed: &[Observed], query: &Query) -> Result<Table, QueryError> {
        let known: Vec<&str> = self.definition.groups.iter().map(String::as_str).collect();
        let asked = Asked::check("trending", &known, &known, Some(Per::Hour.listed()), context, query)?;
        let mut groups: BTreeMap<_, BTreeMap<i64, [i64; 3]>> = BTreeMap::new();
        for record in observed.iter().filter_map(Observed::accepted) {
            let Some((names, counts)) = (COUNTED.reference)(record) else { continue };
            let label = |column: &str| match column {
                "product_id" => names[0].to_owned(),
                time => asked.time_label(time, record.time),
            };
            if let Some(key) = asked.key(|column| Some(label(column))).filter(|_| asked.in_days(Some(record.time))) {
                let of_hour: &mut [i64; 3] =
                    groups.entry(key).or_default().entry(asked.hour_start(record.time)).or_default();
                of_hour.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            }
        }
        for key in asked.zero_filled(&BTreeSet::new()) {
            groups.entry(key).or_default();
        }
        let latest = |record: &OwnedRecord| (!record.kind.is_dimension()).then_some(record.time);
        let latest = observed.iter().filter_map(Observed::accepted).filter_map(latest).max();
        let now = query.as_of.or_else(|| Some(latest? - context.allowed_lateness_micros));
        let mut table = asked.table(self.definition.values.clone());
        let half_life = context.trending_half_life_micros;
        table.rows.extend(groups.iter().map(|(key, hours)| row(key, values(hours, now, half_life))));
        query.arrange(table)
    }
}
