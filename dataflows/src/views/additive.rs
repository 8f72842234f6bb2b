//! Views that only count: how many facts there are by a time and some names.
//!
//! Such a view is its definition, what a fact adds to its rows, and the same said naively of a record. Answers, zero-filling, files
//! and the reference follow.

use crate::context::{Buckets, Shared};
use crate::facts::{Collection, Facts, Uses};
use crate::netted::{Out, rows_of};
use crate::oracle::Observed;
use crate::oracle::asked::{Asked, row};
use crate::query::{Query, QueryError};
use crate::row_set::{RowSet, Span};
use crate::rows::{Key, Rows, Sums};
use crate::settings::ViewContext;
use crate::table::{Table, Value};
use crate::views::grouping::{GroupColumns, GroupType, Groups, days_asked, instants_of, sum, zero_filled};
use crate::views::{AnswerContext, Definition, Measure, Part, TableSchema, View, ViewSchema};
use millrace_schema::calendar::Calendar;
use millrace_schema::{Name, OwnedRecord};
use std::collections::{BTreeMap, BTreeSet};

/// The shortest time that rows keep apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    Hour,
    Day,
}

impl Per {
    fn part(self) -> Part {
        match self {
            Per::Hour => Part::Hour,
            Per::Day => Part::Day,
        }
    }

    fn columns(self) -> &'static [(&'static str, GroupType)] {
        const COLUMNS: [(&str, GroupType); 3] =
            [("hour", GroupType::Hour), ("day", GroupType::Day), ("month", GroupType::Month)];
        match self {
            Per::Hour => &COLUMNS,
            Per::Day => &COLUMNS[1..],
        }
    }

    /// The value of a column of time in a row.
    fn value(self, part: u64, column: GroupType, calendar: &Calendar) -> u64 {
        let day = || match self {
            Per::Hour => calendar.day(part as i64),
            Per::Day => part as i64,
        };
        match column {
            GroupType::Day => day() as u64,
            GroupType::Month => Calendar::month_of_day(day()) as u64,
            _ => part,
        }
    }
}

/// The names and the counts that one record adds to.
pub type NamesAndCounts<'a> = (Vec<&'a str>, Vec<i64>);

/// A view that counts.
pub struct Additive {
    pub name: &'static str,
    pub version: u32,
    /// What it answers, in English.
    pub question: &'static str,
    /// Whether it is maintained where nothing else is said.
    pub by_default: bool,
    pub uses: Uses,
    pub per: Per,
    /// The names that it counts by, besides the time; at most four. A fact without one counts under `(none)`.
    pub names: &'static [&'static str],
    /// What it counts.
    pub counts: &'static [&'static str],
    pub rows: for<'s> fn(&Facts<'s>, &Counter) -> Rows<'s>,
    /// What one accepted record adds, naively; `None` where it adds nothing.
    pub reference: fn(&OwnedRecord) -> Option<NamesAndCounts<'_>>,
}

/// Makes the rows of a view that counts.
pub struct Counter {
    per: Per,
    shared: Shared,
}

impl Counter {
    /// The rows of facts. `count` says what one of them adds.
    pub fn rows<'s, D: Clone + 'static>(
        &self,
        facts: &Collection<'s, D>,
        mut count: impl FnMut(&D, &mut Counts<'_, '_>) + 'static,
    ) -> Rows<'s> {
        let (per, shared) = (self.per, self.shared.clone());
        let mut buckets = Buckets::new(shared.context.calendar.clone());
        rows_of(facts.clone(), "Count", move |fact, out| {
            count(fact, &mut Counts { per, shared: &shared, buckets: &mut buckets, out });
        })
    }
}

/// Takes the counts of one fact.
pub struct Counts<'a, 'b> {
    per: Per,
    shared: &'a Shared,
    buckets: &'a mut Buckets,
    out: &'a mut Out<'b>,
}

impl Counts<'_, '_> {
    /// Counts so many at a time (UTC microseconds) under some names. `count` is the number of the count in the view's list.
    pub fn add<const N: usize>(&mut self, time: i64, names: [Name; N], count: usize, times: i64) {
        const { assert!(N <= 4, "a key has five parts, and the time is one") };
        let bucket = self.buckets.of(time);
        let mut parts = [0; 5];
        parts[0] = match self.per {
            Per::Hour => bucket.hour as u64,
            Per::Day => bucket.day as u64,
        };
        for (part, name) in parts[1..].iter_mut().zip(names) {
            *part = self.shared.shown(name).0;
        }
        self.out.add(Key { table: 0, parts }, count, times);
    }
}

