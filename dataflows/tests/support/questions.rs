//! What the views are asked.

use millrace_dataflows::query::Query;
use millrace_dataflows::settings::ViewContext;
use millrace_dataflows::views::Part;
use millrace_schema::calendar::{format_day, format_month};
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use crate::properties::records::{CATEGORIES, DEVICES, PRODUCTS, REFERRERS};
use crate::properties::zones::instants;

/// Questions that are always asked: everything as one row, and by each column.
pub fn fixed(view: &str) -> Vec<Query> {
    let by = |columns: &[&String]| Query::group_by(columns.iter().copied());
    match view {
        "related_products" => {
            let ranked = |score: &str| Query { rank_by: Some(score.to_owned()), ..Query::default() };
            ["n_ab", "cosine", "jaccard", "lift", "llr"].map(ranked).to_vec()
        }
        _ => std::iter::once(by(&[])).chain(columns(view).iter().map(|column| by(&[column]))).collect(),
    }
}

/// What a view is grouped by: what it says, and the currency where it has one.
fn columns(view: &str) -> Vec<String> {
    let view = millrace_dataflows::views::view(view, &ViewContext::default()).expect("the list names it");
    let mut columns = view.group_columns().to_vec();
    let has_currency = view.schema().tables.iter().any(|table| table.parts.contains(&Part::Currency));
    if has_currency && !columns.iter().any(|column| column == "currency") {
        columns.push("currency".to_owned());
    }
    columns
}

fn is_time(column: &str) -> bool {
    ["minute", "hour", "day", "month"].contains(&column)
}

pub fn random(view: &str, context: &ViewContext, seed: u64, count: usize) -> Vec<Query> {
    let mut random = SmallRng::seed_from_u64(seed);
    (0..count).map(|_| one(view, context, &mut random)).collect()
}

fn one(view: &str, context: &ViewContext, random: &mut SmallRng) -> Query {
    let mut query = Query::default();
    let mut known = columns(view);
    known.shuffle(random);
    for column in known {
        // Two times at once are an error: seldom.
        let second_time = is_time(&column) && query.group_by.iter().any(|known| is_time(known));
        if random.random_bool(if second_time { 0.03 } else { 0.4 }) {
            query.group_by.push(column);
        }
    }
    while random.random_bool(0.3) {
        query.filters.push(filter(view, context, random));
    }
    let instant = |random: &mut SmallRng| instant(context, random);
    let day = |random: &mut SmallRng| context.calendar.day(instant(random));
    if random.random_bool(0.25) {
        let (a, b) = (day(random), day(random));
        // No day before 1970 can be asked for.
        let (first, last) = (a.min(b) - random.random_range(0..2), a.max(b) + random.random_range(0..2));
        query.days = Some((first.max(0), last.max(0)));
    }
    if random.random_bool(0.3) {
        query.as_of = Some(instant(random) + random.random_range(-2..60) * 3_600_000_000);
    }
    if view == "related_products" {
        let scores = ["n_ab", "cosine", "jaccard", "lift", "llr"];
        query.rank_by = Some((*scores.choose(random).expect("one of five")).to_owned());
    }
    if random.random_bool(0.1) {
        query.limit = Some(random.random_range(0..4));
    }
    query
}

fn instant(context: &ViewContext, random: &mut SmallRng) -> i64 {
    super::time(instants(context.calendar.zone()).choose(random).expect("there are instants"))
}

fn filter(view: &str, context: &ViewContext, random: &mut SmallRng) -> (String, String) {
    let filterable = match view {
        "related_products" => ["kind", "product_id", "related_id"].map(String::from).to_vec(),
        _ => columns(view),
    };
    let column = &**filterable.choose(random).expect("there are columns");
    let calendar = &context.calendar;
    let instant = |random: &mut SmallRng| instant(context, random);
    let one_of = |random: &mut SmallRng, texts: &[&str]| (*texts.choose(random).expect("one of some")).to_owned();
    let text = match column {
        "minute" => calendar.format_instant(calendar.minute_start(instant(random))),
        "hour" => calendar.format_instant(calendar.hour_start(instant(random))),
        "day" => format_day(calendar.day(instant(random))),
        "month" => format_month(calendar.day(instant(random))),
        "product_id" | "related_id" => one_of(random, &PRODUCTS),
        "currency" => one_of(random, &["USD", "JPY"]),
        "referrer" => one_of(random, &[&REFERRERS[..], &["(none)"]].concat()),
        "device" => one_of(random, &[&DEVICES[..], &["(none)"]].concat()),
        "user_id" => one_of(random, &["u", "v", "w"]),
        "segment" => one_of(random, &["champions", "loyal", "new", "promising", "lost", "(none)"]),
        "source" => one_of(random, &["shop", "web"]),
        "kind" => one_of(random, &["viewed_together", "bought_together"]),
        "rule" => one_of(random, &["late", "id_conflict", "unknown_product", "malformed_json", "order_disagrees"]),
        _ => one_of(random, &[&CATEGORIES[..], &["(none)", "(unknown)"]].concat()),
    };
    (column.to_owned(), text)
}
