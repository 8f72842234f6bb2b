//! The event as the dataflow sees it: hashed ids, integers, no text, a fixed size.

use crate::{Cents, Currency, Id, Name, Warnings};
use serde::{Deserialize, Serialize};

/// Where a record was read: an ordinal of its partition (all sources together) and the offset in it.
///
/// Ordered by partition, then offset; this order decides between two records that claim one `event_id` in one
/// epoch, and between two versions of a dimension with one `updated_at`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place(u64);

impl Place {
    const OFFSET_BITS: u32 = 48;

    /// `partition` is the ordinal in the engine's partition table; `offset` is below 2⁴⁸.
    pub fn new(partition: u16, offset: u64) -> Place {
        debug_assert!(offset < 1 << Self::OFFSET_BITS, "an offset is below 2^48");
        Place(u64::from(partition) << Self::OFFSET_BITS | offset)
    }

    /// Partition and offset in one integer, in the order of places.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The inverse of [`Place::bits`].
    pub fn of_bits(bits: u64) -> Place {
        Place(bits)
    }

    pub fn partition(self) -> u16 {
        (self.0 >> Self::OFFSET_BITS) as u16
    }

    pub fn offset(self) -> u64 {
        self.0 & ((1 << Self::OFFSET_BITS) - 1)
    }
}

/// What happened. The names are those of the field `event_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Kind {
    PageView,
    AddToCart,
    RemoveFromCart,
    CheckoutStarted,
    Purchase,
    Refund,
    Product,
    User,
    Inventory,
}

impl Kind {
    pub const ALL: [Kind; 9] = [
        Kind::PageView,
        Kind::AddToCart,
        Kind::RemoveFromCart,
        Kind::CheckoutStarted,
        Kind::Purchase,
        Kind::Refund,
        Kind::Product,
        Kind::User,
        Kind::Inventory,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::PageView => "page_view",
            Kind::AddToCart => "add_to_cart",
            Kind::RemoveFromCart => "remove_from_cart",
            Kind::CheckoutStarted => "checkout_started",
            Kind::Purchase => "purchase",
            Kind::Refund => "refund",
            Kind::Product => "product",
            Kind::User => "user",
            Kind::Inventory => "inventory",
        }
    }

    pub fn parse(text: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether the record describes a product, a user or a stock rather than something that happened.
    pub fn is_dimension(self) -> bool {
        match self {
            Kind::Product | Kind::User | Kind::Inventory => true,
            Kind::PageView
            | Kind::AddToCart
            | Kind::RemoveFromCart
            | Kind::CheckoutStarted
            | Kind::Purchase
            | Kind::Refund => false,
        }
    }
}

/// The page of a page view. An unknown `page_type` is [`Page::Other`], with a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Page {
    Home,
    Category,
    ProductDetail,
    Cart,
    Checkout,
    Search,
    Other,
}

impl Page {
    pub const ALL: [Page; 7] =
        [Page::Home, Page::Category, Page::ProductDetail, Page::Cart, Page::Checkout, Page::Search, Page::Other];

    pub fn as_str(self) -> &'static str {
        match self {
            Page::Home => "home",
            Page::Category => "category",
            Page::ProductDetail => "product_detail",
            Page::Cart => "cart",
            Page::Checkout => "checkout",
            Page::Search => "search",
            Page::Other => "other",
        }
    }

    /// `product` is an alias of `product_detail`; `None` where the name is not a known page.
    pub fn parse(text: &str) -> Option<Page> {
        if text == "product" {
            return Some(Page::ProductDetail);
        }
        Page::ALL.into_iter().find(|page| page.as_str() == text)
    }
}

/// A valid record in the form that workers exchange. 128 bytes, no text.
///
/// `product` is [`Name::NONE`] and `session`, `user` are [`Id::NONE`] where the record has none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The hash of `event_id`; of the whole content for a dimension record.
    pub id: Id,
    /// A hash of every field's value: two records of one id with one content are duplicates. See [`Event::same_content`].
    pub content: u32,
    pub warnings: Warnings,
    pub place: Place,
    /// `event_time` (`updated_at` of a dimension), UTC microseconds.
    pub time: i64,
    /// `received_at`, UTC microseconds; [`Event::NOT_RECEIVED`] where it is not known.
    pub received: i64,
    pub session: Id,
    pub user: Id,
    pub product: Name,
    pub body: Body,
}

