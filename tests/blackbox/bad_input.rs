//! What is wrong with the input never stops a replay and never gets lost: a record becomes one row of the quarantine,
//! a file that cannot be read to its end is named, and everything else is in the answers.

use super::support::{Place, accounting};
use std::io::{Read, Write};

/// A line, and the rule that it breaks; none where it is sound.
type Line = (Vec<u8>, Option<&'static str>);

fn bad(rule: &'static str, line: impl Into<Vec<u8>>) -> Line {
    (line.into(), Some(rule))
}

fn good(line: impl Into<Vec<u8>>) -> Line {
    (line.into(), None)
}

const EVENTS: [&str; 9] = [
    r#"{"event_type":"page_view","event_id":"ID","event_time":"2024-05-01T10:00:00Z","session_id":"s","page_type":"home"}"#,
    r#"{"event_type":"add_to_cart","event_id":"ID","event_time":"2024-05-01T10:01:00Z","session_id":"s","product_id":"p","quantity":1}"#,
    r#"{"event_type":"remove_from_cart","event_id":"ID","event_time":"2024-05-01T10:02:00Z","session_id":"s","product_id":"p","quantity":1}"#,
    r#"{"event_type":"checkout_started","event_id":"ID","event_time":"2024-05-01T10:03:00Z","session_id":"s"}"#,
    r#"{"event_type":"purchase","event_id":"ID","event_time":"2024-05-01T10:04:00Z","session_id":"s","order_id":"o","product_id":"p","quantity":1,"price_paid":10.00}"#,
    r#"{"event_type":"refund","event_id":"ID","event_time":"2024-05-01T10:05:00Z","order_id":"o","product_id":"p","quantity":1,"amount":2.50}"#,
    r#"{"event_type":"product","product_id":"p","updated_at":"2024-05-01T00:00:00Z","category":"ID"}"#,
    r#"{"event_type":"user","user_id":"u","updated_at":"2024-05-01T00:00:00Z","country":"ID"}"#,
    r#"{"event_type":"inventory","product_id":"p","updated_at":"2024-05-01T00:00:00Z","on_hand":5,"note":"ID"}"#,
];

const PURCHASE: &str = EVENTS[4];

/// A purchase of an id of its own with one part replaced.
fn purchase(id: &str, part: &str, by: &str) -> Vec<u8> {
    let line = PURCHASE.replace("\"ID\"", &format!("\"{id}\""));
    assert!(line.contains(part), "{part} is not in {line}");
    line.replacen(part, by, 1).into_bytes()
}

/// Replays the lines and checks that the quarantine is exactly the bad ones, and that the good ones are counted.
fn check(lines: &[Line], accepted: u64, duplicates: u64) -> Place {
    check_ended(lines, accepted, duplicates, b"\n", b"")
}

fn check_ended(lines: &[Line], accepted: u64, duplicates: u64, end: &[u8], start: &[u8]) -> Place {
    let place = Place::new();
    let mut text = start.to_vec();
    let mut expected = Vec::new();
    for (line, rule) in lines {
        if let Some(rule) = rule {
            let kept = String::from_utf8_lossy(&line[..line.len().min(4_096)]);
            let (offset, total) = (text.len().to_string(), line.len().to_string());
            let row = ["bad.jsonl", "0", &offset, rule, &kept, &total].map(str::to_owned);
            expected.push(row.to_vec());
        }
        text.extend_from_slice(line);
        text.extend_from_slice(end);
    }
    place.write("bad.jsonl", text);
    let quarantined = expected.len() as u64;
    let [read, rest @ ..] = place.replay("bad.jsonl", "data", "--workers 2 --set replay.epoch_records=5");
    let rows = place.table("data", "quarantine");
    let names = ["source", "partition", "offset", "rule", "bytes", "bytes_total"];
    let columns = names.map(|name| rows.column(name));
    let mut found: Vec<Vec<String>> =
        (0..rows.rows.len()).map(|row| columns.iter().map(|column| column[row].to_owned()).collect()).collect();
    found.sort_by_key(|row| row[2].parse::<u64>().expect("an offset"));
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(expected, found);
    }
    assert_eq!(found.len(), expected.len());
    assert!(rows.column("message").iter().all(|message| !message.is_empty() && message.len() < 300));
    assert_eq!((read, rest), (lines.len() as u64, [accepted, duplicates, quarantined, 0]));
    place
}

