//! A value of an Arrow array as JSON text. Exact: decimals keep their places, floats are the shortest that read back.
//!
//! Every type there is has a text, and the compiler holds us to it: a type that is not named below does not compile, so
//! that no column can vanish on its way.
//!
//! | Arrow | JSON |
//! |---|---|
//! | lists of any kind | an array |
//! | a map | an object; an array of `{"key": …, "value": …}` where keys are not texts, or one stands twice |
//! | a time of day | `"HH:MM:SS"`, with the places that are not 0 |
//! | a duration, an interval | a text, as Arrow prints it |
//! | a dictionary, a run, a union | the value that it stands for |

use arrow::array::{Array, AsArray, MapArray, downcast_dictionary_array, downcast_run_array};
use arrow::datatypes::*;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use millrace_schema::calendar::{format_day, rfc3339_micros};
use std::io::Write;

/// What `rfc3339_micros` can print: the years 1 to 9998.
const TIME_RANGE_MICROS: std::ops::Range<i64> = -62_135_596_800_000_000..253_370_764_800_000_000;
const MICROS_PER_DAY: i64 = 86_400_000_000;
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Appends the value at `row`, `null` where it is absent.
pub(crate) fn write_value(array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    if array.is_null(row) {
        out.extend_from_slice(b"null");
        return;
    }
    macro_rules! number {
        ($type:ty) => {
            put(out, format_args!("{}", array.as_primitive::<$type>().value(row)))
        };
    }
    match array.data_type() {
        DataType::Utf8 => write_text(array.as_string::<i32>().value(row).as_bytes(), out),
        DataType::LargeUtf8 => write_text(array.as_string::<i64>().value(row).as_bytes(), out),
        DataType::Utf8View => write_text(array.as_string_view().value(row).as_bytes(), out),
        // Texts of writers that do not annotate them. Bytes that are not UTF-8 are the decoder's to reject.
        DataType::Binary => write_text(array.as_binary::<i32>().value(row), out),
        DataType::LargeBinary => write_text(array.as_binary::<i64>().value(row), out),
        DataType::BinaryView => write_text(array.as_binary_view().value(row), out),
        DataType::FixedSizeBinary(_) => write_text(array.as_fixed_size_binary().value(row), out),
        DataType::Boolean => put(out, format_args!("{}", array.as_boolean().value(row))),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Float16 => {
            let value = array.as_primitive::<Float16Type>().value(row).to_f32();
            write_float(value.is_finite(), format_args!("{value}"), out);
        }
        DataType::Float32 => {
            let value = array.as_primitive::<Float32Type>().value(row);
            write_float(value.is_finite(), format_args!("{value}"), out);
        }
        DataType::Float64 => {
            let value = array.as_primitive::<Float64Type>().value(row);
            write_float(value.is_finite(), format_args!("{value}"), out);
        }
        DataType::Decimal32(_, _) => {
            put(out, format_args!("{}", array.as_primitive::<Decimal32Type>().value_as_string(row)))
        }
        DataType::Decimal64(_, _) => {
            put(out, format_args!("{}", array.as_primitive::<Decimal64Type>().value_as_string(row)))
        }
        DataType::Decimal128(_, _) => {
            put(out, format_args!("{}", array.as_primitive::<Decimal128Type>().value_as_string(row)))
        }
        DataType::Decimal256(_, _) => {
            put(out, format_args!("{}", array.as_primitive::<Decimal256Type>().value_as_string(row)))
        }
        DataType::Timestamp(unit, _) => {
            let micros = match unit {
                TimeUnit::Second => array.as_primitive::<TimestampSecondType>().value(row).checked_mul(1_000_000),
                TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row).checked_mul(1_000),
                TimeUnit::Microsecond => Some(array.as_primitive::<TimestampMicrosecondType>().value(row)),
                TimeUnit::Nanosecond => {
                    Some(array.as_primitive::<TimestampNanosecondType>().value(row).div_euclid(1_000))
                }
            };
            write_time(micros, out);
        }
        DataType::Date32 => write_day(i64::from(array.as_primitive::<Date32Type>().value(row)), out),
        DataType::Date64 => write_day(array.as_primitive::<Date64Type>().value(row).div_euclid(86_400_000), out),
        DataType::Struct(fields) => {
            let array = array.as_struct();
            out.push(b'{');
            let mut first = true;
            for (field, column) in fields.iter().zip(array.columns()).filter(|(_, column)| column.is_valid(row)) {
                write_key(field.name(), &mut first, out);
                write_value(column.as_ref(), row, out);
            }
            out.push(b'}');
        }
        DataType::Time32(TimeUnit::Second) => write_clock(array.as_primitive::<Time32SecondType>().value(row), 1, out),
        DataType::Time32(_) => write_clock(array.as_primitive::<Time32MillisecondType>().value(row), 1_000, out),
        DataType::Time64(TimeUnit::Nanosecond) => {
            write_clock(array.as_primitive::<Time64NanosecondType>().value(row), NANOS_PER_SECOND, out)
        }
        DataType::Time64(_) => write_clock(array.as_primitive::<Time64MicrosecondType>().value(row), 1_000_000, out),
        DataType::List(_) => write_list(array.as_list::<i32>().value(row).as_ref(), out),
        DataType::LargeList(_) => write_list(array.as_list::<i64>().value(row).as_ref(), out),
        DataType::ListView(_) => write_list(array.as_list_view::<i32>().value(row).as_ref(), out),
        DataType::LargeListView(_) => write_list(array.as_list_view::<i64>().value(row).as_ref(), out),
        DataType::FixedSizeList(_, _) => write_list(array.as_fixed_size_list().value(row).as_ref(), out),
        DataType::Map(_, _) => write_map(array.as_map(), row, out),
        DataType::Dictionary(_, _) => downcast_dictionary_array!(
            array => match array.key(row) {
                Some(key) => write_value(array.values().as_ref(), key, out),
                None => out.extend_from_slice(b"null"),
            },
            _ => unreachable!("the arm is for dictionaries")
        ),
        DataType::RunEndEncoded(_, _) => downcast_run_array!(
            array => write_value(array.values().as_ref(), array.get_physical_index(row), out),
            _ => unreachable!("the arm is for runs")
        ),
        DataType::Union(_, _) => write_value(array.as_union().value(row).as_ref(), 0, out),
        DataType::Null => out.extend_from_slice(b"null"),
        DataType::Duration(_) | DataType::Interval(_) => write_printed(array, row, out),
    }
}

