//! Kafka, against a real broker.

mod faults;
mod lost;
mod records;
mod refused;
mod starts;
mod support;
#[cfg(feature = "kafka-tls")]
mod tls;
