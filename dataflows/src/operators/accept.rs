//! Acceptance: an epoch's events wait with their reader until it is known which of them lost, and go their ways.
//!
//! ```text
//! events (of this reader) ─┐              ┌─▶ activities, by session and by user · order events · dimensions · sightings
//!                          ├─▶ [accept] ──┼─▶ events, as facts
//! what lost, by reader ────┘              └─▶ verdicts (to the reader that has the bytes) · accounts
//! ```

use crate::context::{Buckets, Shared};
use crate::durable::{Kept, Needed};
use crate::facts::{Account, FactChange, Tally};
use crate::operators::activity::Activity;
use crate::operators::dedup::{Lost, Verdict};
use crate::operators::epochs::{Capabilities, Stash, next_closed, open_epoch};
use crate::operators::scatter::scatter;
use crate::operators::users::Sighting;
use crate::receipts;
use millrace_schema::{Event, Kind, Place};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// The accepted events, as those who follow need them.
pub struct Accepted<'s> {
    /// What belongs to a session, with the session as owner.
    pub of_sessions: StreamVec<'s, u64, Activity>,
    /// The same with the user as owner, but for guests.
    pub of_users: StreamVec<'s, u64, Activity>,
    /// Purchases and refunds.
    pub order_events: StreamVec<'s, u64, Event>,
    /// Products, users, inventory.
    pub dimensions: StreamVec<'s, u64, Event>,
    pub sightings: StreamVec<'s, u64, Sighting>,
    /// On the worker that read them: the records that were not accepted.
    pub verdicts: StreamVec<'s, u64, (Place, Verdict)>,
    /// What takes back that readers counted records as accepted.
    pub accounts: StreamVec<'s, u64, FactChange<Account>>,
    /// The accepted events and dimension records, as facts: those that were restored too, and not those that are recalled.
    pub facts: StreamVec<'s, u64, FactChange<Event>>,
    /// The accepted events themselves.
    pub accepted: StreamVec<'s, u64, Event>,
}

/// Which streams somebody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub of_sessions: bool,
    pub of_users: bool,
    pub order_events: bool,
    pub sightings: bool,
    pub facts: bool,
    pub accepted: bool,
}

