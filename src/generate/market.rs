//! The world around the shop: currencies and their rates, where visitors come from, on what, with which codes.

use millrace_schema::Currency;

pub const DEVICES: [&str; 3] = ["mobile", "desktop", "tablet"];
pub const DEVICE_WEIGHTS: [u8; 3] = [58, 36, 6];

/// The last, the absent one, is a visitor who typed the address.
pub const REFERRERS: [Option<&str>; 9] = [
    Some("google"),
    Some("instagram"),
    Some("newsletter"),
    Some("facebook"),
    Some("bing"),
    Some("tiktok"),
    Some("youtube"),
    Some("pricewatch"),
    None,
];
pub const REFERRER_WEIGHTS: [u8; 9] = [36, 10, 9, 7, 4, 5, 3, 4, 22];

pub const COUNTRIES: [&str; 10] = ["DE", "US", "GB", "FR", "NL", "SE", "PL", "ES", "IT", "JP"];
pub const CHANNELS: [&str; 5] = ["organic", "paid_search", "social", "email", "partner"];
pub const RETURN_REASONS: [&str; 5] = ["damaged", "wrong_size", "not_as_described", "changed_mind", "arrived_late"];
pub const CANCELLED: &str = "cancelled";

/// A code of an order and the percentage it takes off every line.
pub const DISCOUNTS: [(&str, i64); 5] =
    [("WELCOME10", 10), ("SPRING15", 15), ("VIP20", 20), ("CLEAR30", 30), ("FRIENDS5", 5)];

/// What an amount in dollar cents is in another currency's minor units, as a fraction. Others count as the dollar.
const RATES: [(&str, i64, i64); 10] = [
    ("EUR", 92, 100),
    ("GBP", 79, 100),
    ("CHF", 88, 100),
    ("CAD", 136, 100),
    ("AUD", 152, 100),
    ("SEK", 1_050, 100),
    ("PLN", 395, 100),
    ("JPY", 150, 100),
    ("KRW", 1_350, 100),
    ("KWD", 307, 100),
];

/// A currency that the shop takes.
#[derive(Clone, Copy, Debug)]
pub struct Money {
    pub code: [u8; 3],
    /// Decimal places of the minor unit.
    pub digits: u32,
    numerator: i64,
    denominator: i64,
}

impl Money {
    /// `None` where `code` is none of ISO 4217.
    pub fn of(code: &str) -> Option<Money> {
        let currency = Currency::parse(code)?;
        let (code, digits) = (currency.to_string(), currency.digits());
        let rate = RATES.iter().find(|(known, ..)| *known == code);
        let (numerator, denominator) = rate.map_or((1, 1), |&(_, numerator, denominator)| (numerator, denominator));
        Some(Money { code: code.as_bytes().try_into().ok()?, digits, numerator, denominator })
    }

    /// The price here of what costs `dollar_cents`, at least one minor unit.
    pub fn convert(&self, dollar_cents: u32) -> i64 {
        (i64::from(dollar_cents) * self.numerator / self.denominator).max(1)
    }
}
