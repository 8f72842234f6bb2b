//! Millrace: live, exact shop analytics in one timely/differential dataflow. See `ARCHITECTURE.md`.

mod allocator;
pub mod checkpoint;
pub mod cli;
pub mod client;
pub mod clock;
pub mod commands;
pub mod demo;
pub mod durations;
pub mod generate;
pub mod ingest;
pub mod live;
pub mod log;
pub mod memory;
pub mod mesh;
pub mod metrics;
pub mod numbers;
pub mod output;
pub mod serve;
pub mod settings;
pub mod sinks;