/// `"key":`, after a comma unless it is the first.
pub(crate) fn write_key(key: &str, first: &mut bool, out: &mut Vec<u8>) {
    if !std::mem::take(first) {
        out.push(b',');
    }
    write_text(key.as_bytes(), out);
    out.push(b':');
}

pub(crate) fn write_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut plain = 0;
    for (at, &byte) in text.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text[plain..at]);
        plain = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => put(out, format_args!("\\u{byte:04x}")),
        }
    }
    out.extend_from_slice(&text[plain..]);
    out.push(b'"');
}

fn write_list(values: &dyn Array, out: &mut Vec<u8>) {
    out.push(b'[');
    for row in 0..values.len() {
        if row > 0 {
            out.push(b',');
        }
        write_value(values, row, out);
    }
    out.push(b']');
}

/// An object, where its keys can be those of one: texts, each once.
fn write_map(map: &MapArray, row: usize, out: &mut Vec<u8>) {
    let entries = map.value(row);
    let (keys, values) = (entries.column(0), entries.column(1));
    let names = names_of(keys.as_ref());
    let is_object = names.as_ref().is_some_and(|names| {
        let mut seen: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        seen.sort_unstable();
        seen.windows(2).all(|pair| pair[0] != pair[1])
    });
    if let Some(names) = names.filter(|_| is_object) {
        out.push(b'{');
        for (entry, name) in names.iter().enumerate() {
            out.extend_from_slice(if entry > 0 { b"," } else { b"" });
            out.extend_from_slice(name);
            out.push(b':');
            write_value(values.as_ref(), entry, out);
        }
        out.push(b'}');
        return;
    }
    out.push(b'[');
    for entry in 0..entries.len() {
        out.extend_from_slice(if entry > 0 { b",{\"key\":" } else { b"{\"key\":" });
        write_value(keys.as_ref(), entry, out);
        out.extend_from_slice(b",\"value\":");
        write_value(values.as_ref(), entry, out);
        out.push(b'}');
    }
    out.push(b']');
}

/// Keys as JSON texts; none where they are something else.
fn names_of(keys: &dyn Array) -> Option<Vec<Vec<u8>>> {
    let is_text = match keys.data_type() {
        DataType::Dictionary(_, values) => values.is_string(),
        other => other.is_string(),
    };
    is_text.then(|| {
        let name = |entry| {
            let mut name = Vec::new();
            write_value(keys, entry, &mut name);
            name
        };
        (0..keys.len()).map(name).collect()
    })
}

/// A time of day, by so many units a second.
fn write_clock(time: impl Into<i64>, units: i64, out: &mut Vec<u8>) {
    let time = time.into();
    if !(0..86_400 * units).contains(&time) {
        return out.extend_from_slice(b"\"time out of range\"");
    }
    let (seconds, rest) = (time / units, time % units);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    put(out, format_args!("\"{hour:02}:{minute:02}:{second:02}"));
    if rest > 0 {
        let places = format!("{:09}", rest * (NANOS_PER_SECOND / units));
        put(out, format_args!(".{}", places.trim_end_matches('0')));
    }
    out.push(b'"');
}

/// What JSON has nothing for, as Arrow prints it.
fn write_printed(array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    let options = FormatOptions::default();
    let text = ArrayFormatter::try_new(array, &options).and_then(|printer| printer.value(row).try_to_string());
    match text {
        Ok(text) => write_text(text.as_bytes(), out),
        // It is there, and cannot be said: what asks for it rejects it.
        Err(error) => write_text(error.to_string().as_bytes(), out),
    }
}

/// JSON has no NaN and no infinity: they become text, which the decoder rejects with a reason.
fn write_float(is_finite: bool, value: std::fmt::Arguments<'_>, out: &mut Vec<u8>) {
    if is_finite { put(out, value) } else { put(out, format_args!("\"{value}\"")) }
}

fn write_time(micros: Option<i64>, out: &mut Vec<u8>) {
    match micros.filter(|micros| TIME_RANGE_MICROS.contains(micros)) {
        Some(micros) => put(out, format_args!("\"{}\"", rfc3339_micros(micros))),
        None => out.extend_from_slice(b"\"time out of range\""),
    }
}

fn write_day(day: i64, out: &mut Vec<u8>) {
    match day.checked_mul(MICROS_PER_DAY).filter(|micros| TIME_RANGE_MICROS.contains(micros)) {
        Some(_) => put(out, format_args!("\"{}\"", format_day(day))),
        None => out.extend_from_slice(b"\"time out of range\""),
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes any bytes");
}
