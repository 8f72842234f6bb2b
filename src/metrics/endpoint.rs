//! The HTTP endpoint: a thread of its own, which answers one question a connection.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | 200 with the figures, as OpenMetrics; as Prometheus text 0.0.4 for who takes no OpenMetrics |
//! | `/livez` | 200 while the process works; 503 once a thread of the engine has failed |
//! | `/readyz` | 200 while there are answers and it is not ending; 503 with the reason otherwise |
//!
//! Nobody keeps it: a connection lasts for seconds, and where there are many the oldest gives way. Figures are gathered aside, one scrape
//! after the other, so that health is answered at once.

use super::collector::{Figures, NowMs};
use super::extra::Extra;
use super::sample::Sample;
use crate::log;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("cannot listen on {address} (metrics.address): {reason}")]
    Listen { address: SocketAddr, reason: std::io::Error },
    #[error("cannot start the thread that shows figures: {0}")]
    Thread(std::io::Error),
}

/// Connections at once. The oldest makes room for another.
const CONNECTIONS_MOST: usize = 64;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 64;
/// A request has to be there within this time.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// And its answer has to be taken within this one.
const LASTS: Duration = Duration::from_secs(10);
/// What a request may have before its body, in bytes; bodies are not read.
const HEAD_MOST: usize = 16 << 10;
/// After the system has refused a connection, mostly for want of descriptors.
const REST: Duration = Duration::from_millis(100);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// An endpoint that answers until it is dropped.
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// Listens and answers. `now_ms` gives milliseconds since 1970. To be started before what it tells of: a process that waits for its
    /// source lives, and is not ready.
    ///
    /// # Errors
    /// Where the address is taken, or is none of this machine.
    pub fn start(
        address: SocketAddr,
        sample: Arc<dyn Sample>,
        extra: Arc<Extra>,
        now_ms: NowMs,
    ) -> Result<Endpoint, EndpointError> {
        let listen = |reason| EndpointError::Listen { address, reason };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .thread_name("scrape")
            .enable_all()
            .build()
            .map_err(EndpointError::Thread)?;
        let listener = {
            let _entered = runtime.enter();
            bind(address).map_err(listen)?
        };
        let address = listener.local_addr().map_err(listen)?;
        let mut registry = Registry::with_prefix("millrace");
        registry.register_collector(Box::new(Figures { sample: sample.clone(), extra, now_ms }));
        let shown = Arc::new(Shown { registry, sample });
        let (end, ended) = oneshot::channel();
        let answer = move || runtime.block_on(accept(listener, shown, ended));
        let thread = std::thread::Builder::new().name("metrics".to_owned());
        let thread = thread.spawn(answer).map_err(EndpointError::Thread)?;
        Ok(Endpoint { address, end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        drop(self.end.take());
        // It has nothing to say that the process waits for.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A process that is started again need not wait for the connections of the one before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Until the other end of `ended` is dropped. What is on its way then is cut off.
async fn accept(listener: TcpListener, shown: Arc<Shown>, mut ended: oneshot::Receiver<()>) {
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut ended => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(REST).await;
            continue;
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= CONNECTIONS_MOST
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        open.push_back(tokio::spawn(converse(stream, shown.clone())).abort_handle());
    }
}

async fn converse(stream: TcpStream, shown: Arc<Shown>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let shown = shown.clone();
        async move { Ok::<_, Infallible>(shown.answer(&request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(READ_WITHIN).keep_alive(false).max_buf_size(HEAD_MOST);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    // Whoever is too slow, or speaks something else, is closed.
    let _ = tokio::time::timeout(LASTS, connection).await;
}

/// What is shown.
struct Shown {
    registry: Registry,
    sample: Arc<dyn Sample>,
}

type Answer = Response<Full<Bytes>>;

impl Shown {
    async fn answer<B>(self: Arc<Shown>, request: &Request<B>) -> Answer {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let mut answer = said(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "GET or HEAD\n".to_owned());
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        let health = |trouble: Option<String>| match trouble {
            None => said(StatusCode::OK, PLAIN, "ok\n".to_owned()),
            Some(why) => said(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("{}\n", log::one_line(&why))),
        };
        match request.uri().path() {
            "/metrics" => {
                let open_metrics = takes_open_metrics(request.headers().get_all(ACCEPT).iter());
                // The view of records may have many rows.
                let figures = tokio::task::spawn_blocking(move || self.figures(open_metrics));
                figures.await.unwrap_or_else(|_| no_figures())
            }
            "/livez" => health(self.sample.failed()),
            "/readyz" => health(self.sample.not_ready()),
            _ => said(StatusCode::NOT_FOUND, PLAIN, "there are /metrics, /livez and /readyz\n".to_owned()),
        }
    }

    fn figures(&self, open_metrics: bool) -> Answer {
        let mut out = String::new();
        let (content_type, written) = if open_metrics {
            (OPEN_METRICS, text::encode(&mut out, &self.registry))
        } else {
            (prometheus_text::CONTENT_TYPE, prometheus_text::encode(&mut out, &self.registry))
        };
        match written {
            Ok(()) => said(StatusCode::OK, content_type, out),
            Err(fmt::Error) => no_figures(),
        }
    }
}

/// Whoever says nothing of it takes it, too.
fn takes_open_metrics<'a>(accept: impl Iterator<Item = &'a HeaderValue>) -> bool {
    let mut takes: Vec<String> = Vec::new();
    for value in accept.filter_map(|value| value.to_str().ok()) {
        takes.extend(value.split(',').map(|range| range.split(';').next().unwrap_or_default().trim().to_lowercase()));
    }
    takes.is_empty()
        || takes.iter().any(|range| ["*/*", "application/*", "application/openmetrics-text"].contains(&&**range))
}

fn no_figures() -> Answer {
    said(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "figures cannot be gathered\n".to_owned())
}

fn said(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_no_open_metrics_is_given_the_older_text() {
        let takes = |accept: &[&'static str]| {
            let values: Vec<HeaderValue> = accept.iter().map(|text| HeaderValue::from_static(text)).collect();
            takes_open_metrics(values.iter())
        };
        assert!(takes(&[]) && takes(&["*/*"]) && takes(&["text/plain, */*;q=0.1"]));
        assert!(takes(&["application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"]));
        assert!(!takes(&["text/plain;version=0.0.4"]) && !takes(&["text/html", "text/plain"]));
    }
}
