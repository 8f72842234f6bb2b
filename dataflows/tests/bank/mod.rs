//! The consistency test of streaming systems: money moves between ten accounts, and there is never more or less of it.
//!
//! A transfer of x from one account to another is an order: x paid for a product named as the one, x refunded for a
//! product named as the other. The net sales of a product are its balance; those of the shop are 0 at every epoch that
//! can be read, whatever order the records arrive in.

use crate::support::compare::{check, check_answer, nets, observed, states};
use crate::support::run::{How, run};
use crate::support::{Line, compare, context, time};
use millrace_dataflows::query::Query;
use millrace_dataflows::table::Value;
use millrace_dataflows::views::view;
use millrace_schema::{Currency, Kind, OwnedRecord, Place};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::sync::Arc;

const EPOCHS: u64 = 12;
const TRANSFERS_AN_EPOCH: usize = 25;

/// Both sides of every transfer in one epoch, on any partitions, in any order, a fifth of them twice or late again.
fn transfers(seed: u64) -> Vec<Line> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut sides: Vec<(u64, u16, String)> = Vec::new();
    for epoch in 0..EPOCHS {
        for number in 0..TRANSFERS_AN_EPOCH {
            let order_id = format!("transfer-{epoch}-{number}");
            let (from, to) = (random.random_range(0..10), random.random_range(0..10));
            let side = |kind, account: usize, at, quantity, amount| OwnedRecord {
                event_id: format!("{order_id}-{}", Kind::as_str(kind)),
                order_id: order_id.clone(),
                product_id: format!("account {account}"),
                session_id: if kind == Kind::Purchase { order_id.clone() } else { String::new() },
                time: at,
                quantity,
                amount,
                ..OwnedRecord::empty(kind)
            };
            let amount = random.random_range(0..5_000);
            let mut at = || time("2019-10-01T00:00:00Z") + random.random_range(0..10 * 86_400) * 1_000_000;
            let records = [side(Kind::Purchase, from, at(), 1, amount), side(Kind::Refund, to, at(), 1, amount)];
            for record in records {
                sides.push((epoch, random.random_range(0..3), record.to_json()));
                while random.random_bool(0.2) {
                    let again = random.random_range(epoch..EPOCHS);
                    sides.push((again, random.random_range(0..3), record.to_json()));
                }
            }
        }
    }
    sides.shuffle(&mut random);
    (0..)
        .zip(sides)
        .map(|(offset, (epoch, partition, text))| Line {
            text,
            place: Place::new(partition, offset),
            epoch,
            received_at: None,
            pending: false,
            was_pending: false,
        })
        .collect()
}

#[test]
fn the_total_is_zero_at_every_epoch() {
    let context = Arc::new(context());
    for (seed, workers, in_flight) in [(1, 1, 1), (2, 2, 3), (3, 4, 2), (4, 3, 4)] {
        let lines = transfers(seed);
        let ran = run(
            &context,
            &lines,
            How { workers, in_flight, burst: 7, spread: seed, serialised: seed % 2 == 1, schedule: None, only: None },
        );
        check(&ran, &lines, 0, 0);
        let (nets, sales) = (nets(&ran), view("sales", &context).expect("a view"));
        for epoch in 0..EPOCHS {
            let (observed, state) = (observed(&lines, epoch), &states(&nets, epoch)[0]);
            let answers = compare::answer_context(&ran, &observed);
            let balances = Query::group_by(["product_id"]);
            check_answer(&*sales, state, &answers, &observed, &balances, epoch);

            let table = sales.answer(state, &answers, &Query::default()).expect("an answer");
            let total = &table.rows[0][table.column("net_sales").expect("a column")];
            assert_eq!(*total, Value::Money(0, Currency::USD), "epoch {epoch}, {workers} workers");
            let accounts = sales.answer(state, &answers, &balances).expect("an answer");
            assert_eq!(accounts.rows.len(), 10, "every account has moved money by epoch {epoch}");
        }
    }
}
