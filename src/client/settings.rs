//! What can be set of the commands that ask a server.

use serde::{Deserialize, Serialize};

/// How a server is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientSettings {
    /// The bearer token; also the environment's MILLRACE_TOKEN. Empty: none.
    pub token: String,
    /// Whether the connection is encrypted. It is, too, where `tls_ca_file` is set, and with an address of `https://`.
    pub tls: bool,
    /// The authority that the server's certificate comes from, PEM. Empty: those that the system trusts.
    pub tls_ca_file: String,
    /// The name in the server's certificate, where it is not the host of the address.
    pub tls_domain: String,
    /// The client's own certificate chain, PEM, for a server that asks for one.
    pub tls_certificate_file: String,
    /// The private key of the certificate, PEM.
    pub tls_key_file: String,
}
