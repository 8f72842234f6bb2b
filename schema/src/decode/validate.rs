//! What makes taken-apart fields a valid record. Both readers end here.
//!
//! The order of the statements below is the order in which faults are found, and so part of the contract.

use super::DecodeSettings;
use super::decimal::{self, MINOR_UNITS_MAX};
use super::extra::extra;
use super::fault::Fault;
use super::field::{Field, fields_of};
use super::fields::{Fields, Token};
use super::time;
use crate::{Cents, Currency, Kind, Page, Record, Reject, Rule, Warning, Warnings};

/// `unit_price × quantity` stays within this many minor units.
const LIST_PRICE_MAX: u64 = 100 * MINOR_UNITS_MAX;

/// Fills `record`, which lies where the caller wants it: a record is 0.4 kB, and copies of it show.
///
/// # Errors
/// [`Reject`] for the first rule that the record breaks.
#[inline]
pub fn validate<'a>(
    fields: &mut Fields<'a>,
    received_at: Option<i64>,
    settings: &DecodeSettings,
    record: &mut Record<'a>,
) -> Result<(), Reject> {
    *record = Record::empty(Kind::PageView, settings.default_currency);
    check(fields, record, received_at, settings)
        .map_err(|fault| Reject { received_at: record.received_at, ..fault.reject(fields) })
}

#[inline]
fn check<'a>(
    fields: &mut Fields<'a>,
    record: &mut Record<'a>,
    received_at: Option<i64>,
    settings: &DecodeSettings,
) -> Result<(), Fault> {
    record.kind = kind(fields, settings)?;
    record.received_at = match received_at {
        Some(at) => Some(at),
        None => optional_time(fields, Field::ReceivedAt)?,
    };
    if record.kind.is_dimension() {
        check_dimension(fields, record)?;
    } else {
        check_event(fields, record, settings)?;
    }
    record.extra = extra(fields, FIELDS_OF[record.kind as usize]);
    Ok(())
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
    match text(fields, Field::EventType)? {
        "" => settings.default_kind.ok_or(unknown),
        name => Kind::parse(name).ok_or(unknown),
    }
}

#[inline]
fn check_event<'a>(fields: &Fields<'a>, record: &mut Record<'a>, settings: &DecodeSettings) -> Result<(), Fault> {
    record.event_id = required_id(fields, Field::EventId)?;
    record.time = required_time(fields, Field::EventTime)?;
    let latest = record.received_at.map_or(i64::MAX, |at| at.saturating_add(settings.max_future_micros));
    if record.time > latest {
        return Err(Fault { rule: Rule::FutureTime, field: Field::EventTime });
    }
    if record.kind != Kind::Refund {
        record.session_id = required_id(fields, Field::SessionId)?;
    }
    record.user_id = id(fields, Field::UserId)?;
    match record.kind {
        Kind::PageView => {
            record.product_id = id(fields, Field::ProductId)?;
            record.page = match Page::parse(required_text(fields, Field::PageType)?) {
                Some(page) => page,
                None => {
                    record.warnings.add(Warning::UnknownPageType);
                    Page::Other
                }
            };
            record.referrer = text(fields, Field::Referrer)?;
            record.device = text(fields, Field::Device)?;
        }
        Kind::AddToCart | Kind::RemoveFromCart => {
            record.product_id = required_id(fields, Field::ProductId)?;
            record.quantity = quantity(fields, &mut record.warnings)?;
            check_unit_price(fields, record)?;
        }
        Kind::Purchase => {
            check_line(fields, record)?;
            let paid = required_money(fields, Field::PricePaid, record)?;
            if paid < 0 && record.quantity >= 0 {
                return Err(Fault { rule: Rule::NegativePrice, field: Field::PricePaid });
            }
            record.amount = paid;
            check_unit_price(fields, record)?;
            record.discount_code = text(fields, Field::DiscountCode)?;
        }
        Kind::Refund => {
            check_line(fields, record)?;
            record.amount = not_negative(Field::Amount, required_money(fields, Field::Amount, record)?)?;
            record.reason = text(fields, Field::Reason)?;
        }
        Kind::CheckoutStarted | Kind::Product | Kind::User | Kind::Inventory => {}
    }
    Ok(())
}

/// What a purchase and a refund share.
#[inline]
fn check_line<'a>(fields: &Fields<'a>, record: &mut Record<'a>) -> Result<(), Fault> {
    record.product_id = required_id(fields, Field::ProductId)?;
    record.order_id = required_id(fields, Field::OrderId)?;
    record.quantity = quantity(fields, &mut record.warnings)?;
    match text(fields, Field::Currency)? {
        "" => {}
        code => record.currency = Currency::parse(code).ok_or(wrong_type(Field::Currency))?,
    }
    Ok(())
}

fn check_dimension<'a>(fields: &Fields<'a>, record: &mut Record<'a>) -> Result<(), Fault> {
    match record.kind {
        Kind::User => record.user_id = required_id(fields, Field::UserId)?,
        _ => record.product_id = required_id(fields, Field::ProductId)?,
    }
    record.time = required_time(fields, Field::UpdatedAt)?;
    match record.kind {
        Kind::Product => {
            record.name = text(fields, Field::Name)?;
            record.category = text(fields, Field::Category)?;
            record.brand = text(fields, Field::Brand)?;
            record.price = money(fields, Field::Price, record)?;
            record.cost = money(fields, Field::Cost, record)?;
            record.deleted = flag(fields, Field::Deleted)?;
        }
        Kind::User => {
            record.country = text(fields, Field::Country)?;
            record.channel = text(fields, Field::Channel)?;
            record.signup_time = optional_time(fields, Field::SignupTime)?;
            record.deleted = flag(fields, Field::Deleted)?;
        }
        _ => {
            record.on_hand = count(fields, Field::OnHand)?.ok_or(missing(Field::OnHand))?;
            record.reserved = count(fields, Field::Reserved)?;
            record.lead_time_days = count(fields, Field::LeadTimeDays)?;
        }
    }
    Ok(())
}

