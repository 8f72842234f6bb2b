//! `funnel`: how many sessions (or users) get how far, per cohort day and breakdown.
//!
//! ```sql
//! -- per day of the session's first event, category of its first product viewed, first referrer, first device
//! SELECT count(*) AS sessions, count_if(<an event of the step>) AS reached_<step>,
//!        count_if(<a chain up to the step within the window>) AS ordered_<step>, …
//! ```
//!
//! What an analyst would expect where docs/metrics.md is silent:
//! - the *first* of several referrers, devices or products at one instant is the smallest text;
//! - an optional step counts as ordered when it follows a chain of all mandatory steps before it;
//! - the time to purchase is taken from the earliest start whose chain fits the window;
//! - a cart is an `add_to_cart`, a purchase a sold line, whatever the steps are called.

mod answer;
pub mod buckets;
pub mod chain;
pub mod long;

use crate::context::{Buckets, Shared};
use crate::durable::Settled;
use crate::facts::{Facts, Uses};
use crate::operators::activity::Act;
use crate::operators::local::LocalNames;
use crate::operators::sessions::SessionEvent;
use crate::oracle;
use crate::oracle::Observed;
use crate::query::{Query, QueryError};
use crate::row_set::RowSet;
use crate::rows::{Key, Netting, Rows};
use crate::settings::{FunnelPlan, MAX_FUNNEL_STEPS, Matcher, ViewContext};
use crate::table::Table;
use crate::views::{AnswerContext, Definition, Measure, Part, TableSchema, View, ViewSchema};
use chain::{StepOrder, Steps};
use millrace_schema::{Kind, Name, Page};

/// Tables: counters per group; durations per group and bucket.
const COUNTERS: u8 = 0;
const DURATIONS: u8 = 1;

/// Measures of the counters; then `reached` and `ordered` of each step.
const SESSIONS: usize = 0;
const CARTS: usize = 1;
const CARTS_ABANDONED: usize = 2;
const CAPPED: usize = 3;
const FIRST_STEP: usize = 4;

/// What one session adds to the view, but for the category of its first product. Kept of every session: 20 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contribution {
    day: i32,
    /// Local numbers; 0 is none.
    pub first_product: u32,
    referrer: u32,
    device: u32,
    reached: Steps,
    ordered: Steps,
    /// Bits that are set where it has a cart, has sold, is capped.
    marks: u8,
    duration: MaybeBucket,
}

const CART: u8 = 1;
const SOLD: u8 = 2;
const CAPPED_MARK: u8 = 4;

/// A duration's bucket or none, in two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct MaybeBucket(u16);

impl MaybeBucket {
    const NONE: u16 = u16::MAX;

    fn of(bucket: Option<u16>) -> MaybeBucket {
        debug_assert!(bucket != Some(Self::NONE), "no duration is that long");
        MaybeBucket(bucket.unwrap_or(Self::NONE))
    }

    fn get(self) -> Option<u16> {
        (self.0 != Self::NONE).then_some(self.0)
    }
}

fn marks(cart: bool, sold: bool, capped: bool) -> u8 {
    [(cart, CART), (sold, SOLD), (capped, CAPPED_MARK)].iter().filter(|(holds, _)| *holds).map(|(_, bit)| bit).sum()
}

impl Contribution {
    /// With names in place of local numbers.
    pub fn settled(&self, locals: &LocalNames) -> Settled {
        Settled {
            day: self.day,
            first_product: locals.name(self.first_product),
            referrer: locals.name(self.referrer),
            device: locals.name(self.device),
            reached: self.reached,
            ordered: self.ordered,
            cart: self.has(CART),
            sold: self.has(SOLD),
            capped: self.has(CAPPED_MARK),
            duration_bucket: self.duration.get(),
        }
    }

    /// The inverse of [`Contribution::settled`].
    pub fn restored(settled: &Settled, locals: &mut LocalNames) -> Contribution {
        Contribution {
            day: settled.day,
            first_product: locals.number(settled.first_product),
            referrer: locals.number(settled.referrer),
            device: locals.number(settled.device),
            reached: settled.reached,
            ordered: settled.ordered,
            marks: marks(settled.cart, settled.sold, settled.capped),
            duration: MaybeBucket::of(settled.duration_bucket),
        }
    }

    fn has(&self, mark: u8) -> bool {
        self.marks & mark != 0
    }

    /// Whether both count in the same rows, the categories of products being what they are.
    pub fn same_group(&self, other: &Contribution) -> bool {
        let group = |it: &Contribution| (it.day, it.first_product, it.referrer, it.device);
        group(self) == group(other)
    }
}

