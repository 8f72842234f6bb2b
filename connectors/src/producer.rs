//! Sends lines to a topic: for generated events, and for the demonstration.

use crate::source::kafka::is_secret_property;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How long brokers that do not answer are waited for at the start.
const CONNECT: Duration = Duration::from_secs(60);
/// How long they may take before somebody hears of it.
const SILENCE: Duration = Duration::from_secs(3);
/// How long is waited at least before they are asked again.
const LEAST_WAIT: Duration = Duration::from_millis(100);
/// How long the end of sending waits for the brokers.
const FLUSH: Duration = Duration::from_secs(60);
/// How long a full queue is waited for at a time.
const ROOM: Duration = Duration::from_millis(20);

#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    #[error("cannot send to Kafka at {brokers}: {reason}; check the brokers and the topic")]
    Kafka { brokers: String, reason: String },
    #[error("{count} records were not taken by Kafka at {brokers}: {reason}")]
    NotDelivered { brokers: String, count: u64, reason: String },
}

/// Sends to one topic. What is sent arrives once, in order within a partition.
pub struct Producer {
    brokers: String,
    topic: String,
    producer: BaseProducer<Deliveries>,
}

/// What the brokers have said.
#[derive(Clone, Default)]
struct Deliveries(Arc<Delivered>);

#[derive(Default)]
struct Delivered {
    failures: AtomicU64,
    last_failure: Mutex<String>,
    /// By partition, the offset after the last record that is safe.
    ends: Mutex<BTreeMap<i32, u64>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        use rdkafka::Message;
        match result {
            Ok(message) => {
                let mut ends = lock(&self.0.ends);
                let end = ends.entry(message.partition()).or_default();
                *end = (*end).max(u64::try_from(message.offset() + 1).unwrap_or(0));
            }
            Err((error, _)) => {
                self.0.failures.fetch_add(1, Ordering::Relaxed);
                *lock(&self.0.last_failure) = error.to_string();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of what was delivered panics")
}

/// What the library says, without the values of properties, among which are passwords.
fn reason(error: &KafkaError, properties: &BTreeMap<String, String>) -> String {
    if let KafkaError::ClientConfig(_, _, name, _) = error {
        return format!("the client has no property {name}, or does not take its value");
    }
    let secrets = properties.iter().filter(|(name, value)| is_secret_property(name) && !value.is_empty());
    secrets.fold(error.to_string(), |text, (_, value)| text.replace(value, "***"))
}

impl Producer {
    /// Makes the topic, if it is not there yet, with so many partitions. Brokers that do not answer are waited for, a minute long.
    ///
    /// # Errors
    /// [`ProduceError`] where no broker answers, or the topic cannot be made.
    pub fn open(
        brokers: &str,
        topic: &str,
        partitions: u32,
        properties: &BTreeMap<String, String>,
    ) -> Result<Producer, ProduceError> {
        Producer::open_telling(brokers, topic, partitions, properties, &|_| {})
    }

    /// As [`Producer::open`], and tells after a few seconds that no broker answers.
    ///
    /// # Errors
    /// As [`Producer::open`].
    pub fn open_telling(
        brokers: &str,
        topic: &str,
        partitions: u32,
        properties: &BTreeMap<String, String>,
        say: &dyn Fn(&str),
    ) -> Result<Producer, ProduceError> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        config.set("message.timeout.ms", "60000");
        config.set("enable.idempotence", "true");
        config.set("compression.type", "lz4");
        config.set("linger.ms", "2");
        config.set("batch.size", "262144");
        config.set("queue.buffering.max.kbytes", "65536");
        properties.iter().for_each(|(name, value)| {
            config.set(name, value);
        });
        let failed =
            |error: KafkaError| ProduceError::Kafka { brokers: brokers.to_owned(), reason: reason(&error, properties) };
        let admin: AdminClient<DefaultClientContext> = config.create().map_err(failed)?;
        connect(&admin, brokers, CONNECT, say)?;
        let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
        let wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        for made in wait_for(admin.create_topics([&wanted], &options)).map_err(failed)? {
            match made {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => {
                    let reason = format!("the topic {topic} cannot be made: {code}");
                    return Err(ProduceError::Kafka { brokers: brokers.to_owned(), reason });
                }
            }
        }
        let producer = config.create_with_context(Deliveries::default()).map_err(failed)?;
        Ok(Producer { brokers: brokers.to_owned(), topic: topic.to_owned(), producer })
    }

    /// Queues a record; waits where the queue is full. `time` in UTC microseconds.
    ///
    /// # Errors
    /// [`ProduceError`] where the library does not take it.
    pub fn send(&self, partition: u32, key: &[u8], value: &[u8], time: Option<i64>) -> Result<(), ProduceError> {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.topic).partition(partition).payload(value);
        if !key.is_empty() {
            record = record.key(key);
        }
        if let Some(time) = time {
            record = record.timestamp(time / 1_000);
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.producer.poll(ROOM);
                    record = back;
                }
                Err((error, _)) => {
                    return Err(ProduceError::Kafka { brokers: self.brokers.clone(), reason: error.to_string() });
                }
            }
        }
    }

    /// Lets the library call back. To be called now and then.
    pub fn poll(&self) {
        self.producer.poll(Duration::ZERO);
    }

    /// By partition, the offset after the last record that the brokers have taken.
    pub fn ends(&self) -> BTreeMap<i32, u64> {
        lock(&self.producer.context().0.ends).clone()
    }

    /// Waits until the brokers have taken everything.
    ///
    /// # Errors
    /// [`ProduceError`] where they have not.
    pub fn flush(&self) -> Result<(), ProduceError> {
        let failed =
            |error: KafkaError| ProduceError::Kafka { brokers: self.brokers.clone(), reason: error.to_string() };
        self.producer.flush(FLUSH).map_err(failed)?;
        let delivered = &self.producer.context().0;
        match delivered.failures.load(Ordering::Relaxed) {
            0 => Ok(()),
            count => {
                let reason = lock(&delivered.last_failure).clone();
                Err(ProduceError::NotDelivered { brokers: self.brokers.clone(), count, reason })
            }
        }
    }
}

