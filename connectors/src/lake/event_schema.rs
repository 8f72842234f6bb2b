//! The columns of an event file, and how each is encoded.
//!
//! Money is `DECIMAL(18, 4)`: no currency has more places, and none of its valid amounts (up to 10^13 minor units, here in
//! ten-thousandths) outgrows 18 digits, so that one column holds them all exactly.
//! Encoding is chosen for the writer's time, which is the dearest part of the engine: a dictionary only where values
//! repeat, differences for numbers, statistics only where a reader prunes by them.

use super::Compression;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::basic::Encoding;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use std::sync::{Arc, LazyLock};

/// Texts of a staged event, in the order of its buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Text {
    EventId,
    SessionId,
    UserId,
    ProductId,
    OrderId,
    Referrer,
    Device,
    DiscountCode,
    Reason,
    Name,
    Category,
    Brand,
    Country,
    Channel,
    Extra,
}

pub(crate) const TEXTS: usize = Text::Extra as usize + 1;

/// Integers of a staged event that may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Number {
    ReceivedAt,
    Page,
    Quantity,
    PricePaid,
    Amount,
    UnitPrice,
    Currency,
    Price,
    Cost,
    SignupTime,
    OnHand,
    Reserved,
    LeadTimeDays,
    Deleted,
}

pub(crate) const NUMBERS: usize = Number::Deleted as usize + 1;

/// Where a column's values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Kind,
    Time,
    Text(Text),
    Number(Number),
    Source,
    Partition,
    Offset,
    Epoch,
}

#[rustfmt::skip]
pub(crate) const COLUMNS: [(&str, From); 35] = [
    ("event_type", From::Kind),
    ("event_id", From::Text(Text::EventId)),
    ("event_time", From::Time),
    ("received_at", From::Number(Number::ReceivedAt)),
    ("session_id", From::Text(Text::SessionId)),
    ("user_id", From::Text(Text::UserId)),
    ("product_id", From::Text(Text::ProductId)),
    ("order_id", From::Text(Text::OrderId)),
    ("page_type", From::Number(Number::Page)),
    ("referrer", From::Text(Text::Referrer)),
    ("device", From::Text(Text::Device)),
    ("quantity", From::Number(Number::Quantity)),
    ("price_paid", From::Number(Number::PricePaid)),
    ("amount", From::Number(Number::Amount)),
    ("unit_price", From::Number(Number::UnitPrice)),
    ("currency", From::Number(Number::Currency)),
    ("discount_code", From::Text(Text::DiscountCode)),
    ("reason", From::Text(Text::Reason)),
    ("name", From::Text(Text::Name)),
    ("category", From::Text(Text::Category)),
    ("brand", From::Text(Text::Brand)),
    ("price", From::Number(Number::Price)),
    ("cost", From::Number(Number::Cost)),
    ("country", From::Text(Text::Country)),
    ("channel", From::Text(Text::Channel)),
    ("signup_time", From::Number(Number::SignupTime)),
    ("on_hand", From::Number(Number::OnHand)),
    ("reserved", From::Number(Number::Reserved)),
    ("lead_time_days", From::Number(Number::LeadTimeDays)),
    ("deleted", From::Number(Number::Deleted)),
    ("extra", From::Text(Text::Extra)),
    ("source", From::Source),
    ("partition", From::Partition),
    ("offset", From::Offset),
    ("epoch", From::Epoch),
];

/// What the engine adds to a record; `event_date` is the name of the folder.
pub(crate) const ENGINE_COLUMNS: [&str; 5] = ["source", "partition", "offset", "epoch", "event_date"];

/// The key in a file's metadata that says it is one of ours.
pub(crate) const LAKE_FORMAT_KEY: &str = "millrace.events";
const LAKE_FORMAT: &str = "1";

pub(crate) const MONEY_PRECISION: u8 = 18;
pub(crate) const MONEY_SCALE: u32 = 4;

pub(crate) static EVENT_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let fields = COLUMNS.map(|(name, from)| {
        let required =
            matches!(from, From::Kind | From::Time | From::Source | From::Partition | From::Offset | From::Epoch);
        Field::new(name, data_type(from), !required)
    });
    Arc::new(Schema::new(fields.to_vec()))
});

fn data_type(from: From) -> DataType {
    let dictionary = |key| DataType::Dictionary(Box::new(key), Box::new(DataType::Utf8));
    match from {
        From::Kind | From::Number(Number::Page) => dictionary(DataType::UInt8),
        From::Source | From::Number(Number::Currency) => dictionary(DataType::UInt16),
        From::Time | From::Number(Number::ReceivedAt | Number::SignupTime) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        From::Number(Number::PricePaid | Number::Amount | Number::UnitPrice | Number::Price | Number::Cost) => {
            DataType::Decimal64(MONEY_PRECISION, MONEY_SCALE as i8)
        }
        From::Number(Number::Deleted) => DataType::Boolean,
        From::Number(Number::Quantity) | From::Partition => DataType::Int32,
        From::Number(Number::OnHand | Number::Reserved | Number::LeadTimeDays) | From::Offset | From::Epoch => {
            DataType::Int64
        }
        From::Text(_) => DataType::Utf8,
    }
}

pub(crate) fn event_properties(compression: Compression, row_group_rows: usize) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(compression.parquet())
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_write_batch_size(8_192)
        .set_data_page_row_count_limit(65_536)
        .set_dictionary_page_size_limit(4 << 20)
        .set_max_row_group_row_count(Some(row_group_rows))
        .set_key_value_metadata(Some(vec![KeyValue::new(LAKE_FORMAT_KEY.to_owned(), LAKE_FORMAT.to_owned())]));
    for (name, from) in COLUMNS {
        let column = || name.into();
        properties = match encoding(from) {
            None => properties.set_column_dictionary_enabled(column(), true),
            Some(encoding) => {
                properties.set_column_dictionary_enabled(column(), false).set_column_encoding(column(), encoding)
            }
        };
        if matches!(from, From::Time | From::Partition | From::Offset | From::Epoch) {
            properties = properties.set_column_statistics_enabled(column(), EnabledStatistics::Chunk);
        }
    }
    properties.build()
}

/// `None` is a dictionary.
fn encoding(from: From) -> Option<Encoding> {
    match from {
        // Rows of one session lie beside each other: what repeats is the text before.
        From::Text(Text::SessionId | Text::UserId) => Some(Encoding::DELTA_BYTE_ARRAY),
        From::Text(Text::EventId | Text::OrderId | Text::Name | Text::Extra) => Some(Encoding::PLAIN),
        From::Number(Number::Deleted) => Some(Encoding::PLAIN),
        From::Kind | From::Source | From::Text(_) | From::Number(Number::Page | Number::Currency) => None,
        From::Time | From::Number(_) | From::Partition | From::Offset | From::Epoch => {
            Some(Encoding::DELTA_BINARY_PACKED)
        }
    }
}
