//! One visit: a walk over the pages of the shop that its intent steers.
//!
//! ```text
//!          ┌──────────────┬───────────┐
//!   ──▶ home ◀──▶ category ◀──▶ search │   a weighted walk while pages are left
//!          └──────▶ product_detail ◀───┘
//!                        │ add_to_cart (back to the walk until the cart holds what was wanted)
//!                        ▼
//!     cart ─(remove_from_cart)─▶ checkout_started ─(checkout)─▶ purchase × lines
//! ```
//!
//! A *bounce* sees a page or two, *browse* and *compare* mostly leave (some with a full cart), *buy* always buys, and a
//! *bot* reads category and product pages until it has had enough.

use super::catalogue::Catalogue;
use super::event::{Body, Page, Purchase};
use super::market::{DEVICE_WEIGHTS, DEVICES, DISCOUNTS, Money, REFERRER_WEIGHTS, REFERRERS};
use super::options::{MICROS_PER_SECOND, Options};
use super::random::{Random, mix};
use super::think::ThinkTimes;

pub const CART_LINES_MAX: usize = 5;
/// One line to five: 35 % of the orders have several.
const LINES_WANTED_WEIGHTS: [u8; CART_LINES_MAX] = [64, 17, 9, 6, 4];
/// One unit to ten.
const QUANTITY_WEIGHTS: [u8; 10] = [200, 33, 10, 5, 2, 2, 1, 0, 0, 1];
/// Pages of an intent: at least, and the mean of the exponential that is added.
const PAGES_BROWSE: (u16, f64) = (3, 5.9);
const PAGES_COMPARE: (u16, f64) = (4, 7.0);
/// A buyer who has still not found what was wanted goes to the checkout with what there is.
const PAGES_BUY: u16 = 80;
pub const PAGES_BOT: (f64, f64) = (300.0, 5_000.0);
const ORDER_SALT: u64 = 0x6f72_6465_7273;

const DISCOUNT_FRACTION: f64 = 0.18;
const UNIT_PRICE_FRACTION: f64 = 0.9;
const SIGN_IN_LATE_FRACTION: f64 = 0.2;
const CHECKOUT_PAGE_FRACTION: f64 = 0.5;
const REMOVE_FRACTION: f64 = 0.06;
/// Of those who do not mean to buy but have something in the cart.
const LOOK_AT_CART_FRACTION: f64 = 0.5;
const START_CHECKOUT_FRACTION: f64 = 0.3;

/// From home, category, search and product_detail, by row, to the same four and `add_to_cart`, by column.
type Walk = [[u8; 5]; 4];
const WALK_BROWSE: Walk = [[0, 40, 20, 40, 0], [5, 15, 10, 70, 0], [3, 12, 20, 65, 0], [10, 27, 13, 46, 4]];
const WALK_COMPARE: Walk = [[0, 30, 30, 40, 0], [2, 10, 8, 80, 0], [2, 8, 15, 75, 0], [3, 14, 8, 65, 10]];
const WALK_BUY: Walk = [[0, 35, 30, 35, 0], [0, 8, 5, 87, 0], [0, 5, 8, 87, 0], [1, 10, 9, 25, 55]];
const WALK_BOT: Walk = [[0, 100, 0, 0, 0], [0, 20, 0, 80, 0], [0, 20, 0, 80, 0], [0, 15, 0, 85, 0]];
const LANDING_WEIGHTS: [u8; 4] = [42, 18, 12, 28];
const PAGES: [Page; 4] = [Page::Home, Page::Category, Page::Search, Page::ProductDetail];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    Bounce,
    Browse,
    Compare,
    Buy,
    Bot,
}

impl Intent {
    pub fn of_visitor(options: &Options, random: &mut Random) -> Intent {
        let draw = random.unit();
        let bounces = options.bounce_fraction;
        let compares = bounces + options.compare_fraction;
        match draw {
            _ if draw < bounces => Intent::Bounce,
            _ if draw < compares => Intent::Compare,
            _ if draw < compares + options.buy_fraction => Intent::Buy,
            _ => Intent::Browse,
        }
    }

    /// Events of a session on average, as measured; a test holds them to it.
    pub const fn mean_events(self) -> f64 {
        match self {
            Intent::Bounce => 1.2,
            Intent::Browse => 8.66,
            Intent::Compare => 11.34,
            Intent::Buy => 11.86,
            Intent::Bot => 1_670.0,
        }
    }

