//! Live running: sources that go on, epochs by the clock, versions published as they close.
//!
//! ```text
//! reader thread ─▶ feed (stamps, cuts) ─▶ workers: decode, dataflow ─▶ reports ─▶ publisher thread ─▶ board ─▶ serving
//! ```

mod again;
mod believed;
mod checkpoints;
mod engine;
mod feed;
mod pace;
mod patience;
mod publish;
mod reader;
mod rejects;
mod run;
mod source;
mod standby;
mod start;
mod state_rows;
mod watermarks;
mod worker;

pub use engine::LiveEngine;
pub use feed::{Numbering, Rules};
pub use pace::Pace;
pub use patience::Patience;
pub use rejects::RejectExample;
pub use run::{Live, Plan, check_settings, start_with};
pub use start::{Starting, start};
