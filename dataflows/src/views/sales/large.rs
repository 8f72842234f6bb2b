//! The sales of one order of many lines, kept so that a line costs as much as it changes, however many there are.
//!
//! ```text
//! line ─▶ its own measures ─▶ its cell
//!      ─▶ is the cell new?    then the order counts there, and overlaps with its neighbours at coarser grains
//!      ─▶ is the sale earlier? then what came back is as sold at another time
//! ```
//! The rows are those of [`Contributor`](super::Contributor), which looks at all lines of a small order each time.
//!
//! Whether a cell shares a group with another at some grain is seen from its neighbours: of each set of dimensions the cells
//! are held in order of (group, day, hour), so that those of one group, at any length of time, lie side by side.

use super::grain::{COARSER, Cell, Grain, Time};
use super::{FACTS, Line, ORDERS, RETURNS_AS_SOLD, measures_of};
use crate::context::Buckets;
use crate::facts::LineKind;
use crate::operators::categories::History;
use crate::operators::local::LocalNames;
use crate::rows::Netting;
use millrace_schema::calendar::Calendar;
use millrace_schema::{Cents, Currency, Name};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use std::collections::BTreeSet;

/// What is around an order: the categories of its products, names, the calendar; and where changes go.
pub struct Around<'a> {
    pub histories: &'a [Option<History>],
    pub none: Name,
    pub unknown: Name,
    pub locals: &'a mut LocalNames,
    pub buckets: &'a mut Buckets,
    pub out: &'a mut Netting,
}

impl Around<'_> {
    fn cell(&mut self, product: u32, currency: Currency, time: i64) -> Cell {
        let (category, as_was) = categories(self.histories, product, time, self.none, self.unknown);
        let product = shown(self.locals.name(product), self.none);
        Cell { bucket: self.buckets.of(time), product, category, as_was, currency }
    }
}

pub(super) fn shown(name: Name, none: Name) -> Name {
    if name.is_none() { none } else { name }
}

/// The categories of a product now and at a time, as they are shown.
pub fn categories(histories: &[Option<History>], product: u32, time: i64, none: Name, unknown: Name) -> (Name, Name) {
    match &histories[product as usize] {
        Some(history) => (shown(history.as_is(), none), shown(history.as_was(time), none)),
        // What names no product has none of its categories.
        None if product == 0 => (none, none),
        None => (unknown, unknown),
    }
}

/// A cell as it is held: in place of names the operator's local numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    hour: i64,
    product: u32,
    category: u32,
    as_was: u32,
    currency: Currency,
}

/// A cell with a sold line.
#[derive(Clone, Copy, Debug)]
struct Held {
    number: u32,
    lines: u32,
}

/// A cell, in the order of one set of dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    dimensions: u8,
    currency: Currency,
    /// Of product, category and category as it was those that the dimensions have, 0 for the others.
    group: [u32; 3],
    day: i32,
    hour: i64,
    cell: u32,
}

const _: () = assert!(size_of::<Entry>() == 32);

impl Entry {
    fn of(dimensions: usize, cell: &Cell, place: &Place, number: u32) -> Entry {
        let grain = COARSER[dimensions][0];
        let part = |present: bool, number: u32| if present { number } else { 0 };
        Entry {
            dimensions: dimensions as u8,
            currency: place.currency,
            group: [
                part(grain.product, place.product),
                part(grain.category, place.category),
                part(grain.as_was, place.as_was),
            ],
            day: cell.bucket.day as i32,
            hour: place.hour,
            cell: number,
        }
    }

    fn shares(&self, other: &Entry, time: Time) -> bool {
        let group = |entry: &Entry| (entry.dimensions, entry.currency, entry.group);
        let month = |entry: &Entry| Calendar::month_of_day(i64::from(entry.day));
        group(self) == group(other)
            && match time {
                Time::All => true,
                Time::Month => month(self) == month(other),
                Time::Day => self.day == other.day,
                Time::Hour => self.day == other.day && self.hour == other.hour,
            }
    }
}

