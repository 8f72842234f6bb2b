//! The ids that brokers give topics when they are made: by them a topic is told from a later one of its name.

use super::client::{Handle, milliseconds};
use super::code::Code;
use super::queue::Queue;
use rdkafka::bindings as sys;
use std::ffi::{CString, c_char, c_int};
use std::ptr::{self, NonNull};
use std::time::Duration;

// Functions of the library that give a broker's error number, which the enum of the bindings may lack.
unsafe extern "C" {
    fn rd_kafka_event_error(event: *mut sys::rd_kafka_event_t) -> c_int;
    fn rd_kafka_error_code(error: *const sys::rd_kafka_error_t) -> c_int;
}

/// Of each topic, its id, `None` where the brokers give none (before Kafka 2.8), or what is wrong with it.
pub(super) type Ids = Vec<Result<Option<String>, Code>>;

impl Handle {
    /// The ids of topics, in their order.
    ///
    /// # Errors
    /// [`Code`] where nobody answered.
    pub(super) fn topic_ids(&self, topics: &[&str], timeout: Duration) -> Result<Ids, Code> {
        let names = topics.iter().map(|topic| CString::new(*topic).expect("names of topics are checked for zeros"));
        let names: Vec<CString> = names.collect();
        let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let client = self.client();
        // SAFETY: the names outlive the call that copies them. What is made here is given back here, the event last, after
        // all that points into it has been read. The queue is counted for us and ends before the client.
        unsafe {
            let queue = Queue::new(sys::rd_kafka_queue_new(client)).expect("a queue can be made");
            let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
            let options = sys::rd_kafka_AdminOptions_new(client, operation);
            let (wait, no_text) = (milliseconds(timeout), ptr::null_mut());
            sys::rd_kafka_AdminOptions_set_request_timeout(options, wait, no_text, 0);
            let wanted = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            sys::rd_kafka_DescribeTopics(client, wanted, options, queue.as_ptr());
            sys::rd_kafka_TopicCollection_destroy(wanted);
            sys::rd_kafka_AdminOptions_destroy(options);
            let Some(event) = NonNull::new(sys::rd_kafka_queue_poll(queue.as_ptr(), wait)) else {
                return Err(Code::NO_ANSWER);
            };
            let ids = ids_of(event.as_ptr(), topics.len());
            sys::rd_kafka_event_destroy(event.as_ptr());
            ids
        }
    }
}

/// # Safety
/// It is the event of an answer, and lives as long as it is read.
unsafe fn ids_of(event: *mut sys::rd_kafka_event_t, wanted: usize) -> Result<Ids, Code> {
    // SAFETY: as the caller says; the list has the length that stands beside it.
    unsafe {
        let code = Code(rd_kafka_event_error(event));
        if code != Code::NONE {
            return Err(code);
        }
        let answer = sys::rd_kafka_event_DescribeTopics_result(event);
        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(answer, &mut count);
        if answer.is_null() || topics.is_null() || count != wanted {
            return Err(Code::NO_ANSWER);
        }
        Ok(std::slice::from_raw_parts(topics, count).iter().map(|&topic| id_of(topic)).collect())
    }
}

/// # Safety
/// Null, or a topic's description that lives as long as it is read.
unsafe fn id_of(topic: *const sys::rd_kafka_TopicDescription_t) -> Result<Option<String>, Code> {
    if topic.is_null() {
        return Ok(None);
    }
    // SAFETY: as the caller says; what it gives belongs to it.
    unsafe {
        let error = sys::rd_kafka_TopicDescription_error(topic);
        let code = if error.is_null() { Code::NONE } else { Code(rd_kafka_error_code(error)) };
        if code != Code::NONE {
            return Err(code);
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        if id.is_null() {
            return Ok(None);
        }
        let halves = [sys::rd_kafka_Uuid_most_significant_bits(id), sys::rd_kafka_Uuid_least_significant_bits(id)];
        Ok((halves != [0, 0]).then(|| shown(halves)))
    }
}

/// As Kafka's tools print it: base64 with the letters of addresses, and nothing to fill it up.
fn shown(halves: [i64; 2]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = (u128::from(halves[0].cast_unsigned()) << 64) | u128::from(halves[1].cast_unsigned());
    // 21 letters of 6 bits, and one of the 2 that are left.
    let letter = |at: u32| if at < 21 { bits >> (122 - 6 * at) & 63 } else { bits << 4 & 63 };
    (0..22).map(|at| char::from(LETTERS[letter(at) as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_printed_as_kafka_prints_it() {
        assert_eq!(shown([0, 1]), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(shown([-1, -1]), "_____________________w");
        assert_eq!(shown([0x0123_4567_89ab_cdef, 0x0123_4567_89ab_cdef]), "ASNFZ4mrze8BI0VniavN7w");
    }
}
