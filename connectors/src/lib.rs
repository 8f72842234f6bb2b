//! The outside world: where records are read from, and where results are written. No dataflow is known here.
//!
//! ```text
//! source::open(paths) ──▶ Source::next_chunk ──▶ Chunk ──records──▶ (offset, bytes) for `schema::decode`
//! valid records ──▶ lake::EventColumns ──▶ lake::EventWriter ──▶ events/event_date=…/part-….parquet
//! rejected ones ──▶ lake::QuarantineWriter ──▶ quarantine/part-….parquet
//! view rows     ──▶ lake::write_table ──▶ views/<view>/….parquet
//! changes       ──▶ sink::TopicSink ──▶ a topic, a transaction at a time
//! ```

pub mod lake;
pub mod producer;
mod short;
pub mod sink;
pub mod source;
pub mod store;