/// The view of such a definition.
pub struct Counting {
    view: &'static Additive,
    definition: Definition,
    columns: Vec<(&'static str, GroupType)>,
}

impl Additive {
    pub fn view(&'static self) -> Counting {
        let Additive { name, version, question, by_default, uses, per, names, counts, .. } = *self;
        assert!(names.len() <= 4, "a key has five parts, and the time is one");
        let columns: Vec<_> =
            per.columns().iter().copied().chain(names.iter().map(|name| (*name, GroupType::Name))).collect();
        let parts = [per.part()].into_iter().chain(names.iter().map(|name| Part::Name(name))).collect();
        Counting {
            view: self,
            definition: Definition {
                name,
                version,
                question,
                by_default,
                always: false,
                uses,
                groups: columns.iter().map(|(column, _)| (*column).to_owned()).collect(),
                values: counts.iter().map(|count| (*count).to_owned()).collect(),
                schema: ViewSchema {
                    tables: vec![TableSchema::new(name, parts)],
                    measures: counts.iter().map(|count| Measure::count(count)).collect(),
                },
            },
            columns,
        }
    }
}

/// What a question asks of a view that counts, parsed.
pub(super) struct Parsed {
    pub columns: Vec<(String, GroupType)>,
    pub filters: Vec<(String, GroupType, u64)>,
    days: Option<(i64, i64)>,
    span: Span,
}

impl Counting {
    /// # Errors
    /// [`QueryError`] where the question does not fit the view.
    pub(super) fn asked(&self, query: &Query, context: &AnswerContext) -> Result<Parsed, QueryError> {
        let known = GroupColumns { view: self.view.name, known: &self.columns };
        let (columns, filters) = (known.asked(query)?, known.filters(query)?);
        if columns.iter().filter(|(_, kind)| *kind != GroupType::Name).count() > 1 {
            return Err(QueryError::SeveralTimes(self.view.per.listed()));
        }
        let calendar = context.calendar();
        let mut span = Span::of(0, &[]);
        if let Some(days) = days_asked(&filters, query.days, calendar) {
            let (first, last) = match self.view.per {
                Per::Hour => instants_of(days, calendar),
                Per::Day if days.0 > days.1 => (1, 0),
                Per::Day => (days.0.max(0) as u64, days.1.max(0) as u64),
            };
            span = span.between(0, first, last);
        }
        Ok(Parsed { columns, filters, days: query.days, span })
    }

    /// Hands over the rows that are asked for, with their groups.
    pub(super) fn scan(
        &self,
        rows: &dyn RowSet,
        asked: &Parsed,
        context: &AnswerContext,
        each: &mut dyn FnMut(Vec<u64>, &Key, Sums<'_>),
    ) {
        let calendar = context.calendar();
        rows.scan(&asked.span, &mut |key, sums| {
            let part = |column: &str| self.part(key, column, calendar);
            // Where the clock is turned at midnight, instants of another day lie between those of one.
            let day = || self.view.per.value(key.parts[0], GroupType::Day, calendar) as i64;
            let in_range = asked.days.is_none_or(|(first, last)| (first..=last).contains(&day()));
            if in_range && asked.filters.iter().all(|(column, _, wanted)| part(column) == *wanted) {
                each(asked.columns.iter().map(|(column, _)| part(column)).collect(), key, sums);
            }
        });
    }

    /// The value of a group column in a row.
    fn part(&self, key: &Key, column: &str, calendar: &Calendar) -> u64 {
        match self.view.names.iter().position(|name| *name == column) {
            Some(at) => key.parts[at + 1],
            None => {
                let kind = self.columns.iter().find(|(known, _)| *known == column).map(|(_, kind)| *kind);
                self.view.per.value(key.parts[0], kind.expect("the column is one of the view's"), calendar)
            }
        }
    }
}

impl View for Counting {
    fn definition(&self) -> &Definition {
        &self.definition
    }

    fn depends_on(&self, context: &ViewContext) -> Vec<(&'static str, String)> {
        vec![context.time_zone()]
    }

    fn render<'s>(&self, facts: &Facts<'s>, shared: &Shared) -> Rows<'s> {
        (self.view.rows)(facts, &Counter { per: self.view.per, shared: shared.clone() })
    }

    fn answer(&self, rows: &dyn RowSet, context: &AnswerContext, query: &Query) -> Result<Table, QueryError> {
        let asked = self.asked(query, context)?;
        let mut groups = Groups::new();
        self.scan(rows, &asked, context, &mut |group, _, sums| sum(&mut groups, group, sums));
        for group in zero_filled(&asked.columns, &asked.filters, query.days, &BTreeSet::new(), context.calendar())? {
            groups.entry(group).or_default();
        }
        let mut table = Table::new(query.group_by.iter().chain(&self.definition.values));
        for (parts, measures) in &groups {
            let group = asked.columns.iter().zip(parts).map(|((_, kind), &part)| kind.value(part, context));
            let values = (0..self.view.counts.len()).map(|count| Value::Int(measures.get(count)));
            table.rows.push(group.chain(values).collect());
        }
        query.arrange(table)
    }

    fn oracle(&self, context: &ViewContext, observed: &[Observed], query: &Query) -> Result<Table, QueryError> {
        let known: Vec<&str> = self.columns.iter().map(|(column, _)| *column).collect();
        let asked = Asked::check(self.view.name, &known, &known, Some(self.view.per.listed()), context, query)?;
        let mut groups: BTreeMap<_, Vec<i64>> = BTreeMap::new();
        let nothing = vec![0; self.view.counts.len()];
        for record in observed.iter().filter_map(Observed::accepted) {
            let Some((names, counts)) = (self.view.reference)(record) else { continue };
            let label = |column: &str| match self.view.names.iter().position(|name| *name == column) {
                Some(at) if names[at].is_empty() => crate::context::NONE_TEXT.to_owned(),
                Some(at) => names[at].to_owned(),
                None => asked.time_label(column, record.time),
            };
            if let Some(key) = asked.key(|column| Some(label(column))).filter(|_| asked.in_days(Some(record.time))) {
                let sums = groups.entry(key).or_insert_with(|| nothing.clone());
                sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            }
        }
        for key in asked.zero_filled(&BTreeSet::new()) {
            groups.entry(key).or_insert_with(|| nothing.clone());
        }
        let mut table = asked.table(self.view.counts.iter().copied());
        table.rows.extend(groups.iter().map(|(key, counts)| row(key, counts.iter().map(|count| Value::Int(*count)))));
        query.arrange(table)
    }
}

impl Per {
    pub(super) fn listed(self) -> &'static str {
        match self {
            Per::Hour => "hour, day and month",
            Per::Day => "day and month",
        }
    }
}
