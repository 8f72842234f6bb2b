//! The last committed message of a partition that has a certain key.

use super::error::SinkError;
use super::properties::{SinkSettings, clean};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// Markers stand at the ends of transactions: most often the first look finds one.
const FIRST_LOOK: i64 = 32;
/// How much further back each next look begins.
const FURTHER: i64 = 32;
const QUESTION: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(200);

/// Looks back from the end of a partition, further and further, for so long at most.
///
/// # Errors
/// [`SinkError::Unread`] where it cannot be read, or not in that time.
pub(super) fn last_with_key(
    reader: &BaseConsumer,
    settings: &SinkSettings,
    (partition, key): (i32, &[u8]),
    patience: Duration,
) -> Result<Option<Vec<u8>>, SinkError> {
    let topic = &settings.topic;
    let unread = |reason: String| SinkError::Unread { topic: topic.clone(), reason: clean(settings, &reason) };
    let deadline = Instant::now() + patience;
    let mut window = FIRST_LOOK;
    loop {
        let watermarks = reader.fetch_watermarks(topic, partition, QUESTION.min(patience));
        let (low, high) = watermarks.map_err(|error| unread(error.to_string()))?;
        let from = high.saturating_sub(window).max(low);
        match look(reader, topic, (partition, from), key, deadline).map_err(unread)? {
            Look::Found(value) => return Ok(Some(value)),
            Look::Nothing if from <= low => return Ok(None),
            Look::Nothing => window = window.saturating_mul(FURTHER),
            // Retention was faster: its first offset is another now.
            Look::Gone => {}
        }
        if Instant::now() >= deadline {
            return Err(unread(format!("its {high} messages were not looked through in {} s", patience.as_secs())));
        }
    }
}

enum Look {
    Found(Vec<u8>),
    Nothing,
    Gone,
}

/// Reads a partition from there to the end of what is committed.
fn look(
    reader: &BaseConsumer,
    topic: &str,
    (partition, from): (i32, i64),
    key: &[u8],
    deadline: Instant,
) -> Result<Look, String> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(from)).map_err(|error| error.to_string())?;
    reader.assign(&list).map_err(|error| error.to_string())?;
    let (mut found, mut trouble) = (None, None);
    let end = loop {
        match reader.poll(POLL) {
            Some(Ok(message)) if message.key() == Some(key) => found = message.payload().map(<[u8]>::to_vec),
            Some(Ok(_)) => {}
            Some(Err(KafkaError::PartitionEOF(_))) => break Ok(found.map_or(Look::Nothing, Look::Found)),
            Some(Err(error)) if is_gone(&error) => break Ok(Look::Gone),
            // What may pass: the library goes on by itself.
            Some(Err(error)) => trouble = Some(error.to_string()),
            None => {}
        }
        if Instant::now() >= deadline {
            break Err(trouble.unwrap_or_else(|| "it has no end that is reached in time".to_owned()));
        }
    };
    reader.assign(&TopicPartitionList::new()).map_err(|error| error.to_string())?;
    end
}

fn is_gone(error: &KafkaError) -> bool {
    let codes = [RDKafkaErrorCode::OffsetOutOfRange, RDKafkaErrorCode::AutoOffsetReset];
    error.rdkafka_error_code().is_some_and(|code| codes.contains(&code))
}
