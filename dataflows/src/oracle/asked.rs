//! What a query asks of any view: its group columns, filters and range of days.

use super::related_products;
use crate::query::{Query, QueryError};
use crate::settings::ViewContext;
use crate::table::{Table, Value};
use millrace_schema::calendar::{
    Calendar, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, format_day, format_month, parse_day, parse_month,
    parse_rfc3339,
};
use millrace_schema::{Currency, Rule, Warning};
use std::collections::BTreeSet;

/// What identifies a row: a text a group column, `None` for null.
pub type Key = Vec<Option<String>>;

/// A query's group columns and filters, checked.
pub struct Asked<'a> {
    context: &'a ViewContext,
    days: Option<(i64, i64)>,
    pub columns: Vec<String>,
    /// The texts are those that the columns would show.
    pub filters: Vec<(String, String)>,
}

impl<'a> Asked<'a> {
    /// `groups` are the group columns of the view, `filterable` what its filters may name. Several columns of time at
    /// once are an error where `times` lists those there are.
    pub fn check(
        view: &'static str,
        groups: &[&str],
        filterable: &[&str],
        times: Option<&'static str>,
        context: &'a ViewContext,
        query: &Query,
    ) -> Result<Asked<'a>, QueryError> {
        let find = |column: &str, known: &[&str]| {
            let unknown = || QueryError::UnknownGroup { view, column: column.to_owned(), known: known.join(", ") };
            known.contains(&column).then_some(()).ok_or_else(unknown)
        };
        for column in &query.group_by {
            find(column, groups)?;
        }
        let mut filters = Vec::new();
        for (column, text) in &query.filters {
            find(column, filterable)?;
            let shown = shown_text(&context.calendar, column, text).map_err(|expected| QueryError::BadFilter {
                column: column.clone(),
                text: text.clone(),
                expected,
            })?;
            filters.push((column.clone(), shown));
        }
        match times {
            Some(times) if query.group_by.iter().filter(|column| is_time(column)).count() > 1 => {
                Err(QueryError::SeveralTimes(times))
            }
            _ => Ok(Asked { context, days: query.days, columns: query.group_by.clone(), filters }),
        }
    }

    /// Puts `currency` in front of the group columns unless it was asked for.
    pub fn force_currency(&mut self) {
        if !self.columns.iter().any(|column| column == "currency") {
            self.columns.insert(0, "currency".to_owned());
        }
    }

    /// The row of something whose text in a group column is `label(column)`, or `None` where a filter does not hold.
    pub fn key(&self, label: impl Fn(&str) -> Option<String>) -> Option<Key> {
        let holds = self.filters.iter().all(|(column, text)| label(column).as_ref() == Some(text));
        holds.then(|| self.columns.iter().map(|column| label(column)).collect())
    }

    pub fn in_days(&self, time: Option<i64>) -> bool {
        let Some((first, last)) = self.days else { return true };
        time.is_some_and(|time| (first..=last).contains(&self.context.calendar.day(time)))
    }

    /// The text that a column of time shows for an instant.
    pub fn time_label(&self, column: &str, time: i64) -> String {
        let calendar = &self.context.calendar;
        match column {
            "minute" => calendar.format_instant(calendar.minute_start(time)),
            "hour" => calendar.format_instant(calendar.hour_start(time)),
            "day" => format_day(calendar.day(time)),
            "month" => format_month(calendar.day(time)),
            _ => unreachable!("{column} is not a column of time"),
        }
    }

    /// The rows that are there even without data.
    pub fn zero_filled(&self) -> BTreeSet<Key> {
        let (Some((first, last)), [column]) = (self.days, self.columns.as_slice()) else { return BTreeSet::new() };
        if !matches!(column.as_str(), "hour" | "day" | "month") {
            return BTreeSet::new();
        }
        // Look at every quarter of an hour in the range: no zone has an hour without one.
        let by_minute = self.filters.iter().any(|(column, _)| column == "minute");
        let step = if by_minute { MICROS_PER_MINUTE } else { 15 * MICROS_PER_MINUTE };
        let calendar = &self.context.calendar;
        let (mut time, end) = (day_start(calendar, first), day_start(calendar, last + 1));
        let mut keys = BTreeSet::new();
        while time < end {
            let mut filters = self.filters.iter().filter(|(column, _)| is_time(column));
            if self.in_days(Some(time)) && filters.all(|(column, text)| self.time_label(column, time) == *text) {
                keys.insert(vec![Some(self.time_label(column, time))]);
            }
            time += step;
        }
        keys
    }

    /// An answer without rows: the group columns, then those of the values.
    pub fn table<S: Into<String>>(&self, values: impl IntoIterator<Item = S>) -> Table {
        Table::new(self.columns.iter().cloned().chain(values.into_iter().map(Into::into)))
    }
}

/// A row: the group columns, then the values.
pub fn row(key: &Key, values: impl IntoIterator<Item = Value>) -> Vec<Value> {
    key.iter().map(|text| text.as_ref().map_or(Value::Null, Value::text)).chain(values).collect()
}

fn is_time(column: &str) -> bool {
    matches!(column, "minute" | "hour" | "day" | "month")
}

/// The first instant of a local day (to the minute, as all offsets since 1972 are).
pub fn day_start(calendar: &Calendar, day: i64) -> i64 {
    let mut time = day * MICROS_PER_DAY - 16 * MICROS_PER_HOUR;
    while calendar.day(time) < day {
        time += MICROS_PER_MINUTE;
    }
    time
}

/// A filter's text as its column would show it, or what would be a value of that column.
fn shown_text(calendar: &Calendar, column: &str, text: &str) -> Result<String, &'static str> {
    let rules = || Rule::ALL.map(Rule::as_str).into_iter().chain(Warning::ALL.map(Warning::as_str)).chain(["late"]);
    let is_one_of = |known: bool| known.then(|| text.to_owned());
    let (shown, expected) = match column {
        "minute" | "hour" => {
            let time = parse_rfc3339(text).map(|time| calendar.format_instant(time));
            (time, "a time with an offset, such as 2019-10-01T07:00:00+00:00")
        }
        "day" => (parse_day(text).map(format_day), "a day from 1970 to 2199 such as 2019-10-01"),
        "month" => (parse_month(text).map(format_month), "a month from 1970 to 2199 such as 2019-10"),
        "currency" => (Currency::parse(text).map(|currency| currency.to_string()), "a currency code such as USD"),
        "kind" => (is_one_of(related_products::KINDS.contains(&text)), "viewed_together or bought_together"),
        "rule" => (is_one_of(rules().any(|rule| rule == text)), "the name of a rule, a warning, or late"),
        _ => (Some(text.to_owned()), ""),
    };
    shown.ok_or(expected)
}
