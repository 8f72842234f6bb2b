//! Serving over gRPC: the answers of a generated shop, asked as a client does.

mod abuse;
mod access;
mod clients;
mod commands;
mod consistency;
mod fixture;
pub(super) mod folding;
mod pages;
mod raw;
mod reads;
mod strangers;
mod subscribe;
#[cfg(feature = "serve-tls")]
pub mod tls;
mod worlds;
