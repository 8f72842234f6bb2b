//! Golden outputs of one small table that holds every kind of value.

use super::*;
use millrace_schema::Currency;

fn small() -> Table {
    let mut table = Table::new(["day", "category", "orders", "net_sales", "cart_abandonment"]);
    let yen = Currency::parse("JPY").expect("a code");
    table.rows = vec![
        vec![
            Value::text("2019-10-01"),
            Value::text("bed, \"bath\"\n\u{1b}[31m"),
            Value::Int(3),
            Value::Money(-350, Currency::USD),
            Value::ratio(2, 3),
        ],
        vec![Value::text("2019-10-02"), Value::text(""), Value::Int(-12), Value::Money(120, yen), Value::Null],
        vec![Value::Null, Value::text("é"), Value::Int(0), Value::Money(7, Currency::USD), Value::Float(0.000_012_5)],
    ];
    table
}

fn printed(table: &Table, format: Format, width: Option<usize>, rows_max: usize) -> String {
    let layout = Layout { width, rows_max, rows_counted: true, cell_chars_max: 12 };
    let mut out = Vec::new();
    print(table, format, layout, &mut out).expect("memory takes all");
    String::from_utf8(out).expect("text")
}

fn check(format: Format, expected: &str) {
    assert_eq!(printed(&small(), format, None, 1), expected);
}

#[test]
fn csv() {
    check(
        Format::Csv,
        "day,category,orders,net_sales,cart_abandonment\n\
         2019-10-01,\"bed, \"\"bath\"\"\n\u{1b}[31m\",3,-3.50,0.6666666666666666\n\
         2019-10-02,,-12,120,\n\
         ,é,0,0.07,0.0000125\n",
    );
}

#[test]
fn json() {
    check(
        Format::Json,
        r#"[
{"day":"2019-10-01","category":"bed, \"bath\"\n\u001b[31m","orders":3,"net_sales":-3.50,"cart_abandonment":0.6666666666666666},
{"day":"2019-10-02","category":"","orders":-12,"net_sales":120,"cart_abandonment":null},
{"day":null,"category":"é","orders":0,"net_sales":0.07,"cart_abandonment":0.0000125}
]
"#,
    );
}

#[test]
fn a_table_for_people() {
    let expected = "\
┌────────────┬───────────────┬────────┬───────────┬──────────────────┐
│ day        ┆ category      ┆ orders ┆ net_sales ┆ cart_abandonment │
╞════════════╪═══════════════╪════════╪═══════════╪══════════════════╡
│ 2019-10-01 ┆ bed, \"bath\"·… ┆      3 ┆     -3.50 ┆           0.6667 │
│ 2019-10-02 ┆               ┆    -12 ┆       120 ┆                  │
└────────────┴───────────────┴────────┴───────────┴──────────────────┘
2 of 3 rows (--limit N for more, --format csv for all)
";
    assert_eq!(printed(&small(), Format::Table, None, 2), expected);
}

#[test]
fn a_narrow_terminal_folds_columns_and_repeats_the_day() {
    let text = printed(&small(), Format::Table, Some(50), 3);
    assert!(text.lines().all(|line| line.chars().count() <= 50), "{text}");
    assert_eq!(text.matches(" day ").count(), 2, "{text}");
    assert!(text.contains("orders") && text.contains("net_sales") && text.contains("cart_abandonment"), "{text}");
}

#[test]
fn long_texts_wrap_and_what_names_the_row_does_not() {
    let mut table = Table::new(["setting", "value"]);
    table.rows =
        vec![vec![Value::text("a.b.c"), Value::text("x ".repeat(60))], vec![Value::text("d"), Value::text("")]];
    let layout = Layout { width: Some(30), rows_max: 9, rows_counted: true, cell_chars_max: usize::MAX };
    let mut out = Vec::new();
    print(&table, Format::Table, layout, &mut out).expect("memory takes all");
    let text = String::from_utf8(out).expect("text");
    assert!(text.lines().all(|line| line.chars().count() <= 30), "{text}");
    assert!(text.contains(" a.b.c ") && text.matches('x').count() == 60, "{text}");
}

#[test]
fn an_empty_answer() {
    let empty = Table::new(["day", "orders"]);
    assert_eq!(printed(&empty, Format::Csv, None, 9), "day,orders\n");
    assert_eq!(printed(&empty, Format::Json, None, 9), "[]\n");
    assert!(printed(&empty, Format::Table, None, 9).ends_with("no rows\n"));
}

#[test]
fn no_number_that_json_does_not_have() {
    let mut table = Table::new(["x"]);
    table.rows = vec![vec![Value::Float(f64::NAN)], vec![Value::Float(f64::INFINITY)], vec![Value::Float(2.0)]];
    assert_eq!(printed(&table, Format::Json, None, 9), "[\n{\"x\":null},\n{\"x\":null},\n{\"x\":2.0}\n]\n");
}
