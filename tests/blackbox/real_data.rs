//! Real data, with answers that another engine computed. See `shared/data/README.md`; `MILLTEST_DATA` may name the folder.
//!
//! What takes long in a debug build (the larger set's shuffles and copies) is left to release builds.

use super::support::{Answer, Place, manifest_dir, skip};
use flate2::read::MultiGzDecoder;
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

pub const SALES: [&str; 6] = ["day", "month", "day,category", "month,category", "day,product_id", "month,product_id"];

pub fn data(set: &str) -> Option<PathBuf> {
    let named = std::env::var_os("MILLTEST_DATA").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| manifest_dir().join("../shared/data")).join(set);
    if folder.join("events.jsonl.gz").is_file() {
        return Some(folder);
    }
    skip(&format!("the real data {set}: {} has no events.jsonl.gz; set MILLTEST_DATA", folder.display()));
    None
}

fn unpacked(path: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    MultiGzDecoder::new(std::fs::File::open(path).expect("it is there")).read_to_end(&mut text).expect("gzip");
    text
}

fn reference(folder: &Path, name: &str) -> Answer {
    let plain = folder.join("reference").join(format!("{name}.csv"));
    let text = std::fs::read(&plain).unwrap_or_else(|_| unpacked(&plain.with_extension("csv.gz")));
    Answer::of_csv(std::str::from_utf8(&text).expect("text"))
}

fn equal(column: &str, expected: &str, found: &str) -> bool {
    if expected == found {
        return true;
    }
    // Ids are text: 007 is not 7. Elsewhere 5.0 is 5.00.
    let number = |text: &str| text.parse::<f64>().ok().filter(|_| column != "related_id");
    let tolerance = if column == "cosine" { 1e-12 } else { 1e-15 };
    number(expected).zip(number(found)).is_some_and(|(a, b)| (a - b).abs() <= tolerance * a.abs())
}

/// Every row and column of the reference is in the answer, which has no other rows (of those that are `listed`).
fn compare(label: &str, expected: &Answer, keys: &[&str], found: &Answer, listed: impl Fn(usize) -> bool) {
    let key = |answer: &Answer| {
        let columns: Vec<Vec<String>> =
            keys.iter().map(|key| answer.column(key).into_iter().map(str::to_owned).collect()).collect();
        move |row: usize| columns.iter().map(|column| column[row].clone()).collect::<Vec<String>>()
    };
    let (key_of_expected, key_of_found) = (key(expected), key(found));
    let rows = (0..found.rows.len()).filter(|&row| listed(row));
    let mut places: HashMap<Vec<String>, usize> = HashMap::new();
    for row in rows {
        assert!(places.insert(key_of_found(row), row).is_none(), "{label}: {:?} comes twice", key_of_found(row));
    }
    let columns: Vec<(&String, Vec<&str>)> = expected.columns.iter().map(|name| (name, found.column(name))).collect();
    for (number, row) in expected.rows.iter().enumerate() {
        let key = key_of_expected(number);
        let place = places.remove(&key).unwrap_or_else(|| panic!("{label}: {key:?} is missing"));
        for ((name, cells), expected) in columns.iter().zip(row) {
            let cell = cells[place];
            assert!(equal(name, expected, cell), "{label}: {key:?} {name}: expected {expected}, is {cell}");
        }
    }
    assert!(places.is_empty(), "{label}: {} rows too many, such as {:?}", places.len(), places.keys().next());
    assert!(!expected.rows.is_empty());
}

