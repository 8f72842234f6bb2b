//! From bytes to events: a worker decodes chunks, counts every record, and keeps what the lake needs until the verdict.
//!
//! ```text
//! chunk ──▶ ingest ──events──▶ dataflow         (run by `live`)
//!             │                   │
//!             └─ bytes wait for the verdict ──▶ outlet ──▶ lake         (written by `checkpoint`)
//! ```
//! It knows neither who runs it nor where its outlet leads.

mod chunks;
mod partitions;
mod quarantine;
mod times;

pub use chunks::{Ingest, Outlet, ReadAs, StateRun};
pub use partitions::{PartitionTable, enter_sources};
pub use quarantine::{QUARANTINE, QUARANTINE_COLUMNS};
pub use times::EventTimes;
