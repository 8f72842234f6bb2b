//! The engine: joins sources, dataflow and lake.
//!
//! ```text
//! reader thread ──chunks, epochs──▶ feed ──▶ worker 1…N: decode ─▶ dataflow ─▶ view rows ──▶ states ──▶ views/…
//!                                              └─ bytes wait for the verdict ─▶ events/… · quarantine/…
//! ```

mod feed;
mod ingest;
mod kept;
mod query;
mod replay;
mod results;
mod run;
mod usage;
mod worker;

pub use kept::{Kept, kept};
pub use query::{QUARANTINE_COLUMNS, query};
pub use replay::{Replayed, replay};
