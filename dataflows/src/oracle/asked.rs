//! What a query asks of any view: its group columns, filters and range of days.

use super::calendar::Calendar;
use super::{NONE, related_products};
use crate::query::{Query, QueryError};
use crate::settings::ViewContext;
use crate::table::{Table, Value};
use millrace_schema::calendar::{format_day, format_month, parse_day, parse_month, parse_rfc3339};
use millrace_schema::{Currency, Rule, Warning};
use std::collections::BTreeSet;

/// What identifies a row: a text a group column, `None` for null.
pub type Key = Vec<Option<String>>;

/// A query's group columns and filters, checked.
pub struct Asked {
    calendar: Calendar,
    days: Option<(i64, i64)>,
    pub columns: Vec<String>,
    /// The texts are those that the columns would show.
    pub filters: Vec<(String, String)>,
}

impl Asked {
    /// `groups` are the group columns of the view, `filterable` what its filters may name. Several columns of time at
    /// once are an error where `times` lists those there are.
    pub fn check(
        view: &'static str,
        groups: &[&str],
        filterable: &[&str],
        times: Option<&'static str>,
        context: &ViewContext,
        query: &Query,
    ) -> Result<Asked, QueryError> {
        let calendar = Calendar::of(context);
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
            let shown = shown_text(&calendar, column, text).map_err(|expected| QueryError::BadFilter {
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
            _ => Ok(Asked { calendar, days: query.days, columns: query.group_by.clone(), filters }),
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
        let days = Calendar::date_of(first)..=Calendar::date_of(last);
        time.is_some_and(|time| days.contains(&self.calendar.date(time)))
    }

    /// The first instant of the hour that an instant is in.
    pub fn hour_start(&self, time: i64) -> i64 {
        parse_rfc3339(&self.calendar.hour(time)).expect("an hour is shown by its first instant")
    }

    /// Whether a day, by its text, is among those asked for.
    pub fn holds_day(&self, day: &str) -> bool {
        let Some((first, last)) = self.days else { return true };
        (format_day(first).as_str()..=format_day(last).as_str()).contains(&day)
    }

    /// The text that a column of time shows for an instant.
    pub fn time_label(&self, column: &str, time: i64) -> String {
        let calendar = &self.calendar;
        match column {
            "minute" => calendar.minute(time),
            "hour" => calendar.hour(time),
            "day" => calendar.date(time).to_string(),
            "month" => calendar.date(time).strftime("%Y-%m").to_string(),
            _ => unreachable!("{column} is not a column of time"),
        }
    }

    /// The rows that are there even without data: a column of hours, days or months that stands alone, or beside the currency, for
    /// each of those there are or the one that filters leave.
    pub fn zero_filled(&self, currencies: &BTreeSet<String>) -> BTreeSet<Key> {
        let times: Vec<&String> = self.columns.iter().filter(|column| *column != "currency").collect();
        let (Some((first, last)), [column]) = (self.days, &times[..]) else { return BTreeSet::new() };
        if !matches!(column.as_str(), "hour" | "day" | "month") {
            return BTreeSet::new();
        }
        let named: BTreeSet<&String> = self.filtered("currency").collect();
        let mut currencies = currencies.clone();
        if !named.is_empty() {
            currencies = if named.len() == 1 { named.into_iter().cloned().collect() } else { BTreeSet::new() };
        }
        // A filter on a minute or an hour leaves no other instant.
        let instant = self.filtered("minute").chain(self.filtered("hour")).next();
        let instants: Vec<i64> = match instant {
            Some(text) => vec![parse_rfc3339(text).expect("the filter has been checked")],
            None => self.calendar.instants(Calendar::date_of(first), Calendar::date_of(last)).collect(),
        };
        let mut keys = BTreeSet::new();
        for time in instants {
            let mut filters = self.filters.iter().filter(|(column, _)| is_time(column));
            if self.in_days(Some(time)) && filters.all(|(column, text)| self.time_label(column, time) == *text) {
                let time = Some(self.time_label(column, time));
                let of = |currency: Option<&String>| -> Key {
                    let cell = |name: &String| if name == "currency" { currency.cloned() } else { time.clone() };
                    self.columns.iter().map(cell).collect()
                };
                if self.columns.len() == 1 {
                    keys.insert(of(None));
                } else {
                    keys.extend(currencies.iter().map(|currency| of(Some(currency))));
                }
            }
        }
        keys
    }

    /// What the filters on a column ask for.
    pub fn filtered(&self, column: &str) -> impl Iterator<Item = &String> {
        self.filters.iter().filter(move |(name, _)| name == column).map(|(_, text)| text)
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

/// A filter's text as its column would show it, or what would be a value of that column.
fn shown_text(calendar: &Calendar, column: &str, text: &str) -> Result<String, &'static str> {
    let rules = || Rule::ALL.map(Rule::as_str).into_iter().chain(Warning::ALL.map(Warning::as_str)).chain(["late"]);
    let is_one_of = |known: bool| known.then(|| text.to_owned());
    let (shown, expected) = match column {
        "minute" | "hour" => {
            let time = parse_rfc3339(text).map(|time| calendar.text(time));
            (time, "a time with an offset, such as 2019-10-01T07:00:00+00:00")
        }
        "day" => (parse_day(text).map(format_day), "a day from 1970 to 2199 such as 2019-10-01"),
        "month" => (parse_month(text).map(format_month), "a month from 1970 to 2199 such as 2019-10"),
        "currency" if text == NONE => (Some(text.to_owned()), ""),
        "currency" => (Currency::parse(text).map(|currency| currency.to_string()), "a currency code such as USD"),
        "kind" => (is_one_of(related_products::KINDS.contains(&text)), "viewed_together or bought_together"),
        "rule" => (is_one_of(rules().any(|rule| rule == text)), "the name of a rule, a warning, or late"),
        _ => (Some(text.to_owned()), ""),
    };
    shown.ok_or(expected)
}