#[test]
fn each_bad_record_is_one_row() {
    let mut lines = Vec::new();
    for text in
        ["{", "[]", "42", "null", "not json", "\"text\"", "{\"event_id\":}", "{}{}", "{},", "\u{feff}{}", "{'a':1}"]
    {
        lines.push(bad("malformed_json", text));
    }
    lines.push(bad("malformed_json", [&b"{\"event_type\":\"purchase\0\"}"[..]].concat()));
    lines.push(bad("malformed_json", b"\0".to_vec()));
    lines.push(bad("malformed_json", &PURCHASE.as_bytes()[..60]));
    lines.push(bad("malformed_json", format!("{{\"x\":{}1{}}}", "[".repeat(200), "]".repeat(200))));
    lines.push(bad("malformed_json", purchase("b1", ":10.00", ":010.00")));
    lines.push(bad("malformed_json", purchase("b2", ":10.00", ":NaN")));
    lines.push(bad("malformed_json", purchase("b3", "\"s\"", "\"\\ud800\"")));
    lines.push(bad(
        "invalid_utf8",
        purchase("b4", "\"s\"", "\"S\"").iter().map(|&b| if b == b'S' { 0xFF } else { b }).collect::<Vec<u8>>(),
    ));
    lines.push(bad("invalid_utf8", vec![0xC3, 0x28]));
    lines.push(bad("duplicate_key", purchase("b5", "{", "{\"quantity\":1,")));
    lines.push(bad("duplicate_key", purchase("b6", "{", "{\"x\":1,\"x\":1,")));
    lines.push(bad("unknown_event_type", "{}"));
    lines.push(bad("unknown_event_type", purchase("b7", "\"purchase\"", "\"Purchase\"")));
    lines.push(bad("unknown_event_type", purchase("b8", "\"purchase\"", "null")));
    lines.push(bad("wrong_type", purchase("b9", "\"purchase\"", "7")));
    for time in [
        "yesterday",
        "",
        "2024-05-01",
        "2024-05-01T10:00:00",
        "2024-02-30T10:00:00Z",
        "2024-05-01T24:00:00Z",
        "0000-00-00T00:00:00Z",
        "12024-05-01T10:00:00Z",
        "2024-05-01T10:00:00+2:00",
    ] {
        lines.push(bad("unparsable_time", purchase("t1", "2024-05-01T10:04:00Z", time)));
    }
    for time in [
        "1969-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
        "2200-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "1970-01-01T00:30:00+01:00",
    ] {
        lines.push(bad("time_out_of_range", purchase("t2", "2024-05-01T10:04:00Z", time)));
    }
    for time in ["1714557840", "true", "{}"] {
        lines.push(bad("wrong_type", purchase("t3", "\"2024-05-01T10:04:00Z\"", time)));
    }
    lines.push(bad("future_time", purchase("t4", "{", "{\"received_at\":\"2024-05-01T09:58:59Z\",")));
    for (part, by) in [
        (":10.00", ":\"10.00\""),
        (":10.00", ":true"),
        (":10.00", ":[]"),
        (":1,", ":1.5,"),
        (":1,", ":\"1\","),
        (":1,", ":15e-1,"),
        ("\"o\"", "{}"),
        ("\"o\"", "1.5"),
        ("\"p\"", "[1]"),
        ("\"s\"", "false"),
        ("{", "{\"currency\":\"dollars\","),
        ("{", "{\"currency\":\"XAU\","),
        ("{", "{\"currency\":5,"),
        ("{", "{\"discount_code\":5,"),
        ("{", "{\"unit_price\":\"x\","),
    ] {
        lines.push(bad("wrong_type", purchase("w", part, by)));
    }
    for (part, by) in [
        (":1,", ":3000000000,"),
        (":1,", ":99999999999999999999,"),
        (":10.00", ":1e300"),
        (":10.00", ":100000000000.01"),
    ] {
        lines.push(bad("number_out_of_range", purchase("n", part, by)));
    }
    for (part, by) in [(":10.00", ":-0.01"), (":10.00", ":-1e1"), ("{", "{\"unit_price\":-1,")] {
        lines.push(bad("negative_price", purchase("m", part, by)));
    }
    lines.push(bad("wrong_sign", EVENTS[5].replace("2.50", "-2.50")));
    lines.push(bad("wrong_sign", EVENTS[5].replace("\"quantity\":1", "\"quantity\":-1")));
    lines.push(bad("wrong_sign", EVENTS[1].replace("\"quantity\":1", "\"quantity\":-1")));
    lines.push(bad("wrong_sign", purchase("plus", ":1,", ":-1,")));
    lines.push(bad("negative_price", EVENTS[1].replace('{', "{\"unit_price\":-0.5,")));
    // Of a return line the price is below 0, and 0 is a price.
    lines.push(good(purchase("return", ":1,\"price_paid\":10.00", ":-1,\"price_paid\":-10.00")));
    lines.push(good(purchase("gift", ":10.00", ":0")));
    lines.push(good(purchase("sale", "{", "{")));
    let place = check(&lines, 3, 0);
    let sales = place.table("data", "sales");
    assert_eq!(sales.pick("lines orders units units_returned order_revenue returns"), ["2 1 2 1 10.00 10.00"]);
}

