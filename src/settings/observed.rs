//! How a process is observed: its figures, and what it says.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Where figures and health are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsSettings {
    /// Where HTTP listens for `/metrics`, `/livez` and `/readyz`, `IP:PORT`; port 0 takes any that is free. Empty: nowhere.
    pub address: String,
}

impl MetricsSettings {
    /// Where to listen, if anywhere.
    ///
    /// # Errors
    /// What is expected, where the address is none.
    pub fn address(&self) -> Result<Option<SocketAddr>, &'static str> {
        if self.address.is_empty() {
            return Ok(None);
        }
        self.address.parse().map(Some).map_err(|_| "an IP address and a port such as 0.0.0.0:9117, or empty")
    }

    /// What whoever starts an endpoint should know of who may read it.
    pub fn warning(&self) -> Option<String> {
        let address = self.address().ok()??;
        (!address.ip().to_canonical().is_loopback()).then(|| {
            format!(
                "whoever reaches {address} may read the figures of this process, unencrypted: keep strangers off, or set \
                 metrics.address to 127.0.0.1"
            )
        })
    }
}

/// What is said on stderr.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoggingSettings {
    pub format: LogFormat,
}

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people: `2026-12-01T02:39:25.123Z info: serving on 127.0.0.1:7117`.
    #[default]
    Text,
    /// For machines: an object a line, with `time`, `level`, `message` and, where there are any, `fields`.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_open_to_others_is_told() {
        let of = |address: &str| MetricsSettings { address: address.to_owned() };
        for address in ["", "127.0.0.1:9117", "[::1]:0", "[::ffff:127.0.0.1]:1", "nonsense"] {
            assert_eq!(of(address).warning(), None, "{address}");
        }
        for address in ["0.0.0.0:9117", "[::]:9117", "10.0.0.1:1"] {
            assert!(
                of(address).warning().is_some_and(|text| text.contains(address) && text.contains("metrics.address"))
            );
        }
        assert_eq!((of("").address(), of("localhost:1").address().is_err()), (Ok(None), true));
    }
}
