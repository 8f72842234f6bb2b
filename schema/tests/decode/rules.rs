//! Every rule as a row: a kind's plain record, what is changed in it, and what must come of it.

use super::{outcome, verdict};
use millrace_schema::decode::DecodeSettings;
use millrace_schema::{Currency, Kind, OwnedRecord, Warning};

/// The keys and tokens of a valid record with the required fields only.
fn plain(kind: Kind) -> Vec<(String, String)> {
    let event = r#"event_id="e"; event_time="2020-01-02T03:04:05Z""#;
    let rest = match kind {
        Kind::PageView => r#"session_id="s"; page_type="home""#,
        Kind::AddToCart | Kind::RemoveFromCart => r#"session_id="s"; product_id="p"; quantity=1"#,
        Kind::CheckoutStarted => r#"session_id="s""#,
        Kind::Purchase => r#"session_id="s"; order_id="o"; product_id="p"; quantity=2; price_paid=10"#,
        Kind::Refund => r#"order_id="o"; amount=5"#,
        Kind::Product => r#"product_id="p"; updated_at="2020-01-02T03:04:05Z""#,
        Kind::User => r#"user_id="u"; updated_at="2020-01-02T03:04:05Z""#,
        Kind::Inventory => r#"product_id="p"; updated_at="2020-01-02T03:04:05Z"; on_hand=3"#,
    };
    let event = if kind.is_dimension() { "" } else { event };
    let mut fields = vec![("event_type".to_owned(), format!("{:?}", kind.as_str()))];
    fields.extend(pairs(event).chain(pairs(rest)));
    fields
}

fn pairs(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    let split = |pair: &str| pair.split_once('=').map(|(key, raw)| (key.to_owned(), raw.to_owned()));
    text.split("; ").filter(|pair| !pair.is_empty()).map(move |pair| split(pair).expect("key=token"))
}

/// `changes` are `key=token` apart by `; `; the token `-` takes a field out.
fn line(kind: Kind, changes: &str) -> String {
    let mut fields = plain(kind);
    for (key, raw) in pairs(changes) {
        fields.retain(|(known, _)| *known != key);
        if raw != "-" {
            fields.push((key, raw));
        }
    }
    let fields: Vec<String> = fields.into_iter().map(|(key, raw)| format!("\"{key}\":{raw}")).collect();
    format!("{{{}}}", fields.join(","))
}

macro_rules! shown {
    ($record:ident: $($field:ident)*) => { [$((stringify!($field), format!("{:?}", $record.$field)),)*] };
}

fn shown(record: &OwnedRecord) -> impl IntoIterator<Item = (&'static str, String)> {
    let warnings: Vec<&str> = record.warnings.iter().map(Warning::as_str).collect();
    let fields = shown!(record: event_id time received_at session_id user_id product_id order_id page referrer device
        quantity amount unit_price discount_code reason name category brand price cost country channel signup_time
        on_hand reserved lead_time_days deleted extra);
    let others = [("currency", record.currency.to_string()), ("warnings", warnings.join(","))];
    fields.into_iter().chain(others)
}

/// `expected` is `rule field` for a reject; else `field=value` of what differs from the plain record, apart by `; `.
#[track_caller]
fn check_at(kind: Kind, changes: &str, received_at: Option<i64>, settings: &DecodeSettings, expected: &str) {
    let plain = outcome(line(kind, "").as_bytes(), None, settings).expect("the plain record is valid");
    let line = line(kind, changes);
    let got = outcome(line.as_bytes(), received_at, settings);
    let got = match &got {
        Err(_) => verdict(&got),
        Ok(record) => {
            let pairs = shown(&plain).into_iter().zip(shown(record));
            let changed = pairs.filter(|(old, new)| old != new).map(|(_, (name, value))| format!("{name}={value}"));
            changed.collect::<Vec<_>>().join("; ")
        }
    };
    assert_eq!(got, expected, "{line}");
}

#[track_caller]
fn check(kind: Kind, changes: &str, expected: &str) {
    check_at(kind, changes, None, &DecodeSettings::default(), expected);
}

