//! An event or a dimension record as one line of native JSON, written by hand.
//!
//! Every text that is written here is known to need no escape, ids are fixed-width numbers and most lines share their
//! minute with the one before, so a line costs some tens of nanoseconds.

use super::catalogue::Product;
use super::categories::{BRANDS, SHELVES};
use super::event::{Body, Event};
use super::market::Money;
use super::options::MICROS_PER_MINUTE;

/// Room for the longest event line.
const LINE_BYTES_MAX: usize = 512;
const PRODUCT_DIGITS_MIN: usize = 5;
const HEX: &[u8; 16] = b"0123456789abcdef";

#[derive(Clone, Debug)]
pub struct LineWriter {
    currencies: Vec<Money>,
    product_digits: usize,
    received_at: bool,
    /// The minute that `minute_text` says, as `2026-03-01T00:00:`.
    minute: i64,
    minute_text: [u8; 17],
}

impl LineWriter {
    pub fn new(currencies: Vec<Money>, products: u32, received_at: bool) -> LineWriter {
        let product_digits = products.saturating_sub(1).to_string().len().max(PRODUCT_DIGITS_MIN);
        LineWriter { currencies, product_digits, received_at, minute: 0, minute_text: *b"1970-01-01T00:00:" }
    }

    /// Appends one line with its newline. `received` is when the record reached the log.
    pub fn event(&mut self, event: &Event, received: i64, out: &mut Vec<u8>) {
        out.reserve(LINE_BYTES_MAX);
        out.extend_from_slice(b"{\"event_id\":\"evt_");
        hex(event.id, out);
        out.extend_from_slice(b"\",\"event_type\":\"");
        out.extend_from_slice(match event.body {
            Body::PageView { .. } => b"page_view",
            Body::AddToCart { .. } => b"add_to_cart",
            Body::RemoveFromCart { .. } => b"remove_from_cart",
            Body::CheckoutStarted => b"checkout_started",
            Body::Purchase(_) => b"purchase",
            Body::Refund { .. } => b"refund",
        });
        out.extend_from_slice(b"\",\"event_time\":\"");
        self.time(event.time, out);
        out.push(b'"');
        if let Some(user) = event.user {
            out.extend_from_slice(b",\"user_id\":\"u");
            integer(i64::from(user), out);
            out.push(b'"');
        }
        if !matches!(event.body, Body::Refund { .. }) {
            out.extend_from_slice(b",\"session_id\":\"ses_");
            hex(event.session, out);
            out.push(b'"');
        }
        self.body(event, out);
        if self.received_at {
            out.extend_from_slice(b",\"received_at\":\"");
            self.time(received, out);
            out.push(b'"');
        }
        out.extend_from_slice(b"}\n");
    }

    fn body(&self, event: &Event, out: &mut Vec<u8>) {
        let money = &self.currencies[usize::from(event.currency)];
        match event.body {
            Body::PageView { page, product, referrer, device } => {
                text(b",\"page_type\":\"", page.as_str(), out);
                if let Some(product) = product {
                    self.product_id(product, out);
                }
                if let Some(referrer) = referrer {
                    text(b",\"referrer\":\"", referrer, out);
                }
                text(b",\"device\":\"", device, out);
            }
            Body::AddToCart { product, quantity, unit_price } => {
                self.product_id(product, out);
                number(b",\"quantity\":", i64::from(quantity), out);
                // A cart event has no currency, so its price would mean nothing where there are several.
                if self.currencies.len() == 1 {
                    amount(b",\"unit_price\":", unit_price, money.digits, out);
                }
            }
            Body::RemoveFromCart { product, quantity } => {
                self.product_id(product, out);
                number(b",\"quantity\":", i64::from(quantity), out);
            }
            Body::CheckoutStarted => {}
            Body::Purchase(line) => {
                order_id(line.order, out);
                self.product_id(line.product, out);
                number(b",\"quantity\":", i64::from(line.quantity), out);
                if let Some(unit_price) = line.unit_price {
                    amount(b",\"unit_price\":", unit_price, money.digits, out);
                }
                amount(b",\"price_paid\":", line.price_paid, money.digits, out);
                if let Some(code) = line.discount_code {
                    text(b",\"discount_code\":\"", code, out);
                }
                self.currency(money, out);
            }
            Body::Refund { order, product, quantity, amount: returned, reason } => {
                order_id(order, out);
                self.product_id(product, out);
                number(b",\"quantity\":", i64::from(quantity), out);
                amount(b",\"amount\":", returned, money.digits, out);
                text(b",\"reason\":\"", reason, out);
                self.currency(money, out);
            }
        }
    }

