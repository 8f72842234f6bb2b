//! Who asks, and by when there has to be an answer.

use super::deadline::Deadline;
use super::error::{Kind, ReadError};
use crate::serve::callers::connections::Connection;
use std::sync::Arc;

/// Whoever asks.
#[derive(Clone)]
pub struct Asker {
    pub deadline: Deadline,
    /// `None` where it is nobody from outside.
    pub connection: Option<Arc<Connection>>,
}

impl Asker {
    /// Whether it is still worth working for.
    ///
    /// # Errors
    /// Where its time has passed, or it has gone.
    pub fn check(&self, what: &str) -> Result<(), ReadError> {
        self.deadline.check(what)?;
        match &self.connection {
            Some(connection) if !connection.is_open() => Err(ReadError::new(Kind::Gone, "the connection is closed")),
            _ => Ok(()),
        }
    }
}
