//! Money: an exact integer of minor units with a currency. Never a float.

use serde::{Deserialize, Serialize};

/// An amount in minor units of its currency (cents for USD, yen for JPY).
pub type Cents = i64;

/// An ISO 4217 code, three capital letters packed into an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Currency(u32);

impl Currency {
    pub const USD: Currency = Currency::pack(*b"USD");

    const fn pack(code: [u8; 3]) -> Currency {
        Currency((code[0] as u32) << 16 | (code[1] as u32) << 8 | code[2] as u32)
    }

    /// Three ASCII capitals, or `None`.
    pub fn parse(text: &str) -> Option<Currency> {
        let code: [u8; 3] = text.as_bytes().try_into().ok()?;
        code.iter().all(u8::is_ascii_uppercase).then(|| Currency::pack(code))
    }

    /// The packed form, for the integer keys of the dataflow.
    pub fn code(self) -> u64 {
        u64::from(self.0)
    }

    /// The inverse of [`Currency::code`]; `None` if it is not one.
    pub fn from_code(code: u64) -> Option<Currency> {
        let code = u32::try_from(code).ok()?;
        let bytes = code.to_be_bytes();
        let letters = [bytes[1], bytes[2], bytes[3]];
        (bytes[0] == 0 && letters.iter().all(u8::is_ascii_uppercase)).then(|| Currency::pack(letters))
    }

    /// The number of decimal places of the minor unit (ISO 4217, "E" column).
    pub fn digits(self) -> u32 {
        match &self.letters() {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF" | b"UGX"
            | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            _ => 2,
        }
    }

    fn letters(self) -> [u8; 3] {
        [(self.0 >> 16) as u8, (self.0 >> 8) as u8, self.0 as u8]
    }
}

impl std::fmt::Display for Currency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.letters().iter().try_for_each(|&letter| write!(f, "{}", letter as char))
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