/// The lines of a packed file.
pub fn lines_of(path: &Path) -> Vec<Vec<u8>> {
    unpacked(path).split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// Sales, by these groups, of whoever answers questions as csv.
pub fn check_sales(label: &str, folder: &Path, sales: &[&str], ask: impl Fn(&str) -> String) {
    for by in sales {
        let keys: Vec<&str> = by.split(',').collect();
        let found = Answer::of_csv(&ask(&format!("sales --group-by {by}")));
        compare(
            &format!("{label}: sales by {by}"),
            &reference(folder, &format!("sales_{}", by.replace(',', "_"))),
            &keys,
            &found,
            |_| true,
        );
    }
}

fn check_answers(label: &str, folder: &Path, place: &Place, sales: &[&str]) {
    check_sales(label, folder, sales, |question| place.csv("data", question));
    let found = place.table("data", "funnel --group-by day");
    compare(&format!("{label}: funnel"), &reference(folder, "funnel_day"), &["day"], &found, |_| true);
    let together = reference(folder, "viewed_together_top200_by_count");
    let products: std::collections::HashSet<&str> = together.column("product_id").into_iter().collect();
    let found = place.table("data", "related_products --rank-by n_ab --where kind=viewed_together");
    let ids = found.column("product_id");
    compare(&format!("{label}: viewed together"), &together, &["product_id", "rank"], &found, |row| {
        products.contains(ids[row])
    });
}

/// A negative price on a sold line: the only fault that these data have.
fn is_bad(line: &[u8]) -> bool {
    let text = std::str::from_utf8(line).expect("text");
    text.contains("\"price_paid\":-") && {
        let record: serde_json::Value = serde_json::from_str(text).expect("JSON");
        record["quantity"].as_i64() >= Some(0) && record["price_paid"].as_f64() < Some(0.0)
    }
}

/// Replays the set in one way, and compares all answers.
fn check(label: &str, folder: &Path, place: &Place, events: &Path, workers: usize, copies: &[&[u8]]) {
    check_some(label, folder, place, events, workers, copies, &SALES);
}

fn check_some(
    label: &str,
    folder: &Path,
    place: &Place,
    events: &Path,
    workers: usize,
    copies: &[&[u8]],
    sales: &[&str],
) {
    let products = folder.join("products.jsonl.gz");
    let line = format!(
        "replay {} {} --data-dir data --format json --quiet --workers {workers} --set views.funnel.window=unlimited",
        products.display(),
        events.display()
    );
    let found = super::support::accounting(&place.ok(&line));
    let counts = reference(folder, "accounting").pick("records accepted quarantined");
    let counts: Vec<u64> = counts[0].split(' ').map(|count| count.parse().expect("a number")).collect();
    let products = unpacked(&products).iter().filter(|&&byte| byte == b'\n').count() as u64;
    let (again, bad) = (copies.len() as u64, copies.iter().filter(|line| is_bad(line)).count() as u64);
    let expected = [counts[0] + products + again, counts[1] + products, again - bad, counts[2] + bad, 0];
    assert_eq!(found, expected, "{label}");
    check_answers(label, folder, place, sales);
}

#[test]
fn rees46_in_every_way() {
    let Some(folder) = data("rees46_sample") else { return };
    let packed = folder.join("events.jsonl.gz");
    let text = unpacked(&packed);
    let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
    let place = Place::new();
    for workers in 1..=3 {
        check(&format!("rees46, {workers} workers"), &folder, &place, &packed, workers, &[]);
    }
    // A stride that is prime to their number visits every line once, far from its neighbours.
    let stride = (lines.len() / 3..).find(|stride| gcd(*stride, lines.len()) == 1).expect("a prime will come");
    let shuffled: Vec<&[u8]> = (0..lines.len()).map(|place| lines[place * stride % lines.len()]).collect();
    let path = place.write("shuffled.jsonl", shuffled.concat());
    check("rees46, shuffled", &folder, &place, &path, 2, &[]);
    let copies: Vec<&[u8]> = lines.iter().skip(3).step_by(10).copied().collect();
    let path = place.write("twice.jsonl", [&lines[..], &copies].concat().concat());
    check("rees46, a tenth sent twice", &folder, &place, &path, 2, &copies);
}

#[test]
fn uci_as_it_is() {
    let Some(folder) = data("uci_online_retail") else { return };
    let place = Place::new();
    let packed = folder.join("events.jsonl.gz");
    if cfg!(debug_assertions) {
        return check_some("UCI", &folder, &place, &packed, 2, &[], &["day", "month,category", "month,product_id"]);
    }
    check("UCI", &folder, &place, &packed, 2, &[]);
    let text = unpacked(&packed);
    let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
    let stride = (lines.len() / 3..).find(|stride| gcd(*stride, lines.len()) == 1).expect("a prime will come");
    let shuffled: Vec<&[u8]> = (0..lines.len()).map(|place| lines[place * stride % lines.len()]).collect();
    let path = place.write("shuffled.jsonl", shuffled.concat());
    check("UCI, shuffled", &folder, &place, &path, 3, &[]);
    let copies: Vec<&[u8]> = lines.iter().skip(3).step_by(10).copied().collect();
    let path = place.write("twice.jsonl", [&lines[..], &copies].concat().concat());
    check("UCI, a tenth sent twice", &folder, &place, &path, 1, &copies);
}

pub fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
