//! What can be set of the serving side: data only.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// Who may read, how much, for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServeSettings {
    /// Where gRPC listens, `IP:PORT`; port 0 takes any that is free. Empty: nowhere.
    pub address: String,
    /// Threads that answer; and questions of up to `light_rows_max` rows that are worked out aside at once.
    pub workers: usize,
    /// Bearer tokens that may read. Without any token here and in `admin_tokens`, everybody may read, and whoever is on
    /// the same host may administer.
    pub read_tokens: Vec<String>,
    /// Bearer tokens that may read and administer.
    pub admin_tokens: Vec<String>,
    /// Whether the contract can be asked for by reflection, without a token.
    pub reflection: bool,
    /// The server's certificate chain, PEM. Empty: no TLS.
    pub tls_certificate_file: String,
    /// The private key of the certificate, PEM.
    pub tls_key_file: String,
    /// The authority that certificates of clients must come from, PEM. Empty: clients need none.
    pub tls_client_ca_file: String,
    /// The deadline of a call that brings none.
    pub deadline_default_ms: u64,
    /// The latest deadline of a call, whatever it brings. Subscriptions have none but their own.
    pub deadline_max_ms: u64,
    /// Rows that an answer, or a page of one, may have.
    pub max_result_rows: usize,
    /// A question that looks at more rows than this is a heavy one, which holds up no lighter one.
    pub light_rows_max: usize,
    /// Heavy questions that are worked out at once.
    pub heavy_queries_max: usize,
    /// Memory for what callers make the server hold, all together: open calls, answers on their way, pages, subscriptions.
    pub memory_bytes: usize,
    /// Of it, for answers that are read page by page: at most a quarter.
    pub page_cache_bytes: usize,
    /// How long an epoch that somebody reads page by page stays readable after the last page.
    pub keep_epochs_ms: u64,
    /// The largest request that is taken.
    pub request_bytes_max: usize,
    /// Requests of one connection that are worked on at once; more of them wait.
    pub requests_per_connection_max: usize,
    /// Connections at once. Where there are so many, one that is idle makes room; else more wait.
    pub connections_max: usize,
    /// Likewise of one address.
    pub connections_per_address_max: usize,
    /// A connection has to begin with TLS, if there is, and HTTP/2 within this time; one without a call for so long is idle, and one that
    /// never had a call after a tenth of it.
    pub handshake_ms: u64,
    /// A connection that takes nothing of its answers for so long is closed.
    pub answer_stall_ms: u64,
    /// Open calls of one connection, subscriptions included.
    pub streams_per_connection_max: u32,
    /// Subscriptions of all connections.
    pub subscriptions_max: usize,
    /// Rows of a subscription.
    pub subscription_rows_max: usize,
    /// Changes are sent at most so often, whatever a subscription asks for.
    pub subscription_interval_min_ms: u64,
    /// A subscription that takes nothing for so long is ended.
    pub subscription_stall_ms: u64,
    /// How long a subscription can be resumed after it has broken off.
    pub subscription_resume_ms: u64,
    /// A connection is asked for a sign of life so often.
    pub keepalive_interval_ms: u64,
    /// A connection that gives none for so long is closed.
    pub keepalive_timeout_ms: u64,
    /// How long calls may go on once the server is told to end.
    pub drain_ms: u64,
}

impl Default for ServeSettings {
    fn default() -> ServeSettings {
        ServeSettings {
            address: "127.0.0.1:7117".to_owned(),
            workers: 2,
            read_tokens: Vec::new(),
            admin_tokens: Vec::new(),
            reflection: true,
            tls_certificate_file: String::new(),
            tls_key_file: String::new(),
            tls_client_ca_file: String::new(),
            deadline_default_ms: 10_000,
            deadline_max_ms: 60_000,
            max_result_rows: 20_000,
            light_rows_max: 20_000,
            heavy_queries_max: 2,
            memory_bytes: 256 << 20,
            page_cache_bytes: 64 << 20,
            keep_epochs_ms: 60_000,
            request_bytes_max: 1 << 20,
            requests_per_connection_max: 1_024,
            connections_max: 512,
            connections_per_address_max: 256,
            handshake_ms: 5_000,
            answer_stall_ms: 30_000,
            streams_per_connection_max: 1_024,
            subscriptions_max: 1_024,
            subscription_rows_max: 100_000,
            subscription_interval_min_ms: 100,
            subscription_stall_ms: 30_000,
            subscription_resume_ms: 60_000,
            keepalive_interval_ms: 30_000,
            keepalive_timeout_ms: 10_000,
            drain_ms: 10_000,
        }
    }
}

/// An hour, a thousand connections, a gigabyte: what is beyond is a mistake in the unit.
const MILLISECONDS_MAX: u64 = 24 * 3_600_000;
const COUNT_MAX: u64 = 1 << 24;
const BYTES_MAX: u64 = 1 << 40;

