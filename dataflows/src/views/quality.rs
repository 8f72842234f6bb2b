//! `quality`: what became of the source records, by hour, source and rule.
//!
//! The counts of a source's hour stand in the row without a rule; each rule's row counts what that rule caught. The
//! hour is that of `received_at`, or of the event itself where the transport has no clock, or unknown where the record
//! did not even decode.

use crate::context::Shared;
use crate::facts::{Account, Counted, Facts, Uses};
use crate::netted::rows_of;
use crate::oracle::{self, Observed};
use crate::query::{Query, QueryError};
use crate::row_set::{RowSet, Span};
use crate::rows::{Key, Measures, Rows, State};
use crate::settings::ViewContext;
use crate::table::{Table, Value};
use crate::views::grouping::{GroupColumns, GroupType, Groups, NO_DAY, days_asked, instants_of, sum, zero_filled};
use crate::views::{AnswerContext, Definition, Measure, Part, TableSchema, View, ViewSchema};
use millrace_schema::{Name, Rule, Warning};
use std::collections::{BTreeMap, BTreeSet};

const READ: usize = 0;
const ACCEPTED: usize = 1;
const DUPLICATES: usize = 2;
const QUARANTINED: usize = 3;
const PENDING: usize = 4;
const LATE: usize = 5;
const WARNED: usize = 6;

/// The part of a key for no rule, for lateness, for the first reject rule, for the first warning.
const NO_RULE: u64 = 0;
const LATE_RULE: u64 = 1;
const FIRST_REJECT: u64 = 2;
const FIRST_WARNING: u64 = FIRST_REJECT + Rule::ALL.len() as u64;

/// Where an account is counted: the row of its source's hour, or of a rule in it; and the measure.
fn place(account: &Account) -> (Key, usize) {
    let (rule, measure) = match account.what {
        Counted::Read => (NO_RULE, READ),
        Counted::Accepted => (NO_RULE, ACCEPTED),
        Counted::Duplicate => (NO_RULE, DUPLICATES),
        Counted::Pending => (NO_RULE, PENDING),
        Counted::Late => (LATE_RULE, LATE),
        Counted::Rejected(rule) => (FIRST_REJECT + rule as u64, QUARANTINED),
        Counted::Warned(warning) => (FIRST_WARNING + warning as u64, WARNED),
    };
    (Key::new(0, [account.hour as u64, account.source.0, rule]), measure)
}

/// The rows of accounts that are in no dataflow.
pub fn rows(accounts: impl IntoIterator<Item = (Account, i64)>) -> State {
    let mut state = State::default();
    for (account, times) in accounts {
        let (key, measure) = place(&account);
        let mut measures = Measures::default();
        measures.add(measure, times);
        state.apply(key, &measures);
    }
    state
}

fn rule_texts() -> Vec<&'static str> {
    let rejects = Rule::ALL.iter().map(|rule| rule.as_str());
    let warnings = Warning::ALL.iter().map(|warning| warning.as_str());
    ["", "late"].into_iter().chain(rejects).chain(warnings).collect()
}

/// What became of all source records, all hours and sources together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accounting {
    pub read: i64,
    pub accepted: i64,
    pub duplicates: i64,
    pub quarantined: i64,
    pub pending: i64,
}

impl Accounting {
    pub fn of(rows: &dyn RowSet) -> Accounting {
        let mut accounting = Accounting::default();
        rows.scan(&Span::of(0, &[]), &mut |key, measures| {
            if key.parts[2] == NO_RULE {
                accounting.read += measures.get(READ);
                accounting.accepted += measures.get(ACCEPTED);
                accounting.duplicates += measures.get(DUPLICATES);
                accounting.pending += measures.get(PENDING);
            }
            accounting.quarantined += measures.get(QUARANTINED);
        });
        accounting
    }

    /// read = accepted + duplicates + quarantined + pending.
    pub fn balances(&self) -> bool {
        self.read == self.accepted + self.duplicates + self.quarantined + self.pending
    }
}

