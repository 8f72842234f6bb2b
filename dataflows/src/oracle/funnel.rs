//! How far do sessions come, step by step, and where do they stop?
//!
//! A chain is looked for from every event of the first step: each next mandatory step takes its soonest event that is
//! not before the one taken last. No other choice from there is complete sooner.
//!
//! Choices: `immature_until` of a row without sessions (a zero-filled day) is null, and is printed in the store's time
//! zone. The range of days and the filters concern the cohort; `sessions` counts users where the unit is the user.

use super::calendar::Calendar;
use super::{Asked, Observed, Products, events, is_sold_line, row, text_or_none};
use crate::query::{Query, QueryError};
use crate::settings::{FunnelPlan, FunnelUnit, Matcher, StepPlan, ViewContext};
use crate::table::{Table, Value};
use millrace_schema::{Id, Kind, OwnedRecord, Page};
use std::collections::{BTreeMap, BTreeSet};

const GROUPS: [&str; 5] = ["day", "month", "category", "referrer", "device"];

/// What became of one session.
struct Journey {
    first_time: i64,
    category: String,
    referrer: String,
    device: String,
    /// A step each.
    reached: Vec<bool>,
    ordered: Vec<bool>,
    has_cart: bool,
    has_sale: bool,
    /// From the first step to the last, where the last is reached in order.
    micros_to_purchase: Option<i64>,
    capped: bool,
}

/// # Errors
/// [`QueryError`] where the question names what the view does not have.
pub fn answer(context: &ViewContext, observed: &[Observed], query: &Query) -> Result<Table, QueryError> {
    let asked = Asked::check("funnel", &GROUPS, &GROUPS, Some("day and month"), context, query)?;
    let products = Products::of(observed);
    let mut groups: BTreeMap<_, Vec<Journey>> = BTreeMap::new();
    for events in sessions(observed, context.funnel.unit).into_values() {
        let journey = follow(events, &context.funnel, &products);
        let label = |column: &str| match column {
            "category" => journey.category.clone(),
            "referrer" => journey.referrer.clone(),
            "device" => journey.device.clone(),
            _ => asked.time_label(column, journey.first_time),
        };
        let key = asked.key(|column| Some(label(column))).filter(|_| asked.in_days(Some(journey.first_time)));
        if let Some(key) = key {
            groups.entry(key).or_default().push(journey);
        }
    }
    for key in asked.zero_filled(&BTreeSet::new()) {
        groups.entry(key).or_default();
    }

    let last_event = events(observed).map(|record| record.time).max();
    let now = query.as_of.or(last_event.map(|time| time - context.allowed_lateness_micros));
    let mut table = asked.table(value_columns(&context.funnel.steps));
    table.rows = groups.iter().map(|(key, journeys)| row(key, values(context, journeys, now))).collect();
    query.arrange(table)
}

/// The events that have a session, by session (or user).
fn sessions(observed: &[Observed], unit: FunnelUnit) -> BTreeMap<&str, Vec<&OwnedRecord>> {
    let mut sessions: BTreeMap<&str, Vec<&OwnedRecord>> = BTreeMap::new();
    for record in events(observed).filter(|record| record.kind != Kind::Refund) {
        let id = match unit {
            FunnelUnit::Session => &record.session_id,
            FunnelUnit::User => &record.user_id,
        };
        if !id.is_empty() {
            sessions.entry(id).or_default().push(record);
        }
    }
    sessions
}

fn follow(mut events: Vec<&OwnedRecord>, plan: &FunnelPlan, products: &Products) -> Journey {
    events.sort_by_cached_key(|event| (event.time, Id::of(&event.event_id)));
    let capped = events.len() > plan.max_events;
    events.truncate(plan.max_events);

    // The smallest text of the earliest events that have one.
    let first = |text: fn(&OwnedRecord) -> &str| {
        let with_text = events.iter().map(|event| (event.time, text(event))).filter(|(_, text)| !text.is_empty());
        with_text.min().map(|(_, text)| text)
    };
    let product = first(|event| {
        let is_product_view = event.kind == Kind::PageView && event.page == Page::ProductDetail;
        if is_product_view { &event.product_id } else { "" }
    });
    let referrer = first(|event| if event.kind == Kind::PageView { &event.referrer } else { "" });
    let device = first(|event| if event.kind == Kind::PageView { &event.device } else { "" });

    // The times of each step's events, ascending.
    let times_of = |step: &StepPlan| -> Vec<i64> {
        let of_step = events.iter().filter(|event| step.matchers.iter().any(|matcher| matches(*matcher, event)));
        of_step.map(|event| event.time).collect()
    };
    let times: Vec<Vec<i64>> = plan.steps.iter().map(times_of).collect();
    // How long the chain to a step (the mandatory steps before it, then it) takes from the first event that has one.
    let micros_to = |step: usize| -> Option<i64> {
        let mandatory = (0..step).filter(|&before| !plan.steps[before].optional);
        let chain: Vec<&[i64]> = mandatory.chain([step]).map(|step| times[step].as_slice()).collect();
        times[0].iter().find_map(|&start| chain_micros(start, &chain, plan.window_micros))
    };

    Journey {
        first_time: events.iter().map(|event| event.time).min().expect("a session has an event"),
        category: product.map_or(text_or_none(""), |product| products.category_now(product)),
        referrer: text_or_none(referrer.unwrap_or("")),
        device: text_or_none(device.unwrap_or("")),
        reached: times.iter().map(|times| !times.is_empty()).collect(),
        ordered: (0..plan.steps.len()).map(|step| micros_to(step).is_some()).collect(),
        has_cart: events.iter().any(|event| event.kind == Kind::AddToCart),
        has_sale: events.iter().any(|event| is_sold_line(event)),
        micros_to_purchase: micros_to(plan.steps.len() - 1),
        capped,
    }
}

