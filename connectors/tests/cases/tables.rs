//! Tables, foreign Parquet, and the folder of results.

use crate::{read_all, texts};
use millrace_connectors::lake::*;
use millrace_connectors::source::{ReadOptions, SourceError};
use millrace_connectors::store::{Local, Store};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::tempdir;

fn table(rows: usize) -> Columns {
    let some = |row: usize| !row.is_multiple_of(5);
    let mut table = Columns::default();
    let texts: Vec<_> = (0..rows).map(|row| some(row).then(|| format!("t{}", row % 7))).collect();
    table.push("text", Column::Text(texts.iter().map(Option::as_deref).collect()));
    table.push("int", Column::Int((0..rows).map(|row| some(row).then_some(row as i64 - 3)).collect()));
    table.push("float", Column::Float((0..rows).map(|row| some(row).then_some(row as f64 / 3.0)).collect()));
    let bytes = |row: usize| [0, 0xFF, row as u8].into();
    table.push("bytes", Column::Bytes((0..rows).map(|row| some(row).then(|| bytes(row))).collect()));
    table.push("bool", Column::Bool((0..rows).map(|row| some(row).then_some(row % 2 == 0)).collect()));
    table.push("date", Column::Date((0..rows).map(|row| some(row).then_some(row as i32)).collect()));
    table.push("time", Column::Timestamp((0..rows).map(|row| some(row).then_some(row as i64 * 1_000_001)).collect()));
    let values = (0..rows).map(|row| some(row).then_some(row as i128 * 7 - 50)).collect();
    table.push("money", Column::Decimal { scale: 2, values });
    table
}

fn store(directory: &Path) -> Arc<dyn Store> {
    Arc::new(Local::new(directory, false))
}

#[test]
fn tables_read_back_alone_and_joined() {
    let directory = tempdir().unwrap();
    let store = store(directory.path());
    let (a, b) = ("views/sales/a.parquet", "views/sales/b.parquet");
    for rows in [0, 1, 100, 70_000] {
        for compression in [Compression::Snappy, Compression::Zstd] {
            let file = write_table(&store, a, &table(rows), compression).unwrap();
            assert_eq!(file.rows, rows as u64);
            assert_eq!(read_table(a, store.get(a).unwrap()).unwrap(), table(rows));
        }
        write_table(&store, b, &table(3), Compression::Snappy).unwrap();
        let joined = read_tables(&*store, [a, b]).unwrap();
        assert_eq!(joined.rows(), rows + 3);
        let Some(Column::Text(texts)) = joined.column("text") else { panic!("it is a text") };
        assert_eq!(texts.get(rows + 1), Some("t1"));
    }
}

#[test]
fn tables_that_do_not_fit_are_refused() {
    let directory = tempdir().unwrap();
    let store = store(directory.path());
    let mut uneven = table(3);
    uneven.push("more", Column::Int(vec![None]));
    assert!(matches!(write_table(&store, "x", &uneven, Compression::None), Err(LakeError::BadTable(_))));
    assert_eq!(read_tables(&*store, []).unwrap(), Columns::default());
    let mut wide = Columns::default();
    wide.push("money", Column::Decimal { scale: 2, values: vec![Some(10_i128.pow(38))] });
    assert!(matches!(write_table(&store, "x", &wide, Compression::None), Err(LakeError::Encode { .. })));
    write_table(&store, "x", &table(3), Compression::None).unwrap();
    let mut other = Columns::default();
    other.push("text", Column::Int(vec![None]));
    write_table(&store, "y", &other, Compression::None).unwrap();
    assert!(matches!(read_tables(&*store, ["x", "y"]), Err(LakeError::OtherColumns { .. })));
    assert!(matches!(read_tables(&*store, ["z"]), Err(LakeError::Store(error)) if error.is_not_found()));
}

#[test]
fn foreign_parquet_becomes_native_lines() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("foreign.parquet");
    let mut table = Columns::default();
    let text = |texts: &[Option<&str>]| Column::Text(texts.iter().copied().collect());
    table.push("event_type", text(&[Some("purchase"), Some("product"), None]));
    table.push("event_time", Column::Timestamp(vec![Some(0), Some(1_500_000), Some(i64::MAX)]));
    table.push("price_paid", Column::Decimal { scale: 2, values: vec![Some(-5), Some(1_230), None] });
    table.push("weight", Column::Float(vec![Some(0.1), Some(15.3), Some(f64::NAN)]));
    table.push("source", text(&[Some("web"), None, Some("a\"\u{1}\n")]));
    table.push("day", Column::Date(vec![Some(18_170), None, None]));
    table.push("extra", text(&[Some(" {\"a\":\n1} "), Some("{}"), Some("no object")]));
    write_table(&store(directory.path()), "foreign.parquet", &table, Compression::Snappy).unwrap();
    let read = read_all(std::slice::from_ref(&path), ReadOptions::default()).unwrap();
    let want = [
        r#"{"event_type":"purchase","price_paid":-0.05,"weight":0.1,"source":"web","day":"2019-10-01","event_time":"1970-01-01T00:00:00.000000Z","a": 1}"#,
        r#"{"event_type":"product","price_paid":12.30,"weight":15.3,"updated_at":"1970-01-01T00:00:01.500000Z"}"#,
        r#"{"weight":"NaN","source":"a\"\u0001\n","event_time":"time out of range","extra":"no object"}"#,
    ];
    assert_eq!(texts(&read), want);

    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
    let (_, error) = read_all(&[path], ReadOptions::default()).unwrap_err();
    assert!(matches!(error, SourceError::Parquet { .. }), "{error}");
}

#[test]
fn one_writer_at_a_time() {
    let directory = tempdir().unwrap();
    let held = DataDir::open(directory.path()).unwrap();
    assert!(matches!(DataDir::open(directory.path()), Err(LakeError::Locked { .. })));
    drop(held);
    DataDir::open(directory.path()).unwrap();
}

#[test]
fn a_folder_of_other_things_is_not_touched() {
    let directory = tempdir().unwrap();
    fs::create_dir(directory.path().join("views")).unwrap();
    let error = DataDir::open(directory.path()).unwrap_err();
    assert!(matches!(error, LakeError::NotADataDir { .. }), "{error}");
    fs::write(directory.path().join(DATA_DIR_MARKER), "{\"format\":\"millrace-data\",\"version\":1}").unwrap();
    assert!(matches!(DataDir::open(directory.path()), Err(LakeError::DataDirVersion { .. })));
}
