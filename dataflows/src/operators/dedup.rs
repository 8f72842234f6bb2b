//! Deduplication: one record per `event_id`, and a verdict for every other.
//!
//! ```text
//! decoded events ──by id──▶ [deduplicate] ──▶ session events · order events · dimension versions   (each once)
//!                                        └──▶ verdicts: (place, duplicate | conflict), to the reader that has the bytes
//! ```
//!
//! Of several records with one id in one epoch the smallest [`Place`] wins; an id of an earlier epoch has won already.
//! Losers with equal content are duplicates, the others conflicts. A remembered id takes 16 bytes: 96 bits of its hash
//! (two of 10⁹ ids collide with probability 6·10⁻¹²) and 32 bits of its content's (a conflict is taken for a duplicate
//! with probability 2⁻³²).

use crate::context::{Buckets, Shared};
use crate::operators::epochs::{Capabilities, Stash, next_closed, open_epoch};
use crate::operators::tables::{IdHead, IdTable};
use crate::receipts;
use crate::rows::{Change, Netting};
use millrace_schema::{Body, Event, Place};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Broadcast;

/// Why a valid record is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    Duplicate,
    Conflict,
}

/// The deduplicated streams.
pub struct Deduplicated<'s> {
    /// Everything accepted but refunds and dimension records.
    pub session_events: StreamVec<'s, u64, Event>,
    /// Purchases and refunds.
    pub order_events: StreamVec<'s, u64, Event>,
    /// Products, users, inventory.
    pub dimensions: StreamVec<'s, u64, Event>,
    /// On every worker: the records that were not accepted.
    pub verdicts: StreamVec<'s, u64, (Place, Verdict)>,
    /// Rows of `quality` that take back what readers counted as accepted.
    pub receipts: StreamVec<'s, u64, Change>,
}

/// Ids that have been seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// With the head of their content's hash.
    ids: IdTable,
}

fn head(event: &Event) -> IdHead {
    IdHead::of(event.id)
}

/// How many events ahead a slot is asked for.
const AHEAD: usize = 24;

impl Seen {
    /// Decides an epoch. Returns the verdicts, by place.
    pub fn decide(&mut self, batches: &[Vec<Event>]) -> Vec<(Place, Verdict)> {
        // Ids met again, with how often and the content they had. Most epochs have few.
        let mut again: FxHashMap<IdHead, (usize, u32)> = FxHashMap::default();
        let mut ahead = batches.iter().flatten();
        ahead.by_ref().take(AHEAD).for_each(|event| self.ids.prefetch(head(event)));
        for event in batches.iter().flatten() {
            if let Some(later) = ahead.next() {
                self.ids.prefetch(head(later));
            }
            if let Some(content) = self.ids.enter(head(event), event.content) {
                again.entry(head(event)).or_insert((0, content)).0 += 1;
            }
        }
        if again.is_empty() {
            return Vec::new();
        }
        let mut copies: FxHashMap<IdHead, Vec<&Event>> = FxHashMap::default();
        for event in batches.iter().flatten() {
            let id = head(event);
            if again.contains_key(&id) {
                copies.entry(id).or_default().push(event);
            }
        }
        let mut verdicts = Vec::new();
        for (id, mut events) in copies {
            events.sort_unstable_by_key(|event| event.place);
            let (times_again, known_content) = again[&id];
            let known_before = times_again == events.len();
            let (content, losers) = if known_before {
                (known_content, &events[..])
            } else {
                self.ids.set(id, events[0].content);
                (events[0].content, &events[1..])
            };
            verdicts.extend(losers.iter().map(|event| {
                let same = event.content == content;
                (event.place, if same { Verdict::Duplicate } else { Verdict::Conflict })
            }));
        }
        verdicts.sort_unstable();
        verdicts
    }
}

/// Builds the operator. Every id is handled by one worker.
pub fn deduplicate<'s>(events: StreamVec<'s, u64, Event>, shared: &Shared) -> Deduplicated<'s> {
    let mut builder = OperatorBuilder::new("Deduplicate".to_owned(), events.scope());
    let mut input = builder.new_input(events, Exchange::new(|event: &Event| event.id.low));
    let (session_output, session_events) = builder.new_output();
    let (order_output, order_events) = builder.new_output();
    let (dimension_output, dimensions) = builder.new_output();
    let (verdict_output, verdicts) = builder.new_output();
    let (receipt_output, receipts) = builder.new_output();
    type Builder<D> = CapacityContainerBuilder<Vec<D>>;
    let mut session_output = OutputBuilder::<_, Builder<Event>>::from(session_output);
    let mut order_output = OutputBuilder::<_, Builder<Event>>::from(order_output);
    let mut dimension_output = OutputBuilder::<_, Builder<Event>>::from(dimension_output);
    let mut verdict_output = OutputBuilder::<_, Builder<(Place, Verdict)>>::from(verdict_output);
    let mut receipt_output = OutputBuilder::<_, Builder<Change>>::from(receipt_output);
    let shared = shared.clone();
    let mut buckets = Buckets::new(shared.context.calendar.clone());

    builder.build(move |capabilities| {
        let mut capabilities = Capabilities::new(capabilities);
        let mut stash = Stash::default();
        let mut seen = Seen::default();
        move |frontiers| {
            stash.fill(&mut input);
            let open = open_epoch(frontiers);
            while let Some(epoch) = next_closed([stash.first()], open) {
                let held = capabilities.at(epoch);
                let mut batches = stash.take(epoch);
                let verdicts = seen.decide(&batches);
                if !verdicts.is_empty() {
                    let lost: FxHashMap<Place, Verdict> = verdicts.iter().copied().collect();
                    let mut taken_back = Netting::default();
                    let mut keep = |event: &Event| match lost.get(&event.place) {
                        None => true,
                        Some(&verdict) => {
                            receipts::lost(event, verdict, &shared, &mut buckets, &mut taken_back);
                            false
                        }
                    };
                    batches.iter_mut().for_each(|batch| batch.retain(&mut keep));
                    receipt_output.activate().session(&held[4]).give_iterator(taken_back.drain(epoch));
                }
                let mut sessions = session_output.activate();
                let mut sessions = sessions.session(&held[0]);
                let mut orders = order_output.activate();
                let mut orders = orders.session(&held[1]);
                let mut dimensions = dimension_output.activate();
                let mut dimensions = dimensions.session(&held[2]);
                for mut batch in batches {
                    let mut others = false;
                    for event in &batch {
                        match event.body {
                            Body::Purchase { .. } => orders.give(*event),
                            Body::Refund { .. } => {
                                orders.give(*event);
                                others = true;
                            }
                            Body::Product { .. } | Body::User { .. } | Body::Inventory { .. } => {
                                dimensions.give(*event);
                                others = true;
                            }
                            _ => {}
                        }
                    }
                    if others {
                        batch.retain(in_session);
                    }
                    if !batch.is_empty() {
                        sessions.give_container(&mut batch);
                    }
                }
                let mut output = verdict_output.activate();
                output.session(&held[3]).give_iterator(verdicts.into_iter());
            }
            capabilities.release(open);
        }
    });
    Deduplicated { session_events, order_events, dimensions, verdicts: verdicts.broadcast(), receipts }
}

fn in_session(event: &Event) -> bool {
    !matches!(event.body, Body::Refund { .. } | Body::Product { .. } | Body::User { .. } | Body::Inventory { .. })
}