impl ServeSettings {
    /// # Errors
    /// The setting that cannot be used (its name below `serve`), its value, and what is expected.
    pub fn check(&self) -> Result<(), (&'static str, String, String)> {
        if !self.address.is_empty() && self.address.parse::<SocketAddr>().is_err() {
            let expected = "an IP address and a port such as 0.0.0.0:7117, or empty".to_owned();
            return Err(("address", self.address.clone(), expected));
        }
        if self.tls_certificate_file.is_empty() != self.tls_key_file.is_empty() {
            let expected = "both tls_certificate_file and tls_key_file, or neither".to_owned();
            return Err(("tls_certificate_file", self.tls_certificate_file.clone(), expected));
        }
        if self.tls_certificate_file.is_empty() && !self.tls_client_ca_file.is_empty() {
            let expected = "empty where there is no tls_certificate_file".to_owned();
            return Err(("tls_client_ca_file", self.tls_client_ca_file.clone(), expected));
        }
        let tokens = || self.read_tokens.iter().chain(&self.admin_tokens);
        if tokens().any(|token| token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(("read_tokens", "***".to_owned(), "tokens of visible ASCII, none empty".to_owned()));
        }
        let count = |name, value: usize, least| (name, value as u64, least, COUNT_MAX);
        let bytes = |name, value: usize, least| (name, value as u64, least, BYTES_MAX);
        let milliseconds = |name, value, least| (name, value, least, MILLISECONDS_MAX);
        let limits = [
            ("workers", self.workers as u64, 1, 1_024),
            milliseconds("deadline_default_ms", self.deadline_default_ms, 1),
            milliseconds("deadline_max_ms", self.deadline_max_ms, 1),
            count("max_result_rows", self.max_result_rows, 1),
            count("light_rows_max", self.light_rows_max, 0),
            count("heavy_queries_max", self.heavy_queries_max, 1),
            bytes("memory_bytes", self.memory_bytes, 1 << 20),
            bytes("page_cache_bytes", self.page_cache_bytes, 0),
            milliseconds("keep_epochs_ms", self.keep_epochs_ms, 1),
            bytes("request_bytes_max", self.request_bytes_max, 1_024),
            count("requests_per_connection_max", self.requests_per_connection_max, 1),
            count("connections_max", self.connections_max, 1),
            count("connections_per_address_max", self.connections_per_address_max, 1),
            milliseconds("handshake_ms", self.handshake_ms, 1),
            milliseconds("answer_stall_ms", self.answer_stall_ms, 1),
            count("streams_per_connection_max", self.streams_per_connection_max as usize, 1),
            count("subscriptions_max", self.subscriptions_max, 0),
            count("subscription_rows_max", self.subscription_rows_max, 1),
            milliseconds("subscription_interval_min_ms", self.subscription_interval_min_ms, 1),
            milliseconds("subscription_stall_ms", self.subscription_stall_ms, 1),
            milliseconds("subscription_resume_ms", self.subscription_resume_ms, 0),
            milliseconds("keepalive_interval_ms", self.keepalive_interval_ms, 100),
            milliseconds("keepalive_timeout_ms", self.keepalive_timeout_ms, 100),
            milliseconds("drain_ms", self.drain_ms, 0),
        ];
        for (name, value, least, most) in limits {
            if !(least..=most).contains(&value) {
                return Err((name, value.to_string(), format!("{least} to {most}")));
            }
        }
        Ok(())
    }

    /// What whoever starts a server should know of who may read it.
    pub fn warnings(&self) -> Vec<String> {
        let Ok(address) = self.address.parse::<SocketAddr>() else { return Vec::new() };
        if address.ip().to_canonical().is_loopback() {
            return Vec::new();
        }
        let is_open = self.read_tokens.is_empty() && self.admin_tokens.is_empty();
        let is_plain = self.tls_certificate_file.is_empty();
        let open = (is_open && self.tls_client_ca_file.is_empty()).then(|| {
            format!(
                "whoever reaches {address} may read every answer: set serve.read_tokens, or serve.address to 127.0.0.1"
            )
        });
        let plain = (!is_open && is_plain).then(|| {
            format!("tokens reach {address} unencrypted, and can be read on the way: set serve.tls_certificate_file")
        });
        open.into_iter().chain(plain).collect()
    }

    /// How long a [`Board`](super::Board) should keep versions.
    pub fn keep_epochs(&self) -> Duration {
        Duration::from_millis(self.keep_epochs_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_open_to_others_is_told() {
        let said = |address: &str, tokens: &[&str], certificate: &str| {
            let settings = ServeSettings {
                address: address.to_owned(),
                read_tokens: tokens.iter().map(|token| (*token).to_owned()).collect(),
                tls_certificate_file: certificate.to_owned(),
                ..ServeSettings::default()
            };
            settings.warnings().concat()
        };
        assert_eq!(said("127.0.0.1:7117", &[], ""), "");
        assert_eq!(said("[::1]:7117", &["t"], ""), "");
        assert_eq!(said("", &[], ""), "");
        assert!(said("0.0.0.0:7117", &[], "").contains("0.0.0.0:7117 may read every answer: set serve.read_tokens"));
        assert!(said("[::]:7117", &[], "server.pem").contains("may read every answer"));
        assert!(said("10.0.0.1:7117", &["t"], "").contains("unencrypted"));
        assert_eq!(said("10.0.0.1:7117", &["t"], "server.pem"), "");
    }
}
