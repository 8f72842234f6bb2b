//! Kept rows as bytes, about a third of their size in memory.
//!
//! Rows come in the order in which they were read, so places and times are near those of the row before, and sessions, users and
//! names come again soon: each goes by the number of a slot as long as it lies there, which the reader fills as the writer did.
//! A run of rows is whole by itself, and the caller's to frame and to check.
//!
//! ```text
//! ff ff  format  version of the content's hash  row row row …        a run of today
//! row row row …                                                      an earlier one: no row begins with ff ff
//! ```
//! Content that was hashed by another version cannot be compared with what is hashed now: such rows have
//! [`Event::OTHER_CONTENT`], also where they are written again.

use super::{Kept, Needed};
use millrace_schema::{Body, CONTENT_VERSION, Currency, Event, Id, Kind, Name, Page, Place, Warnings};
use std::fmt;

/// What is not a run of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes at {at} are no row of a state{why}", why = Because(.unknown))]
pub struct NoRow {
    pub at: usize,
    pub unknown: Option<NotKnown>,
}

/// What a later program may have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotKnown {
    Format(u8),
    Kind(u8),
    Page(u8),
}

struct Because<'a>(&'a Option<NotKnown>);

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(NotKnown::Format(number)) => write!(f, ": format {number} is not known to this program"),
            Some(NotKnown::Kind(number)) => write!(f, ": kind of event {number} is not known to this program"),
            Some(NotKnown::Page(number)) => write!(f, ": page {number} is not known to this program"),
        }
    }
}

/// Begins a run.
const MARK: [u8; 2] = [0xff; 2];
const FORMAT: u8 = 1;
/// The version that a run without a head is of.
const CONTENT_VERSION_BEFORE: u8 = 1;

const SLOTS: usize = 1 << 12;
/// Instead of a slot's number: the value itself follows.
const NEW: u16 = u16::MAX;

/// What was there lately. Both sides keep the same.
struct Recent<T> {
    slots: Vec<T>,
}

trait Slotted: Copy + PartialEq {
    const NONE: Self;
    fn slot(&self) -> usize;
    fn put(&self, bytes: &mut RowBytes);
    fn take(bytes: &mut Bytes<'_>) -> Option<Self>;
}

impl Slotted for Id {
    const NONE: Id = Id::NONE;
    fn slot(&self) -> usize {
        self.low as usize % SLOTS
    }
    #[inline]
    fn put(&self, bytes: &mut RowBytes) {
        bytes.put(self.high.to_le_bytes());
        bytes.put(self.low.to_le_bytes());
    }
    fn take(bytes: &mut Bytes<'_>) -> Option<Id> {
        Some(Id { high: bytes.word()?, low: bytes.word()? })
    }
}

impl Slotted for Name {
    const NONE: Name = Name::NONE;
    fn slot(&self) -> usize {
        self.0 as usize % SLOTS
    }
    #[inline]
    fn put(&self, bytes: &mut RowBytes) {
        bytes.put(self.0.to_le_bytes());
    }
    fn take(bytes: &mut Bytes<'_>) -> Option<Name> {
        bytes.word().map(Name)
    }
}

impl<T: Slotted> Recent<T> {
    fn new() -> Recent<T> {
        Recent { slots: vec![T::NONE; SLOTS] }
    }

    fn clear(&mut self) {
        self.slots.fill(T::NONE);
    }

    #[inline]
    fn put(&mut self, value: T, bytes: &mut RowBytes) {
        let slot = value.slot();
        if self.slots[slot] == value {
            bytes.put((slot as u16).to_le_bytes());
        } else {
            self.slots[slot] = value;
            bytes.put(NEW.to_le_bytes());
            value.put(bytes);
        }
    }

    fn take(&mut self, bytes: &mut Bytes<'_>) -> Option<T> {
        match u16::from_le_bytes(bytes.array()?) {
            NEW => {
                let value = T::take(bytes)?;
                self.slots[value.slot()] = value;
                Some(value)
            }
            slot => self.slots.get(usize::from(slot)).copied(),
        }
    }
}

/// What both sides remember of the rows before.
struct Memory {
    sessions: Recent<Id>,
    users: Recent<Id>,
    names: Recent<Name>,
    place: u64,
    time: i64,
}

impl Memory {
    fn new() -> Memory {
        Memory { sessions: Recent::new(), users: Recent::new(), names: Recent::new(), place: 0, time: 0 }
    }

