//! Events and rejects as Parquet: what goes in comes out.

use crate::{read_all, texts};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use millrace_connectors::lake::*;
use millrace_connectors::source::{PartitionInfo, ReadOptions};
use millrace_connectors::store::{Local, Store};
use millrace_schema::calendar::{Calendar, MICROS_PER_DAY};
use millrace_schema::decode::{Bump, DecodeSettings, decode};
use millrace_schema::{Currency, Kind, NameCache, Names, OwnedRecord, Page, Place, Reject, Rule, Warnings};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::tempdir;

fn partitions() -> Vec<PartitionInfo> {
    let named = |source: &str, partition| PartitionInfo { source: source.into(), partition, path: source.into() };
    vec![named("a.jsonl", 0), named("b.jsonl", 7)]
}

fn record(kind: Kind, number: i64) -> OwnedRecord {
    let mut record = OwnedRecord::empty(kind);
    record.event_id = format!("e{number}");
    record.time = 1_569_888_000_000_000 + number * 1_000_003;
    record.product_id = format!("p{}", number % 3);
    record
}

/// One record of every kind and many values, with the JSON it should come back as.
fn samples() -> Vec<OwnedRecord> {
    let mut records = Vec::new();
    for number in 0..60 {
        let kind = Kind::ALL[number as usize % Kind::ALL.len()];
        let mut sample = record(kind, number);
        sample.received_at = (number % 2 == 0).then_some(sample.time + 5);
        match kind {
            Kind::PageView => {
                sample.session_id = format!("s \"{number}\" \\ ü \n");
                sample.page = Page::ALL[number as usize % 7];
                sample.referrer = "google".into();
            }
            Kind::AddToCart | Kind::RemoveFromCart => {
                sample.quantity = 0;
                sample.unit_price = Some(199);
            }
            Kind::CheckoutStarted => sample.user_id = "u".into(),
            Kind::Purchase => {
                sample.currency = Currency::parse(["USD", "JPY", "KWD"][number as usize / 9 % 3]).unwrap();
                // In yen the largest amount that validation lets pass, which needs nearly every digit of the column.
                sample.amount = if number / 9 % 3 == 1 { -10_000_000_000_000 } else { -1_234 - number };
                sample.quantity = -2;
                sample.unit_price = Some(0);
                sample.order_id = "o".into();
            }
            Kind::Refund => {
                sample.amount = 9_007_199_254_740;
                sample.quantity = i32::MAX;
                sample.reason = "broken".into();
            }
            Kind::Product => {
                sample.price = Some(5);
                sample.deleted = number % 4 == 0;
                sample.category = "a.b".into();
            }
            Kind::User => sample.signup_time = Some(1),
            Kind::Inventory => {
                sample.on_hand = -3;
                sample.lead_time_days = Some(0);
            }
        }
        if number % 5 == 0 {
            sample.extra = format!("{{\"ab_test\":[1,{{\"x\":null}}],\"source\":\"web\",\"z\":{number}}}");
        }
        records.push(sample);
    }
    records
}

/// Numbers by value, so that 1.20 equals 1.2000.
fn normal(line: &str) -> BTreeMap<String, Value> {
    let value: BTreeMap<String, Value> = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let normal = |(key, value): (String, Value)| {
        let value = value.as_f64().map_or(value, Value::from);
        (key, value)
    };
    value.into_iter().map(normal).filter(|(key, value)| !(key == "deleted" && value == &Value::Bool(false))).collect()
}

/// What was written below a directory.
struct Report {
    rows: u64,
    files: Vec<LakeFile>,
    directory: PathBuf,
}

impl Report {
    fn path(&self, file: &LakeFile) -> PathBuf {
        self.directory.join(&file.key)
    }
}

fn store(directory: &Path) -> Arc<dyn Store> {
    Arc::new(Local::new(directory, false))
}

fn write(directory: &Path, batches: Vec<StagedEvents>, settings: EventSettings) -> Report {
    let mut files = EventFiles::new(store(directory), "w3", settings);
    files.partitions(&partitions());
    let mut written: Vec<LakeFile> = Vec::new();
    let mut give = |file: Unfinished| -> Result<(), LakeError> {
        written.push(file.finish().unwrap());
        Ok(())
    };
    batches.into_iter().for_each(|batch| files.add(batch, &mut give).unwrap());
    files.end(&mut give).unwrap();
    let files = written;
    let rows = files.iter().map(|file| file.rows).sum();
    Report { rows, files, directory: directory.to_owned() }
}

