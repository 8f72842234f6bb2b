//! What makes taken-apart fields a valid record. Both readers end here.
//!
//! The order of the statements below is the order in which faults are found, and so part of the contract. They are run
//! through once, up to the first fault; only for a record with one they are run through again, past it, so that its
//! message has all.

use super::DecodeSettings;
use super::decimal::{self, MINOR_UNITS_MAX};
use super::extra::extra;
use super::fault::{self, Fault};
use super::field::{Field, fields_of};
use super::fields::{Fields, Token};
use super::number::{Number, Whole};
use super::time;
use crate::{Cents, Currency, Kind, Page, Record, Reject, Rule, Warning};

/// A whole number that is an id and is spelled with a fraction or an exponent has at most so many digits.
const ID_DIGITS_MAX: usize = 64;

/// What a fault does.
trait Faults {
    /// `otherwise` stands in for the value of the field where the work goes on.
    fn found<T>(&mut self, rule: Rule, field: Field, otherwise: T) -> Result<T, Fault>;

    /// Whether a field has a fault already, so that nothing may be concluded from its value.
    fn has(&self, field: Field) -> bool;
}

/// The first fault ends the work.
struct First;

impl Faults for First {
    #[inline]
    fn found<T>(&mut self, rule: Rule, field: Field, _: T) -> Result<T, Fault> {
        Err(Fault { rule, field })
    }

    #[inline]
    fn has(&self, _: Field) -> bool {
        false
    }
}

/// All faults are noted.
#[derive(Default)]
struct All(Vec<Fault>);

impl Faults for All {
    fn found<T>(&mut self, rule: Rule, field: Field, otherwise: T) -> Result<T, Fault> {
        self.0.push(Fault { rule, field });
        Ok(otherwise)
    }

    fn has(&self, field: Field) -> bool {
        self.0.iter().any(|fault| fault.field == field)
    }
}

/// Fills `record`, which lies where the caller wants it: a record is 0.4 kB, and copies of it show.
///
/// # Errors
/// [`Reject`] with the first rule that the record breaks, and a message that has the others.
#[inline]
pub fn validate<'a>(
    fields: &mut Fields<'a>,
    received_at: Option<i64>,
    settings: &DecodeSettings,
    record: &mut Record<'a>,
) -> Result<(), Reject> {
    *record = Record::empty(Kind::PageView, settings.default_currency);
    if let Err(first) = check(fields, record, received_at, settings, &mut First) {
        return Err(reject(first, fields, record.received_at, received_at, settings));
    }
    record.extra = extra(fields, FIELDS_OF[record.kind as usize]);
    Ok(())
}

/// `own` is when the record was received, as far as it was read up to the first fault.
#[cold]
fn reject(
    first: Fault,
    fields: &Fields,
    own: Option<i64>,
    received_at: Option<i64>,
    settings: &DecodeSettings,
) -> Reject {
    let mut all = All::default();
    let mut record = Record::empty(Kind::PageView, settings.default_currency);
    // Without a kind there is nothing to go on with.
    if let Err(last) = check(fields, &mut record, received_at, settings, &mut all) {
        all.0.push(last);
    }
    debug_assert_eq!((all.0[0].rule, all.0[0].field), (first.rule, first.field), "both ways find the same first fault");
    Reject { received_at: own, ..fault::reject(&all.0, fields) }
}

#[inline]
fn check<'a>(
    fields: &Fields<'a>,
    record: &mut Record<'a>,
    received_at: Option<i64>,
    settings: &DecodeSettings,
    faults: &mut impl Faults,
) -> Result<(), Fault> {
    record.kind = kind(fields, settings)?;
    record.received_at = match received_at {
        Some(at) => Some(at),
        None => optional_time(fields, Field::ReceivedAt, faults)?,
    };
    match record.kind {
        Kind::PageView
        | Kind::AddToCart
        | Kind::RemoveFromCart
        | Kind::CheckoutStarted
        | Kind::Purchase
        | Kind::Refund => check_event(fields, record, settings, faults),
        Kind::Product => check_product(fields, record, faults),
        Kind::User => check_user(fields, record, faults),
        Kind::Inventory => check_inventory(fields, record, faults),
    }
}

const FIELDS_OF: [u32; Kind::ALL.len()] = {
    let mut sets = [0; Kind::ALL.len()];
    let mut at = 0;
    while at < sets.len() {
        sets[Kind::ALL[at] as usize] = fields_of(Kind::ALL[at]);
        at += 1;
    }
    sets
};