/// How often each rule warned (or found a record late), all hours and sources together; those that did.
pub fn warned(rows: &dyn RowSet) -> BTreeMap<&'static str, i64> {
    let (texts, mut counts) = (rule_texts(), BTreeMap::new());
    rows.scan(&Span::of(0, &[]), &mut |key, measures| {
        *counts.entry(texts[key.parts[2] as usize]).or_default() += measures.get(WARNED) + measures.get(LATE);
    });
    counts.retain(|_, count| *count != 0);
    counts
}

/// How many records each rule has rejected, all hours and sources together; those that did.
pub fn rejected(rows: &dyn RowSet) -> BTreeMap<&'static str, i64> {
    let (texts, mut counts) = (rule_texts(), BTreeMap::new());
    rows.scan(&Span::of(0, &[]), &mut |key, measures| {
        *counts.entry(texts[key.parts[2] as usize]).or_default() += measures.get(QUARANTINED);
    });
    counts.retain(|_, count| *count != 0);
    counts
}

const COLUMNS: GroupColumns<'static> = GroupColumns {
    view: "quality",
    known: &[
        ("hour", GroupType::Hour),
        ("day", GroupType::Day),
        ("source", GroupType::Name),
        ("rule", GroupType::Name),
    ],
};

pub struct Quality {
    definition: Definition,
}

impl Quality {
    pub fn new() -> Quality {
        let parts = vec![Part::KnownHour, Part::Name("source"), Part::Choice("rule", rule_texts())];
        let counts = ["read", "accepted", "duplicates", "quarantined", "pending", "late", "warned"];
        let mut values = counts.map(String::from).to_vec();
        values.push("quality_score".to_owned());
        Quality {
            definition: Definition {
                name: "quality",
                version: 2,
                question: "How good is the data, by rule and source?",
                by_default: true,
                always: true,
                uses: Uses { accounts: true, ..Uses::NOTHING },
                groups: ["hour", "day", "source", "rule"].map(String::from).to_vec(),
                values,
                schema: ViewSchema {
                    tables: vec![TableSchema::new("quality", parts)],
                    measures: counts.map(Measure::count).to_vec(),
                },
            },
        }
    }
}

impl Default for Quality {
    fn default() -> Quality {
        Quality::new()
    }
}

