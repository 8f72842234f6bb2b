//! From staged rows, picked in runs from several batches, to one Arrow batch.

use super::LakeError;
use super::event_schema::{COLUMNS, EVENT_SCHEMA, From, MONEY_PRECISION, MONEY_SCALE, Number};
use super::staged::{NONE, Numbers, StagedEvents, Texts};
use crate::source::PartitionInfo;
use arrow::array::*;
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::*;
use arrow::error::ArrowError;
use millrace_schema::{Currency, Kind, Page};
use std::sync::{Arc, LazyLock};

/// Consecutive rows of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub batch: usize,
    pub start: usize,
    pub rows: usize,
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

/// The rows of `runs` in their order.
///
/// # Errors
/// [`ArrowError`] where the texts of one column exceed 2 GiB.
pub(crate) fn gather(batches: &[StagedEvents], runs: &[Run], places: &Places) -> Result<RecordBatch, ArrowError> {
    let rows: usize = runs.iter().map(|run| run.rows).sum();
    let picked = Picked { batches, runs, rows };
    let columns = COLUMNS.iter().zip(EVENT_SCHEMA.fields()).map(|((_, from), field)| match from {
        From::Kind => dictionary::<UInt8Type>(picked.dense(|batch| &batch.kinds), None, Arc::clone(&KINDS)),
        From::Time => Ok(times(picked.dense(|batch| &batch.times), None)),
        From::Text(column) => picked.texts(|batch| &batch.texts[*column as usize]),
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
    batches: &'a [StagedEvents],
    runs: &'a [Run],
    rows: usize,
}

impl<'a> Picked<'a> {
    fn dense<T: Copy + 'a>(self, column: impl Fn(&'a StagedEvents) -> &'a Vec<T>) -> Vec<T> {
        let mut values = Vec::with_capacity(self.rows);
        for run in self.runs {
            values.extend_from_slice(&column(&self.batches[run.batch])[run.start..run.start + run.rows]);
        }
        values
    }

    fn texts(self, column: impl Fn(&'a StagedEvents) -> &'a Texts) -> Result<ArrayRef, ArrowError> {
        let size = self.runs.iter().map(|run| {
            let texts = column(&self.batches[run.batch]);
            text_end(texts, run.start + run.rows) - text_end(texts, run.start)
        });
        let size: usize = size.sum();
        if size == 0 {
            return Ok(new_null_array(&DataType::Utf8, self.rows));
        }
        if i32::try_from(size).is_err() {
            return Err(ArrowError::OffsetOverflowError(size));
        }
        let mut bytes: Vec<u8> = Vec::with_capacity(size);
        let mut offsets: Vec<i32> = Vec::with_capacity(self.rows + 1);
        offsets.push(0);
        for run in self.runs {
            let texts = column(&self.batches[run.batch]);
            let known = texts.ends.len().clamp(run.start, run.start + run.rows);
            let start = text_end(texts, run.start);
            // Both are below 2 GiB, as `size` is, and so is their difference.
            let shift = bytes.len() as i64 - start as i64;
            if run.start < known {
                offsets.extend(texts.ends[run.start..known].iter().map(|&end| (i64::from(end) + shift) as i32));
                bytes.extend_from_slice(&texts.bytes[start..text_end(texts, known)]);
            }
            offsets.resize(offsets.len() + run.start + run.rows - known, bytes.len() as i32);
        }
        let nulls = BooleanBuffer::collect_bool(self.rows, |row| offsets[row] != offsets[row + 1]);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let nulls = Some(NullBuffer::new(nulls)).filter(|nulls| nulls.null_count() > 0);
        Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(bytes), nulls)?))
    }

    fn numbers(self, column: Number, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        let picked = |batch: &'a StagedEvents| -> &'a Numbers { &batch.numbers[column as usize] };
        if self.runs.iter().all(|run| picked(&self.batches[run.batch]).values.len() <= run.start) {
            return Ok(new_null_array(data_type, self.rows));
        }
        let mut values: Vec<i64> = Vec::with_capacity(self.rows);
        for run in self.runs {
            let numbers = picked(&self.batches[run.batch]);
            let end = run.start + run.rows;
            let known = numbers.values.len().clamp(run.start, end);
            if run.start < known {
                values.extend_from_slice(&numbers.values[run.start..known]);
            }
            values.resize(values.len() + end - known, NONE);
        }
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

/// Where the text of the row before `row` ends.
fn text_end(texts: &Texts, row: usize) -> usize {
    match row.min(texts.ends.len()).checked_sub(1) {
        Some(last) => texts.ends[last] as usize,
        None => 0,
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
