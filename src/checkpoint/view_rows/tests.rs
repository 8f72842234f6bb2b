use super::*;
use millrace_connectors::store::Local;
use millrace_dataflows::rows::State;
use millrace_dataflows::settings::ViewContext;
use millrace_dataflows::views::{VIEWS, view};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use proptest::prelude::*;
use tempfile::TempDir;

struct Place {
    _directory: TempDir,
    store: Arc<dyn Store>,
    context: ViewContext,
    names: Names,
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().expect("a folder");
        let store: Arc<dyn Store> = Arc::new(Local::new(directory.path(), false));
        let context = crate::settings::Settings::default().validate().expect("the defaults are valid").views;
        Place { _directory: directory, store, context, names: Names::default() }
    }

    fn view(&self, name: &str) -> Box<dyn View> {
        view(name, &self.context).expect("a view of that name")
    }

    fn written(&self, view: &dyn View, rows: &[(Key, Measures)], untrusted: &BTreeSet<u64>) -> Bytes {
        let mut rows = rows.to_vec();
        rows.sort_by_key(|(key, _)| *key);
        let mut sorted = Sorted::of_rows(&rows);
        let file = write(&self.store, "file", view, &mut sorted, untrusted, &self.names, Compression::Snappy);
        file.expect("the rows are written").finish().expect("the file is finished");
        self.store.get("file").expect("the file is there")
    }

    /// What is written and read back.
    fn read_back(&self, view: &dyn View, rows: &[(Key, Measures)], untrusted: &BTreeSet<u64>) -> State {
        let bytes = self.written(view, rows, untrusted);
        read("file", bytes, view, &self.names).expect("the rows are read").into_iter().collect()
    }
}

/// A row of a table in which each part and measure has a value.
fn row(view: &dyn View, table: usize, names: &Names, measure: i64) -> (Key, Measures) {
    let parts: Vec<u64> = view.schema().tables[table]
        .parts
        .iter()
        .map(|part| match part {
            Part::Minute | Part::Hour | Part::KnownHour => 1_569_888_000_000_000,
            Part::Day | Part::Month => 18_170,
            Part::Unused => 0,
            Part::Name(_) => names.intern("tea").expect("a name").0,
            Part::User(_) => {
                let name = Name::of_user(Id::of("ann"));
                names.enter(name, "ann").expect("a name");
                name.0
            }
            Part::Currency => Currency::USD.code(),
            Part::Count(_) => 7,
            Part::Choice(..) => 1,
        })
        .collect();
    let mut key = Key { table: table as u8, parts: [0; 5] };
    key.parts[..parts.len()].copy_from_slice(&parts);
    (key, Measures::of(&vec![measure; view.schema().measures.len()]))
}

#[test]
fn a_column_has_one_type_in_every_file_of_a_view() {
    let place = Place::new();
    for (name, _) in VIEWS.iter().copied() {
        let view = place.view(name);
        let schema_of = |rows: &[(Key, Measures)]| {
            let bytes = place.written(&*view, rows, &BTreeSet::new());
            let metadata = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new()).expect("a Parquet file");
            (metadata.schema().clone(), metadata.parquet_schema().root_schema().clone())
        };
        let tables = view.schema().tables.len();
        let all: Vec<(Key, Measures)> = (0..tables).map(|table| row(&*view, table, &place.names, 1)).collect();
        let expected = schema_of(&all);
        assert_eq!(schema_of(&[]), expected, "{name} without rows");
        for row in all {
            let table = row.0.table;
            assert_eq!(schema_of(&[row]), expected, "{name} with rows of table {table} alone");
        }
    }
}

#[test]
fn money_that_may_be_wrong_is_nowhere_in_a_file() {
    let place = Place::new();
    let view = place.view("sales");
    let usd = row(&*view, 0, &place.names, 5);
    let mut yen = usd.clone();
    yen.0.parts[4] = Currency::parse("JPY").expect("a currency").code();
    let untrusted = BTreeSet::from([Currency::USD.code()]);
    let table = read_table("file", place.written(&*view, &[usd.clone(), yen.clone()], &untrusted)).expect("a table");
    let Some(Column::Decimal { values, .. }) = table.column("order_revenue") else { panic!("money is a decimal") };
    let mut values = values.clone();
    values.sort_unstable();
    assert_eq!(values, [None, Some(50_000)]);
    let read = place.read_back(&*view, &[usd.clone(), yen.clone()], &untrusted);
    assert_eq!(read.get(&yen.0).map(Sums::to_measures), Some(yen.1));
    // What is counted is there.
    assert_eq!(read.get(&usd.0).map(|sums| (sums.get(0), sums.get(5))), Some((5, 0)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sums_are_written_and_read_back(
        measures in prop::collection::vec(prop_oneof![any::<i64>(), Just(i64::MAX), Just(i64::MIN), Just(0)], 10),
        code in prop::sample::select(vec!["USD", "JPY", "KWD"]),
    ) {
        let place = Place::new();
        for name in ["sales", "traffic"] {
            let view = place.view(name);
            for table in 0..view.schema().tables.len() {
                let (mut key, _) = row(&*view, table, &place.names, 1);
                let at = view.schema().tables[table].parts.iter().position(|part| *part == Part::Currency);
                key.parts[at.expect("money has a currency")] = Currency::parse(code).expect("a currency").code();
                let measures = Measures::of(&measures[..view.schema().measures.len()]);
                let expected: State = [(key, measures.clone())].into_iter().collect();
                prop_assert!(place.read_back(&*view, &[(key, measures)], &BTreeSet::new()) == expected, "{} {}", name, table);
            }
        }
    }
}
