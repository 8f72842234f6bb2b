//! Zones whose clocks are turned by part of an hour, at midnight, or over a day.

use super::records::{self, INSTANTS};
use super::{config, how, settings};
use crate::support::compare::check;
use crate::support::run::run;
use proptest::prelude::*;
use proptest::sample::select;

type Instants = [&'static str; INSTANTS.len()];

/// Instants around the turns of each zone's clocks.
const ZONES: [(&str, Instants); 7] = [
    // Turned by half an hour, in the middle of an hour.
    (
        "Australia/Lord_Howe",
        [
            "2026-04-04T14:10:00Z",
            "2026-04-04T14:59:59.999999Z",
            "2026-04-04T15:00:00Z",
            "2026-04-04T15:10:00Z",
            "2026-04-04T15:30:00Z",
            "2026-04-04T15:40:00.000001Z",
            "2026-10-03T14:40:00Z",
            "2026-10-03T15:10:00Z",
            "2026-10-03T15:29:00Z",
            "2026-10-03T15:30:00Z",
            "2026-10-03T15:40:00Z",
            "2026-10-03T15:59:00Z",
            "2026-10-03T16:00:00Z",
        ],
    ),
    // Turned by an hour at 3:45 and 2:45.
    (
        "Pacific/Chatham",
        [
            "2026-04-04T12:59:00Z",
            "2026-04-04T13:14:00Z",
            "2026-04-04T13:15:00Z",
            "2026-04-04T13:59:59.999999Z",
            "2026-04-04T14:00:00Z",
            "2026-04-04T14:10:00Z",
            "2026-04-04T14:15:00Z",
            "2026-04-04T14:59:00Z",
            "2026-04-04T15:15:00Z",
            "2026-09-26T13:59:00Z",
            "2026-09-26T14:00:00Z",
            "2026-09-26T14:14:00Z",
            "2026-09-26T14:15:00.000001Z",
        ],
    ),
    // Turned at a minute past midnight, back into the day before.
    (
        "America/Goose_Bay",
        [
            "2010-03-14T03:59:00Z",
            "2010-03-14T04:00:00Z",
            "2010-03-14T04:00:59.999999Z",
            "2010-03-14T04:01:00Z",
            "2010-11-06T03:30:00Z",
            "2010-11-07T02:59:59.999999Z",
            "2010-11-07T03:00:00Z",
            "2010-11-07T03:00:30Z",
            "2010-11-07T03:01:00Z",
            "2010-11-07T03:59:00Z",
            "2010-11-07T04:00:00Z",
            "2010-11-07T04:01:00Z",
            "2010-11-08T03:59:00Z",
        ],
    ),
    // Turned by a quarter of an hour at midnight, for good.
    (
        "Asia/Kathmandu",
        [
            "1985-12-31T17:29:00Z",
            "1985-12-31T17:30:00Z",
            "1985-12-31T18:14:59.999999Z",
            "1985-12-31T18:15:00Z",
            "1985-12-31T18:29:59.999999Z",
            "1985-12-31T18:30:00Z",
            "1985-12-31T18:31:00Z",
            "1985-12-31T18:44:00Z",
            "1985-12-31T18:45:00Z",
            "1985-12-31T19:15:00Z",
            "1986-01-01T00:00:00Z",
            "1986-01-01T18:14:00Z",
            "1986-01-01T18:15:00Z",
        ],
    ),
    // Turned over a whole day, which is not there: 30 December 2011.
    (
        "Pacific/Apia",
        [
            "2011-12-29T09:59:00Z",
            "2011-12-29T10:00:00Z",
            "2011-12-29T23:30:00Z",
            "2011-12-30T00:00:00Z",
            "2011-12-30T09:00:00Z",
            "2011-12-30T09:59:59.999999Z",
            "2011-12-30T10:00:00Z",
            "2011-12-30T10:00:00.000001Z",
            "2011-12-30T10:59:00Z",
            "2011-12-30T11:00:00Z",
            "2011-12-31T09:59:00Z",
            "2011-12-31T10:00:00Z",
            "2012-01-01T12:00:00Z",
        ],
    ),
    // The first hours of 1970, which are of 1969.
    (
        "America/St_Johns",
        [
            "1970-01-01T00:00:00Z",
            "1970-01-01T00:00:00.000001Z",
            "1970-01-01T00:20:00Z",
            "1970-01-01T00:29:59Z",
            "1970-01-01T00:30:00Z",
            "1970-01-01T01:30:00Z",
            "1970-01-01T03:29:59.999999Z",
            "1970-01-01T03:30:00Z",
            "1970-01-01T04:00:00Z",
            "1970-01-02T00:20:00Z",
            "1970-01-02T03:30:00Z",
            "1970-02-01T03:00:00Z",
            "1970-02-01T03:30:00Z",
        ],
    ),
    // Likewise, but that they are of 1970 already, in the middle of an hour.
    (
        "Asia/Kolkata",
        [
            "1970-01-01T00:00:00Z",
            "1970-01-01T00:00:00.000001Z",
            "1970-01-01T00:29:59Z",
            "1970-01-01T00:30:00Z",
            "1970-01-01T01:30:00Z",
            "1970-01-01T18:29:59.999999Z",
            "1970-01-01T18:30:00Z",
            "1970-01-01T19:00:00Z",
            "1970-01-02T18:29:00Z",
            "1970-01-02T18:30:00Z",
            "1970-01-31T18:29:00Z",
            "1970-01-31T18:30:00Z",
            "1970-02-01T00:00:00Z",
        ],
    ),
];

/// The instants at which a shop of a zone is asked about: those of [`ZONES`] are their own.
pub fn instants(zone: &str) -> &'static [&'static str] {
    ZONES.iter().find(|(name, _)| *name == zone).map_or(&INSTANTS[..], |(_, instants)| &instants[..])
}

proptest! {
    #![proptest_config(config(60, "tests/properties/zones.regressions"))]

    #[test]
    fn answers_are_the_oracle_s_where_clocks_are_turned(
        (zone, instants) in select(&ZONES[..]),
        sent in records::sent(1..40, 2, 3),
        settings in settings::settings(),
        how in how(),
        seed in any::<u64>(),
    ) {
        let sent: Vec<records::Sent> = sent.iter().map(|one| one.at_other_instants(&instants)).collect();
        let lines = records::lines(&sent);
        check(&run(&settings.in_zone(zone).context(), &lines, how), &lines, seed, 6);
    }
}
