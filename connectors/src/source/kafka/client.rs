//! librdkafka's client, in safe terms: what it is asked, and what it says by itself.
//!
//! Its two queues stay apart. What concerns the client (a broker that is down, an answer to a commit) comes as an
//! [`Event`]; messages, and what concerns one partition, come in [`Batch`](super::batch::Batch)es. So one thread can look
//! after the client while another reads, and the second waits for nothing but messages.

use super::code::Code;
use super::error::KafkaError;
use super::queue::Queue;
use crate::short::short;
use rdkafka::bindings as sys;
use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError as LibraryError;
use rdkafka::types::{RDKafkaConfRes, RDKafkaType};
use rdkafka::{Offset, TopicPartitionList};
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::{self, NonNull};
use std::sync::mpsc::channel;
use std::time::Duration;

// Functions of the library that give a broker's error number, which the enum of the bindings may lack.
unsafe extern "C" {
    fn rd_kafka_metadata(
        client: *mut sys::rd_kafka_t,
        all_topics: c_int,
        only: *mut sys::rd_kafka_topic_t,
        metadata: *mut *const sys::rd_kafka_metadata,
        timeout_ms: c_int,
    ) -> c_int;
    fn rd_kafka_offsets_for_times(
        client: *mut sys::rd_kafka_t,
        offsets: *mut sys::rd_kafka_topic_partition_list_t,
        timeout_ms: c_int,
    ) -> c_int;
    fn rd_kafka_event_error(event: *mut sys::rd_kafka_event_t) -> c_int;
}

/// How long the end of a client may hold up whoever ends it.
const END: Duration = Duration::from_secs(1);

/// A consumer that belongs to no group. All of it may be used from any thread.
pub(super) struct Handle {
    /// None once they have ended.
    parts: Option<Parts>,
    secrets: Vec<String>,
}

struct Parts {
    /// Before the client, which ends when nothing of it is left.
    events: Queue,
    client: Client,
}

/// What the client says by itself.
pub(super) enum Event {
    Trouble { code: Code, text: String },
    Committed(Result<(), Code>),
    Other,
}

/// Where in time an offset is asked for.
#[derive(Clone, Copy)]
pub(super) enum At {
    Earliest,
    /// Behind the last record that no open transaction stands before.
    End,
    /// Of the first record with that timestamp, in milliseconds, or a later one.
    Time(i64),
}

/// (topic, partition, offset)
pub(super) type Position<'a> = (&'a str, u32, u64);

impl Handle {
    /// # Errors
    /// [`KafkaError`] where the library does not take the configuration.
    pub(super) fn new(config: &ClientConfig, secrets: Vec<String>) -> Result<Handle, KafkaError> {
        let native = config.create_native_config().map_err(refused)?;
        // SAFETY: the configuration is ours, and not yet given to a client.
        unsafe { sys::rd_kafka_conf_set_events(native.ptr(), sys::RD_KAFKA_EVENT_ERROR) };
        let kind = RDKafkaType::RD_KAFKA_CONSUMER;
        let client = Client::new(config, native, kind, DefaultClientContext).map_err(|error| {
            let reason = match error {
                LibraryError::ClientCreation(reason) => reason,
                other => other.to_string(),
            };
            KafkaError::Client { reason: clean(&secrets, &reason) }
        })?;
        // SAFETY: the queue is counted for us, and ends before the client.
        let events = unsafe { Queue::new(sys::rd_kafka_queue_get_main(client.native_ptr())) };
        let events = events.expect("every client has a main queue");
        Ok(Handle { parts: Some(Parts { events, client }), secrets })
    }

    fn parts(&self) -> &Parts {
        self.parts.as_ref().expect("they end with the handle")
    }

    pub(super) fn client(&self) -> *mut sys::rd_kafka_t {
        self.parts().client.native_ptr()
    }

    fn events(&self) -> &Queue {
        &self.parts().events
    }