/// Every required field, absent, null and (for an id) empty.
#[test]
fn each_required_field_is_required() {
    let required = [
        "event_id event_time session_id page_type",
        "event_id event_time session_id product_id quantity",
        "event_id event_time session_id product_id quantity",
        "event_id event_time session_id",
        "event_id event_time session_id order_id product_id quantity price_paid",
        "event_id event_time order_id amount",
        "product_id updated_at",
        "user_id updated_at",
        "product_id updated_at on_hand",
    ];
    let mut lines: Vec<Line> = Vec::new();
    for (number, (event, names)) in EVENTS.iter().zip(required).enumerate() {
        let whole: serde_json::Map<String, serde_json::Value> = serde_json::from_str(event).expect("JSON");
        for (at, name) in names.split(' ').enumerate() {
            let line = |value: Option<&str>| {
                let mut record = whole.clone();
                let own_id = format!("{number}-{at}-{value:?}");
                record.entry("event_id").and_modify(|id| *id = own_id.clone().into());
                match value {
                    Some(value) => record.insert(name.to_owned(), serde_json::from_str(value).expect("JSON")),
                    None => record.remove(name),
                };
                serde_json::to_string(&record).expect("JSON")
            };
            lines.push(bad("missing_field", line(None)));
            lines.push(bad("missing_field", line(Some("null"))));
            if name.ends_with("_id") {
                lines.push(bad("missing_field", line(Some("\"\""))));
            }
        }
        lines.push(good(event.replace("ID", &format!("g{number}"))));
    }
    check(&lines, 9, 0);
}

#[test]
fn one_id_with_two_contents() {
    let line = |price: &str| purchase("x", ":10.00", price);
    let lines = [
        bad("negative_price", line(":-1")), // names the id and does not claim it
        good(line(":10.00")),
        bad("id_conflict", line(":11.00")),
        good(line(":10.0")), // equal by value: a copy
        bad("id_conflict", line(":11.00")),
        bad("id_conflict", EVENTS[0].replace("ID", "x")),
        good(purchase("x", "{", "{ \"note\" : null , ")),
        bad("id_conflict", purchase("x", "{", "{\"note\":1,")),
        good(purchase("x", "{", "{\"received_at\":\"2024-05-01T11:00:00Z\",")),
    ];
    let place = check(&lines, 1, 3);
    assert_eq!(place.table("data", "sales").pick("lines order_revenue"), ["1 10.00"]);
}

