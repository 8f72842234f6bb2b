//! The whole dataflow of one worker: from decoded events to the rows of every enabled view.
//!
//! ```text
//! events ─▶ claims ─▶ dedup
//!    │                  │ what lost
//!    └──────▶ accept ◀──┘
//!               │     ┌─ activities ──────▶ sessions ─┬─▶ funnel ─────────────────────────▶ rows
//!               ├─────┤                               ├─▶ pairs ──▶ related_products ─────▶ rows
//!               │     ├─ order events ────▶ orders ───┤
//!               │     │                               ├─▶ sales ──────────────────────────▶ rows
//!               │     ├─ dimensions ─▶ categories ─▶ (sessions, orders)
//!               │     └─ sightings ───────▶ users ────┴─▶ traffic, quality ───────────────▶ rows
//!               └─ verdicts ──▶ (to the reader that has the bytes)
//! receipts (what each reader counted) ─────────────────▶ quality
//! ```
//! What is restored, or recalled, joins claims, accept, sessions, users and pairs.

use crate::context::Shared;
use crate::durable::{Kept, Restored};
use crate::operators::accept::{Wanted, accept};
use crate::operators::categories::histories;
use crate::operators::dedup::{Verdict, claim, claim_again, deduplicate};
use crate::operators::orders::{OrderParts, orders};
use crate::operators::pairs::pairs;
use crate::operators::sessions::{Parts, SessionInputs, sessions};
use crate::operators::users::users;
use crate::rows::{Change, Rows};
use crate::settings::FunnelUnit;
use crate::views::{Inputs, VIEWS, view};
use differential_dataflow::AsCollection;
use millrace_schema::{Event, Place};
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::vec::{Broadcast, ToStream};
use timely::dataflow::{Scope, StreamVec};

/// What goes into the dataflow of one worker.
pub struct Sources<'s> {
    /// Decoded events, of the records that this worker reads.
    pub events: StreamVec<'s, u64, Event>,
    /// The rows of `quality` that readers count: see [`crate::receipts`].
    pub receipts: StreamVec<'s, u64, Change>,
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
    /// By view, in the order of [`VIEWS`]. `quality` is always there: it carries the accounting.
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
    let on = |name: &str| enabled.iter().any(|view| view == name);
    let by_user = shared.context.funnel.unit == FunnelUnit::User;
    let parts =
        Parts { funnel: on("funnel"), related: on("related_products"), traffic: on("traffic"), quality: on("quality") };
    let order_parts = OrderParts { sales: on("sales"), others: parts };
    let session_parts = Parts { funnel: parts.funnel && !by_user, ..parts };
    let wanted = Wanted {
        of_sessions: session_parts.any(),
        of_users: parts.funnel && by_user,
        order_events: order_parts.any(),
        sightings: parts.traffic || parts.quality,
        accepted: durable,
    };
    let Sources { events, receipts, watermarks, restored, recalled } = sources;
    let horizon = shared.context.horizons.deduplication;
    let watermarks = watermarks.filter(|_| shared.context.horizons.any()).map(Broadcast::broadcast);
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
        histories: histories.clone(),
        watermarks: watermarks.clone(),
        settled: of_funnel(false),
        warnings: warnings.clone(),
    };
    let mut of_sessions = sessions(accepted.of_sessions, others, shared, session_parts);
    if wanted.of_users {
        let only_funnel = Parts { funnel: true, related: false, traffic: false, quality: false };
        let others = SessionInputs {
            histories: histories.clone(),
            watermarks: watermarks.clone(),
            settled: of_funnel(true),
            warnings: None,
        };
        of_sessions.funnel = sessions(accepted.of_users, others, shared, only_funnel).funnel;
    }
    let of_orders = orders(accepted.order_events, histories, shared, order_parts);
    let empty = || std::iter::empty::<Change>().to_stream(scope);
    let (active_users, unknown_users) = if wanted.sightings {
        users(accepted.sightings, watermarks, warnings, shared, parts)
    } else {
        (empty(), empty())
    };

    let touched = scope.concatenate([of_sessions.pairs, of_orders.pairs]);
    let related = if parts.related { pairs(touched, counted, shared) } else { empty() };
    let traffic = scope.concatenate([of_sessions.traffic, of_orders.traffic, active_users]);
    let quality =
        scope.concatenate([receipts, accepted.receipts, of_sessions.quality, of_orders.quality, unknown_users]);
    let inputs = Inputs {
        sales: of_orders.sales.as_collection(),
        funnel: of_sessions.funnel.as_collection(),
        related: related.as_collection(),
        traffic: traffic.as_collection(),
        quality: quality.as_collection(),
    };
    let mut views = Vec::new();
    for (name, _) in VIEWS {
        if on(name) || name == "quality" {
            let view = view(name, &shared.context).expect("VIEWS names it");
            views.push((name, view.render(&inputs)));
        }
    }
    Outputs { views, verdicts: accepted.verdicts, accepted: accepted.accepted }
}
