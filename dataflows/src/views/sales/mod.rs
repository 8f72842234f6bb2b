//! `sales`: what is sold and returned, by time, product, category and currency.
//!
//! ```sql
//! SELECT day, category, count(*) AS lines, count(DISTINCT order_id) AS orders, sum(quantity) AS units, …
//! FROM lines JOIN products USING (product_id) GROUP BY ALL
//! ```
//!
//! Rows are *cells*: hour × product × category × category as it was × currency. Every measure but `orders` adds up
//! from cells to any coarser grain. `orders` adds up too once the *overlap* rows of that grain are added: an order that
//! has k > 1 cells in one group of the grain has a row of −(k−1) there. An order of one cell, which most are, has none.
//! Hence at every grain `sum(orders)` over the cells and the overlap rows of that grain is the exact distinct count.
//!
//! What an analyst would expect where docs/metrics.md is silent: a return is *as sold* at the earliest sold line of its order
//! and product, or of its order, and in the category that the product had then.

mod answer;
mod grain;
pub mod large;
mod rollup;

use crate::context::{Buckets, Shared};
use crate::facts::{Facts, LineKind, Uses};
use crate::operators::local::LocalNames;
use crate::oracle::{self, Observed};
use crate::query::{Query, QueryError};
use crate::row_set::RowSet;
use crate::rows::{Key, Netting, Rows};
use crate::settings::ViewContext;
use crate::table::Table;
use crate::views::magnitude::{self, Magnitudes};
use crate::views::{AnswerContext, Definition, Measure, Part, Roller, TableSchema, View, ViewSchema};
use grain::{COARSER, Cell, Grain};
use millrace_schema::{Cents, Currency, Name};
use std::collections::BTreeSet;

const LINES: usize = 0;
const ORDERS: usize = 1;
const UNITS: usize = 2;
const UNITS_RETURNED: usize = 3;
const GROSS_SALES: usize = 4;
const ORDER_REVENUE: usize = 5;
const RETURNS: usize = 6;
const RETURNS_AS_SOLD: usize = 7;
/// How many facts a row stands for, so that one whose measures happen to be 0 is still there.
const FACTS: usize = 8;
/// See [`magnitude`]: in a table of its own, after those of the grains.
const MAGNITUDE: usize = 9;
const MAGNITUDE_TABLE: u8 = Grain::COUNT as u8;

/// One line of an order. Returns carry what came back: units ≥ 0 and the amount paid back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    pub kind: LineKind,
    /// A local number.
    pub product: u32,
    pub time: i64,
    pub quantity: i64,
    pub amount: Cents,
    pub list_price: Cents,
    pub currency: Currency,
    pub booked_at: i64,
    pub partition: u16,
    /// Half of the hash, 0 for none: as much as tells the sessions of one order apart.
    pub session: u64,
    /// Likewise.
    pub user: u64,
}

/// What a line counts `sign` times by itself: all but what depends on the order's other lines.
fn measures_of(line: &Line, sign: i64) -> [i64; FACTS + 1] {
    let mut measures = [0; FACTS + 1];
    measures[FACTS] = sign;
    if line.kind == LineKind::Sold {
        measures[LINES] = sign;
        measures[UNITS] = sign * line.quantity;
        measures[GROSS_SALES] = sign * line.list_price;
        measures[ORDER_REVENUE] = sign * line.amount;
    } else {
        measures[UNITS_RETURNED] = sign * line.quantity;
        measures[RETURNS] = sign * line.amount;
    }
    measures
}

/// From an order's lines to rows.
pub struct Contributor {
    enabled: bool,
    none: Name,
    /// Reused: the cells of the order at hand, and their groups at one grain.
    cells: Vec<Cell>,
    groups: Vec<Key>,
    sales: SaleTimes,
}

impl Contributor {
    pub fn new(shared: &Shared, enabled: bool) -> Contributor {
        Contributor { enabled, none: shared.none, cells: Vec::new(), groups: Vec::new(), sales: SaleTimes::default() }
    }