#[test]
fn required_fields() {
    for kind in Kind::ALL {
        for (field, _) in plain(kind).into_iter().skip(1) {
            let missing = format!("missing_field {field}");
            check(kind, &format!("{field}=-"), &missing);
            check(kind, &format!("{field}=null"), &missing);
            let empty = match field.as_str() {
                "event_time" | "updated_at" => format!("unparsable_time {field}"),
                "quantity" | "price_paid" | "amount" | "on_hand" => format!("wrong_type {field}"),
                _ => missing,
            };
            check(kind, &format!("{field}=\"\""), &empty);
        }
    }
}

#[test]
fn types() {
    for kind in Kind::ALL {
        for (field, _) in plain(kind) {
            for raw in ["true", "[1]", "{}", "1.5", "1e-1", "1e2"] {
                let number = matches!(field.as_str(), "price_paid" | "amount") && raw.starts_with('1');
                let whole =
                    raw == "1e2" && (field.ends_with("_id") || matches!(field.as_str(), "quantity" | "on_hand"));
                if !number && !whole {
                    check(kind, &format!("{field}={raw}"), &format!("wrong_type {field}"));
                }
            }
        }
    }
    for (kind, field, raw) in [
        (Kind::PageView, "user_id", "false"),
        (Kind::PageView, "product_id", "2.5"),
        (Kind::PageView, "product_id", "1e64"),
        (Kind::PageView, "referrer", "7"),
        (Kind::PageView, "device", "{}"),
        (Kind::AddToCart, "unit_price", "\"1\""),
        (Kind::AddToCart, "quantity", "\"1\""),
        (Kind::Purchase, "discount_code", "5"),
        (Kind::Purchase, "currency", "\"USX\""),
        (Kind::Purchase, "currency", "\"XAU\""),
        (Kind::Purchase, "currency", "\" USD\""),
        (Kind::Purchase, "currency", "\"EURO\""),
        (Kind::Purchase, "currency", "978"),
        (Kind::Refund, "reason", "[]"),
        (Kind::Product, "name", "1"),
        (Kind::Product, "category", "1"),
        (Kind::Product, "brand", "true"),
        (Kind::Product, "price", "\"1\""),
        (Kind::Product, "cost", "\"\""),
        (Kind::Product, "deleted", "\"true\""),
        (Kind::Product, "deleted", "1"),
        (Kind::User, "country", "1"),
        (Kind::User, "channel", "1"),
        (Kind::User, "signup_time", "1577934245"),
        (Kind::Inventory, "reserved", "1.01"),
        (Kind::Inventory, "lead_time_days", "\"3\""),
        (Kind::CheckoutStarted, "received_at", "1577934245"),
    ] {
        check(kind, &format!("{field}={raw}"), &format!("wrong_type {field}"));
    }
}

