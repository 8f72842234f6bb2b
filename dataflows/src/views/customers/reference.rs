//! The naive answer: from all records, customer by customer.

use super::answer::{GROUPS, SEGMENTS, VALUES, segment};
use crate::oracle::asked::{Asked, row};
use crate::oracle::{Observed, is_sold_line, money, returned, sales_facts, too_large_among};
use crate::query::{Query, QueryError};
use crate::settings::ViewContext;
use crate::table::{Table, Value};
use jiff::civil::Date;
use millrace_schema::{Currency, OwnedRecord};
use std::collections::{BTreeMap, BTreeSet};

/// Who a line of an order is of, where it is somebody's.
fn owner<'a>(record: &'a OwnedRecord, of_order: &[&'a OwnedRecord]) -> Option<&'a str> {
    if !record.user_id.is_empty() {
        return Some(&record.user_id);
    }
    let sold_to = of_order.iter().filter(|line| is_sold_line(line) && !line.user_id.is_empty());
    let sold_to: BTreeSet<&str> = sold_to.map(|line| &*line.user_id).collect();
    sold_to.first().copied().filter(|_| sold_to.len() == 1)
}

/// What a customer has in all orders.
#[derive(Default)]
struct Customer {
    /// The day of each order with a sold line.
    ordered_on: Vec<String>,
    sums: BTreeMap<Currency, Sums>,
}

#[derive(Default)]
struct Sums {
    units: i64,
    spend: i128,
    units_returned: i64,
    returns: i128,
}

/// A customer in one currency, and the three scores where there was an order.
type Member<'a> = (&'a str, Currency, Option<[i64; 3]>);

/// All customers by user.
type Customers<'a> = BTreeMap<&'a str, Customer>;

/// All customers, and the lines that are theirs.
fn customers<'a>(asked: &Asked, observed: &'a [Observed]) -> (Customers<'a>, Vec<&'a OwnedRecord>) {
    let mut orders: BTreeMap<&str, Vec<&OwnedRecord>> = BTreeMap::new();
    sales_facts(observed).for_each(|record| orders.entry(&record.order_id).or_default().push(record));
    let (mut customers, mut all_owned) = (Customers::new(), Vec::new());
    for lines in orders.values() {
        let owned = lines.iter().filter_map(|record| Some((owner(record, lines)?, *record)));
        let mut first_sold: BTreeMap<&str, i64> = BTreeMap::new();
        for (user, record) in owned {
            all_owned.push(record);
            let customer = customers.entry(user).or_default();
            let sums = customer.sums.entry(record.currency).or_default();
            match returned(record) {
                Some((units, amount)) => {
                    sums.units_returned += units;
                    sums.returns += i128::from(amount);
                }
                None => {
                    sums.units += i64::from(record.quantity);
                    sums.spend += i128::from(record.amount);
                    let first = first_sold.entry(user).or_insert(record.time);
                    *first = record.time.min(*first);
                }
            }
        }
        for (user, time) in first_sold {
            customers.entry(user).or_default().ordered_on.push(asked.time_label("day", time));
        }
    }
    (customers, all_owned)
}

/// `1 + ⌊5 × (rank − 1) / n⌋`, by counting who has less among all, in order.
fn score<T: Ord>(value: &T, all: &[T]) -> i64 {
    let less = all.partition_point(|other| other < value);
    1 + (5 * less / all.len()) as i64
}

/// What those who order in one currency come to, each list in order.
struct Rivals {
    last: Vec<String>,
    orders: Vec<usize>,
    spend: Vec<i128>,
}

impl Rivals {
    fn of(customers: &BTreeMap<&str, Customer>, currency: Currency) -> Rivals {
        let mut rivals = Rivals { last: Vec::new(), orders: Vec::new(), spend: Vec::new() };
        for one in customers.values() {
            if let (Some(last), Some(sums)) = (one.ordered_on.iter().max(), one.sums.get(&currency)) {
                rivals.last.push(last.clone());
                rivals.orders.push(one.ordered_on.len());
                rivals.spend.push(sums.spend);
            }
        }
        rivals.last.sort();
        rivals.orders.sort_unstable();
        rivals.spend.sort_unstable();
        rivals
    }
}

