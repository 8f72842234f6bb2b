//! Serving over gRPC: package `millrace.v1`, see `proto/`.
//!
//! ```text
//! connection ─▶ accept (TLS, HTTP/2, a place)
//! request ─▶ gate (who may, memory, counted) ─▶ service ─▶ consistency: which version ─▶ asking: inline, or aside if large
//!                                                                                  └─▶ rows as bytes, with the version's `at`
//!                                          └────▶ live: one worked-out answer for all who subscribe to a question
//! ```
//! An answer is of one version from its first byte to its last: whatever a read needs it takes from the [`Stamp`] that it
//! began with.
//!
//! [`Stamp`]: at::Stamp

mod accept;
mod admin;
mod asking;
mod at;
mod auth;
mod body;
mod connections;
mod consistency;
mod deadline;
mod gate;
mod live;
mod memory;
mod metrics;
mod pages;
mod question;
mod recent;
mod server;
mod service;
mod status;
mod strangers;
mod tls;
mod token;
mod typed;
mod wire;

pub use metrics::{METHODS, MethodCounts, ServeMetrics};
pub use server::{ServeError, Server};
pub use service::Clock;
