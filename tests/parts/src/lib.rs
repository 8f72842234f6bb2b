//! Real parts for tests and benches: provisioned once into `target/parts/`, started on 127.0.0.1, and gone when the
//! process that started them is gone, however it ended.
//!
//! ```text
//! pom.xml, requirements.txt ──▶ cache::provision ──▶ target/parts/<name>-<hash>/    once, by whoever comes first
//! kafka::Broker::start ──┐
//! s3::Moto::start ───────┴──▶ Server: a folder in target/parts/run/, leased ports, a process, its log
//!                               └── Guard: ends the process and removes the folder when our end of a pipe closes
//! ```
//!
//! A test takes what it needs like this:
//!
//! ```no_run
//! use millrace_parts::{kafka::Broker, or_skip};
//!
//! let Some(broker) = or_skip(Broker::shared()) else { return };
//! println!("{}", broker.bootstrap());
//! ```
//!
//! What is not installed or cannot be fetched is [`PartError::Missing`]: with `CI=true` a failure, otherwise a skip
//! that says so. What was there and did not start is [`PartError::Failed`], always a failure.
//!
//! | variable | meaning |
//! |---|---|
//! | `MILLTEST_PARTS` | the cache, instead of `target/parts` of the workspace |
//! | `JAVA_HOME` | the Java to use, instead of the first on the path |
//! | `CI` | `true`: a missing part is a failure |

pub mod cache;
mod error;
mod guard;
pub mod kafka;
pub mod ports;
pub mod python;
pub mod s3;
mod server;
mod step;

use error::tell;
pub use error::{PartError, or_skip};
