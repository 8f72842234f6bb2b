//! Files of one folder become one though different programs have written them: columns go by their names.

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use bytes::Bytes;
use millrace_connectors::lake::{Compression, LakeError, merge_events};
use millrace_connectors::store::{Local, Store};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::sync::Arc;
use tempfile::tempdir;

/// What a column of the tests holds in the rows of these offsets.
fn column(name: &str, offsets: &[i64]) -> ArrayRef {
    let texts = |text: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(offsets.iter().map(|_| text))) };
    let times = || TimestampMicrosecondArray::from_iter_values(offsets.iter().map(|offset| offset * 1_000_000));
    match name {
        "event_type" => texts("page_view"),
        "source" => texts("a.jsonl"),
        "session_id" | "country" => texts(name),
        "event_time" => Arc::new(times().with_timezone("UTC")),
        "partition" => Arc::new(Int32Array::from_iter_values(offsets.iter().map(|_| 0))),
        // Twice their offset, so that each row can be told by it.
        "lead_time_days" | "loyalty_points" => Arc::new(Int64Array::from_iter_values(offsets.iter().map(|of| of * 2))),
        "offset" | "epoch" => Arc::new(Int64Array::from_iter_values(offsets.iter().copied())),
        other => panic!("no test has a column {other}"),
    }
}

fn file_of(columns: &[(&str, ArrayRef)]) -> Bytes {
    let is_required =
        |name: &str| matches!(name, "event_type" | "event_time" | "source" | "partition" | "offset" | "epoch");
    let fields = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), !is_required(name)));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let arrays = columns.iter().map(|(_, column)| Arc::clone(column)).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    out.into()
}

/// An event file of these columns, in that order, with a row for each offset.
fn file(columns: &str, offsets: &[i64]) -> Bytes {
    let columns: Vec<(&str, ArrayRef)> = columns.split_whitespace().map(|name| (name, column(name, offsets))).collect();
    file_of(&columns)
}

fn merged(files: &[(&str, &Bytes)]) -> Result<Vec<RecordBatch>, LakeError> {
    let directory = tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Local::new(directory.path(), false));
    let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), Bytes::clone(bytes))).collect();
    merge_events(&store, "merged.parquet".to_owned(), files, Compression::Snappy, 1_000)?.finish()?;
    let bytes = store.get("merged.parquet").unwrap();
    Ok(ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap().map(Result::unwrap).collect())
}

/// By offset, which no two rows share.
fn values(batches: &[RecordBatch], name: &str) -> Vec<(i64, Option<i64>)> {
    let mut values = Vec::new();
    for batch in batches {
        let offsets = batch.column_by_name("offset").unwrap().as_primitive::<Int64Type>();
        let column = batch.column_by_name(name).unwrap_or_else(|| panic!("{name} was dropped"));
        let at = |row: usize| column.is_valid(row).then(|| column.as_primitive::<Int64Type>().value(row));
        values.extend((0..batch.num_rows()).map(|row| (offsets.value(row), at(row))));
    }
    values.sort_unstable();
    values
}

const EARLIER: &str = "event_type event_time session_id source partition offset epoch";
/// With a column in the middle that this program has and the earlier one had not, and one that only a later program has.
const LATER: &str = "event_type event_time lead_time_days session_id loyalty_points source partition offset epoch";

#[test]
fn a_column_that_one_file_lacks_is_null_in_its_rows_whichever_comes_first() {
    let (earlier, later) = (file(EARLIER, &[1, 3]), file(LATER, &[2, 4]));
    for files in [[("earlier", &earlier), ("later", &later)], [("later", &later), ("earlier", &earlier)]] {
        let batches = merged(&files).unwrap();
        for name in ["lead_time_days", "loyalty_points"] {
            assert_eq!(values(&batches, name), [(1, None), (2, Some(4)), (3, None), (4, Some(8))], "{name}");
        }
        assert_eq!(values(&batches, "epoch"), [1, 2, 3, 4].map(|offset| (offset, Some(offset))));
        let countries = batches.iter().map(|batch| batch.column_by_name("country").unwrap().null_count());
        assert_eq!(countries.sum::<usize>(), 4, "what neither has is null");
    }
}

