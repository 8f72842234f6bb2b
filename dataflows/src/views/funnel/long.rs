//! How far one long session gets, kept so that an event costs a few steps however many there are.
//!
//! ```text
//! an event of a step ─▶ back to the latest start from which it is reached ─▶ on to the soonest event of each later step
//! ```
//! What a new event changes is on a chain through it: of each step the soonest completion, and the earliest start whose whole chain
//! fits the window. Both only become earlier.
//!
//! Under a cap the first so many events count, up to a *cut*, which moves to the front as earlier events come. A chain counts where
//! it ends before the cut, and that is all that has to be looked at: a chain that ends sooner holds no event that comes later.

use super::chain::{StepOrder, Steps};
use super::{CAPPED_MARK, CART, Contribution, FunnelKeys, MaybeBucket, SOLD, buckets};
use crate::context::Buckets;
use crate::operators::activity::Act;
use crate::operators::local::LocalNames;
use crate::operators::sessions::SessionEvent;
use crate::settings::MAX_FUNNEL_STEPS;
use std::collections::BTreeMap;

/// What the events of a session are in order of: time, tie, and a number of their own.
pub type Order = (i64, u32, u32);

/// What a long session's events amount to.
#[derive(Debug, Default)]
pub struct LongFunnel {
    chains: Chains,
    /// Of each act the first event.
    acts: [Option<Order>; Act::ALL.len()],
    product: First,
    referrer: First,
    device: First,
}

/// The first of the names, in whatever order they are met: of several at one instant the smallest text.
#[derive(Clone, Copy, Debug, Default)]
struct First {
    number: u32,
    time: i64,
}

impl First {
    fn see(&mut self, time: i64, number: u32, locals: &LocalNames) {
        let is_first =
            self.number == 0 || time < self.time || time == self.time && locals.order(number, self.number).is_lt();
        if number != 0 && is_first {
            *self = First { number, time };
        }
    }
}

/// Product viewed, referrer, device, 0 for none.
fn names(event: &SessionEvent, origins: &[(u32, u32)]) -> [u32; 3] {
    let act = event.act();
    if !act.is_page_view() {
        return [0; 3];
    }
    let (referrer, device) = origins[event.origin() as usize];
    [if act == Act::ProductDetail { event.product } else { 0 }, referrer, device]
}

impl LongFunnel {
    fn firsts(&mut self) -> [&mut First; 3] {
        [&mut self.product, &mut self.referrer, &mut self.device]
    }
}

impl FunnelKeys {
    pub fn max_events(&self) -> usize {
        self.max_events
    }

    /// Takes an event that counts.
    pub fn enter(
        &self,
        funnel: &mut LongFunnel,
        order: Order,
        event: &SessionEvent,
        origins: &[(u32, u32)],
        locals: &LocalNames,
    ) {
        let act = event.act() as usize;
        funnel.acts[act] = Some(funnel.acts[act].map_or(order, |first| first.min(order)));
        funnel.chains.enter(&self.order, order, self.masks[act]);
        let names = names(event, origins);
        funnel.firsts().into_iter().zip(names).for_each(|(first, number)| first.see(order.0, number, locals));
    }

    /// Leaves out an event that counts no more; `counted` gives those that still do of an instant.
    pub fn leave<'a, I: Iterator<Item = &'a SessionEvent>>(
        &self,
        funnel: &mut LongFunnel,
        event: &SessionEvent,
        cut: Order,
        origins: &[(u32, u32)],
        locals: &LocalNames,
        counted: impl Fn(i64) -> I,
    ) {
        funnel.chains.forget_after(cut.0);
        let gone = names(event, origins);
        for (at, first) in funnel.firsts().into_iter().enumerate() {
            if first.number != 0 && first.number == gone[at] && first.time == event.time {
                // It was the last event in order, so there is no other name but of its instant.
                *first = First::default();
                counted(event.time).for_each(|other| first.see(other.time, names(other, origins)[at], locals));
            }
        }
    }

    /// What [`FunnelKeys::contribution`] gives for all events of a session, of which the first is at `first_time` and those up to `cut`
    /// count.
    pub fn long_contribution(
        &self,
        funnel: &LongFunnel,
        first_time: i64,
        cut: Option<Order>,
        buckets: &mut Buckets,
    ) -> Contribution {
        let holds = |act: Act| funnel.acts[act as usize].is_some_and(|first| cut.is_none_or(|cut| first <= cut));
        let reached =
            Act::ALL.into_iter().filter(|act| holds(*act)).fold(0, |steps, act| steps | self.masks[act as usize]);
        let (ordered, duration) = funnel.chains.progress(&self.order, cut);
        let mark = |holds: bool, mark: u8| if holds { mark } else { 0 };
        Contribution {
            day: buckets.of(first_time).day as i32,
            first_product: funnel.product.number,
            referrer: funnel.referrer.number,
            device: funnel.device.number,
            reached,
            ordered,
            marks: mark(holds(Act::AddToCart), CART) | mark(holds(Act::Sold), SOLD) | mark(cut.is_some(), CAPPED_MARK),
            duration: MaybeBucket::of(duration.map(buckets::bucket_of)),
        }
    }
}

