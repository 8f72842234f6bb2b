//! The grains of sales: a length of time, and which of product and the two categories.

use crate::context::Bucket;
use crate::rows::Key;
use crate::views::Part;
use millrace_schema::{Currency, Name};

/// The finest group that one line falls into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub bucket: Bucket,
    pub product: Name,
    pub category: Name,
    pub as_was: Name,
    pub currency: Currency,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    Hour,
    Day,
    Month,
    All,
}

/// One grain. A product has one category, so a grain with the product has the category too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grain {
    pub time: Time,
    pub product: bool,
    pub category: bool,
    pub as_was: bool,
}

const TIMES: [Time; 4] = [Time::Hour, Time::Day, Time::Month, Time::All];

/// (product, category, as was), the finest first.
const DIMENSIONS: [(bool, bool, bool); 6] = [
    (true, true, true),
    (true, true, false),
    (false, true, true),
    (false, true, false),
    (false, false, true),
    (false, false, false),
];

const fn grain(table: usize) -> Grain {
    let (product, category, as_was) = DIMENSIONS[table % DIMENSIONS.len()];
    Grain { time: TIMES[table / DIMENSIONS.len()], product, category, as_was }
}

/// Every grain but the cells, by their dimensions: of each, the grain of all time first.
pub const COARSER: [&[Grain]; DIMENSIONS.len()] = {
    const BY_DIMENSION: [[Grain; TIMES.len()]; DIMENSIONS.len()] = {
        let mut grains = [[Grain::CELL; TIMES.len()]; DIMENSIONS.len()];
        let mut table = 0;
        while table < Grain::COUNT {
            grains[table % DIMENSIONS.len()][TIMES.len() - 1 - table / DIMENSIONS.len()] = grain(table);
            table += 1;
        }
        grains
    };
    let [[coarser @ .., _cell], ..] = &BY_DIMENSION;
    [coarser, &BY_DIMENSION[1], &BY_DIMENSION[2], &BY_DIMENSION[3], &BY_DIMENSION[4], &BY_DIMENSION[5]]
};

/// Every grain, by its table.
pub fn all() -> [Grain; Grain::COUNT] {
    std::array::from_fn(grain)
}

impl Grain {
    /// How many there are.
    pub const COUNT: usize = TIMES.len() * DIMENSIONS.len();
    pub const CELL: Grain = grain(0);

    /// The coarsest grain that tells these apart.
    pub fn of(time: Time, product: bool, category: bool, as_was: bool) -> Grain {
        Grain { time, product, category: category || product, as_was }
    }

    pub fn table(&self) -> u8 {
        let dimension = match (self.product, self.category, self.as_was) {
            (true, _, true) => 0,
            (true, _, false) => 1,
            (false, true, true) => 2,
            (false, true, false) => 3,
            (false, false, true) => 4,
            (false, false, false) => 5,
        };
        (self.time as usize * DIMENSIONS.len() + dimension) as u8
    }

    /// The group of a cell.
    #[inline]
    pub fn key(&self, cell: &Cell) -> Key {
        let time = match self.time {
            Time::Hour => cell.bucket.hour,
            Time::Day => cell.bucket.day,
            Time::Month => cell.bucket.month,
            Time::All => 0,
        };
        let part = |present: bool, name: Name| if present { name.0 } else { 0 };
        let parts = [
            time as u64,
            part(self.product, cell.product),
            part(self.category, cell.category),
            part(self.as_was, cell.as_was),
            cell.currency.code(),
        ];
        Key::new(self.table(), parts)
    }

    pub fn time_part(&self) -> Part {
        match self.time {
            Time::Hour => Part::Hour,
            Time::Day => Part::Day,
            Time::Month => Part::Month,
            Time::All => Part::Unused,
        }
    }

    /// `cell`, or the group columns by which the overlaps are: `day,category`.
    pub fn name(&self) -> String {
        if *self == Grain::CELL {
            return "cell".to_owned();
        }
        let time = match self.time {
            Time::Hour => Some("hour"),
            Time::Day => Some("day"),
            Time::Month => Some("month"),
            Time::All => None,
        };
        let product = self.product.then_some("product_id");
        let category = (self.category && !self.product).then_some("category");
        let as_was = self.as_was.then_some("category_as_was");
        let columns: Vec<&str> = [time, product, category, as_was].into_iter().flatten().collect();
        if columns.is_empty() { "total".to_owned() } else { columns.join(",") }
    }
}