fn read_batches(path: &Path) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

#[test]
fn event_files_read_back_as_the_same_records() {
    let directory = tempdir().unwrap();
    let samples = samples();
    for compression in [Compression::None, Compression::Snappy, Compression::Zstd] {
        let events = directory.path().join(format!("{compression:?}"));
        let mut columns = EventColumns::new(Calendar::utc());
        let mut batches = Vec::new();
        for (number, sample) in samples.iter().enumerate() {
            columns.push(&sample.as_record(), number as u64 * 10, 1, 42);
            if number % 7 == 6 {
                batches.push(columns.finish(None));
            }
        }
        batches.push(columns.finish(None));
        let report = write(&events, batches, EventSettings { compression, ..EventSettings::default() });
        let keys: Vec<&str> = report.files.iter().map(|file| &*file.key).collect();
        let wanted = [
            "events/event_date=2019-10-01/w3-000000.parquet",
            "dimensions/product/w3-000001.parquet",
            "dimensions/user/w3-000002.parquet",
            "dimensions/inventory/w3-000003.parquet",
        ];
        assert_eq!((report.rows, keys), (60, wanted.to_vec()));
        let bytes = std::fs::read(report.path(&report.files[0])).unwrap();
        assert_eq!(report.files[0].bytes, bytes.len() as u64);
        assert_eq!(report.files[0].checksum, xxhash_rust::xxh3::xxh3_64(&bytes));

        let options = ReadOptions { chunk_bytes: 300, max_records: 7, ..ReadOptions::default() };
        let read = read_all(&[events], options).unwrap();
        let mut read: Vec<_> = texts(&read).iter().map(|line| normal(line)).collect();
        read.sort_by_key(|record| record["event_id"].to_string());
        let mut samples: Vec<_> = samples.iter().collect();
        samples.sort_by_key(|sample| format!("{:?}", sample.event_id));
        assert_eq!(read.len(), 60);
        for (record, sample) in read.iter().zip(&samples) {
            let mut want = normal(&sample.to_json());
            if !sample.extra.is_empty() {
                want.extend(normal(&sample.extra));
            }
            assert_eq!(*record, want);
        }
        let batch = &read_batches(&report.path(&report.files[0]))[0];
        let source = batch.column_by_name("source").unwrap().as_string::<i32>();
        assert_eq!(source.value(0), "b.jsonl");
        let sessions = batch.column_by_name("session_id").unwrap().as_string::<i32>();
        assert!(sessions.iter().is_sorted(), "{sessions:?}");
        assert_eq!(batch.column_by_name("partition").unwrap().as_primitive::<Int32Type>().value(39), 7);
        assert!(batch.column_by_name("offset").unwrap().as_primitive::<Int64Type>().values().contains(&570));
        assert_eq!(batch.column_by_name("epoch").unwrap().as_primitive::<Int64Type>().value(0), 42);
    }
}

/// The records of a path, without warnings: a rounded amount is read back as the rounded one.
fn decoded(path: &Path) -> Vec<OwnedRecord> {
    let (settings, arena) = (DecodeSettings::default(), Bump::new());
    let read = read_all(&[path.to_owned()], ReadOptions::default()).unwrap();
    let decoded = read.iter().map(|(_, _, line)| {
        let record = decode(line, None, &settings, &arena);
        let mut record =
            record.unwrap_or_else(|reject| panic!("{reject}: {}", String::from_utf8_lossy(line))).to_owned();
        record.warnings = Warnings::default();
        record
    });
    let mut records: Vec<_> = decoded.collect();
    records.sort_by_key(|record| (record.time, record.event_id.clone(), record.kind));
    records
}

