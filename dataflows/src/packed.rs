//! Rows at rest: by column, in as few bytes as their values need. About a quarter of the memory of loose rows.
//!
//! ```text
//! row count │ a form for each column │ column │ column │ …
//! form   0         1         2 to 8                     9                     10
//! column nothing   [value]   [least] 1 to 7 bytes       values of 8 bytes     [n] n values, a byte for each row
//! ```
//! Any value of any row is found without a look at the others.

use smallvec::SmallVec;
use std::sync::Arc;

/// Distinct values that are worth a list of their own.
const DISTINCT_MOST: usize = 12;
const WORD: usize = size_of::<i64>();

/// Some rows of one width. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Packed(Arc<[u8]>);

#[derive(Clone, Copy)]
enum Form {
    Zeros,
    Constant,
    /// Above the least value, in so many bytes.
    Above(usize),
    Whole,
    Listed,
}

impl Form {
    fn of_code(code: u8) -> Form {
        match code {
            0 => Form::Zeros,
            1 => Form::Constant,
            2..=8 => Form::Above(usize::from(code) - 1),
            9 => Form::Whole,
            _ => Form::Listed,
        }
    }

    fn code(self) -> u8 {
        match self {
            Form::Zeros => 0,
            Form::Constant => 1,
            Form::Above(width) => width as u8 + 1,
            Form::Whole => 9,
            Form::Listed => 10,
        }
    }
}

/// Where the columns of some rows are.
pub struct Columns<'a> {
    rows: usize,
    columns: SmallVec<[Column<'a>; 24]>,
}

struct Column<'a> {
    form: Form,
    bytes: &'a [u8],
}

impl Packed {
    /// Packs rows of `stride` values: one at least, and fewer than 2^16.
    pub fn of(rows: &[i64], stride: usize) -> Packed {
        let count = rows.len() / stride;
        let mut bytes = Vec::with_capacity(rows.len() * 4);
        bytes.extend_from_slice(&(count as u16).to_le_bytes());
        bytes.resize(bytes.len() + stride, 0);
        for column in 0..stride {
            let values = || rows[column..].iter().step_by(stride).copied();
            bytes[size_of::<u16>() + column] = put(&values, &mut bytes).code();
        }
        Packed(bytes.into())
    }

    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    pub fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    pub fn rows(&self) -> usize {
        usize::from(u16::from_le_bytes(*self.0.first_chunk().expect("the count comes first")))
    }

    pub fn columns(&self, stride: usize) -> Columns<'_> {
        let rows = self.rows();
        let (forms, mut rest) = self.0[size_of::<u16>()..].split_at(stride);
        let columns = forms.iter().map(|&code| {
            let form = Form::of_code(code);
            let length = match form {
                Form::Zeros => 0,
                Form::Constant => WORD,
                Form::Above(width) => WORD + rows * width,
                Form::Whole => rows * WORD,
                Form::Listed => 1 + usize::from(rest[0]) * WORD + rows,
            };
            let (bytes, after) = rest.split_at(length);
            rest = after;
            Column { form, bytes }
        });
        Columns { rows, columns: columns.collect() }
    }

    /// Appends the rows as they were.
    pub fn unpack(&self, stride: usize, out: &mut Vec<i64>) {
        let Columns { rows, columns } = self.columns(stride);
        let start = out.len();
        out.resize(start + rows * stride, 0);
        for (at, column) in columns.iter().enumerate() {
            let places = out[start + at..].iter_mut().step_by(stride);
            match column.form {
                Form::Zeros => {}
                Form::Constant => {
                    let value = column.word(0);
                    places.for_each(|place| *place = value);
                }
                _ => places.enumerate().for_each(|(row, place)| *place = column.value(row)),
            }
        }
    }
}