    /// The queue of messages and of what concerns single partitions.
    pub(super) fn messages(&self) -> Queue {
        // SAFETY: the queue is counted for us; who asks for it holds the handle, too.
        let queue = unsafe { Queue::new(sys::rd_kafka_queue_get_consumer(self.client())) };
        queue.expect("a client with a group.id has a consumer queue")
    }

    /// The numbers of a topic's partitions.
    pub(super) fn partitions(&self, topic: &str, timeout: Duration) -> Result<Vec<u32>, Code> {
        let name = CString::new(topic).expect("names of topics are checked for zeros");
        let client = self.client();
        let mut metadata = ptr::null();
        // SAFETY: the topic is given back once it has been asked about; the metadata are read before they are given
        // back, and their lists have the lengths that stand beside them.
        unsafe {
            let only = sys::rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut());
            if only.is_null() {
                return Err(Code(sys::rd_kafka_last_error() as c_int));
            }
            let code = Code(rd_kafka_metadata(client, 0, only, &mut metadata, milliseconds(timeout)));
            sys::rd_kafka_topic_destroy(only);
            if code != Code::NONE {
                return Err(code);
            }
            let found = partitions_of(&*metadata);
            sys::rd_kafka_metadata_destroy(metadata);
            found
        }
    }

    /// An offset of each partition; none where no record is of that time or later.
    pub(super) fn offsets(
        &self,
        topic: &str,
        partitions: &[u32],
        at: At,
        timeout: Duration,
    ) -> Result<Vec<Option<u64>>, Code> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let at = match at {
            At::Earliest => Offset::Beginning,
            At::End => Offset::End,
            At::Time(time) if time <= 0 => Offset::Beginning,
            At::Time(time) => Offset::Offset(time),
        };
        let list = list(partitions.iter().map(|&partition| (topic, partition, at)));
        // SAFETY: the list outlives the call, which fills it in.
        let code = Code(unsafe { rd_kafka_offsets_for_times(self.client(), list.ptr(), milliseconds(timeout)) });
        if code != Code::NONE {
            return Err(code);
        }
        let offset = |offset| if let Offset::Offset(offset) = offset { u64::try_from(offset).ok() } else { None };
        Ok(list.elements().iter().map(|element| offset(element.offset())).collect())
    }

    /// Reads these partitions, too, from there.
    pub(super) fn assign(&self, positions: &[Position<'_>]) -> Result<(), KafkaError> {
        let list = positions_list(positions);
        // SAFETY: the list outlives the call, which copies it.
        assigned(unsafe { sys::rd_kafka_incremental_assign(self.client(), list.ptr()) })
    }

    /// Reads this partition no more. Messages of it that are queued are not handed out.
    pub(super) fn unassign(&self, topic: &str, partition: u32) -> Result<(), KafkaError> {
        let list = list([(topic, partition, Offset::Invalid)].into_iter());
        // SAFETY: the list outlives the call, which copies it.
        assigned(unsafe { sys::rd_kafka_incremental_unassign(self.client(), list.ptr()) })
    }

    /// Writes these offsets to the group. The answer is an [`Event`].
    pub(super) fn commit(&self, positions: &[Position<'_>]) {
        let list = positions_list(positions);
        // SAFETY: the list outlives the call, which copies it; the queue lives as long as the client.
        // It fails at once only for a client without a group.
        unsafe {
            let (client, queue) = (self.client(), self.events().as_ptr());
            sys::rd_kafka_commit_queue(client, list.ptr(), queue, None, ptr::null_mut());
        }
    }

    /// Waits for what the client has to say. Ends early when [`Handle::wake`] is called.
    pub(super) fn next_event(&self, timeout: Duration) -> Option<Event> {
        // SAFETY: the event is read before it is given back; its texts end with a zero.
        unsafe {
            let event = NonNull::new(sys::rd_kafka_queue_poll(self.events().as_ptr(), milliseconds(timeout)))?.as_ptr();
            let code = Code(rd_kafka_event_error(event));
            let what = match sys::rd_kafka_event_type(event) {
                sys::RD_KAFKA_EVENT_ERROR => {
                    Event::Trouble { code, text: self.clean(&text(sys::rd_kafka_event_error_string(event))) }
                }
                sys::RD_KAFKA_EVENT_OFFSET_COMMIT if code == Code::NONE => Event::Committed(Ok(())),
                sys::RD_KAFKA_EVENT_OFFSET_COMMIT => Event::Committed(Err(code)),
                _ => Event::Other,
            };
            sys::rd_kafka_event_destroy(event);
            Some(what)
        }
    }

    /// Ends the wait of whoever waits for events.
    pub(super) fn wake(&self) {
        self.events().wake();
    }

    /// A text of the library's without any secret that may have got into it.
    pub(super) fn clean(&self, text: &str) -> String {
        clean(&self.secrets, text)
    }
}

impl Drop for Handle {
    /// A client ends when the requests that it has sent are answered, which takes as long as a broker that is away is
    /// waited for. Nobody needs those answers: it ends by itself.
    fn drop(&mut self) {
        let Some(parts) = self.parts.take() else { return };
        let (ended, end) = channel::<()>();
        let ending = std::thread::Builder::new().name("kafka-end".to_owned()).spawn(move || {
            drop(parts);
            drop(ended);
        });
        if ending.is_ok() {
            // Either way it is over for us.
            let _ = end.recv_timeout(END);
        }
    }
}

fn refused(error: LibraryError) -> KafkaError {
    // Its text may hold the value.
    match error {
        LibraryError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, name, _) => {
            KafkaError::UnknownProperty { name }
        }
        LibraryError::ClientConfig(_, _, name, _) => KafkaError::BadProperty { name },
        _ => KafkaError::ZeroByte { name: "properties" },
    }
}

