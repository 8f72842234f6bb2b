//! What is wrong with a field: small while it travels, words only once the record is rejected.

use super::decimal::MINOR_UNITS_MAX;
use super::field::Field;
use super::fields::{Fields, Token};
use crate::{Reject, Rule};

#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub rule: Rule,
    pub field: Field,
}

/// How much of a value a message shows.
const SHOWN_CHARS: usize = 24;
/// How many problems of a record a message tells.
const TOLD_MAX: usize = 8;

/// The reject of a record with these faults, of which there is one. The first decides the rule and the field.
#[cold]
pub fn reject(faults: &[Fault], fields: &Fields) -> Reject {
    let told: Vec<String> = faults.iter().take(TOLD_MAX).map(|fault| fault.words(fields)).collect();
    let mut message = told.join("; ");
    if faults.len() > TOLD_MAX {
        message += &format!("; and {} more", faults.len() - TOLD_MAX);
    }
    let first = faults[0];
    Reject { rule: first.rule, field: Some(first.field.name()), message, received_at: None }
}

impl Fault {
    fn words(self, fields: &Fields) -> String {
        let name = self.field.name();
        let got = piece(fields.raw(self.field), SHOWN_CHARS);
        match self.rule {
            Rule::MissingField => format!("expected a value for {name}, got none"),
            Rule::WrongType => format!("expected {} for {name}, got {got}", expected_type(self.field)),
            Rule::UnparsableTime => format!("expected an rfc 3339 time for {name}, got {got}"),
            Rule::TimeOutOfRange => format!("expected a time from 1970 to 2199 for {name}, got {got}"),
            Rule::FutureTime => {
                format!("expected {name} not after received_at by more than the allowed skew, got {got}")
            }
            Rule::NegativePrice => format!("expected {name} not below 0, got {got}"),
            Rule::WrongSign => format!("expected {name} not {}, got {got}", wrong_sign(self.field)),
            Rule::NumberOutOfRange => format!("expected {} for {name}, got {got}", expected_range(self.field)),
            Rule::UnknownEventType => match fields.token(self.field) {
                Token::Text(text) if !text.is_empty() => format!("expected a known {name}, got {got}"),
                _ => format!("expected a value for {name}, got none, and the source has no default"),
            },
            _ => format!("expected another value for {name}, got {got}"),
        }
    }
}

fn wrong_sign(field: Field) -> &'static str {
    match field {
        Field::PricePaid => "above 0 where the quantity is below 0",
        Field::Quantity => "below 0 in a cart or a refund",
        _ => "below 0",
    }
}

fn expected_type(field: Field) -> &'static str {
    use Field::*;
    match field {
        EventId | SessionId | UserId | ProductId | OrderId => "a string or a whole number",
        EventTime | ReceivedAt | UpdatedAt | SignupTime => "a time in a string",
        Quantity | OnHand | Reserved | LeadTimeDays => "a whole number",
        PricePaid | Amount | UnitPrice | Price | Cost => "a number",
        Currency => "a currency code of iso 4217",
        Deleted => "true or false",
        _ => "a string",
    }
}

fn expected_range(field: Field) -> String {
    match field {
        Field::Quantity => format!("a whole number from {} to {}", i32::MIN, i32::MAX),
        Field::UnitPrice => format!("at most {MINOR_UNITS_MAX} minor units, with the quantity, too,"),
        Field::PricePaid | Field::Amount | Field::Price | Field::Cost => {
            format!("at most {MINOR_UNITS_MAX} minor units")
        }
        _ => format!("a whole number within {MINOR_UNITS_MAX} of 0"),
    }
}

/// The first `length` characters of a text, on one line.
pub fn piece(text: &str, length: usize) -> String {
    let mut characters = text.chars();
    let mut piece: String = characters.by_ref().take(length).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if characters.next().is_some() {
        piece.push('…');
    }
    piece
}
