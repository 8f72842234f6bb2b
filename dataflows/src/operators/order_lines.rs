//! The lines of all orders, which are kept for ever: some 40 bytes each, packed by column in pieces that do not change.
//!
//! ```text
//! order   ─▶ its last line ─▶ the one before ─▶ …
//! product ─▶ its last line ─▶ the one before ─▶ …
//! ```

use crate::facts::LineKind;
use crate::packed::Packed;
use crate::views::sales::Line;
use millrace_schema::Currency;
use millrace_schema::calendar::MICROS_PER_MINUTE;

/// The last line of a chain; none where it has no lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain(u32);

#[derive(Clone, Copy, Debug)]
struct Stored {
    time: i64,
    quantity: i64,
    amount: i64,
    list_price: i64,
    session: u64,
    user: u64,
    product: u32,
    /// When it was booked, in minutes after its time.
    booked_after: i64,
    order: u32,
    before_of_order: Chain,
    before_of_product: Chain,
    partition: u16,
    kind: LineKind,
    currency: Currency,
}

/// Values of a line.
const VALUES: usize = 14;

impl Stored {
    fn values(&self) -> [i64; VALUES] {
        [
            self.time,
            self.quantity,
            self.amount,
            self.list_price,
            self.session as i64,
            self.user as i64,
            i64::from(self.product),
            self.booked_after,
            i64::from(self.order),
            i64::from(self.before_of_order.0),
            i64::from(self.before_of_product.0),
            i64::from(self.partition),
            self.kind as i64,
            self.currency.code() as i64,
        ]
    }

    fn of(values: [i64; VALUES]) -> Stored {
        let [time, quantity, amount, list_price, session, user, rest @ ..] = values;
        let [product, booked_after, order, before_of_order, before_of_product, partition, kind, currency] = rest;
        Stored {
            time,
            quantity,
            amount,
            list_price,
            session: session as u64,
            user: user as u64,
            product: product as u32,
            booked_after,
            order: order as u32,
            before_of_order: Chain(before_of_order as u32),
            before_of_product: Chain(before_of_product as u32),
            partition: partition as u16,
            kind: [LineKind::Sold, LineKind::Returned, LineKind::Refunded][kind as usize],
            currency: Currency::from_code(currency as u64).expect("it is that of a line"),
        }
    }

    fn line(&self) -> Line {
        Line {
            kind: self.kind,
            product: self.product,
            time: self.time,
            quantity: self.quantity,
            amount: self.amount,
            list_price: self.list_price,
            currency: self.currency,
            booked_at: (minute(self.time) + self.booked_after) * MICROS_PER_MINUTE,
            partition: self.partition,
            session: self.session,
            user: self.user,
        }
    }
}

/// Lines in a piece. Where assertions are on, few, so that most lines of every test are packed.
const PIECE: usize = if cfg!(debug_assertions) { 4 } else { 1024 };

/// The lines.
#[derive(Debug, Default)]
pub struct OrderLines {
    packed: Vec<Packed>,
    /// Those after them, fewer than a piece.
    loose: Vec<Stored>,
}

impl OrderLines {
    /// Adds a line to its order's chain and to its product's.
    pub fn push(&mut self, line: &Line, order: u32, of_order: &mut Chain, of_product: &mut Chain) {
        self.loose.push(Stored {
            time: line.time,
            quantity: line.quantity,
            amount: line.amount,
            list_price: line.list_price,
            session: line.session,
            user: line.user,
            product: line.product,
            booked_after: minute(line.booked_at) - minute(line.time),
            order,
            before_of_order: *of_order,
            before_of_product: *of_product,
            partition: line.partition,
            kind: line.kind,
            currency: line.currency,
        });
        let lines = self.packed.len() * PIECE + self.loose.len();
        let last = Chain(u32::try_from(lines).expect("there are fewer than 2^32 lines"));
        (*of_order, *of_product) = (last, last);
        if self.loose.len() == PIECE {
            let values: Vec<i64> = self.loose.drain(..).flat_map(|line| line.values()).collect();
            self.packed.push(Packed::of(&values, VALUES));
        }
    }

