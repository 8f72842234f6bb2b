//! Sessions of many events, which are held in a tree: wherever a new one belongs, it costs a few steps.
//!
//! A session that has become long stays so until it is forgotten, or joins another.

use super::event::SessionEvent;
use crate::context::Buckets;
use crate::operators::local::LocalNames;
use crate::views::funnel::long::{LongFunnel, Order};
use crate::views::funnel::{Contribution, FunnelKeys};
use std::collections::BTreeMap;

/// A session of so many events is long. Where assertions are on, few, so that there are some in every test.
pub(super) const LONG: usize = if cfg!(debug_assertions) { 8 } else { 256 };

const _: () = assert!(size_of::<Order>() + size_of::<SessionEvent>() == 36);

#[derive(Debug)]
pub(super) struct Long {
    events: BTreeMap<Order, SessionEvent>,
    /// Where there are more events than count, the last that does.
    cut: Option<Order>,
    /// Where it is asked for.
    funnel: Option<LongFunnel>,
    /// Whether an event has come that may change what it contributes to the funnel.
    changed: bool,
}

/// The times of the events before and after one.
pub(super) type Neighbours = (Option<i64>, Option<i64>);

impl Long {
    pub(super) fn new(with_funnel: bool) -> Long {
        Long { events: BTreeMap::new(), cut: None, funnel: with_funnel.then(LongFunnel::default), changed: false }
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// The times of the first event and of the last.
    pub(super) fn ends(&self) -> Option<(i64, i64)> {
        Some((self.events.first_key_value()?.0.0, self.events.last_key_value()?.0.0))
    }

    pub(super) fn holds(&self, event: &SessionEvent) -> bool {
        let (time, tie) = event.order();
        self.events.range((time, tie, 0)..=(time, tie, u32::MAX)).next().is_some()
    }

    /// What [`Buckets::beyond_gap`] asks for.
    pub(super) fn beyond_gap(&self, time: i64, buckets: &mut Buckets) -> Option<i64> {
        let last_before = |limit| self.events.range(..(limit, 0, 0)).next_back().map(|(order, _)| order.0);
        let first_from = |limit| self.events.range((limit, 0, 0)..).next().map(|(order, _)| order.0);
        buckets.beyond_gap(time, last_before, first_from)
    }

    /// In order.
    pub(super) fn events(&self) -> impl Iterator<Item = &SessionEvent> {
        self.events.values()
    }

    pub(super) fn insert(
        &mut self,
        event: SessionEvent,
        keys: &FunnelKeys,
        origins: &[(u32, u32)],
        locals: &LocalNames,
    ) -> Neighbours {
        let (time, tie) = event.order();
        let order = (time, tie, self.events.len() as u32);
        let before = self.events.range(..order).next_back().map(|(order, _)| order.0);
        let after = self.events.range(order..).next().map(|(order, _)| order.0);
        self.events.insert(order, event);
        self.count(order, &event, keys, origins, locals);
        (before, after)
    }

    /// Takes an event into the funnel where it counts. One more than the cap takes the last one out.
    fn count(
        &mut self,
        order: Order,
        event: &SessionEvent,
        keys: &FunnelKeys,
        origins: &[(u32, u32)],
        locals: &LocalNames,
    ) {
        let Some(funnel) = &mut self.funnel else { return };
        if self.cut.is_some_and(|cut| order > cut) {
            return;
        }
        self.changed = true;
        keys.enter(funnel, order, event, origins, locals);
        if self.events.len() <= keys.max_events() {
            return;
        }
        let last = self.cut.or_else(|| self.events.last_key_value().map(|(order, _)| *order));
        let Some(last) = last else { return };
        let gone = self.events[&last];
        self.cut = self.events.range(..last).next_back().map(|(order, _)| *order);
        let Some(cut) = self.cut else { return };
        let counted = |time: i64| {
            let of_instant = self.events.range(..=cut).rev().take_while(move |(order, _)| order.0 == time);
            of_instant.map(|(_, event)| event)
        };
        keys.leave(funnel, &gone, cut, origins, locals, counted);
    }

    /// What it contributes to the funnel, where that may have changed since the last time.
    pub(super) fn contribution(&mut self, keys: &FunnelKeys, buckets: &mut Buckets) -> Option<Contribution> {
        let funnel = self.funnel.as_ref().filter(|_| std::mem::take(&mut self.changed))?;
        let first_time = self.ends()?.0;
        Some(keys.long_contribution(funnel, first_time, self.cut, buckets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Partitions, Shared};
    use crate::operators::activity::Act;
    use crate::settings::{FunnelSettings, Step, ViewContext};
    use millrace_schema::Names;
    use millrace_schema::calendar::Calendar;
    use proptest::prelude::*;
    use proptest::sample::select;
    use std::sync::Arc;

    /// Referrers and devices.
    const ORIGINS: [(u32, u32); 4] = [(0, 0), (1, 0), (2, 3), (0, 4)];

    fn shared(window: &str, max_events: usize, steps: Vec<Step>) -> Shared {
        let funnel = FunnelSettings {
            window: window.to_owned(),
            max_events_per_session: max_events,
            steps,
            ..FunnelSettings::default()
        };
        let context = ViewContext {
            allowed_lateness_micros: 0,
            funnel: funnel.plan().expect("a plan"),
            ..ViewContext::default()
        };
        Shared::new(Arc::new(context), Arc::new(Names::default()), Arc::new(Partitions::default()))
    }

    /// Numbers 1 to 6, whose texts are in another order.
    fn locals(shared: &Shared) -> LocalNames {
        let mut locals = LocalNames::new(shared.names.clone());
        for text in ["d", "b", "f", "a", "e", "c"] {
            locals.number(shared.names.intern(text).expect("no collision"));
        }
        locals
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = |name: &str, events: &[&str], optional| Step {
            name: name.to_owned(),
            events: events.iter().map(|&event| event.to_owned()).collect(),
            optional,
        };
        select(vec![
            FunnelSettings::default().steps,
            vec![step("cart", &["add_to_cart"], false), step("buy", &["purchase"], false)],
            vec![
                step("a", &["page_view:home", "add_to_cart"], false),
                step("b", &["page_view"], true),
                step("c", &["add_to_cart"], false),
                step("d", &["remove_from_cart"], true),
                step("e", &["add_to_cart", "page_view:home"], false),
                step("f", &["purchase"], false),
            ],
        ])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        /// Whatever the order in which its events come, after each of them.
        #[test]
        fn a_long_session_is_what_a_short_one_would_be(
            events in prop::collection::vec((0..12_i64, any::<u32>(), select(&Act::ALL[..]), 0..7_u32, 0..4_u32), 1..40),
            (window, max_events) in (select(vec!["2s", "4s", "9s", "unlimited"]), select(vec![1, 2, 3, 7, 20, 1000])),
            steps in steps(),
        ) {
            let shared = shared(window, max_events, steps);
            let (keys, locals) = (FunnelKeys::new(&shared), locals(&shared));
            let mut buckets = Buckets::new(Calendar::utc());
            let (mut long, mut short, mut known) = (Long::new(true), Vec::<SessionEvent>::new(), None);
            for (second, tie, act, product, origin) in events {
                let event = SessionEvent::made_up(second * 1_000_000, tie, act, product, origin);
                let at = short.partition_point(|other| other.order() < event.order());
                let time = |other: &SessionEvent| other.time;
                let neighbours = (at.checked_sub(1).map(|at| time(&short[at])), short.get(at).map(time));
                short.insert(at, event);
                prop_assert_eq!(long.insert(event, &keys, &ORIGINS, &locals), neighbours);
                prop_assert!(long.holds(&event));
                known = long.contribution(&keys, &mut buckets).or(known);
                prop_assert_eq!(known, Some(keys.contribution(&short, &ORIGINS, &locals, &mut buckets)));
            }
            prop_assert!(long.events().eq(short.iter()));
            prop_assert_eq!(long.ends(), Some((short[0].time, short[short.len() - 1].time)));
        }
    }
}
