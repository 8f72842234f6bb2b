//! What the answers of several views have in common: group columns, filters, sums by group.

use crate::query::{Query, QueryError};
use crate::rows::{Measures, Sums};
use crate::table::Value;
use crate::views::AnswerContext;
use millrace_schema::calendar::{self, Calendar, Hour, format_day, format_month};
use millrace_schema::{Currency, Id, Name};
use std::collections::{BTreeMap, BTreeSet};

/// The sums of the groups, by the parts of the group columns in order.
pub type Groups = BTreeMap<Vec<u64>, Measures>;

/// The part for the day of what has no time. No day: -1 is the last of 1969, which begins 1970 west of Greenwich.
pub const NO_DAY: u64 = i64::MIN as u64;

/// A column of an answer that rows are grouped or filtered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupType {
    Minute,
    Hour,
    Day,
    Month,
    Name,
    Currency,
    /// A user: the name of one is taken from the id.
    User,
}

impl GroupType {
    pub fn value(self, part: u64, context: &AnswerContext) -> Value {
        match self {
            GroupType::Minute | GroupType::Hour if part == u64::MAX => Value::Null,
            GroupType::Minute | GroupType::Hour => Value::text(context.calendar().format_instant(part as i64)),
            GroupType::Day if part == NO_DAY => Value::Null,
            GroupType::Day => Value::text(format_day(part as i64)),
            GroupType::Month => Value::text(format_month(part as i64)),
            GroupType::Name | GroupType::User => Value::Text(context.text(Name(part))),
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
            GroupType::User => Ok(Name::of_user(Id::of(text)).0),
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
pub struct GroupColumns<'a> {
    pub view: &'static str,
    pub known: &'a [(&'static str, GroupType)],
}

impl GroupColumns<'_> {
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
            GroupType::Name | GroupType::Currency | GroupType::User => None,
        }
    };
    let spans = filters.iter().filter_map(of_filter).chain(days);
    spans.reduce(|(first, last), (from, to)| (first.max(from), last.min(to)))
}

/// The instants of some days, first and last included, as parts of keys. Where there are none, the first is after the last.
pub fn instants_of((first, last): (i64, i64), calendar: &Calendar) -> (u64, u64) {
    // No key has an instant before 1970.
    calendar.span(first, last).map_or((1, 0), |(start, end)| (start.max(0) as u64, (end - 1).max(0) as u64))
}

pub fn sum(groups: &mut Groups, key: Vec<u64>, sums: Sums<'_>) {
    groups.entry(key).or_default().add_sums(sums);
}

/// So many groups are filled in at most: hours of five years, days of more than a century.
const FILLED_MOST: u64 = 50_000;

/// The groups that are there even without data: where one hour, day or month column stands alone or beside `currency`,
/// the buckets of the days asked for, but for those that a filter on a time rules out; each of `currencies`.
///
/// # Errors
/// [`QueryError::TooManyBuckets`] before any is made.
pub fn zero_filled(
    asked: &[(String, GroupType)],
    filters: &[(String, GroupType, u64)],
    days: Option<(i64, i64)>,
    currencies: &BTreeSet<u64>,
    calendar: &Calendar,
) -> Result<Vec<Vec<u64>>, QueryError> {
    let is_bucket = |kind| matches!(kind, GroupType::Hour | GroupType::Day | GroupType::Month);
    let (column, kind, currency_first) = match asked {
        [(column, kind)] if is_bucket(*kind) => (column, *kind, None),
        [(column, kind), (_, GroupType::Currency)] if is_bucket(*kind) => (column, *kind, Some(false)),
        [(_, GroupType::Currency), (column, kind)] if is_bucket(*kind) => (column, *kind, Some(true)),
        _ => return Ok(Vec::new()),
    };
    let Some((first, last)) = days else { return Ok(Vec::new()) };
    let days = u64::try_from(last.saturating_sub(first).saturating_add(1)).unwrap_or(0);
    let of_each = currency_first.map_or(1, |_| currencies.len() as u64);
    let buckets = days.saturating_mul(if kind == GroupType::Hour { 24 } else { 1 }).saturating_mul(of_each);
    if buckets > FILLED_MOST {
        return Err(QueryError::TooManyBuckets { column: column.clone(), buckets, most: FILLED_MOST });
    }
    let mut filled = Vec::new();
    for bucket in buckets_between(kind, (first, last), filters, calendar) {
        match currency_first {
            None => filled.push(vec![bucket]),
            Some(true) => filled.extend(currencies.iter().map(|&currency| vec![currency, bucket])),
            Some(false) => filled.extend(currencies.iter().map(|&currency| vec![bucket, currency])),
        }
    }
    Ok(filled)
}

/// The hours, days or months from day `first` to day `last`, both included, in which the filters on times leave an instant.
fn buckets_between(
    kind: GroupType,
    (first, last): (i64, i64),
    filters: &[(String, GroupType, u64)],
    calendar: &Calendar,
) -> Vec<u64> {
    let month = Calendar::month_of_day;
    let day_wanted = |day: i64| {
        (first..=last).contains(&day)
            && filters.iter().all(|(_, kind, part)| match kind {
                GroupType::Day => day == *part as i64,
                GroupType::Month => month(day) == *part as i64,
                _ => true,
            })
    };
    let hour_wanted = |hour: &Hour| {
        day_wanted(hour.day)
            && filters.iter().all(|(_, kind, part)| match kind {
                GroupType::Hour => hour.start == *part as i64,
                GroupType::Minute => calendar.minute_start(*part as i64) == *part as i64 && hour.holds(*part as i64),
                _ => true,
            })
    };
    let of_hour = |hour: &Hour| match kind {
        GroupType::Hour => hour.start as u64,
        GroupType::Day => hour.day as u64,
        _ => month(hour.day) as u64,
    };
    let of_kind =
        |wanted: GroupType| filters.iter().filter(move |(_, kind, _)| *kind == wanted).map(|(.., part)| *part);
    let mut minutes = of_kind(GroupType::Minute);
    if let Some(minute) = minutes.next()
        && !minutes.all(|other| other == minute)
    {
        return Vec::new();
    }
    if let Some(part) = of_kind(GroupType::Hour).chain(of_kind(GroupType::Minute)).next() {
        return Some(calendar.hour(part as i64)).filter(hour_wanted).iter().map(of_hour).collect();
    }
    if kind == GroupType::Hour {
        return calendar.hours(first, last).filter(hour_wanted).map(|hour| hour.start as u64).collect();
    }
    // A day that the zone has left out is not there.
    let days = (first..=last).filter(|&day| day_wanted(day) && calendar.span(day, day).is_some());
    let mut buckets: Vec<u64> =
        days.map(|day| if kind == GroupType::Month { month(day) } else { day } as u64).collect();
    buckets.dedup();
    buckets
}

/// The currency that filters leave, where they leave one.
pub fn only_currency(filters: &[(String, GroupType, u64)]) -> Option<u64> {
    let mut named = filters.iter().filter(|(_, kind, _)| *kind == GroupType::Currency).map(|(.., part)| *part);
    let first = named.next()?;
    named.all(|other| other == first).then_some(first)
}

/// The currencies that a range is filled in for: those there are, or the one that filters leave.
pub fn filled_currencies(filters: &[(String, GroupType, u64)], there_are: &BTreeSet<u64>) -> BTreeSet<u64> {
    match only_currency(filters) {
        Some(currency) => BTreeSet::from([currency]),
        None if filters.iter().any(|(_, kind, _)| *kind == GroupType::Currency) => BTreeSet::new(),
        None => there_are.clone(),
    }
}