/// A field without a meaning counts by its value, however it is spelled.
#[test]
fn spelling_makes_no_conflict() {
    let line = |extra: &str| purchase("x", "{", &format!("{{\"test\":{extra},"));
    let lines = [
        good(line(r#"{"arm":"Bé","cell":[1,2]}"#)),
        good(line(r#"{"arm": "B\u00e9", "cell": [1, 2]}"#)),
        good(line(r#"{"cell":[1.0,20e-1],"arm":"Bé","note":null,"more":""}"#)),
        bad("id_conflict", line(r#"{"arm":"Bé","cell":[12]}"#)),
        bad("id_conflict", line(r#"{"arm":"Bé","cell":[2,1]}"#)),
    ];
    check(&lines, 1, 2);
}

#[test]
fn line_ends_blank_lines_and_marks() {
    let place = Place::new();
    let (a, b) = (purchase("a", "{", "{"), purchase("b", "{", "{"));
    let text = [b"\xEF\xBB\xBF\r\n\n  \t\n", &a[..], b"\r\n\r\n", &b, b"\r\n\n \n", b"{broken\r\n", &a].concat();
    place.write("a.jsonl", &text);
    assert_eq!(place.replay("a.jsonl", "data", ""), [4, 2, 1, 1, 0]);
    let rows = place.table("data", "quarantine");
    let offset = text.windows(7).position(|window| window == b"{broken").expect("it is there");
    assert_eq!(rows.pick("offset bytes bytes_total"), [format!("{offset} {{broken 7")]);

    check_ended(
        &[bad("malformed_json", "oops"), good(a), bad("malformed_json", "{")],
        1,
        0,
        b"\r\n\r\n",
        b"\xEF\xBB\xBF",
    );
    for (name, text) in [("empty.jsonl", ""), ("blank.jsonl", "\n\n  \n"), ("mark.jsonl", "\u{feff}")] {
        place.write(name, text);
        assert_eq!(place.replay(name, "none", ""), [0; 5], "{name}");
        assert_eq!(place.table("none", "sales").rows.len(), 0);
    }
}

#[test]
fn records_too_large_are_cut_and_counted() {
    let long = |bytes: usize| {
        let head = r#"{"event_type":"page_view","event_id":"long","x":""#;
        format!("{head}{}\"}}", "x".repeat(bytes - head.len() - 2))
    };
    let lines = [
        good(purchase("a", "{", "{")),
        bad("too_large", long(10 << 20)),
        good(purchase("b", "{", "{")),
        // Longer than what a reader keeps of a line.
        bad("too_large", long(18 << 20)),
        bad("missing_field", long(1 << 20)),
        bad("too_large", long((1 << 20) + 1)),
        good(purchase("c", "{", "{")),
    ];
    let place = check(&lines, 3, 0);
    let settings = "--set decode.max_record_bytes=100 --set lake.quarantine_bytes_max=5";
    assert_eq!(place.replay("bad.jsonl", "data", settings), [7, 0, 0, 7, 0]);
    let rows = place.table("data", "quarantine --where rule=too_large");
    assert!(rows.rows.len() == 7 && rows.column("bytes").iter().all(|bytes| bytes.len() == 5));
}

#[test]
fn what_cannot_be_opened_is_named() {
    let place = Place::new();
    place.write("good.jsonl", purchase("a", "{", "{"));
    place.write("folder/notes.txt", "no events");
    place.fails("replay good.jsonl nowhere.jsonl --data-dir data --quiet", 1, &["nowhere.jsonl"]);
    assert!(!place.path("data/views").exists(), "nothing was read");
    place.fails("replay folder --data-dir data --quiet", 1, &["folder", ".jsonl"]);
    place.fails("query sales --data-dir data", 1, &["data", "replay"]);
    place.fails("query sales --data-dir nowhere", 1, &["nowhere", "replay"]);
    place.write("log/log.json", r#"{"format":"another","version":9,"partitions":1}"#);
    place.fails("replay log --data-dir data --quiet", 1, &["log", "another"]);
    place.write("fake.parquet", "PAR1 and nothing more");
    place.fails("replay fake.parquet --data-dir data --quiet", 1, &["fake.parquet"]);

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let locked = |name: &str, mode: u32| {
            let path = place.path(name);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
        };
        place.write("closed/a.jsonl", purchase("a", "{", "{"));
        locked("closed", 0o000);
        // For root nothing is closed.
        if std::fs::read_dir(place.path("closed")).is_err() {
            place.fails("replay closed --data-dir data --quiet", 1, &["closed"]);
        }
        locked("closed", 0o755);
        std::os::unix::fs::symlink(place.path("closed"), place.path("closed/loop")).expect("a link");
        place.fails("replay closed --data-dir data --quiet", 1, &["loop", "links"]);
        std::os::unix::fs::symlink(place.path("gone"), place.path("folder/dangling.jsonl")).expect("a link");
        place.fails("replay folder --data-dir data --quiet", 1, &["dangling.jsonl"]);
    }
}

/// Some thousand purchases of one unit each.
fn purchases(count: usize) -> Vec<u8> {
    let line = |number: usize| purchase(&format!("{number}-{}", number * 2_654_435_761 % 1_000_003), "{", "{");
    (0..count).flat_map(|number| [line(number), b"\n".to_vec()].concat()).collect()
}

/// The whole lines that a stream yields before it fails.
fn whole_lines(mut stream: impl Read) -> usize {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 8_192];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => panic!("the file is not damaged"),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(_) => return bytes.iter().filter(|&&byte| byte == b'\n').count(),
        }
    }
}

/// Replays a damaged file before a good one: the message names it, and what came before the damage is counted.
fn check_damaged(name: &str, bytes: &[u8], lines: Option<usize>) {
    let place = Place::new();
    place.write(name, bytes);
    place.write("good.jsonl", purchase("good", "{", "{"));
    let line = format!("replay {name} good.jsonl --data-dir data --quiet --format json --set replay.epoch_records=100");
    let done = place.fails(&line, 1, &[name]);
    let [read, accepted, ..] = accounting(&done.out);
    assert_eq!(read, accepted);
    if let Some(lines) = lines {
        assert_eq!(read, lines as u64 + 1, "{name}");
    }
    let sales = place.table("data", "sales");
    assert_eq!(sales.pick("lines units order_revenue"), [format!("{read} {read} {}.00", read * 10)]);
}

#[test]
fn damaged_files_are_named_and_read_up_to_the_damage() {
    let text = purchases(4_000);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&text).expect("memory takes all");
    let gzip = encoder.finish().expect("memory takes all");
    let cut = &gzip[..gzip.len() * 6 / 10];
    let lines = whole_lines(flate2::read::MultiGzDecoder::new(cut));
    assert!((1_000..3_900).contains(&lines), "{lines}");
    check_damaged("cut.jsonl.gz", cut, Some(lines));
    let mut flipped = gzip.clone();
    flipped[gzip.len() - 6] ^= 1; // of the checksum: every line came before
    check_damaged("checksum.gz", &flipped, Some(4_000));

    let zstd = zstd::encode_all(&text[..], 1).expect("memory takes all");
    let mut torn = zstd.clone();
    torn[zstd.len() / 2..][..64].fill(0xFF);
    check_damaged("torn.zst", &torn, None);
    check_damaged("cut.zst", &zstd[..zstd.len() * 9 / 10], None);
}
