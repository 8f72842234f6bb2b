//! Writing to a Kafka topic in transactions: what is sent between two commits appears at once, or not at all.
//!
//! ```text
//! open:    who had the transactional id before is fenced, what it left open is settled ──▶ the last *marker* of the topic
//! publish: begin ──▶ messages ──▶ a marker into every partition ──▶ commit
//! fails:   the sink is given up, and opened anew: the marker that is found then says whether the commit took place
//! ```
//! The topic itself remembers how far it is: a marker is a message with a key that no other message has, the last of its transaction. So
//! a commit whose answer was lost is never made again; it is looked up. Nothing here knows what is in the messages.
//!
//! | what happens | what is done |
//! |---|---|
//! | the topic is not there | it is made, with as many partitions and copies as the brokers have by default |
//! | another producer takes the transactional id | [`SinkError::is_fenced`] at the next call |
//! | a broker is away, an answer is lost, a transaction took too long | an error; the sink is opened anew |
//! | the topic was made anew under us | nothing is committed, an error; opened anew it has no marker |

mod error;
mod last;
mod properties;
mod topic;

pub use error::SinkError;
pub use properties::{SinkSettings, check};
pub use topic::{Message, Opened, TopicSink};
