//! What to generate. Plain data; [`Options::check`] is the only judge of it.

use std::error::Error;
use std::fmt;

use super::market::Money;

pub(super) const MICROS_PER_SECOND: i64 = 1_000_000;
pub(super) const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
pub(super) const MICROS_PER_HOUR: i64 = 60 * MICROS_PER_MINUTE;
pub(super) const MICROS_PER_DAY: i64 = 24 * MICROS_PER_HOUR;

/// 2026-03-01T00:00:00Z.
const DEFAULT_START: i64 = 20_513 * MICROS_PER_DAY;
/// 2190-01-01T00:00:00Z: events end well before the last valid time, late ones and returns too.
const START_MAX: i64 = 80_354 * MICROS_PER_DAY;
const DAYS_MAX: u32 = 1_000;
const PRODUCTS_MAX: u32 = 10_000_000;
const USERS_MAX: u32 = 100_000_000;
const CURRENCIES_MAX: usize = 32;
const ZIPF_EXPONENT_MAX: f64 = 5.0;
/// The share of lines that may be copies or broken: each comes of a sound line, which gives rise to one at most.
const SPOILED_MAX: f64 = 0.5;

/// How many events, of which shop, and what is wrong with them. Fractions are in [0, 1].
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Lines that are not dimension records: copies, conflicts and malformed ones count, too.
    pub events: u64,
    pub seed: u64,
    /// UTC microseconds of the first instant.
    pub start: i64,
    /// How long the events take, approximately; late lines may arrive after it.
    pub days: u32,
    /// Whether the hour and the weekday matter.
    pub seasonality: bool,
    pub products: u32,
    pub users: u32,
    pub zipf_exponent: f64,
    /// ISO 4217 codes; lines name their currency only where there is more than one.
    pub currencies: Vec<String>,

    /// Shares of the sessions; the rest browses.
    pub bounce_fraction: f64,
    pub compare_fraction: f64,
    pub buy_fraction: f64,
    /// Sessions without a `user_id`.
    pub guest_fraction: f64,
    /// Share of the event lines that come from bots, approximately: a session of a bot has 300 to 5,000 views.
    pub bot_fraction: f64,

    /// Share of the sold lines that come back by a `refund`, and of those that do by a negative `purchase` line.
    pub refund_fraction: f64,
    pub return_line_fraction: f64,

    /// Shares of the event lines.
    pub late_fraction: f64,
    pub duplicate_fraction: f64,
    pub conflict_fraction: f64,
    pub malformed_fraction: f64,
    /// The longest that a line is held back; never more than half of the days.
    pub lateness_hours_max: u32,

    /// Products that change category over the days, and those whose first record comes after events name them.
    pub recategorised_fraction: f64,
    pub late_product_fraction: f64,
    /// Write `inventory` records: one a product at first, then as stock runs low and comes in.
    pub inventory: bool,
    /// Write a `received_at` field with the time of arrival. Copies then differ in it.
    pub received_at: bool,
}

impl Default for Options {
    /// A shop as it is: a little late, a little duplicated, a little broken.
    fn default() -> Options {
        Options {
            events: 1_000_000,
            seed: 1,
            start: DEFAULT_START,
            days: 30,
            seasonality: true,
            products: 10_000,
            users: 100_000,
            zipf_exponent: 1.1,
            currencies: vec!["USD".to_owned()],
            bounce_fraction: 0.25,
            compare_fraction: 0.16,
            buy_fraction: 0.245,
            guest_fraction: 0.4,
            bot_fraction: 0.0,
            refund_fraction: 0.03,
            return_line_fraction: 0.01,
            late_fraction: 0.002,
            duplicate_fraction: 0.01,
            conflict_fraction: 0.000_2,
            malformed_fraction: 0.000_5,
            lateness_hours_max: 48,
            recategorised_fraction: 0.01,
            late_product_fraction: 0.005,
            inventory: true,
            received_at: false,
        }
    }
}

