//! Event files read back as records, from their columns: no line is made of them and nothing is judged again, for they were accepted.

use super::LakeError;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use bytes::Bytes;
use millrace_schema::{Cents, Currency, Kind, Page, Record, Warning, Warnings};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

const BATCH_ROWS: usize = 8_192;

/// Where a record of an event file came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPlace<'a> {
    pub source: &'a str,
    /// Its number within the source.
    pub partition: u32,
    pub offset: u64,
    pub epoch: u64,
}

/// Hands over the records of a file one after another; `key` is what errors call it. `default_currency` is that of records that name none.
///
/// # Errors
/// [`LakeError`] where it is not an event file, or what `each` fails with.
pub fn read_event_records<E: From<LakeError>>(
    key: &str,
    bytes: Bytes,
    default_currency: Currency,
    mut each: impl FnMut(EventPlace<'_>, &Record<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(LakeError::decode(key))?;
    let reader = reader.with_batch_size(BATCH_ROWS).build().map_err(LakeError::decode(key))?;
    for batch in reader {
        let batch = batch.map_err(LakeError::arrow(key))?;
        let columns = Columns::of(key, &batch, default_currency)?;
        for row in 0..batch.num_rows() {
            let (place, record) = columns.row(key, row)?;
            each(place, &record)?;
        }
    }
    Ok(())
}

/// A column that a file may not have.
struct Optional<A>(Option<A>);

impl Optional<StringArray> {
    /// Empty where it is absent.
    #[inline]
    fn text(&self, row: usize) -> &str {
        self.0.as_ref().filter(|texts| texts.is_valid(row)).map_or("", |texts| texts.value(row))
    }
}

impl Optional<Int64Array> {
    #[inline]
    fn number(&self, row: usize) -> Option<i64> {
        self.0.as_ref().filter(|numbers| numbers.is_valid(row)).map(|numbers| numbers.value(row))
    }
}

impl Optional<BooleanArray> {
    fn holds(&self, row: usize) -> bool {
        self.0.as_ref().is_some_and(|values| values.is_valid(row) && values.value(row))
    }
}

/// Amounts, in units of 10^-scale.
struct Amounts {
    values: Optional<Decimal128Array>,
    scale: u32,
}

impl Amounts {
    /// In minor units of a currency. Whatever it was written with had as many places.
    #[inline]
    fn cents(&self, row: usize, currency: Currency) -> Option<Cents> {
        let values = self.values.0.as_ref().filter(|values| values.is_valid(row))?;
        let value = values.value(row);
        let digits = currency.digits();
        let cents = match self.scale.checked_sub(digits) {
            Some(fewer) => value / 10_i128.pow(fewer),
            None => value * 10_i128.pow(digits - self.scale),
        };
        i64::try_from(cents).ok()
    }
}

struct Columns {
    default_currency: Currency,
    kind: Optional<StringArray>,
    texts: [Optional<StringArray>; TEXTS.len()],
    page: Optional<StringArray>,
    currency: Optional<StringArray>,
    source: Optional<StringArray>,
    numbers: [Optional<Int64Array>; NUMBERS.len()],
    amounts: [Amounts; AMOUNTS.len()],
    deleted: Optional<BooleanArray>,
}

const TEXTS: [&str; 15] = [
    "event_id",
    "session_id",
    "user_id",
    "product_id",
    "order_id",
    "referrer",
    "device",
    "discount_code",
    "reason",
    "name",
    "category",
    "brand",
    "country",
    "channel",
    "extra",
];

const NUMBERS: [&str; 10] = [
    "event_time",
    "received_at",
    "quantity",
    "signup_time",
    "on_hand",
    "reserved",
    "lead_time_days",
    "partition",
    "offset",
    "epoch",
];

const AMOUNTS: [&str; 5] = ["price_paid", "amount", "unit_price", "price", "cost"];

impl Columns {
    fn of(key: &str, batch: &RecordBatch, default_currency: Currency) -> Result<Columns, LakeError> {
        let of_type = |name: &str, to: &DataType| -> Result<Option<ArrayRef>, LakeError> {
            let Some(column) = batch.column_by_name(name) else { return Ok(None) };
            if column.data_type() == to {
                return Ok(Some(column.clone()));
            }
            cast(column, to).map(Some).map_err(LakeError::arrow(key))
        };
        let text = |name: &str| -> Result<Optional<StringArray>, LakeError> {
            Ok(Optional(of_type(name, &DataType::Utf8)?.map(|column| column.as_string::<i32>().clone())))
        };
        let number = |name: &str| -> Result<Optional<Int64Array>, LakeError> {
            Ok(Optional(of_type(name, &DataType::Int64)?.map(|column| column.as_primitive::<Int64Type>().clone())))
        };
        let amount = |name: &str| -> Result<Amounts, LakeError> {
            let scale = match batch.column_by_name(name).map(|column| column.data_type()) {
                Some(DataType::Decimal64(_, scale) | DataType::Decimal128(_, scale)) => *scale,
                Some(other) => {
                    let message = format!("the column {name} is of type {other}, not an amount");
                    return Err(LakeError::Decode { key: key.to_owned(), message });
                }
                None => 0,
            };
            let column = of_type(name, &DataType::Decimal128(38, scale))?;
            let values = Optional(column.map(|column| column.as_primitive().clone()));
            Ok(Amounts { values, scale: u32::try_from(scale).unwrap_or(0) })
        };
        let deleted = of_type("deleted", &DataType::Boolean)?.map(|column| column.as_boolean().clone());
        Ok(Columns {
            default_currency,
            kind: text("event_type")?,
            texts: all(TEXTS, text)?,
            page: text("page_type")?,
            currency: text("currency")?,
            source: text("source")?,
            numbers: all(NUMBERS, number)?,
            amounts: all(AMOUNTS, amount)?,
            deleted: Optional(deleted),
        })
    }

    fn row(&self, key: &str, row: usize) -> Result<(EventPlace<'_>, Record<'_>), LakeError> {
        let wrong = |message: String| LakeError::Decode { key: key.to_owned(), message };
        let kind = self.kind.text(row);
        let kind = Kind::parse(kind).ok_or_else(|| wrong(format!("{kind:?} is no kind of event that is known")))?;
        let [event_id, session_id, user_id, product_id, order_id, referrer, device, discount_code, reason, rest @ ..] =
            &self.texts;
        let [name, category, brand, country, channel, extra] = rest;
        let [time, received_at, quantity, signup_time, on_hand, reserved, lead_time_days, partition, offset, epoch] =
            &self.numbers;
        let [price_paid, amount, unit_price, price, cost] = &self.amounts;
        let currency = match self.currency.text(row) {
            "" => self.default_currency,
            code => Currency::read_back(code).ok_or_else(|| wrong(format!("{code:?} is no currency")))?,
        };
        let quantity = i32::try_from(quantity.number(row).unwrap_or(0)).unwrap_or(0);
        let has_quantity = matches!(kind, Kind::AddToCart | Kind::RemoveFromCart | Kind::Purchase) && quantity == 0;
        let mut warnings = Warnings::default();
        if has_quantity {
            warnings.add(Warning::QuantityZero);
        }
        let record = Record {
            event_id: event_id.text(row),
            time: time.number(row).ok_or_else(|| wrong(format!("row {row} has no event_time")))?,
            received_at: received_at.number(row),
            session_id: session_id.text(row),
            user_id: user_id.text(row),
            product_id: product_id.text(row),
            order_id: order_id.text(row),
            page: Page::parse(self.page.text(row)).unwrap_or(Page::Other),
            referrer: referrer.text(row),
            device: device.text(row),
            quantity,
            amount: price_paid.cents(row, currency).or_else(|| amount.cents(row, currency)).unwrap_or(0),
            unit_price: unit_price.cents(row, currency),
            discount_code: discount_code.text(row),
            reason: reason.text(row),
            name: name.text(row),
            category: category.text(row),
            brand: brand.text(row),
            price: price.cents(row, currency),
            cost: cost.cents(row, currency),
            country: country.text(row),
            channel: channel.text(row),
            signup_time: signup_time.number(row),
            on_hand: on_hand.number(row).unwrap_or(0),
            reserved: reserved.number(row),
            lead_time_days: lead_time_days.number(row),
            deleted: self.deleted.holds(row),
            warnings,
            extra: extra.text(row),
            ..Record::empty(kind, currency)
        };
        let place = EventPlace {
            source: self.source.text(row),
            partition: u32::try_from(partition.number(row).unwrap_or(0)).unwrap_or(0),
            offset: u64::try_from(offset.number(row).unwrap_or(0)).unwrap_or(0),
            epoch: u64::try_from(epoch.number(row).unwrap_or(0)).unwrap_or(0),
        };
        Ok((place, record))
    }
}

/// Each of some columns.
fn all<T, const N: usize>(
    names: [&str; N],
    mut column: impl FnMut(&str) -> Result<T, LakeError>,
) -> Result<[T; N], LakeError> {
    let columns: Vec<T> = names.iter().map(|name| column(name)).collect::<Result<_, _>>()?;
    Ok(columns.try_into().unwrap_or_else(|_| unreachable!("there is a column for each name")))
}
