//! Deduplication: one record per `event_id`, and a verdict for every other.
//!
//! ```text
//! decoded events ──▶ [claim] ── claims, by id ──▶ [deduplicate] ── what lost, by reader ──▶ [accept]
//!                       └────────────── events stay with their reader ────────────────────────┘
//! ```
//!
//! What travels is a *claim* of 32 bytes, not the event. Of several records with one id in one epoch the smallest
//! [`Place`] wins; an id of an earlier epoch has won already. Losers with equal content are duplicates, the others
//! conflicts. A remembered id takes 16 bytes: 94 bits of its hash (two of 10⁹ ids collide with probability 3·10⁻¹¹),
//! 32 bits of its content's (a conflict is taken for a duplicate with probability 2⁻³²), and its age. Where the content was
//! hashed by another version of the program, every further record of the id is a duplicate.
//!
//! Under a horizon, ids are forgotten once no event as old as theirs is merged any more, an eighth of the horizon at a
//! time and a part of the table an epoch.

use crate::context::{Keeps, Shared};
use crate::durable::{Kept, Needed};
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
use timely::dataflow::operators::vec::Map;

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
    /// Its event's time, counted in [`Ages`].
    period: u32,
    source: ReadAs,
}

/// The worker that read an event, and the event's number among what it read of the epoch, from high bits to low.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct ReadAs(u32);

impl ReadAs {
    const NUMBER_BITS: u32 = 22;

    /// Nobody waits for a verdict: it was accepted before.
    const BY_NOBODY: ReadAs = ReadAs(u32::MAX);

    fn new(reader: usize, number: u32) -> ReadAs {
        assert!(number < EPOCH_RECORDS_MAX, "an epoch has no more records");
        let reader = u32::try_from(reader).ok().filter(|reader| *reader < 1 << (u32::BITS - ReadAs::NUMBER_BITS));
        ReadAs(reader.expect("there are no more workers") << ReadAs::NUMBER_BITS | number)
    }
}

/// One more than the most records that one worker can read of one epoch.
pub const EPOCH_RECORDS_MAX: u32 = (1 << ReadAs::NUMBER_BITS) - 1;

impl Claim {
    pub fn new(event: &Event, ages: Ages, reader: usize, number: u32) -> Claim {
        Claim::of(event, ages, ReadAs::new(reader, number))
    }

    /// The claim of an event that was accepted before.
    fn again(event: &Event, ages: Ages) -> Claim {
        Claim::of(event, ages, ReadAs::BY_NOBODY)
    }

    fn of(event: &Event, ages: Ages, source: ReadAs) -> Claim {
        // Records of a dimension are remembered for ever: their number is bounded by what there is to describe.
        let period = if event.kind().is_dimension() { Ages::FOR_EVER } else { ages.period(event.time) };
        Claim { id: IdHead::of(event.id), content: event.content, place: event.place, period, source }
    }

    /// Bits of the id by which no table places it.
    fn route(&self) -> u64 {
        u64::from(self.id.0[2] >> 8)
    }
}

/// An event that was not accepted, told to its reader. Ordered by reader, then number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lost {
    source: ReadAs,
    pub verdict: Verdict,
}

impl Lost {
    pub fn number(&self) -> u32 {
        self.source.0 & EPOCH_RECORDS_MAX
    }

    pub fn route(&self) -> u64 {
        u64::from(self.source.0 >> ReadAs::NUMBER_BITS)
    }
}

/// Time in periods of an eighth of the horizon, of which ids keep a few bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    /// Microseconds; `None` without a horizon.
    period: Option<i64>,
}

impl Ages {
    const PERIODS: i64 = 8;
    /// So that every period has a number of 32 bits.
    const PERIOD_LEAST: i64 = 2_000_000;
    const FOR_EVER: u32 = u32::MAX;
    /// Periods are told apart modulo this many.
    const CYCLE: i64 = 128;
    /// An id so many periods ahead of the limit has no age of its own.
    const AHEAD: i64 = 100;
    /// Behind the limit by so many periods, an id can still be told from one that is ahead of it.
    const BEHIND: i64 = Ages::CYCLE - Ages::AHEAD;
    /// Two lots, so that one can come to an end while the other is being filled.
    const FAR: [u8; 2] = [u8::MAX, u8::MAX - 1];
    const KEPT: u8 = u8::MAX - 2;

    pub fn new(horizon: Option<i64>) -> Ages {
        Ages { period: horizon.map(|horizon| (horizon / Ages::PERIODS).max(Ages::PERIOD_LEAST)) }
    }

    fn period(self, time: i64) -> u32 {
        self.period.map_or(0, |period| u32::try_from(time / period).expect("times lie between 1970 and 2199"))
    }
}