/// The first of the names met in order of time, of several at one instant the smallest text.
#[derive(Default)]
struct First {
    number: u32,
    time: i64,
}

impl First {
    #[inline]
    fn see(&mut self, time: i64, number: u32, locals: &LocalNames) {
        let earlier = self.number == 0 || time == self.time && locals.order(number, self.number).is_lt();
        if number != 0 && earlier {
            *self = First { number, time };
        }
    }
}

/// From sessions to rows.
pub struct FunnelKeys {
    order: StepOrder,
    steps: usize,
    max_events: usize,
    /// The steps that each act matches.
    masks: [Steps; Act::ALL.len()],
    shared: Shared,
}

impl FunnelKeys {
    pub fn new(shared: &Shared) -> FunnelKeys {
        let plan = &shared.context.funnel;
        FunnelKeys {
            order: StepOrder::new(plan),
            steps: plan.steps.len(),
            max_events: plan.max_events,
            masks: Act::ALL.map(|act| steps_of(plan, act)),
            shared: shared.clone(),
        }
    }

    /// Pure in the events. `events` are in order of (time, tie) and not empty.
    pub fn contribution(
        &self,
        events: &[SessionEvent],
        origins: &[(u32, u32)],
        locals: &LocalNames,
        buckets: &mut Buckets,
    ) -> Contribution {
        let counted = &events[..events.len().min(self.max_events)];
        let progress = self.order.progress(counted, |event| (event.time, self.masks[event.act() as usize]));
        let mut acts = 0_u32;
        let (mut product, mut referrer, mut device) = (First::default(), First::default(), First::default());
        for event in counted {
            let act = event.act();
            acts |= 1 << act as u32;
            if act.is_page_view() {
                let (of_referrer, of_device) = origins[event.origin() as usize];
                referrer.see(event.time, of_referrer, locals);
                device.see(event.time, of_device, locals);
                if act == Act::ProductDetail {
                    product.see(event.time, event.product, locals);
                }
            }
        }
        let has = |act: Act| acts & 1 << act as u32 != 0;
        Contribution {
            day: buckets.of(counted[0].time).day as i32,
            first_product: product.number,
            referrer: referrer.number,
            device: device.number,
            reached: progress.reached,
            ordered: progress.ordered,
            marks: marks(has(Act::AddToCart), has(Act::Sold), events.len() > counted.len()),
            duration: MaybeBucket::of(progress.duration.map(buckets::bucket_of)),
        }
    }

    /// Adds a contribution `sign` times, its first product being in `category`.
    pub fn emit(&self, session: &Contribution, category: Name, locals: &LocalNames, sign: i64, out: &mut Netting) {
        let group = self.group(session, category, locals);
        let measures = self.measures(session).map(|measure| sign * measure);
        out.add_slice(Key::new(COUNTERS, group), &measures[..FIRST_STEP + 2 * self.steps]);
        Self::emit_duration(session, group, sign, out);
    }

    /// Adds `now` less `before`, which are of one group: one change where two would mostly cancel.
    pub fn emit_difference(
        &self,
        before: &Contribution,
        now: &Contribution,
        category: Name,
        locals: &LocalNames,
        out: &mut Netting,
    ) {
        let group = self.group(now, category, locals);
        let (old, mut measures) = (self.measures(before), self.measures(now));
        measures.iter_mut().zip(old).for_each(|(measure, old)| *measure -= old);
        if measures.iter().any(|&measure| measure != 0) {
            out.add_slice(Key::new(COUNTERS, group), &measures[..FIRST_STEP + 2 * self.steps]);
        }
        if before.duration != now.duration {
            Self::emit_duration(before, group, -1, out);
            Self::emit_duration(now, group, 1, out);
        }
    }

    fn group(&self, session: &Contribution, category: Name, locals: &LocalNames) -> [u64; 4] {
        let shown = |number: u32| self.shared.shown(locals.name(number)).0;
        [session.day as i64 as u64, category.0, shown(session.referrer), shown(session.device)]
    }

    fn measures(&self, session: &Contribution) -> [i64; FIRST_STEP + 2 * MAX_FUNNEL_STEPS] {
        let mut measures = [0; FIRST_STEP + 2 * MAX_FUNNEL_STEPS];
        measures[SESSIONS] = 1;
        measures[CARTS] = i64::from(session.has(CART));
        measures[CARTS_ABANDONED] = i64::from(session.has(CART) && !session.has(SOLD));
        measures[CAPPED] = i64::from(session.has(CAPPED_MARK));
        for step in 0..self.steps {
            measures[FIRST_STEP + step] = i64::from(session.reached >> step & 1);
            measures[FIRST_STEP + self.steps + step] = i64::from(session.ordered >> step & 1);
        }
        measures
    }

