//! Why a record is not accepted, and what is odd about one that is.

use serde::{Deserialize, Serialize};

/// The rule that a rejected record broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Rule {
    /// Not one JSON object.
    MalformedJson,
    InvalidUtf8,
    /// A key stands twice in one object.
    DuplicateKey,
    /// No `event_type` and no default for the topic, or one that is not known.
    UnknownEventType,
    /// A required field is absent, null or, for an id, empty.
    MissingField,
    WrongType,
    /// Not RFC 3339.
    UnparsableTime,
    /// A time before 1970 or after 2199.
    TimeOutOfRange,
    /// `event_time` more than the allowed skew after `received_at`.
    FutureTime,
    /// `price_paid` or `unit_price` below 0 on a sold line or a cart.
    NegativePrice,
    /// A number beyond the limit that keeps sums exact.
    NumberOutOfRange,
    /// The record is over the size limit.
    TooLarge,
    /// The `event_id` was taken by a record with other content.
    IdConflict,
    /// Two names have one 64-bit hash.
    IdCollision,
    /// `price_paid` above 0 on a return line; a quantity below 0 in a cart; quantity or `amount` below 0 of a refund.
    WrongSign,
}

impl Rule {
    pub const ALL: [Rule; 15] = [
        Rule::MalformedJson,
        Rule::InvalidUtf8,
        Rule::DuplicateKey,
        Rule::UnknownEventType,
        Rule::MissingField,
        Rule::WrongType,
        Rule::UnparsableTime,
        Rule::TimeOutOfRange,
        Rule::FutureTime,
        Rule::NegativePrice,
        Rule::NumberOutOfRange,
        Rule::TooLarge,
        Rule::IdConflict,
        Rule::IdCollision,
        Rule::WrongSign,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Rule::MalformedJson => "malformed_json",
            Rule::InvalidUtf8 => "invalid_utf8",
            Rule::DuplicateKey => "duplicate_key",
            Rule::UnknownEventType => "unknown_event_type",
            Rule::MissingField => "missing_field",
            Rule::WrongType => "wrong_type",
            Rule::UnparsableTime => "unparsable_time",
            Rule::TimeOutOfRange => "time_out_of_range",
            Rule::FutureTime => "future_time",
            Rule::NegativePrice => "negative_price",
            Rule::NumberOutOfRange => "number_out_of_range",
            Rule::TooLarge => "too_large",
            Rule::IdConflict => "id_conflict",
            Rule::IdCollision => "id_collision",
            Rule::WrongSign => "wrong_sign",
        }
    }
}

/// Why one record was rejected. Of several reasons, `rule` and `field` are the first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {message}", rule = self.rule.as_str())]
pub struct Reject {
    pub rule: Rule,
    /// The field at fault, where it is one.
    pub field: Option<&'static str>,
    /// Says what was expected, of that field and of the others at fault; never the record's own text beyond short, cut
    /// pieces.
    pub message: String,
    /// The record's own `received_at` where it was read before the fault, UTC microseconds.
    pub received_at: Option<i64>,
}

/// Something odd about an accepted record that the record itself shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Warning {
    QuantityZero,
    AmountRounded,
    UnknownPageType,
    /// Known only to the dataflow: the product has no dimension record (yet).
    UnknownProduct,
    UnknownUser,
    /// Known only to the dataflow: an order's returns exceed what was paid.
    ReturnedMoreThanPaid,
    /// Known only to the dataflow: the lines of one order name several users or sessions.
    OrderDisagrees,
}

impl Warning {
    pub const ALL: [Warning; 7] = [
        Warning::QuantityZero,
        Warning::AmountRounded,
        Warning::UnknownPageType,
        Warning::UnknownProduct,
        Warning::UnknownUser,
        Warning::ReturnedMoreThanPaid,
        Warning::OrderDisagrees,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Warning::QuantityZero => "quantity_zero",
            Warning::AmountRounded => "amount_rounded",
            Warning::UnknownPageType => "unknown_page_type",
            Warning::UnknownProduct => "unknown_product",
            Warning::UnknownUser => "unknown_user",
            Warning::ReturnedMoreThanPaid => "returned_more_than_paid",
            Warning::OrderDisagrees => "order_disagrees",
        }
    }
}

/// A set of warnings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Warnings(u8);

impl Warnings {
    pub fn add(&mut self, warning: Warning) {
        self.0 |= 1 << warning as u8;
    }

    pub fn has(self, warning: Warning) -> bool {
        self.0 & 1 << warning as u8 != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One bit for each.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The inverse of [`Warnings::bits`].
    pub fn of_bits(bits: u8) -> Warnings {
        Warnings(bits)
    }

    pub fn iter(self) -> impl Iterator<Item = Warning> {
        Warning::ALL.into_iter().filter(move |&warning| self.has(warning))
    }
}
