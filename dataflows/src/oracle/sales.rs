//! What was sold, when, of which product and category?
//!
//! Choices: `average_order_value` is a float in the currency's major unit (`order_revenue` in minor units divided once,
//! by orders × 10^digits). Over a range of days only hours and days are answered: orders of several days are not kept apart otherwise. A return's `returns_as_sold` falls in the range and under the filters of the sale's time.

use super::{
    Asked, NONE, Observed, Products, currencies, currency_of_nothing, has_several_currencies, is_sold_line, money,
    returned, row, sales_facts, text_or_none, too_large,
};
use crate::query::{Query, QueryError};
use crate::settings::ViewContext;
use crate::table::{Table, Value};
use millrace_schema::{Currency, OwnedRecord};
use std::collections::{BTreeMap, BTreeSet};

const GROUPS: [&str; 7] = ["hour", "day", "month", "product_id", "category", "category_as_was", "currency"];
const VALUES: [&str; 12] = [
    "lines",
    "orders",
    "units",
    "units_returned",
    "net_units",
    "gross_sales",
    "discounts",
    "order_revenue",
    "returns",
    "returns_as_sold",
    "net_sales",
    "average_order_value",
];

/// The facts of one row, added up.
#[derive(Default)]
struct Sums<'a> {
    currency: Option<Currency>,
    orders: BTreeSet<&'a str>,
    lines: i64,
    units: i64,
    units_returned: i64,
    gross_sales: i128,
    order_revenue: i128,
    returns: i128,
    returns_as_sold: i128,
}

/// # Errors
/// [`QueryError`] where the question names what the view does not have.
pub fn answer(context: &ViewContext, observed: &[Observed], query: &Query) -> Result<Table, QueryError> {
    let mut asked = Asked::check("sales", &GROUPS, &GROUPS, Some("hour, day and month"), context, query)?;
    if query.days.is_some() && !["hour", "day"].iter().any(|time| query.group_by.iter().any(|name| name == time)) {
        return Err(QueryError::RangeNeedsDays);
    }
    if has_several_currencies(observed) {
        asked.force_currency();
    }
    let products = Products::of(observed);
    let key = |record: &OwnedRecord, time: i64| {
        let label = |column: &str| match column {
            "product_id" => text_or_none(&record.product_id),
            "category" => products.category_now(&record.product_id),
            "category_as_was" => products.category_at(&record.product_id, time),
            "currency" => record.currency.to_string(),
            _ => asked.time_label(column, time),
        };
        asked.key(|column| Some(label(column))).filter(|_| asked.in_days(Some(time)))
    };

    let sold_lines = sold_lines_by_order(observed);
    let mut groups: BTreeMap<_, Sums> = BTreeMap::new();
    for record in sales_facts(observed) {
        if let Some(key) = key(record, record.time) {
            let sums = groups.entry(key).or_default();
            sums.currency = Some(record.currency);
            if is_sold_line(record) {
                sums.orders.insert(&record.order_id);
                sums.lines += 1;
                sums.units += i64::from(record.quantity);
                sums.gross_sales += i128::from(record.list_price());
                sums.order_revenue += i128::from(record.amount);
            }
            if let Some((units, amount)) = returned(record) {
                sums.units_returned += units;
                sums.returns += i128::from(amount);
            }
        }
        if let Some((_, amount)) = returned(record)
            && let Some(key) = key(record, sale_time(record, &sold_lines))
        {
            let sums = groups.entry(key).or_default();
            sums.currency = Some(record.currency);
            sums.returns_as_sold += i128::from(amount);
        }
    }
    for key in asked.zero_filled(&currencies(context, observed)) {
        if key.iter().any(|text| text.as_deref() == Some(NONE)) {
            continue;
        }
        groups.entry(key).or_default();
    }

    let nothing = currency_of_nothing(context, observed, &asked);
    let list_price = |record: &OwnedRecord| if is_sold_line(record) { record.list_price() } else { 0 };
    let too_large =
        too_large(observed, |one| u128::from(one.amount.unsigned_abs()) + u128::from(list_price(one).unsigned_abs()));
    let currency_at = asked.columns.iter().position(|column| column == "currency");
    let mut table = asked.table(VALUES);
    for (key, sums) in &groups {
        let shown = currency_at.and_then(|at| Currency::parse(key[at].as_deref()?));
        let currency = shown.or(sums.currency).unwrap_or(nothing);
        if too_large.contains(&currency) {
            return Err(QueryError::SumsTooLarge { currency: currency.to_string() });
        }
        table.rows.push(row(key, values(sums, currency)));
    }
    query.arrange(table)
}

