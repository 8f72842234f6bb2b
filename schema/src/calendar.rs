//! Days, hours and months of the store's time zone, and times as text.

use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use std::sync::Arc;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
pub const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
pub const MICROS_PER_HOUR: i64 = 3_600 * MICROS_PER_SECOND;
pub const MICROS_PER_DAY: i64 = SECONDS_PER_DAY * MICROS_PER_SECOND;

/// No two clocks of the world are further apart, nor is one turned by more.
const OFFSET_MOST: i64 = 27 * MICROS_PER_HOUR;

/// The calendar of one time zone. Instants are UTC microseconds since 1970; days count from 1970-01-01.
///
/// All that a view knows of time it has from [`Calendar::hour`]: the hour, the day and the month of one instant agree.
/// An **hour** is made of neighbouring instants whose clocks show one date, one hour and one offset. So where the clock is
/// turned, an hour ends; where it is turned in the middle of an hour, that hour is two. It is named by its first instant.
///
/// An offset of part of a minute (one zone has had it since 1970, Monrovia until 1972) is cut to whole minutes: RFC 3339
/// cannot say more. So a minute lies in one hour.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: Arc<str>,
    /// In order of time. The first is from the beginning of time on, the second from 1970 on.
    turns: Arc<[Turn]>,
    /// In order of the days.
    gaps: Arc<[Gap]>,
}

/// From when to when a day is interrupted by instants of another: where the clock is set back over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    day: i64,
    from: i64,
    to: i64,
}

/// From an instant on clocks are so far ahead of UTC; microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    from: i64,
    offset: i64,
}

/// An hour, from its first instant to the first that is not in it, and the day that it lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hour {
    pub start: i64,
    pub end: i64,
    pub day: i64,
}

impl Hour {
    #[inline]
    pub fn holds(&self, micros: i64) -> bool {
        self.start <= micros && micros < self.end
    }
}

/// The time zone database does not know the name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown time zone {0:?}: set store.time_zone to an IANA name such as Europe/London")]
pub struct UnknownTimeZone(pub String);

impl Calendar {
    pub fn utc() -> Calendar {
        Calendar::new("UTC", &TimeZone::UTC)
    }

    /// # Errors
    /// [`UnknownTimeZone`] where the IANA database has no such name.
    pub fn of(zone: &str) -> Result<Calendar, UnknownTimeZone> {
        let time_zone = TimeZone::get(zone).map_err(|_| UnknownTimeZone(zone.to_owned()))?;
        Ok(Calendar::new(zone, &time_zone))
    }

    fn new(name: &str, zone: &TimeZone) -> Calendar {
        let whole_minutes = |seconds: i32| i64::from(seconds / 60) * MICROS_PER_MINUTE;
        let first = whole_minutes(zone.to_offset(Timestamp::UNIX_EPOCH).seconds());
        // No hour is partly before 1970, whatever the offset: events are not, and parts of keys are not below 0.
        let mut turns = vec![Turn { from: i64::MIN, offset: first }, Turn { from: 0, offset: first }];
        for turn in zone.following(Timestamp::UNIX_EPOCH) {
            let from = turn.timestamp().as_microsecond();
            if from > crate::decode::TIME_END + OFFSET_MOST {
                break;
            }
            let (from, offset) = (from - from.rem_euclid(MICROS_PER_MINUTE), whole_minutes(turn.offset().seconds()));
            if turns.last().is_some_and(|last| last.offset != offset) {
                turns.push(Turn { from, offset });
            }
        }
        let mut gaps = Vec::new();
        for (before, turn) in turns.iter().zip(&turns[1..]) {
            let day = |local: i64| local.div_euclid(MICROS_PER_DAY);
            let (last, next) = (day(turn.from - 1 + before.offset), day(turn.from + turn.offset));
            if next < last {
                gaps.push(Gap { day: next, from: last * MICROS_PER_DAY - before.offset, to: turn.from });
                gaps.push(Gap { day: last, from: turn.from, to: last * MICROS_PER_DAY - turn.offset });
            }
        }
        Calendar { zone: name.into(), turns: turns.into(), gaps: gaps.into() }
    }

    /// The name of the time zone.
    pub fn zone(&self) -> &str {
        &self.zone
    }

    /// Where the turn that is in force at an instant stands.
    fn turn_at(&self, micros: i64) -> usize {
        self.turns.partition_point(|turn| turn.from <= micros).saturating_sub(1)
    }

    /// The instant that ends a turn.
    fn turn_end(&self, at: usize) -> i64 {
        self.turns.get(at + 1).map_or(i64::MAX, |next| next.from)
    }

    /// The hour that holds an instant.
    pub fn hour(&self, micros: i64) -> Hour {
        let at = self.turn_at(micros);
        let Turn { from, offset } = self.turns[at];
        let local = micros.saturating_add(offset);
        let start = micros.saturating_sub(local.rem_euclid(MICROS_PER_HOUR));
        Hour {
            start: start.max(from),
            end: start.saturating_add(MICROS_PER_HOUR).min(self.turn_end(at)),
            day: local.div_euclid(MICROS_PER_DAY),
        }
    }

