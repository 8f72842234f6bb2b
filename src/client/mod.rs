//! Asks a server over gRPC, for the commands that take `--addr`.

mod connection;
mod error;
mod reason;
mod rows;
mod settings;
mod watching;

pub use connection::Connection;
pub use error::ClientError;
pub use rows::{KeyedRows, cells, query_of, table_of};
pub use settings::ClientSettings;
pub use watching::{Seen, Watching};
