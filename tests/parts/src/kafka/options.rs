//! How a broker is to be.

/// The default: no authentication, free ports, records of any time are taken and kept.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub auth: Auth,
    /// The port of the clients' listener; a free one where it is `None`.
    pub port: Option<u16>,
    /// More lines of `server.properties`, such as `log.segment.bytes=1048576`. They win over ours.
    pub properties: Vec<String>,
    /// More arguments of Java, such as `-Xmx2g`. They win over ours.
    pub java: Vec<String>,
}

/// What the clients' listener asks of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    #[default]
    None,
    /// `SASL_PLAINTEXT`, mechanism `PLAIN`.
    SaslPlain { user: String, password: String },
    /// `SSL`. Clients need [`Broker::ca`](super::Broker::ca).
    Tls,
    /// `SASL_SSL`, mechanism `PLAIN`.
    SaslTls { user: String, password: String },
}

impl Auth {
    /// As clients call it in `security.protocol`.
    pub fn protocol(&self) -> &'static str {
        match self {
            Auth::None => "PLAINTEXT",
            Auth::SaslPlain { .. } => "SASL_PLAINTEXT",
            Auth::Tls => "SSL",
            Auth::SaslTls { .. } => "SASL_SSL",
        }
    }

    pub fn credentials(&self) -> Option<(&str, &str)> {
        match self {
            Auth::SaslPlain { user, password } | Auth::SaslTls { user, password } => Some((user, password)),
            Auth::None | Auth::Tls => None,
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Auth::Tls | Auth::SaslTls { .. })
    }
}
