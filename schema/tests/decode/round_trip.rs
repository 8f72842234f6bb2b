//! A valid record written as JSON and decoded is the same record.

use super::{outcome, property};
use millrace_schema::decode::DecodeSettings;
use millrace_schema::{Currency, Kind, OwnedRecord, Page, Warning};
use proptest::prelude::*;
use proptest::sample::select;

const MONEY: i64 = 10_000_000_000_000;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z0-9-]{1,36}", any::<String>()]
}

fn id() -> impl Strategy<Value = String> {
    text().prop_map(|id| if id.is_empty() { "1".to_owned() } else { id })
}

fn time() -> impl Strategy<Value = i64> {
    0..7_258_118_400_000_000_i64
}

/// Only the fields that the kind has.
fn record() -> impl Strategy<Value = OwnedRecord> {
    let texts = (text(), text(), text(), text(), text());
    let money = prop::option::of(-MONEY..=MONEY);
    let places = (id(), id(), id(), id());
    let numbers = (any::<i32>(), 0..=MONEY, prop::option::of(0..=4_656_i64), money.clone(), money);
    let currency = select(vec!["USD", "JPY", "KWD", "EUR", "CLF"]);
    let rest = (select(&Page::ALL[..]), currency, any::<bool>(), prop::option::of(time()));
    (select(&Kind::ALL[..]), time(), places, texts, numbers, rest).prop_map(
        |(
            kind,
            time,
            (a, b, c, d),
            (t, u, v, w, x),
            (quantity, amount, unit, price, cost),
            (page, code, deleted, at),
        )| {
            let mut record = OwnedRecord::empty(kind);
            record.time = time;
            if !kind.is_dimension() {
                (record.event_id, record.user_id) = (a, t.clone());
                record.received_at = at.map(|at| at.max(time));
                if kind != Kind::Refund {
                    record.session_id = b.clone();
                }
            }
            match kind {
                Kind::PageView => {
                    (record.page, record.product_id, record.referrer, record.device) = (page, u, v, w);
                }
                Kind::AddToCart | Kind::RemoveFromCart => {
                    (record.product_id, record.quantity, record.unit_price) = (c, quantity.max(0), unit);
                }
                Kind::CheckoutStarted => {}
                Kind::Purchase | Kind::Refund => {
                    (record.product_id, record.order_id, record.quantity) = (c, d, quantity);
                    record.currency = Currency::parse(code).expect("three capitals");
                    record.amount = amount;
                    if kind == Kind::Refund {
                        (record.reason, record.quantity) = (v, quantity.max(0));
                        if deleted {
                            record.product_id = u;
                        }
                    } else {
                        (record.discount_code, record.unit_price) = (v, unit);
                        record.amount *= if quantity < 0 { -1 } else { 1 };
                    }
                }
                Kind::Product => {
                    (record.product_id, record.name, record.category, record.brand) = (c, t, u, v);
                    (record.price, record.cost, record.deleted) = (price, cost, deleted);
                }
                Kind::User => {
                    (record.user_id, record.country, record.channel) = (b, w, x);
                    (record.signup_time, record.deleted) = (at, deleted);
                }
                Kind::Inventory => {
                    (record.product_id, record.on_hand) = (c, amount);
                    (record.reserved, record.lead_time_days) = (price, cost);
                }
            }
            let counted = matches!(kind, Kind::AddToCart | Kind::RemoveFromCart | Kind::Purchase | Kind::Refund);
            if counted && record.quantity == 0 {
                record.warnings.add(Warning::QuantityZero);
            }
            record
        },
    )
}

proptest! {
    #![proptest_config(property())]

    #[test]
    fn json_and_back(record in record()) {
        let json = record.to_json();
        prop_assert_eq!(outcome(json.as_bytes(), None, &DecodeSettings::default()), Ok(record), "{}", json);
    }
}
