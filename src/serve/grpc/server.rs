//! The server: a runtime of its own, so that the rest of the program need not wait in the same way.

use super::accept::accept;
use super::admin::AdminService;
use super::gate::Gate;
use super::metrics::{AskServer, ServeMetrics};
use super::service::{Around, Service};
use super::tls;
use crate::allocator;
use crate::serve::Board;
use crate::serve::callers::auth::Tokens;
use crate::serve::callers::connections::Connections;
use crate::serve::callers::memory::Memory;
use crate::serve::callers::strangers::Strangers;
use crate::serve::read::{Clock, Reads};
use crate::serve::settings::ServeSettings;
use crate::serve::status::Engine;
use millrace_proto::FILE_DESCRIPTOR_SET;
use millrace_proto::servers::admin_server::AdminServer;
use millrace_proto::servers::analytics_server::AnalyticsServer;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};
use tonic_reflection::server::Builder;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("serve.{setting} = {value:?}: expected {expected}")]
    Setting { setting: &'static str, value: String, expected: String },
    #[error("cannot listen on {address} (serve.address): {reason}")]
    Listen { address: SocketAddr, reason: std::io::Error },
    #[error("cannot read {path} (serve.{setting}): {reason}")]
    Unreadable { setting: &'static str, path: String, reason: std::io::Error },
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    #[error("this program is built without TLS: build it with `--features serve-tls`, or leave serve.tls_… empty")]
    NoTls,
    #[error("cannot start the threads that serve: {0}")]
    Threads(std::io::Error),
    #[error("the server has ended by itself: {0}")]
    Ended(String),
}

/// A server that runs until it is drained or dropped.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    pub metrics: Arc<ServeMetrics>,
    service: Weak<Service>,
    drain_for: Duration,
    draining: watch::Sender<bool>,
    /// No more connections.
    closing: watch::Sender<bool>,
    serving: Option<JoinHandle<Result<(), tonic::transport::Error>>>,
    runtime: Option<Runtime>,
}

/// What health is told about, beside the whole.
const ANALYTICS: &str = "millrace.v1.Analytics";
/// Threads for questions that take longer: as many as may run, and some for subscriptions and for what the system blocks on.
const BLOCKING_MORE: usize = 4;

