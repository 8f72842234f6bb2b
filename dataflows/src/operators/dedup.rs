//! Deduplication: one record per `event_id`, and a verdict for every other.
//!
//! ```text
//! decoded events ──▶ [claim] ── claims, by id ──▶ [deduplicate] ── what lost, by reader ──▶ [accept]
//!                       └────────────── events stay with their reader ────────────────────────┘
//! ```
//!
//! What travels is a *claim* of 32 bytes, not the event. Of several records with one id in one epoch the smallest
//! [`Place`] wins; an id of an earlier epoch has won already. Losers with equal content are duplicates, the others
//! conflicts. A remembered id takes 16 bytes: 96 bits of its hash (two of 10⁹ ids collide with probability 6·10⁻¹²) and
//! 32 bits of its content's (a conflict is taken for a duplicate with probability 2⁻³²).

use crate::context::Shared;
use crate::operators::epochs::{Capabilities, Stash, next_closed, open_epoch};
use crate::operators::scatter::scatter;
use crate::operators::tables::{IdHead, IdTable};
use millrace_schema::{Event, Place};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// Why a valid record is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    Duplicate,
    Conflict,
}

/// What a reader says of an event to the worker that owns its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    id: IdHead,
    content: u32,
    place: Place,
    /// The worker that read it.
    reader: u32,
    /// Its number among the events that the reader has read of the epoch.
    number: u32,
}

impl Claim {
    pub fn new(event: &Event, reader: u32, number: u32) -> Claim {
        Claim { id: IdHead::of(event.id), content: event.content, place: event.place, reader, number }
    }

    /// Bits of the id by which no table places it.
    fn route(&self) -> u64 {
        u64::from(self.id.0[2] >> 8)
    }
}

/// An event that was not accepted, told to its reader. Ordered by reader, then number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lost {
    reader: u32,
    pub number: u32,
    pub verdict: Verdict,
}

impl Lost {
    pub fn route(&self) -> u64 {
        u64::from(self.reader)
    }
}

/// Ids that have been seen.
///
/// The claims of an epoch are entered as they arrive, while they are in the cache; what lost is known at its close.
#[derive(Debug, Default)]
pub struct Seen {
    /// With the head of their content's hash.
    ids: IdTable,
    /// How many batches of the epoch have been entered.
    batches: usize,
    /// Ids met again in the epoch, with how often and the content they had. Most epochs have few.
    again: FxHashMap<IdHead, (usize, u32)>,
}

/// How many claims' slots are asked for at once.
const AT_ONCE: usize = 64;

impl Seen {
    /// Says how many ids there may come to be, so that the table need not guess.
    pub fn expect(&mut self, ids: usize) {
        self.ids.expect(ids);
    }

    /// Enters those of an epoch's batches that have not been entered yet. Every epoch before it is settled.
    pub fn enter(&mut self, batches: &[Vec<Claim>]) {
        for claims in batches[self.batches..].iter().flat_map(|batch| batch.chunks(AT_ONCE)) {
            claims.iter().for_each(|claim| self.ids.prefetch(claim.id));
            for claim in claims {
                if let Some(content) = self.ids.enter(claim.id, claim.content) {
                    self.again.entry(claim.id).or_insert((0, content)).0 += 1;
                }
            }
        }
        self.batches = batches.len();
    }

    /// Decides an epoch, all of whose batches have been entered. Returns what lost, in order.
    pub fn settle(&mut self, batches: &[Vec<Claim>]) -> Vec<Lost> {
        debug_assert_eq!(self.batches, batches.len(), "all batches have been entered");
        let mut lost = Vec::new();
        for (id, mut copies) in self.copies(batches) {
            copies.sort_unstable_by_key(|claim| claim.place);
            let (times_again, known_content) = self.again[&id];
            let known_before = times_again == copies.len();
            let (content, losers) = if known_before {
                (known_content, &copies[..])
            } else {
                let winner = copies[0].content;
                self.ids.set(id, winner);
                (winner, &copies[1..])
            };
            lost.extend(losers.iter().map(|claim| {
                let verdict = if claim.content == content { Verdict::Duplicate } else { Verdict::Conflict };
                Lost { reader: claim.reader, number: claim.number, verdict }
            }));
        }
        lost.sort_unstable();
        self.batches = 0;
        self.again.clear();
        lost
    }

