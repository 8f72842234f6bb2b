//! How good is what comes in, by rule, source and hour?
//!
//! Choices: `warned` counts warnings, so that a record with two counts twice. By rule (grouped or filtered by it) a row
//! is there where the rule has a count, or where a range fills it in; its `quarantined`, `warned` and `late` are the rule's, the rest is the group's.
//! An order of the warnings is an `order_id` and, for `returned_more_than_paid`, a currency. A pending record has no
//! findings yet. A record without a time is in no day of a range.

use super::{Asked, Observed, Outcome, events, is_sold_line, returned, row, sales_facts};
use crate::query::{Query, QueryError};
use crate::settings::ViewContext;
use crate::table::{Table, Value};
use millrace_schema::{Cents, Currency, Kind, OwnedRecord, Warning};
use std::collections::{BTreeMap, BTreeSet};

const GROUPS: [&str; 4] = ["hour", "day", "source", "rule"];
const VALUES: [&str; 8] =
    ["read", "accepted", "duplicates", "quarantined", "pending", "late", "warned", "quality_score"];
const LATE: &str = "late";

/// What is odd about a record.
#[derive(Clone, Copy, PartialEq)]
enum Finding {
    Quarantined(&'static str),
    Warned(&'static str),
    Late,
}

#[derive(Default)]
struct Counts {
    read: i64,
    accepted: i64,
    duplicates: i64,
    pending: i64,
    quarantined: i64,
    late: i64,
    warned: i64,
}

/// # Errors
/// [`QueryError`] where the question names what the view does not have.
pub fn answer(context: &ViewContext, observed: &[Observed], query: &Query) -> Result<Table, QueryError> {
    let asked = Asked::check("quality", &GROUPS, &GROUPS, None, context, query)?;
    let suspects = Suspects::of(observed);
    let findings: Vec<Vec<Finding>> = observed.iter().map(|one| suspects.findings(context, one)).collect();

    // The group's counts once for every rule that there is, or once for all of them.
    let by_rule = asked.columns.iter().chain(asked.filters.iter().map(|(column, _)| column)).any(|name| name == "rule");
    let found = findings.iter().flatten().map(|one| Some(one.rule()));
    let filtered = asked.filtered("rule").map(|rule| Some(rule.as_str()));
    let rules: BTreeSet<Option<&str>> = if by_rule { found.chain(filtered).collect() } else { [None].into() };
    let mut groups: BTreeMap<_, Counts> = BTreeMap::new();
    for rule in rules {
        for (one, findings) in observed.iter().zip(&findings) {
            let time = one.received_at.or(one.record.as_ref().map(|record| record.time));
            let label = |column: &str| match column {
                "source" => Some(one.source.clone()),
                "rule" => rule.map(str::to_owned),
                _ => time.map(|time| asked.time_label(column, time)),
            };
            if let Some(key) = asked.key(label).filter(|_| asked.in_days(time)) {
                let of_rule = findings.iter().filter(|one| rule.is_none_or(|rule| rule == one.rule()));
                groups.entry(key).or_default().add(one.outcome, of_rule);
            }
        }
    }
    let filled = asked.zero_filled(&BTreeSet::new());
    groups.retain(|key, counts| !by_rule || counts.has_finding() || filled.contains(key));
    for key in filled {
        groups.entry(key).or_default();
    }

    let mut table = asked.table(VALUES);
    table.rows = groups.iter().map(|(key, counts)| row(key, counts.values())).collect();
    query.arrange(table)
}

impl Finding {
    fn rule(self) -> &'static str {
        match self {
            Finding::Quarantined(rule) | Finding::Warned(rule) => rule,
            Finding::Late => LATE,
        }
    }
}

impl Counts {
    fn add<'a>(&mut self, outcome: Outcome, findings: impl Iterator<Item = &'a Finding>) {
        self.read += 1;
        self.accepted += i64::from(outcome == Outcome::Accepted);
        self.duplicates += i64::from(outcome == Outcome::Duplicate);
        self.pending += i64::from(outcome == Outcome::Pending);
        for finding in findings {
            match finding {
                Finding::Quarantined(_) => self.quarantined += 1,
                Finding::Warned(_) => self.warned += 1,
                Finding::Late => self.late += 1,
            }
        }
    }

