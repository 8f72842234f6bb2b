//! What happened in a minute, an hour, a day, and by how many?
//!
//! Choices: with several currencies a bucket has its `(none)` row only where it holds an event with a session (refunds
//! have none), and the counters of the currencies' rows are 0. So it is with one currency where `currency` is asked for
//! or filtered by. Over a range of days only what names minutes, hours or days is answered. A range is filled in for
//! `(none)`, too.

use super::{
    Asked, NONE, Observed, currencies, currency_of_nothing, events, has_several_currencies, is_sold_line, money,
    returned, row, too_large,
};
use crate::query::{Query, QueryError};
use crate::settings::ViewContext;
use crate::table::{Table, Value};
use millrace_schema::{Currency, Kind, OwnedRecord};
use std::collections::{BTreeMap, BTreeSet};

const GROUPS: [&str; 4] = ["minute", "hour", "day", "currency"];
const VALUES: [&str; 6] = ["page_views", "cart_additions", "purchases", "active_sessions", "active_users", "net_sales"];

/// The events of one row, added up.
#[derive(Default)]
struct Sums<'a> {
    page_views: i64,
    cart_additions: i64,
    purchases: i64,
    sessions: BTreeSet<&'a str>,
    users: BTreeSet<&'a str>,
    net_sales: i128,
    currency: Option<Currency>,
}

/// # Errors
/// [`QueryError`] where the question names what the view does not have.
pub fn answer(context: &ViewContext, observed: &[Observed], query: &Query) -> Result<Table, QueryError> {
    let mut asked = Asked::check("traffic", &GROUPS, &GROUPS, Some("minute, hour and day"), context, query)?;
    let named = |time: &&str| {
        let filters = query.filters.iter().map(|(column, _)| column);
        query.group_by.iter().chain(filters).any(|column| column == time)
    };
    if query.days.is_some() && !["minute", "hour", "day"].iter().any(named) {
        return Err(QueryError::RangeNeedsDays);
    }
    if has_several_currencies(observed) {
        asked.force_currency();
    }
    let key = |record: &OwnedRecord, currency: &str| {
        let label = |column: &str| match column {
            "currency" => currency.to_owned(),
            _ => asked.time_label(column, record.time),
        };
        asked.key(|column| Some(label(column))).filter(|_| asked.in_days(Some(record.time)))
    };

    let mut groups: BTreeMap<_, Sums> = BTreeMap::new();
    for record in events(observed) {
        let in_session = record.kind != Kind::Refund;
        if let Some(key) = key(record, NONE).filter(|_| in_session) {
            let sums = groups.entry(key).or_default();
            sums.page_views += i64::from(record.kind == Kind::PageView);
            sums.cart_additions += i64::from(record.kind == Kind::AddToCart);
            sums.sessions.insert(&record.session_id);
            sums.users.insert(&record.user_id);
        }
        let is_sale = matches!(record.kind, Kind::Purchase | Kind::Refund);
        if let Some(key) = key(record, &record.currency.to_string()).filter(|_| is_sale) {
            let sums = groups.entry(key).or_default();
            sums.currency = Some(record.currency);
            match returned(record) {
                Some((_, amount)) => sums.net_sales -= i128::from(amount),
                None => sums.net_sales += i128::from(record.amount),
            }
            sums.purchases += i64::from(is_sold_line(record));
        }
    }
    let mut filled = currencies(context, observed);
    if events(observed).all(|record| !matches!(record.kind, Kind::Purchase | Kind::Refund)) {
        filled.clear();
    }
    filled.insert(NONE.to_owned());
    for key in asked.zero_filled(&filled) {
        groups.entry(key).or_default();
    }

    let nothing = currency_of_nothing(context, observed, &asked);
    let too_large = too_large(observed, |record| record.amount.unsigned_abs().into());
    let currency_at = asked.columns.iter().position(|column| column == "currency");
    let mut table = asked.table(VALUES);
    for (key, sums) in &groups {
        let shown = currency_at.and_then(|at| key[at].as_deref());
        let currency = shown.and_then(Currency::parse).or(sums.currency).unwrap_or(nothing);
        if shown != Some(NONE) && too_large.contains(&currency) {
            return Err(QueryError::SumsTooLarge { currency: currency.to_string() });
        }
        table.rows.push(row(key, values(sums, currency)));
    }
    query.arrange(table)
}

fn values(sums: &Sums, currency: Currency) -> [Value; 6] {
    let count = |ids: &BTreeSet<&str>| Value::Int(ids.iter().filter(|id| !id.is_empty()).count() as i64);
    [
        Value::Int(sums.page_views),
        Value::Int(sums.cart_additions),
        Value::Int(sums.purchases),
        count(&sums.sessions),
        count(&sums.users),
        money(sums.net_sales, currency),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::example::{accepted, check, event, purchase, refund, view};

    #[test]
    fn an_hour_counts_its_events_sessions_and_users() {
        let user = |record| OwnedRecord { user_id: "u".to_owned(), ..record };
        let other = |record| OwnedRecord { session_id: "t".to_owned(), ..record };
        let records = [
            view("1T07:10", "tea"),
            user(view("1T07:20", "tea")),
            other(user(event(Kind::AddToCart, "1T07:59", "tea"))),
            other(purchase("1T08:00", "o1", "tea", 2, 500)),
            other(purchase("1T08:30", "o1", "tea", -1, -250)),
            user(refund("1T09:00", "o1", "tea", 1, 50)),
        ];
        let expected = [
            "2019-10-01T07:00:00+00:00 2 1 0 2 1 0.00",
            "2019-10-01T08:00:00+00:00 0 0 1 1 0 2.50",
            "2019-10-01T09:00:00+00:00 0 0 0 0 0 -0.50",
        ];
        check(answer, &accepted(records.clone()), &Query::group_by(["hour"]), &expected);
        check(answer, &accepted(records), &Query::default(), &["2 1 1 2 1 2.00"]);
    }

    #[test]
    fn counters_without_a_currency_stand_apart() {
        let euro = Currency::parse("EUR").expect("a currency");
        let records = [
            view("1T07:10", "tea"),
            purchase("1T08:00", "o1", "tea", 2, 500),
            OwnedRecord { currency: euro, ..refund("2T09:00", "o1", "tea", 1, 50) },
        ];
        let expected =
            ["(none) 2019-10-01 1 0 0 1 0 0.00", "EUR 2019-10-02 0 0 0 0 0 -0.50", "USD 2019-10-01 0 0 1 0 0 5.00"];
        check(answer, &accepted(records), &Query::group_by(["day"]), &expected);
    }
}
