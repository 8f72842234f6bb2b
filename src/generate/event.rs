//! One event before it is text: numbers for ids, so that a line held back costs a hundred bytes and no allocation.

/// What the shop's own record of an event holds. Two events of one `id` are copies or a conflict.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// Given when the event is handed over for delivery.
    pub id: u64,
    /// UTC microseconds.
    pub time: i64,
    pub session: u64,
    pub user: Option<u32>,
    /// Index into the currencies of the shop.
    pub currency: u8,
    pub body: Body,
}

/// Amounts are minor units of the event's currency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body {
    PageView { page: Page, product: Option<u32>, referrer: Option<&'static str>, device: &'static str },
    AddToCart { product: u32, quantity: i32, unit_price: i64 },
    RemoveFromCart { product: u32, quantity: i32 },
    CheckoutStarted,
    Purchase(Purchase),
    Refund { order: u64, product: u32, quantity: i32, amount: i64, reason: &'static str },
}

/// A sold line; a return line where `quantity` and `price_paid` are negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Purchase {
    pub order: u64,
    pub product: u32,
    pub quantity: i32,
    /// Of the whole line, after discount.
    pub price_paid: i64,
    /// Of one unit, before discount; some tills do not send it.
    pub unit_price: Option<i64>,
    pub discount_code: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    Home,
    Category,
    Search,
    ProductDetail,
    Cart,
    Checkout,
}

impl Page {
    pub fn as_str(self) -> &'static str {
        match self {
            Page::Home => "home",
            Page::Category => "category",
            Page::Search => "search",
            Page::ProductDetail => "product_detail",
            Page::Cart => "cart",
            Page::Checkout => "checkout",
        }
    }
}
