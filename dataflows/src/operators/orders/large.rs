//! Orders of many lines, whose parts in the views are kept so that a line costs as much as it changes.
//!
//! An order that has become large stays so. What it contributed as a small one was taken back in that epoch; all of its lines are counted
//! anew, one by one, and later lines each when they come.

use super::customers::Customers;
use super::warnings::Oddities;
use super::{Orders, touches};
use crate::operators::pairs::RelatedKind;
use crate::views::sales::Line;
use crate::views::sales::large::{Around, LargeOrder};

/// An order of so many lines is large. Where assertions are on, few, so that there are some in every test.
pub(super) const LARGE: usize = if cfg!(debug_assertions) { 4 } else { 128 };

#[derive(Debug, Default)]
pub(super) struct Large {
    sales: LargeOrder,
    oddities: Oddities,
    customers: Customers,
}

/// Lines of large orders whose product's category changes.
#[derive(Debug, Default)]
pub(super) struct Restated(Vec<(u32, Line)>);

impl Restated {
    pub(super) fn push(&mut self, order: u32, line: Line) {
        self.0.push((order, line));
    }
}

impl Orders {
    /// Makes an order large whose lines are at hand.
    pub(super) fn enlarge(&mut self, order: u32) {
        self.orders[order as usize].large = true;
        self.large.insert(order, Large::default());
        for line in std::mem::take(&mut self.at_hand) {
            self.count_in_large(order, &line);
        }
        self.settle_large(order);
    }

    /// Counts a line that has joined a large order.
    pub(super) fn add_to_large(&mut self, order: u32, line: &Line) {
        if self.uses.together {
            let cap = self.shared.context.related.max_products_per_session;
            if let Some(set) = self.touched.get_mut(&order) {
                touches(std::slice::from_ref(line))
                    .for_each(|(product, time)| set.touch(product, time, cap, &self.locals));
            }
        }
        self.count_in_large(order, line);
    }

    /// Counts the products of a large order that have been touched since the last time, and whose customers are.
    pub(super) fn settle_large(&mut self, order: u32) {
        if let Some(set) = self.touched.get_mut(&order) {
            set.settle(RelatedKind::BoughtTogether, &self.locals, &mut self.out.pairs);
        }
        if let Some(large) = self.large.get_mut(&order) {
            large.customers.count(1, &mut self.buckets, &mut self.out.orders);
        }
    }

    fn count_in_large(&mut self, order: u32, line: &Line) {
        let Some(large) = self.large.get_mut(&order) else { return };
        if self.contributor.is_enabled() {
            let mut around = Around {
                histories: &self.histories,
                none: self.shared.none,
                unknown: self.shared.unknown,
                locals: &mut self.locals,
                buckets: &mut self.buckets,
                out: &mut self.out.cells,
            };
            large.sales.add(line, &mut around);
        }
        if self.uses.accounts {
            large.oddities.add(line, &self.shared, &mut self.buckets, &mut self.out.accounts);
        }
        if self.uses.orders {
            large.customers.add(line);
        }
    }

    /// Counts `sign` times what depends on the history of products that change: -1 before, 1 after.
    pub(super) fn restate(&mut self, restated: &mut Restated, sign: i64) {
        if !self.contributor.is_enabled() {
            return;
        }
        let of_one = |(order, line): &(u32, Line)| (*order, line.product);
        restated.0.sort_by_key(of_one);
        let mut lines = Vec::new();
        for group in restated.0.chunk_by(|a, b| of_one(a) == of_one(b)) {
            let (order, product) = of_one(&group[0]);
            lines.clear();
            lines.extend(group.iter().map(|(_, line)| *line));
            let mut around = Around {
                histories: &self.histories,
                none: self.shared.none,
                unknown: self.shared.unknown,
                locals: &mut self.locals,
                buckets: &mut self.buckets,
                out: &mut self.out.cells,
            };
            if let Some(large) = self.large.get_mut(&order) {
                large.sales.restate(product, &lines, sign, &mut around);
            }
        }
    }
}