/// What came back of one product.
#[derive(Debug, Default)]
struct Product {
    first_sale: Option<i64>,
    /// By currency: the amount, and of how many lines.
    returned: SmallVec<[(Currency, Cents, i64); 1]>,
}

/// The state of one order.
#[derive(Debug, Default)]
pub struct LargeOrder {
    cells: FxHashMap<Place, Held>,
    /// Numbers of cells that can be used again.
    free: Vec<u32>,
    sorted: BTreeSet<Entry>,
    products: FxHashMap<u32, Product>,
    first_sale: Option<i64>,
    /// What came back while no sale was known.
    early: Vec<Line>,
    /// Products of which something came back and no sale is known, though the order has one.
    unsold: FxHashSet<u32>,
    /// Those of them whose category has changed.
    unsold_changing: FxHashSet<u32>,
}

impl LargeOrder {
    /// Counts one line more.
    pub fn add(&mut self, line: &Line, around: &mut Around) {
        self.book(line, 1, around);
        if line.kind == LineKind::Sold { self.sell(line, around) } else { self.take_return(line, around) }
    }

    /// Counts all lines of a product in the order, and what came back of it, `sign` times: -1 before the product's history changes,
    /// 1 after.
    pub fn restate(&mut self, product: u32, lines: &[Line], sign: i64, around: &mut Around) {
        for line in lines {
            self.book(line, sign, around);
            if self.first_sale.is_none() && line.kind != LineKind::Sold {
                as_sold(line.product, line.time, &[(line.currency, line.amount, 1)], sign, around);
            }
        }
        self.all_as_sold(product, sign, around);
        if self.unsold.contains(&product) {
            self.watch(product, around);
        }
    }

    /// What a line counts by itself.
    fn book(&mut self, line: &Line, sign: i64, around: &mut Around) {
        let cell = around.cell(line.product, line.currency, line.time);
        around.out.add_slice(Grain::CELL.key(&cell), &measures_of(line, sign));
        if line.kind != LineKind::Sold {
            return;
        }
        let place = Place {
            hour: cell.bucket.hour,
            product: line.product,
            category: around.locals.number(cell.category),
            as_was: around.locals.number(cell.as_was),
            currency: line.currency,
        };
        let next = self.free.last().copied().unwrap_or(self.cells.len() as u32);
        let held = self.cells.entry(place).or_insert(Held { number: next, lines: 0 });
        if sign > 0 {
            held.lines += 1;
            if held.lines == 1 {
                self.free.pop();
                let number = held.number;
                self.enter(&cell, &place, number, around.out);
            }
        } else {
            held.lines -= 1;
            if held.lines == 0 {
                let number = held.number;
                self.cells.remove(&place);
                self.free.push(number);
                self.leave(&cell, &place, number, around.out);
            }
        }
    }

    /// Counts the order in a cell that is new to it.
    fn enter(&mut self, cell: &Cell, place: &Place, number: u32, out: &mut Netting) {
        out.add(Grain::CELL.key(cell), ORDERS, 1);
        for dimensions in 0..COARSER.len() {
            let entry = Entry::of(dimensions, cell, place, number);
            self.overlaps(&entry, cell, -1, out);
            self.sorted.insert(entry);
        }
    }

    fn leave(&mut self, cell: &Cell, place: &Place, number: u32, out: &mut Netting) {
        out.add(Grain::CELL.key(cell), ORDERS, -1);
        for dimensions in 0..COARSER.len() {
            let entry = Entry::of(dimensions, cell, place, number);
            self.sorted.remove(&entry);
            self.overlaps(&entry, cell, 1, out);
        }
    }

