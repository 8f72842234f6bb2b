//! Records of a tiny shop, in which everything collides: ids, instants, products, orders.

use crate::support::{Line, time};
use millrace_schema::calendar::rfc3339_micros;
use millrace_schema::{Currency, Kind, OwnedRecord, Page, Place};
use proptest::prelude::*;
use proptest::sample::select;

pub const PRODUCTS: [&str; 4] = ["tea", "mug", "Tea", "kettle"];
pub const CATEGORIES: [&str; 3] = ["Drinks", "Food", "(none)"];
pub const REFERRERS: [&str; 2] = ["ads", "mail"];
pub const DEVICES: [&str; 2] = ["phone", "desk"];

/// Ends of hours, days and months in UTC, Kathmandu (+05:45) and London, where the clock goes back on 27 October;
/// pairs that are 24 hours, and 24 hours and a microsecond, apart.
pub const INSTANTS: [&str; 13] = [
    "2019-10-26T18:14:59.999999Z",
    "2019-10-26T18:15:00Z",
    "2019-10-26T23:00:00Z",
    "2019-10-27T00:30:00Z",
    "2019-10-27T01:30:00Z",
    "2019-10-27T18:15:00Z",
    "2019-10-27T18:15:00.000001Z",
    "2019-10-27T18:15:59Z",
    "2019-10-28T00:30:00Z",
    "2019-10-28T01:30:00.000001Z",
    "2019-10-31T23:59:59.999999Z",
    "2019-11-01T00:00:00Z",
    "2019-11-01T00:00:30Z",
];

/// A record as it was sent, how often it arrives, and where.
#[derive(Clone)]
pub struct Sent {
    text: String,
    arrivals: Vec<Arrival>,
}

