//! A valid record with its texts, borrowed from the line or owned.

use crate::decode::content_of;
use crate::{Body, Cents, Collision, Currency, Event, Id, Kind, Name, NameCache, Page, Place, Warnings};
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Of what [`Event::content`] and the ids of dimension records are hashes. Those of another version cannot be compared.
pub const CONTENT_VERSION: u8 = 1;

/// A valid record. Absent texts are empty (an empty text in the input counts as absent).
///
/// Fields that its kind does not have are at their defaults; a known field that does not belong to the kind is
/// kept in `extra` like an unknown one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record<'a> {
    pub kind: Kind,
    pub event_id: &'a str,
    /// `event_time`, or `updated_at` of a dimension record; UTC microseconds.
    pub time: i64,
    /// UTC microseconds. Not part of the content.
    pub received_at: Option<i64>,
    pub session_id: &'a str,
    pub user_id: &'a str,
    /// Empty for a refund of a whole order, and where a page view names none.
    pub product_id: &'a str,
    pub order_id: &'a str,
    pub page: Page,
    pub referrer: &'a str,
    pub device: &'a str,
    pub quantity: i32,
    /// `price_paid` of a purchase (of a return line, with a negative quantity, 0 or below; else 0 or above), `amount` of a
    /// refund (0 or above); 0 otherwise.
    pub amount: Cents,
    pub unit_price: Option<Cents>,
    /// The default currency where the record names none.
    pub currency: Currency,
    pub discount_code: &'a str,
    pub reason: &'a str,
    /// Product.
    pub name: &'a str,
    pub category: &'a str,
    pub brand: &'a str,
    pub price: Option<Cents>,
    pub cost: Option<Cents>,
    /// User.
    pub country: &'a str,
    pub channel: &'a str,
    pub signup_time: Option<i64>,
    /// Inventory.
    pub on_hand: i64,
    pub reserved: Option<i64>,
    pub lead_time_days: Option<i64>,
    /// A dimension record that takes its key out of the shop.
    pub deleted: bool,
    pub warnings: Warnings,
    /// The unknown fields as one JSON object, keys in byte order, values as they stood; empty where there are none.
    pub extra: &'a str,
}

