//! A value of an Arrow array as JSON text. Exact: decimals keep their places, floats are the shortest that read back.

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::*;
use millrace_schema::calendar::{format_day, rfc3339_micros};
use std::io::Write;

/// What `rfc3339_micros` can print: the years 1 to 9998.
const TIME_RANGE_MICROS: std::ops::Range<i64> = -62_135_596_800_000_000..253_370_764_800_000_000;
const MICROS_PER_DAY: i64 = 86_400_000_000;

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
        DataType::List(_) => write_list(array.as_list::<i32>().value(row).as_ref(), out),
        DataType::LargeList(_) => write_list(array.as_list::<i64>().value(row).as_ref(), out),
        // Rare kinds, and dictionaries deep inside others: as Arrow prints them.
        _ => match cast(&array.slice(row, 1), &DataType::Utf8) {
            Ok(text) if text.is_valid(0) => write_text(text.as_string::<i32>().value(0).as_bytes(), out),
            _ => out.extend_from_slice(b"null"),
        },
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
