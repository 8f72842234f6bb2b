//! Settings of a run: those of the product, and small caps, short windows, other steps, users, time zones.

use crate::support::context_of;
use millrace_dataflows::settings::{FunnelSettings, FunnelUnit, RelatedSettings, Step, ViewContext};
use proptest::prelude::*;
use proptest::sample::select;
use std::sync::Arc;

/// Settings that print in a few lines.
#[derive(Clone)]
pub struct Chosen {
    zone: &'static str,
    funnel: FunnelSettings,
    related: RelatedSettings,
}

impl Chosen {
    pub fn in_zone(self, zone: &'static str) -> Chosen {
        Chosen { zone, ..self }
    }

    pub fn context(&self) -> Arc<ViewContext> {
        Arc::new(context_of(self.zone, &self.funnel, &self.related))
    }
}

impl std::fmt::Debug for Chosen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let FunnelSettings { unit, window, max_events_per_session, steps } = &self.funnel;
        let steps: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
        write!(f, "{}, {unit:?}, {window}, {max_events_per_session} events, {}", self.zone, steps.join(" > "))?;
        write!(f, ", {:?}", self.related)
    }
}

pub fn settings() -> impl Strategy<Value = Chosen> {
    let zone = select(vec!["UTC", "UTC", "Europe/London", "Asia/Kathmandu"]);
    (zone, funnels(), related()).prop_map(|(zone, funnel, related)| Chosen { zone, funnel, related })
}

fn funnels() -> impl Strategy<Value = FunnelSettings> {
    let unit = select(vec![FunnelUnit::Session, FunnelUnit::User]);
    let window = select(vec!["24h", "1h", "unlimited"]);
    let max_events = select(vec![10_000, 5, 1]);
    (unit, window, max_events, steps()).prop_map(|(unit, window, max_events_per_session, steps)| FunnelSettings {
        unit,
        window: window.to_owned(),
        max_events_per_session,
        steps,
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = |name: &str, events: &[&str], optional| Step {
        name: name.to_owned(),
        events: events.iter().map(|&event| event.to_owned()).collect(),
        optional,
    };
    select(vec![
        FunnelSettings::default().steps,
        FunnelSettings::default().steps,
        vec![step("cart", &["add_to_cart"], false), step("buy", &["purchase"], false)],
        vec![
            step("cart", &["add_to_cart", "page_view:home"], false),
            step("looked", &["page_view"], true),
            step("changed", &["remove_from_cart", "page_view:other"], true),
            step("again", &["add_to_cart", "page_view:product"], false),
            step("buy", &["purchase", "checkout_started"], false),
        ],
    ])
}

fn related() -> impl Strategy<Value = RelatedSettings> {
    let small = RelatedSettings { list_length: 2, max_products_per_session: 3, candidates: 3, min_together: 2 };
    select(vec![
        RelatedSettings::default(),
        RelatedSettings { min_together: 1, ..RelatedSettings::default() },
        small.clone(),
        RelatedSettings { max_products_per_session: 2, candidates: 1, ..small.clone() },
        RelatedSettings { list_length: 1, max_products_per_session: 1, ..small },
    ])
}
