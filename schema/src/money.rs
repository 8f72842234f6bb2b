//! Money: an exact integer of minor units with a currency. Never a float.

use crate::currencies::places_of;
use serde::{Deserialize, Serialize};

/// An amount in minor units of its currency (cents for USD, yen for JPY).
pub type Cents = i64;

/// An ISO 4217 code, three capital letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Currency([u8; 3]);

impl Currency {
    pub const USD: Currency = Currency(*b"USD");

    /// The currency of a code of ISO 4217, in capitals or not; `None` where there is none of that code, or none with a
    /// minor unit.
    #[inline]
    pub fn parse(text: &str) -> Option<Currency> {
        let code: [u8; 3] = text.as_bytes().try_into().ok()?;
        let code = code.map(|letter| letter.to_ascii_uppercase());
        places_of(code).map(|_| Currency(code))
    }

    /// Three capitals that this engine or an earlier one wrote: they were a currency when they were accepted.
    pub fn read_back(text: &str) -> Option<Currency> {
        let code: [u8; 3] = text.as_bytes().try_into().ok()?;
        code.iter().all(u8::is_ascii_uppercase).then_some(Currency(code))
    }

    /// The letters packed into an integer, for the keys of the dataflow.
    pub fn code(self) -> u64 {
        let [a, b, c] = self.0;
        u64::from(u32::from_be_bytes([0, a, b, c]))
    }

    /// The inverse of [`Currency::code`]; `None` if it is not one.
    pub fn from_code(code: u64) -> Option<Currency> {
        let code = u32::try_from(code).ok()?;
        let bytes = code.to_be_bytes();
        let letters = [bytes[1], bytes[2], bytes[3]];
        (bytes[0] == 0 && letters.iter().all(u8::is_ascii_uppercase)).then_some(Currency(letters))
    }

    /// The number of decimal places of the minor unit; 2 for a code that is not known, which only files of an earlier
    /// engine have.
    #[inline]
    pub fn digits(self) -> u32 {
        places_of(self.0).unwrap_or(2)
    }
}

impl std::fmt::Display for Currency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|&letter| write!(f, "{}", letter as char))
    }
}

impl Currency {
    /// An amount as a plain decimal with the currency's places: `-3.50`, `120` (JPY).
    pub fn format(self, amount: Cents) -> String {
        let digits = self.digits();
        let sign = if amount < 0 { "-" } else { "" };
        let unit = 10_u64.pow(digits);
        let (whole, part) = (amount.unsigned_abs() / unit, amount.unsigned_abs() % unit);
        match digits {
            0 => format!("{sign}{whole}"),
            _ => format!("{sign}{whole}.{part:0width$}", width = digits as usize),
        }
    }
}
