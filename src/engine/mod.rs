//! The engine: joins sources, dataflow and lake.
//!
//! ```text
//! reader thread ──chunks, epochs──▶ feed ──▶ worker 1…N: decode ─▶ dataflow ─▶ view rows ──▶ states ──▶ views/…
//!                                              └─ bytes wait for the verdict ─▶ events/… · quarantine/…
//! ```

mod feed;
pub(crate) mod ingest;
mod kept;
mod query;
mod replay;
mod results;
mod run;
pub(crate) mod usage;
mod worker;

pub use kept::{Kept, kept};
pub use query::{QUARANTINE, QUARANTINE_COLUMNS, query};
pub use replay::{Replayed, replay};
pub(crate) use replay::{enter_sources, summary_of};