#[inline]
fn kind(fields: &Fields, settings: &DecodeSettings) -> Result<Kind, Fault> {
    let unknown = Fault { rule: Rule::UnknownEventType, field: Field::EventType };
    match text(fields, Field::EventType, &mut First)? {
        "" => settings.default_kind.ok_or(unknown),
        name => Kind::parse(name).ok_or(unknown),
    }
}

#[inline]
fn check_event<'a>(
    fields: &Fields<'a>,
    record: &mut Record<'a>,
    settings: &DecodeSettings,
    faults: &mut impl Faults,
) -> Result<(), Fault> {
    record.event_id = required_id(fields, Field::EventId, faults)?;
    record.time = required_time(fields, Field::EventTime, faults)?;
    let latest = record.received_at.map_or(i64::MAX, |at| at.saturating_add(settings.max_future_micros));
    if record.time > latest {
        faults.found(Rule::FutureTime, Field::EventTime, ())?;
    }
    if record.kind != Kind::Refund {
        record.session_id = required_id(fields, Field::SessionId, faults)?;
    }
    record.user_id = id(fields, Field::UserId, faults)?;
    match record.kind {
        Kind::PageView => {
            record.product_id = id(fields, Field::ProductId, faults)?;
            record.page = match Page::parse(required_text(fields, Field::PageType, faults)?) {
                Some(page) => page,
                None => {
                    record.warnings.add(Warning::UnknownPageType);
                    Page::Other
                }
            };
            record.referrer = text(fields, Field::Referrer, faults)?;
            record.device = text(fields, Field::Device, faults)?;
        }
        Kind::AddToCart | Kind::RemoveFromCart => {
            record.product_id = required_id(fields, Field::ProductId, faults)?;
            record.quantity = required_quantity(fields, record, faults)?;
            check_unit_price(fields, record, faults)?;
        }
        Kind::Purchase => {
            record.product_id = required_id(fields, Field::ProductId, faults)?;
            record.order_id = required_id(fields, Field::OrderId, faults)?;
            record.quantity = required_quantity(fields, record, faults)?;
            record.currency = currency(fields, record.currency, faults)?;
            record.amount = required_money(fields, Field::PricePaid, record, faults)?;
            check_sign_of_price(record, faults)?;
            check_unit_price(fields, record, faults)?;
            record.discount_code = text(fields, Field::DiscountCode, faults)?;
        }
        Kind::Refund => {
            // Without a product it is a refund of the whole order; without a quantity, of no units.
            record.product_id = id(fields, Field::ProductId, faults)?;
            record.order_id = required_id(fields, Field::OrderId, faults)?;
            record.quantity = quantity(fields, record, faults)?.unwrap_or(0);
            record.currency = currency(fields, record.currency, faults)?;
            record.amount = required_money(fields, Field::Amount, record, faults)?;
            if record.amount < 0 {
                faults.found(Rule::WrongSign, Field::Amount, ())?;
            }
            record.reason = text(fields, Field::Reason, faults)?;
        }
        Kind::CheckoutStarted | Kind::Product | Kind::User | Kind::Inventory => {}
    }
    Ok(())
}

fn check_product<'a>(fields: &Fields<'a>, record: &mut Record<'a>, faults: &mut impl Faults) -> Result<(), Fault> {
    record.product_id = required_id(fields, Field::ProductId, faults)?;
    record.time = required_time(fields, Field::UpdatedAt, faults)?;
    record.name = text(fields, Field::Name, faults)?;
    record.category = text(fields, Field::Category, faults)?;
    record.brand = text(fields, Field::Brand, faults)?;
    record.price = money(fields, Field::Price, record, faults)?;
    record.cost = money(fields, Field::Cost, record, faults)?;
    record.deleted = flag(fields, Field::Deleted, faults)?;
    Ok(())
}

fn check_user<'a>(fields: &Fields<'a>, record: &mut Record<'a>, faults: &mut impl Faults) -> Result<(), Fault> {
    record.user_id = required_id(fields, Field::UserId, faults)?;
    record.time = required_time(fields, Field::UpdatedAt, faults)?;
    record.country = text(fields, Field::Country, faults)?;
    record.channel = text(fields, Field::Channel, faults)?;
    record.signup_time = optional_time(fields, Field::SignupTime, faults)?;
    record.deleted = flag(fields, Field::Deleted, faults)?;
    Ok(())
}

