//! A producer of transactions to one topic.

use super::error::SinkError;
use super::last::last_with_key;
use super::properties::{SinkSettings, clean, producer, reader, refused};
use crate::producer::wait_for;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The topic of which one is asked first: whether anybody answers.
const QUESTION: Duration = Duration::from_secs(5);
/// A topic that was made just now is not known to every broker yet.
const MADE: Duration = Duration::from_secs(10);
/// How long the brokers may take to fence and to settle what was left open.
const FENCE: Duration = Duration::from_secs(30);
/// How long the topic is looked through for the last marker.
const LOOK_BACK: Duration = Duration::from_secs(120);
/// How long a full queue is waited for.
const ROOM: Duration = Duration::from_secs(60);
/// How long the brokers may take for what was sent, and for the commit.
const COMMIT: Duration = Duration::from_secs(60);
const ABORT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);
/// How long the end of a client may hold up whoever ends it.
const END: Duration = Duration::from_secs(1);

/// A topic, its transactional id ours.
pub struct TopicSink {
    settings: SinkSettings,
    /// None once it has ended.
    producer: Option<BaseProducer<Deliveries>>,
    partitions: i32,
    is_open: bool,
    /// By partition, the offset of the last message before this transaction.
    before: BTreeMap<i32, i64>,
}

/// What is found at the start.
pub struct Opened {
    pub sink: TopicSink,
    /// The value of the topic's last committed marker.
    pub marker: Option<Vec<u8>>,
}

/// One message; no key where it is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Message<'a> {
    /// Below [`TopicSink::partitions`].
    pub partition: u32,
    pub key: Option<&'a [u8]>,
    pub value: &'a [u8],
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// What the brokers have said.
#[derive(Clone, Default)]
struct Deliveries(Arc<Delivered>);

#[derive(Default)]
struct Delivered {
    failure: Mutex<Option<String>>,
    /// What the client last said by itself: why nobody answers.
    trouble: Mutex<Option<String>>,
    /// By partition, the offset of the last message that is there.
    ends: Mutex<BTreeMap<i32, i64>>,
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        // That all are down says less than why one is.
        let is_all = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
        let mut trouble = lock(&self.0.trouble);
        if !is_all || trouble.is_none() {
            *trouble = Some(reason.to_owned());
        }
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        use rdkafka::Message as _;
        match result {
            Ok(message) => drop(lock(&self.0.ends).insert(message.partition(), message.offset())),
            Err((error, _)) => drop(lock(&self.0.failure).get_or_insert_with(|| error.to_string())),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of what was delivered panics")
}

impl TopicSink {
    /// Makes the topic where it is not there, fences who had the transactional id, and finds the last marker: the last committed message of
    /// the first partition with this key.
    ///
    /// # Errors
    /// [`SinkError`] where the brokers cannot be reached or do not let us.
    pub fn open(settings: &SinkSettings, marker: &[u8]) -> Result<Opened, SinkError> {
        let reader = reader(settings)?;
        let partitions = match partitions(&reader, settings)? {
            Some(partitions) => partitions,
            None => make(&reader, settings)?,
        };
        let made = producer(settings)?.create_with_context(Deliveries::default());
        let client: BaseProducer<Deliveries> = made.map_err(|error| refused(settings, &error))?;
        let (settings, before) = (settings.clone(), BTreeMap::new());
        let sink = TopicSink { settings, producer: Some(client), partitions, is_open: false, before };
        sink.producer().init_transactions(FENCE).map_err(|error| sink.failed("fencing the producers of", &error))?;
        let marker = last_with_key(&reader, &sink.settings, (0, marker), LOOK_BACK);
        end(reader, Duration::ZERO);
        Ok(Opened { sink, marker: marker? })
    }

    /// How many there are, of 1 at least. Each has the markers.
    pub fn partitions(&self) -> u32 {
        self.partitions.unsigned_abs()
    }

