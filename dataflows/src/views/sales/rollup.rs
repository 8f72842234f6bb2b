//! The grains of sales that an index keeps whole, so that common questions need not add up cells.

use super::MAGNITUDE_TABLE;
use super::grain::{Cell, Grain, Time};
use crate::context::Buckets;
use crate::rows::Key;
use crate::settings::ViewContext;
use crate::views::{Part, Roller, TableSchema};
use millrace_schema::{Currency, Name};

const fn grain(time: Time, product: bool, category: bool) -> Grain {
    Grain { time, product, category, as_was: false }
}

/// The grains that are kept. Products by the hour are cells, but for a category as it was, and most have one.
const KEPT: [Grain; 11] = [
    grain(Time::Hour, false, false),
    grain(Time::Hour, false, true),
    grain(Time::Day, false, false),
    grain(Time::Day, false, true),
    grain(Time::Day, true, true),
    grain(Time::Month, false, false),
    grain(Time::Month, false, true),
    grain(Time::Month, true, true),
    grain(Time::All, false, false),
    grain(Time::All, false, true),
    grain(Time::All, true, true),
];

/// Those that are kept a second time in order of the product, for questions about one.
const PRODUCT_FIRST: [Grain; 2] = [grain(Time::Day, true, true), grain(Time::Month, true, true)];

/// The table of a grain in order of the product.
pub fn product_first(grain: &Grain) -> Option<u8> {
    let position = PRODUCT_FIRST.iter().position(|other| other == grain)?;
    Some(MAGNITUDE_TABLE + 1 + position as u8)
}

/// The key of a table in order of the product, as in the table in order of time.
pub fn time_first(key: &Key) -> Key {
    let [product, time, rest @ ..] = key.parts;
    let [a, b, c] = rest;
    Key { table: key.table, parts: [time, product, a, b, c] }
}

pub fn roller(context: &ViewContext) -> Roller {
    let mut buckets = Buckets::new(context.calendar.clone());
    let extra = |grain: &Grain| TableSchema::new(&format!("product_id,{}", grain.name()), vec![Part::Unused; 5]);
    Roller {
        tables: KEPT.iter().map(Grain::table).collect(),
        extra_tables: PRODUCT_FIRST.iter().map(extra).collect(),
        roll_up: Box::new(move |key, out| {
            let mirror = |grain: &Grain, key: &Key, out: &mut dyn FnMut(Key)| {
                if let Some(table) = product_first(grain) {
                    // The exchange of the first two parts is its own inverse.
                    out(Key { table, ..time_first(key) });
                }
            };
            if key.table != Grain::CELL.table() {
                PRODUCT_FIRST
                    .iter()
                    .filter(|grain| grain.table() == key.table)
                    .for_each(|grain| mirror(grain, key, out));
                return;
            }
            let [hour, product, category, as_was, currency] = key.parts;
            let cell = Cell {
                bucket: buckets.of(hour as i64),
                product: Name(product),
                category: Name(category),
                as_was: Name(as_was),
                currency: Currency::from_code(currency).expect("a currency's part is its code"),
            };
            for grain in &KEPT {
                let coarser = grain.key(&cell);
                mirror(grain, &coarser, out);
                out(coarser);
            }
        }),
    }
}
