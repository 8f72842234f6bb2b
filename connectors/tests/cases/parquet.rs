//! Columns of other people's Parquet files: whatever their types are, their values are in the record.

use crate::{read_all, texts};
use arrow::array::builder::*;
use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::*;
use millrace_connectors::source::ReadOptions;
use millrace_schema::Rule;
use millrace_schema::decode::{Bump, DecodeSettings, decode};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use tempfile::tempdir;

const EVENT: &str = r#"{"event_id":"m1","event_type":"page_view","event_time":"2026-03-01T10:00:00Z","session_id":"s","page_type":"home"}"#;

/// A page view with one more column, or one column in another type.
fn write(path: &Path, name: &str, column: ArrayRef) {
    let event: Value = serde_json::from_str(EVENT).unwrap();
    let text = |text: &Value| Arc::new(StringArray::from(vec![text.as_str().unwrap()])) as ArrayRef;
    let plain = event.as_object().unwrap().iter().filter(|(key, _)| *key != name);
    let mut columns: Vec<(String, ArrayRef)> = plain.map(|(key, value)| (key.clone(), text(value))).collect();
    columns.push((name.to_owned(), column));
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)));
    let batch = batch.unwrap();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(WriterProperties::builder().build())).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// The one line of a file with this column.
fn line(name: &str, column: ArrayRef) -> Value {
    let directory = tempdir().unwrap();
    let path = directory.path().join("a.parquet");
    write(&path, name, column);
    let lines = texts(&read_all(&[path], ReadOptions::default()).unwrap());
    assert_eq!(lines.len(), 1);
    serde_json::from_str(&lines[0]).unwrap_or_else(|error| panic!("{error}: {}", lines[0]))
}

fn value(column: ArrayRef) -> Value {
    let mut line = line("v", column);
    let value = line.as_object_mut().unwrap().remove("v").unwrap_or_else(|| panic!("it has vanished: {line}"));
    assert_eq!(line, serde_json::from_str::<Value>(EVENT).unwrap());
    value
}

fn map<K: ArrayBuilder, V: ArrayBuilder>(keys: K, values: V) -> ArrayRef {
    let mut builder = MapBuilder::new(None, keys, values);
    builder.append(true).unwrap();
    Arc::new(builder.finish())
}

fn text_keys(keys: &[&str]) -> StringBuilder {
    let mut builder = StringBuilder::new();
    keys.iter().for_each(|key| builder.append_value(key));
    builder
}

fn ints(values: &[Option<i32>]) -> Int32Builder {
    let mut builder = Int32Builder::new();
    values.iter().for_each(|value| builder.append_option(*value));
    builder
}

#[test]
fn a_map_is_an_object_where_its_keys_are_texts_that_stand_once() {
    let entries = map(text_keys(&["utm", "a \"quoted\" one"]), text_keys(&["spring", "x"]));
    assert_eq!(value(entries), json!({ "utm": "spring", "a \"quoted\" one": "x" }));
    assert_eq!(value(map(text_keys(&["a", "b"]), ints(&[Some(1), None]))), json!({ "a": 1, "b": null }));
    assert_eq!(value(map(text_keys(&[]), ints(&[]))), json!({}));
    let twice = map(text_keys(&["a", "a"]), ints(&[Some(1), Some(2)]));
    assert_eq!(value(twice), json!([{ "key": "a", "value": 1 }, { "key": "a", "value": 2 }]));
    let numbers = map(ints(&[Some(7), Some(8)]), text_keys(&["x", "y"]));
    assert_eq!(value(numbers), json!([{ "key": 7, "value": "x" }, { "key": 8, "value": "y" }]));
}

#[test]
fn a_map_as_an_id_is_of_the_wrong_type() {
    let line = line("user_id", map(text_keys(&["id"]), text_keys(&["u1"])));
    assert_eq!(line["user_id"], json!({ "id": "u1" }), "it makes no guest of a user");
    let text = line.to_string();
    let rejected = decode(text.as_bytes(), None, &DecodeSettings::default(), &Bump::new()).map(drop).unwrap_err();
    assert_eq!(rejected.rule, Rule::WrongType);
}

#[test]
fn lists_of_every_kind_are_arrays() {
    let item = |of| Arc::new(Field::new("item", of, true));
    let floats = Arc::new(Float64Array::from(vec![1.5, 2.5]));
    let fixed = FixedSizeListArray::new(item(DataType::Float64), 2, floats, None);
    assert_eq!(value(Arc::new(fixed)), json!([1.5, 2.5]));
    let maps = map(text_keys(&["a"]), ints(&[Some(1)]));
    let of_maps = ListArray::new(item(maps.data_type().clone()), OffsetBuffer::new(vec![0, 1].into()), maps, None);
    assert_eq!(value(Arc::new(of_maps)), json!([{ "a": 1 }]));
    let numbers = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
    let large = LargeListArray::new(item(DataType::Int32), OffsetBuffer::new(vec![0, 3].into()), numbers.clone(), None);
    assert_eq!(value(Arc::new(large)), json!([1, null, 3]));
    let (offsets, sizes) = (ScalarBuffer::from(vec![1]), ScalarBuffer::from(vec![2]));
    let view = ListViewArray::new(item(DataType::Int32), offsets, sizes, numbers, None);
    assert_eq!(value(Arc::new(view)), json!([null, 3]));
}

