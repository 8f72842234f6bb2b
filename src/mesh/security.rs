//! Whether sockets between processes are TLS, and how long they may be silent.

use super::socket::Socket;
use super::sockets;
#[cfg(feature = "serve-tls")]
use super::tls::{Files, Tls};
use std::io;
use std::net::TcpStream;
use std::time::Duration;

/// What is done with a socket before anything is said over it.
pub struct Security {
    /// After how long without a sign of the other end a socket fails.
    silence: Duration,
    #[cfg(feature = "serve-tls")]
    tls: Option<Tls>,
}

impl Security {
    /// With TLS where there are files: certificate, key and authority, PEM.
    ///
    /// # Errors
    /// Where a file cannot be used, or this program was built without TLS.
    pub fn new(silence: Duration, files: Option<[&str; 3]>) -> anyhow::Result<Security> {
        #[cfg(feature = "serve-tls")]
        {
            let files = files.map(|[certificate, key, authority]| Files {
                certificate: certificate.into(),
                key: key.into(),
                authority: authority.into(),
            });
            Ok(Security { silence, tls: files.as_ref().map(Tls::open).transpose()? })
        }
        #[cfg(not(feature = "serve-tls"))]
        {
            anyhow::ensure!(
                files.is_none(),
                "cluster.tls_certificate_file: this program was built without TLS (feature serve-tls)"
            );
            Ok(Security { silence })
        }
    }

    pub fn silence(&self) -> Duration {
        self.silence
    }

    /// A socket of who has connected.
    ///
    /// # Errors
    /// Where the system or the other end does not take it.
    pub(super) fn accept(&self, stream: TcpStream, _within: Duration) -> io::Result<Socket> {
        sockets::watch(&stream, self.silence)?;
        #[cfg(feature = "serve-tls")]
        if let Some(tls) = &self.tls {
            return tls.accept(stream, _within);
        }
        Ok(Socket::Tcp(stream))
    }

    /// A socket to `host:port`.
    ///
    /// # Errors
    /// Where nobody is there in time, or not who should be.
    pub(super) fn connect(&self, host: &str, within: Duration) -> io::Result<Socket> {
        let stream = sockets::connect(host, within)?;
        sockets::watch(&stream, self.silence)?;
        #[cfg(feature = "serve-tls")]
        if let Some(tls) = &self.tls {
            return tls.connect(stream, host, within);
        }
        Ok(Socket::Tcp(stream))
    }
}