    /// Where messages of a key go: as Kafka's own producers have it.
    pub fn partition_of(&self, key: &[u8]) -> u32 {
        (murmur2(key) & 0x7fff_ffff) % self.partitions()
    }

    /// # Errors
    /// [`SinkError`]
    pub fn begin(&mut self) -> Result<(), SinkError> {
        assert!(!self.is_open, "one transaction at a time");
        let before = lock(&self.producer().context().0.ends).clone();
        self.before = before;
        self.producer().begin_transaction().map_err(|error| self.failed("beginning a transaction on", &error))?;
        self.is_open = true;
        Ok(())
    }

    /// Queues a message; waits where the queue is full.
    ///
    /// # Errors
    /// [`SinkError`] where the brokers do not take what is queued.
    pub fn send(&self, message: &Message<'_>) -> Result<(), SinkError> {
        assert!(self.is_open, "what is sent belongs to a transaction");
        let partition = i32::try_from(message.partition).unwrap_or(i32::MAX);
        let mut record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(&self.settings.topic).partition(partition).payload(message.value);
        if let Some(key) = message.key {
            record = record.key(key);
        }
        if !message.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(message.headers.len());
            let add = |headers: OwnedHeaders, &(key, value): &(&str, &[u8])| {
                headers.insert(Header { key, value: Some(value) })
            };
            record = record.headers(message.headers.iter().fold(headers, add));
        }
        let since = Instant::now();
        loop {
            match self.producer().send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) if since.elapsed() < ROOM => {
                    self.producer().poll(POLL);
                    record = back;
                }
                Err((error, _)) => return Err(self.failed("sending to", &error)),
            }
        }
    }

    /// Waits until the brokers have what was sent.
    ///
    /// # Errors
    /// [`SinkError`] where they do not.
    pub fn flush(&self) -> Result<(), SinkError> {
        self.producer().flush(COMMIT).map_err(|error| self.failed("sending to", &error))?;
        match lock(&self.producer().context().0.failure).take() {
            Some(reason) => Err(self.failed_for("sending to", &reason)),
            None => Ok(()),
        }
    }

    /// Commits the transaction. After an error it is not known whether it took place: the sink has to be opened anew, which tells.
    ///
    /// # Errors
    /// [`SinkError`]; of a topic that was made anew since it was opened, before anything is committed.
    pub fn commit(&mut self) -> Result<(), SinkError> {
        assert!(self.is_open, "what is committed has begun");
        self.flush()?;
        let ends = lock(&self.producer().context().0.ends).clone();
        // Every transaction has a marker in each.
        if self.before.iter().any(|(partition, before)| ends.get(partition).is_some_and(|end| end <= before)) {
            return Err(SinkError::MadeAnew { topic: self.settings.topic.clone() });
        }
        self.is_open = false;
        self.producer().commit_transaction(COMMIT).map_err(|error| self.failed("committing a transaction on", &error))
    }

    fn producer(&self) -> &BaseProducer<Deliveries> {
        self.producer.as_ref().expect("it ends with the sink")
    }

    fn failed(&self, what: &'static str, error: &KafkaError) -> SinkError {
        const FENCED: [RDKafkaErrorCode; 3] =
            [RDKafkaErrorCode::Fenced, RDKafkaErrorCode::ProducerFenced, RDKafkaErrorCode::InvalidProducerEpoch];
        let code = match error {
            KafkaError::Transaction(error) => Some(error.code()),
            error => error.rdkafka_error_code(),
        };
        let fatal = self.producer().client().fatal_error().map(|(code, _)| code);
        if [code, fatal].into_iter().flatten().any(|code| FENCED.contains(&code)) {
            return SinkError::Fenced {
                topic: self.settings.topic.clone(),
                id: self.settings.transactional_id.clone(),
            };
        }
        self.failed_for(what, &error.to_string())
    }

    fn failed_for(&self, what: &'static str, reason: &str) -> SinkError {
        let trouble = lock(&self.producer().context().0.trouble).take();
        let reason = trouble.map_or(reason.to_owned(), |trouble| format!("{reason}: {trouble}"));
        SinkError::Failed { topic: self.settings.topic.clone(), what, reason: clean(&self.settings, &reason) }
    }
}

