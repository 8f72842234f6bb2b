//! What every request passes first: who may call, and the count of it.

use super::auth::{Needs, Tokens};
use super::metrics::ServeMetrics;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response, header::AUTHORIZATION};
use tonic::transport::server::TcpConnectInfo;
use tower::Layer;

#[derive(Clone)]
pub struct Gate {
    pub tokens: Arc<Tokens>,
    pub metrics: Arc<ServeMetrics>,
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, gate: self.clone() }
    }
}

#[derive(Clone)]
pub struct Gated<S> {
    inner: S,
    gate: Gate,
}

type Answering<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl<S, A, B> Service<Request<A>> for Gated<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: Default,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Answering<Response<B>, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let started = Instant::now();
        let path = request.uri().path();
        let method = ServeMetrics::method(path);
        let authorization = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
        let metrics = self.gate.metrics.clone();
        if let Err(status) = self.gate.tokens.allow(Needs::of(path), authorization, caller(&request)) {
            metrics.count(method, true, started.elapsed());
            return Box::pin(async move { Ok(status.into_http()) });
        }
        let answering = self.inner.call(request);
        Box::pin(async move {
            let answer = answering.await;
            // A status that comes with the head is a failure: a success is told at the end.
            let failed = answer.as_ref().map_or(true, |answer| answer.headers().contains_key("grpc-status"));
            metrics.count(method, failed, started.elapsed());
            answer
        })
    }
}

fn caller<A>(request: &Request<A>) -> Option<IpAddr> {
    let plain = request.extensions().get::<TcpConnectInfo>();
    #[cfg(feature = "serve-tls")]
    let plain = plain.or_else(|| {
        use tonic::transport::server::TlsConnectInfo;
        request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>().map(TlsConnectInfo::get_ref)
    });
    plain.and_then(TcpConnectInfo::remote_addr).map(|address| address.ip())
}