    fn get(&self, chain: Chain) -> Option<Stored> {
        let at = chain.0.checked_sub(1)? as usize;
        let Some(packed) = self.packed.get(at / PIECE) else { return Some(self.loose[at % PIECE]) };
        let columns = packed.columns(VALUES);
        Some(Stored::of(std::array::from_fn(|column| columns.value(column, at % PIECE))))
    }

    /// The lines of an order, as they came.
    pub fn of_order(&self, chain: Chain, lines: &mut Vec<Line>) {
        lines.clear();
        let stored = std::iter::successors(self.get(chain), |stored| self.get(stored.before_of_order));
        lines.extend(stored.map(|stored| stored.line()));
        lines.reverse();
    }

    /// The lines of a product with their orders, the last one first.
    pub fn of_product(&self, chain: Chain) -> impl Iterator<Item = (u32, Line)> {
        let stored = std::iter::successors(self.get(chain), |stored| self.get(stored.before_of_product));
        stored.map(|stored| (stored.order, stored.line()))
    }
}

fn minute(time: i64) -> i64 {
    time.div_euclid(MICROS_PER_MINUTE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(n: i64, product: u32) -> Line {
        Line {
            kind: [LineKind::Sold, LineKind::Returned, LineKind::Refunded][n as usize % 3],
            product,
            time: n * 7,
            quantity: n,
            amount: -n,
            list_price: n * 3,
            currency: Currency::USD,
            booked_at: n * MICROS_PER_MINUTE,
            partition: n as u16,
            session: n as u64,
            user: !(n as u64),
        }
    }

    /// Of lines like a shop's: two lines an order, a thousand products, ten lines a minute.
    #[test]
    fn a_line_is_as_large_as_said() {
        let values = (0..1024_i64).flat_map(|n| {
            let mixed = (n as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let line = Stored {
                time: 1_772_323_200_000_000 + n * 6_000_000,
                quantity: 1 + n % 3,
                amount: 1_990 + n * 7,
                list_price: 1_990 + n * 9,
                session: mixed,
                user: mixed.rotate_left(32),
                product: (mixed >> 54) as u32,
                booked_after: 0,
                order: 7_000_000 + n as u32 / 2,
                before_of_order: Chain(if n % 2 == 0 { 0 } else { 14_000_000 + n as u32 }),
                before_of_product: Chain(14_000_000 - (mixed >> 50) as u32),
                partition: n as u16 % 12,
                kind: LineKind::Sold,
                currency: Currency::USD,
            };
            line.values()
        });
        let bytes = Packed::of(&values.collect::<Vec<_>>(), VALUES).bytes() / 1024;
        assert!((35..=45).contains(&bytes), "{bytes}");
    }

    proptest! {
        #[test]
        fn chains_are_those_of_lists(entered in prop::collection::vec((0_usize..40, 0_usize..9), 0..3000)) {
            let mut lines = OrderLines::default();
            let (mut orders, mut products) = (vec![Chain::default(); 40], vec![Chain::default(); 9]);
            let mut model = vec![Vec::new(); 40];
            for (n, &(order, product)) in (0..).zip(&entered) {
                let line = line(n, product as u32);
                lines.push(&line, order as u32, &mut orders[order], &mut products[product]);
                model[order].push(line);
            }
            let mut found = Vec::new();
            for (chain, expected) in orders.iter().zip(&model) {
                lines.of_order(*chain, &mut found);
                prop_assert_eq!(&found, expected);
            }
            for (product, chain) in products.iter().enumerate() {
                let expected = (0..).zip(&entered).filter(|(_, (_, of))| *of == product);
                let mut expected: Vec<(u32, Line)> =
                    expected.map(|(n, (order, product))| (*order as u32, line(n, *product as u32))).collect();
                expected.reverse();
                prop_assert!(lines.of_product(*chain).eq(expected));
            }
        }
    }
}
