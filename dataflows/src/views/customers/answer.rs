//! Questions to the customers.

use super::{
    CUSTOMER, CUSTOMERS, DAY, FIRST_ORDER, LAST_ORDER, MAGNITUDE, MAGNITUDE_TABLE, NEW_CUSTOMERS, ORDERS, RETURNS,
    SPEND, SPENDING, UNITS, UNITS_RETURNED,
};
use crate::query::{Query, QueryError};
use crate::row_set::{RowSet, Span};
use crate::rows::Measures;
use crate::table::{Table, Value};
use crate::views::AnswerContext;
use crate::views::grouping::{GroupColumns, GroupType, currency, days_asked, zero_filled};
use crate::views::magnitude::Magnitudes;
use millrace_schema::calendar::format_day;
use millrace_schema::{Currency, Name};
use std::collections::{BTreeMap, BTreeSet};

pub const GROUPS: [&str; 4] = ["user_id", "segment", "day", "currency"];
pub const VALUES: [&str; 15] = [
    "customers",
    "new_customers",
    "returning_customers",
    "orders",
    "units",
    "units_returned",
    "spend",
    "returns",
    "first_order",
    "last_order",
    "days_since_order",
    "recency",
    "frequency",
    "monetary",
    "average_order_value",
];

const COLUMNS: GroupColumns<'static> = GroupColumns {
    view: "customers",
    known: &[
        ("user_id", GroupType::User),
        ("segment", GroupType::Name),
        ("day", GroupType::Day),
        ("currency", GroupType::Currency),
    ],
};

/// What customers are called by their scores: see [`segment`].
pub const SEGMENTS: [&str; 7] = ["champions", "loyal", "new", "promising", "at_risk", "hibernating", "lost"];

/// The segment of a customer by the scores, each from 1 to 5. How often and how much count together, a half rounded up.
pub fn segment(recency: i64, frequency: i64, monetary: i64) -> &'static str {
    let value = (frequency + monetary + 1) / 2;
    match (recency, value) {
        (4.., 4..) => "champions",
        (3.., 3..) => "loyal",
        (4.., _) => "new",
        (3, _) => "promising",
        (_, 3..) => "at_risk",
        (2, _) => "hibernating",
        _ => "lost",
    }
}

/// `1 + ⌊5 × (rank − 1) / n⌋` of each of n values: the least has rank 1, equal ones share the smallest rank of theirs.
pub fn scores(values: &[i64]) -> Vec<i64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by_key(|at| values[*at]);
    let (mut scores, mut rank) = (vec![0; values.len()], 0);
    for (position, at) in order.iter().enumerate() {
        if position == 0 || values[order[position - 1]] != values[*at] {
            rank = position;
        }
        scores[*at] = 1 + (5 * rank / values.len()) as i64;
    }
    scores
}

/// A customer's row in one currency.
#[derive(Clone)]
struct One {
    user: u64,
    currency: u64,
    of_customer: Measures,
    spending: Measures,
    /// How lately, how often, how much; `None` without an order.
    scores: Option<[i64; 3]>,
}

impl One {
    fn segment(&self) -> &'static str {
        let [recency, frequency, monetary] = self.scores.unwrap_or_default();
        if self.scores.is_some() { segment(recency, frequency, monetary) } else { crate::context::NONE_TEXT }
    }
}

/// What several of them come to.
#[derive(Default)]
struct Sum {
    customers: i64,
    orders: i64,
    /// First and last day with an order.
    days: Option<(i64, i64)>,
    spending: Measures,
    scores: Option<[i64; 3]>,
}

impl Sum {
    fn add(&mut self, one: &One) {
        let orders = one.of_customer.get(ORDERS);
        self.orders += orders;
        if orders > 0 {
            self.customers += 1;
            let (first, last) = (one.of_customer.get(FIRST_ORDER), one.of_customer.get(LAST_ORDER));
            let (earliest, latest) = self.days.unwrap_or((first, last));
            self.days = Some((earliest.min(first), latest.max(last)));
        }
        self.spending.add_sums(one.spending.sums());
        self.scores = one.scores;
    }
}

