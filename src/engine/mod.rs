//! From records to events, from rows to tables, and history from its beginning to its end.
//!
//! ```text
//! chunk ──▶ ingest ──events──▶ dataflow         (run by `live`)
//!             └─ bytes wait for the verdict ─▶ outlet ─▶ lake          (written by `checkpoint`)
//! replay: a source that ends, through `live`, into a lake          query: from a lake's rows to an answer
//! ```

mod export;
pub(crate) mod ingest;
mod kept;
mod query;
mod rebuild;
mod repair;
mod replay;
pub(crate) mod results;
mod running;
pub(crate) mod usage;
mod verify;

pub use export::{Exported, export};
pub use kept::{Kept, kept};
pub use query::{QUARANTINE, QUARANTINE_COLUMNS, query};
pub use rebuild::Found;
pub use repair::{Repaired, repair};
pub use replay::{Replayed, replay};
pub(crate) use replay::{enter_sources, rejected_rules, summary_of};
pub use running::Running;
pub use verify::{Difference, Extent, Files, Verified, verify};
