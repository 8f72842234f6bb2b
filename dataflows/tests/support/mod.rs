//! What the tests share: lines in, changes out, and every answer against its oracle.
//!
//! ```text
//! Lines ──run::run (decode · receipts · graph::build, W workers)──▶ Ran (all changes) ──compare──▶ equal to the oracle
//! ```

pub mod baton;
pub mod compare;
pub mod questions;
pub mod run;

use millrace_dataflows::settings::{FunnelSettings, RelatedSettings, ViewContext};
use millrace_schema::calendar::{Calendar, parse_rfc3339};
use millrace_schema::{Currency, Place};

/// One source record as a reader gets it.
#[derive(Clone, Debug)]
pub struct Line {
    pub text: String,
    pub place: Place,
    pub epoch: u64,
    /// The transport's timestamp.
    pub received_at: Option<i64>,
    /// Older than the horizons when it comes: counted, not sent.
    pub pending: bool,
    /// Counted as pending before, and read again.
    pub was_pending: bool,
}

/// Partitions 0 and 1 are the shop's, 2 is the website's.
pub const SOURCES: [&str; 3] = ["shop", "shop", "web"];

/// How late an event may be, in microseconds.
pub const LATENESS_MICROS: i64 = 600_000_000;

/// The settings of a run, by default those of the product.
pub fn context() -> ViewContext {
    context_of("UTC", &FunnelSettings::default(), &RelatedSettings::default())
}

pub fn context_of(zone: &str, funnel: &FunnelSettings, related: &RelatedSettings) -> ViewContext {
    ViewContext {
        calendar: Calendar::of(zone).expect("a known time zone"),
        default_currency: Currency::USD,
        allowed_lateness_micros: LATENESS_MICROS,
        funnel: funnel.plan().expect("usable settings"),
        related: related.clone(),
        ..ViewContext::default()
    }
}

pub fn time(text: &str) -> i64 {
    parse_rfc3339(text).unwrap_or_else(|| panic!("{text:?} is not a time"))
}