    /// A version of a product. Its price is in the shop's first currency.
    pub fn product(&mut self, number: u32, product: &Product, updated_at: i64, out: &mut Vec<u8>) {
        let money = self.currencies[0];
        self.dimension(b"product", updated_at, out);
        self.product_id(number, out);
        let brand = BRANDS[usize::from(product.brand)];
        let noun = product.category.map_or("Gift", |category| SHELVES[usize::from(category)].noun);
        text(b",\"name\":\"", brand, out);
        out.pop();
        out.push(b' ');
        out.extend_from_slice(noun.as_bytes());
        out.push(b' ');
        integer(i64::from(number), out);
        out.push(b'"');
        if let Some(category) = product.category {
            text(b",\"category\":\"", SHELVES[usize::from(category)].category, out);
        }
        text(b",\"brand\":\"", brand, out);
        amount(b",\"price\":", money.convert(product.price), money.digits, out);
        amount(b",\"cost\":", money.convert(product.cost), money.digits, out);
        out.extend_from_slice(b"}\n");
    }

    pub fn user(&mut self, number: u32, user: &User, updated_at: i64, out: &mut Vec<u8>) {
        self.dimension(b"user", updated_at, out);
        out.extend_from_slice(b",\"user_id\":\"u");
        integer(i64::from(number), out);
        text(b"\",\"country\":\"", user.country, out);
        text(b",\"channel\":\"", user.channel, out);
        out.extend_from_slice(b",\"signup_time\":\"");
        self.time(user.signup_time, out);
        out.extend_from_slice(b"\"}\n");
    }

    pub fn inventory(&mut self, product: u32, on_hand: i64, lead_time_days: i64, updated_at: i64, out: &mut Vec<u8>) {
        self.dimension(b"inventory", updated_at, out);
        self.product_id(product, out);
        number(b",\"on_hand\":", on_hand, out);
        number(b",\"lead_time_days\":", lead_time_days, out);
        out.extend_from_slice(b"}\n");
    }

    fn dimension(&mut self, kind: &[u8], updated_at: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"event_type\":\"");
        out.extend_from_slice(kind);
        out.extend_from_slice(b"\",\"updated_at\":\"");
        self.time(updated_at, out);
        out.push(b'"');
    }

    fn product_id(&self, product: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"product_id\":\"p");
        padded(u64::from(product), self.product_digits, out);
        out.push(b'"');
    }

    /// Named only where there is a choice.
    fn currency(&self, money: &Money, out: &mut Vec<u8>) {
        if self.currencies.len() > 1 {
            out.extend_from_slice(b",\"currency\":\"");
            out.extend_from_slice(&money.code);
            out.push(b'"');
        }
    }

    /// `2026-03-01T00:00:00.123456Z`
    #[inline]
    fn time(&mut self, micros: i64, out: &mut Vec<u8>) {
        let minute = micros.div_euclid(MICROS_PER_MINUTE);
        if minute != self.minute {
            self.minute = minute;
            self.minute_text = minute_text(minute);
        }
        out.extend_from_slice(&self.minute_text);
        let mut digits = *b"00.000000Z";
        let mut rest = (micros - minute * MICROS_PER_MINUTE) as u32;
        for place in [8, 7, 6, 5, 4, 3, 1, 0] {
            digits[place] += (rest % 10) as u8;
            rest /= 10;
        }
        out.extend_from_slice(&digits);
    }
}

/// What a `user` record says.
#[derive(Clone, Copy, Debug)]
pub struct User {
    pub country: &'static str,
    pub channel: &'static str,
    pub signup_time: i64,
}

fn text(before: &[u8], value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

fn number(before: &[u8], value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    integer(value, out);
}

fn order_id(order: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"order_id\":\"ord_");
    hex(order, out);
    out.push(b'"');
}

fn amount(before: &[u8], minor_units: i64, digits: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    if minor_units < 0 {
        out.push(b'-');
    }
    let scale = 10_u64.pow(digits);
    padded(minor_units.unsigned_abs() / scale, 1, out);
    if digits > 0 {
        out.push(b'.');
        padded(minor_units.unsigned_abs() % scale, digits as usize, out);
    }
}

fn integer(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    padded(value.unsigned_abs(), 1, out);
}

/// Decimal digits, with zeros before them up to `width`, which is at most 20.
#[inline]
fn padded(mut value: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    while value > 0 {
        first -= 1;
        digits[first] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits[first.min(digits.len() - width)..]);
}

#[inline]
fn hex(value: u64, out: &mut Vec<u8>) {
    let bytes = value.to_be_bytes();
    let digits: [[u8; 2]; 8] = bytes.map(|byte| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    out.extend_from_slice(digits.as_flattened());
}

fn minute_text(minute: i64) -> [u8; 17] {
    let (day, minute) = (minute.div_euclid(1_440), minute.rem_euclid(1_440));
    let (year, month, day) = date_of_day(day);
    let mut text = *b"0000-00-00T00:00:";
    for (first, width, mut value) in
        [(0, 4, year), (5, 2, month), (8, 2, day), (11, 2, minute / 60), (14, 2, minute % 60)]
    {
        for place in (first..first + width).rev() {
            text[place] += (value % 10) as u8;
            value /= 10;
        }
    }
    text
}

/// Year, month and day of the days since 1970-01-01, by the 400-year cycles of the Gregorian calendar that begin in March.
fn date_of_day(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_month)
}
