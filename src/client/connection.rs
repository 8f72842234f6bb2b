//! A connection to a server, used from code that waits in the ordinary way.

use super::error::ClientError;
use super::reason::{self, Target};
use super::rows::{cells, query_of, table_of};
use super::settings::ClientSettings;
use super::watching::Watching;
use millrace_dataflows::query::Query;
use millrace_dataflows::table::Table;
use millrace_proto::v1;
use millrace_proto::v1::analytics_client::AnalyticsClient;
use std::time::Duration;
use tokio::runtime::Runtime;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Rows that are asked for at once.
const PAGE_ROWS: u32 = 5_000;
/// More than any page has.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

type Client = AnalyticsClient<InterceptedService<Channel, Token>>;

/// Puts the token into every call.
#[derive(Clone)]
struct Token(Option<MetadataValue<Ascii>>);

impl tonic::service::Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

pub struct Connection {
    target: Target,
    runtime: Runtime,
    client: Client,
}

impl Connection {
    /// # Errors
    /// Where there is no server at `HOST:PORT`.
    pub fn open(address: &str, settings: &ClientSettings) -> Result<Connection, ClientError> {
        let target = target(address, settings)?;
        let unreachable = |reason: String| ClientError::Unreachable { address: target.address.clone(), reason };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| unreachable(error.to_string()))?;
        let endpoint = endpoint(&target, settings)?.connect_timeout(CONNECT_TIMEOUT);
        let connected = runtime.block_on(endpoint.connect());
        let channel = connected.map_err(|error| unreachable(reason::why(&error, &target)))?;
        let token = match settings.token.as_str() {
            "" => None,
            token => {
                let text = format!("Bearer {token}").parse::<MetadataValue<Ascii>>();
                let mut token =
                    text.map_err(|_| ClientError::Question("client.token is not visible ASCII".to_owned()))?;
                token.set_sensitive(true);
                Some(token)
            }
        };
        let client = AnalyticsClient::with_interceptor(channel, Token(token));
        let client = client.max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Connection { target, runtime, client })
    }

    /// All pages of an answer, which are of one epoch.
    ///
    /// # Errors
    /// Where the question does not fit, or the server does not answer.
    pub fn query(&self, view: &str, query: &Query) -> Result<(Table, v1::At), ClientError> {
        self.query_when(view, query, v1::Consistency::default())
    }

    /// As [`Connection::query`], of an epoch that is as asked.
    ///
    /// # Errors
    /// Also where no such epoch comes in time.
    pub fn query_when(
        &self,
        view: &str,
        query: &Query,
        consistency: v1::Consistency,
    ) -> Result<(Table, v1::At), ClientError> {
        let mut request = v1::QueryRequest {
            query: Some(query_of(view, query)),
            page_size: PAGE_ROWS,
            consistency: Some(consistency),
            ..v1::QueryRequest::default()
        };
        let (mut table, mut at) = (None, v1::At::default());
        loop {
            let mut client = self.client.clone();
            let page = self.call(client.query(timed(request.clone())))?;
            let table = table.get_or_insert_with(|| table_of(&page.columns));
            for row in &page.rows {
                let row = cells(row).filter(|row| row.len() == table.columns.len());
                table.rows.push(row.ok_or_else(|| self.contract("a cell"))?);
            }
            at = page.at.unwrap_or(at);
            if page.next_page_token.is_empty() {
                return Ok((std::mem::take(table), at));
            }
            request.page_token = page.next_page_token;
            request.consistency = None;
        }
    }

    /// # Errors
    /// Where the server does not answer.
    pub fn status(&self) -> Result<v1::GetStatusResponse, ClientError> {
        let mut client = self.client.clone();
        self.call(client.get_status(timed(v1::GetStatusRequest {})))
    }

    /// An answer that is kept up.
    ///
    /// # Errors
    /// Where the question does not fit, or the server does not answer.
    pub fn watch(&self, request: v1::SubscribeRequest) -> Result<Watching<'_>, ClientError> {
        let messages = self.subscribe(request.clone())?;
        Ok(Watching::new(self, request, messages))
    }

    pub(super) fn subscribe(
        &self,
        request: v1::SubscribeRequest,
    ) -> Result<Streaming<v1::SubscribeResponse>, ClientError> {
        let mut client = self.client.clone();
        self.call(client.subscribe(request))
    }

    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(super) fn error(&self, status: &Status) -> ClientError {
        match reason::of_status(status, &self.target) {
            Some(reason) => ClientError::Unreachable { address: self.target.address.clone(), reason },
            None => ClientError::of(&self.target.address, status),
        }
    }

    pub(super) fn contract(&self, what: &'static str) -> ClientError {
        ClientError::Contract(self.target.address.clone(), what)
    }

    fn call<T>(&self, call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, ClientError> {
        self.wait(call).map(tonic::Response::into_inner).map_err(|status| self.error(&status))
    }
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

/// From `HOST:PORT`, `http://HOST:PORT` or `https://HOST:PORT`.
fn target(address: &str, settings: &ClientSettings) -> Result<Target, ClientError> {
    let bad = || ClientError::Address(address.to_owned());
    let (scheme, place) = address.split_once("://").unwrap_or(("", address));
    let is_tls = match scheme {
        "" => settings.tls || !settings.tls_ca_file.is_empty(),
        "http" => false,
        "https" => true,
        _ => return Err(bad()),
    };
    let place = place.strip_suffix('/').unwrap_or(place);
    let host_and_port = place.rsplit_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    host_and_port.filter(|(host, _)| !host.contains('/')).ok_or_else(bad)?;
    Ok(Target { address: place.to_owned(), is_tls })
}

fn endpoint(target: &Target, settings: &ClientSettings) -> Result<Endpoint, ClientError> {
    let scheme = if target.is_tls { "https" } else { "http" };
    let bad = || ClientError::Address(target.address.clone());
    let endpoint = Endpoint::from_shared(format!("{scheme}://{}", target.address)).map_err(|_| bad())?;
    if target.is_tls { with_tls(endpoint, settings, bad) } else { Ok(endpoint) }
}

#[cfg(not(feature = "serve-tls"))]
fn with_tls(_: Endpoint, _: &ClientSettings, _: impl Fn() -> ClientError) -> Result<Endpoint, ClientError> {
    Err(ClientError::NoTls)
}

#[cfg(feature = "serve-tls")]
fn with_tls(
    endpoint: Endpoint,
    settings: &ClientSettings,
    bad: impl Fn() -> ClientError,
) -> Result<Endpoint, ClientError> {
    use tonic::transport::{Certificate, ClientTlsConfig, Identity};
    let read = |setting, path: &String| {
        std::fs::read(path).map_err(|reason| ClientError::Unreadable { setting, path: path.clone(), reason })
    };
    let mut tls = ClientTlsConfig::new();
    tls = if settings.tls_ca_file.is_empty() {
        tls.with_native_roots()
    } else {
        tls.ca_certificate(Certificate::from_pem(read("tls_ca_file", &settings.tls_ca_file)?))
    };
    if !settings.tls_domain.is_empty() {
        tls = tls.domain_name(&settings.tls_domain);
    }
    if !settings.tls_certificate_file.is_empty() {
        let certificate = read("tls_certificate_file", &settings.tls_certificate_file)?;
        let key = read("tls_key_file", &settings.tls_key_file)?;
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    endpoint.tls_config(tls).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_say_whether_to_encrypt() {
        let plain = ClientSettings::default();
        let tls = ClientSettings { tls: true, ..ClientSettings::default() };
        let of = |address: &str, settings| target(address, settings).map(|target| (target.address, target.is_tls)).ok();
        let there = |is_tls| Some(("shop-1:7117".to_owned(), is_tls));
        assert_eq!(of("shop-1:7117", &plain), there(false));
        assert_eq!(of("shop-1:7117", &tls), there(true));
        assert_eq!(of("https://shop-1:7117/", &plain), there(true));
        assert_eq!(of("http://shop-1:7117", &tls), there(false));
        for bad in ["shop-1", ":7117", "ftp://shop-1:7117", "https://shop-1:7117/x", "shop-1:x"] {
            assert_eq!(of(bad, &plain), None, "{bad}");
        }
    }
}
