//! A server in front of a running engine.

use crate::live::{Clock, SystemClock};
use crate::serve::status::Engine;
use crate::serve::{Board, ServeError, ServeSettings, Server};
use std::sync::Arc;

/// Looks for what would keep [`start`] from serving, before a lake is taken over.
///
/// # Errors
/// As [`start`].
pub fn check(settings: &ServeSettings) -> Result<(), ServeError> {
    if settings.address.is_empty() { Ok(()) } else { Server::check(settings) }
}

/// Serves, unless `serve.address` is empty.
///
/// # Errors
/// Where the settings cannot be used, or the address is taken.
pub fn start(
    settings: &ServeSettings,
    board: &Arc<Board>,
    engine: Arc<dyn Engine>,
) -> Result<Option<Server>, ServeError> {
    if settings.address.is_empty() {
        return Ok(None);
    }
    let clock = Arc::new(|| SystemClock.now_ms());
    Server::start(settings, board.clone(), engine, clock).map(Some)
}
