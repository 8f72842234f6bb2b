//! Live running: sources that go on, epochs by the clock, versions published as they close.
//!
//! ```text
//! reader thread ─▶ feed (stamps, cuts) ─▶ workers: decode, dataflow ─▶ reports ─▶ publisher thread ─▶ board ─▶ serving
//! ```

mod again;
mod believed;
mod checkpoints;
pub mod cluster;
mod engine;
mod epoch_clock;
mod feed;
mod ledger;
mod pace;
mod patience;
mod publish;
mod read_queue;
mod reader;
mod rejects;
mod replica;
mod restore;
mod run;
mod source;
mod standby;
mod start;
mod state_rows;
mod threads;
mod wakers;
mod watermarks;
mod worker;
mod writing;

pub use engine::LiveEngine;
pub use feed::{Numbering, Rules};
pub use pace::Pace;
pub use patience::Patience;
pub use rejects::RejectExample;
pub use replica::Replica;
pub use restore::check_settings;
pub use run::{Live, Plan, Redefine, silence, start_with};
pub use start::{RebuildRefused, Starting, start};
