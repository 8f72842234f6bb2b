//! The fields that a record may have by name, and the way from a key to its field.
//!
//! A key is looked up by its first eight bytes through a multiplicative hash without collisions, found when the
//! crate is compiled; then it must be the key of that slot. No known key is longer than 16 bytes.

use crate::Kind;
use crate::short::Short;

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
        let key = Short::of(key)?;
        let (known, field) = SLOTS.of[slot_of(key, SLOTS.multiplier)];
        (known == key).then_some(field)
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

const SLOT_BITS: u32 = 7;

struct Slots {
    multiplier: u64,
    of: [(Short, Field); 1 << SLOT_BITS],
}

#[inline]
const fn slot_of(key: Short, multiplier: u64) -> usize {
    (key.first.wrapping_mul(multiplier) >> (u64::BITS - SLOT_BITS)) as usize
}

/// Tries multipliers until no two known keys share a slot.
static SLOTS: Slots = {
    let mut multiplier: u64 = 0x9e37_79b9_7f4a_7c15;
    loop {
        let mut of = [(Short::NONE, Field::EventId); 1 << SLOT_BITS];
        let mut used: u128 = 0;
        let mut at = 0;
        while at < Field::COUNT {
            let key = Short::of(Field::NAMES[at].as_bytes()).expect("a known key has 1 to 16 bytes");
            let slot = slot_of(key, multiplier);
            if used >> slot & 1 == 1 {
                break;
            }
            used |= 1 << slot;
            of[slot] = (key, Field::ALL[at]);
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
