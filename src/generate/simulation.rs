//! The shop's clock: takes the next task off the agenda and does it, until it makes a line.

use super::agenda::{Agenda, Task};
use super::catalogue::Catalogue;
use super::delivery::Delivery;
use super::event::{Body, Event};
use super::line::{LineWriter, User};
use super::market::{CHANNELS, COUNTRIES, Money};
use super::options::{MICROS_PER_DAY, MICROS_PER_SECOND, Options};
use super::random::{Random, mix};
use super::returns::ReturnHabits;
use super::season::Season;
use super::session::{Deed, Intent, Session, Shop};
use super::slab::Slab;
use super::stock::{self, Stock};
use super::tally::Tally;
use super::think::ThinkTimes;
use super::{Class, LineInfo};

/// A product that has moved to another category moves again.
const MOVES_AGAIN_FRACTION: f64 = 0.2;
/// The share of the days in which the late product records come.
const LATE_PRODUCT_PERIOD: f64 = 0.8;
/// Above 1: some users come more often than others.
const USER_SKEW: f64 = 1.7;
/// Sold units a session of a buyer, for the size of the stock.
const UNITS_PER_BUYER: f64 = 2.3;

/// The streams of random numbers, apart so that lines that come late or twice do not change the visits.
const STREAM_SHOP: u64 = 0;
const STREAM_VISITS: u64 = 1;
const STREAM_FAULTS: u64 = 2;
const STREAM_PRODUCTS: u64 = 3;

#[derive(Clone, Debug)]
pub struct Simulation {
    options: Options,
    season: Season,
    /// Stretched microseconds from one visit to the next, and plain ones from one bot to the next.
    visit_gap: f64,
    bot_gap: f64,
    return_habits: ReturnHabits,

    shop: Shop,
    stock: Option<Stock>,
    opening: Opening,
    agenda: Agenda,
    sessions: Slab<Session>,
    returns: Slab<Event>,
    users_known: Vec<u64>,

    random: Random,
    session_ids: u64,
    delivery: Delivery,
}

/// The records before the first event: product by product, its own and the one of its stock.
#[derive(Clone, Debug)]
struct Opening {
    product: u32,
    stock_next: bool,
    late: Vec<bool>,
}

impl Simulation {
    /// `options` have been checked.
    pub fn new(options: Options) -> Simulation {
        let mut shop_random = Random::new(options.seed, STREAM_SHOP);
        let currencies: Vec<Money> = options.currencies.iter().filter_map(|code| Money::of(code)).collect();
        let shop = Shop {
            catalogue: Catalogue::new(&options, &mut shop_random),
            currencies: currencies.clone(),
            think_times: ThinkTimes::new(&mut shop_random),
        };
        let sound_events = options.events as f64 * (1.0 - options.spoiled_fraction());
        let visits = (sound_events * (1.0 - options.bot_fraction) / mean_events(&options)).max(1.0);
        let bots = sound_events * options.bot_fraction / Intent::Bot.mean_events();
        let season = Season { flat: !options.seasonality };
        let units_per_day = visits * options.buy_fraction * UNITS_PER_BUYER / f64::from(options.days);
        let mut random = Random::new(options.seed, STREAM_PRODUCTS);
        let late = (0..options.products).map(|_| random.chance(options.late_product_fraction)).collect();
        let writer = LineWriter::new(currencies, options.products, options.received_at);
        let delivery = Delivery::new(&options, writer, Random::new(options.seed, STREAM_FAULTS));
        let mut simulation = Simulation {
            season,
            visit_gap: season.total(options.start, options.days) / visits,
            bot_gap: options.period_micros() as f64 / bots,
            return_habits: ReturnHabits::new(&options),
            stock: options.inventory.then(|| Stock::new(&shop.catalogue, units_per_day)),
            shop,
            opening: Opening { product: 0, stock_next: false, late },
            agenda: Agenda::default(),
            sessions: Slab::new(),
            returns: Slab::new(),
            users_known: vec![0; options.users as usize / 64 + 1],
            random: Random::new(options.seed, STREAM_VISITS),
            session_ids: 0,
            delivery,
            options,
        };
        simulation.plan_products(&mut random);
        simulation.agenda.add(simulation.options.start, Task::Visit);
        simulation.plan_bot_visit(simulation.options.start);
        simulation
    }

    pub fn tally(&self) -> &Tally {
        &self.delivery.tally
    }

    pub fn sessions_open(&self) -> usize {
        self.sessions.len()
    }