#[test]
fn this_programs_columns_come_first_in_its_order_and_those_of_others_behind() {
    let reversed: Vec<&str> = LATER.split(' ').rev().collect();
    let (earlier, later) = (file(EARLIER, &[1]), file(&reversed.join(" "), &[2]));
    for files in [[("earlier", &earlier), ("later", &later)], [("later", &later), ("earlier", &earlier)]] {
        let batches = merged(&files).unwrap();
        let schema = batches[0].schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!((names[0], names[1], names[names.len() - 1]), ("event_type", "event_id", "loyalty_points"));
        assert_eq!(names.iter().filter(|name| **name == "epoch").count(), 1);
    }
}

#[test]
fn a_merged_file_is_merged_again_with_all_its_columns() {
    let directory = tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Local::new(directory.path(), false));
    let files = vec![("a".to_owned(), file(EARLIER, &[1])), ("b".to_owned(), file(LATER, &[2]))];
    merge_events(&store, "once.parquet".to_owned(), files, Compression::Snappy, 1_000).unwrap().finish().unwrap();
    let once = store.get("once.parquet").unwrap();
    let batches = merged(&[("once", &once), ("c", &file(EARLIER, &[3]))]).unwrap();
    assert_eq!(values(&batches, "loyalty_points"), [(1, None), (2, Some(4)), (3, None)]);
}

#[test]
fn columns_of_types_that_are_not_read_as_each_other_are_an_error_that_names_file_and_column() {
    let good = file(LATER, &[1, 2]);
    let with = |name: &str, other: ArrayRef| {
        let columns: Vec<(&str, ArrayRef)> = LATER
            .split(' ')
            .map(|known| (known, if known == name { Arc::clone(&other) } else { column(known, &[3, 4]) }))
            .collect();
        file_of(&columns)
    };
    // A text that reads like a number is none.
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["7", "8"]));
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![7.0, 8.5]));
    for (name, other) in [("lead_time_days", &texts), ("loyalty_points", &texts), ("loyalty_points", &floats)] {
        let bad = with(name, Arc::clone(other));
        let error = merged(&[("good", &good), ("bad", &bad)]).unwrap_err().to_string();
        for word in ["bad", name, "type", &other.data_type().to_string()] {
            assert!(error.contains(word), "{word}: {error}");
        }
    }
    let error = merged(&[("good", &good), ("bad", &with("loyalty_points", texts))]).unwrap_err().to_string();
    assert!(error.contains("in good it is Int64"), "{error}");
}

#[test]
fn a_number_that_the_column_of_today_has_no_room_for_is_an_error_and_no_null() {
    let columns: Vec<(&str, ArrayRef)> = EARLIER
        .split(' ')
        .map(|name| match name {
            "partition" => (name, Arc::new(Int64Array::from(vec![i64::MAX])) as ArrayRef),
            name => (name, column(name, &[1])),
        })
        .collect();
    let error = merged(&[("wide", &file_of(&columns))]).unwrap_err().to_string();
    assert!(error.contains("wide") && error.contains("the column partition"), "{error}");
}

#[test]
fn a_whole_number_of_another_width_is_the_same_number() {
    let narrow: ArrayRef = Arc::new(Int32Array::from(vec![5]));
    let mut columns: Vec<(&str, ArrayRef)> = EARLIER.split(' ').map(|name| (name, column(name, &[1]))).collect();
    columns.push(("lead_time_days", narrow));
    let batches = merged(&[("narrow", &file_of(&columns))]).unwrap();
    assert_eq!(values(&batches, "lead_time_days"), [(1, Some(5))]);
    let partitions = batches[0].column_by_name("partition").unwrap();
    assert_eq!(partitions.as_primitive::<Int32Type>().value(0), 0);
    assert_eq!(partitions.data_type(), &DataType::Int32);
}

#[test]
fn a_file_without_a_column_that_every_row_has_is_an_error_that_names_both() {
    let without = EARLIER.replace(" offset", "");
    let (good, bad) = (file(EARLIER, &[1]), file(&without, &[2]));
    let error = merged(&[("good", &good), ("bad", &bad)]).unwrap_err().to_string();
    assert!(error.contains("bad") && error.contains("no column offset"), "{error}");
}