    fn pages(self, random: &mut Random) -> u16 {
        match self {
            Intent::Bounce => 1 + u16::from(random.chance(0.2)),
            Intent::Browse => PAGES_BROWSE.0 + (random.exponential() * PAGES_BROWSE.1) as u16,
            Intent::Compare => PAGES_COMPARE.0 + (random.exponential() * PAGES_COMPARE.1) as u16,
            Intent::Buy => PAGES_BUY,
            Intent::Bot => random.log_uniform(PAGES_BOT.0, PAGES_BOT.1) as u16,
        }
    }

    fn walk(self) -> &'static Walk {
        match self {
            Intent::Bounce | Intent::Browse => &WALK_BROWSE,
            Intent::Compare => &WALK_COMPARE,
            Intent::Buy => &WALK_BUY,
            Intent::Bot => &WALK_BOT,
        }
    }
}

/// What all sessions share.
#[derive(Clone, Debug)]
pub struct Shop {
    pub catalogue: Catalogue,
    pub currencies: Vec<Money>,
    pub think_times: ThinkTimes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Index into [`PAGES`].
    Page(u8),
    AddToCart,
    CartPage,
    RemoveFromCart,
    StartCheckout,
    CheckoutPage,
    /// Index into the cart.
    Buy(u8),
}

#[derive(Clone, Copy, Debug, Default)]
struct CartLine {
    product: u32,
    quantity: i32,
}

#[derive(Clone, Debug)]
pub struct Session {
    pub id: u64,
    intent: Intent,
    user: Option<u32>,
    /// Until then, the visitor is a guest to the shop.
    signed_in: bool,
    pub currency: u8,
    device: &'static str,
    referrer: Option<&'static str>,
    /// What comes next.
    step: Step,
    pages_left: u16,
    /// The product seen last; what is looked at next depends on it.
    product: u32,
    lines_wanted: u8,
    cart: [CartLine; CART_LINES_MAX],
    cart_lines: u8,
}

/// What a session did, and when it will do the next thing.
#[derive(Clone, Copy, Debug)]
pub struct Deed {
    pub user: Option<u32>,
    pub body: Body,
    /// The session's end, without.
    pub next_in_micros: Option<i64>,
    /// The number of lines of the order that began.
    pub order_lines: Option<u8>,
}

impl Session {
    pub fn new(id: u64, intent: Intent, user: Option<u32>, currency: u8, shop: &Shop, random: &mut Random) -> Session {
        let human = intent != Intent::Bot;
        Session {
            id,
            intent,
            user,
            signed_in: !random.chance(SIGN_IN_LATE_FRACTION),
            currency,
            device: if human { DEVICES[random.weighted(&DEVICE_WEIGHTS)] } else { "desktop" },
            referrer: if human { REFERRERS[random.weighted(&REFERRER_WEIGHTS)] } else { None },
            step: Step::Page(random.weighted(&LANDING_WEIGHTS) as u8),
            pages_left: intent.pages(random),
            product: shop.catalogue.any(random),
            lines_wanted: 1 + random.weighted(&LINES_WANTED_WEIGHTS) as u8,
            cart: [CartLine::default(); CART_LINES_MAX],
            cart_lines: 0,
        }
    }

    /// Takes the step that is due.
    pub fn act(&mut self, shop: &Shop, random: &mut Random) -> Deed {
        let step = self.step;
        let body = self.body(step, shop, random);
        let user = self.user.filter(|_| self.signed_in);
        let order_lines = (step == Step::Buy(0)).then_some(self.cart_lines);
        let next = self.next(step, random);
        if let Some(next) = next {
            self.step = next;
        }
        let next_in_micros = next.map(|next| match (self.intent, next) {
            // The lines of an order are sold at one instant.
            (_, Step::Buy(line)) if line > 0 => 0,
            (Intent::Bot, _) => random.between(MICROS_PER_SECOND / 5, 2 * MICROS_PER_SECOND),
            _ => shop.think_times.draw(random),
        });
        Deed { user, body, next_in_micros, order_lines }
    }