/// # Errors
/// [`QueryError`] where the question names what the view does not have.
pub fn answer(context: &ViewContext, observed: &[Observed], query: &Query) -> Result<Table, QueryError> {
    let mut asked = Asked::check("customers", &GROUPS, &GROUPS, None, context, query)?;
    if let Some((column, text)) = query
        .filters
        .iter()
        .find(|(column, text)| column == "segment" && text != "(none)" && !SEGMENTS.contains(&&**text))
    {
        let expected = "one of champions, loyal, new, promising, at_risk, hibernating, lost, (none)";
        return Err(QueryError::BadFilter { column: column.clone(), text: text.clone(), expected });
    }
    let named = |asked: &Asked, column: &str| {
        asked.columns.iter().any(|known| known == column) || asked.filtered(column).next().is_some()
    };
    let (customers, owned) = customers(&asked, observed);
    if named(&asked, "day") || query.days.is_some() {
        if ["user_id", "segment", "currency"].into_iter().any(|column| named(&asked, column)) {
            return Err(QueryError::DaysAlone);
        }
        if !named(&asked, "day") {
            return Err(QueryError::RangeNeedsDays);
        }
        return by_day(&asked, &customers, query);
    }
    if has_several_currencies_of(&customers) {
        asked.force_currency();
    }
    let latest = observed.iter().filter_map(Observed::accepted).filter(|record| !record.kind.is_dimension());
    let latest = latest.map(|record| record.time).max().map(|time| time - context.allowed_lateness_micros);
    let today = query.as_of.or(latest).map(|now| asked.time_label("day", now));
    let too_large = too_large_among(owned.into_iter(), |record| record.amount.unsigned_abs().into());
    let only = customers.values().flat_map(|customer| customer.sums.keys()).next().copied();
    let by_user = asked.columns.iter().any(|column| column == "user_id");

    let mut groups: BTreeMap<_, Vec<Member<'_>>> = BTreeMap::new();
    let mut rivals: BTreeMap<Currency, Rivals> = BTreeMap::new();
    for (user, customer) in &customers {
        for currency in customer.sums.keys() {
            let rivals = rivals.entry(*currency).or_insert_with(|| Rivals::of(&customers, *currency));
            let scores = customer.ordered_on.iter().max().map(|last| {
                [
                    score(last, &rivals.last),
                    score(&customer.ordered_on.len(), &rivals.orders),
                    score(&customer.sums[currency].spend, &rivals.spend),
                ]
            });
            let label = |column: &str| match (column, scores) {
                ("user_id", _) => (*user).to_owned(),
                ("currency", _) => currency.to_string(),
                (_, Some([recency, frequency, monetary])) => segment(recency, frequency, monetary).to_owned(),
                (_, None) => "(none)".to_owned(),
            };
            if let Some(key) = asked.key(|column| Some(label(column))) {
                groups.entry(key).or_default().push((user, *currency, scores));
            }
        }
    }
    let currency_at = asked.columns.iter().position(|column| column == "currency");
    let mut table = asked.table(VALUES);
    for (key, members) in &groups {
        let currency = currency_at.and_then(|at| Currency::parse(key[at].as_deref()?)).or(only);
        let currency = currency.expect("a group has money of some currency");
        if too_large.contains(&currency) {
            return Err(QueryError::SumsTooLarge { currency: currency.to_string() });
        }
        let with_orders = || members.iter().map(|(user, ..)| &customers[user]).filter(|one| !one.ordered_on.is_empty());
        let sums = || members.iter().map(|(user, currency, _)| &customers[user].sums[currency]);
        let orders: i64 = with_orders().map(|one| one.ordered_on.len() as i64).sum();
        let spend: i128 = sums().map(|sums| sums.spend).sum();
        let days = || with_orders().flat_map(|one| &one.ordered_on);
        let text = |day: Option<&String>| day.map_or(Value::Null, Value::text);
        let date = |day: &String| -> Date { day.parse().expect("a day's text is a day") };
        let since = days().max().zip(today.as_ref()).map(|(last, today)| {
            let between = date(today).since(date(last)).expect("they are days of one calendar");
            i64::from(between.get_days()).max(0)
        });
        let of_one = |value: Option<i64>| value.filter(|_| by_user).map_or(Value::Null, Value::Int);
        let scores = members.last().and_then(|(.., scores)| *scores);
        table.rows.push(row(
            key,
            [
                Value::Int(with_orders().count() as i64),
                Value::Null,
                Value::Null,
                Value::Int(orders),
                Value::Int(sums().map(|sums| sums.units).sum()),
                Value::Int(sums().map(|sums| sums.units_returned).sum()),
                money(spend, currency),
                money(sums().map(|sums| sums.returns).sum(), currency),
                text(days().min()),
                text(days().max()),
                of_one(since),
                of_one(scores.map(|scores| scores[0])),
                of_one(scores.map(|scores| scores[1])),
                of_one(scores.map(|scores| scores[2])),
                Value::ratio(spend as i64, orders * 10_i64.pow(currency.digits())),
            ],
        ));
    }
    query.arrange(table)
}

fn has_several_currencies_of(customers: &BTreeMap<&str, Customer>) -> bool {
    customers.values().flat_map(|customer| customer.sums.keys()).collect::<BTreeSet<_>>().len() > 1
}

fn by_day(asked: &Asked, customers: &BTreeMap<&str, Customer>, query: &Query) -> Result<Table, QueryError> {
    let mut groups: BTreeMap<_, [i64; 3]> = BTreeMap::new();
    for customer in customers.values() {
        let days: BTreeSet<&String> = customer.ordered_on.iter().collect();
        for (number, day) in days.into_iter().enumerate() {
            let is_asked = asked.holds_day(day);
            if let Some(key) = asked.key(|_| Some(day.clone())).filter(|_| is_asked) {
                let [all, new, returning] = groups.entry(key).or_default();
                *all += 1;
                *if number == 0 { new } else { returning } += 1;
            }
        }
    }
    for key in asked.zero_filled(&BTreeSet::new()) {
        groups.entry(key).or_default();
    }
    let mut table = asked.table(VALUES);
    for (key, counts) in &groups {
        let values = counts.map(Value::Int).into_iter();
        table.rows.push(row(key, values.chain(std::iter::repeat_n(Value::Null, VALUES.len() - 3))));
    }
    query.arrange(table)
}
