//! Operators: state machines that see their input one closed epoch at a time.

pub mod accept;
pub mod activity;
pub mod categories;
pub mod dedup;
pub mod dictionary;
pub mod epochs;
pub mod lists;
pub mod local;
pub mod order_lines;
pub mod orders;
pub mod origins;
pub mod pairs;
mod retirement;
pub mod scatter;
pub mod sessions;
pub mod tables;
pub mod touched;
pub mod users;
