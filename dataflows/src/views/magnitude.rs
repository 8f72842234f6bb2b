//! Whether sums of money can be trusted.
//!
//! Sums are 64 bits wide and additions wrap. So that no sum is ever shown wrong, a view with money keeps one row a currency: its
//! *magnitude*, which bounds what all its amounts come to together, whatever their signs. Each line adds to it
//!
//! ```text
//! ⌊(|amount| + |list price|) / 2^20⌋ + 1
//! ```
//!
//! which is more than the line's amounts in units of 2^20 minor units. While a magnitude is 2^43 or less, all its amounts together
//! are below 2^63, and so is any sum or difference of some of them, at any grain. Beyond that the money of the currency is not
//! shown: an answer with it is an error, and in files it is null. With lines of at most 10^13 minor units (see decoding)
//! that takes 460,000 lines at the limit, or some 10^12 ordinary ones; the magnitude itself would overflow after 4 × 10^11 at it.
//!
//! What is counted needs no such bound: units are 32 bits a line, so that their sum fits for 4 × 10^9 lines of the most units.

use crate::query::QueryError;
use crate::row_set::{RowSet, Span};
use crate::rows::Key;
use crate::views::{Part, TableSchema};
use millrace_schema::{Cents, Currency};
use std::collections::{BTreeMap, BTreeSet};

/// The unit is 2^20 minor units.
const UNIT_BITS: u32 = 20;
/// The largest magnitude of which all sums fit.
const MOST: i64 = 1 << (63 - UNIT_BITS);

/// The name of the table, and of its measure.
pub const NAME: &str = "magnitude";

/// What a line adds to the magnitude of its currency.
pub fn of_line(amount: Cents, list_price: Cents) -> i64 {
    let size = amount.unsigned_abs().saturating_add(list_price.unsigned_abs());
    (size >> UNIT_BITS) as i64 + 1
}

pub fn table() -> TableSchema {
    TableSchema::new(NAME, vec![Part::Currency])
}

pub fn key(table: u8, currency: Currency) -> Key {
    Key::new(table, [currency.code()])
}

/// The currencies that there is money in, by their codes, and those of which sums may not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Magnitudes {
    pub currencies: BTreeSet<u64>,
    untrusted: BTreeSet<u64>,
}

impl Magnitudes {
    /// Of the rows of a view; where the magnitudes are in them.
    pub fn of(rows: &dyn RowSet, table: u8, measure: usize) -> Magnitudes {
        let mut magnitudes: BTreeMap<u64, i64> = BTreeMap::new();
        rows.scan(&Span::of(table, &[]), &mut |key, sums| {
            let sum = magnitudes.entry(key.parts[0]).or_default();
            *sum = sum.wrapping_add(sums.get(measure));
        });
        // A magnitude that has overflowed is below 0.
        let fits = |magnitude: i64| (0..=MOST).contains(&magnitude);
        Magnitudes {
            untrusted: magnitudes.iter().filter(|(_, sum)| !fits(**sum)).map(|(code, _)| *code).collect(),
            currencies: magnitudes.into_keys().collect(),
        }
    }

    /// # Errors
    /// [`QueryError::SumsTooLarge`] where sums of that currency may not fit.
    pub fn check(&self, currency: Currency) -> Result<(), QueryError> {
        if self.untrusted.contains(&currency.code()) {
            return Err(QueryError::SumsTooLarge { currency: currency.to_string() });
        }
        Ok(())
    }

    /// The codes of the currencies whose sums may not fit.
    pub fn into_untrusted(self) -> BTreeSet<u64> {
        self.untrusted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{Measures, State};
    use proptest::prelude::*;

    fn of(magnitude: i64) -> Magnitudes {
        let row = (key(3, Currency::USD), Measures::of(&[0, magnitude]));
        Magnitudes::of(&[row].into_iter().collect::<State>(), 3, 1)
    }

    #[test]
    fn what_may_not_fit_is_refused() {
        assert_eq!(of(MOST).check(Currency::USD), Ok(()));
        for beyond in [MOST + 1, i64::MAX, i64::MIN] {
            let error = of(beyond).check(Currency::USD).expect_err("it may not fit");
            assert!(matches!(&error, QueryError::SumsTooLarge { currency } if currency == "USD"), "{error}");
        }
    }

    proptest! {
        /// In any number of lines, the magnitude is beyond the limit before a sum of theirs is.
        #[test]
        fn no_sum_leaves_64_bits_under_the_limit(
            lines in prop::collection::vec((-10_i64.pow(13)..=10_i64.pow(13), 0..=10_i64.pow(13), 1..200_000_i64), 1..20)
        ) {
            let (mut size, mut magnitude) = (0_i128, 0);
            for (amount, list_price, times) in lines {
                size += i128::from(times) * (i128::from(amount).abs() + i128::from(list_price));
                magnitude += times * of_line(amount, list_price);
            }
            prop_assert!(size <= i128::from(i64::MAX) || of(magnitude).check(Currency::USD).is_err());
            prop_assert!(size * 2 > i128::from(i64::MAX) || of(magnitude).check(Currency::USD).is_ok());
        }
    }
}
