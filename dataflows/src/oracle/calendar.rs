//! Days, hours and minutes as an oracle has them: it looks at what the clocks show, an instant at a time.
//!
//! Nothing is shared with the calendar of the views but the time zone database and what an hour is: neighbouring instants of one date,
//! one hour of the clock and one offset, named by the first. Choices: an offset of part of a minute counts as whole minutes,
//! and no hour is partly before 1970.

use crate::settings::ViewContext;
use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use jiff::{Span, Timestamp};

const MINUTE: i64 = 60_000_000;
const QUARTER: i64 = 15 * MINUTE;
/// More than clocks are away from UTC.
const FAR: i64 = 28 * 60 * MINUTE;

pub struct Calendar(TimeZone);

impl Calendar {
    pub fn of(context: &ViewContext) -> Calendar {
        Calendar(TimeZone::get(context.calendar.zone()).expect("the views' calendar knows the zone"))
    }

    /// What the clock shows, and its offset in seconds.
    fn clock(&self, time: i64) -> (DateTime, i32) {
        let instant = Timestamp::from_microsecond(time).expect("an event's time is one");
        let whole = self.0.to_offset(instant).seconds() / 60 * 60;
        (Offset::from_seconds(whole).expect("an offset is less than a day").to_datetime(instant), whole)
    }

    /// RFC 3339, to the second.
    pub fn text(&self, time: i64) -> String {
        let (shown, offset) = self.clock(time);
        let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs() / 60);
        format!("{}{sign}{:02}:{:02}", shown.strftime("%Y-%m-%dT%H:%M:%S"), minutes / 60, minutes % 60)
    }

    pub fn date(&self, time: i64) -> Date {
        self.clock(time).0.date()
    }

    /// The day of a number since 1970-01-01.
    pub fn date_of(day: i64) -> Date {
        jiff::civil::date(1970, 1, 1) + Span::new().days(day)
    }

    pub fn minute(&self, time: i64) -> String {
        self.text(time - time.rem_euclid(MINUTE))
    }

    /// The name of the hour of an instant.
    pub fn hour(&self, time: i64) -> String {
        let (shown, offset) = self.clock(time);
        let is_of_it = |other: i64| {
            let (other_shown, other_offset) = self.clock(other);
            (other_shown.date(), other_shown.hour(), other_offset) == (shown.date(), shown.hour(), offset)
                && (other < 0) == (time < 0)
        };
        let mut first = time - time.rem_euclid(MINUTE);
        // No clock is turned twice within an hour.
        let on_the_hour = first - i64::from(shown.minute()) * MINUTE;
        if is_of_it(on_the_hour) {
            return self.text(on_the_hour);
        }
        while is_of_it(first - MINUTE) {
            first -= MINUTE;
        }
        self.text(first)
    }

    /// The first instant after a day, which somebody's clock has shown.
    pub fn end_of(&self, day: Date) -> i64 {
        self.instants(day, day).last().expect("the clocks have shown this day") + MINUTE
    }

    /// Instants at which clocks show one of some days, both included: among them one of each of their hours, and the last
    /// minute of each of their days.
    pub fn instants(&self, first: Date, last: Date) -> impl Iterator<Item = i64> + '_ {
        let midnight = |day: Date| day.to_zoned(TimeZone::UTC).expect("a day of UTC").timestamp().as_microsecond();
        let quarters = ((midnight(first) - FAR)..(midnight(last) + 2 * FAR)).step_by(QUARTER as usize);
        let is_of_them = move |time: &i64| (first..=last).contains(&self.date(*time));
        let instants = quarters.flat_map(move |quarter| {
            let next = quarter + QUARTER;
            let is_plain = self.clock(quarter).1 == self.clock(next).1 && self.date(quarter) == self.date(next);
            (quarter..next).step_by(if is_plain { QUARTER } else { MINUTE } as usize)
        });
        instants.filter(is_of_them)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::example::context;
    use millrace_schema::calendar::parse_rfc3339;

    fn of(zone: &str) -> Calendar {
        let calendar = millrace_schema::calendar::Calendar::of(zone).expect("a zone");
        Calendar::of(&ViewContext { calendar, ..context() })
    }

    #[test]
    fn an_hour_ends_where_the_clock_is_turned() {
        let at = |text| parse_rfc3339(text).expect("a time");
        let lord_howe = of("Australia/Lord_Howe");
        assert_eq!(lord_howe.hour(at("2026-04-04T14:50:00Z")), "2026-04-05T01:00:00+11:00");
        assert_eq!(lord_howe.hour(at("2026-04-04T15:10:00Z")), "2026-04-05T01:30:00+10:30");
        assert_eq!(lord_howe.hour(at("2026-10-03T15:40:00Z")), "2026-10-04T02:30:00+11:00");
        let goose_bay = of("America/Goose_Bay");
        assert_eq!(goose_bay.hour(at("2010-11-07T03:30:00Z")), "2010-11-06T23:01:00-04:00");
        assert_eq!(goose_bay.end_of(jiff::civil::date(2010, 11, 6)), at("2010-11-07T04:00:00Z"));
        let hours: std::collections::BTreeSet<String> = goose_bay
            .instants(jiff::civil::date(2010, 11, 6), jiff::civil::date(2010, 11, 6))
            .map(|time| goose_bay.hour(time))
            .collect();
        assert_eq!(hours.len(), 25);
    }
}