/// Appends a column.
fn put<I: Iterator<Item = i64>>(values: &impl Fn() -> I, bytes: &mut Vec<u8>) -> Form {
    let (least, most) = values().fold((i64::MAX, i64::MIN), |(least, most), v| (least.min(v), most.max(v)));
    if least >= most {
        if least == most && least != 0 {
            bytes.extend_from_slice(&least.to_le_bytes());
            return Form::Constant;
        }
        return Form::Zeros;
    }
    let above = |value: i64| value.wrapping_sub(least) as u64;
    let width = WORD - above(most).leading_zeros() as usize / 8;
    if width < WORD {
        bytes.extend_from_slice(&least.to_le_bytes());
        values().for_each(|value| bytes.extend_from_slice(&above(value).to_le_bytes()[..width]));
        return Form::Above(width);
    }
    let mut listed: SmallVec<[i64; DISTINCT_MOST]> = SmallVec::new();
    for value in values() {
        if !listed.contains(&value) {
            if listed.len() == DISTINCT_MOST {
                values().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
                return Form::Whole;
            }
            listed.push(value);
        }
    }
    bytes.push(listed.len() as u8);
    listed.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
    let position = |value| listed.iter().position(|listed| *listed == value).expect("all are listed");
    bytes.extend(values().map(|value| position(value) as u8));
    Form::Listed
}

impl Columns<'_> {
    pub fn rows(&self) -> usize {
        self.rows
    }

    #[inline]
    pub fn value(&self, column: usize, row: usize) -> i64 {
        self.columns[column].value(row)
    }
}

impl Column<'_> {
    #[inline]
    fn word(&self, at: usize) -> i64 {
        i64::from_le_bytes(*self.bytes[at..].first_chunk().expect("the column is whole"))
    }

    #[inline]
    fn value(&self, row: usize) -> i64 {
        match self.form {
            Form::Zeros => 0,
            Form::Constant => self.word(0),
            Form::Above(width) => {
                let mut word = [0; WORD];
                word[..width].copy_from_slice(&self.bytes[WORD + row * width..][..width]);
                self.word(0).wrapping_add(i64::from_le_bytes(word))
            }
            Form::Whole => self.word(row * WORD),
            Form::Listed => {
                let values = 1 + usize::from(self.bytes[0]) * WORD;
                self.word(1 + usize::from(self.bytes[values + row]) * WORD)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = i64> {
        prop_oneof![
            Just(0),
            -3..4_i64,
            0..300_i64,
            -70_000..70_000_i64,
            any::<i32>().prop_map(i64::from),
            (0..3_i64).prop_map(|n| n << 40),
            any::<i64>()
        ]
    }

    proptest! {
        #[test]
        fn rows_are_as_they_were(
            columns in prop::collection::vec(value().prop_flat_map(|one| prop::collection::vec(prop_oneof![Just(one), value()], 40)), 1..30),
            count in 1..40_usize,
        ) {
            let rows: Vec<i64> = (0..count).flat_map(|row| columns.iter().map(move |column| column[row])).collect();
            let packed = Packed::of(&rows, columns.len());
            let mut unpacked = vec![7];
            packed.unpack(columns.len(), &mut unpacked);
            prop_assert_eq!(&unpacked[1..], &rows[..]);
            let found = packed.columns(columns.len());
            prop_assert_eq!(found.rows(), count);
            for row in 0..count {
                for (at, column) in columns.iter().enumerate() {
                    prop_assert_eq!(found.value(at, row), column[row]);
                }
            }
        }
    }

    /// Sales by hour and product: as much as decides how large an index is.
    #[test]
    fn a_row_of_few_values_is_small() {
        let row =
            |n: i64| [1_772_323_200_000_000, n << 40, 9 << 50, 9 << 50, 840, 1, 1, 2, 0, 1_990 + n, 1_990, 0, 0, 1];
        let rows: Vec<i64> = (0..36).flat_map(row).collect();
        assert!(Packed::of(&rows, 14).bytes() < 36 * 14);
    }
}
