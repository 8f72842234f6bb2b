//! Tables, foreign Parquet, and the folder of results.

use crate::{read_all, texts};
use millrace_connectors::lake::*;
use millrace_connectors::source::{ReadOptions, SourceError};
use std::fs;
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
    let values = (0..rows).map(|row| some(row).then_some(row as i64 * 7 - 50)).collect();
    table.push("money", Column::Decimal { scale: 2, values });
    table
}

#[test]
fn tables_read_back_alone_and_joined() {
    let directory = tempdir().unwrap();
    for rows in [0, 1, 100, 70_000] {
        let path = directory.path().join("views/sales/a.parquet");
        for compression in [Compression::Snappy, Compression::Zstd] {
            let file = write_table(&path, &table(rows), compression, true).unwrap();
            assert_eq!(file.rows, rows as u64);
            assert_eq!(read_table(&path).unwrap(), table(rows));
        }
        write_table(&path.with_file_name("b.parquet"), &table(3), Compression::Snappy, false).unwrap();
        let joined = read_tables(path.parent().unwrap()).unwrap();
        assert_eq!(joined.rows(), rows + 3);
        let Some(Column::Text(texts)) = joined.column("text") else { panic!("it is a text") };
        assert_eq!(texts.get(rows + 1), Some("t1"));
    }
}

#[test]
fn tables_that_do_not_fit_are_refused() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("x.parquet");
    let mut uneven = table(3);
    uneven.push("more", Column::Int(vec![None]));
    assert!(matches!(write_table(&path, &uneven, Compression::None, false), Err(LakeError::BadTable(_))));
    assert!(matches!(read_tables(directory.path()), Err(LakeError::NoTable { .. })));
    let mut wide = Columns::default();
    wide.push("money", Column::Decimal { scale: 2, values: vec![Some(10_i64.pow(18))] });
    assert!(matches!(write_table(&path, &wide, Compression::None, false), Err(LakeError::Encode { .. })));
    write_table(&path, &table(3), Compression::None, false).unwrap();
    let mut other = Columns::default();
    other.push("text", Column::Int(vec![None]));
    write_table(&directory.path().join("y.parquet"), &other, Compression::None, false).unwrap();
    assert!(matches!(read_tables(directory.path()), Err(LakeError::OtherColumns { .. })));
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
    write_table(&path, &table, Compression::Snappy, false).unwrap();
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
fn a_run_replaces_the_results_of_the_one_before() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("results");
    let put = |folder: std::path::PathBuf, text: &str| {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("x"), text).unwrap();
    };
    let staging = DataDir::open(&path).unwrap().begin().unwrap();
    assert!(matches!(DataDir::open(&path), Err(LakeError::Locked { .. })));
    put(staging.views(), "first");
    put(staging.quarantine(), "first");
    fs::write(staging.path().join("summary.json"), "{}").unwrap();
    staging.commit().unwrap();
    assert_eq!(fs::read_to_string(path.join("views/x")).unwrap(), "first");

    let failed = DataDir::open(&path).unwrap().begin().unwrap();
    put(failed.views(), "failed");
    drop(failed);
    assert_eq!(fs::read_to_string(path.join("views/x")).unwrap(), "first");

    let staging = DataDir::open(&path).unwrap().begin().unwrap();
    put(staging.views(), "second");
    staging.commit().unwrap();
    assert_eq!(fs::read_to_string(path.join("views/x")).unwrap(), "second");
    assert!(!path.join("quarantine").exists(), "the second run has none");
    assert!(!path.join(".staging").exists());

    // A crash in the middle of the swap: what is complete is put in place by the next to open.
    put(path.join(".staging/views"), "third");
    fs::write(path.join(".staging/complete"), "views\nevents\n").unwrap();
    DataDir::open(&path).unwrap();
    assert_eq!(fs::read_to_string(path.join("views/x")).unwrap(), "third");
    assert!(!path.join(".staging").exists());
}

#[test]
fn a_folder_of_other_things_is_not_touched() {
    let directory = tempdir().unwrap();
    fs::create_dir(directory.path().join("views")).unwrap();
    let error = DataDir::open(directory.path()).unwrap_err();
    assert!(matches!(error, LakeError::NotADataDir { .. }), "{error}");
    fs::write(directory.path().join(DATA_DIR_MARKER), "{\"format\":\"millrace-data\",\"version\":2}").unwrap();
    assert!(matches!(DataDir::open(directory.path()), Err(LakeError::DataDirVersion { .. })));
}