#[test]
fn what_is_in_a_section_stays_in_it() {
    let inner = map(text_keys(&["a"]), ints(&[Some(1)]));
    let fields: Vec<FieldRef> = vec![
        Arc::new(Field::new("m", inner.data_type().clone(), true)),
        Arc::new(Field::new("k", DataType::Int32, true)),
        Arc::new(Field::new("none", DataType::Int32, true)),
    ];
    let columns: Vec<ArrayRef> =
        vec![inner, Arc::new(Int32Array::from(vec![2])), Arc::new(Int32Array::from(vec![None]))];
    let section = StructArray::new(fields.into(), columns, None);
    assert_eq!(value(Arc::new(section)), json!({ "m": { "a": 1 }, "k": 2 }));
}

#[test]
fn times_of_day_are_texts_with_the_places_that_they_have() {
    let seconds = 9 * 3_600 + 30 * 60;
    assert_eq!(value(Arc::new(Time32SecondArray::from(vec![seconds]))), "09:30:00");
    assert_eq!(value(Arc::new(Time32MillisecondArray::from(vec![seconds * 1_000 + 50]))), "09:30:00.05");
    let micros = i64::from(seconds) * 1_000_000 + 1;
    assert_eq!(value(Arc::new(Time64MicrosecondArray::from(vec![micros]))), "09:30:00.000001");
    assert_eq!(value(Arc::new(Time64NanosecondArray::from(vec![86_399_999_999_999]))), "23:59:59.999999999");
    assert_eq!(value(Arc::new(Time64MicrosecondArray::from(vec![-1]))), "time out of range");
}

#[test]
fn rare_numbers_and_texts_are_exact() {
    let half = Float16Array::from(vec![<<Float16Type as ArrowPrimitiveType>::Native>::from_f32(1.5)]);
    assert_eq!(value(Arc::new(half)), json!(1.5));
    let decimal = Decimal256Array::from(vec![i256::from_i128(-1_050)]).with_precision_and_scale(40, 2).unwrap();
    assert_eq!(value(Arc::new(decimal)), json!(-10.5));
    assert_eq!(value(Arc::new(DurationMillisecondArray::from(vec![1_500]))), "PT1.5S");
    let words: DictionaryArray<Int8Type> = vec![Some("b")].into_iter().collect();
    assert_eq!(value(Arc::new(words)), "b");
    let numbers = DictionaryArray::new(UInt16Array::from(vec![1]), Arc::new(Int64Array::from(vec![5, 6])));
    assert_eq!(value(Arc::new(numbers)), json!(6));
    assert_eq!(value(Arc::new(BinaryViewArray::from(vec![b"bytes".as_slice()]))), "bytes");
}

#[test]
fn a_dictionary_in_a_list_is_what_it_stands_for() {
    let words: DictionaryArray<Int32Type> = vec![Some("x"), None, Some("y")].into_iter().collect();
    let item = Arc::new(Field::new("item", words.data_type().clone(), true));
    let list = ListArray::new(item, OffsetBuffer::new(vec![0, 3].into()), Arc::new(words), None);
    assert_eq!(value(Arc::new(list)), json!(["x", null, "y"]));
}

#[test]
fn an_absent_value_is_left_out_and_a_present_one_is_not() {
    let item = Arc::new(Field::new("item", DataType::Int32, true));
    let values = Arc::new(Int32Array::from(vec![Some(1), Some(2), None, None]));
    let nulls = NullBuffer::from(vec![true, false]);
    let lists = FixedSizeListArray::new(item, 2, values, Some(nulls));
    let ids = ["m1", "m2"].map(Some).to_vec();
    let columns = [("event_id", Arc::new(StringArray::from(ids)) as ArrayRef), ("v", Arc::new(lists))];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
    let directory = tempdir().unwrap();
    let path = directory.path().join("a.parquet");
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let lines = texts(&read_all(&[path], ReadOptions::default()).unwrap());
    assert_eq!(lines, [r#"{"event_id":"m1","v":[1,2]}"#, r#"{"event_id":"m2"}"#]);
}

/// DuckDB and Iceberg write ids so.
#[test]
fn a_uuid_is_the_text_that_people_know_it_by() {
    use parquet::data_type::{ByteArray, FixedLenByteArrayType};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    let directory = tempdir().unwrap();
    let path = directory.path().join("a.parquet");
    let schema =
        "message m { optional fixed_len_byte_array(16) event_id (UUID); required fixed_len_byte_array(2) raw; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(File::create(&path).unwrap(), schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let id: Vec<u8> = (0..16).map(|byte| byte * 17).collect();
    let mut column = group.next_column().unwrap().unwrap();
    let written = column.typed::<FixedLenByteArrayType>();
    written.write_batch(&[ByteArray::from(id).into()], Some(&[1, 0]), None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let raw = [ByteArray::from("ab").into(), ByteArray::from("cd").into()];
    column.typed::<FixedLenByteArrayType>().write_batch(&raw, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let lines = texts(&read_all(&[path], ReadOptions::default()).unwrap());
    let first = r#"{"event_id":"00112233-4455-6677-8899-aabbccddeeff","raw":"ab"}"#;
    assert_eq!(lines, [first, r#"{"raw":"cd"}"#]);
}
