//! Money: an exact integer of minor units with a currency. Never a float.

use serde::{Deserialize, Serialize};

/// An amount in minor units of its currency (cents for USD, yen for JPY).
pub type Cents = i64;

/// An ISO 4217 code, three capital letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Currency([u8; 3]);

impl Currency {
    pub const USD: Currency = Currency(*b"USD");

    /// Three ASCII capitals, or `None`.
    pub fn parse(text: &str) -> Option<Currency> {
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

    /// The number of decimal places of the minor unit (ISO 4217, "E" column).
    pub fn digits(self) -> u32 {
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF" | b"UGX"
            | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            _ => 2,
        }
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