impl Sent {
    /// The same, but that everybody is in session `a`.
    pub fn in_one_session(&self) -> Sent {
        let text = ["b", "c"].iter().fold(self.text.clone(), |text, session| {
            text.replace(&format!(r#""session_id":"{session}""#), r#""session_id":"a""#)
        });
        Sent { text, ..self.clone() }
    }
}

impl Sent {
    /// The same, but that each of [`INSTANTS`] is another one.
    pub fn at_other_instants(&self, others: &[&str; INSTANTS.len()]) -> Sent {
        let mut sent = self.clone();
        for (from, to) in INSTANTS.iter().zip(others) {
            let micros = |text: &str| rfc3339_micros(time(text));
            sent.text = sent.text.replace(from, to).replace(&micros(from), &micros(to));
        }
        for arrival in &mut sent.arrivals {
            // Some instant and so many seconds.
            let moved = |received: i64| {
                let at = (0..INSTANTS.len()).min_by_key(|&at| received.abs_diff(time(INSTANTS[at]))).expect("some");
                (time(others[at]) + received - time(INSTANTS[at])).max(0)
            };
            arrival.received_at = arrival.received_at.map(moved);
        }
        sent
    }

    /// The same, but that everything is bought in order `o1`.
    pub fn in_one_order(&self) -> Sent {
        let text = ["o2", "o3", "o4"].iter().fold(self.text.clone(), |text, order| {
            text.replace(&format!(r#""order_id":"{order}""#), r#""order_id":"o1""#)
        });
        Sent { text, ..self.clone() }
    }
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in", self.text)?;
        self.arrivals
            .iter()
            .try_for_each(|one| write!(f, " p{}/e{}/{} {:?}", one.partition, one.epoch, one.order, one.received_at))
    }
}

/// Where one copy arrives. `order` settles who comes first in a partition and epoch.
#[derive(Clone, Debug)]
struct Arrival {
    partition: u16,
    epoch: u64,
    order: u16,
    received_at: Option<i64>,
}

/// The lines of what was sent, offsets counted up in each partition, shuffled as they might be delivered.
pub fn lines(sent: &[Sent]) -> Vec<Line> {
    let mut arrivals: Vec<(&Arrival, &str)> =
        sent.iter().flat_map(|one| one.arrivals.iter().map(|arrival| (arrival, one.text.as_str()))).collect();
    arrivals.sort_by_key(|(arrival, _)| (arrival.epoch, arrival.order));
    let mut offsets = [0; 3];
    let mut lines: Vec<Line> = arrivals
        .into_iter()
        .map(|(arrival, text)| {
            let offset = &mut offsets[usize::from(arrival.partition)];
            *offset += 1;
            let place = Place::new(arrival.partition, *offset);
            Line {
                text: text.to_owned(),
                place,
                epoch: arrival.epoch,
                received_at: arrival.received_at,
                pending: false,
                was_pending: false,
            }
        })
        .collect();
    lines.sort_by_key(|line| line.place.offset().wrapping_mul(0x9E37_79B9_7F4A_7C15));
    lines
}

pub fn sent(records: std::ops::Range<usize>, partitions: u16, epochs: u64) -> impl Strategy<Value = Vec<Sent>> {
    let one = prop_oneof![
        14 => (record(), prop::bool::weighted(0.3)).prop_map(|(record, extra)| text(&record, extra)),
        1 => malformed(),
    ];
    let one = (one, arrivals(partitions, epochs)).prop_map(|(text, arrivals)| Sent { text, arrivals });
    prop::collection::vec(one, records)
}

fn text(record: &OwnedRecord, extra: bool) -> String {
    let json = record.to_json();
    if extra { json.replacen('{', r#"{"campaign":{"id":7},"#, 1) } else { json }
}

fn arrivals(partitions: u16, epochs: u64) -> impl Strategy<Value = Vec<Arrival>> {
    // Mostly no transport clock, else around the limits of lateness and of the future.
    let received = prop_oneof![
        3 => Just(None),
        1 => (select(&INSTANTS[..]), select(vec![-301_i64, -300, 0, 600, 601, 90_000]))
            .prop_map(|(at, after)| Some(time(at) + after * 1_000_000)),
    ];
    let one = (0..partitions, 0..epochs, any::<u16>(), received)
        .prop_map(|(partition, epoch, order, received_at)| Arrival { partition, epoch, order, received_at });
    let count = prop_oneof![4 => Just(1_usize), 1 => 2..4_usize];
    count.prop_flat_map(move |count| prop::collection::vec(one.clone(), count))
}

fn malformed() -> impl Strategy<Value = String> {
    let lines = [
        "{",
        r#"{"event_type":"page_view","event_id":"bad","event_time":"2019-10-27T00:30:00Z","page_type":"home"}"#,
        r#"{"event_type":"page_view","event_id":"bad","event_time":"yesterday","session_id":"a","page_type":"home"}"#,
        r#"{"event_type":"purchase","event_id":"bad","event_time":"2019-10-27T00:30:00Z","session_id":"a","order_id":"o",
            "product_id":"tea","quantity":1,"price_paid":-1}"#,
        r#"{"event_type":"page_view","event_id":"odd","event_time":"2019-10-27T00:30:00Z","session_id":"a",
            "page_type":"lounge"}"#,
        r#"{"event_type":"purchase","event_id":"round","event_time":"2019-10-27T00:30:00Z","session_id":"a","order_id":"o1",
            "product_id":"tea","quantity":0,"price_paid":1.005}"#,
    ];
    select(lines.to_vec()).prop_map(str::to_owned)
}

fn id(texts: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    select(texts).prop_map(str::to_owned)
}

fn record() -> impl Strategy<Value = OwnedRecord> {
    let kind = prop_oneof![
        5 => Just(Kind::PageView),
        3 => Just(Kind::AddToCart),
        1 => Just(Kind::RemoveFromCart),
        1 => Just(Kind::CheckoutStarted),
        5 => Just(Kind::Purchase),
        2 => Just(Kind::Refund),
        3 => Just(Kind::Product),
        1 => Just(Kind::User),
        1 => Just(Kind::Inventory),
    ];
    let texts = (
        0..80_u32,
        id(&["a", "b", "c"]),
        id(&["", "", "u", "v", "w"]),
        id(&PRODUCTS),
        id(&["o1", "o2", "o3", "o4"]),
        id(&["", REFERRERS[0], REFERRERS[1]]),
        id(&["", DEVICES[0], DEVICES[1]]),
        id(&["", CATEGORIES[0], CATEGORIES[1], CATEGORIES[2]]),
    );
    let pages = [Page::ProductDetail, Page::ProductDetail, Page::Home, Page::Checkout, Page::Other];
    let numbers = (
        select(&INSTANTS[..]),
        -2..4_i32,
        0..4_i64,
        prop::option::of(0..3_i64),
        prop::bool::weighted(0.15),
        select(pages.to_vec()),
        prop::bool::weighted(0.2),
    );
    (kind, texts, numbers).prop_map(|(kind, texts, numbers)| {
        let (number, session_id, user_id, product_id, order_id, referrer, device, category) = texts;
        let (at, quantity, price, unit, yen, page, deleted) = numbers;
        let currency = if yen { Currency::parse("JPY").expect("a currency") } else { Currency::USD };
        let base = OwnedRecord { time: time(at), ..OwnedRecord::empty(kind) };
        let event = OwnedRecord {
            event_id: format!("e{number}"),
            session_id,
            user_id: user_id.clone(),
            product_id: product_id.clone(),
            ..base.clone()
        };
        let unit_price = unit.map(|unit| unit * 100);
        match kind {
            Kind::PageView => {
                let product_id = if page == Page::Home { String::new() } else { product_id };
                OwnedRecord { page, referrer, device, product_id, ..event }
            }
            Kind::AddToCart | Kind::RemoveFromCart => OwnedRecord { quantity: quantity.abs(), unit_price, ..event },
            Kind::CheckoutStarted => OwnedRecord { product_id: String::new(), ..event },
            Kind::Purchase => {
                let amount = if quantity < 0 { -price * 50 } else { price * 50 };
                OwnedRecord { order_id, quantity, amount, unit_price, currency, ..event }
            }
            Kind::Refund => {
                // Some are of the whole order.
                let product_id = if number.is_multiple_of(3) { String::new() } else { product_id };
                let (session_id, quantity, amount) = (String::new(), quantity.abs(), price * 50);
                OwnedRecord { session_id, product_id, order_id, quantity, amount, currency, ..event }
            }
            Kind::Product => OwnedRecord { product_id, category, deleted, ..base },
            Kind::User => {
                OwnedRecord { user_id: if user_id.is_empty() { "u".into() } else { user_id }, deleted, ..base }
            }
            Kind::Inventory => OwnedRecord { product_id, on_hand: price, ..base },
        }
    })
}
