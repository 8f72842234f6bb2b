//! Serving over gRPC: the answers of a generated shop, asked as a client does.

mod access;
mod clients;
mod commands;
mod consistency;
mod fixture;
mod pages;
mod reads;
mod subscribe;
#[cfg(feature = "serve-tls")]
mod tls;
