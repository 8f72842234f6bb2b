//! The fields that a record may have by name, and the way from a key to its field.
//!
//! A key is looked up by its first eight bytes through a multiplicative hash without collisions, found when the
//! crate is compiled; then its length and last eight bytes must be the field's. No known key is longer than 16.

use crate::Kind;

macro_rules! fields {
    ($($field:ident = $name:literal,)*) => {
        /// A field with a meaning. The order is the one in which leftover fields are looked at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Field { $($field,)* }

        impl Field {
            pub const ALL: &[Field] = &[$(Field::$field,)*];
            const NAMES: [&'static str; Field::COUNT] = [$($name,)*];
        }
    };
}

fields! {
    EventId = "event_id",
    EventType = "event_type",
    EventTime = "event_time",
    ReceivedAt = "received_at",
    SessionId = "session_id",
    UserId = "user_id",
    ProductId = "product_id",
    OrderId = "order_id",
    PageType = "page_type",
    Referrer = "referrer",
    Device = "device",
    Quantity = "quantity",
    PricePaid = "price_paid",
    Amount = "amount",
    UnitPrice = "unit_price",
    Currency = "currency",
    DiscountCode = "discount_code",
    Reason = "reason",
    UpdatedAt = "updated_at",
    Name = "name",
    Category = "category",
    Brand = "brand",
    Price = "price",
    Cost = "cost",
    Country = "country",
    Channel = "channel",
    SignupTime = "signup_time",
    OnHand = "on_hand",
    Reserved = "reserved",
    LeadTimeDays = "lead_time_days",
    Deleted = "deleted",
}

impl Field {
    pub const COUNT: usize = Field::ALL.len();

    pub fn name(self) -> &'static str {
        Field::NAMES[self as usize]
    }

    pub const fn bit(self) -> u32 {
        1 << self as u8
    }

    #[inline]
    pub fn of_key(key: &[u8]) -> Option<Field> {
        let (first, last) = ends(key)?;
        let slot = SLOTS.of[hash(first, SLOTS.multiplier)];
        let known = &KEYS[slot as usize];
        (known.first == first && known.last == last && known.length == key.len()).then_some(known.field)
    }
}

/// The fields that belong to a kind, as a set of [`Field::bit`]s; the rest is left over.
pub const fn fields_of(kind: Kind) -> u32 {
    use Field::*;
    let list: &[Field] = match kind {
        Kind::PageView => &[EventId, EventTime, SessionId, PageType, UserId, ProductId, Referrer, Device],
        Kind::AddToCart | Kind::RemoveFromCart => {
            &[EventId, EventTime, SessionId, ProductId, Quantity, UserId, UnitPrice]
        }
        Kind::CheckoutStarted => &[EventId, EventTime, SessionId, UserId],
        Kind::Purchase => &[
            EventId,
            EventTime,
            SessionId,
            OrderId,
            ProductId,
            Quantity,
            PricePaid,
            UserId,
            DiscountCode,
            UnitPrice,
            Currency,
        ],
        Kind::Refund => &[EventId, EventTime, OrderId, ProductId, Quantity, Amount, UserId, Reason, Currency],
        Kind::Product => &[ProductId, UpdatedAt, Name, Category, Brand, Price, Cost, Deleted],
        Kind::User => &[UserId, UpdatedAt, Country, SignupTime, Channel, Deleted],
        Kind::Inventory => &[ProductId, UpdatedAt, OnHand, Reserved, LeadTimeDays],
    };
    let mut set = EventType.bit() | ReceivedAt.bit();
    let mut at = 0;
    while at < list.len() {
        set |= list[at].bit();
        at += 1;
    }
    set
}

const WORD: usize = 8;
const SHORTEST: usize = 4;
const LONGEST: usize = 2 * WORD;

/// The first and the last eight bytes, little-endian; for a key shorter than that, all of it, twice.
#[inline]
const fn ends(key: &[u8]) -> Option<(u64, u64)> {
    let length = key.len();
    if length < SHORTEST || length > LONGEST {
        return None;
    }
    if length < WORD {
        let (Some(head), Some(tail)) = (key.first_chunk(), key.last_chunk()) else { return None };
        // The two halves overlap; where they do, they agree.
        let (head, tail) = (u32::from_le_bytes(*head) as u64, u32::from_le_bytes(*tail) as u64);
        let whole = head | tail << (8 * (length - SHORTEST));
        return Some((whole, whole));
    }
    match (key.first_chunk(), key.last_chunk()) {
        (Some(head), Some(tail)) => Some((u64::from_le_bytes(*head), u64::from_le_bytes(*tail))),
        _ => None,
    }
}

struct Key {
    first: u64,
    last: u64,
    length: usize,
    field: Field,
}

/// What each known key must look like; `KEYS[field]`.
static KEYS: [Key; Field::COUNT] = {
    let mut keys = [const { Key { first: 0, last: 0, length: 0, field: Field::EventId } }; Field::COUNT];
    let mut at = 0;
    while at < Field::COUNT {
        let (first, last) = ends(Field::NAMES[at].as_bytes()).expect("a known key has 4 to 16 bytes");
        keys[at] = Key { first, last, length: Field::NAMES[at].len(), field: Field::ALL[at] };
        at += 1;
    }
    keys
};

const SLOT_BITS: u32 = 7;

struct Slots {
    multiplier: u64,
    of: [u8; 1 << SLOT_BITS],
}

#[inline]
const fn hash(first: u64, multiplier: u64) -> usize {
    (first.wrapping_mul(multiplier) >> (u64::BITS - SLOT_BITS)) as usize
}

/// Tries multipliers until no two known keys share a slot. An empty slot leads to field 0, which then differs.
static SLOTS: Slots = {
    let mut multiplier: u64 = 0x9e37_79b9_7f4a_7c15;
    loop {
        let mut of = [0; 1 << SLOT_BITS];
        let mut used: u128 = 0;
        let mut at = 0;
        while at < Field::COUNT {
            let (first, _) = ends(Field::NAMES[at].as_bytes()).expect("a known key has 4 to 16 bytes");
            let slot = hash(first, multiplier);
            if used >> slot & 1 == 1 {
                break;
            }
            used |= 1 << slot;
            of[slot] = at as u8;
            at += 1;
        }
        if at == Field::COUNT {
            break Slots { multiplier, of };
        }
        multiplier = multiplier.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(2) | 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_known_keys_are_known() {
        for &field in Field::ALL {
            let name = field.name().as_bytes();
            assert_eq!(Field::of_key(name), Some(field));
            assert_eq!(Field::of_key(&[name, b"x"].concat()), None);
            assert_eq!(Field::of_key(&[name, b"\0"].concat()), None);
            assert_eq!(Field::of_key(&[b"x", name].concat()), None);
            assert_eq!(Field::of_key(&name[1..]), None);
            for at in 0..name.len() {
                let mut other = name.to_vec();
                other[at] ^= 0x20;
                assert_eq!(Field::of_key(&other), None, "{other:?}");
            }
        }
        assert_eq!(Field::of_key(b""), None);
    }
}
