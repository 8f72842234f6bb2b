//! What a process shows of itself over HTTP: figures for Prometheus, and whether it lives and is ready.
//!
//! ```text
//! engine, board, server ──Sample──▶ collector ─┐
//! cluster, sinks ─────────Extra────────────────┼──▶ endpoint ─▶ /metrics  /livez  /readyz
//! log ─────────────────────────────────────────┘
//! ```
//! Figures are gathered when somebody asks, from what is there: neither the dataflow nor the readers do anything for them. What has to be
//! counted as it happens (reads, checkpoints) is counted by who does it.

mod collector;
mod endpoint;
mod extra;
mod sample;

pub use endpoint::{Endpoint, EndpointError};
pub use extra::{Extra, SinkFigures};
pub use sample::{Process, Sample};