#[derive(Debug, Default)]
struct Chains {
    /// Of each step the times of its events; of each time the first event in order.
    steps: [BTreeMap<i64, Order>; MAX_FUNNEL_STEPS],
    /// Of each step the soonest end of a chain to it.
    soonest: [Option<i64>; MAX_FUNNEL_STEPS],
    /// The earliest start from which the whole chain fits the window.
    start: Option<i64>,
}

fn lower(least: &mut Option<i64>, time: i64) {
    *least = Some(least.map_or(time, |least| least.min(time)));
}

fn bits(steps: Steps) -> impl Iterator<Item = usize> {
    (0..MAX_FUNNEL_STEPS).filter(move |step| steps & 1 << step != 0)
}

impl Chains {
    fn enter(&mut self, plan: &StepOrder, order: Order, steps: Steps) {
        for step in bits(steps) {
            self.steps[step].entry(order.0).and_modify(|first| *first = order.min(*first)).or_insert(order);
        }
        bits(steps).for_each(|step| self.follow(plan, step, order.0));
    }

    /// Takes the chains through an event of a step.
    fn follow(&mut self, plan: &StepOrder, step: usize, time: i64) {
        // Later starts leave more room, and earlier ones end no sooner.
        let (mut start, mut before) = (time, plan.previous[step]);
        while let Some(previous) = before {
            let Some((&latest, _)) = self.steps[previous].range(..=start).next_back() else { return };
            (start, before) = (latest, plan.previous[previous]);
        }
        let fits = |end: i64| end - start <= plan.window;
        if !fits(time) {
            return;
        }
        lower(&mut self.soonest[step], time);
        if plan.is_optional(step) {
            return;
        }
        let mut end = time;
        for later in step + 1..plan.count {
            let next = self.steps[later].range(end..).next().map(|(&next, _)| next).filter(|&next| fits(next));
            match next {
                Some(next) => {
                    lower(&mut self.soonest[later], next);
                    end = if plan.is_optional(later) { end } else { next };
                }
                None if plan.is_optional(later) => {}
                None => return,
            }
        }
        if let Some((&earliest, _)) = self.steps[0].range(end.saturating_sub(plan.window)..).next() {
            lower(&mut self.start, earliest);
        }
    }

    /// No event after `time` counts any more, nor will.
    fn forget_after(&mut self, time: i64) {
        for step in &mut self.steps {
            while step.last_entry().is_some_and(|last| *last.key() > time) {
                step.pop_last();
            }
        }
    }

    /// Which steps are on a chain of events up to the cut, and how long the whole chain takes.
    fn progress(&self, plan: &StepOrder, cut: Option<Order>) -> (Steps, Option<i64>) {
        let counts = |first: &Order| cut.is_none_or(|cut| *first <= cut);
        let is_counted = |step: usize, time: i64| self.steps[step].get(&time).is_some_and(counts);
        // A chain that ends at the instant of the cut: some of that instant's events count, others do not.
        let ends_there = |step: usize, time: i64| {
            let (mut start, mut before) = (time, plan.previous[step]);
            while let Some(previous) = before {
                let counted = self.steps[previous].range(..=start).rev().find(|(_, first)| counts(first));
                let Some((&latest, _)) = counted else { return false };
                (start, before) = (latest, plan.previous[previous]);
            }
            is_counted(step, time) && time - start <= plan.window
        };
        let is_ordered = |step: &usize| match (self.soonest[*step], cut) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(end), Some(cut)) => end < cut.0 || end == cut.0 && ends_there(*step, end),
        };
        let ordered = (0..plan.count).filter(is_ordered).fold(0, |steps, step| steps | 1 << step);
        let duration = || {
            let start = self.start.filter(|&start| is_counted(0, start))?;
            let mandatory = (1..plan.count).filter(|&step| !plan.is_optional(step));
            let end = mandatory.into_iter().try_fold(start, |now, step| {
                self.steps[step].range(now..).next().filter(|(_, first)| counts(first)).map(|(&next, _)| next)
            })?;
            Some(end - start)
        };
        (ordered, if ordered & 1 << (plan.count - 1) != 0 { duration() } else { None })
    }
}