    fn clear(&mut self) {
        self.sessions.clear();
        self.users.clear();
        self.names.clear();
        (self.place, self.time) = (0, 0);
    }
}

/// Writes a run of rows.
pub struct RowWriter {
    memory: Memory,
    bytes: Vec<u8>,
    rows: u64,
}

impl Default for RowWriter {
    fn default() -> RowWriter {
        RowWriter { memory: Memory::new(), bytes: Vec::new(), rows: 0 }
    }
}

// The head: what is there besides the kind.
const KIND_BITS: u32 = 4;
const HAS_SESSION: u16 = 1 << 4;
const HAS_USER: u16 = 1 << 5;
const HAS_PRODUCT: u16 = 1 << 6;
const WAS_RECEIVED: u16 = 1 << 7;
const HAS_WARNINGS: u16 = 1 << 8;
const IN_PART: u16 = 1 << 9;
const DELETED: u16 = 1 << 10;

impl RowWriter {
    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub fn push(&mut self, event: &Event, needed: Needed) {
        let RowWriter { memory, bytes: run, rows } = self;
        if *rows == 0 {
            run.extend_from_slice(&MARK);
            run.extend_from_slice(&[FORMAT, CONTENT_VERSION]);
        }
        *rows += 1;
        let bytes = &mut RowBytes { bytes: [0; ROW_BYTES_MOST], length: 0 };
        let kind = event.kind();
        let is = |flag: u16, holds: bool| if holds { flag } else { 0 };
        let deleted = matches!(event.body, Body::Product { deleted: true, .. } | Body::User { deleted: true, .. });
        let head = kind as u16
            | is(HAS_SESSION, !event.session.is_none())
            | is(HAS_USER, !event.user.is_none())
            | is(HAS_PRODUCT, !event.product.is_none())
            | is(WAS_RECEIVED, event.received != Event::NOT_RECEIVED)
            | is(HAS_WARNINGS, !event.warnings.is_empty())
            | is(IN_PART, needed != Needed::ALL)
            | is(DELETED, deleted);
        bytes.put(head.to_le_bytes());
        event.id.put(bytes);
        bytes.put(event.content.to_le_bytes());
        let place = event.place.bits();
        bytes.put_two(place.wrapping_sub(memory.place) as i64, event.time.wrapping_sub(memory.time));
        (memory.place, memory.time) = (place, event.time);
        if head & WAS_RECEIVED != 0 {
            put_signed(event.received.wrapping_sub(event.time), bytes);
        }
        if head & HAS_WARNINGS != 0 {
            bytes.put([event.warnings.bits()]);
        }
        if head & IN_PART != 0 {
            bytes.put([needed.bits()]);
        }
        if head & HAS_SESSION != 0 {
            memory.sessions.put(event.session, bytes);
        }
        if head & HAS_USER != 0 {
            memory.users.put(event.user, bytes);
        }
        let mut name = |name: Name, bytes: &mut RowBytes| memory.names.put(name, bytes);
        if head & HAS_PRODUCT != 0 {
            name(event.product, bytes);
        }
        match event.body {
            Body::PageView { page, referrer, device } => {
                bytes.put([page as u8]);
                name(referrer, bytes);
                name(device, bytes);
            }
            Body::AddToCart { quantity } | Body::RemoveFromCart { quantity } => put_signed(quantity.into(), bytes),
            Body::CheckoutStarted => {}
            Body::Purchase { quantity, currency, order, price, list_price } => {
                put_signed(quantity.into(), bytes);
                bytes.put((currency.code() as u32).to_le_bytes());
                order.put(bytes);
                put_signed(price, bytes);
                put_signed(list_price, bytes);
            }
            Body::Refund { quantity, currency, order, amount } => {
                put_signed(quantity.into(), bytes);
                bytes.put((currency.code() as u32).to_le_bytes());
                order.put(bytes);
                put_signed(amount, bytes);
            }
            Body::Product { category, .. } => name(category, bytes),
            Body::User { country, channel, .. } => {
                name(country, bytes);
                name(channel, bytes);
            }
            Body::Inventory { on_hand, reserved } => {
                put_signed(on_hand, bytes);
                put_signed(reserved, bytes);
            }
        }
        run.extend_from_slice(&bytes.bytes[..bytes.length]);
    }