    fn body(&mut self, step: Step, shop: &Shop, random: &mut Random) -> Body {
        match step {
            Step::Page(page) => {
                let page = PAGES[usize::from(page)];
                self.pages_left = self.pages_left.saturating_sub(1);
                if page != Page::ProductDetail {
                    return self.page_view(page, None);
                }
                self.product = self.look_at(&shop.catalogue, random);
                self.page_view(page, Some(self.product))
            }
            Step::AddToCart => {
                let line = CartLine { product: self.product, quantity: 1 + random.weighted(&QUANTITY_WEIGHTS) as i32 };
                self.cart[usize::from(self.cart_lines)] = line;
                self.cart_lines += 1;
                let unit_price = self.unit_price(shop, line.product);
                Body::AddToCart { product: line.product, quantity: line.quantity, unit_price }
            }
            Step::CartPage => self.page_view(Page::Cart, None),
            Step::RemoveFromCart => {
                self.cart_lines -= 1;
                let CartLine { product, quantity } = self.cart[usize::from(self.cart_lines)];
                Body::RemoveFromCart { product, quantity }
            }
            Step::StartCheckout => {
                self.signed_in = true;
                Body::CheckoutStarted
            }
            Step::CheckoutPage => self.page_view(Page::Checkout, None),
            Step::Buy(line) => self.purchase(self.cart[usize::from(line)], shop),
        }
    }

    fn page_view(&self, page: Page, product: Option<u32>) -> Body {
        Body::PageView { page, product, referrer: self.referrer, device: self.device }
    }

    fn look_at(&self, catalogue: &Catalogue, random: &mut Random) -> u32 {
        match random.weighted(&[58, 14, 28]) {
            0 => catalogue.beside(self.product, random),
            1 => catalogue.companion(self.product),
            _ => catalogue.any(random),
        }
    }

    fn purchase(&self, line: CartLine, shop: &Shop) -> Body {
        let order = mix(self.id ^ ORDER_SALT);
        // Decided by the order's number, so that its lines agree.
        let habit = Random::new(order, 0).unit();
        let discount = (habit < DISCOUNT_FRACTION).then(|| DISCOUNTS[(order % DISCOUNTS.len() as u64) as usize]);
        let unit_price = self.unit_price(shop, line.product);
        let listed = unit_price * i64::from(line.quantity);
        Body::Purchase(Purchase {
            order,
            product: line.product,
            quantity: line.quantity,
            price_paid: discount.map_or(listed, |(_, percent)| listed - listed * percent / 100),
            unit_price: (habit < UNIT_PRICE_FRACTION).then_some(unit_price),
            discount_code: discount.map(|(code, _)| code),
        })
    }

    fn unit_price(&self, shop: &Shop, product: u32) -> i64 {
        shop.currencies[usize::from(self.currency)].convert(shop.catalogue.products[product as usize].price)
    }

    fn next(&self, step: Step, random: &mut Random) -> Option<Step> {
        let buys = self.intent == Intent::Buy;
        let pay = buys.then_some(Step::Buy(0));
        match step {
            Step::AddToCart if buys && self.cart_lines == self.lines_wanted => Some(Step::CartPage),
            Step::Page(_) | Step::AddToCart if self.pages_left == 0 => {
                let to_cart = self.cart_lines > 0 && (buys || random.chance(LOOK_AT_CART_FRACTION));
                to_cart.then_some(Step::CartPage)
            }
            Step::Page(page) => Some(self.wander(page, random)),
            Step::AddToCart => Some(self.wander(3, random)),
            Step::CartPage if self.cart_lines > 1 && random.chance(REMOVE_FRACTION) => Some(Step::RemoveFromCart),
            Step::CartPage | Step::RemoveFromCart => {
                (buys || random.chance(START_CHECKOUT_FRACTION)).then_some(Step::StartCheckout)
            }
            Step::StartCheckout if random.chance(CHECKOUT_PAGE_FRACTION) => Some(Step::CheckoutPage),
            Step::StartCheckout | Step::CheckoutPage => pay,
            Step::Buy(line) => (line + 1 < self.cart_lines).then_some(Step::Buy(line + 1)),
        }
    }

    fn wander(&self, page: u8, random: &mut Random) -> Step {
        let choices = &self.intent.walk()[usize::from(page)];
        let cart = &self.cart[..usize::from(self.cart_lines)];
        let can_add = self.cart_lines < self.lines_wanted && cart.iter().all(|line| line.product != self.product);
        let choices = if can_add { &choices[..] } else { &choices[..PAGES.len()] };
        match random.weighted(choices) {
            page if page < PAGES.len() => Step::Page(page as u8),
            _ => Step::AddToCart,
        }
    }
}