fn sold_lines_by_order(observed: &[Observed]) -> BTreeMap<&str, Vec<&OwnedRecord>> {
    let mut orders: BTreeMap<&str, Vec<&OwnedRecord>> = BTreeMap::new();
    for record in sales_facts(observed).filter(|record| is_sold_line(record)) {
        orders.entry(&record.order_id).or_default().push(record);
    }
    orders
}

/// When what a return brings back was sold: with the order's line of that product, else (as a refund of the whole order, too) with
/// its first line, else (the order is unknown) at the time of the return.
fn sale_time(record: &OwnedRecord, sold_lines: &BTreeMap<&str, Vec<&OwnedRecord>>) -> i64 {
    let order = sold_lines.get(record.order_id.as_str()).map_or(&[][..], Vec::as_slice);
    let of_product = order.iter().filter(|line| line.product_id == record.product_id);
    let of_product = of_product.map(|line| line.time).min();
    of_product.or(order.iter().map(|line| line.time).min()).unwrap_or(record.time)
}

fn values(sums: &Sums, currency: Currency) -> [Value; 12] {
    let money = |sum| money(sum, currency);
    let orders = sums.orders.len() as i64;
    [
        Value::Int(sums.lines),
        Value::Int(orders),
        Value::Int(sums.units),
        Value::Int(sums.units_returned),
        Value::Int(sums.units - sums.units_returned),
        money(sums.gross_sales),
        money(sums.gross_sales - sums.order_revenue),
        money(sums.order_revenue),
        money(sums.returns),
        money(sums.returns_as_sold),
        money(sums.order_revenue - sums.returns),
        Value::ratio(sums.order_revenue as i64, orders * 10_i64.pow(currency.digits())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::example::{accepted, at, check, context, event, product, purchase, refund};
    use millrace_schema::Kind;

    fn shop() -> Vec<OwnedRecord> {
        vec![
            product("1T00:00", "tea", "Drinks"),
            product("2T00:00", "tea", "Food"),
            OwnedRecord { unit_price: Some(300), ..purchase("1T09:00", "o1", "tea", 2, 500) },
            purchase("1T09:00", "o1", "mug", 1, 800),
            purchase("2T10:00", "o2", "tea", 1, 250),
            purchase("3T11:00", "o1", "tea", -1, -250),
            refund("3T12:00", "o9", "mug", 1, 100),
        ]
    }

    #[test]
    fn an_order_counts_once_a_day_and_a_return_on_two_days() {
        let october = |day: &str| millrace_schema::calendar::parse_day(&format!("2019-10-{day}")).expect("a day");
        let days = Some((october("01"), october("04")));
        let query = Query { days, ..Query::group_by(["day"]) };
        let expected = [
            "2019-10-01 2 1 3 0 3 14.00 1.00 13.00 0.00 2.50 13.00 13.0000",
            "2019-10-02 1 1 1 0 1 2.50 0.00 2.50 0.00 0.00 2.50 2.5000",
            "2019-10-03 0 0 0 2 -2 0.00 0.00 0.00 3.50 1.00 -3.50 -",
            "2019-10-04 0 0 0 0 0 0.00 0.00 0.00 0.00 0.00 0.00 -",
        ];
        check(answer, &accepted(shop()), &query, &expected);
    }

    #[test]
    fn a_category_is_that_of_now_and_that_of_then() {
        let expected = [
            "(unknown) (unknown) 1 1 1 1 0 8.00 0.00 8.00 1.00 1.00 7.00 8.0000",
            "Food Drinks 1 1 2 0 2 6.00 1.00 5.00 0.00 2.50 5.00 5.0000",
            "Food Food 1 1 1 1 0 2.50 0.00 2.50 2.50 0.00 0.00 2.5000",
        ];
        check(answer, &accepted(shop()), &Query::group_by(["category", "category_as_was"]), &expected);
    }

    #[test]
    fn a_refund_of_the_whole_order_is_of_no_product() {
        let records = [
            product("1T00:00", "tea", "Drinks"),
            purchase("2T09:00", "o1", "tea", 1, 250),
            purchase("1T09:00", "o1", "tea", 2, 500),
            refund("4T12:00", "o1", "", 3, 490),
            refund("5T12:00", "unknown", "", 0, 10),
        ];
        let expected = [
            "(none) (none) (none) 2019-10-01 0 0 0 0 0 0.00 0.00 0.00 0.00 4.90 0.00 -",
            "(none) (none) (none) 2019-10-04 0 0 0 0 0 0.00 0.00 0.00 4.90 0.00 -4.90 -",
            "(none) (none) (none) 2019-10-05 0 0 0 0 0 0.00 0.00 0.00 0.10 0.10 -0.10 -",
            "tea Drinks Drinks 2019-10-01 1 1 2 0 2 5.00 0.00 5.00 0.00 0.00 5.00 5.0000",
            "tea Drinks Drinks 2019-10-02 1 1 1 0 1 2.50 0.00 2.50 0.00 0.00 2.50 2.5000",
        ];
        let query = Query::group_by(["product_id", "category", "category_as_was", "day"]);
        check(answer, &accepted(records), &query, &expected);
    }

    #[test]
    fn several_currencies_are_never_added_up() {
        let yen = Currency::parse("JPY").expect("a currency");
        let records = [
            purchase("1T09:00", "o1", "tea", 1, 500),
            OwnedRecord { currency: yen, ..purchase("1T09:30", "o1", "mug", 2, 900) },
        ];
        let expected =
            ["JPY 1 1 2 0 2 900 0 900 0 0 900 900.0000", "USD 1 1 1 0 1 5.00 0.00 5.00 0.00 0.00 5.00 5.0000"];
        check(answer, &accepted(records.clone()), &Query::default(), &expected);
        let filters = vec![("currency".to_owned(), "USD".to_owned())];
        let hourly = Query { filters, ..Query::group_by(["hour"]) };
        let expected = ["USD 2019-10-01T09:00:00+00:00 1 1 1 0 1 5.00 0.00 5.00 0.00 0.00 5.00 5.0000"];
        check(answer, &accepted(records), &hourly, &expected);
    }

    #[test]
    fn a_product_carries_its_category_through_its_deletion() {
        let gone = OwnedRecord { deleted: true, ..product("2T00:00", "tea", "") };
        let products = Products::of(&accepted([product("1T00:00", "tea", "Drinks"), gone.clone()]));
        assert_eq!(products.category_now("tea"), "Drinks");
        let products =
            Products::of(&accepted([gone, product("2T00:00", "tea", "Food"), product("3T00:00", "tea", "")]));
        assert_eq!(products.category_at("tea", at("1T00:00")), "Food");
        assert_eq!(products.category_now("tea"), "(none)");
    }

    #[test]
    fn what_cannot_be_answered_is_an_error() {
        let filter = |column: &str, text: &str| Query {
            filters: vec![(column.to_owned(), text.to_owned())],
            ..Query::default()
        };
        let ask = |query: Query| answer(&context(), &accepted([event(Kind::AddToCart, "1T00:00", "tea")]), &query);
        assert_eq!(ask(Query::default()).map(|table| table.rows.len()), Ok(0));
        assert!(matches!(ask(Query::group_by(["week"])), Err(QueryError::UnknownGroup { .. })));
        assert!(matches!(ask(Query::group_by(["day", "hour"])), Err(QueryError::SeveralTimes("hour, day and month"))));
        assert!(matches!(ask(filter("day", "yesterday")), Err(QueryError::BadFilter { .. })));
    }
}