/// Builds the operator. What is `kept` was accepted before, and goes its ways once more, as far as it is needed.
pub fn accept<'s>(
    events: StreamVec<'s, u64, Event>,
    lost: StreamVec<'s, u64, Lost>,
    kept: Option<StreamVec<'s, u64, Kept>>,
    shared: &Shared,
    wanted: Wanted,
) -> Accepted<'s> {
    let mut builder = OperatorBuilder::new("Accept".to_owned(), events.scope());
    let mut events = builder.new_input(events, Pipeline);
    let mut lost = builder.new_input(lost, scatter(Lost::route));
    let mut kept = kept.map(|kept| builder.new_input(kept, Pipeline));
    let (session_output, of_sessions) = builder.new_output();
    let (user_output, of_users) = builder.new_output();
    let (order_output, order_events) = builder.new_output();
    let (dimension_output, dimensions) = builder.new_output();
    let (sighting_output, sightings) = builder.new_output();
    let (verdict_output, verdicts) = builder.new_output();
    let (account_output, accounts) = builder.new_output();
    let (accepted_output, accepted) = builder.new_output();
    let (fact_output, facts) = builder.new_output();
    type Builder<D> = CapacityContainerBuilder<Vec<D>>;
    let mut session_output = OutputBuilder::<_, Builder<Activity>>::from(session_output);
    let mut user_output = OutputBuilder::<_, Builder<Activity>>::from(user_output);
    let mut order_output = OutputBuilder::<_, Builder<Event>>::from(order_output);
    let mut dimension_output = OutputBuilder::<_, Builder<Event>>::from(dimension_output);
    let mut sighting_output = OutputBuilder::<_, Builder<Sighting>>::from(sighting_output);
    let mut verdict_output = OutputBuilder::<_, Builder<(Place, Verdict)>>::from(verdict_output);
    let mut account_output = OutputBuilder::<_, Builder<FactChange<Account>>>::from(account_output);
    let mut accepted_output = OutputBuilder::<_, Builder<Event>>::from(accepted_output);
    let mut fact_output = OutputBuilder::<_, Builder<FactChange<Event>>>::from(fact_output);
    let shared = shared.clone();
    let mut buckets = Buckets::new(shared.context.calendar.clone());

    builder.build(move |capabilities| {
        let mut capabilities = Capabilities::new(capabilities);
        let (mut waiting, mut waiting_lost) = (Stash::default(), Stash::default());
        let mut waiting_kept = Stash::default();
        move |frontiers| {
            waiting.fill(&mut events);
            waiting_lost.fill(&mut lost);
            kept.iter_mut().for_each(|input| waiting_kept.fill(input));
            let open = open_epoch(frontiers);
            while let Some(epoch) = next_closed([waiting.first(), waiting_lost.first(), waiting_kept.first()], open) {
                let held = capabilities.at(epoch);
                let mut lost: Vec<Lost> = waiting_lost.take(epoch).into_iter().flatten().collect();
                lost.sort_unstable();
                let mut lost = lost.into_iter().peekable();
                let mut taken_back = Tally::default();

                let (mut of_sessions, mut of_users) = (session_output.activate(), user_output.activate());
                let (mut of_sessions, mut of_users) = (of_sessions.session(&held[0]), of_users.session(&held[1]));
                let (mut orders, mut dimensions) = (order_output.activate(), dimension_output.activate());
                let (mut orders, mut dimensions) = (orders.session(&held[2]), dimensions.session(&held[3]));
                let (mut sightings, mut verdicts) = (sighting_output.activate(), verdict_output.activate());
                let (mut sightings, mut verdicts) = (sightings.session(&held[4]), verdicts.session(&held[5]));
                let mut accepted = accepted_output.activate();
                let mut accepted = accepted.session(&held[7]);
                let mut facts = fact_output.activate();
                let mut facts = facts.session(&held[8]);
                let mut send = |event: &Event, needed: Needed, activities: &mut Vec<Activity>| {
                    let kind = event.kind();
                    if wanted.facts && !needed.holds(Needed::RECALLED) {
                        facts.give((*event, epoch, 1));
                    }
                    if kind.is_dimension() {
                        if needed.holds(Needed::DIMENSION) {
                            dimensions.give(*event);
                        }
                    } else if wanted.order_events
                        && matches!(kind, Kind::Purchase | Kind::Refund)
                        && needed.holds(Needed::ORDER)
                    {
                        orders.give(*event);
                    }
                    if wanted.of_sessions && needed.holds(Needed::SESSION) {
                        let activity = Activity::of(event, event.session);
                        activities.extend(activity.map(|activity| activity.standing(needed)));
                    }
                    if wanted.of_users
                        && needed.holds(Needed::SESSION)
                        // What users have done is never forgotten.
                        && !needed.holds(Needed::RECALLED)
                        && let Some(activity) = Activity::of(event, event.user)
                    {
                        of_users.give(activity);
                    }
                    if wanted.sightings
                        && needed.holds(Needed::USER)
                        && let Some(sighting) = Sighting::of(event)
                    {
                        sightings.give(if needed.holds(Needed::RECALLED) { sighting.again() } else { sighting });
                    }
                };
                let mut number = 0;
                for mut batch in waiting.take(epoch) {
                    let mut activities = Vec::with_capacity(if wanted.of_sessions { batch.len() } else { 0 });
                    let mut refused = 0;
                    for index in 0..batch.len() {
                        let event = &batch[index];
                        let lost = lost.next_if(|lost| lost.number() == number);
                        number += 1;
                        if let Some(Lost { verdict, .. }) = lost {
                            receipts::lost(event, verdict, &shared, &mut buckets, &mut taken_back);
                            verdicts.give((event.place, verdict));
                            refused += 1;
                            continue;
                        }
                        send(event, Needed::ALL, &mut activities);
                        if refused > 0 && wanted.accepted {
                            batch[index - refused] = batch[index];
                        }
                    }
                    of_sessions.give_container(&mut activities);
                    if wanted.accepted {
                        batch.truncate(batch.len() - refused);
                        accepted.give_container(&mut batch);
                    }
                }
                for batch in waiting_kept.take(epoch) {
                    let mut activities = Vec::with_capacity(if wanted.of_sessions { batch.len() } else { 0 });
                    batch.iter().for_each(|kept| send(&kept.event, kept.needed, &mut activities));
                    of_sessions.give_container(&mut activities);
                }
                debug_assert!(lost.peek().is_none(), "what lost is an event of this reader and epoch");
                account_output.activate().session(&held[6]).give_iterator(taken_back.drain(epoch));
            }
            capabilities.release(open);
        }
    });
    Accepted { of_sessions, of_users, order_events, dimensions, sightings, verdicts, accounts, facts, accepted }
}
