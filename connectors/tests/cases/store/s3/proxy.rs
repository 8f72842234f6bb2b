//! A proxy that does to requests and answers what networks do. One connection is one request.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub enum Do {
    Pass,
    /// It is done, and the connection breaks.
    LoseAnswer,
    /// It is done, and nothing comes.
    Stall,
    /// Only so many bytes of the answer come.
    Cut(usize),
    /// It is not done, and this is the answer: a status and a code.
    Answer(u16, &'static str),
    /// The bucket is in another region.
    Redirect(&'static str),
    /// It passes without `If-None-Match`.
    DropCondition,
}

pub struct Request {
    /// Request line and headers; the names of headers in lower case.
    pub head: String,
    /// Counted from 1 among those with the same method and path.
    pub nth: usize,
}

impl Request {
    /// Whether it has this method, and its path or query has this part.
    pub fn is(&self, method: &str, part: &str) -> bool {
        let line = self.head.lines().next().unwrap_or_default();
        line.split(' ').next() == Some(method) && line.contains(part)
    }
}

type Rule = dyn Fn(&Request) -> Do + Send + Sync;

pub struct Proxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub fn start(upstream: &str, rule: impl Fn(&Request) -> Do + Send + Sync + 'static) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let (rule, upstream): (Arc<Rule>, _) = (Arc::new(rule), upstream.replace("http://", ""));
        let log = heads.clone();
        // It ends with the process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (rule, upstream, log) = (rule.clone(), upstream.clone(), log.clone());
                // A client that is gone is what some tests are about.
                thread::spawn(move || drop(serve(client, &upstream, &*rule, &log)));
            }
        });
        Proxy { address, heads }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests had this in their line or headers.
    pub fn count(&self, part: &str) -> usize {
        self.heads.lock().unwrap().iter().filter(|head| head.contains(part)).count()
    }
}

fn serve(mut client: TcpStream, upstream: &str, rule: &Rule, log: &Mutex<Vec<String>>) -> io::Result<()> {
    let (head, body) = read_request(&mut client)?;
    let path = |head: &str| head.split(['?', ' ']).take(2).collect::<Vec<_>>().join(" ");
    let nth = {
        let mut log = log.lock().unwrap();
        log.push(head.clone());
        log.iter().filter(|logged| path(logged) == path(&head)).count()
    };
    let request = Request { head, nth };
    let done = rule(&request);
    let dropped: &[&str] =
        if matches!(done, Do::DropCondition) { &["connection:", "if-none-match:"] } else { &["connection:"] };
    match done {
        Do::Answer(status, code) => {
            let xml = format!("<Error><Code>{code}</Code><Message>of the proxy</Message></Error>");
            let xml = if code.is_empty() { "nothing here" } else { &xml };
            return answer(&mut client, &format!("HTTP/1.1 {status} X\r\n"), xml);
        }
        Do::Redirect(region) => {
            let xml = "<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>";
            return answer(&mut client, &format!("HTTP/1.1 301 X\r\nx-amz-bucket-region: {region}\r\n"), xml);
        }
        _ => {}
    }
    let answer = pass(&request.head, &body, dropped, upstream)?;
    match done {
        Do::LoseAnswer => client.shutdown(Shutdown::Both),
        Do::Stall => {
            thread::sleep(Duration::from_secs(30));
            Ok(())
        }
        Do::Cut(bytes) => client.write_all(&answer[..bytes.min(answer.len())]),
        _ => client.write_all(&answer),
    }
}

fn answer(client: &mut TcpStream, head: &str, body: &str) -> io::Result<()> {
    let rest =
        format!("Content-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    client.write_all(format!("{head}{rest}").as_bytes())
}

fn pass(head: &str, body: &[u8], dropped: &[&str], upstream: &str) -> io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(upstream)?;
    let kept = head.lines().filter(|line| !dropped.iter().any(|name| line.starts_with(name)));
    let head: String = kept.map(|line| format!("{line}\r\n")).collect();
    server.write_all(&[format!("{head}connection: close\r\n\r\n").as_bytes(), body].concat())?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    Ok(answer)
}

/// Its head, with the names of headers in lower case, and its body.
fn read_request(client: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        match client.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    };
    let lower = |line: &str| match line.split_once(':') {
        Some((name, value)) if !name.contains(' ') => format!("{}:{value}", name.to_ascii_lowercase()),
        _ => line.to_owned(),
    };
    let head: Vec<String> = String::from_utf8_lossy(&bytes[..end]).lines().map(lower).collect();
    let head = head.join("\n");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).map(|length| length.trim().parse());
    let length: usize = length.and_then(Result::ok).unwrap_or_default();
    if head.contains("100-continue") {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        match client.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => body.extend_from_slice(&buffer[..read]),
        }
    }
    Ok((head, body))
}