#[test]
fn what_was_decoded_decodes_to_the_same_after_the_lake() {
    let directory = tempdir().unwrap();
    let records = decoded(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/kinds.jsonl")));
    let mut columns = EventColumns::new(Calendar::utc());
    records.iter().for_each(|record| columns.push(&record.as_record(), 0, 0, 0));
    let report = write(directory.path(), vec![columns.finish(None)], EventSettings::default());
    assert_eq!(report.rows, 10);
    assert_eq!(decoded(directory.path()), records);
}

/// What a record means to the dataflow, whichever way it is read: the hash of its content, too.
#[test]
fn records_of_columns_are_those_of_lines() {
    let directory = tempdir().unwrap();
    let mut records = decoded(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/kinds.jsonl")));
    let mut samples = samples();
    // Decoding gives a dimension record no id: an `event_id` there is a field like any other.
    samples.iter_mut().filter(|sample| sample.kind.is_dimension()).for_each(|sample| sample.event_id.clear());
    records.extend(samples.into_iter().filter(|sample| sample.kind != Kind::Inventory || sample.extra.is_empty()));
    let mut columns = EventColumns::new(Calendar::utc());
    records.iter().zip(0..).for_each(|(record, number)| columns.push(&record.as_record(), number, 1, 42));
    let report = write(directory.path(), vec![columns.finish(None)], EventSettings::default());
    let (names, settings, arena) = (Arc::new(Names::default()), DecodeSettings::default(), Bump::new());
    let mut cache = NameCache::new(names);
    let mut compared = 0;
    for file in &report.files {
        let bytes = bytes::Bytes::from(std::fs::read(directory.path().join(&file.key)).unwrap());
        let lines = read_event_rows(&file.key, &bytes).unwrap();
        let mut next = lines.iter();
        read_event_records::<LakeError>(&file.key, bytes, settings.default_currency, |place, record| {
            let row = next.next().expect("there are as many rows");
            let of_row = (row.source.as_str(), row.partition, row.offset, row.epoch);
            assert_eq!((place.source, place.partition, place.offset, place.epoch), of_row);
            // Some samples are beyond what is accepted.
            if let Ok(line) = decode(&row.line, None, &settings, &arena) {
                let at = Place::new(0, place.offset);
                let (of_columns, of_line) = (record.to_event(at, &mut cache), line.to_event(at, &mut cache));
                assert_eq!(of_columns.unwrap(), of_line.unwrap(), "{}", String::from_utf8_lossy(&row.line));
                compared += 1;
            }
            Ok(())
        })
        .unwrap();
        assert!(next.next().is_none());
    }
    assert!(compared > 25, "{compared}");
}

#[test]
fn selected_events_are_those_that_are_wanted_and_nothing_of_them_is_lost() {
    let directory = tempdir().unwrap();
    let mut columns = EventColumns::new(Calendar::utc());
    samples().iter().for_each(|sample| columns.push(&sample.as_record(), sample.time as u64 % 97, 1, 42));
    let report = write(directory.path(), vec![columns.finish(None)], EventSettings::default());
    let mut selected = 0;
    for file in &report.files {
        let bytes = bytes::Bytes::from(std::fs::read(directory.path().join(&file.key)).unwrap());
        let all = read_event_rows(&file.key, &bytes).unwrap();
        let of_line = |row: &EventRow, name: &str| -> String {
            let record: Value = serde_json::from_slice(&row.line).unwrap();
            record[name].as_str().unwrap_or_default().to_owned()
        };
        let wanted =
            |event: &str, session: &str, user: &str| event.ends_with('1') || !session.is_empty() || user == "u";
        let expected: Vec<EventRow> = all
            .into_iter()
            .filter(|row| wanted(&of_line(row, "event_id"), &of_line(row, "session_id"), &of_line(row, "user_id")))
            .collect();
        let some = select_events(&file.key, bytes.clone(), move |keys| wanted(keys.event, keys.session, keys.user));
        let some = some.unwrap().map(|bytes| read_event_rows(&file.key, &bytes).unwrap()).unwrap_or_default();
        assert_eq!(some, expected);
        selected += some.len();
        assert_eq!(select_events(&file.key, bytes, |_| false).unwrap(), None);
    }
    assert!(selected > 10 && selected < 60, "{selected}");
}

#[test]
fn events_are_split_by_the_day_of_the_store_and_dropped_where_not_kept() {
    let directory = tempdir().unwrap();
    let mut columns = EventColumns::new(Calendar::of("America/New_York").unwrap());
    let (mut batches, mut want) = (Vec::new(), BTreeMap::<String, Vec<String>>::new());
    let calendar = Calendar::of("America/New_York").unwrap();
    let mut keep = Vec::new();
    for number in 0..5_000_i64 {
        let mut sample = record(Kind::CheckoutStarted, number);
        sample.time += number * 7_919 % 40 * (MICROS_PER_DAY / 4);
        columns.push(&sample.as_record(), number as u64, 0, 1);
        keep.push(number % 10 != 3);
        if number % 10 != 3 {
            let day = millrace_schema::calendar::format_day(calendar.day(sample.time));
            want.entry(day).or_default().push(sample.event_id.clone());
        }
        if columns.len() == 900 {
            batches.push(columns.finish(Some(std::mem::take(&mut keep))));
        }
    }
    batches.push(columns.finish(Some(keep)));
    // Small limits: files roll, row groups are ended early.
    let settings =
        EventSettings { file_rows: 200, row_group_rows: 64, buffer_bytes: 100_000, ..EventSettings::default() };
    let report = write(directory.path(), batches, settings);
    let mut found = BTreeMap::<String, Vec<String>>::new();
    for file in &report.files {
        let folder = file.key.split('/').nth(1).unwrap();
        let ids = found.entry(folder.strip_prefix("event_date=").unwrap().to_owned()).or_default();
        let before = ids.len();
        for batch in read_batches(&report.path(file)) {
            let column = batch.column_by_name("event_id").unwrap().as_string::<i32>();
            ids.extend(column.iter().map(|id| id.unwrap().to_owned()));
        }
        assert_eq!((ids.len() - before) as u64, file.rows);
    }
    // A file is in order of the sessions, and these events have none.
    found.values_mut().chain(want.values_mut()).for_each(|ids| ids.sort());
    assert_eq!(found, want);
    assert_eq!(report.rows, 4_500);
    assert!(report.files.len() > want.len(), "files have rolled");
}

#[test]
fn nothing_shows_before_it_is_finished() {
    let directory = tempdir().unwrap();
    let mut columns = EventColumns::new(Calendar::utc());
    columns.push(&record(Kind::Purchase, 1).as_record(), 0, 0, 1);
    let mut files = EventFiles::new(store(directory.path()), "w0", EventSettings::default());
    files.partitions(&partitions());
    let mut unfinished = Vec::new();
    let mut give = |file: Unfinished| -> Result<(), LakeError> {
        unfinished.push(file);
        Ok(())
    };
    files.add(columns.finish(None), &mut give).unwrap();
    files.end(&mut give).unwrap();
    assert_eq!(store(directory.path()).list("").unwrap(), []);
    drop(unfinished);
    assert_eq!(store(directory.path()).list("").unwrap(), []);
}

#[test]
fn a_partition_that_is_not_in_the_table_is_an_error_of_the_writer() {
    let directory = tempdir().unwrap();
    let mut columns = EventColumns::new(Calendar::utc());
    columns.push(&record(Kind::Purchase, 1).as_record(), 0, 2, 1);
    let mut files = EventFiles::new(store(directory.path()), "w0", EventSettings::default());
    files.partitions(&partitions());
    let mut give = |_: Unfinished| -> Result<(), LakeError> { panic!("there is none") };
    assert!(matches!(files.add(columns.finish(None), &mut give), Err(LakeError::UnknownPartition(2))));
}

#[test]
fn quarantine_is_sorted_cut_and_spread_over_files() {
    let directory = tempdir().unwrap();
    let settings = QuarantineSettings { record_bytes: 10, buffer_bytes: 20_000, ..QuarantineSettings::default() };
    let mut writer = QuarantineFiles::new(store(directory.path()), "w0", settings);
    writer.partitions(&partitions());
    let reject = Reject {
        rule: Rule::MissingField,
        field: Some("event_id"),
        message: "event_id is required".into(),
        received_at: None,
    };
    for number in 0..1_000_u64 {
        let bytes = vec![0xFF; (number % 20) as usize];
        let row = Rejected {
            partition: (number % 2) as u16,
            offset: number * 7 % 1_000,
            reject: reject.clone(),
            received_at: None,
            bytes: bytes.into(),
            total_bytes: number,
        };
        writer.push(row).unwrap();
    }
    let files: Vec<LakeFile> = writer.end().unwrap().into_iter().map(|file| file.finish().unwrap()).collect();
    assert!(files.len() > 5);
    assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), 1_000);
    for file in files {
        for batch in read_batches(&directory.path().join(&file.key)) {
            let partition = batch.column_by_name("partition").unwrap().as_primitive::<Int32Type>();
            let offset = batch.column_by_name("offset").unwrap().as_primitive::<Int64Type>();
            let places: Vec<_> = (0..batch.num_rows()).map(|row| (partition.value(row), offset.value(row))).collect();
            assert!(places.is_sorted());
            let bytes = batch.column_by_name("bytes").unwrap().as_binary::<i32>();
            assert!(bytes.iter().all(|bytes| bytes.unwrap().len() <= 10));
            assert_eq!(batch.column_by_name("rule").unwrap().as_string::<i32>().value(0), "missing_field");
            assert_eq!(batch.column_by_name("received_at").unwrap().null_count(), batch.num_rows());
        }
    }
    assert!(writer.end().unwrap().is_empty(), "no rows, no file");
}

