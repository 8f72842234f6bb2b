//! Millrace: live, exact shop analytics in one timely/differential dataflow. See `ARCHITECTURE.md`.

mod allocator;
pub mod checkpoint;
pub mod cli;
pub mod client;
pub mod demo;
pub mod engine;
pub mod generate;
pub mod live;
pub mod memory;
pub mod serve;
pub mod settings;