    /// Adds to the magnitude of a line's currency, once for each line.
    pub fn weigh(&self, line: &Line, out: &mut Netting) {
        if self.enabled {
            let magnitude = magnitude::of_line(line.amount, line.list_price);
            out.add(magnitude::key(MAGNITUDE_TABLE, line.currency), MAGNITUDE, magnitude);
        }
    }

    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Adds an order's contribution `sign` times. `categories` gives a line's product's category now and at a time, as they are shown.
    pub fn contribute(
        &mut self,
        lines: &[Line],
        categories: impl Fn(&Line, i64) -> (Name, Name),
        locals: &LocalNames,
        buckets: &mut Buckets,
        sign: i64,
        out: &mut Netting,
    ) {
        if !self.enabled {
            return;
        }
        let none = self.none;
        let mut cell = |line: &Line, time: i64| {
            let (category, as_was) = categories(line, time);
            let product = large::shown(locals.name(line.product), none);
            Cell { bucket: buckets.of(time), product, category, as_was, currency: line.currency }
        };
        self.cells.clear();
        self.sales.of(lines);
        let sales = &self.sales;
        for line in lines {
            let here = cell(line, line.time);
            let mut measures = measures_of(line, sign);
            if line.kind == LineKind::Sold {
                if lines.len() == 1 {
                    measures[ORDERS] = sign;
                } else {
                    self.cells.push(here);
                }
            } else {
                let sold = cell(line, sales.time(line, lines));
                out.add(Grain::CELL.key(&sold), RETURNS_AS_SOLD, sign * line.amount);
                out.add(Grain::CELL.key(&sold), FACTS, sign);
            }
            out.add_slice(Grain::CELL.key(&here), &measures);
        }
        self.distinct(sign, out);
    }

    /// Counts the order in each of its cells, and takes back what is counted twice at coarser grains.
    fn distinct(&mut self, sign: i64, out: &mut Netting) {
        let Contributor { cells, groups, .. } = self;
        if cells.len() > 1 {
            cells.sort_unstable_by_key(|cell| Grain::CELL.key(cell));
            cells.dedup_by_key(|cell| Grain::CELL.key(cell));
        }
        cells.iter().for_each(|cell| out.add(Grain::CELL.key(cell), ORDERS, sign));
        if cells.len() < 2 {
            return;
        }
        for grains in COARSER {
            for grain in grains {
                groups.clear();
                groups.extend(cells.iter().map(|cell| grain.key(cell)));
                groups.sort_unstable();
                let mut overlap = false;
                for same in groups.chunk_by(|a, b| a == b).filter(|same| same.len() > 1) {
                    out.add(same[0], ORDERS, -sign * (same.len() as i64 - 1));
                    overlap = true;
                }
                if !overlap {
                    // Cells apart over all time are apart in any part of it.
                    break;
                }
            }
        }
    }
}

/// So many lines are looked through for each return.
const FEW_LINES: usize = 16;

/// When an order's products were sold first.
#[derive(Default)]
struct SaleTimes {
    /// Of an order of many lines: products and times, in that order.
    sold: Vec<(u32, i64)>,
    first: Option<i64>,
}

impl SaleTimes {
    fn of(&mut self, lines: &[Line]) {
        self.sold.clear();
        if lines.len() > FEW_LINES && lines.iter().any(|line| line.kind != LineKind::Sold) {
            let sold = lines.iter().filter(|line| line.kind == LineKind::Sold);
            self.sold.extend(sold.map(|line| (line.product, line.time)));
            self.sold.sort_unstable();
            self.first = self.sold.iter().map(|(_, time)| *time).min();
        }
    }

    /// When what a return takes back was sold; the return's own time where that is not known.
    fn time(&self, line: &Line, lines: &[Line]) -> i64 {
        if lines.len() > FEW_LINES {
            let at = self.sold.partition_point(|(product, _)| *product < line.product);
            let of_product = self.sold.get(at).filter(|(product, _)| *product == line.product).map(|(_, time)| *time);
            return of_product.or(self.first).unwrap_or(line.time);
        }
        let sold = || lines.iter().filter(|other| other.kind == LineKind::Sold);
        let of_product = sold().filter(|other| other.product == line.product).map(|other| other.time).min();
        of_product.or_else(|| sold().map(|other| other.time).min()).unwrap_or(line.time)
    }
}

/// The view.
pub struct Sales {
    definition: Definition,
}

