//! What is on the shelves: stock falls with every sold line, and is ordered anew when it runs low.

use super::catalogue::Catalogue;
use super::options::MICROS_PER_DAY;
use super::random::mix;

const DAYS_OF_COVER: f64 = 14.0;
const UNITS_MIN: i32 = 12;
const LEAD_TIME_DAYS_MAX: u64 = 9;

#[derive(Clone, Copy, Debug)]
struct Shelf {
    on_hand: i32,
    /// What a delivery brings.
    lot: i32,
    ordered: bool,
}

#[derive(Clone, Debug)]
pub struct Stock {
    shelves: Vec<Shelf>,
}

impl Stock {
    /// Two weeks' sales of each product, at `units_per_day` of all.
    pub fn new(catalogue: &Catalogue, units_per_day: f64) -> Stock {
        let lot = |share: f64| ((share * units_per_day * DAYS_OF_COVER) as i32).max(UNITS_MIN);
        let shelf = |lot| Shelf { on_hand: lot, lot, ordered: false };
        Stock { shelves: catalogue.products.iter().map(|product| shelf(lot(product.share))).collect() }
    }

    /// Takes sold units away; says when the next delivery comes if that made the stock low.
    pub fn sell(&mut self, product: u32, quantity: i32, now: i64) -> Option<i64> {
        let shelf = &mut self.shelves[product as usize];
        shelf.on_hand = (shelf.on_hand - quantity).max(0);
        if shelf.ordered || shelf.on_hand > shelf.lot / 4 {
            return None;
        }
        shelf.ordered = true;
        Some(now + lead_time_days(product) * MICROS_PER_DAY)
    }

    pub fn deliver(&mut self, product: u32) {
        let shelf = &mut self.shelves[product as usize];
        shelf.on_hand += shelf.lot;
        shelf.ordered = false;
    }

    pub fn on_hand(&self, product: u32) -> i64 {
        i64::from(self.shelves[product as usize].on_hand)
    }
}

pub fn lead_time_days(product: u32) -> i64 {
    1 + (mix(u64::from(product)) % LEAD_TIME_DAYS_MAX) as i64
}
