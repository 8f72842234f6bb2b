//! Lines to decode: well-formed records of every kind, and those with accidents.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const KINDS: [&str; 10] = [
    "page_view",
    "add_to_cart",
    "remove_from_cart",
    "checkout_started",
    "purchase",
    "refund",
    "product",
    "user",
    "inventory",
    "nonsense",
];

/// Every known key with tokens that mostly fit it.
const FIELDS: [(&str, &[&str]); 31] = [
    ("event_id", &["\"e1\"", "17", "\"é\"", "\"\"", "1.5"]),
    (
        "event_time",
        &["\"2020-01-02T03:04:05Z\"", "\"2020-01-02T03:04:05.123456Z\"", "\"2020-13-02T03:04:05Z\"", "null"],
    ),
    ("session_id", &["\"s1\"", "-3", "\"\\u0073\"", "\"ffffffff-ffff-ffff-ffff-ffffffffffff\""]),
    ("product_id", &["\"p1\"", "44600062", "\"85123A\""]),
    ("order_id", &["\"o1\"", "536365"]),
    ("user_id", &["\"u1\"", "null", "541312140"]),
    ("page_type", &["\"home\"", "\"product\"", "\"blog\""]),
    ("quantity", &["1", "0", "-2", "2147483648", "1.0", "1.5", "10e-1"]),
    ("price_paid", &["15.30", "0", "-4.5", "1.005", "1e3", "1e99", "123456789012345678"]),
    ("amount", &["15.30", "0.00", "-4.5", "2.675"]),
    ("updated_at", &["\"2020-01-02T03:04:05+02:00\"", "\"2020-01-02 03:04:05.5z\"", "\"x\""]),
    ("on_hand", &["5", "-1", "1e2", "1000000000000001"]),
    ("received_at", &["\"2020-01-02T03:04:06Z\"", "\"2020-01-01T03:04:06Z\"", "7", "null"]),
    ("referrer", &["\"google\"", "\"a\\\"b\"", "1"]),
    ("device", &["\"mobile\"", "\"\"", "true"]),
    ("unit_price", &["7.65", "0.001", "-1", "10000000000000"]),
    ("currency", &["\"EUR\"", "\"JPY\"", "\"KWD\"", "\"CLF\"", "\"eur\"", "\"EUX\"", "\"\"", "null"]),
    ("discount_code", &["\"SALE\"", "\"\\ud83d\\ude00\"", "{}"]),
    ("reason", &["\"broken\"", "\"\\n\"", "[1, {\"a\": \"]\"}]"]),
    ("name", &["\"Mug\"", "\"Täße 😀\""]),
    ("category", &["\"kitchen.mugs\"", "\"\""]),
    ("brand", &["\"b\"", "false"]),
    ("price", &["9.99", "\"9.99\""]),
    ("cost", &["-0.5", "0.12345678901234567890"]),
    ("country", &["\"UK\"", "\"\\u00e9\""]),
    ("channel", &["\"ads\"", "null"]),
    ("signup_time", &["\"1970-01-01T00:00:00Z\"", "\"1969-12-31T23:59:59Z\"", "0"]),
    ("reserved", &["1", "-0"]),
    ("lead_time_days", &["14", "99999999999999999999"]),
    ("deleted", &["true", "false", "\"true\""]),
    ("event_type", &["\"purchase\"", "\"page_view\"", "null", "5", "\"\\u0075ser\""]),
];

/// How many of `FIELDS` are likely in a record, being required somewhere.
const REQUIRED: usize = 12;

fn token() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        any::<String>().prop_map(|text| serde_json::to_string(&text).expect("a text is a JSON string")),
        "\"[a-zé\\\\ud8c0/nb\"]{0,12}\"",
        select(vec![
            "true",
            "false",
            "null",
            "[]",
            "{}",
            "[1,[2,{\"k\":null}]]",
            "{\"k\" : \"\\\\\"}",
            "nul",
            "-",
            "01"
        ])
        .prop_map(str::to_owned),
    ]
}

fn known() -> impl Strategy<Value = (String, String)> {
    let index = prop_oneof![4 => 0..REQUIRED, 1 => 0..FIELDS.len()];
    (index, any::<prop::sample::Index>(), prop::option::weighted(0.03, token())).prop_map(|(field, which, odd)| {
        let (key, tokens) = FIELDS[field];
        // The first token fits; the others come up less often.
        let which = which.index(tokens.len() * 4);
        (key.to_owned(), odd.unwrap_or_else(|| tokens.get(which).unwrap_or(&tokens[0]).to_string()))
    })
}

fn unknown() -> impl Strategy<Value = (String, String)> {
    (prop_oneof!["[a-e]{0,2}", "event_[a-z]{2,4}", "[a-z_]{4,16}", any::<String>()], token())
}

