//! The demonstration: a shop that never was, its events in a log (or in Kafka), the engine, a screen.
//!
//! ```text
//! feeder ──events──▶ DIR/events ─────┐
//! `demo refund` ───▶ DIR/corrections ┴─▶ engine ─▶ board ─▶ screen · gRPC
//! ```

mod corrections;
mod feeder;
mod place;
mod screen;

pub use corrections::{Correction, Injected, inject};
pub use feeder::{Fed, KafkaSink, LogSink, Sink, feed};
pub use place::{Place, Way};
pub use screen::Screen;
