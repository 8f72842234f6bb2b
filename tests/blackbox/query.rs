//! Questions to a shop small enough to be computed by hand.

use super::support::{Answer, Place};
use serde_json::{Map, Value};

/// Three sessions, two orders, a return line and a refund; p1 changes its category between the days, p2 has none, and
/// nobody has heard of p3.
const SHOP: &str = r#"
{"event_type":"product","product_id":"p1","updated_at":"2024-01-01T00:00:00Z","category":"Home, Garden"}
{"event_type":"product","product_id":"p1","updated_at":"2024-05-02T00:00:00Z","category":"toys"}
{"event_type":"product","product_id":"p2","updated_at":"2024-01-01T00:00:00Z"}
{"event_type":"page_view","event_id":1,"event_time":"2024-05-01T10:00:00Z","session_id":"s1","user_id":"u1","page_type":"home","referrer":"google","device":"mobile"}
{"event_type":"page_view","event_id":2,"event_time":"2024-05-01T10:00:10Z","session_id":"s1","user_id":"u1","page_type":"product_detail","product_id":"p1"}
{"event_type":"add_to_cart","event_id":3,"event_time":"2024-05-01T10:00:20Z","session_id":"s1","user_id":"u1","product_id":"p1","quantity":2}
{"event_type":"checkout_started","event_id":4,"event_time":"2024-05-01T10:00:30Z","session_id":"s1","user_id":"u1"}
{"event_type":"purchase","event_id":5,"event_time":"2024-05-01T10:00:40Z","session_id":"s1","user_id":"u1","order_id":"o1","product_id":"p1","quantity":2,"price_paid":18,"unit_price":10}
{"event_type":"purchase","event_id":6,"event_time":"2024-05-01T10:00:40Z","session_id":"s1","user_id":"u1","order_id":"o1","product_id":"p2","quantity":1,"price_paid":5.005}
{"event_type":"page_view","event_id":7,"event_time":"2024-05-01T11:00:00Z","session_id":"s2","page_type":"product","product_id":"p1","device":"desktop"}
{"event_type":"add_to_cart","event_id":8,"event_time":"2024-05-01T11:00:05Z","session_id":"s2","product_id":"p3","quantity":0}
{"event_type":"purchase","event_id":9,"event_time":"2024-05-03T09:00:00Z","session_id":"s3","user_id":"u2","order_id":"o2","product_id":"p1","quantity":1,"price_paid":9}
{"event_type":"purchase","event_id":10,"event_time":"2024-05-03T09:05:00Z","session_id":"s3","user_id":"u2","order_id":"o1","product_id":"p1","quantity":-1,"price_paid":-9}
{"event_type":"refund","event_id":11,"event_time":"2024-05-03T12:00:00Z","order_id":"o2","product_id":"p1","quantity":1,"amount":1}
{"event_type":"purchase","event_id":12,"event_time":"2024-05-03T09:00:00Z","session_id":"s3"}
not json
"#;

fn shop() -> Place {
    let place = Place::new();
    place.write("shop.jsonl", SHOP);
    assert_eq!(place.replay("shop.jsonl", "data", ""), [16, 14, 0, 2, 0]);
    place
}

const SALES: &str = "lines,orders,units,units_returned,net_units,gross_sales,discounts,order_revenue,returns,\
    returns_as_sold,net_sales,average_order_value";
const FUNNEL: &str = "sessions,reached_view,reached_product_view,reached_cart,reached_checkout,reached_purchase,\
    ordered_view,ordered_product_view,ordered_cart,ordered_checkout,ordered_purchase,carts_abandoned,cart_abandonment,\
    step_conversion_product_view,step_conversion_cart,step_conversion_checkout,step_conversion_purchase,\
    overall_conversion,median_seconds_to_purchase,p90_seconds_to_purchase,mean_seconds_to_purchase,immature_until,\
    capped_sessions";
const RELATED: &str = "kind,product_id,rank,related_id,n_ab,n_a,n_b,cosine,jaccard,lift,llr";
const TRAFFIC: &str = "page_views,cart_additions,purchases,active_sessions,active_users,net_sales";
const QUALITY: &str = "read,accepted,duplicates,quarantined,pending,late,warned,quality_score";

