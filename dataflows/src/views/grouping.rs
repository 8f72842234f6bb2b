//! What the answers of several views have in common: group columns, filters, sums by group.

use crate::query::{Query, QueryError};
use crate::rows::{Measures, Sums};
use crate::table::Value;
use crate::views::AnswerContext;
use millrace_schema::calendar::{self, Calendar, format_day, format_month};
use millrace_schema::{Currency, Name};
use std::collections::BTreeMap;

/// The sums of the groups, by the parts of the group columns in order.
pub type Groups = BTreeMap<Vec<u64>, Measures>;

/// A column of an answer that rows are grouped or filtered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupType {
    Minute,
    Hour,
    Day,
    Month,
    Name,
    Currency,
}

impl GroupType {
    pub fn value(self, part: u64, context: &AnswerContext) -> Value {
        match self {
            GroupType::Minute | GroupType::Hour if part == u64::MAX => Value::Null,
            GroupType::Minute | GroupType::Hour => Value::text(context.calendar().format_instant(part as i64)),
            GroupType::Day | GroupType::Month if part == u64::MAX => Value::Null,
            GroupType::Day => Value::text(format_day(part as i64)),
            GroupType::Month => Value::text(format_month(part as i64)),
            GroupType::Name => Value::Text(context.text(Name(part))),
            GroupType::Currency if part == 0 => Value::text(crate::context::NONE_TEXT),
            GroupType::Currency => Value::text(currency(part).to_string()),
        }
    }

    /// The part that a filter's text means.
    pub fn parse(self, column: &str, text: &str) -> Result<u64, QueryError> {
        let bad = |expected| QueryError::BadFilter { column: column.to_owned(), text: text.to_owned(), expected };
        match self {
            GroupType::Minute | GroupType::Hour => calendar::parse_rfc3339(text)
                .map(|time| time as u64)
                .ok_or_else(|| bad("an RFC 3339 time from 1970 to 2199 such as 2019-10-01T07:00:00+00:00")),
            GroupType::Day => calendar::parse_day(text)
                .map(|day| day as u64)
                .ok_or_else(|| bad("a day from 1970 to 2199 such as 2019-10-01")),
            GroupType::Month => calendar::parse_month(text)
                .map(|day| day as u64)
                .ok_or_else(|| bad("a month from 1970 to 2199 such as 2019-10")),
            GroupType::Name => Ok(Name::of(text).0),
            GroupType::Currency if text == crate::context::NONE_TEXT => Ok(0),
            GroupType::Currency => {
                Currency::parse(text).map(Currency::code).ok_or_else(|| bad("a currency code such as USD"))
            }
        }
    }
}

pub fn currency(part: u64) -> Currency {
    Currency::from_code(part).expect("a currency's part is its code")
}

/// The columns of a view that it may be grouped by, with their types.
pub struct GroupColumns {
    pub view: &'static str,
    pub known: &'static [(&'static str, GroupType)],
}

impl GroupColumns {
    pub fn find(&self, column: &str) -> Result<GroupType, QueryError> {
        self.known.iter().find(|(name, _)| *name == column).map(|&(_, kind)| kind).ok_or_else(|| {
            let known: Vec<&str> = self.known.iter().map(|(name, _)| *name).collect();
            QueryError::UnknownGroup { view: self.view, column: column.to_owned(), known: known.join(", ") }
        })
    }

    /// The columns asked for with their types.
    pub fn asked(&self, query: &Query) -> Result<Vec<(String, GroupType)>, QueryError> {
        query.group_by.iter().map(|column| Ok((column.clone(), self.find(column)?))).collect()
    }

    /// The filters, parsed.
    pub fn filters(&self, query: &Query) -> Result<Vec<(String, GroupType, u64)>, QueryError> {
        let parse = |(column, text): &(String, String)| {
            let kind = self.find(column)?;
            Ok((column.clone(), kind, kind.parse(column, text)?))
        };
        query.filters.iter().map(parse).collect()
    }
}

/// The days, first and last, that a question asks for by its range and by its filters on times; `None` where any day will
/// do. Where there can be none, the first is after the last.
pub fn days_asked(
    filters: &[(String, GroupType, u64)],
    days: Option<(i64, i64)>,
    calendar: &Calendar,
) -> Option<(i64, i64)> {
    let of_filter = |&(_, kind, part): &(String, GroupType, u64)| {
        let part = part as i64;
        match kind {
            GroupType::Minute | GroupType::Hour => Some((calendar.day(part), calendar.day(part))),
            GroupType::Day => Some((part, part)),
            GroupType::Month => Some((part, Calendar::month_of_day(part + 31) - 1)),
            GroupType::Name | GroupType::Currency => None,
        }
    };
    let spans = filters.iter().filter_map(of_filter).chain(days);
    spans.reduce(|(first, last), (from, to)| (first.max(from), last.min(to)))
}