#[test]
fn optional_fields() {
    check(
        Kind::PageView,
        r#"user_id="u"; product_id="p"; referrer="r"; device="d""#,
        r#"user_id="u"; product_id="p"; referrer="r"; device="d""#,
    );
    check(Kind::Purchase, r#"user_id=null; discount_code=""; currency="""#, "");
    check(
        Kind::Purchase,
        r#"discount_code="SALE"; currency="EUR"; unit_price=6"#,
        r#"unit_price=Some(600); discount_code="SALE"; currency=EUR"#,
    );
    check(Kind::Purchase, r#"currency="eUr""#, "currency=EUR");
    check(
        Kind::Refund,
        r#"reason="broken"; product_id="p"; quantity=1"#,
        r#"product_id="p"; quantity=1; reason="broken""#,
    );
    check(
        Kind::Product,
        r#"name="n"; category="c"; brand="b"; price=1.5; cost=-1; deleted=true"#,
        r#"name="n"; category="c"; brand="b"; price=Some(150); cost=Some(-100); deleted=true"#,
    );
    check(
        Kind::User,
        r#"country="UK"; channel="ads"; signup_time="1970-01-01T00:00:01Z"; deleted=false"#,
        r#"country="UK"; channel="ads"; signup_time=Some(1000000)"#,
    );
    check(Kind::Inventory, "reserved=0; lead_time_days=-2", "reserved=Some(0); lead_time_days=Some(-2)");
}

#[test]
fn ids() {
    check(
        Kind::PageView,
        "event_id=17; session_id=-0; user_id=98765432109876543210",
        r#"event_id="17"; session_id="-0"; user_id="98765432109876543210""#,
    );
    check(
        Kind::PageView,
        "event_id=7.0; session_id=12e1; user_id=-0.5e1",
        r#"event_id="7"; session_id="120"; user_id="-5""#,
    );
    check(
        Kind::PageView,
        r#"event_id="\u00e9\n\"\ud83d\ude00"; session_id="é😀""#,
        r#"event_id="é\n\"😀"; session_id="é😀""#,
    );
}

#[test]
fn pages() {
    check(Kind::PageView, r#"page_type="product""#, "page=ProductDetail");
    check(Kind::PageView, r#"page_type="search""#, "page=Search");
    check(Kind::PageView, r#"page_type="other""#, "page=Other");
    check(Kind::PageView, r#"page_type="Home""#, "page=Other; warnings=unknown_page_type");
}

#[test]
fn event_types() {
    check(Kind::User, "event_type=-", "unknown_event_type event_type");
    check(Kind::User, "event_type=null", "unknown_event_type event_type");
    check(Kind::User, r#"event_type="""#, "unknown_event_type event_type");
    check(Kind::User, r#"event_type="User""#, "unknown_event_type event_type");
    check(Kind::User, r#"event_type="\u0075ser""#, "");
    let settings = DecodeSettings { default_kind: Some(Kind::User), ..Default::default() };
    check_at(Kind::User, "event_type=-", None, &settings, "");
    check_at(Kind::User, "event_type=null", None, &settings, "");
    check_at(Kind::User, r#"event_type="x""#, None, &settings, "unknown_event_type event_type");
}

#[test]
fn quantities() {
    check(Kind::RemoveFromCart, "quantity=2147483647", "quantity=2147483647");
    check(Kind::RemoveFromCart, "quantity=2147483648", "number_out_of_range quantity");
    check(Kind::Purchase, "quantity=-2147483648; price_paid=0", "quantity=-2147483648; amount=0");
    check(Kind::Refund, "quantity=99999999999999999999", "number_out_of_range quantity");
    for kind in [Kind::AddToCart, Kind::Purchase] {
        for zero in ["0", "-0", "0.0", "0e7"] {
            check(kind, &format!("quantity={zero}"), "quantity=0; warnings=quantity_zero");
        }
    }
    // Nothing is odd about a refund that does not speak of units.
    check(Kind::Refund, "quantity=null", "");
    check(Kind::Refund, "quantity=0", "warnings=quantity_zero");
    for (text, quantity) in [("1.0", 1), ("3e0", 3), ("10e-1", 1), ("0.3E+1", 3), ("-0.5e1", -5), ("1000.000", 1_000)] {
        check(Kind::Purchase, &format!("quantity={text}; price_paid=0"), &format!("quantity={quantity}; amount=0"));
    }
    check(Kind::Purchase, "quantity=0.5", "wrong_type quantity");
    check(Kind::Purchase, "quantity=1e10", "number_out_of_range quantity");
    check(Kind::Purchase, "quantity=1e999999999999", "number_out_of_range quantity");
    check(Kind::Inventory, "on_hand=7.0; reserved=1e2", "on_hand=7; reserved=Some(100)");
    check(Kind::Inventory, "on_hand=-10000000000000", "on_hand=-10000000000000");
    check(Kind::Inventory, "on_hand=10000000000001", "number_out_of_range on_hand");
    check(Kind::Inventory, "reserved=9223372036854775808", "number_out_of_range reserved");
}

#[test]
fn money() {
    check(Kind::Purchase, "price_paid=15.3000", "amount=1530");
    check(Kind::Purchase, "price_paid=1.005", "amount=100; warnings=amount_rounded");
    check(Kind::Purchase, "price_paid=1.015", "amount=102; warnings=amount_rounded");
    check(Kind::Purchase, "price_paid=1.0050000000000000000000000001", "amount=101; warnings=amount_rounded");
    check(Kind::Purchase, "price_paid=1.5E+1", "amount=1500");
    check(Kind::Purchase, "price_paid=0e999999999999999999999", "amount=0");
    check(Kind::Purchase, "price_paid=1e999999999999999999999", "number_out_of_range price_paid");
    check(Kind::Purchase, "price_paid=1e-999999999999999999999", "amount=0; warnings=amount_rounded");
    check(Kind::Purchase, "price_paid=100000000000", "amount=10000000000000");
    check(Kind::Purchase, "price_paid=100000000000.01", "number_out_of_range price_paid");
    check(Kind::Purchase, "price_paid=100000000000.005", "amount=10000000000000; warnings=amount_rounded");
    check(Kind::Refund, "amount=100000000000.01", "number_out_of_range amount");
    check(Kind::Product, "cost=-100000000000.01", "number_out_of_range cost");
    for (code, most) in [("JPY", "10000000000000"), ("KWD", "10000000000"), ("CLF", "1000000000")] {
        let line = |amount: &str| format!("price_paid={amount}; currency=\"{code}\"");
        check(Kind::Purchase, &line(most), &format!("amount=10000000000000; currency={code}"));
        check(Kind::Purchase, &line(&format!("{most}e0")), &format!("amount=10000000000000; currency={code}"));
        check(Kind::Purchase, &line(&format!("{}1", &most[..most.len() - 1])), "number_out_of_range price_paid");
    }
    check(Kind::Purchase, r#"price_paid=99999999999999; currency="CLF""#, "number_out_of_range price_paid");
    check(
        Kind::Purchase,
        r#"price_paid=2.00005; currency="CLF""#,
        "amount=20000; currency=CLF; warnings=amount_rounded",
    );
    check(Kind::Purchase, r#"price_paid=2.5; currency="JPY""#, "amount=2; currency=JPY; warnings=amount_rounded");
    check(Kind::Purchase, r#"price_paid=2.5; currency="KWD""#, "amount=2500; currency=KWD");
    let yen = DecodeSettings { default_currency: Currency::parse("JPY").unwrap(), ..Default::default() };
    check_at(Kind::Purchase, "price_paid=120", None, &yen, "amount=120");
    let most = "unit_price=100000000000; quantity=";
    check(Kind::Purchase, &format!("{most}1"), "quantity=1; unit_price=Some(10000000000000)");
    check(Kind::Purchase, &format!("{most}2"), "number_out_of_range unit_price");
    check(Kind::Purchase, &format!("{most}-2; price_paid=0"), "number_out_of_range unit_price");
    check(Kind::AddToCart, &format!("{most}2147483647"), "number_out_of_range unit_price");
    check(Kind::AddToCart, &format!("{most}0"), "quantity=0; unit_price=Some(10000000000000); warnings=quantity_zero");
    check(Kind::AddToCart, "unit_price=100000000000.01; quantity=0", "number_out_of_range unit_price");
}

#[test]
fn signs() {
    check(Kind::Purchase, "price_paid=-1", "negative_price price_paid");
    check(Kind::Purchase, "price_paid=-1; quantity=0", "negative_price price_paid");
    check(Kind::Purchase, "price_paid=-1; quantity=-1", "quantity=-1; amount=-100");
    check(Kind::Purchase, "price_paid=0; quantity=-1", "quantity=-1; amount=0");
    check(Kind::Purchase, "price_paid=1; quantity=-1", "wrong_sign price_paid");
    check(Kind::Purchase, "price_paid=-0.001", "amount=0; warnings=amount_rounded");
    check(Kind::Purchase, "price_paid=0.001; quantity=-1", "quantity=-1; amount=0; warnings=amount_rounded");
    check(Kind::Purchase, "unit_price=-1", "negative_price unit_price");
    check(Kind::Purchase, "unit_price=-1; quantity=0", "negative_price unit_price");
    for unit_price in ["1", "-1", "0"] {
        check(
            Kind::Purchase,
            &format!("unit_price={unit_price}; quantity=-1; price_paid=-1"),
            &format!("quantity=-1; amount=-100; unit_price=Some({unit_price}00)").replace("(000)", "(0)"),
        );
    }
    for kind in [Kind::AddToCart, Kind::RemoveFromCart] {
        check(kind, "unit_price=-0.01", "negative_price unit_price");
        check(kind, "quantity=-1", "wrong_sign quantity");
        check(kind, "quantity=-1.0", "wrong_sign quantity");
        check(kind, "quantity=-2147483649", "number_out_of_range quantity");
    }
    check(Kind::Refund, "amount=0", "amount=0");
    check(Kind::Refund, "amount=-5", "wrong_sign amount");
    check(Kind::Refund, "quantity=-1", "wrong_sign quantity");
    check(Kind::Refund, r#"quantity=-1; product_id="p""#, "wrong_sign quantity");
}

#[test]
fn refunds_of_a_whole_order() {
    check(Kind::Refund, "product_id=null", "");
    check(Kind::Refund, r#"product_id="""#, "");
    check(Kind::Refund, r#"product_id="p""#, r#"product_id="p""#);
    check(Kind::Refund, "product_id=[]", "wrong_type product_id");
}

#[test]
fn times() {
    const PLAIN: i64 = 1_577_934_245_000_000;
    for (text, micros) in [
        ("1970-01-01T00:00:00Z", Ok(0)),
        ("2020-01-02T03:04:05.1234567Z", Ok(PLAIN + 123_456)),
        ("2020-01-02t03:04:05.5z", Ok(PLAIN + 500_000)),
        ("2020-01-02 03:04:05-01:30", Ok(PLAIN + 5_400_000_000)),
        ("2020-01-02T03:04:60Z", Ok(PLAIN + 54_000_000)),
        ("1969-12-31T23:30:00-00:30", Ok(0)),
        ("2200-01-01T00:00:00+00:01", Ok(7_258_118_340_000_000)),
        ("2200-01-01T00:00:00Z", Err("time_out_of_range")),
        ("2199-12-31T23:59:00-00:01", Err("time_out_of_range")),
        ("1969-12-31T23:59:59.9999999Z", Err("time_out_of_range")),
        ("2020-01-02", Err("unparsable_time")),
        ("2020-01-02T03:04:05", Err("unparsable_time")),
        ("2020-01-02T03:04:05.Z", Err("unparsable_time")),
        ("2020-01-02T03:04:05,5Z", Err("unparsable_time")),
        ("2020-01-02T03:04:05+0100", Err("unparsable_time")),
        ("2020-01-02T03:04:05+24:00", Err("unparsable_time")),
        ("2020-01-02T24:00:00Z", Err("unparsable_time")),
        ("2019-02-29T00:00:00Z", Err("unparsable_time")),
        ("2020-1-02T03:04:05Z", Err("unparsable_time")),
        (" 2020-01-02T03:04:05Z", Err("unparsable_time")),
        ("2020-01-02T03:04:05Z ", Err("unparsable_time")),
        ("2020-01-02T03:04:05Z[UTC]", Err("unparsable_time")),
        ("yesterday", Err("unparsable_time")),
    ] {
        for (kind, field) in [(Kind::PageView, "event_time"), (Kind::Product, "updated_at")] {
            let expected = match micros {
                Ok(micros) => format!("time={micros}"),
                Err(rule) => format!("{rule} {field}"),
            };
            check(kind, &format!("{field}={text:?}"), &expected);
        }
    }
    let late = r#"received_at="2020-01-02T02:59:04.999999Z""#;
    check(Kind::PageView, late, "future_time event_time");
    check(Kind::Product, late, "received_at=Some(1577933944999999)");
    check(Kind::PageView, r#"received_at="2020-01-02T02:59:05Z""#, "received_at=Some(1577933945000000)");
    check(Kind::PageView, r#"received_at="soon""#, "unparsable_time received_at");
    let settings = DecodeSettings::default();
    check_at(Kind::PageView, late, Some(PLAIN), &settings, "received_at=Some(1577934245000000)");
    check_at(Kind::PageView, "received_at=[]", Some(PLAIN), &settings, "received_at=Some(1577934245000000)");
    check_at(Kind::PageView, "", Some(i64::MAX), &settings, "received_at=Some(9223372036854775807)");
    check_at(Kind::PageView, "", Some(PLAIN - 300_000_001), &settings, "future_time event_time");
}

#[test]
fn leftovers() {
    check(Kind::User, r#"z=[1, 2]; a="x"; nothing=null"#, r#"extra="{\"a\":\"x\",\"z\":[1, 2]}""#);
    check(Kind::User, r#"session_id={}; b=1e0"#, r#"extra="{\"b\":1e0,\"session_id\":{}}""#);
    check(Kind::User, "session_id=null", "");
    check(Kind::Inventory, "deleted=true", r#"extra="{\"deleted\":true}""#);
    check(Kind::User, r#"\u00e9\u0022\n="\u0041""#, r#"extra="{\"é\\\"\\n\":\"\\u0041\"}""#);
    check(Kind::Refund, r#"session_id="\u0041""#, r#"extra="{\"session_id\":\"\\u0041\"}""#);
}
