//! Naive batch answers: what docs/metrics.md says, over texts, with nothing incremental.
//!
//! ```text
//! Incoming ──accept::observe──▶ Observed ──<view>::answer──▶ Table
//! ```
//!
//! An oracle is read beside the definition and must be obviously right; it may be quadratic. Where the definition
//! leaves a choice, the view's oracle says at its top which it takes. For all of them:
//! - Filters hold for every fact that a row is made of. A filter's time is compared as an instant, so that
//!   `07:00:00Z` and `07:00:00+00:00` are one hour.
//! - A range zero-fills hours, days and months (not minutes), also where there is no fact at all, except those that a
//!   filter on a time column rules out; where the currency is a column too, for each currency that there is, or the one
//!   that is filtered by. Zero money that no fact stands behind is in the currency that is filtered by, else in that of
//!   the others where that is one, else in the default currency.
//! - Whether there are several currencies is asked of all accepted sales facts, whatever the filters and days.

pub mod accept;
pub(crate) mod asked;
mod calendar;
#[cfg(test)]
pub(crate) mod example;
pub mod funnel;
pub mod quality;
pub mod related_products;
pub mod sales;
pub mod traffic;
pub mod visits;

pub use accept::{Incoming, observe};

use crate::settings::ViewContext;
use crate::table::Value;
use asked::{Asked, row};
use millrace_schema::{Cents, Currency, Kind, OwnedRecord, Place, Rule};
use std::collections::{BTreeMap, BTreeSet};

/// One source record and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    pub source: String,
    pub place: Place,
    pub received_at: Option<i64>,
    /// `None` where it did not decode.
    pub record: Option<OwnedRecord>,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    Duplicate,
    Quarantined(Rule),
    /// Older than the horizons, when it came.
    Pending,
}

const NONE: &str = "(none)";
const UNKNOWN: &str = "(unknown)";

impl Observed {
    pub(crate) fn accepted(&self) -> Option<&OwnedRecord> {
        self.record.as_ref().filter(|_| self.outcome == Outcome::Accepted)
    }
}

/// The accepted records that are events, not dimensions.
fn events(observed: &[Observed]) -> impl Iterator<Item = &OwnedRecord> {
    observed.iter().filter_map(Observed::accepted).filter(|record| !record.kind.is_dimension())
}

pub(crate) fn is_sold_line(record: &OwnedRecord) -> bool {
    record.kind == Kind::Purchase && record.quantity >= 0
}

/// The units and the amount that a return line or a refund brings back; `None` for anything else. A refund of the whole order
/// brings no units.
pub(crate) fn returned(record: &OwnedRecord) -> Option<(i64, Cents)> {
    match record.kind {
        Kind::Purchase if record.quantity < 0 => Some((-i64::from(record.quantity), -record.amount)),
        Kind::Refund if record.product_id.is_empty() => Some((0, record.amount)),
        Kind::Refund => Some((i64::from(record.quantity), record.amount)),
        _ => None,
    }
}

/// Sold lines, return lines and refunds.
pub(crate) fn sales_facts(observed: &[Observed]) -> impl Iterator<Item = &OwnedRecord> {
    events(observed).filter(|record| matches!(record.kind, Kind::Purchase | Kind::Refund))
}

fn has_several_currencies(observed: &[Observed]) -> bool {
    sales_facts(observed).map(|record| record.currency).collect::<BTreeSet<_>>().len() > 1
}

/// The currency of money that no fact stands behind: the one that is asked for, or that there is.
fn currency_of_nothing(context: &ViewContext, observed: &[Observed], asked: &Asked) -> Currency {
    let one = |mut currencies: BTreeSet<Currency>| currencies.pop_first().filter(|_| currencies.is_empty());
    let named: BTreeSet<&String> = asked.filtered("currency").collect();
    let named = if named.len() == 1 { named.first().and_then(|text| Currency::parse(text)) } else { None };
    let there_is = one(sales_facts(observed).map(|record| record.currency).collect());
    named.or(there_is).unwrap_or(context.default_currency)
}

/// The currencies of all sales facts; the default one where there are none.
fn currencies(context: &ViewContext, observed: &[Observed]) -> BTreeSet<String> {
    let mut currencies: BTreeSet<String> = sales_facts(observed).map(|record| record.currency.to_string()).collect();
    if currencies.is_empty() {
        currencies.insert(context.default_currency.to_string());
    }
    currencies
}

/// Currencies whose amounts together come near what 64 bits hold: their money is not shown. Of each line counts its size, rounded up
/// to whole units of 2^20 minor units, and more than 2^43 units are too many. `size` gives a line's in minor units.
fn too_large(observed: &[Observed], size: impl Fn(&OwnedRecord) -> u128) -> BTreeSet<Currency> {
    too_large_among(sales_facts(observed), size)
}

/// The same of some lines.
pub(crate) fn too_large_among<'a>(
    lines: impl Iterator<Item = &'a OwnedRecord>,
    size: impl Fn(&OwnedRecord) -> u128,
) -> BTreeSet<Currency> {
    let mut units: BTreeMap<Currency, u128> = BTreeMap::new();
    for record in lines {
        *units.entry(record.currency).or_default() += size(record) / (1 << 20) + 1;
    }
    units.into_iter().filter(|(_, units)| *units > 1 << 43).map(|(currency, _)| currency).collect()
}

/// A sum of money in an answer.
pub(crate) fn money(sum: i128, currency: Currency) -> Value {
    Value::Money(Cents::try_from(sum).expect("sums that may not fit are refused before"), currency)
}

fn text_or_none(text: &str) -> String {
    if text.is_empty() { NONE.to_owned() } else { text.to_owned() }
}

/// The versions of every product, by `updated_at`: the time and the category in force from then on.
struct Products(BTreeMap<String, Vec<(i64, String)>>);

impl Products {
    fn of(observed: &[Observed]) -> Products {
        let accepted = observed.iter().filter_map(|one| Some((one.accepted()?, one.place)));
        let mut records: Vec<_> = accepted.filter(|(record, _)| record.kind == Kind::Product).collect();
        records.sort_by_key(|(record, place)| (record.time, *place));
        let mut products: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
        for (record, _) in records {
            let versions = products.entry(record.product_id.clone()).or_default();
            versions.pop_if(|(time, _)| *time == record.time);
            let category = match versions.last() {
                Some((_, before)) if record.deleted && record.category.is_empty() => before.clone(),
                _ => text_or_none(&record.category),
            };
            versions.push((record.time, category));
        }
        Products(products)
    }

    /// What names no product has the category `(none)`.
    fn category_now(&self, product: &str) -> String {
        if product.is_empty() {
            return NONE.to_owned();
        }
        let last = self.0.get(product).and_then(|versions| versions.last());
        last.map_or(UNKNOWN.to_owned(), |(_, category)| category.clone())
    }

    fn category_at(&self, product: &str, time: i64) -> String {
        if product.is_empty() {
            return NONE.to_owned();
        }
        let Some(versions) = self.0.get(product) else { return UNKNOWN.to_owned() };
        let in_force = versions.iter().rev().find(|(since, _)| *since <= time);
        in_force.unwrap_or(&versions[0]).1.clone()
    }
}
