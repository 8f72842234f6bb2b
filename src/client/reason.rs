//! Why no answer came, and what to change: what transports say of themselves is "transport error".

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;
use tonic::{Code, Status};

/// Who was to be reached.
#[derive(Clone, Debug)]
pub struct Target {
    /// `HOST:PORT`.
    pub address: String,
    /// Whether the connection is encrypted.
    pub is_tls: bool,
}

/// What somebody says who is spoken to in plain HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Http2,
    Tls,
    Other,
    /// Nothing was heard.
    Nothing,
}

/// Of a status that no server has sent.
pub fn of_status(status: &Status, target: &Target) -> Option<String> {
    let of_transport = matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled);
    let cause = status.source().filter(|_| of_transport)?;
    Some(explained(&causes(cause), io_kind(cause), target, || spoken(&target.address)))
}

pub fn why(error: &(dyn Error + 'static), target: &Target) -> String {
    explained(&causes(error), io_kind(error), target, || spoken(&target.address))
}

fn explained(causes: &str, kind: Option<ErrorKind>, target: &Target, speaks: impl FnOnce() -> Speaks) -> String {
    let has = |text: &str| causes.contains(text);
    if kind == Some(ErrorKind::ConnectionRefused) {
        return "nobody listens there: check the address, and that the engine runs with this serve.address".to_owned();
    }
    if has("lookup address") || has("dns error") {
        return "there is no such host: check its name".to_owned();
    }
    if has("UnknownIssuer") {
        return "its certificate is of an authority that is not trusted here: set client.tls_ca_file".to_owned();
    }
    if has("not valid for name") || has("NotValidForName") {
        return "its certificate is of another name: set client.tls_domain, or use the name in it".to_owned();
    }
    if has("certificate expired") || has("Expired") {
        return "its certificate has expired: renew serve.tls_certificate_file".to_owned();
    }
    if has("CertificateRequired") {
        return "it asks for a certificate of the client: set client.tls_certificate_file and client.tls_key_file"
            .to_owned();
    }
    if has("UnknownCA") || has("BadCertificate") || has("DecryptError") {
        return "it does not accept this client's certificate: set client.tls_certificate_file to one of its \
            serve.tls_client_ca_file"
            .to_owned();
    }
    if kind == Some(ErrorKind::TimedOut) || has("deadline has elapsed") {
        return "no answer in time: check the address, and what lies between".to_owned();
    }
    match (target.is_tls, speaks()) {
        (false, Speaks::Tls) => "it speaks TLS: set client.tls_ca_file, or client.tls = true".to_owned(),
        (true, Speaks::Http2) => {
            "it does not speak TLS: leave client.tls and client.tls_ca_file out, and https:// from the address"
                .to_owned()
        }
        (_, Speaks::Other) => "it does not speak gRPC: check the address".to_owned(),
        _ => format!("the connection was lost ({causes})"),
    }
}

/// Asks in plain HTTP/2, and looks at the first byte of the answer.
fn spoken(address: &str) -> Speaks {
    const PATIENCE: Duration = Duration::from_secs(1);
    const PREFACE_AND_EMPTY_SETTINGS: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    const TLS_ALERT: u8 = 0x15;
    let heard = || -> std::io::Result<u8> {
        let place = address.to_socket_addrs()?.next().ok_or(ErrorKind::NotFound)?;
        let mut stream = TcpStream::connect_timeout(&place, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(PREFACE_AND_EMPTY_SETTINGS)?;
        let mut first = [0];
        stream.read_exact(&mut first)?;
        Ok(first[0])
    };
    match heard() {
        // The length of the settings, three bytes, which is small.
        Ok(0) => Speaks::Http2,
        Ok(TLS_ALERT) => Speaks::Tls,
        Ok(_) => Speaks::Other,
        Err(_) => Speaks::Nothing,
    }
}

/// What a transport error says is in its causes.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        next = cause.source();
        let text = cause.to_string();
        if texts.last() != Some(&text) && text != "transport error" {
            texts.push(text);
        }
    }
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}

fn io_kind(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(error) = cause.downcast_ref::<std::io::Error>() {
            return Some(error.kind());
        }
        next = cause.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_says_what_to_change() {
        let of = |causes: &str, kind, is_tls, speaks| {
            let target = Target { address: "shop:7117".to_owned(), is_tls };
            explained(causes, kind, &target, || speaks)
        };
        let nothing = Speaks::Nothing;
        assert!(of("x", Some(ErrorKind::ConnectionRefused), false, nothing).contains("nobody listens"));
        assert!(of("failed to lookup address information", None, false, nothing).contains("no such host"));
        assert!(of("invalid peer certificate: UnknownIssuer", None, true, nothing).contains("client.tls_ca_file"));
        assert!(of("certificate not valid for name \"x\"", None, true, nothing).contains("client.tls_domain"));
        assert!(of("received fatal alert: CertificateRequired", None, true, nothing).contains("client.tls_key_file"));
        assert!(of("broken pipe", None, false, Speaks::Tls).contains("it speaks TLS"));
        assert!(of("tls handshake eof", None, true, Speaks::Http2).contains("does not speak TLS"));
        assert!(of("x", None, false, Speaks::Other).contains("does not speak gRPC"));
        assert_eq!(of("broken pipe", None, false, Speaks::Http2), "the connection was lost (broken pipe)");
    }
}
