//! What the commands do, without a command line: `cli` asks, prints and ends; the work is here.
//!
//! ```text
//! replay   a source that ends ──▶ live ──▶ a lake          verify   a lake's rows ⟷ naive answers from its own events
//! running  a source that goes on ──▶ live ──▶ a lake       repair   a lake ──▶ live ──▶ the same lake, with nothing pending
//! query    a lake's rows ──▶ an answer                     kept     a lake's rows, all of them
//! export   a view's rows ──▶ a file that stands alone         redefine a lake's events ──▶ live ──▶ views with another definition
//! ```
//! Nothing below knows of it.

mod engine;
mod export;
mod kept;
mod parent;
mod progress;
mod query;
mod redefine;
mod repair;
mod replay;
mod request;
mod running;
mod verify;

pub use engine::{Place, engine, is_at_end, this_program};
pub use export::{Exported, export};
pub use kept::{Kept, kept};
pub use parent::{Elsewhere, EngineRefuses, Serving, Start, follow_lake, supervise};
pub use progress::{Progress, Silent};
pub use query::query;
pub use redefine::{Redefined, redefine};
pub use repair::{Repaired, repair};
pub use replay::{Replayed, replay};
pub(crate) use replay::{rejected_rules, summary_of};
pub use request::{RejectedRule, ReplayRequest, ReplaySummary};
pub use running::Running;
pub use verify::{Difference, Extent, Files, Verified, verify};