impl Drop for TopicSink {
    /// What is open is aborted, where a broker answers; otherwise the next who opens the topic does it.
    fn drop(&mut self) {
        let Some(producer) = self.producer.take() else { return };
        if self.is_open {
            let _ = producer.abort_transaction(ABORT);
        }
        end(producer, END);
    }
}

/// A client ends when the requests that it has sent are answered, which takes as long as a broker that is away is waited for. Nobody needs
/// those answers: it ends by itself, and is waited for so long at most.
fn end<T: Send + 'static>(client: T, patience: Duration) {
    let (ended, end) = channel::<()>();
    let ending = std::thread::Builder::new().name("kafka-end".to_owned()).spawn(move || {
        drop(client);
        drop(ended);
    });
    if ending.is_ok() {
        // Either way it is over for us.
        let _ = end.recv_timeout(patience);
    }
}

/// How many partitions the topic has; `None` where there is no such topic.
fn partitions(reader: &BaseConsumer, settings: &SinkSettings) -> Result<Option<i32>, SinkError> {
    let unreachable = |reason: String| {
        let brokers = settings.brokers.clone();
        SinkError::Unreachable { brokers, reason: clean(settings, &reason) }
    };
    let metadata = reader.fetch_metadata(Some(&settings.topic), QUESTION);
    let metadata = metadata.map_err(|error| unreachable(error.to_string()))?;
    let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == settings.topic) else { return Ok(None) };
    match topic.error().map(RDKafkaErrorCode::from) {
        None => Ok(i32::try_from(topic.partitions().len()).ok().filter(|count| *count > 0)),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(None),
        Some(code) => Err(unreachable(code.to_string())),
    }
}

/// Makes the topic, and waits until it is known.
fn make(reader: &BaseConsumer, settings: &SinkSettings) -> Result<i32, SinkError> {
    let topic = &settings.topic;
    let failed = |reason: String| SinkError::NoTopic { topic: topic.clone(), reason: clean(settings, &reason) };
    let made: Result<AdminClient<DefaultClientContext>, KafkaError> = admin(settings)?.create();
    let admin = made.map_err(|error| refused(settings, &error))?;
    // As many partitions and copies as the brokers have by default.
    let wanted = NewTopic::new(topic, -1, TopicReplication::Fixed(-1));
    let options = AdminOptions::new().operation_timeout(Some(QUESTION)).request_timeout(Some(QUESTION));
    for made in wait_for(admin.create_topics([&wanted], &options)).map_err(|error| failed(error.to_string()))? {
        match made {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(failed(code.to_string())),
        }
    }
    let since = Instant::now();
    while since.elapsed() < MADE {
        if let Some(partitions) = partitions(reader, settings)? {
            return Ok(partitions);
        }
        std::thread::sleep(POLL);
    }
    Err(failed("it was made, and no broker knows it".to_owned()))
}

fn admin(settings: &SinkSettings) -> Result<rdkafka::ClientConfig, SinkError> {
    let mut config = producer(settings)?;
    config.remove("transactional.id").remove("transaction.timeout.ms");
    Ok(config)
}

/// The hash by which Kafka's producers in Java deal keys to partitions.
fn murmur2(bytes: &[u8]) -> u32 {
    const MIX: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32 ^ u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let word = u32::from_le_bytes(*word).wrapping_mul(MIX);
        hash = hash.wrapping_mul(MIX) ^ (word ^ (word >> 24)).wrapping_mul(MIX);
    }
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(MIX);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own test.
    #[test]
    fn keys_go_where_kafkas_producers_send_them() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }
}