    /// The epoch's claims of the ids that were met again.
    fn copies(&self, batches: &[Vec<Claim>]) -> FxHashMap<IdHead, Vec<Claim>> {
        let mut copies: FxHashMap<IdHead, Vec<Claim>> = FxHashMap::default();
        if self.again.is_empty() {
            return copies;
        }
        // One bit for each id that is wanted: most claims are passed over by a look at it.
        const BITS: usize = 1 << 16;
        let mut wanted = vec![0_u64; BITS / 64];
        let bit = |id: IdHead| (id.first_bits() as usize % BITS / 64, id.first_bits() % 64);
        for &id in self.again.keys() {
            let (word, bit) = bit(id);
            wanted[word] |= 1 << bit;
        }
        for claim in batches.iter().flatten() {
            let (word, bit) = bit(claim.id);
            if wanted[word] >> bit & 1 != 0 && self.again.contains_key(&claim.id) {
                copies.entry(claim.id).or_default().push(*claim);
            }
        }
        copies
    }
}

/// Makes a claim for every event, and passes the events on.
pub fn claim<'s>(events: StreamVec<'s, u64, Event>) -> (StreamVec<'s, u64, Event>, StreamVec<'s, u64, Claim>) {
    let reader = u32::try_from(events.scope().index()).expect("there are fewer than 2^32 workers");
    let mut builder = OperatorBuilder::new("Claim".to_owned(), events.scope());
    let mut input = builder.new_input(events, Pipeline);
    let (event_output, events) = builder.new_output();
    let (claim_output, claims) = builder.new_output();
    let mut event_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Event>>>::from(event_output);
    let mut claim_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Claim>>>::from(claim_output);
    builder.build(move |_| {
        // The open epochs, and how many events have been read of each: a reader reads one after the other.
        let mut epoch = 0;
        let mut number = 0;
        move |_| {
            let (mut event_output, mut claim_output) = (event_output.activate(), claim_output.activate());
            input.for_each(|capability, data| {
                let now = *capability.least().expect("a message has a time");
                if now != epoch {
                    (epoch, number) = (now, 0);
                }
                let numbers = number..;
                number += data.len() as u32;
                let claims = data.iter().zip(numbers).map(|(event, number)| Claim::new(event, reader, number));
                claim_output.session(&capability).give_iterator(claims);
                event_output.session(&capability).give_container(data);
            });
        }
    });
    (events, claims)
}

/// Builds the operator. Every id is handled by one worker.
pub fn deduplicate<'s>(claims: StreamVec<'s, u64, Claim>, shared: &Shared) -> StreamVec<'s, u64, Lost> {
    let peers = claims.scope().peers();
    let mut builder = OperatorBuilder::new("Deduplicate".to_owned(), claims.scope());
    let mut input = builder.new_input(claims, scatter(Claim::route));
    let (output, lost) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Lost>>>::from(output);
    let expected = shared.expected.clone();

    builder.build(move |capabilities| {
        let mut capabilities = Capabilities::new(capabilities);
        let mut stash = Stash::default();
        let mut seen = Seen::default();
        move |frontiers| {
            stash.fill(&mut input);
            let open = open_epoch(frontiers);
            while let Some(epoch) = next_closed([stash.first()], open) {
                let held = capabilities.at(epoch);
                let batches = stash.take(epoch);
                seen.enter(&batches);
                output.activate().session(&held[0]).give_iterator(seen.settle(&batches).into_iter());
            }
            seen.expect(expected.records() / peers);
            seen.enter(stash.waiting(open));
            capabilities.release(open);
        }
    });
    lost
}
