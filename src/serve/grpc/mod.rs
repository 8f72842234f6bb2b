//! Serving over gRPC: package `millrace.v1`, see `proto/`. A codec and a transport in front of [`read`](super::read).
//!
//! ```text
//! connection ─▶ accept (TLS, HTTP/2, a place)
//! request ─▶ gate (who may, memory, counted) ─▶ service ─▶ asked: a plain question ─▶ read
//!                                                  ◀── codec, typed: rows as bytes, with the version's `at` ◀──┘
//! ```

mod accept;
mod admin;
mod asked;
mod at;
mod body;
mod codec;
mod error;
mod gate;
mod metrics;
mod server;
mod service;
mod status;
mod timeout;
mod tls;
mod typed;
mod wire;

pub use metrics::{AskServer, METHODS, MethodCounts, ServeMetrics, ServeStatus};
pub use server::{ServeError, Server};
