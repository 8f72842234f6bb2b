//! Timely and differential: inputs, operators, views. No I/O, no clock, no async, no connectors.

pub mod context;
pub mod durable;
pub mod facts;
pub mod graph;
pub mod index;
mod netted;
pub mod operators;
pub mod oracle;
mod packed;
pub mod query;
pub mod receipts;
pub mod row_set;
pub mod rows;
pub mod settings;
pub mod table;
pub mod views;