/// Each view's columns, alone and after each group column, are those of docs/metrics.md and of `millrace views`.
#[test]
fn columns_are_as_promised() {
    let place = shop();
    let views: Vec<Map<String, Value>> = serde_json::from_str(&place.ok("views --format json")).expect("an array");
    let texts = |view: &Map<String, Value>, name: &str| -> Vec<String> {
        view[name].as_array().expect("a list").iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
    };
    let expected = [
        ("sales", "hour,day,month,product_id,category,category_as_was,currency", SALES),
        ("funnel", "day,month,category,referrer,device", FUNNEL),
        ("related_products", "", RELATED),
        ("traffic", "minute,hour,day", TRAFFIC),
        ("customers", "user_id,segment,day,currency", ""),
        ("trending", "hour,day,month,product_id", ""),
        ("quality", "hour,day,source,rule", QUALITY),
        ("quarantine", "", "source,partition,offset,rule,field,message,received_at,bytes,bytes_total"),
    ];
    for (name, groups, values) in expected {
        let view = views.iter().find(|view| view["name"] == name).expect(name);
        if values.is_empty() {
            // It is not maintained by default.
            assert_eq!(texts(view, "group_columns").join(","), groups);
            continue;
        }
        assert_eq!(place.table("data", name).columns.join(","), values, "{name}");
        let mut listed = [texts(view, "group_columns"), texts(view, "columns")].concat().join(",");
        if name == "related_products" {
            assert_eq!(listed, values);
        } else {
            assert_eq!(
                listed,
                [groups, values].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(",")
            );
        }
        listed.clear();
        for group in groups.split(',').filter(|group| !group.is_empty()) {
            let answer = place.table("data", &format!("{name} --group-by {group}"));
            assert_eq!(answer.columns.join(","), format!("{group},{values}"));
            assert!(!answer.rows.is_empty(), "{name} by {group}");
        }
    }
    let mixed = place.table("data", "sales --group-by category,day");
    assert_eq!(mixed.columns.join(","), format!("category,day,{SALES}"), "groups stand as they were asked");
}

fn check(place: &Place, question: &str, rows: &[&str]) {
    let text = place.csv("data", question);
    let found: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(found, rows, "{question}");
}

#[test]
fn sales_by_hand() {
    let place = shop();
    check(&place, "sales", &["3,2,4,2,2,34.00,2.00,32.00,10.00,10.00,22.00,16"]);
    let days = [
        "2024-05-01,2,1,3,0,3,25.00,2.00,23.00,0.00,9.00,23.00,23",
        "2024-05-03,1,1,1,2,-1,9.00,0.00,9.00,10.00,1.00,-1.00,9",
    ];
    check(&place, "sales --group-by day", &days);
    let categories =
        ["(none),1,1,1,0,1,5.00,0.00,5.00,0.00,0.00,5.00,5", "toys,2,2,3,2,1,29.00,2.00,27.00,10.00,10.00,17.00,13.5"];
    check(&place, "sales --group-by category", &categories);
    let as_was = [
        "(none),1,1,1,0,1,5.00,0.00,5.00,0.00,0.00,5.00,5",
        "\"Home, Garden\",1,1,2,0,2,20.00,2.00,18.00,0.00,9.00,18.00,18",
        "toys,1,1,1,2,-1,9.00,0.00,9.00,10.00,1.00,-1.00,9",
    ];
    check(&place, "sales --group-by category_as_was", &as_was);
    check(
        &place,
        "sales --group-by product_id --where product_id=p2",
        &["p2,1,1,1,0,1,5.00,0.00,5.00,0.00,0.00,5.00,5"],
    );
    check(&place, "sales --where category=toys --where day=2024-05-03", &[&days[1]["2024-05-03,".len()..]]);
    check(&place, "sales --where product_id=P1", &[]);
    check(
        &place,
        "sales --group-by hour --where hour=2024-05-03T12:00:00Z",
        &["2024-05-03T12:00:00+00:00,0,0,0,1,-1,0.00,0.00,0.00,1.00,0.00,-1.00,"],
    );
    check(&place, "sales --group-by month,currency", &["2024-05,USD,3,2,4,2,2,34.00,2.00,32.00,10.00,10.00,22.00,16"]);
}

