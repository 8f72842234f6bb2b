//! How processes of a cluster find each other: sockets that are ours, shaken hands on, and only then handed to whoever uses them.
//!
//! ```text
//! hosts file ─▶ door (listens) ◀──hello── door of another process
//!                 │  └─ stray, foreign, former: refused, and the cluster goes on
//!                 ├─ control: a link with heartbeats, between process 0 and each other     (what is told, what is said)
//!                 └─ data:    a socket between each two, for timely                          (what is exchanged)
//! ```
//! It knows no engine: what goes over a link are bytes.

mod door;
mod frame;
mod hello;
mod hosts;
mod link;
mod meeting;
mod security;
mod socket;
mod sockets;
#[cfg(feature = "serve-tls")]
mod tls;

pub use frame::{read_frame, write_frame};
pub use hello::{Answer, Hello, Purpose};
pub use hosts::Hosts;
pub use link::{Link, Outbox};
pub use meeting::{Meeting, join_control, join_data};
pub use security::Security;
pub use socket::Socket;