impl<'a> Record<'a> {
    /// A record of a kind with every field absent.
    pub fn empty(kind: Kind, currency: Currency) -> Record<'a> {
        Record {
            kind,
            event_id: "",
            time: 0,
            received_at: None,
            session_id: "",
            user_id: "",
            product_id: "",
            order_id: "",
            page: Page::Other,
            referrer: "",
            device: "",
            quantity: 0,
            amount: 0,
            unit_price: None,
            currency,
            discount_code: "",
            reason: "",
            name: "",
            category: "",
            brand: "",
            price: None,
            cost: None,
            country: "",
            channel: "",
            signup_time: None,
            on_hand: 0,
            reserved: None,
            lead_time_days: None,
            deleted: false,
            warnings: Warnings::default(),
            extra: "",
        }
    }

    /// The record as the dataflow sees it; its names are entered in the dictionary.
    ///
    /// # Errors
    /// [`Collision`] where one of its names has the 64-bit key of another.
    #[inline]
    pub fn to_event(&self, place: Place, names: &mut NameCache) -> Result<Event, Collision> {
        let product = names.intern(self.product_id)?;
        let (session, user, order) = (Id::of(self.session_id), Id::of(self.user_id), Id::of(self.order_id));
        if matches!(self.kind, Kind::Purchase | Kind::Refund) {
            names.user(user, self.user_id)?;
        }
        let body = match self.kind {
            Kind::PageView => Body::PageView {
                page: self.page,
                referrer: names.intern(self.referrer)?,
                device: names.intern(self.device)?,
            },
            Kind::AddToCart => Body::AddToCart { quantity: self.quantity },
            Kind::RemoveFromCart => Body::RemoveFromCart { quantity: self.quantity },
            Kind::CheckoutStarted => Body::CheckoutStarted,
            Kind::Purchase => Body::Purchase {
                quantity: self.quantity,
                currency: self.currency,
                order,
                price: self.amount,
                list_price: self.list_price(),
            },
            Kind::Refund => {
                Body::Refund { quantity: self.quantity, currency: self.currency, order, amount: self.amount }
            }
            Kind::Product => Body::Product { category: names.intern(self.category)?, deleted: self.deleted },
            Kind::User => Body::User {
                country: names.intern(self.country)?,
                channel: names.intern(self.channel)?,
                deleted: self.deleted,
            },
            Kind::Inventory => Body::Inventory { on_hand: self.on_hand, reserved: self.reserved.unwrap_or(0) },
        };
        let (words, used) = self.content_words(session, user, order, product, &body);
        let bytes = words.map(u64::to_le_bytes);
        let bytes = bytes[..used].as_flattened();
        let id = if self.kind.is_dimension() {
            let hash = xxh3_128(bytes);
            Id { high: (hash >> 64) as u64, low: hash as u64 }
        } else {
            Id::of(self.event_id)
        };
        Ok(Event {
            id,
            content: (xxh3_64(bytes) as u32).max(Event::OTHER_CONTENT + 1),
            warnings: self.warnings,
            place,
            time: self.time,
            received: self.received_at.unwrap_or(Event::NOT_RECEIVED),
            session,
            user,
            product,
            body,
        })
    }

    /// `unit_price × quantity` where the unit price is known, else the line's total.
    ///
    /// Validation keeps the product within `i64`.
    pub fn list_price(&self) -> Cents {
        self.unit_price.map_or(self.amount, |unit| unit * i64::from(self.quantity))
    }

    /// What follows from it is stored: whoever changes it raises [`CONTENT_VERSION`].
    ///
    /// Every value of the record but its id and `received_at`, hashed where it is text, and how many words they are.
    /// The kind, in the first word, says what each of them means.
    #[inline]
    fn content_words(&self, session: Id, user: Id, order: Id, product: Name, body: &Body) -> ([u64; 18], usize) {
        let text = |text: &str| Name::of(text).0;
        let optional = |value: Option<i64>| value.map_or(i64::MIN as u64, |value| value as u64);
        let mut words = [0; 18];
        words[0] = self.kind as u64
            | (self.page as u64) << 8
            | u64::from(self.deleted) << 16
            | u64::from(self.quantity as u32) << 32;
        words[1] = self.time as u64;
        words[2..4].copy_from_slice(&[session.high, session.low]);
        words[4..6].copy_from_slice(&[user.high, user.low]);
        words[6] = product.0;
        words[7..9].copy_from_slice(&[order.high, order.low]);
        words[9] = self.amount as u64;
        words[10] = optional(self.unit_price);
        words[11] = self.currency.code();
        // Empty where nothing is left over, and where nothing of it has a value.
        words[12] = if self.extra.is_empty() { 0 } else { text(&content_of(self.extra)) };
        let used = match *body {
            Body::PageView { referrer, device, .. } => {
                words[13..15].copy_from_slice(&[referrer.0, device.0]);
                15
            }
            Body::Purchase { .. } | Body::Refund { .. } => {
                words[13..15].copy_from_slice(&[text(self.discount_code), text(self.reason)]);
                15
            }
            Body::Product { category, .. } => {
                let (name, brand) = (text(self.name), text(self.brand));
                words[13..18].copy_from_slice(&[name, category.0, brand, optional(self.price), optional(self.cost)]);
                18
            }
            Body::User { country, channel, .. } => {
                words[13..16].copy_from_slice(&[country.0, channel.0, optional(self.signup_time)]);
                16
            }
            Body::Inventory { on_hand, .. } => {
                let (reserved, lead_time_days) = (optional(self.reserved), optional(self.lead_time_days));
                words[13..16].copy_from_slice(&[on_hand as u64, reserved, lead_time_days]);
                16
            }
            Body::AddToCart { .. } | Body::RemoveFromCart { .. } | Body::CheckoutStarted => 13,
        };
        (words, used)
    }

    pub fn to_owned(&self) -> OwnedRecord {
        OwnedRecord {
            kind: self.kind,
            event_id: self.event_id.to_owned(),
            time: self.time,
            received_at: self.received_at,
            session_id: self.session_id.to_owned(),
            user_id: self.user_id.to_owned(),
            product_id: self.product_id.to_owned(),
            order_id: self.order_id.to_owned(),
            page: self.page,
            referrer: self.referrer.to_owned(),
            device: self.device.to_owned(),
            quantity: self.quantity,
            amount: self.amount,
            unit_price: self.unit_price,
            currency: self.currency,
            discount_code: self.discount_code.to_owned(),
            reason: self.reason.to_owned(),
            name: self.name.to_owned(),
            category: self.category.to_owned(),
            brand: self.brand.to_owned(),
            price: self.price,
            cost: self.cost,
            country: self.country.to_owned(),
            channel: self.channel.to_owned(),
            signup_time: self.signup_time,
            on_hand: self.on_hand,
            reserved: self.reserved,
            lead_time_days: self.lead_time_days,
            deleted: self.deleted,
            warnings: self.warnings,
            extra: self.extra.to_owned(),
        }
    }
}

