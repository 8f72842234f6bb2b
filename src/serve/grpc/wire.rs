//! Writes rows straight into the bytes of an answer, as the contract lays them out.
//!
//! Field numbers are those of `proto/millrace/v1/*.proto`; a test reads everything back with the generated messages.

use millrace_dataflows::table::Value;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

/// `at` in every answer.
pub const AT: u32 = 1;
/// In `Value`.
const INT: u32 = 1;
const DOUBLE: u32 = 2;
const TEXT: u32 = 3;
const MONEY: u32 = 4;
/// In `Money`.
const AMOUNT: u32 = 1;
const CURRENCY: u32 = 2;
/// In `Row`.
const VALUES: u32 = 1;

pub fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_head(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

/// What stands before `length` bytes.
pub fn put_head(out: &mut Vec<u8>, field: u32, length: usize) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

pub fn put_int(out: &mut Vec<u8>, field: u32, value: u64) {
    encode_key(field, WireType::Varint, out);
    encode_varint(value, out);
}

fn put_double(out: &mut Vec<u8>, field: u32, value: f64) {
    encode_key(field, WireType::SixtyFourBit, out);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Writes a message of unknown length: what `fill` writes, with its head before it.
pub fn put_message(out: &mut Vec<u8>, field: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    encode_key(field, WireType::LengthDelimited, out);
    let start = out.len();
    // Most rows and cells are short: one byte of length is right for most, and is widened where it is not.
    out.push(0);
    fill(out);
    let length = out.len() - start - 1;
    match encoded_len_varint(length as u64) {
        1 => out[start] = length as u8,
        more => {
            out.resize(out.len() + more - 1, 0);
            out.copy_within(start + 1..start + 1 + length, start + more);
            encode_varint(length as u64, &mut &mut out[start..start + more]);
        }
    }
}

/// The members of a `Row`: one `Value` a cell.
pub fn put_values(out: &mut Vec<u8>, values: &[Value]) {
    for value in values {
        put_message(out, VALUES, |out| match value {
            Value::Null => {}
            Value::Int(value) => put_int(out, INT, *value as u64),
            Value::Float(value) => put_double(out, DOUBLE, *value),
            Value::Text(text) => put_bytes(out, TEXT, text.as_bytes()),
            Value::Money(..) => put_cell(out, MONEY, value),
        });
    }
}

/// A cell as a field of a typed row. Null is an absent field.
pub fn put_cell(out: &mut Vec<u8>, field: u32, value: &Value) {
    match value {
        Value::Null => {}
        Value::Int(value) => put_int(out, field, *value as u64),
        Value::Float(value) => put_double(out, field, *value),
        Value::Text(text) => put_bytes(out, field, text.as_bytes()),
        Value::Money(minor, currency) => {
            let amount = currency.format(*minor);
            const CODE: usize = "USD".len();
            put_head(out, field, key_len(AMOUNT) + 1 + amount.len() + key_len(CURRENCY) + 1 + CODE);
            put_bytes(out, AMOUNT, amount.as_bytes());
            put_head(out, CURRENCY, CODE);
            let [_, letters @ ..] = (currency.code() as u32).to_be_bytes();
            out.extend_from_slice(&letters);
        }
    }
}

/// A cell as a caller reads it.
#[cfg(test)]
pub fn read(value: &millrace_proto::v1::Value) -> Value {
    use millrace_proto::v1::value::Kind;
    use millrace_schema::Currency;
    match &value.kind {
        None => Value::Null,
        Some(Kind::IntValue(value)) => Value::Int(*value),
        Some(Kind::DoubleValue(value)) => Value::Float(*value),
        Some(Kind::TextValue(text)) => Value::text(text),
        Some(Kind::MoneyValue(money)) => {
            let currency = Currency::parse(&money.currency).expect("a currency");
            let minor: i64 = money.amount.replace('.', "").parse().expect("digits");
            assert_eq!(currency.format(minor), money.amount);
            Value::Money(minor, currency)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_proto::v1;
    use millrace_schema::Currency;
    use prost::Message;

    #[test]
    fn what_is_written_is_what_the_contract_reads() {
        let long = "x".repeat(70_000);
        let texts = ["", "a", &long[..120], &long[..200], &long[..20_000], &long];
        let mut values: Vec<Value> = texts.iter().map(Value::text).collect();
        let yen = Currency::parse("JPY").expect("a currency");
        values.extend([Value::Null, Value::Int(0), Value::Int(-5), Value::Int(i64::MAX), Value::Float(0.25)]);
        values.extend([Value::Money(-1234, Currency::USD), Value::Money(i64::MIN + 1, yen)]);
        let mut out = Vec::new();
        put_message(&mut out, 3, |out| put_values(out, &values));
        let answer = v1::QueryResponse::decode(&*out).expect("it is one");
        let read: Vec<Value> = answer.rows[0].values.iter().map(read).collect();
        assert_eq!(read, values);
    }
}
