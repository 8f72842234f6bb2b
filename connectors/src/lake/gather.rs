//! From staged rows, picked from several batches in any order, to one Arrow batch.

use super::LakeError;
use super::event_schema::{COLUMNS, EVENT_SCHEMA, From, MONEY_PRECISION, MONEY_SCALE, NUMBERS, Number, TEXTS, Text};
use super::staged::{NONE, StagedEvents};
use crate::source::PartitionInfo;
use arrow::array::*;
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::*;
use arrow::error::ArrowError;
use millrace_schema::{Currency, Kind, Page};
use std::sync::{Arc, LazyLock};

/// A row of one of several batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pick {
    pub batch: u32,
    pub row: u32,
}

static KINDS: LazyLock<ArrayRef> =
    LazyLock::new(|| Arc::new(StringArray::from_iter_values(Kind::ALL.iter().map(|kind| kind.as_str()))));
static PAGES: LazyLock<ArrayRef> =
    LazyLock::new(|| Arc::new(StringArray::from_iter_values(Page::ALL.iter().map(|page| page.as_str()))));

/// The names and numbers of partitions, by ordinal.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    sources: ArrayRef,
    numbers: Vec<i32>,
}

impl Places {
    pub fn new(partitions: &[PartitionInfo]) -> Places {
        Places {
            sources: Arc::new(StringArray::from_iter_values(partitions.iter().map(|partition| &partition.source))),
            numbers: partitions
                .iter()
                .map(|partition| i32::try_from(partition.partition).unwrap_or(i32::MAX))
                .collect(),
        }
    }

    pub fn check(&self, ordinals: &[u16]) -> Result<(), LakeError> {
        let highest = ordinals.iter().copied().max().unwrap_or(0);
        let known = ordinals.is_empty() || usize::from(highest) < self.numbers.len();
        if known { Ok(()) } else { Err(LakeError::UnknownPartition(highest)) }
    }

    pub fn source(&self, ordinal: u16) -> &str {
        self.sources.as_string::<i32>().value(usize::from(ordinal))
    }

    pub fn number(&self, ordinal: u16) -> i32 {
        self.numbers[usize::from(ordinal)]
    }
}

/// Batches, and which of their columns hold anything: where rows of thousands of days are picked from thousands of batches, that is
/// not asked each time anew.
pub(crate) struct Staged<'a> {
    batches: &'a [StagedEvents],
    has_texts: [bool; TEXTS],
    has_numbers: [bool; NUMBERS],
}

impl Staged<'_> {
    pub fn new(batches: &[StagedEvents]) -> Staged<'_> {
        let has_texts = std::array::from_fn(|column| batches.iter().any(|batch| !batch.texts[column].bytes.is_empty()));
        let has_numbers =
            std::array::from_fn(|column| batches.iter().any(|batch| !batch.numbers[column].values.is_empty()));
        Staged { batches, has_texts, has_numbers }
    }
}

/// The picked rows in their order.
///
/// # Errors
/// [`ArrowError`] where the texts of one column exceed 2 GiB.
pub(crate) fn gather(staged: &Staged<'_>, picks: &[Pick], places: &Places) -> Result<RecordBatch, ArrowError> {
    let picked = Picked { staged, picks, rows: picks.len() };
    let columns = COLUMNS.iter().zip(EVENT_SCHEMA.fields()).map(|((_, from), field)| match from {
        From::Kind => dictionary::<UInt8Type>(picked.dense(|batch| &batch.kinds), None, Arc::clone(&KINDS)),
        From::Time => Ok(times(picked.dense(|batch| &batch.times), None)),
        From::Text(column) => picked.texts(*column),
        From::Number(column) => picked.numbers(*column, field.data_type()),
        From::Source => {
            dictionary::<UInt16Type>(picked.dense(|batch| &batch.partitions), None, Arc::clone(&places.sources))
        }
        From::Partition => {
            let ordinals = picked.dense(|batch| &batch.partitions);
            let numbers = ordinals.into_iter().map(|ordinal| places.number(ordinal));
            Ok(Arc::new(Int32Array::from_iter_values(numbers)) as ArrayRef)
        }
        From::Offset => Ok(Arc::new(Int64Array::from(picked.dense(|batch| &batch.offsets))) as ArrayRef),
        From::Epoch => Ok(Arc::new(Int64Array::from(picked.dense(|batch| &batch.epochs))) as ArrayRef),
    });
    RecordBatch::try_new(Arc::clone(&EVENT_SCHEMA), columns.collect::<Result<_, _>>()?)
}