fn check_inventory<'a>(fields: &Fields<'a>, record: &mut Record<'a>, faults: &mut impl Faults) -> Result<(), Fault> {
    record.product_id = required_id(fields, Field::ProductId, faults)?;
    record.time = required_time(fields, Field::UpdatedAt, faults)?;
    record.on_hand = match count(fields, Field::OnHand, faults)? {
        Some(count) => count,
        None => missing(Field::OnHand, faults, 0)?,
    };
    record.reserved = count(fields, Field::Reserved, faults)?;
    record.lead_time_days = count(fields, Field::LeadTimeDays, faults)?;
    Ok(())
}

/// What is sold is paid for, what comes back is paid back.
#[inline]
fn check_sign_of_price(record: &Record, faults: &mut impl Faults) -> Result<(), Fault> {
    let rule = match record.quantity {
        0.. if record.amount < 0 => Rule::NegativePrice,
        ..0 if record.amount > 0 => Rule::WrongSign,
        _ => return Ok(()),
    };
    // Which of the two it is follows from the quantity.
    if faults.has(Field::Quantity) { Ok(()) } else { faults.found(rule, Field::PricePaid, ()) }
}

/// Of a return line any price will do: nothing is made of it.
#[inline]
fn check_unit_price(fields: &Fields, record: &mut Record, faults: &mut impl Faults) -> Result<(), Fault> {
    let Some(unit) = money(fields, Field::UnitPrice, record, faults)? else { return Ok(()) };
    if unit < 0 && record.quantity >= 0 && !faults.has(Field::Quantity) {
        faults.found(Rule::NegativePrice, Field::UnitPrice, ())?;
    }
    let list_price = unit.checked_mul(i64::from(record.quantity));
    if list_price.is_none_or(|total| total.unsigned_abs() > MINOR_UNITS_MAX) {
        return faults.found(Rule::NumberOutOfRange, Field::UnitPrice, ());
    }
    record.unit_price = Some(unit);
    Ok(())
}

/// A required field has no value, unless it has a faulty one.
#[inline]
fn missing<T>(field: Field, faults: &mut impl Faults, otherwise: T) -> Result<T, Fault> {
    if faults.has(field) { Ok(otherwise) } else { faults.found(Rule::MissingField, field, otherwise) }
}

/// A string as it is, or a whole number as its decimal text; empty where absent.
// Said twice of a record, once to note all of its faults: the compiler would call it, and a call costs as much as the work.
#[inline(always)]
fn id<'a>(fields: &Fields<'a>, field: Field, faults: &mut impl Faults) -> Result<&'a str, Fault> {
    match fields.token(field) {
        Token::Absent => Ok(""),
        Token::Text(text) => Ok(text),
        token => id_of(token, fields, field, faults),
    }
}

#[inline(never)]
fn id_of<'a>(token: Token<'a>, fields: &Fields<'a>, field: Field, faults: &mut impl Faults) -> Result<&'a str, Fault> {
    match token {
        Token::Number(number) if decimal::is_integer(number) => Ok(number),
        Token::Number(number) => match Number::of(number).whole_text(ID_DIGITS_MAX) {
            Some(text) => Ok(fields.arena.alloc_str(&text)),
            None => faults.found(Rule::WrongType, field, ""),
        },
        _ => faults.found(Rule::WrongType, field, ""),
    }
}

#[inline(always)]
fn required_id<'a>(fields: &Fields<'a>, field: Field, faults: &mut impl Faults) -> Result<&'a str, Fault> {
    let id = id(fields, field, faults)?;
    if id.is_empty() { missing(field, faults, "") } else { Ok(id) }
}

#[inline(always)]
fn text<'a>(fields: &Fields<'a>, field: Field, faults: &mut impl Faults) -> Result<&'a str, Fault> {
    match fields.token(field) {
        Token::Absent => Ok(""),
        Token::Text(text) => Ok(text),
        _ => faults.found(Rule::WrongType, field, ""),
    }
}

#[inline(always)]
fn required_text<'a>(fields: &Fields<'a>, field: Field, faults: &mut impl Faults) -> Result<&'a str, Fault> {
    let text = text(fields, field, faults)?;
    if text.is_empty() { missing(field, faults, "") } else { Ok(text) }
}

#[inline]
fn optional_time(fields: &Fields, field: Field, faults: &mut impl Faults) -> Result<Option<i64>, Fault> {
    let text = match fields.token(field) {
        Token::Absent => return Ok(None),
        Token::Text(text) => text,
        _ => return faults.found(Rule::WrongType, field, None),
    };
    match time::parse(text) {
        None => faults.found(Rule::UnparsableTime, field, None),
        Some(micros) if !(0..time::TIME_END).contains(&micros) => faults.found(Rule::TimeOutOfRange, field, None),
        micros => Ok(micros),
    }
}

