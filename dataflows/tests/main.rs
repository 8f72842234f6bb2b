//! The dataflow, run as a user of the crate runs it, against the oracles.

mod support;

mod bank;
mod parts;
mod properties;
mod schedules;
mod stories;
