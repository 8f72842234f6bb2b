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

use crate::context::Shared;
use crate::operators::accept::{Wanted, accept};
use crate::operators::categories::histories;
use crate::operators::dedup::{Verdict, claim, deduplicate};
use crate::operators::orders::{OrderParts, orders};
use crate::operators::pairs::pairs;
use crate::operators::sessions::{Parts, sessions};
use crate::operators::users::users;
use crate::rows::{Change, Rows};
use crate::settings::FunnelUnit;
use crate::views::{Inputs, VIEWS, view};
use differential_dataflow::AsCollection;
use millrace_schema::{Event, Place};
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::vec::{Broadcast, ToStream};
use timely::dataflow::{Scope, StreamVec};

/// What leaves the dataflow.
pub struct Outputs<'s> {
    /// By view, in the order of [`VIEWS`]. `quality` is always there: it carries the accounting.
    pub views: Vec<(&'static str, Rows<'s>)>,
    /// On the worker that read them: the valid records that were not accepted.
    pub verdicts: StreamVec<'s, u64, (Place, Verdict)>,
}

/// Builds the dataflow. `receipts` are the rows of `quality` that readers count: see [`crate::receipts`].
///
/// `watermarks` (UTC microseconds, from any worker) say that no event older than the horizons behind them comes in a
/// later epoch. Without horizons they are not needed.
pub fn build<'s>(
    scope: Scope<'s, u64>,
    events: StreamVec<'s, u64, Event>,
    receipts: StreamVec<'s, u64, Change>,
    watermarks: Option<StreamVec<'s, u64, i64>>,
    shared: &Shared,
    enabled: &[String],
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
    };
    let watermarks = watermarks.filter(|_| shared.context.horizons.any()).map(Broadcast::broadcast);
    let (events, claims) = claim(events, shared.context.horizons.deduplication);
    let lost = deduplicate(claims, watermarks.clone(), shared);
    let accepted = accept(events, lost, shared, wanted);
    let histories = histories(accepted.dimensions);

    let mut of_sessions = sessions(accepted.of_sessions, histories.clone(), watermarks.clone(), shared, session_parts);
    if wanted.of_users {
        let only_funnel = Parts { funnel: true, related: false, traffic: false, quality: false };
        of_sessions.funnel =
            sessions(accepted.of_users, histories.clone(), watermarks.clone(), shared, only_funnel).funnel;
    }
    let of_orders = orders(accepted.order_events, histories, shared, order_parts);
    let empty = || std::iter::empty::<Change>().to_stream(scope);
    let (active_users, unknown_users) =
        if wanted.sightings { users(accepted.sightings, watermarks, shared, parts) } else { (empty(), empty()) };

    let touched = scope.concatenate([of_sessions.pairs, of_orders.pairs]);
    let related = if parts.related { pairs(touched, shared) } else { empty() };
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
    Outputs { views, verdicts: accepted.verdicts }
}
