//! `customers`: who buys how much, how often, how lately; and how many come for the first time.
//!
//! ```sql
//! SELECT user_id, count(DISTINCT order_id) AS orders, sum(quantity) AS units, sum(price_paid) AS spend, …,
//!        min(day) AS first_order, max(day) AS last_order
//! FROM lines GROUP BY user_id                                  -- and by currency, where there are several
//!
//! SELECT day, count(DISTINCT user_id) AS customers, count_if(day = first_order) AS new_customers, … GROUP BY day
//! ```
//!
//! What an analyst would expect where docs/metrics.md is silent:
//! - a line that names nobody is of its order's customer: the user of its sold lines, where they name one; where they name several it is
//!   nobody's, and so are the orders of guests;
//! - an order is of the day of the customer's earliest sold line in it;
//! - with several currencies a customer has a row for each; orders, their days and how lately and how often are of all together;
//! - scores are worked out when an answer is read, among all customers with an order (and money in the row's currency).
//!
//! Sums are linear. First and last order are found among a customer's days by a `reduce`, whose input has a row for each customer and day.

mod answer;
mod reference;

use crate::context::Shared;
use crate::facts::{CustomerOrder, Facts, Uses};
use crate::netted::rows_of;
use crate::oracle::Observed;
use crate::query::{Query, QueryError};
use crate::row_set::RowSet;
use crate::rows::{Key, Rows};
use crate::settings::ViewContext;
use crate::table::Table;
use crate::views::magnitude::{self, Magnitudes};
use crate::views::{AnswerContext, Definition, Measure, Part, TableSchema, View, ViewSchema};
use std::collections::BTreeSet;

/// Tables: by user; by user and currency; by day.
const CUSTOMER: u8 = 0;
const SPENDING: u8 = 1;
const DAY: u8 = 2;
const MAGNITUDE_TABLE: u8 = 3;

const ORDERS: usize = 0;
/// Days since 1970.
const FIRST_ORDER: usize = 1;
const LAST_ORDER: usize = 2;
const UNITS: usize = 3;
const SPEND: usize = 4;
const UNITS_RETURNED: usize = 5;
const RETURNS: usize = 6;
/// How many orders a row stands for, so that one whose sums happen to be 0 is still there.
const FACTS: usize = 7;
const CUSTOMERS: usize = 8;
const NEW_CUSTOMERS: usize = 9;
/// See [`magnitude`].
const MAGNITUDE: usize = 10;

/// What is known of a customer's days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
enum OfDays {
    /// A day with an order.
    On(i32),
    /// The first and the last of them.
    Span(i32, i32),
}

pub struct Customers {
    definition: Definition,
}

impl Customers {
    pub fn new() -> Customers {
        let user = || Part::User("user_id");
        let tables = vec![
            TableSchema::new("customer", vec![user()]),
            TableSchema::new("spending", vec![user(), Part::Currency]),
            TableSchema::new("day", vec![Part::Day]),
            magnitude::table(),
        ];
        let counts = |names: &[&str]| names.iter().map(|name| Measure::count(name)).collect::<Vec<_>>();
        let mut measures = counts(&["orders", "first_order_day", "last_order_day", "units"]);
        measures.push(Measure::money("spend"));
        measures.push(Measure::count("units_returned"));
        measures.push(Measure::money("returns"));
        measures.extend(counts(&["facts", "customers", "new_customers", magnitude::NAME]));
        Customers {
            definition: Definition {
                name: "customers",
                version: 1,
                question: "Who buys how much, how often and how lately, and who is new?",
                by_default: false,
                always: false,
                uses: Uses { orders: true, ..Uses::NOTHING },
                groups: answer::GROUPS.map(String::from).to_vec(),
                values: answer::VALUES.map(String::from).to_vec(),
                schema: ViewSchema { tables, measures },
            },
        }
    }
}

impl Default for Customers {
    fn default() -> Customers {
        Customers::new()
    }
}

impl View for Customers {
    fn definition(&self) -> &Definition {
        &self.definition
    }

    fn depends_on(&self, context: &ViewContext) -> Vec<(&'static str, String)> {
        vec![context.time_zone()]
    }

    fn render<'s>(&self, facts: &Facts<'s>, _shared: &Shared) -> Rows<'s> {
        let sums = rows_of(facts.orders.clone(), "Customers' orders", |order, out| {
            let CustomerOrder { user, currency, units, spend, units_returned, returns, magnitude, .. } = *order;
            let spending = Key::new(SPENDING, [user.0, currency.code()]);
            out.add(Key::new(CUSTOMER, [user.0]), ORDERS, i64::from(order.ordered_on.is_some()));
            out.add(spending, UNITS, units);
            out.add(spending, SPEND, spend);
            out.add(spending, UNITS_RETURNED, units_returned);
            out.add(spending, RETURNS, returns);
            out.add(spending, FACTS, 1);
            out.add(magnitude::key(MAGNITUDE_TABLE, currency), MAGNITUDE, magnitude);
        });
        let days = facts.orders.clone().flat_map(|order| Some((order.user.0, order.ordered_on?)));
        let of_days = days.reduce_named("Customers' days", |_, days, out| {
            // There is a first, for a key without values is not handed in; and they are in order.
            let (first, last) = (*days[0].0, *days[days.len() - 1].0);
            out.extend(days.iter().map(|(day, _)| (OfDays::On(**day), 1_i64)));
            out.push((OfDays::Span(first, last), 1));
            out.sort_unstable();
        });
        let day = |day: i32| Key::new(DAY, [i64::from(day) as u64]);
        let dated = rows_of(of_days, "Customers by day", move |(user, of_days), out| match *of_days {
            OfDays::On(on) => out.add(day(on), CUSTOMERS, 1),
            OfDays::Span(first, last) => {
                out.add(day(first), NEW_CUSTOMERS, 1);
                let customer = Key::new(CUSTOMER, [*user]);
                out.add(customer, FIRST_ORDER, i64::from(first));
                out.add(customer, LAST_ORDER, i64::from(last));
            }
        });
        sums.concat(dated)
    }

    fn answer(&self, rows: &dyn RowSet, context: &AnswerContext, query: &Query) -> Result<Table, QueryError> {
        answer::answer(rows, context, query)
    }

    fn untrusted(&self, rows: &dyn RowSet) -> BTreeSet<u64> {
        Magnitudes::of(rows, MAGNITUDE_TABLE, MAGNITUDE).into_untrusted()
    }

    fn oracle(&self, context: &ViewContext, observed: &[Observed], query: &Query) -> Result<Table, QueryError> {
        reference::answer(context, observed, query)
    }
}