/// # Safety
/// The lists have the lengths that stand beside them.
unsafe fn partitions_of(metadata: &sys::rd_kafka_metadata) -> Result<Vec<u32>, Code> {
    // SAFETY: as the caller says.
    let topics = unsafe { slice(metadata.topics, metadata.topic_cnt) };
    let Some(topic) = topics.first() else { return Ok(Vec::new()) };
    // SAFETY: the field is there; only what it holds may not be one of its enum's values.
    let code = Code(unsafe { (&raw const topic.err).cast::<c_int>().read() });
    if code != Code::NONE {
        return Err(code);
    }
    // SAFETY: as the caller says.
    let partitions = unsafe { slice(topic.partitions, topic.partition_cnt) };
    Ok(partitions.iter().filter_map(|partition| u32::try_from(partition.id).ok()).collect())
}

/// # Safety
/// There are so many, or none.
unsafe fn slice<'a, T>(first: *const T, count: c_int) -> &'a [T] {
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: as the caller says.
    if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(first, count) } }
}

fn positions_list(positions: &[Position<'_>]) -> TopicPartitionList {
    list(positions.iter().map(|&(topic, partition, offset)| (topic, partition, Offset::Offset(signed(offset)))))
}

fn list<'a>(elements: impl Iterator<Item = (&'a str, u32, Offset)>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (topic, partition, offset) in elements {
        let partition = i32::try_from(partition).expect("the broker's numbers of partitions have 31 bits");
        list.add_partition_offset(topic, partition, offset).expect("it is a concrete offset or a named one");
    }
    list
}

fn signed(offset: u64) -> i64 {
    i64::try_from(offset).expect("the broker's offsets have 63 bits")
}

fn assigned(error: *mut sys::rd_kafka_error_t) -> Result<(), KafkaError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the error is ours, is read before it is given back, and its text ends with a zero.
    let reason = unsafe {
        let reason = text(sys::rd_kafka_error_string(error));
        sys::rd_kafka_error_destroy(error);
        reason
    };
    Err(KafkaError::Assign { reason })
}

/// # Safety
/// Null, or a text that ends with a zero.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as the caller says.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

fn clean(secrets: &[String], text: &str) -> String {
    short(&secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***")))
}

/// At least as long.
pub(super) fn milliseconds(timeout: Duration) -> c_int {
    c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
}
