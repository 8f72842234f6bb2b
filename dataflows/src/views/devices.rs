//! `devices`: which devices are pages viewed on?
//!
//! ```sql
//! SELECT date_trunc('day', event_time) AS day, device, count(*) AS page_views
//! FROM events WHERE event_type = 'page_view' GROUP BY ALL
//! ```

use super::additive::{Additive, Per};
use crate::facts::Uses;
use millrace_schema::{Body, Kind};

pub static VIEW: Additive = Additive {
    name: "devices",
    version: 1,
    question: "Which devices are pages viewed on?",
    by_default: false,
    uses: Uses { events: true, ..Uses::NOTHING },
    per: Per::Day,
    names: &["device"],
    counts: &["page_views"],
    rows: |facts, counter| {
        counter.rows(&facts.events, |event, counts| {
            if let Body::PageView { device, .. } = event.body {
                counts.add(event.time, [device], 0, 1);
            }
        })
    },
    reference: |record| (record.kind == Kind::PageView).then(|| (vec![&*record.device], vec![1])),
};