#[test]
fn funnel_by_hand() {
    let place = shop();
    let total = place.table("data", "funnel");
    let names = FUNNEL.split(',').filter(|name| !name.contains("seconds")).collect::<Vec<_>>().join(" ");
    assert_eq!(total.pick(&names), ["3 2 2 2 1 2 2 2 2 1 1 1 0.5 1 1 0.5 0.5 0.5 2024-05-05T00:00:00+00:00 0"]);
    for name in ["median_seconds_to_purchase", "p90_seconds_to_purchase", "mean_seconds_to_purchase"] {
        let seconds: f64 = total.column(name)[0].parse().expect("a number");
        // 40 seconds: the geometric middle of their bucket.
        assert!(
            (seconds - 1.05_f64.powf(358.5) / 1e6).abs() < 1e-9 && (seconds / 40.0 - 1.0).abs() < 0.025,
            "{seconds}"
        );
    }
    let days = place.table("data", "funnel --group-by day");
    let columns = "day sessions ordered_view ordered_purchase overall_conversion median_seconds_to_purchase";
    assert_eq!(days.pick(columns)[1], "2024-05-03 1 0 0  ");
    let by =
        |column: &str| place.table("data", &format!("funnel --group-by {column}")).pick(&format!("{column} sessions"));
    assert_eq!(by("category"), ["(none) 1", "toys 2"]);
    assert_eq!(by("referrer"), ["(none) 2", "google 1"]);
    assert_eq!(by("device"), ["(none) 1", "desktop 1", "mobile 1"]);
    assert_eq!(place.table("data", "funnel --where device=desktop").pick("sessions carts_abandoned"), ["1 1"]);
}

#[test]
fn related_by_hand() {
    let place = shop();
    let third = 1.0_f64 / 3.0_f64.sqrt();
    let half = 1.0_f64 / 2.0_f64.sqrt();
    let answer = place.table("data", "related_products --rank-by n_ab");
    let counts = [
        "bought_together p1 1 p2 1 2 1",
        "bought_together p2 1 p1 1 1 2",
        "viewed_together p1 1 p2 1 3 1",
        "viewed_together p1 2 p3 1 3 1",
        "viewed_together p2 1 p1 1 1 3",
        "viewed_together p3 1 p1 1 1 3",
    ];
    assert_eq!(answer.pick("kind product_id rank related_id n_ab n_a n_b"), counts);
    for (row, kind) in answer.column("kind").into_iter().enumerate() {
        let value = |name: &str| -> f64 { answer.column(name)[row].parse().expect("a number") };
        let [cosine, jaccard] = if kind == "bought_together" { [half, 0.5] } else { [third, 1.0 / 3.0] };
        assert!((value("cosine") - cosine).abs() < 1e-12 && (value("jaccard") - jaccard).abs() < 1e-12);
        assert!((value("lift") - 1.0).abs() < 1e-12 && value("llr").abs() < 1e-9);
    }
    // By a score, pairs that came together less than three times do not count.
    check(&place, "related_products", &[]);
    assert_eq!(place.table("data", "related_products --rank-by n_ab --where related_id=p3").rows.len(), 1);
    let filtered = "related_products --rank-by n_ab --where kind=viewed_together --where product_id=p1 --limit 1";
    assert_eq!(place.table("data", filtered).pick("related_id"), ["p2"]);
}