    pub fn next_line(&mut self, out: &mut Vec<u8>) -> Option<LineInfo> {
        let before = out.len();
        let info = self.opening_line(out).or_else(|| self.live_line(out))?;
        self.delivery.tally.count_line(&info, out.len() - before);
        Some(info)
    }

    fn opening_line(&mut self, out: &mut Vec<u8>) -> Option<LineInfo> {
        let start = self.options.start;
        while self.opening.product < self.options.products {
            let product = self.opening.product;
            if !self.opening.stock_next {
                self.opening.stock_next = true;
                if !self.opening.late[product as usize] {
                    return Some(self.product_line(product, created_at(product, start), start, out));
                }
            }
            self.opening.stock_next = false;
            self.opening.product += 1;
            if self.stock.is_some() {
                return self.stock_line(product, start, out);
            }
        }
        None
    }

    fn live_line(&mut self, out: &mut Vec<u8>) -> Option<LineInfo> {
        while !self.delivery.is_done() {
            let (now, task) = self.agenda.next().expect("a visit is always planned");
            // When the lines held back make up the number, nothing new happens.
            let info = match task {
                Task::Release(place) => Some(self.delivery.release(place, now, &mut self.agenda, out)),
                _ if self.delivery.is_full() => None,
                Task::Visit => self.visit(now, out),
                Task::BotVisit => {
                    self.plan_bot_visit(now);
                    self.open_session(Intent::Bot, None, now);
                    None
                }
                Task::Step(place) => self.step(place, now, out),
                Task::Return(place) => {
                    let event = self.returns.remove(place);
                    self.delivery.happen(event, &mut self.agenda, out)
                }
                Task::LateProduct(product) => {
                    Some(self.product_line(product, created_at(product, self.options.start), now, out))
                }
                Task::Recategorise(product) => Some(self.recategorise(product, now, out)),
                Task::LowStock(product) => self.stock_line(product, now, out),
                Task::Restock(product) => {
                    if let Some(stock) = &mut self.stock {
                        stock.deliver(product);
                    }
                    self.stock_line(product, now, out)
                }
            };
            if info.is_some() {
                return info;
            }
        }
        None
    }

    // Visits and sessions.

    fn plan_visit(&mut self, now: i64) {
        let gap = self.visit_gap * self.random.exponential();
        self.agenda.add(self.season.advance(now, gap), Task::Visit);
    }

    /// Bots keep no hours. Where there are few of them, the next would come after the end.
    fn plan_bot_visit(&mut self, now: i64) {
        let gap = self.bot_gap * self.random.exponential();
        if gap < 2.0 * self.options.period_micros() as f64 {
            self.agenda.add(now + gap as i64, Task::BotVisit);
        }
    }

    /// A new visitor; the line is the user's record, where this is the first that is seen of them.
    fn visit(&mut self, now: i64, out: &mut Vec<u8>) -> Option<LineInfo> {
        self.plan_visit(now);
        let intent = Intent::of_visitor(&self.options, &mut self.random);
        let guest = self.random.chance(self.options.guest_fraction);
        let user = (!guest).then(|| {
            let user = self.random.unit().powf(USER_SKEW) * f64::from(self.options.users);
            (user as u32).min(self.options.users - 1)
        });
        self.open_session(intent, user, now);
        user.filter(|&user| self.is_new_user(user)).map(|user| self.user_line(user, now, out))
    }

    fn open_session(&mut self, intent: Intent, user: Option<u32>, now: i64) {
        self.session_ids += 1;
        let id = mix(mix(self.options.seed).wrapping_add(self.session_ids));
        let home = user.map_or(id, |user| mix(u64::from(user)));
        let currency = pick_currency(home, self.shop.currencies.len());
        let session = Session::new(id, intent, user, currency, &self.shop, &mut self.random);
        self.delivery.tally.sessions += 1;
        self.delivery.tally.bot_sessions += u64::from(intent == Intent::Bot);
        let place = self.sessions.insert(session);
        self.agenda.add(now, Task::Step(place));
    }

