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
use crate::operators::scatter::scatter;
use crate::operators::tables::{IdHead, IdTable};
use crate::receipts;
use crate::rows::{Change, Netting};
use millrace_schema::{Event, Kind, Place};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
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
///
/// The events of an epoch are entered as they arrive, while they are in the cache; what lost is known at its close.
#[derive(Debug, Default)]
pub struct Seen {
    /// With the head of their content's hash.
    ids: IdTable,
    /// How many batches of the epoch have been entered.
    batches: usize,
    /// Ids met again in the epoch, with how often and the content they had. Most epochs have few.
    again: FxHashMap<IdHead, (usize, u32)>,
    /// Of the epoch's events in order, the first bits of their ids: what a search for copies looks through.
    heads: Vec<u32>,
    /// The epoch's events that do not only belong to a session.
    others: Vec<Position>,
}

/// Where in an epoch's batches an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Position {
    batch: u32,
    index: u32,
}

impl Position {
    fn of(self, batches: &[Vec<Event>]) -> &Event {
        &batches[self.batch as usize][self.index as usize]
    }
}

fn head(event: &Event) -> IdHead {
    IdHead::of(event.id)
}

/// How many events' slots are asked for at once.
const AT_ONCE: usize = 64;

impl Seen {
    /// Says how many ids there may come to be, so that the table need not guess.
    pub fn expect(&mut self, ids: usize) {
        self.ids.expect(ids);
    }

    /// Enters those of an epoch's batches that have not been entered yet. Every epoch before it is settled.
    pub fn enter(&mut self, batches: &[Vec<Event>]) {
        for batch in &batches[self.batches..] {
            let mut position = Position { batch: self.batches as u32, index: 0 };
            for events in batch.chunks(AT_ONCE) {
                events.iter().for_each(|event| self.ids.prefetch(head(event)));
                for event in events {
                    let id = head(event);
                    self.heads.push(id.first_bits());
                    if let Some(content) = self.ids.enter(id, event.content) {
                        self.again.entry(id).or_insert((0, content)).0 += 1;
                    }
                    if !only_in_session(event) {
                        self.others.push(position);
                    }
                    position.index += 1;
                }
            }
            self.batches += 1;
        }
    }

    /// Decides an epoch, all of whose batches have been entered. Returns what lost, by position.
    fn settle(&mut self, batches: &[Vec<Event>]) -> Vec<(Position, Verdict)> {
        debug_assert_eq!(self.batches, batches.len(), "all batches have been entered");
        let mut lost = Vec::new();
        for (id, mut copies) in self.copies(batches) {
            copies.sort_unstable_by_key(|position| position.of(batches).place);
            let (times_again, known_content) = self.again[&id];
            let known_before = times_again == copies.len();
            let (content, losers) = if known_before {
                (known_content, &copies[..])
            } else {
                let winner = copies[0].of(batches).content;
                self.ids.set(id, winner);
                (winner, &copies[1..])
            };
            lost.extend(losers.iter().map(|&position| {
                let same = position.of(batches).content == content;
                (position, if same { Verdict::Duplicate } else { Verdict::Conflict })
            }));
        }
        lost.sort_unstable_by_key(|&(position, _)| position);
        self.batches = 0;
        self.again.clear();
        self.heads.clear();
        lost
    }

    /// Where the epoch has the ids that were met again.
    fn copies(&self, batches: &[Vec<Event>]) -> FxHashMap<IdHead, Vec<Position>> {
        let mut copies: FxHashMap<IdHead, Vec<Position>> = FxHashMap::default();
        if self.again.is_empty() {
            return copies;
        }
        // One bit for each id that is wanted: most events are passed over by a look at it.
        const BITS: usize = 1 << 16;
        let mut wanted = vec![0_u64; BITS / 64];
        let bit = |head: u32| (head as usize % BITS / 64, head % 64);
        for id in self.again.keys() {
            let (word, bit) = bit(id.first_bits());
            wanted[word] |= 1 << bit;
        }
        let mut heads = self.heads.iter();
        for (batch, events) in batches.iter().enumerate() {
            for ((index, event), &first_bits) in events.iter().enumerate().zip(heads.by_ref()) {
                let (word, bit) = bit(first_bits);
                if wanted[word] >> bit & 1 != 0 && self.again.contains_key(&head(event)) {
                    let position = Position { batch: batch as u32, index: index as u32 };
                    copies.entry(head(event)).or_default().push(position);
                }
            }
        }
        copies
    }

    /// Decides a whole epoch. Returns the verdicts, by place.
    pub fn decide(&mut self, batches: &[Vec<Event>]) -> Vec<(Place, Verdict)> {
        self.enter(batches);
        self.others.clear();
        let lost = self.settle(batches);
        let mut verdicts: Vec<(Place, Verdict)> =
            lost.into_iter().map(|(position, verdict)| (position.of(batches).place, verdict)).collect();
        verdicts.sort_unstable();
        verdicts
    }
}

/// Builds the operator. Every id is handled by one worker.
pub fn deduplicate<'s>(events: StreamVec<'s, u64, Event>, shared: &Shared) -> Deduplicated<'s> {
    let peers = events.scope().peers();
    let mut builder = OperatorBuilder::new("Deduplicate".to_owned(), events.scope());
    let mut input = builder.new_input(events, scatter(|event: &Event| event.id.low));
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
                seen.enter(&batches);
                let lost = seen.settle(&batches);
                if !lost.is_empty() {
                    let mut taken_back = Netting::default();
                    for &(position, verdict) in &lost {
                        receipts::lost(position.of(&batches), verdict, &shared, &mut buckets, &mut taken_back);
                    }
                    receipt_output.activate().session(&held[4]).give_iterator(taken_back.drain(epoch));
                }
                let mut orders = order_output.activate();
                let mut orders = orders.session(&held[1]);
                let mut dimensions = dimension_output.activate();
                let mut dimensions = dimensions.session(&held[2]);
                let mut leaving: Vec<Position> = lost.iter().map(|&(position, _)| position).collect();
                for position in seen.others.drain(..) {
                    if lost.binary_search_by_key(&position, |&(position, _)| position).is_ok() {
                        continue;
                    }
                    let event = position.of(&batches);
                    if event.kind().is_dimension() {
                        dimensions.give(*event);
                    } else {
                        orders.give(*event);
                    }
                    if event.kind() != Kind::Purchase {
                        leaving.push(position);
                    }
                }
                let verdicts: Vec<(Place, Verdict)> =
                    lost.into_iter().map(|(position, verdict)| (position.of(&batches).place, verdict)).collect();
                // The last first: what takes a leaving event's place stays.
                leaving.sort_unstable_by(|a, b| b.cmp(a));
                for position in leaving {
                    batches[position.batch as usize].swap_remove(position.index as usize);
                }
                let mut sessions = session_output.activate();
                let mut sessions = sessions.session(&held[0]);
                for batch in batches.iter_mut().filter(|batch| !batch.is_empty()) {
                    sessions.give_container(batch);
                }
                let mut output = verdict_output.activate();
                output.session(&held[3]).give_iterator(verdicts.into_iter());
            }
            seen.expect(shared.expected.records() / peers);
            seen.enter(stash.waiting(open));
            capabilities.release(open);
        }
    });
    Deduplicated { session_events, order_events, dimensions, verdicts: verdicts.broadcast(), receipts }
}

fn only_in_session(event: &Event) -> bool {
    matches!(event.kind(), Kind::PageView | Kind::AddToCart | Kind::RemoveFromCart | Kind::CheckoutStarted)
}
