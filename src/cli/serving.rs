//! A server in front of a running engine.

use crate::live::{Clock, Live, SystemClock};
use crate::serve::{ServeError, ServeSettings, Server};
use std::sync::Arc;

/// Serves, unless `serve.address` is empty.
///
/// # Errors
/// Where the settings cannot be used, or the address is taken.
pub fn start(settings: &ServeSettings, live: &Live) -> Result<Option<Server>, ServeError> {
    if settings.address.is_empty() {
        return Ok(None);
    }
    let clock = Arc::new(|| SystemClock.now_ms());
    Server::start(settings, live.board.clone(), live.engine.clone(), clock).map(Some)
}
