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
pub use grpc::{AskServer, MethodCounts, ServeError, ServeStatus, Server};
pub use publisher::{Publisher, Tap};
pub use settings::ServeSettings;

use std::sync::OnceLock;

/// How whoever runs the server is told something.
static WARN: OnceLock<fn(&str)> = OnceLock::new();

/// Has the server tell by `warn`, from now on. The first counts.
pub fn warn_by(warn: fn(&str)) {
    let _ = WARN.set(warn);
}

/// A line for whoever runs the server. Where nobody reads it any more, it serves on.
fn warn(text: &str) {
    use std::io::Write;
    match WARN.get() {
        Some(warn) => warn(text),
        None => drop(writeln!(std::io::stderr().lock(), "warning: {text}")),
    }
}