impl View for Quality {
    fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Nothing: its history is of records that are not there any more, and stays as it was counted.
    fn depends_on(&self, _context: &ViewContext) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn render<'s>(&self, facts: &Facts<'s>, _shared: &Shared) -> Rows<'s> {
        rows_of(facts.accounts.clone(), "Quality", |account, out| {
            let (key, measure) = place(account);
            out.add(key, measure, 1);
        })
    }

    fn answer(&self, rows: &dyn RowSet, context: &AnswerContext, query: &Query) -> Result<Table, QueryError> {
        let asked = COLUMNS.asked(query)?;
        let filters = COLUMNS.filters(query)?;
        let rules = rule_texts();
        let day = |key: &Key| match key.parts[0] {
            u64::MAX => NO_DAY,
            hour => context.calendar().day(hour as i64) as u64,
        };
        let part = |key: &Key, column: &str| match column {
            "hour" => key.parts[0],
            "day" => day(key),
            "source" => key.parts[1],
            _ => key.parts[2],
        };
        if let Some((column, text)) =
            query.filters.iter().find(|(column, text)| column == "rule" && !rules[1..].contains(&text.as_str()))
        {
            let expected = "the name of a rule, a warning, or late";
            return Err(QueryError::BadFilter { column: column.clone(), text: text.clone(), expected });
        }
        let of_rule = || filters.iter().filter(|(column, ..)| column == "rule");
        let rule_wanted = |rule: u64| of_rule().all(|(.., name)| Name::of(rules[rule as usize]).0 == *name);
        let wanted = |key: &Key| {
            let rest = filters.iter().filter(|(column, ..)| column != "rule");
            rest.into_iter().all(|(column, _, wanted)| part(key, column) == *wanted)
                && query.days.is_none_or(|(first, last)| (first..=last).contains(&(day(key) as i64)))
        };
        // Per group without the rule: the totals, and what each rule caught.
        let other: Vec<&str> =
            asked.iter().map(|(column, _)| column.as_str()).filter(|column| *column != "rule").collect();
        let mut totals = Groups::new();
        let mut caught: BTreeMap<Vec<u64>, BTreeMap<u64, Measures>> = BTreeMap::new();
        let mut span = Span::of(0, &[]);
        if let Some(days) = days_asked(&filters, query.days, context.calendar()) {
            let (first, last) = instants_of(days, context.calendar());
            span = span.between(0, first, last);
        }
        rows.scan(&span, &mut |key, measures| {
            if !wanted(key) {
                return;
            }
            let group: Vec<u64> = other.iter().map(|column| part(key, column)).collect();
            if key.parts[2] == NO_RULE {
                sum(&mut totals, group, measures);
            } else {
                totals.entry(group.clone()).or_default();
                let rules = caught.entry(group).or_default();
                rules.entry(key.parts[2]).or_default().add_sums(measures);
            }
        });
        let filled = zero_filled(&asked, &filters, query.days, &BTreeSet::new(), context.calendar())?;
        if of_rule().next().is_some() {
            // A filter on the rule leaves the groups in which it has a count, and those that are there anyway: what else
            // is known of them stays known.
            let filled: BTreeSet<&Vec<u64>> = filled.iter().collect();
            let counted = |group: &Vec<u64>| {
                caught.get(group).is_some_and(|rules: &BTreeMap<_, _>| rules.keys().any(|&rule| rule_wanted(rule)))
            };
            // No record is of two rules: nothing is known of what both filters leave.
            let is_some_rule = (NO_RULE + 1..rules.len() as u64).any(rule_wanted);
            totals.retain(|group, _| is_some_rule && (filled.contains(group) || counted(group)));
        }
        for group in filled {
            totals.entry(group).or_default();
        }
        let by_rule = query.group_by.iter().position(|column| column == "rule");
        let mut table = Table::new(query.group_by.iter().chain(&self.definition.values));
        let nothing = BTreeMap::new();
        for (group, total) in &totals {
            let caught = caught.get(group).unwrap_or(&nothing);
            let shown: BTreeSet<Option<u64>> = match by_rule {
                Some(_) => caught.keys().copied().filter(|&rule| rule_wanted(rule)).map(Some).collect(),
                None => BTreeSet::from([None]),
            };
            for rule in shown {
                let of_rules = caught
                    .iter()
                    .filter(|(known, _)| rule.map_or_else(|| rule_wanted(**known), |rule| rule == **known));
                let mut measures = Measures::of(&[0; WARNED + 1]);
                of_rules.for_each(|(_, more)| {
                    differential_dataflow::difference::Semigroup::plus_equals(&mut measures, more)
                });
                for index in [READ, ACCEPTED, DUPLICATES, PENDING] {
                    measures.add(index, total.get(index));
                }
                let mut parts = group.iter();
                let mut row: Vec<Value> = Vec::new();
                for (column, kind) in &asked {
                    row.push(match (column.as_str(), rule) {
                        ("rule", Some(rule)) => Value::text(rules[rule as usize]),
                        _ => kind.value(*parts.next().expect("a part a column"), context),
                    });
                }
                row.extend((READ..=WARNED).map(|index| Value::Int(measures.get(index))));
                let bad = Value::ratio(measures.get(QUARANTINED), measures.get(READ));
                row.push(if let Value::Float(bad) = bad { Value::Float(1.0 - bad) } else { Value::Null });
                table.rows.push(row);
            }
        }
        query.arrange(table)
    }

    /// Of what was rejected and of duplicates there are no events to compute it from.
    fn verified_by(&self) -> Vec<Vec<&str>> {
        Vec::new()
    }

    fn oracle(&self, context: &ViewContext, observed: &[Observed], query: &Query) -> Result<Table, QueryError> {
        oracle::quality::answer(context, observed, query)
    }
}