/// Ids that have been seen.
///
/// The claims of an epoch are entered as they arrive, while they are in the cache; what lost is known at its close.
#[derive(Debug)]
pub struct Seen {
    ages: Ages,
    /// The first period that is not forgotten.
    first_period: i64,
    /// No id that has an age is of an earlier period.
    swept_to: i64,
    /// No id that has an age is of a later period.
    latest: i64,
    /// By lot: no id that is far ahead is of a later period.
    far_end: [i64; 2],
    /// The lot that is being filled.
    far: usize,
    /// What is being swept to, and the shards that are still to be swept.
    sweeping_to: i64,
    to_sweep: usize,
    /// Claims since the last sweep.
    entered: usize,
    /// With the head of their content's hash.
    ids: IdTable,
    /// How many batches of the epoch have been entered.
    batches: usize,
    /// Ids met again in the epoch, with how often and the content they had. Most epochs have few.
    again: FxHashMap<IdHead, (usize, u32)>,
}

/// How many claims' slots are asked for at once.
const AT_ONCE: usize = 64;

/// Shards that are swept in one epoch, at least.
const SWEPT_AT_ONCE: usize = 2;

impl Seen {
    pub fn new(horizon: Option<i64>) -> Seen {
        Seen {
            ages: Ages::new(horizon),
            first_period: 0,
            swept_to: 0,
            latest: i64::MIN,
            far_end: [i64::MIN; 2],
            far: 0,
            sweeping_to: 0,
            to_sweep: 0,
            entered: 0,
            ids: IdTable::default(),
            batches: 0,
            again: FxHashMap::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// No event before `limit` comes any more: forgets what only such could meet, some now and some later.
    pub fn forget(&mut self, limit: i64) {
        let Some(period) = self.ages.period else { return };
        self.first_period = self.first_period.max(limit.div_euclid(period));
        if self.first_period - self.swept_to > Ages::BEHIND {
            // Later, what is behind could not be told from what is ahead.
            self.sweep_all();
        } else if self.to_sweep == 0 && self.first_period > self.swept_to {
            (self.sweeping_to, self.to_sweep) = (self.first_period, IdTable::SHARDS);
        }
        // A large epoch sweeps more: all is swept before as many ids have come as there are.
        let share = IdTable::SHARDS * std::mem::take(&mut self.entered) / self.ids.len().max(1);
        let shards = self.to_sweep.min(SWEPT_AT_ONCE + share);
        if shards > 0 {
            self.sweep(shards, self.sweeping_to, false);
            self.to_sweep -= shards;
            if self.to_sweep == 0 {
                self.swept(self.sweeping_to);
            }
        }
    }

    fn sweep_all(&mut self) {
        while self.swept_to < self.first_period {
            let none_is_left = self.latest < self.first_period;
            let to = if none_is_left { self.first_period } else { self.first_period.min(self.swept_to + Ages::BEHIND) };
            self.sweep(IdTable::SHARDS, to, none_is_left);
            self.swept(to);
        }
        self.to_sweep = 0;
    }

    fn sweep(&mut self, shards: usize, to: i64, none_is_left: bool) {
        let far = self.far_end.map(|end| to <= end);
        for _ in 0..shards {
            self.ids.sweep(|_, age| match age {
                Ages::KEPT => true,
                age if age == Ages::FAR[0] => far[0],
                age if age == Ages::FAR[1] => far[1],
                age => !none_is_left && (i64::from(age) - to).rem_euclid(Ages::CYCLE) < Ages::AHEAD,
            });
        }
    }

    /// All shards have been swept.
    fn swept(&mut self, to: i64) {
        self.swept_to = to;
        let other = 1 - self.far;
        if to > self.far_end[other] {
            self.far = other;
        }
    }

    fn age(&mut self, period: u32) -> u8 {
        if period == Ages::FOR_EVER {
            return Ages::KEPT;
        }
        let period = i64::from(period);
        if (self.swept_to..self.swept_to + Ages::AHEAD).contains(&period) {
            self.latest = self.latest.max(period);
            return period.rem_euclid(Ages::CYCLE) as u8;
        }
        self.far_end[self.far] = self.far_end[self.far].max(period);
        Ages::FAR[self.far]
    }

    /// Says how many ids there may come to be, so that the table need not guess.
    pub fn expect(&mut self, ids: usize) {
        self.ids.expect(ids);
    }

    /// Enters those of an epoch's batches that have not been entered yet. Every epoch before it is settled.
    pub fn enter(&mut self, batches: &[Vec<Claim>]) {
        for claims in batches[self.batches..].iter().flat_map(|batch| batch.chunks(AT_ONCE)) {
            claims.iter().for_each(|claim| self.ids.prefetch(claim.id));
            for claim in claims {
                let age = self.age(claim.period);
                if let Some(content) = self.ids.enter(claim.id, claim.content, age) {
                    self.again.entry(claim.id).or_insert((0, content)).0 += 1;
                }
            }
        }
        self.entered += batches[self.batches..].iter().map(Vec::len).sum::<usize>();
        self.batches = batches.len();
    }

    /// Decides an epoch, all of whose batches have been entered. Returns what lost, in order.
    pub fn settle(&mut self, batches: &[Vec<Claim>]) -> Vec<Lost> {
        debug_assert_eq!(self.batches, batches.len(), "all batches have been entered");
        let mut lost = Vec::new();
        for (id, mut copies) in self.copies(batches) {
            // What was accepted before wins over what comes now.
            copies.sort_unstable_by_key(|claim| (claim.source != ReadAs::BY_NOBODY, claim.place));
            let (times_again, known_content) = self.again[&id];
            let known_before = times_again == copies.len();
            let (content, losers) = if known_before {
                (known_content, &copies[..])
            } else {
                let winner = copies[0];
                let age = self.age(winner.period);
                self.ids.set(id, winner.content, age);
                (winner.content, &copies[1..])
            };
            let losers = losers.iter().filter(|claim| claim.source != ReadAs::BY_NOBODY);
            lost.extend(losers.map(|claim| {
                let is_copy = Event::same_content(claim.content, content);
                Lost { source: claim.source, verdict: if is_copy { Verdict::Duplicate } else { Verdict::Conflict } }
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
pub fn claim<'s>(
    events: StreamVec<'s, u64, Event>,
    horizon: Option<i64>,
) -> (StreamVec<'s, u64, Event>, StreamVec<'s, u64, Claim>) {
    let reader = events.scope().index();
    let ages = Ages::new(horizon);
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
                let claims = data.iter().zip(numbers).map(|(event, number)| Claim::new(event, ages, reader, number));
                claim_output.session(&capability).give_iterator(claims);
                event_output.session(&capability).give_container(data);
            });
        }
    });
    (events, claims)
}

/// The claims of events that were accepted before. Nobody hears what becomes of them.
pub fn claim_again<'s>(kept: StreamVec<'s, u64, Kept>, horizon: Option<i64>) -> StreamVec<'s, u64, Claim> {
    let ages = Ages::new(horizon);
    kept.flat_map(move |kept| kept.needed.holds(Needed::ID).then(|| Claim::again(&kept.event, ages)))
}