/// What only some kinds of event have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    PageView {
        page: Page,
        referrer: Name,
        device: Name,
    },
    AddToCart {
        quantity: i32,
    },
    RemoveFromCart {
        quantity: i32,
    },
    CheckoutStarted,
    /// `price` is the line's total. `list_price` is `unit_price × quantity` where the event carries a unit price,
    /// `price` otherwise. A negative `quantity` is a return of that many units and of `-price`.
    Purchase {
        quantity: i32,
        currency: Currency,
        order: Id,
        price: Cents,
        list_price: Cents,
    },
    /// One without a product is of the whole order, and of no units.
    Refund {
        quantity: i32,
        currency: Currency,
        order: Id,
        amount: Cents,
    },
    /// A version of a product. `category` is [`Name::NONE`] where it has none.
    Product {
        category: Name,
        deleted: bool,
    },
    User {
        country: Name,
        channel: Name,
        deleted: bool,
    },
    Inventory {
        on_hand: i64,
        reserved: i64,
    },
}

impl Event {
    /// `received` of a record whose transport has no clock.
    pub const NOT_RECEIVED: i64 = i64::MIN;

    /// `content` of a record that a program has hashed which does it otherwise.
    pub const OTHER_CONTENT: u32 = 0;

    /// An event of which nothing is known but its body: it has no ids, and is from the first place at the beginning of 1970.
    pub fn empty(body: Body) -> Event {
        Event {
            id: Id::NONE,
            content: Event::OTHER_CONTENT,
            warnings: Warnings::default(),
            place: Place::new(0, 0),
            time: 0,
            received: Event::NOT_RECEIVED,
            session: Id::NONE,
            user: Id::NONE,
            product: Name::NONE,
            body,
        }
    }

    /// Whether two records of one id are copies. One whose content cannot be compared is taken for a copy: it is the same id, and to
    /// reject it would be to reject what most likely is a retry across an upgrade.
    pub fn same_content(one: u32, other: u32) -> bool {
        one == other || one == Event::OTHER_CONTENT || other == Event::OTHER_CONTENT
    }

    /// The instant that the quality of the source is booked on: `received_at`, or else the event's own time.
    pub fn booked_at(&self) -> i64 {
        if self.received == Event::NOT_RECEIVED { self.time } else { self.received }
    }

    /// The names that it carries.
    pub fn names(&self) -> impl Iterator<Item = Name> {
        let of_body = match self.body {
            Body::PageView { referrer, device, .. } => [referrer, device],
            Body::Product { category, .. } => [category, Name::NONE],
            Body::User { country, channel, .. } => [country, channel],
            Body::AddToCart { .. }
            | Body::RemoveFromCart { .. }
            | Body::CheckoutStarted
            | Body::Purchase { .. }
            | Body::Refund { .. }
            | Body::Inventory { .. } => [Name::NONE; 2],
        };
        [self.product].into_iter().chain(of_body).filter(|name| !name.is_none())
    }

    pub fn kind(&self) -> Kind {
        match self.body {
            Body::PageView { .. } => Kind::PageView,
            Body::AddToCart { .. } => Kind::AddToCart,
            Body::RemoveFromCart { .. } => Kind::RemoveFromCart,
            Body::CheckoutStarted => Kind::CheckoutStarted,
            Body::Purchase { .. } => Kind::Purchase,
            Body::Refund { .. } => Kind::Refund,
            Body::Product { .. } => Kind::Product,
            Body::User { .. } => Kind::User,
            Body::Inventory { .. } => Kind::Inventory,
        }
    }
}

// Two cache lines.
const _: () = assert!(size_of::<Event>() == 128);
