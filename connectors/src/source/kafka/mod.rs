//! Kafka: topics as a source that goes on.
//!
//! ```text
//! brokers ──▶ librdkafka's queue ──▶ Batch ──▶ Gather ──▶ chunks           the thread that reads
//!                  │                            ▲
//!                  └──▶ Watch: ends, new partitions, brokers that are away  a thread of its own
//! ```
//! Partitions are assigned, not shared out by a consumer group: positions are the engine's, kept with its results. Only
//! what transactions have committed is read. A message is a record, whatever its bytes are; one without a value is the
//! deletion of what its key names ([`millrace_schema::tombstone`]), where its kind has that, or an empty record.
//!
//! What a position counts are the broker's offsets: transactions leave gaps, and so does compaction.
//!
//! Memory: of what was fetched and not read yet, 32 MiB of values or 50,000 messages (with some 350 bytes each beside the
//! value), whichever is reached first; one answer of each broker, 8 MiB as it was sent, or one batch that is
//! larger; 512 messages taken from there; and a chunk.
//!
//! Records are handed out as they arrive: a broker answers as soon as it has one. Where it has none it answers after
//! 100 ms, so that the end of a partition is known a little later than its last record.
//!
//! | what happens | what is done |
//! |---|---|
//! | no broker answers at the start | it is waited for, `connect_timeout` long |
//! | wrong password, unknown topic, no right to read, at the start | an error at once |
//! | brokers go away, or do not let us in any more | [`Connection::Down`](super::Connection), and on when they are back |
//! | a topic is deleted, a partition cannot be read | its `fault`; others go on |
//! | a partition brings nothing for 5 s although it has something and brokers answer | it is taken up anew from where it stands |
//! | retention removed what was not read yet | an error, or `lost` records: [`LostOffsets`] |
//! | a topic was deleted and made anew, by its id; it ends before what was read of it, or goes back | an error: it holds other records now |

mod batch;
mod client;
mod code;
mod error;
mod gather;
mod ids;
mod lost;
mod open;
mod properties;
mod queue;
mod release;
mod settings;
mod source;
mod stalled;
mod watch;
mod watcher;

pub use error::KafkaError;
pub use properties::is_secret_property;
pub(crate) use properties::needs_tls;
pub use settings::{KafkaSettings, LostOffsets, Secret, Topic};
pub use source::KafkaSource;