impl Sales {
    pub fn new() -> Sales {
        let table = |grain: &Grain| {
            let unless = |absent: bool, part: Part| if absent { Part::Unused } else { part };
            let parts = vec![
                grain.time_part(),
                unless(!grain.product, Part::Name("product_id")),
                unless(!grain.category, Part::Name("category")),
                unless(!grain.as_was, Part::Name("category_as_was")),
                Part::Currency,
            ];
            TableSchema::new(&grain.name(), parts)
        };
        let counts = ["lines", "orders", "units", "units_returned"].map(Measure::count);
        let money = ["gross_sales", "order_revenue", "returns", "returns_as_sold"].map(Measure::money);
        let schema = ViewSchema {
            tables: grain::all().iter().map(table).chain([magnitude::table()]).collect(),
            measures: counts.into_iter().chain(money).chain(["facts", magnitude::NAME].map(Measure::count)).collect(),
        };
        Sales {
            definition: Definition {
                name: "sales",
                version: 2,
                question: "How much was sold and returned, of what, when?",
                by_default: true,
                always: false,
                uses: Uses { cells: true, ..Uses::NOTHING },
                groups: ["hour", "day", "month", "product_id", "category", "category_as_was", "currency"]
                    .map(String::from)
                    .to_vec(),
                values: answer::VALUES.map(String::from).to_vec(),
                schema,
            },
        }
    }
}

impl Default for Sales {
    fn default() -> Sales {
        Sales::new()
    }
}

impl View for Sales {
    fn definition(&self) -> &Definition {
        &self.definition
    }

    fn depends_on(&self, context: &ViewContext) -> Vec<(&'static str, String)> {
        vec![context.time_zone()]
    }

    fn render<'s>(&self, facts: &Facts<'s>, _shared: &Shared) -> Rows<'s> {
        facts.cells.clone()
    }

    fn roller(&self, context: &ViewContext) -> Roller {
        rollup::roller(context)
    }

    fn answer(&self, rows: &dyn RowSet, context: &AnswerContext, query: &Query) -> Result<Table, QueryError> {
        answer::answer(rows, context, query)
    }

    fn verified_by(&self) -> Vec<Vec<&str>> {
        const OF: [&[&str]; 3] = [&["product_id", "category"], &["category", "category_as_was"], &[]];
        let of_time = |time: &[&'static str]| OF.map(|of| [time, of].concat());
        let mut asked = vec![vec!["hour", "product_id", "category", "category_as_was"]];
        [&["hour"][..], &["day"], &["month"], &[]].iter().for_each(|time| asked.extend(of_time(time)));
        asked
    }

    fn untrusted(&self, rows: &dyn RowSet) -> BTreeSet<u64> {
        Magnitudes::of(rows, MAGNITUDE_TABLE, MAGNITUDE).into_untrusted()
    }

    fn oracle(&self, context: &ViewContext, observed: &[Observed], query: &Query) -> Result<Table, QueryError> {
        oracle::sales::answer(context, observed, query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line() -> impl Strategy<Value = Line> {
        let kind = prop::sample::select(vec![LineKind::Sold, LineKind::Returned, LineKind::Refunded]);
        (kind, 0..6_u32, 0..50_i64).prop_map(|(kind, product, time)| Line {
            kind,
            product,
            time,
            quantity: 1,
            amount: 1,
            list_price: 1,
            currency: Currency::parse("USD").expect("a code"),
            booked_at: time,
            partition: 0,
            session: 0,
            user: 0,
        })
    }

    proptest! {
        #[test]
        fn a_return_is_of_the_first_sale_of_its_product(lines in prop::collection::vec(line(), 1..60)) {
            let mut sales = SaleTimes::default();
            // What is left of the order before counts for nothing.
            sales.of(&[lines[0]; 40]);
            sales.of(&lines);
            for line in lines.iter().filter(|line| line.kind != LineKind::Sold) {
                let sold = || lines.iter().filter(|other| other.kind == LineKind::Sold);
                let of_product = sold().filter(|other| other.product == line.product).map(|other| other.time).min();
                let expected = of_product.or(sold().map(|other| other.time).min()).unwrap_or(line.time);
                prop_assert_eq!(sales.time(line, &lines), expected);
            }
        }
    }
}