/// The instants of some days, first and last included, as parts of keys.
pub fn instants_of((first, last): (i64, i64), calendar: &Calendar) -> (u64, u64) {
    (calendar.day_start(first) as u64, (calendar.day_start(last + 1) - 1) as u64)
}

pub fn sum(groups: &mut Groups, key: Vec<u64>, sums: Sums<'_>) {
    groups.entry(key).or_default().add_sums(sums);
}

/// So many buckets are filled in at most: hours of five years, days of more than a century.
const BUCKETS_MOST: u64 = 50_000;

/// The groups that are there even without data: of one hour, day or month column, the buckets from day `first` to day
/// `last`, both included, but for those that a filter on a time rules out.
///
/// # Errors
/// [`QueryError::TooManyBuckets`] before any is made.
pub fn zero_filled(
    asked: &[(String, GroupType)],
    filters: &[(String, GroupType, u64)],
    days: Option<(i64, i64)>,
    calendar: &Calendar,
) -> Result<Vec<Vec<u64>>, QueryError> {
    let (Some((first, last)), [(column, kind)]) = (days, asked) else { return Ok(Vec::new()) };
    let days = u64::try_from(last.saturating_sub(first).saturating_add(1)).unwrap_or(0);
    let buckets = if *kind == GroupType::Hour { days.saturating_mul(24) } else { days };
    if buckets > BUCKETS_MOST {
        return Err(QueryError::TooManyBuckets { column: column.clone(), buckets, most: BUCKETS_MOST });
    }
    let (mut from, mut to) = (calendar.day_start(first), calendar.day_start(last + 1));
    for (_, kind, part) in filters {
        if let Some((start, end)) = span(*kind, *part, calendar) {
            (from, to) = (from.max(start), to.min(end));
        }
    }
    let open = |bucket: &u64| span(*kind, *bucket, calendar).is_some_and(|(start, end)| start.max(from) < end.min(to));
    let buckets = buckets_between(*kind, (first, last), calendar);
    Ok(buckets.into_iter().filter(open).map(|bucket| vec![bucket]).collect())
}

/// From when to when (excluded) a bucket lasts; `None` of what is no time.
fn span(kind: GroupType, part: u64, calendar: &Calendar) -> Option<(i64, i64)> {
    let part = part as i64;
    Some(match kind {
        GroupType::Minute if calendar.minute_start(part) == part => (part, part + calendar::MICROS_PER_MINUTE),
        GroupType::Hour if calendar.hour_start(part) == part => (part, part + calendar::MICROS_PER_HOUR),
        GroupType::Minute | GroupType::Hour => (part, part),
        GroupType::Day => (calendar.day_start(part), calendar.day_start(part + 1)),
        GroupType::Month => (calendar.day_start(part), calendar.day_start(Calendar::month_of_day(part + 31))),
        GroupType::Name | GroupType::Currency => return None,
    })
}

/// The hours, days or months from day `first` to day `last`, both included.
fn buckets_between(kind: GroupType, (first, last): (i64, i64), calendar: &Calendar) -> Vec<u64> {
    let days = || first..=last;
    match kind {
        GroupType::Day => days().map(|day| day as u64).collect(),
        GroupType::Month => {
            let mut months: Vec<u64> = days().map(|day| Calendar::month_of_day(day) as u64).collect();
            months.dedup();
            months
        }
        GroupType::Hour => {
            // Local days are 23 to 25 hours long: walk from before the first to after the last.
            let (from, to) = ((first - 1) * calendar::MICROS_PER_DAY, (last + 2) * calendar::MICROS_PER_DAY);
            let starts = (from..to).step_by(calendar::MICROS_PER_HOUR as usize).map(|time| calendar.hour_start(time));
            let mut starts: Vec<u64> =
                starts.filter(|&time| (first..=last).contains(&calendar.day(time))).map(|time| time as u64).collect();
            starts.dedup();
            starts
        }
        GroupType::Minute | GroupType::Name | GroupType::Currency => Vec::new(),
    }
}