    fn emit_duration(
        session: &Contribution,
        [day, category, referrer, device]: [u64; 4],
        sign: i64,
        out: &mut Netting,
    ) {
        if let Some(bucket) = session.duration.get() {
            out.add(Key::new(DURATIONS, [day, category, referrer, device, u64::from(bucket)]), 0, sign);
        }
    }
}

fn steps_of(plan: &FunnelPlan, act: Act) -> Steps {
    let page = match act {
        Act::Home => Some(Page::Home),
        Act::Category => Some(Page::Category),
        Act::ProductDetail => Some(Page::ProductDetail),
        Act::Cart => Some(Page::Cart),
        Act::Checkout => Some(Page::Checkout),
        Act::Search => Some(Page::Search),
        Act::Other => Some(Page::Other),
        Act::AddToCart | Act::RemoveFromCart | Act::CheckoutStarted | Act::Sold | Act::Returned => None,
    };
    let kind = match act {
        Act::AddToCart => Some(Kind::AddToCart),
        Act::RemoveFromCart => Some(Kind::RemoveFromCart),
        Act::CheckoutStarted => Some(Kind::CheckoutStarted),
        Act::Sold => Some(Kind::Purchase),
        Act::Returned => None,
        Act::Home | Act::Category | Act::ProductDetail | Act::Cart | Act::Checkout | Act::Search | Act::Other => {
            Some(Kind::PageView)
        }
    };
    let matches = |matcher: &Matcher| match matcher {
        Matcher::Kind(wanted) => kind == Some(*wanted),
        Matcher::Page(wanted) => page == Some(*wanted),
    };
    plan.steps
        .iter()
        .enumerate()
        .filter(|(_, step)| step.matchers.iter().any(matches))
        .fold(0, |mask, (k, _)| mask | 1 << k)
}

/// The view.
pub struct Funnel {
    definition: Definition,
}

impl Funnel {
    pub fn new(context: &ViewContext) -> Funnel {
        let steps: Vec<&str> = context.funnel.steps.iter().map(|step| step.name.as_str()).collect();
        let mut measures = ["sessions", "carts", "carts_abandoned", "capped_sessions"].map(Measure::count).to_vec();
        for prefix in ["reached", "ordered"] {
            measures.extend(steps.iter().map(|step| Measure::count(&format!("{prefix}_{step}"))));
        }
        let groups = vec![Part::Day, Part::Name("category"), Part::Name("referrer"), Part::Name("device")];
        let mut with_bucket = groups.clone();
        with_bucket.push(Part::Count("duration_bucket"));
        Funnel {
            definition: Definition {
                name: "funnel",
                version: 2,
                question: "How far do visits come, from a view to a purchase, and how long does it take?",
                by_default: true,
                always: false,
                uses: Uses { visits: true, ..Uses::NOTHING },
                groups: ["day", "month", "category", "referrer", "device"].map(String::from).to_vec(),
                values: answer::value_columns(&steps),
                schema: ViewSchema {
                    tables: vec![TableSchema::new("counters", groups), TableSchema::new("durations", with_bucket)],
                    measures,
                },
            },
        }
    }
}

impl View for Funnel {
    fn definition(&self) -> &Definition {
        &self.definition
    }

    fn depends_on(&self, context: &ViewContext) -> Vec<(&'static str, String)> {
        let FunnelPlan { unit, steps, window_micros, max_events } = &context.funnel;
        let window = crate::settings::span_text(*window_micros);
        let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
        vec![
            context.time_zone(),
            context.session_gap(),
            ("views.funnel.unit", unit.as_str().to_owned()),
            ("views.funnel.steps", steps.join(", ")),
            ("views.funnel.window", window),
            ("views.funnel.max_events_per_session", max_events.to_string()),
        ]
    }

    fn render<'s>(&self, facts: &Facts<'s>, _shared: &Shared) -> Rows<'s> {
        facts.visits.clone()
    }

    fn answer(&self, rows: &dyn RowSet, context: &AnswerContext, query: &Query) -> Result<Table, QueryError> {
        answer::answer(&self.definition.values, rows, context, query)
    }

    fn verified_by(&self) -> Vec<Vec<&str>> {
        vec![vec!["day", "category", "referrer", "device"], vec!["day"]]
    }

    fn oracle(&self, context: &ViewContext, observed: &[Observed], query: &Query) -> Result<Table, QueryError> {
        oracle::funnel::answer(context, observed, query)
    }
}