    /// Takes the run; the writer begins another.
    pub fn finish(&mut self) -> Vec<u8> {
        self.memory.clear();
        self.rows = 0;
        let room = self.bytes.len();
        std::mem::replace(&mut self.bytes, Vec::with_capacity(room))
    }
}

/// Reads a run of rows.
///
/// # Errors
/// [`NoRow`] where the bytes are none.
pub fn read_rows(bytes: &[u8], mut each: impl FnMut(Kept)) -> Result<(), NoRow> {
    let (content_version, rows) = match bytes.strip_prefix(&MARK) {
        None => (CONTENT_VERSION_BEFORE, bytes),
        Some([FORMAT, version, rows @ ..]) => (*version, rows),
        Some([format, ..]) => return Err(NoRow { at: MARK.len(), unknown: Some(NotKnown::Format(*format)) }),
        Some([]) => return Err(NoRow { at: 0, unknown: None }),
    };
    let is_comparable = content_version == CONTENT_VERSION;
    let mut memory = Memory::new();
    let mut left = Bytes { left: rows, unknown: None };
    while !left.left.is_empty() {
        let at = bytes.len() - left.left.len();
        let Some(mut kept) = row(&mut left, &mut memory) else { return Err(NoRow { at, unknown: left.unknown }) };
        if !is_comparable {
            kept.event.content = Event::OTHER_CONTENT;
        }
        each(kept);
    }
    Ok(())
}

fn row(bytes: &mut Bytes<'_>, memory: &mut Memory) -> Option<Kept> {
    let head = u16::from_le_bytes(bytes.array()?);
    let kind = (head & ((1 << KIND_BITS) - 1)) as u8;
    let kind = bytes.known(&Kind::ALL, kind, NotKnown::Kind)?;
    let has = |flag: u16| head & flag != 0;
    let id = Id::take(bytes)?;
    let content = u32::from_le_bytes(bytes.array()?);
    let (place, time) = bytes.two()?;
    memory.place = memory.place.wrapping_add(place as u64);
    memory.time = memory.time.wrapping_add(time);
    let (place, time) = (Place::of_bits(memory.place), memory.time);
    let received = if has(WAS_RECEIVED) { time.wrapping_add(bytes.signed()?) } else { Event::NOT_RECEIVED };
    let warnings = if has(HAS_WARNINGS) { Warnings::of_bits(bytes.byte()?) } else { Warnings::default() };
    let needed = if has(IN_PART) { Needed::of_bits(bytes.byte()?)? } else { Needed::ALL };
    let session = if has(HAS_SESSION) { memory.sessions.take(bytes)? } else { Id::NONE };
    let user = if has(HAS_USER) { memory.users.take(bytes)? } else { Id::NONE };
    let mut name = |bytes: &mut Bytes<'_>| memory.names.take(bytes);
    let product = if has(HAS_PRODUCT) { name(bytes)? } else { Name::NONE };
    let quantity = |bytes: &mut Bytes<'_>| i32::try_from(bytes.signed()?).ok();
    let currency = |bytes: &mut Bytes<'_>| Currency::from_code(u32::from_le_bytes(bytes.array()?).into());
    let deleted = has(DELETED);
    let body = match kind {
        Kind::PageView => Body::PageView {
            page: {
                let page = bytes.byte()?;
                bytes.known(&Page::ALL, page, NotKnown::Page)?
            },
            referrer: name(bytes)?,
            device: name(bytes)?,
        },
        Kind::AddToCart => Body::AddToCart { quantity: quantity(bytes)? },
        Kind::RemoveFromCart => Body::RemoveFromCart { quantity: quantity(bytes)? },
        Kind::CheckoutStarted => Body::CheckoutStarted,
        Kind::Purchase => Body::Purchase {
            quantity: quantity(bytes)?,
            currency: currency(bytes)?,
            order: Id::take(bytes)?,
            price: bytes.signed()?,
            list_price: bytes.signed()?,
        },
        Kind::Refund => Body::Refund {
            quantity: quantity(bytes)?,
            currency: currency(bytes)?,
            order: Id::take(bytes)?,
            amount: bytes.signed()?,
        },
        Kind::Product => Body::Product { category: name(bytes)?, deleted },
        Kind::User => Body::User { country: name(bytes)?, channel: name(bytes)?, deleted },
        Kind::Inventory => Body::Inventory { on_hand: bytes.signed()?, reserved: bytes.signed()? },
    };
    let event = Event { id, content, warnings, place, time, received, session, user, product, body };
    Some(Kept { event, needed })
}

/// More than the longest row has.
const ROW_BYTES_MOST: usize = 256;

/// One row at work: its bytes join the run at once.
struct RowBytes {
    bytes: [u8; ROW_BYTES_MOST],
    length: usize,
}

impl RowBytes {
    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.bytes[self.length..self.length + N].copy_from_slice(&bytes);
        self.length += N;
    }

