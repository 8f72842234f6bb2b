//! Errors by their numbers.

use rdkafka::bindings::rd_kafka_resp_err_t as Known;
use std::ffi::{CStr, c_char, c_int};
use std::fmt;

/// An error of the library's or of a broker's. Not the enum of the bindings: a broker may send numbers that it lacks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Code(pub(super) c_int);

impl Code {
    pub(super) const NONE: Code = Code(Known::RD_KAFKA_RESP_ERR_NO_ERROR as c_int);
    pub(super) const PARTITION_END: Code = Code(Known::RD_KAFKA_RESP_ERR__PARTITION_EOF as c_int);
    pub(super) const OFFSET_GONE: Code = Code(Known::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET as c_int);
    pub(super) const NO_ANSWER: Code = Code(Known::RD_KAFKA_RESP_ERR__TIMED_OUT as c_int);
    pub(super) const ALL_DOWN: Code = Code(Known::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN as c_int);
    pub(super) const AUTHENTICATION: Code = Code(Known::RD_KAFKA_RESP_ERR__AUTHENTICATION as c_int);
    pub(super) const TLS: Code = Code(Known::RD_KAFKA_RESP_ERR__SSL as c_int);
    pub(super) const MAY_NOT: Code = Code(Known::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED as c_int);

    pub(super) fn is_unknown_topic(self) -> bool {
        [
            Known::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
            Known::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_ID,
            Known::RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION,
            Known::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
            Known::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION,
        ]
        .into_iter()
        .any(|known| known as c_int == self.0)
    }

    /// That nobody answered, whoever was asked.
    pub(super) fn is_silence(self) -> bool {
        [
            Known::RD_KAFKA_RESP_ERR__TIMED_OUT,
            Known::RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE,
            Known::RD_KAFKA_RESP_ERR__TRANSPORT,
            Known::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN,
            Known::RD_KAFKA_RESP_ERR__WAIT_COORD,
        ]
        .into_iter()
        .any(|known| known as c_int == self.0)
    }

    /// What the library says once and then goes on behind the records concerned.
    pub(super) fn leaves_records_out(self) -> bool {
        [Known::RD_KAFKA_RESP_ERR__BAD_MSG, Known::RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED]
            .into_iter()
            .any(|known| known as c_int == self.0)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        unsafe extern "C" {
            /// As in the bindings, which ask for their enum.
            fn rd_kafka_err2str(code: c_int) -> *const c_char;
        }
        // SAFETY: it takes any number, and its texts live as long as the thread and end with a zero. The text of a
        // number that it does not know is overwritten by a later call in this thread; this one is used up at once.
        let text = unsafe { CStr::from_ptr(rd_kafka_err2str(self.0)) };
        formatter.write_str(&text.to_string_lossy())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({self})", self.0)
    }
}
