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

impl Fault {
    #[cold]
    pub fn reject(self, fields: &Fields) -> Reject {
        let name = self.field.name();
        let got = piece(fields.raw(self.field), SHOWN_CHARS);
        let message = match self.rule {
            Rule::MissingField => format!("expected a value for {name}, got none"),
            Rule::WrongType => format!("expected {} for {name}, got {got}", expected_type(self.field)),
            Rule::UnparsableTime => format!("expected an rfc 3339 time for {name}, got {got}"),
            Rule::TimeOutOfRange => format!("expected a time from 1970 to 2199 for {name}, got {got}"),
            Rule::FutureTime => {
                format!("expected {name} not after received_at by more than the allowed skew, got {got}")
            }
            Rule::NegativePrice => format!("expected {name} not below 0, got {got}"),
            Rule::NumberOutOfRange => format!("expected {} for {name}, got {got}", expected_range(self.field)),
            Rule::UnknownEventType => match fields.token(self.field) {
                Token::Text(text) if !text.is_empty() => format!("expected a known {name}, got {got}"),
                _ => format!("expected a value for {name}, got none, and the source has no default"),
            },
            _ => format!("expected another value for {name}, got {got}"),
        };
        Reject { rule: self.rule, field: Some(name), message, received_at: None }
    }
}

fn expected_type(field: Field) -> &'static str {
    use Field::*;
    match field {
        EventId | SessionId | UserId | ProductId | OrderId => "a string or an integer",
        EventTime | ReceivedAt | UpdatedAt | SignupTime => "a time in a string",
        Quantity | OnHand | Reserved | LeadTimeDays => "an integer",
        PricePaid | Amount | UnitPrice | Price | Cost => "a number",
        Currency => "three capital letters",
        Deleted => "true or false",
        _ => "a string",
    }
}

fn expected_range(field: Field) -> String {
    match field {
        Field::Quantity => format!("an integer from {} to {}", i32::MIN, i32::MAX),
        Field::UnitPrice => format!("at most {MINOR_UNITS_MAX} minor units, and 100 times that with the quantity"),
        Field::PricePaid | Field::Amount | Field::Price | Field::Cost => {
            format!("at most {MINOR_UNITS_MAX} minor units")
        }
        _ => format!("an integer within {MINOR_UNITS_MAX} of 0"),
    }
}

/// The first `length` characters of a text, on one line.
pub fn piece(text: &str, length: usize) -> String {
    let mut piece: String = text.chars().take(length).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if piece.len() < text.len() {
        piece.push('…');
    }
    piece
}