    /// Both in as few bytes as they need, without a branch: how many that is, is in a byte before them.
    #[inline]
    fn put_two(&mut self, one: i64, other: i64) {
        let (one, other) = (zigzag(one), zigzag(other));
        let bytes_of = |value: u64| (71 - value.leading_zeros() as usize) / 8;
        let (of_one, of_other) = (bytes_of(one), bytes_of(other));
        self.put([(of_one | of_other << 4) as u8]);
        for (value, bytes) in [(one, of_one), (other, of_other)] {
            self.put(value.to_le_bytes());
            self.length -= 8 - bytes;
        }
    }
}

/// Small distances either way as small numbers.
#[inline]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn of_zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Small distances in few bytes, seven bits each.
#[inline]
fn put_signed(value: i64, bytes: &mut RowBytes) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        bytes.put([rest as u8 | 0x80]);
        rest >>= 7;
    }
    bytes.put([rest as u8]);
}

struct Bytes<'a> {
    left: &'a [u8],
    /// What of the row was not known, where something was.
    unknown: Option<NotKnown>,
}

impl Bytes<'_> {
    fn known<T: Copy>(&mut self, all: &[T], number: u8, unknown: fn(u8) -> NotKnown) -> Option<T> {
        let known = all.get(usize::from(number)).copied();
        if known.is_none() {
            self.unknown = Some(unknown(number));
        }
        known
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.left.split_first_chunk::<N>()?;
        self.left = rest;
        Some(*head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn word(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn two(&mut self) -> Option<(i64, i64)> {
        let lengths = self.byte()?;
        let mut value = |length: u8| {
            let (head, rest) = self.left.split_at_checked(usize::from(length)).filter(|_| length <= 8)?;
            self.left = rest;
            let mut word = [0; 8];
            word[..head.len()].copy_from_slice(head);
            Some(of_zigzag(u64::from_le_bytes(word)))
        };
        Some((value(lengths & 0xf)?, value(lengths >> 4)?))
    }

    fn signed(&mut self) -> Option<i64> {
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(of_zigzag(value));
            }
            shift += 7;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> impl Strategy<Value = Id> {
        prop_oneof![
            Just(Id::NONE),
            (0..4_u64, 0..40_u64).prop_map(|(high, low)| Id { high, low: low << 13 }),
            any::<(u64, u64)>().prop_map(|(high, low)| Id { high, low })
        ]
    }

    fn name() -> impl Strategy<Value = Name> {
        prop_oneof![Just(Name::NONE), (0..40_u64).prop_map(|part| Name(part << 13)), any::<u64>().prop_map(Name)]
    }

    fn body() -> impl Strategy<Value = Body> {
        let currency =
            prop::sample::select(vec!["USD", "JPY", "EUR"]).prop_map(|code| Currency::parse(code).expect("a code"));
        let page = prop::sample::select(Page::ALL.to_vec());
        prop_oneof![
            (page, name(), name()).prop_map(|(page, referrer, device)| Body::PageView { page, referrer, device }),
            any::<i32>().prop_map(|quantity| Body::AddToCart { quantity }),
            any::<i32>().prop_map(|quantity| Body::RemoveFromCart { quantity }),
            Just(Body::CheckoutStarted),
            (any::<i32>(), currency.clone(), id(), any::<i64>(), any::<i64>()).prop_map(
                |(quantity, currency, order, price, list_price)| Body::Purchase {
                    quantity,
                    currency,
                    order,
                    price,
                    list_price
                }
            ),
            (any::<i32>(), currency, id(), any::<i64>()).prop_map(|(quantity, currency, order, amount)| Body::Refund {
                quantity,
                currency,
                order,
                amount
            }),
            (name(), any::<bool>()).prop_map(|(category, deleted)| Body::Product { category, deleted }),
            (name(), name(), any::<bool>()).prop_map(|(country, channel, deleted)| Body::User {
                country,
                channel,
                deleted
            }),
            any::<(i64, i64)>().prop_map(|(on_hand, reserved)| Body::Inventory { on_hand, reserved }),
        ]
    }

    prop_compose! {
        fn kept()(
            id in id(), content in any::<u32>(), warnings in any::<u8>(), place in any::<u64>(),
            time in any::<i64>(), received in prop_oneof![Just(Event::NOT_RECEIVED), any::<i64>()],
            session in id(), user in id(), product in name(), body in body(),
            needed in prop_oneof![Just(31_u8), 1..32_u8],
        ) -> Kept {
            let (warnings, place) = (Warnings::of_bits(warnings), Place::of_bits(place));
            let event = Event { id, content, warnings, place, time, received, session, user, product, body };
            Kept { event, needed: Needed::of_bits(needed).expect("it is below 32") }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(rows in prop::collection::vec(kept(), 0..200), cut in any::<prop::sample::Index>()) {
            let mut writer = RowWriter::default();
            for round in 0..2 {
                rows.iter().for_each(|row| writer.push(&row.event, row.needed));
                prop_assert_eq!(writer.rows(), rows.len() as u64);
                let bytes = writer.finish();
                let mut read = Vec::new();
                prop_assert_eq!(read_rows(&bytes, |row| read.push(row)), Ok(()), "{}", round);
                prop_assert_eq!(&read, &rows);
                // What is cut off is no row; nothing panics.
                if !bytes.is_empty() {
                    let mut rest = 0;
                    let _ = read_rows(&bytes[..cut.index(bytes.len())], |_| rest += 1);
                    prop_assert!(rest <= rows.len());
                }
            }
        }

        /// Content of another version cannot be compared, also after it has been written again by this program.
        #[test]
        fn content_of_another_version_is_not_compared(rows in prop::collection::vec(kept(), 1..20), version in 2..u8::MAX) {
            let mut writer = RowWriter::default();
            rows.iter().for_each(|row| writer.push(&row.event, row.needed));
            let mut bytes = writer.finish();
            prop_assert_eq!(&bytes[..4], [0xff, 0xff, FORMAT, CONTENT_VERSION]);
            bytes[3] = version;
            let mut read = Vec::new();
            prop_assert_eq!(read_rows(&bytes, |row| read.push(row)), Ok(()));
            let other = |row: &Kept| Kept { event: Event { content: Event::OTHER_CONTENT, ..row.event }, ..*row };
            let expected: Vec<Kept> = rows.iter().map(other).collect();
            prop_assert_eq!(&read, &expected);
            read.iter().for_each(|row| writer.push(&row.event, row.needed));
            let mut again = Vec::new();
            prop_assert_eq!(read_rows(&writer.finish(), |row| again.push(row)), Ok(()));
            prop_assert_eq!(&again, &expected);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = read_rows(&bytes, |_| {});
        }
    }

    /// A run of the program before runs had heads, as it lies in a lake of that time.
    #[test]
    fn a_run_without_a_head_is_read_as_it_was_written() {
        const RUNS: [&[u8]; 2] = [
            include_bytes!("../../../tests/lakes/v2/lake/_state/accepted/g000001-w000-000000.rows"),
            include_bytes!("../../../tests/lakes/v2/lake/_state/accepted/g000002-w000-000000.rows"),
        ];
        let (mut rows, mut kinds) = (Vec::new(), std::collections::BTreeSet::new());
        for bytes in RUNS {
            assert!(!bytes.starts_with(&MARK));
            let read = read_rows(bytes, |row| {
                kinds.insert(row.event.kind());
                rows.push(row);
            });
            assert_eq!(read, Ok(()));
        }
        assert!(rows.len() > 300 && kinds.len() == Kind::ALL.len() - 1, "{} rows of {kinds:?}", rows.len());
        let is_comparable = CONTENT_VERSION == CONTENT_VERSION_BEFORE;
        assert!(rows.iter().all(|row| (row.event.content != Event::OTHER_CONTENT) == is_comparable));
        let mut writer = RowWriter::default();
        rows.iter().for_each(|row| writer.push(&row.event, row.needed));
        let mut again = Vec::new();
        assert_eq!(read_rows(&writer.finish(), |row| again.push(row)), Ok(()));
        assert_eq!(again, rows);
    }

    #[test]
    fn what_a_later_program_has_written_is_an_error_that_names_it() {
        let said = |bytes: &[u8]| read_rows(bytes, |_| {}).expect_err("it is not known").to_string();
        assert!(said(&[0xff, 0xff, 9, 1, 0]).contains("format 9"), "{}", said(&[0xff, 0xff, 9, 1, 0]));
        let kind = [&MARK[..], &[FORMAT, CONTENT_VERSION, Kind::ALL.len() as u8, 0]].concat();
        assert!(said(&kind).contains(&format!("kind of event {}", Kind::ALL.len())), "{}", said(&kind));
        let mut writer = RowWriter::default();
        let body = Body::PageView { page: Page::Home, referrer: Name::NONE, device: Name::NONE };
        let event = Event { content: 1, ..Event::empty(body) };
        writer.push(&event, Needed::ALL);
        let mut bytes = writer.finish();
        // Behind it are two slots of names.
        let page = bytes.len() - 5;
        assert_eq!(bytes[page], Page::Home as u8);
        bytes[page] = 77;
        assert!(said(&bytes).contains("page 77"), "{}", said(&bytes));
    }
}