#[inline]
fn check_unit_price(fields: &Fields, record: &mut Record) -> Result<(), Fault> {
    let Some(unit) = money(fields, Field::UnitPrice, record)? else { return Ok(()) };
    let unit = not_negative(Field::UnitPrice, unit)?;
    let list_price = unit.checked_mul(i64::from(record.quantity));
    if list_price.is_none_or(|total| total.unsigned_abs() > LIST_PRICE_MAX) {
        return Err(out_of_range(Field::UnitPrice));
    }
    record.unit_price = Some(unit);
    Ok(())
}

fn wrong_type(field: Field) -> Fault {
    Fault { rule: Rule::WrongType, field }
}

fn missing(field: Field) -> Fault {
    Fault { rule: Rule::MissingField, field }
}

fn out_of_range(field: Field) -> Fault {
    Fault { rule: Rule::NumberOutOfRange, field }
}

/// A string as it is, or an integer as its decimal text; empty where absent.
#[inline]
fn id<'a>(fields: &Fields<'a>, field: Field) -> Result<&'a str, Fault> {
    match fields.token(field) {
        Token::Absent => Ok(""),
        Token::Text(text) => Ok(text),
        Token::Number(number) if decimal::is_integer(number) => Ok(number),
        _ => Err(wrong_type(field)),
    }
}

#[inline]
fn required_id<'a>(fields: &Fields<'a>, field: Field) -> Result<&'a str, Fault> {
    let id = id(fields, field)?;
    if id.is_empty() { Err(missing(field)) } else { Ok(id) }
}

#[inline]
fn text<'a>(fields: &Fields<'a>, field: Field) -> Result<&'a str, Fault> {
    match fields.token(field) {
        Token::Absent => Ok(""),
        Token::Text(text) => Ok(text),
        _ => Err(wrong_type(field)),
    }
}

#[inline]
fn required_text<'a>(fields: &Fields<'a>, field: Field) -> Result<&'a str, Fault> {
    let text = text(fields, field)?;
    if text.is_empty() { Err(missing(field)) } else { Ok(text) }
}

#[inline]
fn optional_time(fields: &Fields, field: Field) -> Result<Option<i64>, Fault> {
    let text = match fields.token(field) {
        Token::Absent => return Ok(None),
        Token::Text(text) => text,
        _ => return Err(wrong_type(field)),
    };
    let micros = time::parse(text).ok_or(Fault { rule: Rule::UnparsableTime, field })?;
    if !(0..time::TIME_END).contains(&micros) {
        return Err(Fault { rule: Rule::TimeOutOfRange, field });
    }
    Ok(Some(micros))
}

#[inline]
fn required_time(fields: &Fields, field: Field) -> Result<i64, Fault> {
    optional_time(fields, field)?.ok_or(missing(field))
}

#[inline]
fn integer(fields: &Fields, field: Field) -> Result<Option<i64>, Fault> {
    match fields.token(field) {
        Token::Absent => Ok(None),
        Token::Number(number) if decimal::is_integer(number) => {
            number.parse().map(Some).map_err(|_| out_of_range(field))
        }
        _ => Err(wrong_type(field)),
    }
}

#[inline]
fn quantity(fields: &Fields, warnings: &mut Warnings) -> Result<i32, Fault> {
    let quantity = integer(fields, Field::Quantity)?.ok_or(missing(Field::Quantity))?;
    if quantity == 0 {
        warnings.add(Warning::QuantityZero);
    }
    i32::try_from(quantity).map_err(|_| out_of_range(Field::Quantity))
}

/// A number of things or days, small enough to be added up.
fn count(fields: &Fields, field: Field) -> Result<Option<i64>, Fault> {
    match integer(fields, field)? {
        Some(count) if count.unsigned_abs() > MINOR_UNITS_MAX => Err(out_of_range(field)),
        count => Ok(count),
    }
}

/// In minor units of the record's currency, which must be known by now.
#[inline]
fn money(fields: &Fields, field: Field, record: &mut Record) -> Result<Option<Cents>, Fault> {
    let number = match fields.token(field) {
        Token::Absent => return Ok(None),
        Token::Number(number) => number,
        _ => return Err(wrong_type(field)),
    };
    let amount = decimal::money(number, record.currency.digits()).ok_or(out_of_range(field))?;
    if amount.inexact {
        record.warnings.add(Warning::AmountRounded);
    }
    Ok(Some(amount.minor))
}

#[inline]
fn required_money(fields: &Fields, field: Field, record: &mut Record) -> Result<Cents, Fault> {
    money(fields, field, record)?.ok_or(missing(field))
}

#[inline]
fn not_negative(field: Field, amount: Cents) -> Result<Cents, Fault> {
    if amount < 0 { Err(Fault { rule: Rule::NegativePrice, field }) } else { Ok(amount) }
}

fn flag(fields: &Fields, field: Field) -> Result<bool, Fault> {
    match fields.token(field) {
        Token::Absent => Ok(false),
        Token::Bool(flag) => Ok(flag),
        _ => Err(wrong_type(field)),
    }
}