/// Waits until a broker answers.
fn connect(
    admin: &AdminClient<DefaultClientContext>,
    brokers: &str,
    patience: Duration,
    say: &dyn Fn(&str),
) -> Result<(), ProduceError> {
    let (since, mut is_said) = (Instant::now(), false);
    loop {
        let left = patience.saturating_sub(since.elapsed());
        let wait = if is_said { left } else { SILENCE.min(left) };
        let Err(error) = admin.inner().fetch_metadata(None, wait.max(LEAST_WAIT)) else { return Ok(()) };
        let reason = error.to_string();
        if since.elapsed() >= patience {
            let reason = format!("no answer within {} s: {reason}", patience.as_secs());
            return Err(ProduceError::Kafka { brokers: brokers.to_owned(), reason });
        }
        if !is_said && since.elapsed() >= SILENCE.min(patience) {
            is_said = true;
            let left = patience.saturating_sub(since.elapsed()).as_secs();
            say(&format!("no broker of {brokers} has answered yet: {reason}; trying for {left} s more"));
        }
        std::thread::sleep(LEAST_WAIT);
    }
}

/// Waits for a future on this thread: the library's own threads complete it.
pub(crate) fn wait_for<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Unpark>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn a_broker_that_does_not_answer_is_told_of_before_it_is_given_up() {
        let mut config = ClientConfig::new();
        // Nobody listens there.
        config.set("bootstrap.servers", "127.0.0.1:1");
        let admin: AdminClient<DefaultClientContext> = config.create().expect("a client");
        let (said, since) = (RefCell::new(Vec::new()), Instant::now());
        let say = |text: &str| said.borrow_mut().push((since.elapsed(), text.to_owned()));
        let error =
            connect(&admin, "127.0.0.1:1", SILENCE + Duration::from_secs(2), &say).expect_err("nobody is there");
        let said = said.into_inner();
        let [(after, text)] = &said[..] else { panic!("once: {said:?}") };
        assert!(*after < SILENCE + Duration::from_secs(1), "{after:?}");
        assert!(text.contains("127.0.0.1:1") && text.contains("s more"), "{text}");
        let error = error.to_string();
        assert!(error.contains("no answer within 5 s") && error.contains("127.0.0.1:1"), "{error}");
    }
}