#[test]
fn traffic_and_quality_by_hand() {
    let place = shop();
    check(&place, "traffic", &["3,2,3,3,2,22.00"]);
    check(&place, "traffic --group-by day", &["2024-05-01,3,2,2,2,1,23.00", "2024-05-03,0,0,1,1,1,-1.00"]);
    check(
        &place,
        "traffic --group-by minute --where day=2024-05-01",
        &["2024-05-01T10:00:00+00:00,2,1,2,1,1,23.00", "2024-05-01T11:00:00+00:00,1,1,0,1,0,0.00"],
    );
    check(&place, "quality", &["16,14,0,2,0,0,14,0.875"]);
    let rules = [
        "amount_rounded 14 0 1",
        "malformed_json 14 1 0",
        "missing_field 14 1 0",
        "order_disagrees 14 0 3", // all three lines of o1, which two sessions claim
        "quantity_zero 14 0 1",
        "unknown_product 14 0 1",
        "unknown_user 14 0 8",
    ];
    assert_eq!(place.table("data", "quality --group-by rule").pick("rule accepted quarantined warned"), rules);
    assert_eq!(place.table("data", "quality --group-by source").pick("source read"), ["shop.jsonl 16"]);
    assert_eq!(place.table("data", "quality --group-by source --where source=other.jsonl").rows.len(), 0);
}

#[test]
fn quarantine_has_filters_order_and_limit() {
    let place = shop();
    let rows = place.table("data", "quarantine");
    assert_eq!(rows.pick("rule field"), ["missing_field product_id", "malformed_json "]);
    assert_eq!(place.table("data", "quarantine --where rule=malformed_json").pick("bytes bytes_total"), ["not json 8"]);
    assert_eq!(place.table("data", "quarantine --order-by offset:desc --limit 1").pick("rule"), ["malformed_json"]);
    assert_eq!(place.table("data", "quarantine --where rule=nothing").rows.len(), 0);
    place.fails("query quarantine --data-dir data --group-by rule", 2, &["quarantine", "--group-by"]);
    place.fails("query quarantine --data-dir data --from 2026-01-01 --to 2026-01-02", 2, &["quarantine", "--from"]);
    let table = place.ok("query quarantine --data-dir data --limit 1");
    assert!(table.contains("the first 1 rows of more"), "{table}");
    place.write("clean.jsonl", SHOP.lines().nth(1).expect("a line"));
    place.replay("clean.jsonl", "clean", "");
    let none = place.table("clean", "quarantine");
    assert_eq!((none.columns.len(), none.rows.len()), (9, 0));
}

#[test]
fn formats_say_the_same() {
    let place = shop();
    for question in [
        "sales --group-by day",
        "funnel --group-by device",
        "related_products --rank-by n_ab",
        "quality --group-by hour,rule",
        "quarantine",
    ] {
        let csv = place.table("data", question);
        let text = place.ok(&format!("query {question} --data-dir data --format json"));
        let objects: Vec<Map<String, Value>> = serde_json::from_str(&text).expect("an array of objects");
        let cell = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            // Money keeps its places, which a parsed number does not.
            number => number.as_f64().expect("a number").to_string(),
        };
        let number = |text: &String| text.parse::<f64>().map_or_else(|_| text.clone(), |number| number.to_string());
        let rows: Vec<Vec<String>> =
            objects.iter().map(|row| csv.columns.iter().map(|name| number(&cell(&row[name]))).collect()).collect();
        let expected: Vec<Vec<String>> = csv.rows.iter().map(|row| row.iter().map(number).collect()).collect();
        assert_eq!(rows, expected, "{question}");
        assert!(objects.iter().all(|row| row.len() == csv.columns.len()));

        let table = place.ok(&format!("query {question} --data-dir data"));
        assert!(csv.columns.iter().all(|column| table.contains(column.as_str())), "{table}");
    }
    let json = place.ok("query sales --data-dir data --format json");
    assert!(json.contains("\"net_sales\":22.00"), "{json}");
    assert_eq!(place.ok("query sales --data-dir data --where product_id=p9 --format json").trim(), "[]");
    assert!(place.ok("query sales --data-dir data --where product_id=p9").contains("no rows"));
}

