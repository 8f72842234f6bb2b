//! The whole dataflow of one worker: from decoded events to the rows of every enabled view.
//!
//! ```text
//! events ─▶ claims ─▶ dedup
//!    │                  │ what lost
//!    └──────▶ accept ◀──┘
//!               │     ┌─ activities ──────▶ sessions ─┐
//!               ├─────┤                               ├─▶ pairs ─┐
//!               │     ├─ order events ────▶ orders ───┤          ├─▶ Facts ─▶ views ─▶ rows
//!               │     ├─ dimensions ─▶ categories ─▶ (sessions, orders)
//!               │     └─ sightings ───────▶ users ────┴──────────┘
//!               └─ verdicts ──▶ (to the reader that has the bytes)
//! receipts (what each reader counted) ─────────────────▶ Facts
//! names (new to a reader) ─▶ dictionary, on every worker ─▶ (sessions, orders, pairs)
//! ```
//! What is restored, or recalled, joins claims, accept, sessions, users and pairs.

use crate::context::Shared;
use crate::durable::{Kept, Restored};
use crate::facts::{Account, FactChange, Facts, Uses};
use crate::operators::accept::{Wanted, accept};
use crate::operators::categories::histories;
use crate::operators::dedup::{Verdict, claim, claim_again, deduplicate};
use crate::operators::dictionary::dictionary;
use crate::operators::orders::orders;
use crate::operators::pairs::pairs;
use crate::operators::sessions::{SessionInputs, sessions};
use crate::operators::users::users;
use crate::rows::Rows;
use crate::settings::FunnelUnit;
use crate::views::maintained;
use differential_dataflow::AsCollection;
use millrace_schema::{Event, Named, Place};
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::vec::{Broadcast, ToStream};
use timely::dataflow::{Scope, StreamVec};

/// What goes into the dataflow of one worker.
pub struct Sources<'s> {
    /// Decoded events, of the records that this worker reads.
    pub events: StreamVec<'s, u64, Event>,
    /// The names of events and of what is restored and recalled, each at the epoch of the first that carries it on this worker, or before.
    pub names: StreamVec<'s, u64, Named>,
    /// What readers count: see [`crate::receipts`].
    pub receipts: StreamVec<'s, u64, FactChange<Account>>,
    /// UTC microseconds, from any worker: no event older than the horizons behind it comes in a later epoch. Without
    /// horizons they are not needed.
    pub watermarks: Option<StreamVec<'s, u64, i64>>,
    pub restored: Option<Restored<'s>>,
    /// Accepted events that may be forgotten, and are to be remembered again: with what comes too late, in one epoch. From before they are
    /// looked up until then nothing may be forgotten. Of visits all events; see [`crate::durable::Recall`].
    pub recalled: Option<StreamVec<'s, u64, Kept>>,
}

/// What leaves the dataflow.
pub struct Outputs<'s> {
    /// The rows of each view that is maintained, by its name.
    pub views: Vec<(&'static str, Rows<'s>)>,
    /// On the worker that read them: the valid records that were not accepted.
    pub verdicts: StreamVec<'s, u64, (Place, Verdict)>,
    /// On the worker that read them: the accepted ones, from which state can be restored. Nothing, unless it is asked for.
    pub accepted: StreamVec<'s, u64, Event>,
}

