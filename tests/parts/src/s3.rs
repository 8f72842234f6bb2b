//! S3 as moto speaks it: conditional writes, multipart, ranges, listing; in memory.

use crate::ports::Lease;
use crate::server::Server;
use crate::step::Step;
use crate::{PartError, python};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

const STEP: Step = Step { part: "S3 (moto)", how_to_get_it: "install Python 3 (apt-get install python3-venv)" };
const START_DEADLINE: Duration = Duration::from_secs(60);
const STOP_DEADLINE: Duration = Duration::from_secs(10);
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// Credentials are not checked, but there must be some: who has none may not write over an object.
const SIGNATURE: &str = "Authorization: AWS4-HMAC-SHA256 Credential=any/20300101/us-east-1/s3/aws4_request";

/// A server of its own, empty at first. Dropped, it is gone with all that it held.
#[derive(Debug)]
pub struct Moto {
    server: Server,
    endpoint: String,
    lease: Lease,
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Headers and body as they came.
    pub text: String,
}

impl Moto {
    /// # Errors
    /// [`PartError`] where it cannot be provisioned or does not start.
    pub fn start() -> Result<Moto, PartError> {
        Moto::launch(Lease::any()?)
    }

    /// The one server of this process, for tests that do not break it and have a bucket of their own.
    ///
    /// # Errors
    /// As [`Moto::start`].
    pub fn shared() -> Result<&'static Moto, PartError> {
        static SHARED: OnceLock<Result<Moto, PartError>> = OnceLock::new();
        SHARED.get_or_init(Moto::start).as_ref().map_err(PartError::clone)
    }

    /// # Errors
    /// As [`Moto::start`], and where the port is taken.
    pub fn start_on(port: u16) -> Result<Moto, PartError> {
        Moto::launch(Lease::of(port)?)
    }

    fn launch(lease: Lease) -> Result<Moto, PartError> {
        let python = python::venv(&Path::new(env!("CARGO_MANIFEST_DIR")).join("s3/requirements.txt"))?;
        let server = Server::new(STEP, "s3")?;
        let mut moto = Moto { server, endpoint: format!("http://127.0.0.1:{}", lease.port()), lease };
        let mut command = Command::new(python);
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &moto.lease.port().to_string()]);
        moto.server.spawn(&mut command)?;
        let address = moto.address();
        let serves = || request(address, "GET", "/moto-api/", &[], b"").is_ok_and(|answer| answer.status == 200);
        moto.server.wait_until(START_DEADLINE, serves)?;
        Ok(moto)
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// # Errors
    /// [`PartError`] where it is not created: a name of fewer than three characters, for one.
    pub fn create_bucket(&self, name: &str) -> Result<(), PartError> {
        let failed = |what: String| PartError::Failed { part: STEP.part, what: format!("bucket {name}: {what}") };
        match self.request("PUT", &format!("/{name}"), &[], b"") {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(failed(answer.text)),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// A request as plain as can be: `/bucket/key`.
    ///
    /// # Errors
    /// Where no answer comes.
    pub fn request(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> io::Result<Response> {
        request(self.address(), method, path, headers, body)
    }

    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    pub fn log_tail(&self) -> String {
        self.server.log_tail()
    }

    /// # Errors
    /// [`PartError::Failed`] where it did not stop when asked and was killed.
    pub fn stop(&mut self) -> Result<(), PartError> {
        self.server.stop(STOP_DEADLINE)
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.lease.port()).into()
    }
}

fn request(address: SocketAddr, method: &str, path: &str, headers: &[&str], body: &[u8]) -> io::Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{SIGNATURE}\r\n");
    for header in headers {
        head += &format!("{header}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Response { status: status.ok_or(io::ErrorKind::InvalidData)?, text })
}