pub fn answer(rows: &dyn RowSet, context: &AnswerContext, query: &Query) -> Result<Table, QueryError> {
    let asked = COLUMNS.asked(query)?;
    let filters = COLUMNS.filters(query)?;
    if let Some((column, text)) = query
        .filters
        .iter()
        .find(|(column, text)| column == "segment" && text != crate::context::NONE_TEXT && !SEGMENTS.contains(&&**text))
    {
        let expected = "one of champions, loyal, new, promising, at_risk, hibernating, lost, (none)";
        return Err(QueryError::BadFilter { column: column.clone(), text: text.clone(), expected });
    }
    let named =
        |column: &str| asked.iter().any(|(name, _)| name == column) || filters.iter().any(|(name, ..)| name == column);
    if named("day") || query.days.is_some() {
        if ["user_id", "segment", "currency"].into_iter().any(named) {
            return Err(QueryError::DaysAlone);
        }
        return by_day(rows, context, query, &asked, &filters);
    }
    let magnitudes = Magnitudes::of(rows, MAGNITUDE_TABLE, MAGNITUDE);
    let several = magnitudes.currencies.len() > 1;
    let mut columns = asked;
    if several && !columns.iter().any(|(column, _)| column == "currency") {
        columns.insert(0, ("currency".to_owned(), GroupType::Currency));
    }
    let by_user = columns.iter().any(|(column, _)| column == "user_id");
    let segment_names: BTreeMap<&str, u64> =
        SEGMENTS.iter().chain([&crate::context::NONE_TEXT]).map(|name| (*name, Name::of(name).0)).collect();
    let part = |one: &One, column: &str| match column {
        "user_id" => one.user,
        "segment" => segment_names[one.segment()],
        _ => one.currency,
    };
    let mut groups: BTreeMap<Vec<u64>, Sum> = BTreeMap::new();
    for one in customers(rows) {
        if filters.iter().all(|(column, _, wanted)| part(&one, column) == *wanted) {
            groups.entry(columns.iter().map(|(column, _)| part(&one, column)).collect()).or_default().add(&one);
        }
    }
    let default = context.shared.context.default_currency;
    let only = magnitudes.currencies.first().map_or(default, |code| currency(*code));
    let currency_at = columns.iter().position(|(column, _)| column == "currency");
    let now = query.as_of.or(context.watermark).map(|now| context.calendar().day(now));
    let mut table = Table::new(columns.iter().map(|(column, _)| column.as_str()).chain(VALUES));
    for (parts, sum) in &groups {
        let segment_of =
            |part: u64| segment_names.iter().find(|(_, name)| **name == part).map_or("", |(text, _)| *text);
        let mut row: Vec<Value> = columns
            .iter()
            .zip(parts)
            .map(|((column, kind), &part)| match column.as_str() {
                "segment" => Value::text(segment_of(part)),
                _ => kind.value(part, context),
            })
            .collect();
        let currency = currency_at.map_or(only, |at| currency(parts[at]));
        magnitudes.check(currency)?;
        row.extend(values(sum, currency, by_user, now));
        table.rows.push(row);
    }
    query.arrange(table)
}

/// All customers, scored.
fn customers(rows: &dyn RowSet) -> Vec<One> {
    let mut of_customers: BTreeMap<u64, Measures> = BTreeMap::new();
    rows.scan(&Span::of(CUSTOMER, &[]), &mut |key, sums| drop(of_customers.insert(key.parts[0], sums.to_measures())));
    let mut all = Vec::new();
    rows.scan(&Span::of(SPENDING, &[]), &mut |key, sums| {
        let [user, currency, ..] = key.parts;
        let of_customer = of_customers.get(&user).cloned().unwrap_or_default();
        all.push(One { user, currency, of_customer, spending: sums.to_measures(), scores: None });
    });
    let of_currencies: BTreeSet<u64> = all.iter().map(|one| one.currency).collect();
    for currency in of_currencies {
        let is_scored = |one: &One| one.currency == currency && one.of_customer.get(ORDERS) > 0;
        let scored: Vec<usize> = (0..all.len()).filter(|at| is_scored(&all[*at])).collect();
        let of = |value: &dyn Fn(&One) -> i64| scores(&scored.iter().map(|at| value(&all[*at])).collect::<Vec<_>>());
        let recency = of(&|one| one.of_customer.get(LAST_ORDER));
        let frequency = of(&|one| one.of_customer.get(ORDERS));
        let monetary = of(&|one| one.spending.get(SPEND));
        for (number, at) in scored.into_iter().enumerate() {
            all[at].scores = Some([recency[number], frequency[number], monetary[number]]);
        }
    }
    all
}

