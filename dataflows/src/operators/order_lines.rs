//! The lines of all orders, which are kept for ever: 76 bytes each, in pieces that stay where they are.
//!
//! ```text
//! order   ─▶ its last line ─▶ the one before ─▶ …
//! product ─▶ its last line ─▶ the one before ─▶ …
//! ```

use crate::views::sales::{Line, LineKind};
use millrace_schema::Currency;
use millrace_schema::calendar::MICROS_PER_MINUTE;

/// The last line of a chain; none where it has no lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain(u32);

#[derive(Clone, Copy, Debug)]
#[repr(C, packed(4))]
struct Stored {
    time: i64,
    quantity: i64,
    amount: i64,
    list_price: i64,
    session: u64,
    user: u64,
    product: u32,
    /// Since 1970.
    booked_minute: u32,
    order: u32,
    before_of_order: Chain,
    before_of_product: Chain,
    partition: u16,
    kind: LineKind,
    currency: Currency,
}

/// Lines in a piece of memory.
const PIECE: usize = 1024;

/// The lines.
#[derive(Debug, Default)]
pub struct OrderLines {
    pieces: Vec<Vec<Stored>>,
}

impl OrderLines {
    /// Adds a line to its order's chain and to its product's.
    pub fn push(&mut self, line: &Line, order: u32, of_order: &mut Chain, of_product: &mut Chain) {
        if self.pieces.last().is_none_or(|piece| piece.len() == PIECE) {
            self.pieces.push(Vec::with_capacity(PIECE));
        }
        let minute = line.booked_at.div_euclid(MICROS_PER_MINUTE);
        let stored = Stored {
            time: line.time,
            quantity: line.quantity,
            amount: line.amount,
            list_price: line.list_price,
            session: line.session,
            user: line.user,
            product: line.product,
            booked_minute: u32::try_from(minute).expect("times lie between 1970 and 2199"),
            order,
            before_of_order: *of_order,
            before_of_product: *of_product,
            partition: line.partition,
            kind: line.kind,
            currency: line.currency,
        };
        let piece = self.pieces.last_mut().expect("there is one");
        piece.push(stored);
        let lines = (self.pieces.len() - 1) * PIECE + self.pieces.last().map_or(0, Vec::len);
        let last = Chain(u32::try_from(lines).expect("there are fewer than 2^32 lines"));
        (*of_order, *of_product) = (last, last);
    }

    fn get(&self, chain: Chain) -> Option<&Stored> {
        let at = chain.0.checked_sub(1)? as usize;
        Some(&self.pieces[at / PIECE][at % PIECE])
    }

    /// The lines of an order, as they came.
    pub fn of_order(&self, chain: Chain, lines: &mut Vec<Line>) {
        lines.clear();
        let stored = std::iter::successors(self.get(chain), |stored| self.get(stored.before_of_order));
        lines.extend(stored.map(|stored| Line {
            kind: stored.kind,
            product: stored.product,
            time: stored.time,
            quantity: stored.quantity,
            amount: stored.amount,
            list_price: stored.list_price,
            currency: stored.currency,
            booked_at: i64::from(stored.booked_minute) * MICROS_PER_MINUTE,
            partition: stored.partition,
            session: stored.session,
            user: stored.user,
        }));
        lines.reverse();
    }

    /// The orders that have lines of a product, once for each line.
    pub fn orders_of_product(&self, chain: Chain) -> impl Iterator<Item = u32> {
        let stored = std::iter::successors(self.get(chain), |stored| self.get(stored.before_of_product));
        stored.map(|stored| stored.order)
    }
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

    #[test]
    fn a_line_is_as_large_as_said() {
        assert_eq!(size_of::<Stored>(), 76);
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
                let expected = entered.iter().rev().filter(|(_, of)| *of == product).map(|(order, _)| *order as u32);
                prop_assert!(lines.orders_of_product(*chain).eq(expected));
            }
        }
    }
}