/// Builds the dataflow. `durable` asks for the accepted events.
pub fn build<'s>(
    scope: Scope<'s, u64>,
    sources: Sources<'s>,
    shared: &Shared,
    enabled: &[String],
    durable: bool,
) -> Outputs<'s> {
    let views: Vec<_> = maintained(enabled, &shared.context).collect();
    let is_enabled = |name: &str| enabled.iter().any(|on| on == name);
    // What is maintained in any case needs no more than what readers count.
    let uses = views
        .iter()
        .filter(|view| is_enabled(view.name()))
        .fold(Uses::NOTHING, |uses, view| uses.and(view.definition().uses));
    let by_user = shared.context.funnel.unit == FunnelUnit::User;
    let of_sessions = Uses { visits: uses.visits && !by_user, ..uses };
    let wanted = Wanted {
        of_sessions: of_sessions.visits || uses.together || uses.presence || uses.accounts,
        of_users: uses.visits && by_user,
        order_events: uses.cells || uses.lines || uses.orders || uses.together || uses.accounts,
        sightings: uses.presence || uses.accounts,
        facts: uses.events || uses.dimensions,
        accepted: durable,
    };
    let Sources { events, names, receipts, watermarks, restored, recalled } = sources;
    let horizon = shared.context.horizons.deduplication;
    let watermarks = watermarks.filter(|_| shared.context.horizons.any()).map(Broadcast::broadcast);
    let dictionary = dictionary(names, shared);
    let (events, mut claims) = claim(events, horizon);
    let (mut kept, mut counted, mut settled, mut warnings) = (recalled, None, None, None);
    if let Some(restored) = restored {
        kept = Some(scope.concatenate(kept.into_iter().chain([restored.kept])));
        (counted, settled, warnings) = (Some(restored.pairs), Some(restored.settled), Some(restored.warnings));
    }
    if let Some(kept) = &kept {
        claims = scope.concatenate([claims, claim_again(kept.clone(), horizon)]);
    }
    let lost = deduplicate(claims, watermarks.clone(), shared);
    let accepted = accept(events, lost, kept, shared, wanted);
    let histories = histories(accepted.dimensions);

    let of_funnel = |by_user_wanted: bool| settled.clone().filter(|_| by_user == by_user_wanted);
    let others = SessionInputs {
        dictionary: dictionary.clone(),
        histories: histories.clone(),
        watermarks: watermarks.clone(),
        settled: of_funnel(false),
        warnings: warnings.clone(),
    };
    let mut sessions_out = sessions(accepted.of_sessions, others, shared, of_sessions);
    if wanted.of_users {
        let others = SessionInputs {
            dictionary: dictionary.clone(),
            histories: histories.clone(),
            watermarks: watermarks.clone(),
            settled: of_funnel(true),
            warnings: None,
        };
        let only_visits = Uses { visits: true, ..Uses::NOTHING };
        sessions_out.visits = sessions(accepted.of_users, others, shared, only_visits).visits;
    }
    let orders_out = orders(accepted.order_events, histories, &dictionary, shared, uses);
    let (of_users, unknown_users) = if wanted.sightings {
        users(accepted.sightings, watermarks, warnings, shared, uses)
    } else {
        (std::iter::empty().to_stream(scope), std::iter::empty().to_stream(scope))
    };
    let touched = scope.concatenate([sessions_out.pairs, orders_out.pairs]);
    let together =
        if uses.together { pairs(touched, counted, &dictionary, shared) } else { std::iter::empty().to_stream(scope) };
    let accounts =
        scope.concatenate([receipts, accepted.accounts, sessions_out.accounts, orders_out.accounts, unknown_users]);
    let events = accepted.facts.as_collection();
    // A stream that two read is copied for one of them.
    let dimensions = match uses.dimensions {
        true => events.clone().filter(|event| event.kind().is_dimension()),
        false => std::iter::empty().to_stream(scope).as_collection(),
    };
    let facts = Facts {
        dimensions,
        events,
        lines: orders_out.lines.as_collection(),
        orders: orders_out.orders.as_collection(),
        presence: scope.concatenate([sessions_out.presence, of_users]).as_collection(),
        accounts: accounts.as_collection(),
        cells: orders_out.cells.as_collection(),
        visits: sessions_out.visits.as_collection(),
        together: together.as_collection(),
    };
    let views = views.iter().map(|view| (view.name(), view.render(&facts, shared))).collect();
    Outputs { views, verdicts: accepted.verdicts, accepted: accepted.accepted }
}