fn values(sum: &Sum, currency: Currency, by_user: bool, today: Option<i64>) -> Vec<Value> {
    let money = |measure| Value::Money(sum.spending.get(measure), currency);
    let day = |day: Option<i64>| day.map_or(Value::Null, |day| Value::text(format_day(day)));
    let since = sum.days.zip(today).map(|((_, last), today)| (today - last).max(0));
    let of_one = |value: Option<i64>| value.filter(|_| by_user).map_or(Value::Null, Value::Int);
    vec![
        Value::Int(sum.customers),
        Value::Null,
        Value::Null,
        Value::Int(sum.orders),
        Value::Int(sum.spending.get(UNITS)),
        Value::Int(sum.spending.get(UNITS_RETURNED)),
        money(SPEND),
        money(RETURNS),
        day(sum.days.map(|(first, _)| first)),
        day(sum.days.map(|(_, last)| last)),
        of_one(since),
        of_one(sum.scores.map(|[recency, ..]| recency)),
        of_one(sum.scores.map(|[_, frequency, _]| frequency)),
        of_one(sum.scores.map(|[.., monetary]| monetary)),
        Value::ratio(sum.spending.get(SPEND), sum.orders * 10_i64.pow(currency.digits())),
    ]
}

/// How many customers a day has, and how many of them are new. They are counted by the day, and do not add up over days.
fn by_day(
    rows: &dyn RowSet,
    context: &AnswerContext,
    query: &Query,
    asked: &[(String, GroupType)],
    filters: &[(String, GroupType, u64)],
) -> Result<Table, QueryError> {
    let calendar = context.calendar();
    let is_grouped = !asked.is_empty();
    if !is_grouped && !filters.iter().any(|(column, ..)| column == "day") {
        return Err(QueryError::RangeNeedsDays);
    }
    let mut groups: BTreeMap<Vec<u64>, Measures> = BTreeMap::new();
    // A customer's day may be the last of 1969, west of Greenwich; none before 1970 can be asked for.
    let days = days_asked(filters, query.days, calendar);
    if days.is_none_or(|(first, last)| first <= last) {
        let all = Span::of(DAY, &[]);
        let span = days.map_or(all, |(first, last)| all.between(0, first.max(0) as u64, last.max(0) as u64));
        rows.scan(&span, &mut |key, sums| {
            let group = asked.iter().map(|_| key.parts[0]).collect();
            groups.entry(group).or_default().add_sums(sums);
        });
    }
    for group in zero_filled(asked, filters, query.days, &BTreeSet::new(), calendar)? {
        groups.entry(group).or_default();
    }
    let mut table = Table::new(query.group_by.iter().map(String::as_str).chain(VALUES));
    for (parts, sums) in &groups {
        let (all, new) = (sums.get(CUSTOMERS), sums.get(NEW_CUSTOMERS));
        let mut row: Vec<Value> = asked.iter().zip(parts).map(|((_, kind), part)| kind.value(*part, context)).collect();
        row.extend([all, new, all - new].map(Value::Int));
        row.resize(asked.len() + VALUES.len(), Value::Null);
        table.rows.push(row);
    }
    query.arrange(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_the_smallest_rank() {
        assert_eq!(scores(&[10, 30, 20, 30, 40]), [1, 3, 2, 3, 5]);
        assert_eq!(scores(&[7]), [1]);
        assert_eq!(scores(&[]), [0_i64; 0]);
        let many: Vec<i64> = (0..100).collect();
        assert!(scores(&many).iter().enumerate().all(|(at, score)| *score == 1 + at as i64 / 20));
    }

    #[test]
    fn every_customer_with_scores_has_a_segment() {
        for (recency, frequency, monetary) in
            (1..=5).flat_map(|r| (1..=5).flat_map(move |f| (1..=5).map(move |m| (r, f, m))))
        {
            assert!(SEGMENTS.contains(&segment(recency, frequency, monetary)));
        }
        let named = [segment(5, 5, 4), segment(3, 3, 3), segment(5, 1, 1), segment(3, 2, 2), segment(2, 5, 5)];
        assert_eq!(named, ["champions", "loyal", "new", "promising", "at_risk"]);
        assert_eq!([segment(2, 1, 1), segment(1, 2, 2)], ["hibernating", "lost"]);
    }
}