#[derive(Clone, Copy)]
struct Picked<'a> {
    staged: &'a Staged<'a>,
    picks: &'a [Pick],
    rows: usize,
}

impl<'a> Picked<'a> {
    /// The rows, each with its batch.
    fn rows(self) -> impl Iterator<Item = (&'a StagedEvents, usize)> {
        self.picks.iter().map(move |pick| (&self.staged.batches[pick.batch as usize], pick.row as usize))
    }

    fn dense<T: Copy + 'a>(self, column: impl Fn(&'a StagedEvents) -> &'a Vec<T>) -> Vec<T> {
        self.rows().map(|(batch, row)| column(batch)[row]).collect()
    }

    fn texts(self, column: Text) -> Result<ArrayRef, ArrowError> {
        let column = column as usize;
        if !self.staged.has_texts[column] {
            return Ok(new_null_array(&DataType::Utf8, self.rows));
        }
        let mut bytes: Vec<u8> = Vec::new();
        let mut offsets: Vec<i32> = Vec::with_capacity(self.rows + 1);
        offsets.push(0);
        for (batch, row) in self.rows() {
            bytes.extend_from_slice(batch.texts[column].get(row));
            offsets.push(bytes.len() as i32);
        }
        if i32::try_from(bytes.len()).is_err() {
            return Err(ArrowError::OffsetOverflowError(bytes.len()));
        }
        let nulls = BooleanBuffer::collect_bool(self.rows, |row| offsets[row] != offsets[row + 1]);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let nulls = Some(NullBuffer::new(nulls)).filter(|nulls| nulls.null_count() > 0);
        Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(bytes), nulls)?))
    }

    fn numbers(self, column: Number, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        if !self.staged.has_numbers[column as usize] {
            return Ok(new_null_array(data_type, self.rows));
        }
        let value = |(batch, row): (&StagedEvents, usize)| batch.numbers[column as usize].values.get(row).copied();
        let values: Vec<i64> = self.rows().map(|row| value(row).unwrap_or(NONE)).collect();
        let valid = BooleanBuffer::collect_bool(self.rows, |row| values[row] != NONE);
        let nulls = Some(NullBuffer::new(valid)).filter(|nulls| nulls.null_count() > 0);
        match column {
            Number::ReceivedAt | Number::SignupTime => Ok(times(values, nulls)),
            Number::Page => dictionary::<UInt8Type>(narrow(values), nulls, Arc::clone(&PAGES)),
            Number::Currency => currencies(values, nulls),
            Number::Quantity => Ok(Arc::new(Int32Array::new(narrow(values).into(), nulls))),
            Number::Deleted => {
                let values = BooleanBuffer::collect_bool(self.rows, |row| values[row] == 1);
                Ok(Arc::new(BooleanArray::new(values, nulls)))
            }
            Number::OnHand | Number::Reserved | Number::LeadTimeDays => {
                Ok(Arc::new(Int64Array::new(values.into(), nulls)))
            }
            Number::PricePaid | Number::Amount | Number::UnitPrice | Number::Price | Number::Cost => {
                let money = Decimal64Array::new(values.into(), nulls);
                Ok(Arc::new(money.with_precision_and_scale(MONEY_PRECISION, MONEY_SCALE as i8)?))
            }
        }
    }
}

/// What fits was checked on decode; an absent value becomes anything.
fn narrow<T: TryFrom<i64> + Default>(values: Vec<i64>) -> Vec<T> {
    values.into_iter().map(|value| T::try_from(value).unwrap_or_default()).collect()
}

fn times(values: Vec<i64>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::new(values.into(), nulls).with_timezone("UTC"))
}

fn dictionary<K: ArrowDictionaryKeyType>(
    keys: Vec<K::Native>,
    nulls: Option<NullBuffer>,
    values: ArrayRef,
) -> Result<ArrayRef, ArrowError> {
    let keys = PrimitiveArray::<K>::new(keys.into(), nulls);
    Ok(Arc::new(DictionaryArray::try_new(keys, values)?))
}

fn currencies(codes: Vec<i64>, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
    let mut known: Vec<i64> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    let mut keys: Vec<u16> = Vec::with_capacity(codes.len());
    for code in codes {
        let key = known.iter().position(|&other| other == code).unwrap_or_else(|| {
            known.push(code);
            let currency = u64::try_from(code).ok().and_then(Currency::from_code);
            names.push(currency.map_or_else(String::new, |currency| currency.to_string()));
            known.len() - 1
        });
        keys.push(key as u16);
    }
    dictionary::<UInt16Type>(keys, nulls, Arc::new(StringArray::from(names)))
}