    fn step(&mut self, place: u32, now: i64, out: &mut Vec<u8>) -> Option<LineInfo> {
        let session = self.sessions.get_mut(place);
        let Deed { user, body, next_in_micros, order_lines } = session.act(&self.shop, &mut self.random);
        let (session_id, currency) = (session.id, session.currency);
        match next_in_micros {
            Some(micros) => self.agenda.add(now + micros, Task::Step(place)),
            None => drop(self.sessions.remove(place)),
        }
        if let Some(lines) = order_lines {
            self.delivery.tally.orders_by_lines[usize::from(lines) - 1] += 1;
        }
        let event = Event { id: 0, time: now, session: session_id, user, currency, body };
        if let Body::Purchase(line) = &event.body {
            if let Some(returned) = self.return_habits.plan(&event, line, &mut self.random) {
                let place = self.returns.insert(returned);
                self.agenda.add(returned.time, Task::Return(place));
            }
            let delivery = self.stock.as_mut().and_then(|stock| stock.sell(line.product, line.quantity, now));
            if let Some(delivery) = delivery {
                self.agenda.add(now, Task::LowStock(line.product));
                self.agenda.add(delivery, Task::Restock(line.product));
            }
        }
        self.delivery.happen(event, &mut self.agenda, out)
    }

    // Dimension records.

    fn plan_products(&mut self, random: &mut Random) {
        let (start, period) = (self.options.start, self.options.period_micros());
        let late_period = (period as f64 * LATE_PRODUCT_PERIOD) as i64;
        for product in 0..self.options.products {
            if self.opening.late[product as usize] {
                self.agenda.add(start + random.between(1, late_period), Task::LateProduct(product));
            } else if random.chance(self.options.recategorised_fraction) {
                self.agenda.add(start + random.between(1, period), Task::Recategorise(product));
            }
        }
    }

    fn recategorise(&mut self, product: u32, now: i64, out: &mut Vec<u8>) -> LineInfo {
        self.shop.catalogue.recategorise(product, &mut self.random);
        if self.random.chance(MOVES_AGAIN_FRACTION) {
            let end = self.options.start + self.options.period_micros();
            self.agenda.add(self.random.between(now + 1, end), Task::Recategorise(product));
        }
        self.product_line(product, now, now, out)
    }

    fn product_line(&mut self, product: u32, updated_at: i64, now: i64, out: &mut Vec<u8>) -> LineInfo {
        self.delivery.writer.product(product, &self.shop.catalogue.products[product as usize], updated_at, out);
        dimension_info(product, updated_at, now)
    }

    fn stock_line(&mut self, product: u32, now: i64, out: &mut Vec<u8>) -> Option<LineInfo> {
        let on_hand = self.stock.as_ref()?.on_hand(product);
        self.delivery.writer.inventory(product, on_hand, stock::lead_time_days(product), now, out);
        Some(dimension_info(product, now, now))
    }

    /// Whether the user has not been seen before; now they have.
    fn is_new_user(&mut self, user: u32) -> bool {
        let (word, bit) = (&mut self.users_known[user as usize / 64], 1 << (user % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn user_line(&mut self, number: u32, now: i64, out: &mut Vec<u8>) -> LineInfo {
        let hash = mix(u64::from(number) ^ self.options.seed);
        let signed_up_now = hash >> 62 == 0;
        let user = User {
            country: COUNTRIES[(hash % COUNTRIES.len() as u64) as usize],
            channel: CHANNELS[((hash >> 16) % CHANNELS.len() as u64) as usize],
            signup_time: if signed_up_now { now } else { created_at(number, self.options.start) },
        };
        self.delivery.writer.user(number, &user, now, out);
        dimension_info(number, now, now)
    }
}

/// Events a session of the visitors' mix, on average.
fn mean_events(options: &Options) -> f64 {
    let browse_fraction = 1.0 - options.bounce_fraction - options.compare_fraction - options.buy_fraction;
    options.bounce_fraction * Intent::Bounce.mean_events()
        + options.compare_fraction * Intent::Compare.mean_events()
        + options.buy_fraction * Intent::Buy.mean_events()
        + browse_fraction * Intent::Browse.mean_events()
}

/// The first currency for half of the visitors, the others evenly for the rest.
fn pick_currency(home: u64, currencies: usize) -> u8 {
    let others = currencies as u64 - 1;
    if others == 0 || home & 1 == 0 { 0 } else { (1 + (home >> 1) % others) as u8 }
}

/// When a product or user was first known: within the year before the start, as far as time goes back.
fn created_at(number: u32, start: i64) -> i64 {
    const SECONDS_PER_YEAR: u64 = 365 * 86_400;
    let seconds_ago = mix(!u64::from(number)) % SECONDS_PER_YEAR;
    (start - MICROS_PER_DAY - seconds_ago as i64 * MICROS_PER_SECOND).max(0)
}

fn dimension_info(number: u32, time: i64, arrival: i64) -> LineInfo {
    LineInfo { time, arrival, partition_key: mix(u64::from(number) + 1), dimension: true, class: Class::Fresh }
}