#[test]
fn order_and_limit() {
    let place = shop();
    let products = |more: &str| place.table("data", &format!("sales --group-by product_id {more}")).pick("product_id");
    assert_eq!(products(""), ["p1", "p2"]);
    assert_eq!(products("--order-by net_sales"), ["p2", "p1"]);
    assert_eq!(products("--order-by net_sales:desc --limit 1"), ["p1"]);
    assert_eq!(products("--order-by lines:desc,product_id:desc"), ["p1", "p2"]);
    place.fails("query sales --data-dir data --limit 0", 2, &["--limit", "1 or more", "leave --limit out"]);
    // A null comes first, last when descending.
    let hours = |order: &str| {
        place
            .table("data", &format!("sales --group-by hour --order-by average_order_value{order}"))
            .column("average_order_value")
            .join(" ")
    };
    assert_eq!(hours(""), " 9 23");
    assert_eq!(hours(":desc"), "23 9 ");
    let table = place.ok("query sales --group-by product_id --data-dir data --limit 1");
    assert!(table.contains("1 of 2 rows"), "{table}");
}

#[test]
fn a_range_is_filled_with_zeros() {
    let place = shop();
    let zero = "0,0,0,0,0,0.00,0.00,0.00,0.00,0.00,0.00,";
    let days = [
        format!("2024-04-30,{zero}"),
        "2024-05-01,2,1,3,0,3,25.00,2.00,23.00,0.00,9.00,23.00,23".to_owned(),
        format!("2024-05-02,{zero}"),
    ];
    let days: Vec<&str> = days.iter().map(String::as_str).collect();
    check(&place, "sales --group-by day --from 2024-04-30 --to 2024-05-02", &days);
    check(&place, "sales --group-by day --from 2024-05-01 --to 2024-05-01", &days[1..2]);
    check(
        &place,
        "sales --group-by day --from 2024-05-01 --to 2024-05-02 --where category=garden",
        &[&format!("2024-05-01,{zero}"), days[2]],
    );
    check(
        &place,
        "traffic --group-by day --from 2024-05-02 --to 2024-05-03",
        &["2024-05-02,0,0,0,0,0,0.00", "2024-05-03,0,0,1,1,1,-1.00"],
    );
    let funnel = place.table("data", "funnel --group-by day --from 2024-05-02 --to 2024-05-04");
    assert_eq!(funnel.pick("day sessions overall_conversion"), ["2024-05-02 0 ", "2024-05-03 1 ", "2024-05-04 0 "]);
    let hours = place.table("data", "sales --group-by hour --from 2024-05-01 --to 2024-05-02");
    assert_eq!((hours.rows.len(), hours.pick("hour lines")[10].as_str()), (48, "2024-05-01T10:00:00+00:00 2"));
    let groups = place.table("data", "sales --group-by day,product_id --from 2024-05-01 --to 2024-05-02");
    assert_eq!(groups.pick("day product_id"), ["2024-05-01 p1", "2024-05-01 p2"]);
    let empty = place.table("data", "sales --group-by day --from 2030-01-01 --to 2030-01-03");
    assert_eq!(empty.pick("day lines"), ["2030-01-01 0", "2030-01-02 0", "2030-01-03 0"]);
}

#[test]
fn what_cannot_be_asked_is_usage() {
    let place = shop();
    for (question, words) in [
        ("sale", &["sale", "did you mean sales"][..]),
        ("quarantined", &["did you mean quarantine"]),
        ("sales --group-by dya", &["dya", "category_as_was"]),
        ("sales --group-by device", &["device", "product_id"]),
        ("funnel --group-by product_id", &["product_id", "referrer"]),
        ("traffic --group-by month", &["month", "minute"]),
        ("quality --group-by partition", &["partition", "source"]),
        ("sales --group-by hour,day", &["hour"]),
        ("sales --where size=XL", &["size", "category"]),
        ("sales --where day=yesterday", &["yesterday"]),
        ("sales --where month=2024-13", &["2024-13"]),
        ("sales --where hour=10", &["10"]),
        ("sales --where currency=dollars", &["dollars"]),
        ("sales --where category", &["COLUMN=VALUE"]),
        ("quarantine --where reason=x", &["reason", "rule"]),
        ("quarantine --group-by reason", &["quarantine", "--group-by"]),
        ("sales --order-by size", &["size", "net_sales"]),
        ("sales --order-by lines:up", &["lines:up"]),
        ("related_products --rank-by affinity", &["affinity", "cosine"]),
        ("related_products --where size=1", &["size"]),
        ("sales --from 2024-05-01", &["--to"]),
        ("sales --from 2024-05-02 --to 2024-05-01", &["--from"]),
        ("sales --group-by day --from 2024-05-32 --to 2024-05-01", &["2024-05-32"]),
        ("funnel --as-of noon", &["noon"]),
        // Times that no event has, and more of them than anybody reads.
        ("sales --where month=9999-12", &["9999-12", "2199"]),
        ("sales --where day=1969-12-31", &["1969-12-31", "1970"]),
        ("traffic --group-by hour --where hour=9999-12-30T21:00:00Z", &["2199"]),
        ("sales --group-by day --from 0001-01-01 --to 9999-12-30", &["2199"]),
        ("sales --group-by hour --from 1970-01-01 --to 2199-12-31", &["2016", "fewer days"]),
        ("sales --limit few", &["few"]),
        ("sales --format xml", &["xml"]),
    ] {
        let done = place.fails(&format!("query {question} --data-dir data"), 2, words);
        assert_eq!(done.out, "", "{question}");
    }
}