fn required(kind: &str) -> Vec<(String, String)> {
    let names: &[&str] = match kind {
        "page_view" => &["event_id", "event_time", "session_id", "page_type"],
        "add_to_cart" | "remove_from_cart" => &["event_id", "event_time", "session_id", "product_id", "quantity"],
        "checkout_started" => &["event_id", "event_time", "session_id"],
        "purchase" => &["event_id", "event_time", "session_id", "order_id", "product_id", "quantity", "price_paid"],
        "refund" => &["event_id", "event_time", "order_id", "amount"],
        "product" => &["product_id", "updated_at"],
        "user" => &["user_id", "updated_at"],
        "inventory" => &["product_id", "updated_at", "on_hand"],
        _ => &[],
    };
    let fields = FIELDS.iter().filter(|(name, _)| names.contains(name));
    fields.map(|(name, tokens)| (name.to_string(), tokens[0].to_owned())).collect()
}

/// One JSON object of fields in any order, mostly a valid record.
pub fn record() -> impl Strategy<Value = Vec<u8>> {
    let spaces = prop_oneof![6 => Just(""), 2 => Just(" "), 1 => Just("  "), 1 => Just("\t"), 1 => Just("\n")];
    let fields = (select(&KINDS[..]), vec(known(), 0..5), vec(unknown(), 0..3), 0..20_u8).prop_map(
        |(kind, known, unknown, whole)| {
            let mut fields = vec![("event_type".to_owned(), format!("{kind:?}"))];
            fields.extend(required(kind));
            for (key, raw) in known.into_iter().chain(unknown) {
                // A repetition mostly replaces.
                if whole > 0 {
                    fields.retain(|(known, _)| *known != key);
                }
                fields.push((key, raw));
            }
            fields
        },
    );
    let key = |key: &str, escape: bool| match key.chars().next() {
        Some(first) if escape && (first as u32) < 0x1_0000 => {
            let rest = serde_json::to_string(&key[first.len_utf8()..]).expect("a text is a JSON string");
            format!("\"\\u{:04x}{}", first as u32, &rest[1..])
        }
        _ => serde_json::to_string(key).expect("a text is a JSON string"),
    };
    (fields.prop_shuffle(), [spaces.clone(), spaces.clone(), spaces.clone(), spaces], 0..30_usize).prop_map(
        move |(fields, [a, b, c, d], escaped)| {
            let fields = fields.iter().enumerate();
            let fields: Vec<String> =
                fields.map(|(at, (name, raw))| format!("{}{a}:{b}{raw}", key(name, at == escaped))).collect();
            format!("{{{c}{}{c}}}{d}", fields.join(&format!(",{d}"))).into_bytes()
        },
    )
}

/// A small accident of a line.
#[derive(Clone, Debug)]
enum Accident {
    Flip(u8),
    Set(u8),
    Remove(usize),
    Insert(Vec<u8>),
    Repeat(usize),
    Cut,
}

fn accident() -> impl Strategy<Value = Accident> {
    let piece = select(vec![
        &b"\""[..],
        b"\\",
        b",",
        b":",
        b"{",
        b"}",
        b"[",
        b"]",
        b"\0",
        b"\n",
        b" ",
        b"\xff",
        b"\xc3",
        b"\xc3\xa9",
        b"\\u0041",
        b"\\ud800",
        b"\xef\xbb\xbf",
        b"0",
        b"-",
        b".",
        b"e9",
        b"null",
        b"\x0c",
        b"\x7f",
        b",\"a\":1",
        b"\"\"",
    ]);
    prop_oneof![
        (0..8_u8).prop_map(Accident::Flip),
        any::<u8>().prop_map(Accident::Set),
        (1..20_usize).prop_map(Accident::Remove),
        piece.prop_map(|piece| Accident::Insert(piece.to_vec())),
        (1..60_usize).prop_map(Accident::Repeat),
        Just(Accident::Cut),
    ]
}

fn happen(line: &mut Vec<u8>, at: usize, accident: Accident) {
    let end = |length: usize| (at + length).min(line.len());
    match accident {
        _ if line.is_empty() => {}
        Accident::Flip(bit) => line[at] ^= 1 << bit,
        Accident::Set(byte) => line[at] = byte,
        Accident::Remove(length) => drop(line.drain(at..end(length))),
        Accident::Insert(piece) => drop(line.splice(at..at, piece)),
        Accident::Repeat(length) => {
            let piece = line[at..end(length)].to_vec();
            line.splice(at..at, piece);
        }
        Accident::Cut => line.truncate(at),
    }
}

/// A record after one to three accidents.
pub fn broken() -> impl Strategy<Value = Vec<u8>> {
    (record(), vec((any::<prop::sample::Index>(), accident()), 1..4)).prop_map(|(mut line, accidents)| {
        for (at, accident) in accidents {
            let at = at.index(line.len().max(1));
            happen(&mut line, at, accident);
        }
        line
    })
}

/// Bytes of which many mean something to JSON.
pub fn soup() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => select(b"{}[]\",:\\ 0123456789.-+eEtrufalsn\n".to_vec()), 1 => any::<u8>()];
    (any::<bool>(), vec(byte, 0..200)).prop_map(|(open, mut bytes)| {
        if open {
            bytes.splice(0..0, *b"{\"");
            bytes.push(b'}');
        }
        bytes
    })
}