#[inline]
fn required_time(fields: &Fields, field: Field, faults: &mut impl Faults) -> Result<i64, Fault> {
    match optional_time(fields, field, faults)? {
        Some(time) => Ok(time),
        // Earlier than any, and so not in the future.
        None => missing(field, faults, i64::MIN),
    }
}

#[inline]
fn integer(fields: &Fields, field: Field, faults: &mut impl Faults) -> Result<Option<i64>, Fault> {
    let number = match fields.token(field) {
        Token::Absent => return Ok(None),
        Token::Number(number) => number,
        _ => return faults.found(Rule::WrongType, field, None),
    };
    if decimal::is_integer(number)
        && let Ok(value) = number.parse()
    {
        return Ok(Some(value));
    }
    match Number::of(number).whole() {
        Whole::Value(value) => Ok(Some(value)),
        Whole::TooLarge => faults.found(Rule::NumberOutOfRange, field, None),
        Whole::Fraction => faults.found(Rule::WrongType, field, None),
    }
}

/// Of a purchase it may be below 0: then it is a return line.
#[inline]
fn quantity(fields: &Fields, record: &mut Record, faults: &mut impl Faults) -> Result<Option<i32>, Fault> {
    let Some(quantity) = integer(fields, Field::Quantity, faults)? else { return Ok(None) };
    if quantity == 0 {
        record.warnings.add(Warning::QuantityZero);
    }
    let Ok(quantity) = i32::try_from(quantity) else {
        return faults.found(Rule::NumberOutOfRange, Field::Quantity, None);
    };
    if quantity < 0 && record.kind != Kind::Purchase {
        return faults.found(Rule::WrongSign, Field::Quantity, None);
    }
    Ok(Some(quantity))
}

#[inline]
fn required_quantity(fields: &Fields, record: &mut Record, faults: &mut impl Faults) -> Result<i32, Fault> {
    match quantity(fields, record, faults)? {
        Some(quantity) => Ok(quantity),
        None => missing(Field::Quantity, faults, 0),
    }
}

#[inline]
fn currency(fields: &Fields, default: Currency, faults: &mut impl Faults) -> Result<Currency, Fault> {
    match text(fields, Field::Currency, faults)? {
        "" => Ok(default),
        code => match Currency::parse(code) {
            Some(currency) => Ok(currency),
            None => faults.found(Rule::WrongType, Field::Currency, default),
        },
    }
}

/// A number of things or days, small enough to be added up.
fn count(fields: &Fields, field: Field, faults: &mut impl Faults) -> Result<Option<i64>, Fault> {
    match integer(fields, field, faults)? {
        Some(count) if count.unsigned_abs() > MINOR_UNITS_MAX => faults.found(Rule::NumberOutOfRange, field, None),
        count => Ok(count),
    }
}

/// In minor units of the record's currency, which must be known by now.
#[inline]
fn money(fields: &Fields, field: Field, record: &mut Record, faults: &mut impl Faults) -> Result<Option<Cents>, Fault> {
    let number = match fields.token(field) {
        Token::Absent => return Ok(None),
        Token::Number(number) => number,
        _ => return faults.found(Rule::WrongType, field, None),
    };
    let Some(amount) = decimal::money(number, record.currency.digits()) else {
        // How many minor units it is, only a known currency says.
        let known = !faults.has(Field::Currency);
        return if known { faults.found(Rule::NumberOutOfRange, field, None) } else { Ok(Some(0)) };
    };
    if amount.inexact {
        record.warnings.add(Warning::AmountRounded);
    }
    Ok(Some(amount.minor))
}

#[inline]
fn required_money(
    fields: &Fields,
    field: Field,
    record: &mut Record,
    faults: &mut impl Faults,
) -> Result<Cents, Fault> {
    match money(fields, field, record, faults)? {
        Some(amount) => Ok(amount),
        None => missing(field, faults, 0),
    }
}

fn flag(fields: &Fields, field: Field, faults: &mut impl Faults) -> Result<bool, Fault> {
    match fields.token(field) {
        Token::Absent => Ok(false),
        Token::Bool(flag) => Ok(flag),
        _ => faults.found(Rule::WrongType, field, false),
    }
}