    /// The local day of an instant.
    pub fn day(&self, micros: i64) -> i64 {
        self.hour(micros).day
    }

    /// The first instant of the hour that holds an instant.
    pub fn hour_start(&self, micros: i64) -> i64 {
        self.hour(micros).start
    }

    /// The first instant of the minute that holds an instant.
    pub fn minute_start(&self, micros: i64) -> i64 {
        micros - micros.rem_euclid(MICROS_PER_MINUTE)
    }

    /// From the first instant of some days, both included, to the one after their last; `None` where the zone has left
    /// all of them out. Where the clock is set back over midnight, instants of a neighbouring day lie between.
    pub fn span(&self, first: i64, last: i64) -> Option<(i64, i64)> {
        let (low, high) = (first.saturating_mul(MICROS_PER_DAY), last.saturating_add(1).saturating_mul(MICROS_PER_DAY));
        let turns = self.turn_at(low.saturating_sub(OFFSET_MOST))..=self.turn_at(high.saturating_add(OFFSET_MOST));
        let parts = turns.filter_map(|at| {
            let Turn { from, offset } = self.turns[at];
            let (start, end) =
                (low.saturating_sub(offset).max(from), high.saturating_sub(offset).min(self.turn_end(at)));
            (start < end).then_some((start, end))
        });
        parts.reduce(|(start, _), (_, end)| (start, end))
    }

    /// From when to when a day is interrupted by instants of another: so some are in zones that set their clocks back over
    /// midnight.
    #[inline]
    pub fn gap(&self, day: i64) -> Option<(i64, i64)> {
        if self.gaps.is_empty() {
            return None;
        }
        let at = self.gaps.binary_search_by_key(&day, |gap| gap.day).ok()?;
        Some((self.gaps[at].from, self.gaps[at].to))
    }

    /// The hours of some days, both included, in order of time.
    pub fn hours(&self, first: i64, last: i64) -> impl Iterator<Item = Hour> + '_ {
        let (start, end) = self.span(first, last).unwrap_or((0, 0));
        let hours = std::iter::successors(Some(self.hour(start)), |hour| Some(self.hour(hour.end)));
        hours.take_while(move |hour| hour.start < end).filter(move |hour| (first..=last).contains(&hour.day))
    }

    /// The first day of the month that holds a day.
    pub fn month_of_day(day: i64) -> i64 {
        let date = date_of_day(day);
        day - i64::from(date.day()) + 1
    }

    /// RFC 3339 with the zone's offset at that instant, to the second: `2019-10-01T07:00:00+00:00`.
    pub fn format_instant(&self, micros: i64) -> String {
        let offset = self.turns[self.turn_at(micros)].offset;
        let local = micros + offset;
        let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs() / MICROS_PER_MINUTE);
        let second = local.rem_euclid(MICROS_PER_DAY) / MICROS_PER_SECOND;
        format!(
            "{}T{:02}:{:02}:{:02}{sign}{:02}:{:02}",
            format_day(local.div_euclid(MICROS_PER_DAY)),
            second / 3_600,
            second / 60 % 60,
            second % 60,
            minutes / 60,
            minutes % 60
        )
    }
}

/// `YYYY-MM-DD`.
pub fn format_day(day: i64) -> String {
    let date = date_of_day(day);
    format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
}

/// `YYYY-MM` of a day.
pub fn format_month(day: i64) -> String {
    let date = date_of_day(day);
    format!("{:04}-{:02}", date.year(), date.month())
}

/// The day of `YYYY-MM-DD`; of the years that events may be of, 1970 to 2199.
pub fn parse_day(text: &str) -> Option<i64> {
    let date: civil::Date = text.parse().ok()?;
    let day = date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second().div_euclid(SECONDS_PER_DAY);
    is_known(day.checked_mul(MICROS_PER_DAY)?).then_some(day)
}

/// The first day of `YYYY-MM`.
pub fn parse_month(text: &str) -> Option<i64> {
    parse_day(&format!("{text}-01"))
}

/// RFC 3339 in UTC with microseconds: `2010-12-01T08:26:00.000000Z`.
pub fn rfc3339_micros(micros: i64) -> String {
    let (day, rest) = (micros.div_euclid(MICROS_PER_DAY), micros.rem_euclid(MICROS_PER_DAY));
    let (second, fraction) = (rest / MICROS_PER_SECOND, rest % MICROS_PER_SECOND);
    format!("{}T{:02}:{:02}:{:02}.{fraction:06}Z", format_day(day), second / 3_600, second / 60 % 60, second % 60)
}

/// UTC microseconds of an RFC 3339 time from 1970 to 2199, with any offset; digits past microseconds are cut.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_microsecond).filter(|&micros| is_known(micros))
}

/// Whether an instant is one that a calendar can place: from 1970 to 2199.
pub fn is_known(micros: i64) -> bool {
    (0..crate::decode::TIME_END).contains(&micros)
}

fn date_of_day(day: i64) -> civil::Date {
    let instant = Timestamp::from_second(day * SECONDS_PER_DAY).expect("a valid event's day is between 1970 and 2199");
    instant.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests;