#[test]
fn each_currency_has_its_places_and_none_is_added_to_another() {
    let place = Place::new();
    let line = |id: u32, day: u32, more: &str| {
        format!(
            "{{\"event_type\":\"purchase\",\"event_id\":{id},\"event_time\":\"2024-05-0{day}T10:00:00Z\",\"session_id\":\"s\",\
             \"order_id\":\"o{id}\",\"product_id\":\"p\",\"quantity\":1,{more}}}\n"
        )
    };
    let lines = [
        line(1, 1, r#""price_paid":9.99"#),
        line(2, 1, r#""price_paid":0.125,"currency":"USD""#), // a half, to the even cent
        line(3, 1, r#""price_paid":500.5,"currency":"JPY""#),
        line(4, 2, r#""price_paid":1501.5,"currency":"JPY""#),
        line(5, 2, r#""price_paid":1.2345,"currency":"KWD""#),
        line(6, 2, r#""price_paid":10,"currency":"KWD""#),
    ];
    place.write("a.jsonl", lines.concat());
    place.write("dollars.jsonl", lines[..2].concat());
    place.replay("a.jsonl", "data", "");
    let revenue = |question: &str| {
        let answer = place.table("data", question);
        (
            answer.columns[..2].join(","),
            answer
                .rows
                .iter()
                .map(|row| {
                    let at = answer.columns.iter().position(|name| name == "order_revenue").expect("it is there");
                    [&row[..at.min(2)], &row[at..=at]].concat().join(" ")
                })
                .collect::<Vec<_>>(),
        )
    };
    let total = place.table("data", "sales");
    assert_eq!(total.columns[0], "currency");
    assert_eq!(total.pick("currency order_revenue"), ["JPY 2002", "KWD 11.234", "USD 10.11"]);
    assert_eq!(total.pick("currency average_order_value"), ["JPY 1001", "KWD 5.617", "USD 5.055"]);
    let days = ["JPY 2024-05-01 500", "JPY 2024-05-02 1502", "KWD 2024-05-02 11.234", "USD 2024-05-01 10.11"];
    assert_eq!(revenue("sales --group-by day"), ("currency,day".to_owned(), days.map(str::to_owned).to_vec()));
    let asked = ["2024-05-01 JPY 500", "2024-05-01 USD 10.11", "2024-05-02 JPY 1502", "2024-05-02 KWD 11.234"];
    assert_eq!(
        revenue("sales --group-by day,currency"),
        ("day,currency".to_owned(), asked.map(str::to_owned).to_vec())
    );
    let dinars = place.table("data", "sales --where currency=KWD");
    assert_eq!(dinars.pick("orders order_revenue"), ["2 11.234"]);
    let traffic = place.table("data", "traffic");
    assert_eq!(
        traffic.pick("currency active_sessions purchases net_sales")[1..],
        ["JPY 0 2 2002", "KWD 0 2 11.234", "USD 0 2 10.11"].map(str::to_owned)
    );
    assert_eq!(traffic.pick("currency active_sessions purchases")[0], "(none) 1 0");
    assert_eq!(place.table("data", "quality").pick("warned")[0].parse::<u32>().map(|warned| warned >= 4), Ok(true));

    place.replay("dollars.jsonl", "data", "");
    assert_eq!(Answer::of_csv(&place.csv("data", "sales")).columns[0], "lines", "one currency need not be named");
}

/// A shop in which nothing has been sold, and one in which nothing has happened.
#[test]
fn shops_without_sales_or_events() {
    let place = Place::new();
    place.write("views.jsonl", SHOP.lines().filter(|line| line.contains("page_view")).collect::<Vec<_>>().join("\n"));
    place.write(
        "products.jsonl",
        SHOP.lines().filter(|line| line.contains("updated_at")).collect::<Vec<_>>().join("\n"),
    );
    for (paths, traffic) in [("views.jsonl", &["3,0,0,2,1,0.00"][..]), ("products.jsonl", &[])] {
        place.replay(paths, "data", "");
        check(&place, "traffic", traffic);
        for question in super::support::QUESTIONS.iter().filter(|question| question.starts_with("sales")) {
            check(&place, question, &[]);
        }
        for question in super::support::QUESTIONS {
            place.csv("data", question);
        }
    }
    check(
        &place,
        "sales --group-by day --from 2024-05-01 --to 2024-05-01",
        &["2024-05-01,0,0,0,0,0,0.00,0.00,0.00,0.00,0.00,0.00,"],
    );
}

/// Without a range there is nothing to show; which filter it is that leaves nothing is said beside it.
#[test]
fn a_filter_that_leaves_nothing_is_named() {
    let place = shop();
    let said = |question: &str| {
        let done = place.run_arguments(
            ["query", "--data-dir", "data", "--format", "csv"].into_iter().chain(question.split_whitespace()),
        );
        assert_eq!((done.code, done.out.lines().count()), (0, 1), "{question}: {}", done.err);
        done.err
    };
    let nothing = "warning: nothing in sales has product_id = \"p9\"\n";
    assert_eq!(said("sales --where product_id=p9"), nothing);
    assert_eq!(said("sales --where product_id=p9 --where category=toys --group-by day"), nothing);
    assert_eq!(said("funnel --where device=tv"), "warning: nothing in funnel has device = \"tv\"\n");
    // Each of them leaves something.
    assert_eq!(said("sales --where product_id=p2 --where category=toys"), "");
    place.fails("query quality --data-dir data --where rule=none_such", 2, &["the name of a rule"]);
}

/// Lines of the largest amounts that there may be: exact in answers and in files, before and after a start anew.
#[test]
fn amounts_at_the_limit_add_up() {
    let place = Place::new();
    let line = |number: u32, currency: &str, paid: &str| {
        format!(
            "{{\"event_type\":\"purchase\",\"event_id\":\"{currency}{number}\",\"event_time\":\"2024-05-01T10:00:00Z\",\
            \"session_id\":\"s\",\"order_id\":\"o{number}\",\"product_id\":\"p\",\"quantity\":1,\"price_paid\":{paid},\
            \"currency\":\"{currency}\"}}\n"
        )
    };
    let lines = |currency: &str, paid: &str| (0..40).map(|number| line(number, currency, paid)).collect::<String>();
    let largest = [("JPY", "10000000000000"), ("KWD", "10000000000.000"), ("USD", "100000000000.00")];
    place.write("shop.jsonl", largest.iter().map(|(currency, paid)| lines(currency, paid)).collect::<String>());
    assert_eq!(place.replay("shop.jsonl", "data", ""), [120, 120, 0, 0, 0]);
    let expected = ["JPY 400000000000000", "KWD 400000000000.000", "USD 4000000000000.00"].map(str::to_owned);
    assert_eq!(place.table("data", "sales --group-by currency").pick("currency order_revenue"), expected);
    assert_eq!(place.table("data", "traffic --group-by currency").pick("currency net_sales")[1..], expected);
    place.ok("verify --data-dir data");
    // The lake's own event files are read again.
    place.replay("data", "again", "");
    assert_eq!(place.table("again", "sales --group-by currency").pick("currency order_revenue"), expected);
}
