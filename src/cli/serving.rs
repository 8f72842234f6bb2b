//! A server in front of a running engine.

use super::Usage;
use crate::clock::{Clock, SystemClock};
use crate::metrics::{Endpoint, Extra, Sample};
use crate::serve::status::Engine;
use crate::serve::{Board, ServeError, ServeSettings, Server};
use crate::settings::MetricsSettings;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
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
    for warning in settings.warnings() {
        crate::log::warning(&warning);
    }
    let clock = Arc::new(|| SystemClock.now_ms());
    Server::start(settings, board.clone(), engine, clock).map(Some)
}

/// Shows figures over HTTP, unless `metrics.address` is empty.
///
/// # Errors
/// Where the address is none, or is taken.
pub fn figures(
    settings: &MetricsSettings,
    sample: Arc<dyn Sample>,
    extra: Arc<Extra>,
) -> anyhow::Result<Option<Endpoint>> {
    let bad = |expected| Usage(format!("metrics.address = {:?}: expected {expected}", settings.address));
    let Some(address) = settings.address().map_err(bad)? else { return Ok(None) };
    settings.warning().iter().for_each(crate::log::warning);
    Ok(Some(Endpoint::start(address, sample, extra, Arc::new(|| SystemClock.now_ms()))?))
}

/// Where a command looks for a server: the address that it is given, else the one at which an engine with these settings
/// serves.
///
/// # Errors
/// Where that is none to connect to.
pub fn address(given: Option<&str>, settings: &ServeSettings) -> Result<String, Usage> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let bad = |what: &str| Usage(format!("serve.address = {:?} {what}: name the server with --addr", settings.address));
    let Ok(address) = settings.address.parse::<SocketAddr>() else {
        return Err(bad("is no address to connect to"));
    };
    if address.port() == 0 {
        return Err(bad("leaves the port open"));
    }
    // An engine that listens everywhere listens here.
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(SocketAddr::new(ip, address.port()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_looked_for_where_the_settings_have_it() {
        let of = |given, serve: &str| {
            let settings = ServeSettings { address: serve.to_owned(), ..ServeSettings::default() };
            address(given, &settings).map_err(|usage| usage.0)
        };
        assert_eq!(of(Some("shop:1"), "127.0.0.1:7117").as_deref(), Ok("shop:1"));
        assert_eq!(of(None, "10.1.2.3:7118").as_deref(), Ok("10.1.2.3:7118"));
        assert_eq!(of(None, "0.0.0.0:7118").as_deref(), Ok("127.0.0.1:7118"));
        assert_eq!(of(None, "[::]:7118").as_deref(), Ok("[::1]:7118"));
        assert!(of(None, "").is_err_and(|said| said.contains("--addr")));
        assert!(of(None, "127.0.0.1:0").is_err_and(|said| said.contains("port")));
    }
}
