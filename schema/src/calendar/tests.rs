//! Hours and days around the turns of clocks. What is expected was worked out by hand from the zones' histories.

use super::*;

fn at(text: &str) -> i64 {
    parse_rfc3339(text).expect("a time")
}

/// Of each instant the names of its hour and of its day.
fn check(zone: &str, expected: &[(&str, &str, &str)]) {
    let calendar = Calendar::of(zone).expect("a zone");
    for (instant, hour, day) in expected {
        let found = calendar.hour(at(instant));
        let names = (calendar.format_instant(found.start), format_day(found.day));
        assert_eq!((names.0.as_str(), names.1.as_str()), (*hour, *day), "{instant} in {zone}");
    }
}

#[test]
fn a_clock_turned_in_the_middle_of_an_hour_makes_two_of_it() {
    check(
        "Australia/Lord_Howe",
        &[
            ("2026-04-04T14:59:59Z", "2026-04-05T01:00:00+11:00", "2026-04-05"),
            ("2026-04-04T15:00:00Z", "2026-04-05T01:30:00+10:30", "2026-04-05"),
            ("2026-04-04T15:30:00Z", "2026-04-05T02:00:00+10:30", "2026-04-05"),
            ("2026-10-03T15:29:59Z", "2026-10-04T01:00:00+10:30", "2026-10-04"),
            ("2026-10-03T15:30:00Z", "2026-10-04T02:30:00+11:00", "2026-10-04"),
            ("2026-10-03T16:00:00Z", "2026-10-04T03:00:00+11:00", "2026-10-04"),
        ],
    );
    check(
        "Pacific/Chatham",
        &[
            ("2026-04-04T13:59:00Z", "2026-04-05T03:00:00+13:45", "2026-04-05"),
            ("2026-04-04T14:00:00Z", "2026-04-05T02:45:00+12:45", "2026-04-05"),
            ("2026-04-04T14:15:00Z", "2026-04-05T03:00:00+12:45", "2026-04-05"),
            ("2026-09-26T13:59:00Z", "2026-09-27T02:00:00+12:45", "2026-09-27"),
            ("2026-09-26T14:00:00Z", "2026-09-27T03:45:00+13:45", "2026-09-27"),
        ],
    );
}

#[test]
fn a_clock_turned_at_midnight_leaves_hours_in_their_days() {
    check(
        "America/Goose_Bay",
        &[
            ("2010-03-14T04:00:30Z", "2010-03-14T00:00:00-04:00", "2010-03-14"),
            ("2010-03-14T04:01:00Z", "2010-03-14T01:01:00-03:00", "2010-03-14"),
            ("2010-11-07T02:59:59Z", "2010-11-06T23:00:00-03:00", "2010-11-06"),
            ("2010-11-07T03:00:30Z", "2010-11-07T00:00:00-03:00", "2010-11-07"),
            ("2010-11-07T03:01:00Z", "2010-11-06T23:01:00-04:00", "2010-11-06"),
            ("2010-11-07T04:00:00Z", "2010-11-07T00:00:00-04:00", "2010-11-07"),
        ],
    );
    check(
        "Asia/Kathmandu",
        &[
            ("1985-12-31T18:29:59Z", "1985-12-31T23:00:00+05:30", "1985-12-31"),
            ("1985-12-31T18:30:00Z", "1986-01-01T00:15:00+05:45", "1986-01-01"),
            ("1985-12-31T19:15:00Z", "1986-01-01T01:00:00+05:45", "1986-01-01"),
        ],
    );
    check(
        "Pacific/Apia",
        &[
            ("2011-12-30T09:59:59Z", "2011-12-29T23:00:00-10:00", "2011-12-29"),
            ("2011-12-30T10:00:00Z", "2011-12-31T00:00:00+14:00", "2011-12-31"),
        ],
    );
}

#[test]
fn the_first_instants_of_1970_have_hours_of_their_own() {
    check("America/New_York", &[("1970-01-01T00:30:00Z", "1969-12-31T19:00:00-05:00", "1969-12-31")]);
    check("Asia/Kolkata", &[("1970-01-01T00:10:00Z", "1970-01-01T05:30:00+05:30", "1970-01-01")]);
    check("Africa/Monrovia", &[("1970-01-01T12:00:00Z", "1970-01-01T11:00:00-00:44", "1970-01-01")]);
}

#[test]
fn a_day_that_a_zone_left_out_has_no_instants() {
    let apia = Calendar::of("Pacific/Apia").expect("a zone");
    let day = |text| parse_day(text).expect("a day");
    let turned = at("2011-12-30T10:00:00Z");
    assert_eq!(apia.span(day("2011-12-30"), day("2011-12-30")), None);
    assert_eq!(apia.hours(day("2011-12-30"), day("2011-12-30")).count(), 0);
    let span = |first, last| apia.span(day(first), day(last)).expect("the zone has these days");
    assert_eq!(span("2011-12-29", "2011-12-30"), (turned - MICROS_PER_DAY, turned));
    assert_eq!(span("2011-12-29", "2011-12-31"), (turned - MICROS_PER_DAY, turned + MICROS_PER_DAY));
}

#[test]
fn a_day_lasts_to_its_last_instant() {
    let goose_bay = Calendar::of("America/Goose_Bay").expect("a zone");
    let day = parse_day("2010-11-06").expect("a day");
    // Its last hour passes twice, but for a minute of the next day between.
    let last = at("2010-11-07T04:00:00Z");
    assert_eq!(goose_bay.span(day, day), Some((at("2010-11-06T03:00:00Z"), last)));
    assert_eq!(goose_bay.hours(day, day).last().map(|hour| hour.end), Some(last));
    assert_eq!(goose_bay.hours(day, day).count(), 25);
    let minute = (at("2010-11-07T03:00:00Z"), at("2010-11-07T03:01:00Z"));
    assert_eq!((goose_bay.gap(day), goose_bay.gap(day + 1)), (Some(minute), Some((minute.1, last))));
    assert_eq!(goose_bay.gap(day - 1), None);
    assert_eq!(goose_bay.span(day + 1, day + 1), Some((at("2010-11-07T03:00:00Z"), at("2010-11-08T04:00:00Z"))));
}

#[test]
fn hours_follow_each_other_without_a_gap_and_agree_with_their_days() {
    for zone in ["UTC", "Europe/London", "Australia/Lord_Howe", "Pacific/Chatham", "Asia/Kathmandu", "Africa/Monrovia"]
    {
        let calendar = Calendar::of(zone).expect("a zone");
        for year in [1970, 1971, 1972, 1985, 2010, 2026] {
            let mut time = calendar.hour(at(&format!("{year}-01-01T00:00:00Z"))).start;
            while time < at(&format!("{}-01-02T00:00:00Z", year + 1)) {
                let hour = calendar.hour(time);
                assert_eq!(hour.start, time, "{zone}: hours begin where the ones before end");
                assert!(hour.start < hour.end && hour.end - hour.start <= MICROS_PER_HOUR, "{zone}: {hour:?}");
                let last = calendar.hour(hour.end - 1);
                assert_eq!(last, hour, "{zone}: the last instant of an hour is of that hour");
                assert_eq!(parse_rfc3339(&calendar.format_instant(time)), Some(time), "{zone}: a name is an instant");
                time = hour.end;
            }
        }
    }
}
