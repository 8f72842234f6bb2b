//! Days, hours and months of the store's time zone, and times as text.

use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, civil};

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
pub const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
pub const MICROS_PER_HOUR: i64 = 3_600 * MICROS_PER_SECOND;
pub const MICROS_PER_DAY: i64 = SECONDS_PER_DAY * MICROS_PER_SECOND;

/// The calendar of one time zone. Instants are UTC microseconds since 1970; days count from 1970-01-01.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: TimeZone,
    utc: bool,
}

/// The time zone database does not know the name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown time zone {0:?}: set store.time_zone to an IANA name such as Europe/London")]
pub struct UnknownTimeZone(pub String);

impl Calendar {
    pub fn utc() -> Calendar {
        Calendar { zone: TimeZone::UTC, utc: true }
    }

    /// # Errors
    /// [`UnknownTimeZone`] where the IANA database has no such name.
    pub fn of(zone: &str) -> Result<Calendar, UnknownTimeZone> {
        let zone = TimeZone::get(zone).map_err(|_| UnknownTimeZone(zone.to_owned()))?;
        let utc = zone == TimeZone::UTC;
        Ok(Calendar { zone, utc })
    }

    /// Seconds east of UTC at an instant.
    fn offset_seconds(&self, micros: i64) -> i64 {
        if self.utc {
            return 0;
        }
        let offset: Offset = self.zone.to_offset(timestamp(micros));
        i64::from(offset.seconds())
    }

    /// Microseconds of the local clock, as if it were UTC.
    fn local(&self, micros: i64) -> i64 {
        micros + self.offset_seconds(micros) * MICROS_PER_SECOND
    }

    /// The local day of an instant.
    pub fn day(&self, micros: i64) -> i64 {
        self.local(micros).div_euclid(MICROS_PER_DAY)
    }

    /// The first instant of the local hour that holds an instant. The two hours of one name that the end of
    /// daylight saving brings are two.
    pub fn hour_start(&self, micros: i64) -> i64 {
        micros - self.local(micros).rem_euclid(MICROS_PER_HOUR)
    }

    /// The first instant of the minute that holds an instant.
    pub fn minute_start(&self, micros: i64) -> i64 {
        micros - micros.rem_euclid(MICROS_PER_MINUTE)
    }

    /// The first instant of a local day.
    pub fn day_start(&self, day: i64) -> i64 {
        if self.utc {
            return day * MICROS_PER_DAY;
        }
        let start = date_of_day(day).to_zoned(self.zone.clone());
        start.expect("a valid event's day is between 1970 and 2199").timestamp().as_microsecond()
    }

    /// The first day of the month that holds a day.
    pub fn month_of_day(day: i64) -> i64 {
        let date = date_of_day(day);
        day - i64::from(date.day()) + 1
    }

    /// RFC 3339 with the zone's offset at that instant, to the second: `2019-10-01T07:00:00+00:00`.
    pub fn format_instant(&self, micros: i64) -> String {
        let offset = self.offset_seconds(micros);
        let local = micros + offset * MICROS_PER_SECOND;
        let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs() / 60);
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

fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).expect("a valid event's time is between 1970 and 2199")
}

fn date_of_day(day: i64) -> civil::Date {
    let instant = Timestamp::from_second(day * SECONDS_PER_DAY).expect("a valid event's day is between 1970 and 2199");
    instant.to_zoned(TimeZone::UTC).date()
}