impl Options {
    /// What the benchmarks read: 5 million events of 30 days, 1 % duplicates, nothing malformed, no bots.
    pub fn bench() -> Options {
        Options {
            events: 5_000_000,
            conflict_fraction: 0.0,
            malformed_fraction: 0.0,
            inventory: false,
            ..Options::default()
        }
    }

    /// A day of events at a steady rate from `start`, to be sent as their `arrival` comes.
    pub fn live(events_per_second: f64, start: i64, seed: u64) -> Options {
        const SECONDS_PER_DAY: f64 = 86_400.0;
        let events = (events_per_second * SECONDS_PER_DAY) as u64;
        Options { events, seed, start, days: 1, seasonality: false, ..Options::default() }
    }

    /// # Errors
    /// The first setting that is out of its range.
    pub fn check(&self) -> Result<(), OptionsError> {
        self.check_fractions()?;
        let ensure = |holds: bool, setting, expected| {
            if holds { Ok(()) } else { Err(OptionsError { setting, expected }) }
        };
        ensure((0..=START_MAX).contains(&self.start), "start", "between 1970 and 2190")?;
        ensure((1..=DAYS_MAX).contains(&self.days), "days", "between 1 and 1000")?;
        ensure((1..=PRODUCTS_MAX).contains(&self.products), "products", "between 1 and 10000000")?;
        ensure((1..=USERS_MAX).contains(&self.users), "users", "between 1 and 100000000")?;
        ensure((0.0..=ZIPF_EXPONENT_MAX).contains(&self.zipf_exponent), "zipf_exponent", "between 0 and 5")?;
        ensure((1..=CURRENCIES_MAX).contains(&self.currencies.len()), "currencies", "between 1 and 32 codes")?;
        let codes_valid = self.currencies.iter().all(|code| Money::of(code).is_some());
        ensure(codes_valid, "currencies", "ISO 4217 codes such as EUR")
    }

    fn check_fractions(&self) -> Result<(), OptionsError> {
        let fractions = [
            ("bounce_fraction", self.bounce_fraction),
            ("compare_fraction", self.compare_fraction),
            ("buy_fraction", self.buy_fraction),
            ("guest_fraction", self.guest_fraction),
            ("bot_fraction", self.bot_fraction),
            ("refund_fraction", self.refund_fraction),
            ("return_line_fraction", self.return_line_fraction),
            ("late_fraction", self.late_fraction),
            ("duplicate_fraction", self.duplicate_fraction),
            ("conflict_fraction", self.conflict_fraction),
            ("malformed_fraction", self.malformed_fraction),
            ("recategorised_fraction", self.recategorised_fraction),
            ("late_product_fraction", self.late_product_fraction),
        ];
        if let Some(&(setting, _)) = fractions.iter().find(|(_, value)| !(0.0..=1.0).contains(value)) {
            return Err(OptionsError { setting, expected: "between 0 and 1" });
        }
        // Shares such as 0.5 + 0.3 + 0.2 may add up to a little more than 1.
        let sum_max = 1.0 + 1e-9;
        let sums = [
            ("bounce_fraction", self.bounce_fraction + self.compare_fraction + self.buy_fraction, sum_max),
            ("refund_fraction", self.refund_fraction + self.return_line_fraction, sum_max),
            ("duplicate_fraction", self.spoiled_fraction(), SPOILED_MAX),
        ];
        match sums.iter().find(|(_, sum, sum_max)| sum > sum_max) {
            Some(&(setting, ..)) => Err(OptionsError { setting, expected: "smaller: with its fellows it is too much" }),
            None => Ok(()),
        }
    }

    /// Lines that some other line gave rise to.
    pub(super) fn spoiled_fraction(&self) -> f64 {
        self.duplicate_fraction + self.conflict_fraction + self.malformed_fraction
    }

    pub(super) fn period_micros(&self) -> i64 {
        i64::from(self.days) * MICROS_PER_DAY
    }
}

/// A setting out of its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionsError {
    pub setting: &'static str,
    pub expected: &'static str,
}

impl fmt::Display for OptionsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of the generator must be {}", self.setting, self.expected)
    }
}

impl Error for OptionsError {}
