//! That the parts do what tests will rely on, as one binary.

#[path = "cases/ends.rs"]
mod ends;
#[path = "cases/kafka.rs"]
mod kafka;
#[path = "cases/s3.rs"]
mod s3;