/// A valid record that owns its texts: what oracles and tests work on. Fields as in [`Record`].
#[derive(Clone, Debug, PartialEq)]
pub struct OwnedRecord {
    pub kind: Kind,
    pub event_id: String,
    pub time: i64,
    pub received_at: Option<i64>,
    pub session_id: String,
    pub user_id: String,
    pub product_id: String,
    pub order_id: String,
    pub page: Page,
    pub referrer: String,
    pub device: String,
    pub quantity: i32,
    pub amount: Cents,
    pub unit_price: Option<Cents>,
    pub currency: Currency,
    pub discount_code: String,
    pub reason: String,
    pub name: String,
    pub category: String,
    pub brand: String,
    pub price: Option<Cents>,
    pub cost: Option<Cents>,
    pub country: String,
    pub channel: String,
    pub signup_time: Option<i64>,
    pub on_hand: i64,
    pub reserved: Option<i64>,
    pub lead_time_days: Option<i64>,
    pub deleted: bool,
    pub warnings: Warnings,
    pub extra: String,
}

impl OwnedRecord {
    pub fn empty(kind: Kind) -> OwnedRecord {
        Record::empty(kind, Currency::USD).to_owned()
    }

    pub fn as_record(&self) -> Record<'_> {
        Record {
            kind: self.kind,
            event_id: &self.event_id,
            time: self.time,
            received_at: self.received_at,
            session_id: &self.session_id,
            user_id: &self.user_id,
            product_id: &self.product_id,
            order_id: &self.order_id,
            page: self.page,
            referrer: &self.referrer,
            device: &self.device,
            quantity: self.quantity,
            amount: self.amount,
            unit_price: self.unit_price,
            currency: self.currency,
            discount_code: &self.discount_code,
            reason: &self.reason,
            name: &self.name,
            category: &self.category,
            brand: &self.brand,
            price: self.price,
            cost: self.cost,
            country: &self.country,
            channel: &self.channel,
            signup_time: self.signup_time,
            on_hand: self.on_hand,
            reserved: self.reserved,
            lead_time_days: self.lead_time_days,
            deleted: self.deleted,
            warnings: self.warnings,
            extra: &self.extra,
        }
    }

    pub fn list_price(&self) -> Cents {
        self.as_record().list_price()
    }

    /// The record as one native JSON object. Money is written with the currency's decimal places; `extra` is left out.
    pub fn to_json(&self) -> String {
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
        let time = |time: i64| Value::from(crate::calendar::rfc3339_micros(time));
        let money = |cents: Cents| money_value(cents, self.currency);
        put("event_type", json!(self.kind.as_str()));
        put(if self.kind.is_dimension() { "updated_at" } else { "event_time" }, time(self.time));
        let texts = [
            ("event_id", &self.event_id),
            ("session_id", &self.session_id),
            ("user_id", &self.user_id),
            ("product_id", &self.product_id),
            ("order_id", &self.order_id),
            ("referrer", &self.referrer),
            ("device", &self.device),
            ("discount_code", &self.discount_code),
            ("reason", &self.reason),
            ("name", &self.name),
            ("category", &self.category),
            ("brand", &self.brand),
            ("country", &self.country),
            ("channel", &self.channel),
        ];
        for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            put(key, json!(text));
        }
        if let Some(received_at) = self.received_at {
            put("received_at", time(received_at));
        }
        if let Some(unit_price) = self.unit_price {
            put("unit_price", money(unit_price));
        }
        match self.kind {
            Kind::PageView => put("page_type", json!(self.page.as_str())),
            Kind::AddToCart | Kind::RemoveFromCart => put("quantity", json!(self.quantity)),
            Kind::CheckoutStarted => {}
            Kind::Purchase => {
                put("quantity", json!(self.quantity));
                put("price_paid", money(self.amount));
                put("currency", json!(self.currency.to_string()));
            }
            Kind::Refund => {
                put("quantity", json!(self.quantity));
                put("amount", money(self.amount));
                put("currency", json!(self.currency.to_string()));
            }
            Kind::Product => {
                self.price.into_iter().for_each(|price| put("price", money(price)));
                self.cost.into_iter().for_each(|cost| put("cost", money(cost)));
            }
            Kind::User => self.signup_time.into_iter().for_each(|at| put("signup_time", time(at))),
            Kind::Inventory => {
                put("on_hand", json!(self.on_hand));
                self.reserved.into_iter().for_each(|value| put("reserved", json!(value)));
                self.lead_time_days.into_iter().for_each(|value| put("lead_time_days", json!(value)));
            }
        }
        if self.deleted {
            put("deleted", json!(true));
        }
        Value::Object(object).to_string()
    }
}

fn money_value(cents: Cents, currency: Currency) -> Value {
    let text = currency.format(cents);
    serde_json::from_str(&text).expect("a decimal is a JSON number")
}