fn matches(matcher: Matcher, event: &OwnedRecord) -> bool {
    match matcher {
        Matcher::Kind(Kind::Purchase) => is_sold_line(event),
        Matcher::Kind(kind) => event.kind == kind,
        Matcher::Page(page) => event.kind == Kind::PageView && event.page == page,
    }
}

/// How long the chain that begins at `start` takes, at its soonest; `None` where it does not end in the window.
fn chain_micros(start: i64, chain: &[&[i64]], window: Option<i64>) -> Option<i64> {
    let mut time = start;
    for times in chain {
        time = *times.get(times.partition_point(|&candidate| candidate < time))?;
    }
    window.is_none_or(|window| time - start <= window).then_some(time - start)
}

fn value_columns(steps: &[StepPlan]) -> Vec<String> {
    let of_steps = |prefix: &str, from: usize| -> Vec<String> {
        steps[from..].iter().map(|step| format!("{prefix}_{}", step.name)).collect()
    };
    let texts = |texts: &[&str]| -> Vec<String> { texts.iter().map(|&text| text.to_owned()).collect() };
    let last = [
        "overall_conversion",
        "median_seconds_to_purchase",
        "p90_seconds_to_purchase",
        "mean_seconds_to_purchase",
        "immature_until",
        "capped_sessions",
    ];
    [
        texts(&["sessions"]),
        of_steps("reached", 0),
        of_steps("ordered", 0),
        texts(&["carts_abandoned", "cart_abandonment"]),
        of_steps("step_conversion", 1),
        texts(&last),
    ]
    .concat()
}

fn values(context: &ViewContext, journeys: &[Journey], now: Option<i64>) -> Vec<Value> {
    let steps = &context.funnel.steps;
    let count = |holds: &dyn Fn(&Journey) -> bool| journeys.iter().filter(|journey| holds(journey)).count() as i64;
    let ordered: Vec<i64> = (0..steps.len()).map(|step| count(&|journey| journey.ordered[step])).collect();
    let carts = count(&|journey| journey.has_cart);
    let abandoned = count(&|journey| journey.has_cart && !journey.has_sale);

    let mut values = vec![Value::Int(journeys.len() as i64)];
    values.extend((0..steps.len()).map(|step| Value::Int(count(&|journey| journey.reached[step]))));
    values.extend(ordered.iter().map(|&sessions| Value::Int(sessions)));
    values.extend([Value::Int(abandoned), Value::ratio(abandoned, carts)]);
    for step in 1..steps.len() {
        let before = (0..step).rev().find(|&before| !steps[before].optional).expect("the first step is mandatory");
        values.push(Value::ratio(ordered[step], ordered[before]));
    }
    values.push(Value::ratio(ordered[steps.len() - 1], ordered[0]));
    values.extend(seconds_to_purchase(journeys));
    values.push(immature_until(context, journeys, now));
    values.push(Value::Int(count(&|journey| journey.capped)));
    values
}

/// Median, p90 and mean, each from the middles of the buckets.
fn seconds_to_purchase(journeys: &[Journey]) -> [Value; 3] {
    let mut buckets: Vec<i64> = journeys.iter().filter_map(|journey| journey.micros_to_purchase).map(bucket).collect();
    buckets.sort_unstable();
    let n = buckets.len();
    if n == 0 {
        return [Value::Null, Value::Null, Value::Null];
    }
    let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
    for &bucket in &buckets {
        *counts.entry(bucket).or_default() += 1;
    }
    let sum: f64 = counts.iter().map(|(&bucket, &count)| count as f64 * bucket_seconds(bucket)).sum();
    let ranked = |rank: usize| Value::Float(bucket_seconds(buckets[rank - 1]));
    [ranked(n.div_ceil(2)), ranked((9 * n).div_ceil(10)), Value::Float(sum / n as f64)]
}

