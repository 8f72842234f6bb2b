//! What can be wrong with a line: malformed records, copies in another key order, ids that were taken.
//!
//! Every fault is certain to be rejected by the rule that it aims at, so a reader's counts can be checked against the
//! generator's. No fault holds a line break: a malformed line is one record still.

use super::event::{Body, Event, Purchase};
use super::random::Random;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    Truncated,
    Binary,
    InvalidUtf8,
    DuplicateKey,
    UnknownEventType,
    MissingField,
    WrongType,
    BadTime,
    NegativePrice,
}

impl Fault {
    pub const ALL: [Fault; 9] = [
        Fault::Truncated,
        Fault::Binary,
        Fault::InvalidUtf8,
        Fault::DuplicateKey,
        Fault::UnknownEventType,
        Fault::MissingField,
        Fault::WrongType,
        Fault::BadTime,
        Fault::NegativePrice,
    ];

    /// An event of a kind that can have the fault.
    pub fn prepared(self, event: Event) -> Event {
        if self != Fault::NegativePrice {
            return event;
        }
        let sold = Purchase {
            order: event.id,
            product: 0,
            quantity: 1,
            price_paid: -1_999,
            unit_price: None,
            discount_code: None,
        };
        Event { body: Body::Purchase(sold), ..event }
    }

    /// Spoils `line`, a well-formed object of a prepared event without its newline.
    pub fn spoil(self, line: &mut Vec<u8>, random: &mut Random) {
        match self {
            Fault::Truncated => line.truncate(2 + random.below(line.len() as u32 - 2) as usize),
            Fault::Binary => *line = junk(random),
            Fault::InvalidUtf8 => {
                let bytes: [u8; 2] = random.pick(&[[0xff, b'a'], [0xc3, b'('], [0xed, 0xa0]]);
                let first = value_of(line, "event_id").start;
                line.splice(first..first, bytes);
            }
            Fault::DuplicateKey => {
                line.pop();
                line.extend_from_slice(b",\"event_id\":\"evt_again\"}");
            }
            Fault::UnknownEventType => {
                replace_text(line, "event_type", random.pick(&["cart_teleported", "PageView2", "?"]));
            }
            Fault::MissingField => {
                let key = random.pick(&["event_id", "event_time"]);
                let value = value_of(line, key);
                // From the quote before the key to the comma after the value: neither key is the last.
                line.drain(value.start - key.len() - 4..value.end + 2);
            }
            Fault::WrongType => {
                let value = value_of(line, random.pick(&["event_id", "event_time"]));
                let wrong = random.pick(&["[1,2]", "{\"a\":\"b\"}", "true"]);
                line.splice(value.start - 1..value.end + 1, wrong.bytes());
            }
            Fault::BadTime => {
                let times = ["yesterday", "2026-13-45T25:61:00Z", "01/03/2026 10:00", "2026-03-01T10:00", "1766"];
                replace_text(line, "event_time", random.pick(&times));
            }
            // The event was prepared with one.
            Fault::NegativePrice => {}
        }
    }
}

/// Moves the first fields of an object behind the others: other bytes, equal content.
pub fn reorder_keys(line: &mut [u8], random: &mut Random) {
    let fields = line.len() - 1;
    let from = random.below(fields as u32 / 2) as usize;
    let Some(comma) = find(&line[from..fields], b",\"").map(|at| at + from) else { return };
    // `{A,B}` becomes `{B,A}`; a comma before a quote is always one between fields.
    let (first_bytes, rest_bytes) = (comma - 1, fields - comma - 1);
    line[1..fields].rotate_left(first_bytes);
    line[1..rest_bytes + 2].rotate_left(1);
}

/// Another event of the same id: what a till that counts its ids from 0 again would send.
pub fn conflicting(mut event: Event, random: &mut Random) -> Event {
    match &mut event.body {
        Body::Purchase(line) => line.price_paid += 100 * i64::from(line.quantity.signum()),
        Body::AddToCart { quantity, .. } => *quantity += 1,
        Body::PageView { device, .. } => *device = "kiosk",
        Body::RemoveFromCart { .. } | Body::CheckoutStarted | Body::Refund { .. } => {
            event.time -= random.between(1, 1_000_000);
        }
    }
    event
}

fn junk(random: &mut Random) -> Vec<u8> {
    let length = 20 + random.below(200);
    let bytes = (0..length).map(|_| random.bits() as u8).filter(|byte| !matches!(byte, b'\n' | b'\r'));
    // What a gzip file begins with.
    [0x1f, 0x8b, 0x08].into_iter().chain(bytes).collect()
}

fn replace_text(line: &mut Vec<u8>, key: &str, value: &str) {
    let range = value_of(line, key);
    line.splice(range, value.bytes());
}

/// Where the text of a key's value stands, without its quotes.
fn value_of(line: &[u8], key: &str) -> std::ops::Range<usize> {
    let pattern = format!("\"{key}\":\"");
    let start = find(line, pattern.as_bytes()).expect("every event line has the key") + pattern.len();
    let length = line[start..].iter().position(|&byte| byte == b'"').expect("a text ends");
    start..start + length
}

fn find(line: &[u8], pattern: &[u8]) -> Option<usize> {
    line.windows(pattern.len()).position(|window| window == pattern)
}
