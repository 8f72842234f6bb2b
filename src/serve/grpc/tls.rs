//! What TLS needs of files: the server's certificate and key, and the authority of callers' certificates.

use super::accept::Greeting;
use super::server::ServeError;
use crate::serve::settings::ServeSettings;

/// How connections are greeted.
///
/// # Errors
/// Where the files are none that TLS can be set up from.
pub fn greeting(settings: &ServeSettings) -> Result<Greeting, ServeError> {
    if settings.tls_certificate_file.is_empty() { Ok(Greeting::Plain) } else { with_tls(settings) }
}

#[cfg(not(feature = "serve-tls"))]
fn with_tls(_: &ServeSettings) -> Result<Greeting, ServeError> {
    Err(ServeError::NoTls)
}

#[cfg(feature = "serve-tls")]
fn with_tls(settings: &ServeSettings) -> Result<Greeting, ServeError> {
    use std::sync::Arc;
    use tokio_rustls::rustls::crypto::ring::default_provider;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::rustls::server::WebPkiClientVerifier;
    use tokio_rustls::rustls::{RootCertStore, ServerConfig};

    let read = |setting, path: &String| {
        std::fs::read(path).map_err(|reason| ServeError::Unreadable { setting, path: path.clone(), reason })
    };
    let certificates = |setting: &'static str, path: &String| {
        let pem = read(setting, path)?;
        let found: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let none = |reason: String| ServeError::Tls(format!("{path} (serve.{setting}) {reason}"));
        let found = found.map_err(|error| none(format!("is no PEM of certificates: {error}")))?;
        if found.is_empty() { Err(none("holds no certificate".to_owned())) } else { Ok(found) }
    };
    let bad = |error: tokio_rustls::rustls::Error| ServeError::Tls(error.to_string());
    let chain = certificates("tls_certificate_file", &settings.tls_certificate_file)?;
    let key_file = &settings.tls_key_file;
    let key = PrivateKeyDer::from_pem_slice(&read("tls_key_file", key_file)?)
        .map_err(|error| ServeError::Tls(format!("{key_file} (serve.tls_key_file) holds no private key: {error}")))?;
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(bad)?;
    let builder = if settings.tls_client_ca_file.is_empty() {
        builder.with_no_client_auth()
    } else {
        let mut roots = RootCertStore::empty();
        for authority in certificates("tls_client_ca_file", &settings.tls_client_ca_file)? {
            roots.add(authority).map_err(bad)?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        builder.with_client_cert_verifier(verifier.build().map_err(|error| ServeError::Tls(error.to_string()))?)
    };
    let mut config = builder.with_single_cert(chain, key).map_err(bad)?;
    config.alpn_protocols.push(b"h2".to_vec());
    Ok(Greeting::Tls(Arc::new(config).into()))
}
