//! The shop behind the lines: sessions, orders, returns and products have the shape that was asked for.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::super::options::MICROS_PER_DAY;
use super::super::session::Intent;
use super::super::{Class, Generator, Options};
use super::{assert_near, generate, stormy, tally, text};

#[test]
fn orders_agree_and_never_return_more_than_was_paid() {
    let options = Options { late_fraction: 0.0, ..stormy() };
    let (lines, tally) = generate(options);
    let mut sold: HashMap<(String, String), Value> = HashMap::new();
    let mut orders: HashMap<String, Vec<Value>> = HashMap::new();
    let (mut discounted, mut returned) = (0, HashSet::new());
    for line in lines.iter().filter(|line| line.is_sound_event()) {
        let record = line.json();
        if record["order_id"].is_null() {
            continue;
        }
        let key = (text(&record, "order_id").to_owned(), text(&record, "product_id").to_owned());
        let quantity = record["quantity"].as_i64().expect("a quantity is an integer");
        let amount = record["amount"].as_f64().or(record["price_paid"].as_f64()).expect("an amount");
        if text(&record, "event_type") == "refund" || quantity < 0 {
            let bought = &sold[&key];
            assert!(returned.insert(key), "a line comes back once");
            assert!(amount.abs() <= bought["price_paid"].as_f64().expect("an amount"));
            assert!(quantity.abs() <= bought["quantity"].as_i64().expect("a quantity"));
            assert_eq!(record["currency"], bought["currency"]);
            continue;
        }
        let listed = record["unit_price"].as_f64().map(|price| price * quantity as f64);
        let is_discounted = !record["discount_code"].is_null();
        assert!(listed.is_none_or(|listed| (amount < listed - 1e-6) == is_discounted), "{record}");
        discounted += usize::from(is_discounted);
        orders.entry(key.0.clone()).or_default().push(record.clone());
        sold.insert(key, record);
    }
    for lines in orders.values() {
        for key in ["event_time", "session_id", "user_id", "currency", "discount_code"] {
            // The code is one of the order, on each line.
            assert!(lines.iter().all(|line| line[key] == lines[0][key]), "{key} of {lines:?}");
        }
    }
    let several = orders.values().filter(|lines| lines.len() > 1).count() as f64;
    assert_near("orders of several lines", several / orders.len() as f64, 0.35, 0.04);
    assert!(discounted > 100 && returned.len() > 100);
    assert!(orders.len() as u64 <= tally.orders());
}

#[test]
fn the_benchmark_has_its_shape() {
    let options = Options { events: 400_000, ..Options::bench() };
    let mut generator = Generator::new(options.clone()).expect("valid");
    let (mut bytes, mut last_fresh, mut sessions_open) = (Vec::new(), 0, 0);
    while let Some(info) = generator.next_line(&mut bytes) {
        bytes.clear();
        if info.class == Class::Fresh && !info.dimension {
            last_fresh = info.time;
        }
        sessions_open = sessions_open.max(generator.sessions_open());
    }
    let tally = generator.tally();
    let events = options.events as f64;
    assert_near("events a session", (tally.fresh + tally.late) as f64 / tally.sessions as f64, 8.0, 0.2);
    assert_near("sold lines", tally.sold_lines as f64 / events, 0.05, 0.002);
    assert_near("duplicates", tally.duplicates as f64 / events, 0.01, 0.001);
    assert_near("lines an order", tally.sold_lines as f64 / tally.orders() as f64, 1.66, 0.05);
    assert_eq!((tally.malformed, tally.conflicts, tally.bot_sessions), (0, 0, 0));
    assert_near("days", (last_fresh - options.start) as f64 / MICROS_PER_DAY as f64, 30.0, 0.7);
    assert!(sessions_open < 100, "memory is that of the open sessions, {sessions_open}");
}

#[test]
fn an_intent_has_the_events_it_says() {
    let of = |bounce_fraction, compare_fraction, buy_fraction| Options {
        events: 200_000,
        bounce_fraction,
        compare_fraction,
        buy_fraction,
        duplicate_fraction: 0.0,
        refund_fraction: 0.0,
        return_line_fraction: 0.0,
        ..Options::bench()
    };
    let cases = [
        (Intent::Bounce, of(1.0, 0.0, 0.0)),
        (Intent::Compare, of(0.0, 1.0, 0.0)),
        (Intent::Buy, of(0.0, 0.0, 1.0)),
        (Intent::Browse, of(0.0, 0.0, 0.0)),
    ];
    for (intent, options) in cases {
        let tally = tally(options);
        let mean = (tally.fresh + tally.late) as f64 / tally.sessions as f64;
        assert_near("events a session", mean / intent.mean_events(), 1.0, 0.03);
    }
}

#[test]
fn products_are_drawn_by_zipf_and_change_as_asked() {
    let (products, exponent, events) = (100_u32, 1.1, 100_000);
    let options = Options {
        events,
        products,
        zipf_exponent: exponent,
        recategorised_fraction: 0.5,
        late_product_fraction: 0.2,
        inventory: false,
        ..Options::bench()
    };
    let (lines, _) = generate(options.clone());
    let (mut views, mut records): (HashMap<String, u64>, HashMap<String, Vec<Value>>) = Default::default();
    let mut early_views = HashSet::new();
    for line in &lines {
        let record = line.json();
        let Some(product) = record["product_id"].as_str().map(str::to_owned) else { continue };
        match text(&record, "event_type") {
            "page_view" => *views.entry(product.clone()).or_default() += 1,
            "product" => records.entry(product.clone()).or_default().push(record),
            _ => {}
        }
        if !records.contains_key(&product) {
            early_views.insert(product);
        }
    }
    let mut by_views: Vec<u64> = views.values().copied().collect();
    by_views.sort_unstable_by(|a, b| b.cmp(a));
    let all_views: u64 = by_views.iter().sum();
    let total: f64 = (1..=products).map(|rank| f64::from(rank).powf(-exponent)).sum();
    // Companions bring neighbours on a shelf together, so single ranks are near their share and no more.
    assert_near("the first", by_views[0] as f64 / all_views as f64, 1.0 / total, 0.05);
    let ten: f64 = (1..=10).map(|rank| f64::from(rank).powf(-exponent)).sum();
    assert_near("the first ten", by_views[..10].iter().sum::<u64>() as f64 / all_views as f64, ten / total, 0.06);

    assert_eq!(records.len(), products as usize, "every record comes in the end");
    assert_near("late", early_views.len() as f64, 20.0, 11.0);
    let moved = records.values().filter(|versions| versions.len() > 1).count();
    assert_near("moved", moved as f64, 40.0, 15.0);
    for versions in records.values() {
        assert!(versions.windows(2).all(|pair| pair[0]["category"] != pair[1]["category"]));
    }
}

#[test]
fn a_live_day_keeps_its_rate() {
    let options = Options { products: 100, ..Options::live(2.0, 1_000 * MICROS_PER_DAY, 3) };
    let start = options.start;
    let (lines, _) = generate(options);
    let noon = start + MICROS_PER_DAY / 2;
    let before_noon = lines.iter().filter(|line| !line.info.dimension && line.info.arrival < noon).count();
    assert_near("events until noon", before_noon as f64, 86_400.0, 6_000.0);
}