    /// Counts the order `count` times in each group that a cell shares with another one.
    fn overlaps(&self, entry: &Entry, cell: &Cell, count: i64, out: &mut Netting) {
        let neighbours = [self.sorted.range(..entry).next_back(), self.sorted.range(entry..).next()];
        for grain in COARSER[usize::from(entry.dimensions)] {
            if !neighbours.into_iter().flatten().any(|other| entry.shares(other, grain.time)) {
                // Cells apart over all time are apart in any part of it.
                break;
            }
            out.add(grain.key(cell), ORDERS, count);
        }
    }

    fn take_return(&mut self, line: &Line, around: &mut Around) {
        let product = self.products.entry(line.product).or_default();
        match product.returned.iter_mut().find(|(currency, ..)| *currency == line.currency) {
            Some((_, amount, lines)) => {
                *amount += line.amount;
                *lines += 1;
            }
            None => product.returned.push((line.currency, line.amount, 1)),
        }
        let is_unsold = product.first_sale.is_none();
        let sale = product.first_sale.or(self.first_sale);
        if sale.is_none() {
            self.early.push(*line);
        } else if is_unsold {
            self.unsold.insert(line.product);
            self.watch(line.product, around);
        }
        as_sold(line.product, sale.unwrap_or(line.time), &[(line.currency, line.amount, 1)], 1, around);
    }

    fn sell(&mut self, line: &Line, around: &mut Around) {
        let Some(first) = self.first_sale else {
            for early in std::mem::take(&mut self.early) {
                as_sold(early.product, early.time, &[(early.currency, early.amount, 1)], -1, around);
                self.unsold.insert(early.product);
            }
            self.unsold.remove(&line.product);
            self.first_sale = Some(line.time);
            self.products.entry(line.product).or_default().first_sale = Some(line.time);
            let returned: Vec<u32> = self.unsold.iter().copied().collect();
            returned.iter().for_each(|&product| self.watch(product, around));
            returned.into_iter().chain([line.product]).for_each(|product| self.all_as_sold(product, 1, around));
            return;
        };
        let of_product = self.products.entry(line.product).or_default();
        if of_product.first_sale.is_none_or(|first| line.time < first) {
            self.all_as_sold(line.product, -1, around);
            self.products.entry(line.product).or_default().first_sale = Some(line.time);
            self.unsold.remove(&line.product);
            self.unsold_changing.remove(&line.product);
            self.all_as_sold(line.product, 1, around);
        }
        if line.time < first {
            // Within an hour nothing moves but what had another category then.
            let is_same_hour = around.buckets.of(first).hour == around.buckets.of(line.time).hour;
            let moved = if is_same_hour { &self.unsold_changing } else { &self.unsold };
            let moved: Vec<u32> = moved.iter().copied().collect();
            moved.iter().for_each(|&product| self.all_as_sold(product, -1, around));
            self.first_sale = Some(line.time);
            moved.iter().for_each(|&product| self.all_as_sold(product, 1, around));
        }
    }

    /// Counts all that came back of a product as sold, where a sale is known.
    fn all_as_sold(&self, product: u32, sign: i64, around: &mut Around) {
        let Some(of_product) = self.products.get(&product) else { return };
        if let Some(sale) = of_product.first_sale.or(self.first_sale) {
            as_sold(product, sale, &of_product.returned, sign, around);
        }
    }

    fn watch(&mut self, product: u32, around: &Around) {
        match &around.histories[product as usize] {
            Some(history) if history.has_changed() => self.unsold_changing.insert(product),
            _ => self.unsold_changing.remove(&product),
        };
    }
}

/// Counts what came back, by currency an amount and a number of lines, at the time of a sale.
fn as_sold(product: u32, sale: i64, returned: &[(Currency, Cents, i64)], sign: i64, around: &mut Around) {
    for &(currency, amount, lines) in returned {
        let key = Grain::CELL.key(&around.cell(product, currency, sale));
        around.out.add(key, RETURNS_AS_SOLD, sign * amount);
        around.out.add(key, FACTS, sign * lines);
    }
}