impl Server {
    /// Looks for what would keep it from starting. It listens for a moment only: nobody would be answered yet.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn check(settings: &ServeSettings) -> Result<(), ServeError> {
        let address = address_of(settings)?;
        TcpListener::bind(address).map_err(|reason| ServeError::Listen { address, reason })?;
        tls::greeting(settings).map(drop)
    }

    /// Listens and serves. `clock` gives milliseconds since 1970.
    ///
    /// # Errors
    /// Where the settings cannot be used, or the address is taken.
    pub fn start(
        settings: &ServeSettings,
        board: Arc<Board>,
        engine: Arc<dyn Engine>,
        clock: Clock,
    ) -> Result<Server, ServeError> {
        let address = address_of(settings)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(settings.workers)
            .max_blocking_threads(settings.workers + settings.heavy_queries_max + BLOCKING_MORE)
            .thread_name("serve")
            .enable_all()
            .build()
            .map_err(ServeError::Threads)?;
        let (draining, drained) = watch::channel(false);
        let metrics = Arc::<ServeMetrics>::default();
        let within = Duration::from_millis(settings.handshake_ms);
        let connections = Connections::new(settings.connections_max, settings.connections_per_address_max, within);
        let memory = Memory::new(settings.memory_bytes, connections.clone());
        let strangers = Arc::<Strangers>::default();
        let (of_all, strange) = (connections.clone(), strangers.clone());
        let around = Around { connections: of_all, strangers: strange, memory: memory.clone() };
        let reads = Reads::new(settings, board.clone(), engine.clone(), clock, drained.clone(), memory.clone());
        let service = Arc::new(Service::new(settings, reads, metrics.clone(), around));
        let tidied = Arc::downgrade(&service);
        let analytics = AnalyticsServer::from_arc(service)
            .max_decoding_message_size(settings.request_bytes_max)
            .max_encoding_message_size(usize::MAX);
        let admin = AdminServer::new(AdminService { engine }).max_decoding_message_size(settings.request_bytes_max);
        let tokens = Arc::new(Tokens::of(settings));
        let gate = Gate { tokens, metrics: metrics.clone(), strangers, memory: memory.clone() };

        let _entered = runtime.enter();
        let listen = |reason| ServeError::Listen { address, reason };
        let greeting = tls::greeting(settings)?;
        let listener = bind(address).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let of_tidying = connections.clone();
        let incoming = accept(listener, greeting, within, connections);
        let (health, health_service) = health_reporter();
        let reflection = |builder: fn() -> Builder<'static>| settings.reflection.then(builder);
        let v1 = reflection(reflected).map(|builder| builder.build_v1().expect("the contract describes itself"));
        let v1alpha =
            reflection(reflected).map(|builder| builder.build_v1alpha().expect("the contract describes itself"));
        let router = transport(settings)
            .layer(gate)
            .add_service(analytics)
            .add_service(admin)
            .add_service(health_service)
            .add_optional_service(v1)
            .add_optional_service(v1alpha);
        let (closing, mut closed) = watch::channel(false);
        let end = async move {
            // A server that is dropped ends, too.
            let _ = closed.wait_for(|closing| *closing).await;
        };
        let serving = runtime.spawn(router.serve_with_incoming_shutdown(incoming, end));
        runtime.spawn(tell_health(health, board, drained));
        runtime.spawn(tidy(tidied.clone(), memory, of_tidying));
        let drain_for = Duration::from_millis(settings.drain_ms);
        let (serving, runtime) = (Some(serving), Some(runtime));
        Ok(Server { address, metrics, service: tidied, drain_for, draining, closing, serving, runtime })
    }

    /// What it says of itself, for others to ask.
    pub fn ask(&self) -> AskServer {
        let service = self.service.clone();
        Arc::new(move || service.upgrade().map(|service| service.counts()))
    }

    /// Health says NOT_SERVING, subscriptions end and new ones are refused, other calls go on; nothing waits yet. For the
    /// time between the engine's drain and the server's.
    pub fn begin_drain(&self) {
        self.draining.send_replace(true);
    }

    /// Takes no more connections, lets calls finish for as long as `serve.drain_ms` allows, and ends.
    ///
    /// # Errors
    /// Where the server had ended by itself before.
    pub fn drain(mut self) -> Result<(), ServeError> {
        self.begin_drain();
        self.closing.send_replace(true);
        let (Some(runtime), Some(serving)) = (self.runtime.take(), self.serving.take()) else { return Ok(()) };
        let ended = runtime.block_on(async { tokio::time::timeout(self.drain_for, serving).await });
        runtime.shutdown_timeout(Duration::from_secs(1));
        match ended {
            Ok(Ok(Err(error))) => Err(ServeError::Ended(error.to_string())),
            Ok(Err(error)) => Err(ServeError::Ended(error.to_string())),
            // What is still open after its time is cut off.
            Ok(Ok(Ok(()))) | Err(_) => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.begin_drain();
        self.closing.send_replace(true);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Where to listen, of settings that can be used.
fn address_of(settings: &ServeSettings) -> Result<SocketAddr, ServeError> {
    let bad = |(setting, value, expected)| ServeError::Setting { setting, value, expected };
    settings.check().map_err(bad)?;
    settings.address.parse().map_err(|_| {
        bad(("address", settings.address.clone(), "an IP address and a port such as 0.0.0.0:7117".to_owned()))
    })
}

fn reflected() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// What comes in of one call, and of all calls of one connection, before it is read.
const CALL_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// A call whose request does not come, or whose answer does not begin, is given up so long after its latest deadline.
const LATE: Duration = Duration::from_secs(5);

fn transport(settings: &ServeSettings) -> tonic::transport::Server {
    let millis = |millis| Some(Duration::from_millis(millis));
    tonic::transport::Server::builder()
        .concurrency_limit_per_connection(settings.requests_per_connection_max)
        .max_concurrent_streams(settings.streams_per_connection_max)
        .initial_stream_window_size(CALL_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .timeout(Duration::from_millis(settings.deadline_max_ms) + LATE)
        .http2_keepalive_interval(millis(settings.keepalive_interval_ms))
        .http2_keepalive_timeout(millis(settings.keepalive_timeout_ms))
}

/// Connections that wait for a task to greet them.
const BACKLOG: u32 = 1_024;

fn bind(address: SocketAddr) -> std::io::Result<tokio::net::TcpListener> {
    use tokio::net::TcpSocket;
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that is started again need not wait for the connections of the one before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// How often the service is tidied.
const TIDY_EVERY: Duration = Duration::from_secs(1);
/// Where so much less is held than was, the allocator gives back what it has of it.
const WORTH_GIVING_BACK: usize = 16 << 20;
/// A connection has some buffers beside what is counted.
const CONNECTION_BYTES: usize = 128 << 10;

/// Gives memory back as time goes by, for as long as there is a service.
async fn tidy(service: Weak<Service>, memory: Arc<Memory>, connections: Arc<Connections>) {
    let mut most = 0;
    loop {
        tokio::time::sleep(TIDY_EVERY).await;
        let Some(service) = service.upgrade() else { return };
        service.tidy();
        drop(service);
        // What came and went between two looks counts, too.
        let peak = memory.take_peak();
        let of_connections = connections.count() * CONNECTION_BYTES;
        let held = memory.used() + of_connections;
        most = most.max(held).max(peak + of_connections);
        if most - held >= WORTH_GIVING_BACK {
            most = held;
            let _ = tokio::task::spawn_blocking(allocator::give_back_what_is_free).await;
        }
    }
}

/// SERVING from the first epoch until the server drains.
async fn tell_health(health: HealthReporter, board: Arc<Board>, mut draining: watch::Receiver<bool>) {
    let tell = async |status: ServingStatus| {
        for service in ["", ANALYTICS] {
            health.set_service_status(service, status).await;
        }
    };
    tell(ServingStatus::NotServing).await;
    let mut versions = board.changes();
    let serves = async {
        if versions.wait_for(|epoch| *epoch > 0).await.is_ok() {
            tell(ServingStatus::Serving).await;
        }
        std::future::pending::<()>().await;
    };
    let drains = async { draining.wait_for(|draining| *draining).await.is_ok() };
    tokio::select! {
        () = serves => {}
        _ = drains => tell(ServingStatus::NotServing).await,
    }
}
