//! What every request passes first: who may call, whether there is room for it, and the count of it.

use super::accept::Caller;
use super::body::{Call, Incoming, Outgoing};
use super::error::{denied, full};
use super::metrics::ServeMetrics;
use crate::serve::callers::auth::{Denial, Needs, Tokens};
use crate::serve::callers::memory::Memory;
use crate::serve::callers::strangers::Strangers;
use bytes::Bytes;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response, header::AUTHORIZATION};
use tower::Layer;

#[derive(Clone)]
pub struct Gate {
    pub tokens: Arc<Tokens>,
    pub metrics: Arc<ServeMetrics>,
    pub strangers: Arc<Strangers>,
    pub memory: Arc<Memory>,
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

impl<S, B> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: http_body::Body<Data = Bytes> + Default + Send + 'static,
{
    type Response = Response<Outgoing<B>>;
    type Error = S::Error;
    type Future = Answering<Self::Response, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let started = Instant::now();
        let path = request.uri().path();
        let method = ServeMetrics::method(path);
        let authorization = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
        let caller = request.extensions().get::<Caller>().cloned();
        let metrics = self.gate.metrics.clone();
        let address = caller.as_ref().map(Caller::address);
        if caller.as_ref().is_some_and(|caller| !caller.0.is_open()) {
            // It may have brought hundreds of them before it went.
            return Box::pin(async { Ok(refusal(&Status::cancelled("the connection is closed"))) });
        }
        let needs = needs(path);
        if let Err(denial) = self.gate.tokens.allow(needs, authorization, address) {
            metrics.count(method, true, started.elapsed());
            return self.gate.deny(denial, caller);
        }
        let call = match Call::begin(&self.gate.memory, caller.map(|caller| caller.0), needs != Needs::Nothing) {
            Ok(call) => call,
            Err(short) => {
                metrics.count(method, true, started.elapsed());
                return Box::pin(async move { Ok(refusal(&full(short))) });
            }
        };
        let of_request = call.clone();
        request.extensions_mut().insert(call.clone());
        let answering = self.inner.call(request.map(|body| Body::new(Incoming { body, call: of_request })));
        Box::pin(async move {
            let answer = answering.await?;
            // A status that comes with the head is a failure: a success is told at the end.
            metrics.count(method, answer.headers().contains_key("grpc-status"), started.elapsed());
            Ok(answer.map(|body| Outgoing::new(body, Some(call))))
        })
    }
}

impl Gate {
    fn deny<B, E>(&self, denial: Denial, caller: Option<Caller>) -> Answering<Response<Outgoing<B>>, E>
    where
        B: http_body::Body + Default + Send + 'static,
    {
        let status = denied(&denial);
        if !denial.wrong_token {
            return Box::pin(async move { Ok(refusal(&status)) });
        }
        let verdict = self.strangers.wrong_token(caller.as_ref().map(Caller::address), Instant::now());
        if let Some(line) = verdict.line {
            crate::serve::warn(&line);
        }
        Box::pin(async move {
            match verdict.wait {
                Some((delay, _waiting)) => tokio::time::sleep(delay).await,
                None => caller.iter().for_each(|caller| caller.0.close()),
            }
            Ok(refusal(&status))
        })
    }
}

fn refusal<B: http_body::Body + Default>(status: &Status) -> Response<Outgoing<B>> {
    status.clone().into_http::<B>().map(|body| Outgoing::new(body, None))
}

/// What a method needs, by the path of its requests. What is not known needs to read, at least.
fn needs(path: &str) -> Needs {
    if path.starts_with("/grpc.health.v1.") || path.starts_with("/grpc.reflection.") {
        Needs::Nothing
    } else if path.starts_with("/millrace.v1.Admin/") {
        Needs::Admin
    } else {
        Needs::Read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_methods_need() {
        assert_eq!(needs("/millrace.v1.Admin/Drain"), Needs::Admin);
        assert_eq!(needs("/millrace.v1.Analytics/Query"), Needs::Read);
        assert_eq!(needs("/grpc.health.v1.Health/Check"), Needs::Nothing);
        assert_eq!(needs("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"), Needs::Nothing);
        assert_eq!(needs("/anything"), Needs::Read);
    }
}