fn bucket(micros: i64) -> i64 {
    if micros == 0 { 0 } else { 1 + ((micros as f64).ln() / 1.05_f64.ln()).floor() as i64 }
}

fn bucket_seconds(bucket: i64) -> f64 {
    if bucket == 0 { 0.0 } else { 1.05_f64.powf((bucket - 1) as f64 + 0.5) / 1e6 }
}

/// When the window of the latest cohort day closes, where that is still to come.
fn immature_until(context: &ViewContext, journeys: &[Journey], now: Option<i64>) -> Value {
    let calendar = Calendar::of(context);
    let last_day = journeys.iter().map(|journey| calendar.date(journey.first_time)).max();
    let (Some(last_day), Some(window), Some(now)) = (last_day, context.funnel.window_micros, now) else {
        return Value::Null;
    };
    let closes = calendar.end_of(last_day) + window;
    if closes > now { Value::text(calendar.text(closes)) } else { Value::Null }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::example::{accepted, at, check, context, event, product, purchase, rows, view};

    fn of(session: &str, record: OwnedRecord) -> OwnedRecord {
        let event_id = format!("{session}/{}", record.event_id);
        OwnedRecord { event_id, session_id: session.to_owned(), ..record }
    }

    /// `a` buys straight through in 10 minutes; `b` has its cart before its view; `c` buys a day too late, and again.
    fn shop() -> Vec<OwnedRecord> {
        let from = |referrer: &str, record| OwnedRecord { referrer: referrer.to_owned(), ..record };
        vec![
            product("1T00:00", "tea", "Drinks"),
            of("a", from("ads", view("1T07:00", "tea"))),
            of("a", event(Kind::AddToCart, "1T07:05", "tea")),
            of("a", purchase("1T07:10", "o1", "tea", 1, 500)),
            of("b", event(Kind::AddToCart, "1T07:00", "mug")),
            of("b", from("mail", view("1T08:00", "mug"))),
            of("b", event(Kind::CheckoutStarted, "1T09:00", "")),
            of("c", view("2T00:00", "tea")),
            of("c", event(Kind::AddToCart, "2T00:30", "tea")),
            of("c", purchase("3T01:00", "o2", "tea", 1, 500)),
            of("c", purchase("3T02:00", "o2", "tea", -1, -500)),
        ]
    }

    #[test]
    fn steps_are_reached_in_any_order_and_in_order() {
        // 600 s are in bucket 415, whose middle is 1.05^414.5 µs.
        // The watermark is 3T01:50: the second day is open until 4T00:00.
        let expected = [
            "2019-10-01 2 2 2 2 1 1 2 2 1 0 1 1 0.5000 1.0000 0.5000 0.0000 1.0000 0.5000 \
             606.6867 606.6867 606.6867 - 0",
            "2019-10-02 1 1 1 1 0 1 1 1 1 0 0 0 0.0000 1.0000 1.0000 0.0000 0.0000 0.0000 \
             - - - 2019-10-04T00:00:00+00:00 0",
        ];
        check(answer, &accepted(shop()), &Query::group_by(["day"]), &expected);
    }

    #[test]
    fn a_breakdown_is_by_the_first_of_its_kind() {
        let query = Query { as_of: Some(at("9T00:00")), ..Query::group_by(["category", "referrer"]) };
        let table = answer(&context(), &accepted(shop()), &query).expect("an answer");
        let starts: Vec<String> = rows(&table).iter().map(|row| row[..row.len().min(14)].to_owned()).collect();
        assert_eq!(starts, ["(unknown) mail", "Drinks (none) ", "Drinks ads 1 1"]);
    }

    #[test]
    fn one_event_may_serve_two_steps_and_equal_times_any_order() {
        let mut capped = context();
        capped.funnel.max_events = 3;
        let records = [
            of("a", purchase("1T07:00", "o", "tea", 1, 500)),
            of("a", event(Kind::AddToCart, "1T07:00", "tea")),
            of("a", view("1T07:00", "tea")),
            of("a", event(Kind::CheckoutStarted, "1T07:01", "")),
        ];
        let records = records.map(|record| OwnedRecord { event_id: format!("{:?}", record.kind), ..record });
        let table = answer(&capped, &accepted(records), &Query::default()).expect("an answer");
        let expected = "1 1 1 1 0 1 1 1 1 0 1 0 0.0000 1.0000 1.0000 0.0000 1.0000 1.0000 0.0000 0.0000 0.0000 \
                        2019-10-03T00:00:00+00:00 1";
        assert_eq!(rows(&table), [expected]);
    }
}
