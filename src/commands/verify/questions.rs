//! What a lake's views are asked, and which rows of the answers are compared where not all are.

use super::events::Events;
use millrace_dataflows::oracle::Observed;
use millrace_dataflows::query::Query;
use millrace_dataflows::settings::{FunnelUnit, ViewContext};
use millrace_dataflows::table::{Table, Value};
use millrace_dataflows::views;
use millrace_schema::OwnedRecord;
use millrace_schema::calendar::format_day;
use std::collections::{BTreeSet, HashSet};

/// Every question, by its view. "Now" is the same for all.
pub fn questions(now: Option<i64>, context: &ViewContext) -> Vec<(&'static str, Query)> {
    let mut asked = Vec::new();
    for view in views::all(context) {
        let query = |columns: Vec<&str>| (view.name(), Query { as_of: now, ..Query::group_by(columns) });
        asked.extend(view.verified_by().into_iter().map(query));
    }
    asked
}

/// Some days and products, evenly spread over those there are.
///
/// An oracle takes as long for one day as for all: of funnel and traffic it gets only the events that these days rest on.
pub struct Sample {
    days: BTreeSet<String>,
    products: BTreeSet<String>,
    of_days: Vec<Observed>,
}

impl Sample {
    pub fn new(count: usize, events: &Events, context: &ViewContext) -> Sample {
        let day = |record: &OwnedRecord| context.calendar.day(record.time);
        let days = spread(events.records().map(day).collect(), count);
        let products = events.records().map(|record| &*record.product_id).filter(|product| !product.is_empty());
        let products = spread(products.collect(), count);
        // Sessions (or users) that have an event on these days, whole: so those that begin on another day do not begin here.
        let is_of_days = |record: &OwnedRecord| days.contains(&day(record));
        let unit = |record| unit(record, context.funnel.unit);
        let units = events.records().filter(|record| is_of_days(record)).map(unit);
        let units: HashSet<&str> = units.filter(|id| !id.is_empty()).collect();
        let others = &events.all()[events.of_sales().len()..];
        let of_days = others.iter().filter(|one| {
            let record = one.record.as_ref().filter(|record| !record.kind.is_dimension());
            record.is_some_and(|record| is_of_days(record) || units.contains(unit(record)))
        });
        let of_days = events.of_sales().iter().chain(of_days).cloned().collect();
        Sample {
            of_days,
            days: days.into_iter().map(format_day).collect(),
            products: products.into_iter().map(str::to_owned).collect(),
        }
    }

    /// The columns that a view's rows are picked by, and what they have to say.
    fn of(&self, view: &str) -> (&[&'static str], &BTreeSet<String>) {
        match view {
            "funnel" | "traffic" => (&["minute", "hour", "day"], &self.days),
            _ => (&["product_id"], &self.products),
        }
    }

    /// The days or products of a question; `None` where its rows are of none.
    pub fn picked(&self, view: &str, query: &Query) -> Option<String> {
        let (columns, picked) = self.of(view);
        let fits = query.group_by.iter().any(|column| columns.contains(&column.as_str()));
        fits.then(|| picked.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
    }

    /// What a view follows from on these days; `None` where that is not less.
    pub fn events(&self, view: &str) -> Option<&[Observed]> {
        matches!(view, "funnel" | "traffic").then_some(&*self.of_days)
    }

    /// Leaves the rows of these days or products.
    pub fn pick(&self, view: &str, answer: &mut Table) {
        let (columns, picked) = self.of(view);
        let column = columns.iter().find_map(|column| answer.column(column)).expect("the question fits");
        answer.rows.retain(|row| match &row[column] {
            // A minute or an hour begins with its day.
            Value::Text(text) if view == "traffic" => text.get(..DAY_LENGTH).is_some_and(|day| picked.contains(day)),
            Value::Text(text) => picked.contains(&**text),
            _ => false,
        });
    }
}

const DAY_LENGTH: usize = "2019-10-01".len();

fn unit(record: &OwnedRecord, unit: FunnelUnit) -> &str {
    match unit {
        FunnelUnit::Session => &record.session_id,
        FunnelUnit::User => &record.user_id,
    }
}

/// So many of them, evenly spread.
fn spread<T: Ord + Copy>(all: BTreeSet<T>, count: usize) -> BTreeSet<T> {
    let all: Vec<T> = all.into_iter().collect();
    let count = count.min(all.len());
    (0..count).map(|number| all[number * all.len() / count]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_over_all() {
        let check = |count, expected: &[i64]| {
            let picked = spread((0..10).collect(), count);
            assert_eq!(picked.into_iter().collect::<Vec<i64>>(), expected);
        };
        check(3, &[0, 3, 6]);
        check(1, &[0]);
        check(10, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        check(20, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        check(0, &[]);
    }
}
