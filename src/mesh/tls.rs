//! TLS between processes, where the settings have certificates: each shows its own, and believes those of one authority.
//!
//! ```text
//! timely, links ─▶ near end of a pair ═ far end ─▶ [copied both ways] ─▶ TLS session ─▶ TCP
//! ```
//! Timely has two threads a socket and clones it for them, which a TLS session cannot be. So it is given one end of a local pair of sockets.

use super::socket::Socket;
use anyhow::Context;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The files of a process, PEM.
#[derive(Clone, Debug)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub authority: PathBuf,
}

/// Both sides of TLS, and what runs its sessions.
pub struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    runtime: Runtime,
}

impl Tls {
    /// # Errors
    /// Where a file cannot be read or is none; it names the setting.
    pub fn open(files: &Files) -> anyhow::Result<Tls> {
        let of = |setting: &str, path: &Path| format!("cluster.{setting} = {}", path.display());
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificate)
            .and_then(Iterator::collect)
            .with_context(|| of("tls_certificate_file", &files.certificate))?;
        let key = || PrivateKeyDer::from_pem_file(&files.key).with_context(|| of("tls_key_file", &files.key));
        let mut roots = RootCertStore::empty();
        let authorities: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.authority)
            .and_then(Iterator::collect)
            .with_context(|| of("tls_ca_file", &files.authority))?;
        for authority in authorities {
            roots.add(authority).with_context(|| of("tls_ca_file", &files.authority))?;
        }
        let (provider, roots) = (Arc::new(default_provider()), Arc::new(roots));
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .with_context(|| of("tls_ca_file", &files.authority))?;
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .context("TLS")?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates.clone(), key()?)
            .with_context(|| of("tls_certificate_file", &files.certificate))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("TLS")?
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates, key()?)
            .with_context(|| of("tls_certificate_file", &files.certificate))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("mesh-tls")
            .enable_all()
            .build()
            .context("starting the threads of TLS")?;
        let (acceptor, connector) = (TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client)));
        Ok(Tls { acceptor, connector, runtime })
    }

    /// The near end of a session with who has connected, once both have shown who they are.
    ///
    /// # Errors
    /// Where they have not in time.
    pub fn accept(&self, stream: TcpStream, within: Duration) -> std::io::Result<Socket> {
        self.runtime.block_on(async {
            let session = self.acceptor.accept(to_tokio(stream)?);
            tunnel(tokio::time::timeout(within, session).await??)
        })
    }

    /// The near end of a session with a host, by the name that its certificate is to have.
    ///
    /// # Errors
    /// Where it is not that host, or does not answer in time.
    pub fn connect(&self, stream: TcpStream, host: &str, within: Duration) -> std::io::Result<Socket> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(name).map_err(std::io::Error::other)?;
        self.runtime.block_on(async {
            let session = self.connector.connect(name, to_tokio(stream)?);
            tunnel(tokio::time::timeout(within, session).await??)
        })
    }
}

fn to_tokio(stream: TcpStream) -> std::io::Result<tokio::net::TcpStream> {
    stream.set_nonblocking(true)?;
    tokio::net::TcpStream::from_std(stream)
}

/// Copies both ways between a session and a pair of local sockets, of which one end is returned, until one side ends.
fn tunnel<S>(mut session: S) -> std::io::Result<Socket>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (near, far) = UnixStream::pair()?;
    far.set_nonblocking(true)?;
    let mut far = tokio::net::UnixStream::from_std(far)?;
    tokio::spawn(async move {
        // Either end sees that the other is gone.
        let _ = tokio::io::copy_bidirectional(&mut session, &mut far).await;
    });
    Ok(Socket::Tunnel(near))
}