    fn has_finding(&self) -> bool {
        self.quarantined + self.late + self.warned > 0
    }

    fn values(&self) -> [Value; 8] {
        let score =
            if self.read == 0 { Value::Null } else { Value::Float(1.0 - self.quarantined as f64 / self.read as f64) };
        [
            Value::Int(self.read),
            Value::Int(self.accepted),
            Value::Int(self.duplicates),
            Value::Int(self.quarantined),
            Value::Int(self.pending),
            Value::Int(self.late),
            Value::Int(self.warned),
            score,
        ]
    }
}

/// What the warnings that look beyond one record look at.
struct Suspects<'a> {
    products: BTreeSet<&'a str>,
    users: BTreeSet<&'a str>,
    returned_more_than_paid: BTreeSet<(&'a str, Currency)>,
    disagreeing: BTreeSet<&'a str>,
}

impl<'a> Suspects<'a> {
    fn of(observed: &'a [Observed]) -> Suspects<'a> {
        let dimension = |kind| observed.iter().filter_map(Observed::accepted).filter(move |one| one.kind == kind);

        // What was paid and what came back, each by currency: 0 where nothing was.
        let mut orders: BTreeMap<(&str, Currency), (Cents, Cents)> = BTreeMap::new();
        for record in sales_facts(observed) {
            let (paid, came_back) = orders.entry((&record.order_id, record.currency)).or_default();
            match returned(record) {
                Some((_, amount)) => *came_back += amount,
                None => *paid += record.amount,
            }
            debug_assert!(returned(record).is_some() || is_sold_line(record), "a sales fact is one of the two");
        }
        orders.retain(|_, (paid, came_back)| came_back > paid);

        let mut lines: BTreeMap<&str, (BTreeSet<&str>, BTreeSet<&str>)> = BTreeMap::new();
        for record in events(observed).filter(|record| record.kind == Kind::Purchase) {
            let (sessions, users) = lines.entry(&record.order_id).or_default();
            sessions.insert(&record.session_id);
            users.extend(Some(record.user_id.as_str()).filter(|user| !user.is_empty()));
        }
        lines.retain(|_, (sessions, users)| sessions.len() > 1 || users.len() > 1);

        Suspects {
            products: dimension(Kind::Product).map(|record| record.product_id.as_str()).collect(),
            users: dimension(Kind::User).map(|record| record.user_id.as_str()).collect(),
            returned_more_than_paid: orders.into_keys().collect(),
            disagreeing: lines.into_keys().collect(),
        }
    }

    fn findings(&self, context: &ViewContext, one: &Observed) -> Vec<Finding> {
        if let Outcome::Quarantined(rule) = one.outcome {
            return vec![Finding::Quarantined(rule.as_str())];
        }
        let Some(record) = one.accepted() else { return Vec::new() };
        let late = one.received_at.is_some_and(|at| at - record.time > context.allowed_lateness_micros);
        let mut findings: Vec<Finding> = record.warnings.iter().map(|one| Finding::Warned(one.as_str())).collect();
        if !record.kind.is_dimension() {
            findings.extend(self.warnings(record).map(|one| Finding::Warned(one.as_str())));
            findings.extend(late.then_some(Finding::Late));
        }
        findings
    }

    fn warnings(&self, record: &OwnedRecord) -> impl Iterator<Item = Warning> {
        let names_unknown = |id: &str, known: &BTreeSet<&str>| !id.is_empty() && !known.contains(id);
        let order = record.order_id.as_str();
        let over = returned(record).is_some() && self.returned_more_than_paid.contains(&(order, record.currency));
        let disagrees = record.kind == Kind::Purchase && self.disagreeing.contains(order);
        let warnings = [
            (Warning::UnknownProduct, names_unknown(&record.product_id, &self.products)),
            (Warning::UnknownUser, names_unknown(&record.user_id, &self.users)),
            (Warning::ReturnedMoreThanPaid, over),
            (Warning::OrderDisagrees, disagrees),
        ];
        warnings.into_iter().filter(|(_, holds)| *holds).map(|(warning, _)| warning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::example::{accepted, at, check, product, purchase, refund, view};
    use millrace_schema::{Currency, Place, Rule};

    /// Hour 7: a known and an unknown product, one line of o1, a duplicate, a malformed record. Hour 8: the other line
    /// of o1, from another session, and a refund of more than both. And a record without any time.
    fn shop() -> Vec<Observed> {
        let mut odd = view("1T07:00", "mug");
        odd.warnings.add(Warning::UnknownPageType);
        let late = |record: OwnedRecord| OwnedRecord { received_at: Some(record.time + 660_000_000), ..record };
        let mut observed = accepted([
            product("1T07:00", "tea", "Drinks"),
            odd,
            late(purchase("1T07:10", "o1", "tea", 1, 500)),
            view("1T07:30", "tea"),
            OwnedRecord { session_id: "t".to_owned(), ..purchase("1T08:10", "o1", "tea", 1, 500) },
            refund("1T08:20", "o1", "tea", 1, 1001),
        ]);
        let rejected = |received_at| Observed {
            source: "web".to_owned(),
            place: Place::new(1, 0),
            received_at,
            record: None,
            outcome: Outcome::Quarantined(Rule::MalformedJson),
        };
        observed[3].outcome = Outcome::Duplicate;
        observed.extend([rejected(Some(at("1T07:40"))), rejected(None)]);
        observed
    }

    #[test]
    fn every_record_is_counted_once_in_its_hour() {
        let expected = [
            "- 1 0 0 1 0 0 0 0.0000",
            "2019-10-01T07:00:00+00:00 5 3 1 1 0 1 3 0.8000",
            "2019-10-01T08:00:00+00:00 2 2 0 0 0 0 2 1.0000",
        ];
        check(answer, &shop(), &Query::group_by(["hour"]), &expected);
    }

    /// Dollars were paid, and euros came back; of another order nothing is known but that something came back.
    #[test]
    fn nothing_was_paid_in_another_currency() {
        let euro = Currency::parse("EUR").expect("a currency");
        let records = [
            product("1T07:00", "tea", "Drinks"),
            purchase("1T07:10", "o1", "tea", 1, 500),
            OwnedRecord { currency: euro, ..refund("1T07:20", "o1", "tea", 1, 1) },
            refund("1T07:30", "o1", "tea", 1, 500),
            refund("1T07:40", "unknown", "tea", 1, 1),
            refund("1T07:50", "nothing", "tea", 1, 0),
        ];
        let expected = ["returned_more_than_paid 6 6 0 0 0 0 2 1.0000"];
        check(answer, &accepted(records), &Query::group_by(["rule"]), &expected);
    }

    #[test]
    fn a_rule_stands_beside_the_totals_of_its_group() {
        let expected = [
            "shop late 6 5 1 0 0 1 0 1.0000",
            "shop order_disagrees 6 5 1 0 0 0 2 1.0000",
            "shop returned_more_than_paid 6 5 1 0 0 0 1 1.0000",
            "shop unknown_page_type 6 5 1 0 0 0 1 1.0000",
            "shop unknown_product 6 5 1 0 0 0 1 1.0000",
            "web malformed_json 2 0 0 2 0 0 0 0.0000",
        ];
        check(answer, &shop(), &Query::group_by(["source", "rule"]), &expected);
        let filters = vec![("rule".to_owned(), "late".to_owned())];
        check(answer, &shop(), &Query { filters, ..Query::default() }, &["8 5 1 0 0 1 0 1.0000"]);
    }
}