#[test]
fn pending_records_come_back_with_their_bytes() {
    let directory = tempdir().unwrap();
    let store = store(directory.path());
    let mut pending = PendingFiles::new(store.clone(), "w0", Compression::Snappy);
    pending.partitions(&partitions());
    let record = |number: u64| PendingRecord {
        partition: (number % 2) as u16,
        offset: number,
        day: 18_170 + (number / 50) as i32,
        event_time: 1_569_888_000_000_000 + number as i64,
        received_at: number.is_multiple_of(3).then_some(number as i64),
        default_kind: number.is_multiple_of(4).then_some(Kind::Purchase),
        bytes: vec![0xFF; number as usize].into(),
    };
    (0..100).for_each(|number| pending.push(record(number)));
    let files: Vec<LakeFile> = pending.end().unwrap().into_iter().map(|file| file.finish().unwrap()).collect();
    assert_eq!(files[1].key, "pending/event_date=2019-10-02/w0-000001.parquet");
    let read = files.iter().flat_map(|file| read_pending(&file.key, store.get(&file.key).unwrap()).unwrap());
    let want: Vec<PendingRecord> = (0..100).map(|number| PendingRecord { day: 0, ..record(number) }).collect();
    assert_eq!(read.collect::<Vec<_>>(), want);
}

