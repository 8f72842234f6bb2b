//! Serving: one input, an ordered stream of closed epochs; many readers.
//!
//! ```text
//! engine ──Commit{epoch}──▶ publisher ──Published──▶ board ──▶ read ──▶ grpc ──▶ callers
//!                           (index writers)            │       (plain)  (a codec and its transport)
//!                                   what is current, what is kept for whoever goes on reading
//! ```
//! It knows views and rows, and neither workers nor sources: the engine in this process is one maker of commits, and
//! could be elsewhere.

pub mod board;
mod building;
pub mod callers;
pub mod commit;
pub mod grpc;
pub mod publisher;
pub mod read;
pub mod settings;
pub mod status;

pub use board::{Board, Published, ViewRows};
pub use building::Building;
pub use commit::{Commit, SourcePositions};
pub use grpc::{ServeError, Server};
pub use publisher::{Publisher, Tap};
pub use settings::ServeSettings;

/// A line for whoever runs the server. Where nobody reads it any more, it serves on.
fn warn(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "warning: {text}");
}