/// Builds the operator. Every id is handled by one worker.
pub fn deduplicate<'s>(
    claims: StreamVec<'s, u64, Claim>,
    watermarks: Option<StreamVec<'s, u64, i64>>,
    shared: &Shared,
) -> StreamVec<'s, u64, Lost> {
    let peers = claims.scope().peers();
    let mut builder = OperatorBuilder::new("Deduplicate".to_owned(), claims.scope());
    let mut input = builder.new_input(claims, scatter(Claim::route));
    let mut watermarks = watermarks.map(|watermarks| builder.new_input(watermarks, Pipeline));
    let (output, lost) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Lost>>>::from(output);
    let Shared { expected, held: counts, context, .. } = shared.clone();
    let horizons = context.horizons;

    builder.build(move |capabilities| {
        let mut capabilities = Capabilities::new(capabilities);
        let (mut stash, mut waiting_watermarks) = (Stash::default(), Stash::default());
        let mut seen = Seen::new(horizons.deduplication);
        let mut counted = 0;
        move |frontiers| {
            stash.fill(&mut input);
            watermarks.iter_mut().for_each(|input| waiting_watermarks.fill(input));
            let open = open_epoch(frontiers);
            while let Some(epoch) = next_closed([stash.first(), waiting_watermarks.first()], open) {
                let held = capabilities.at(epoch);
                let batches = stash.take(epoch);
                seen.enter(&batches);
                output.activate().session(&held[0]).give_iterator(seen.settle(&batches).into_iter());
                if let Some(watermark) = waiting_watermarks.take(epoch).into_iter().flatten().max() {
                    seen.forget(horizons.deduplication_limit(watermark));
                }
                counts.set(Keeps::EventIds, &mut counted, seen.len());
            }
            seen.expect(expected.records() / peers);
            seen.enter(stash.waiting(open));
            capabilities.release(open);
        }
    });
    lost
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_schema::{Body, Id};

    fn event(content: u32, offset: u64) -> Event {
        Event {
            id: Id { high: 1, low: 2 },
            content,
            place: Place::new(0, offset),
            ..Event::empty(Body::CheckoutStarted)
        }
    }

    /// What becomes of two records of an id that was accepted before, with some content.
    fn verdicts(accepted: u32, contents: [u32; 2]) -> Vec<Verdict> {
        let ages = Ages::new(None);
        let mut seen = Seen::new(None);
        let before = vec![vec![Claim::again(&event(accepted, 0), ages)]];
        seen.enter(&before);
        assert!(seen.settle(&before).is_empty(), "nobody waits for it");
        let claims = contents.into_iter().zip(1_u32..);
        let claims = vec![claims.map(|(content, at)| Claim::new(&event(content, at.into()), ages, 0, at)).collect()];
        seen.enter(&claims);
        seen.settle(&claims).into_iter().map(|lost| lost.verdict).collect()
    }

    #[test]
    fn a_copy_of_what_another_version_has_hashed_is_no_conflict() {
        assert_eq!(verdicts(77, [77, 78]), [Verdict::Duplicate, Verdict::Conflict]);
        assert_eq!(verdicts(Event::OTHER_CONTENT, [77, 78]), [Verdict::Duplicate; 2]);
    }
}