/// An event file as an earlier program wrote it: money with three places, columns in another order, one that was not yet there.
fn as_written_earlier(bytes: bytes::Bytes) -> bytes::Bytes {
    use arrow::compute::cast;
    use arrow::datatypes::{DataType, Field, Schema};
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
    let mut batches = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()).rev() {
            let earlier = match field.data_type() {
                DataType::Decimal64(18, 4) => DataType::Decimal64(18, 3),
                other => other.clone(),
            };
            if field.name() != "channel" {
                columns.push(cast(column, &earlier).unwrap());
                fields.push(Field::new(field.name(), earlier, field.is_nullable()));
            }
        }
        let schema = Arc::new(Schema::new(fields));
        batches.push(RecordBatch::try_new(schema, columns).unwrap());
    }
    let mut out = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut out, batches[0].schema(), None).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.close().unwrap();
    out.into()
}

#[test]
fn files_of_an_earlier_program_are_merged_with_those_of_today() {
    let directory = tempdir().unwrap();
    let store = store(directory.path());
    let file = |name: &str, numbers: std::ops::Range<i64>| {
        let mut columns = EventColumns::new(Calendar::utc());
        for number in numbers {
            let mut purchase = record(Kind::Purchase, number);
            (purchase.session_id, purchase.order_id) = (format!("s{number}"), "o".into());
            (purchase.amount, purchase.unit_price) = (10_000 + number, Some(7));
            columns.push(&purchase.as_record(), number as u64, 0, 1);
        }
        let report = write(&directory.path().join(name), vec![columns.finish(None)], EventSettings::default());
        bytes::Bytes::from(std::fs::read(report.path(&report.files[0])).unwrap())
    };
    let (earlier, today) = (as_written_earlier(file("a", 0..3)), file("b", 3..6));
    for (first, second) in [(earlier.clone(), today.clone()), (today, earlier)] {
        let files = vec![("first".to_owned(), first), ("second".to_owned(), second)];
        let merged = merge_events(&store, "merged.parquet".to_owned(), files, Compression::Snappy, 1_000).unwrap();
        merged.finish().unwrap();
        let path = directory.path().join("merged.parquet");
        let batches = read_batches(&path);
        assert!(batches[0].schema().field_with_name("channel").unwrap().is_nullable());
        let read = texts(&read_all(&[path], ReadOptions::default()).unwrap());
        let amounts: Vec<f64> = read.iter().map(|line| normal(line)["price_paid"].as_f64().unwrap()).collect();
        assert_eq!(amounts, [100.0, 100.01, 100.02, 100.03, 100.04, 100.05]);
        assert!(read.iter().all(|line| normal(line)["unit_price"] == 0.07), "{read:?}");
    }
}
