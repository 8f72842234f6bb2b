//! The service `Analytics`: from a request to a read, and from what was read to the bytes of the answer.

use super::at::{Stamps, at};
use super::body::Call;
use super::codec::{self, Proto, Sent};
use super::error::full;
use super::metrics::{ServeMetrics, ServeStatus};
use super::{asked, status, timeout, typed};
use crate::serve::Published;
use crate::serve::callers::connections::Connections;
use crate::serve::callers::memory::Memory;
use crate::serve::callers::strangers::Strangers;
use crate::serve::read::{
    AnswerState, Asker, Codec, Deadline, PageToken, Place, Question, ReadError, Reads, Recent, Subscribe,
    ViewDescription,
};
use crate::serve::settings::ServeSettings;
use bytes::Bytes;
use millrace_dataflows::table::Table;
use millrace_proto::servers::analytics_server::Analytics;
use millrace_proto::{Encoded, v1};
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

pub struct Service {
    reads: Reads,
    metrics: Arc<ServeMetrics>,
    stamps: Arc<Stamps>,
    codec: Arc<dyn Codec>,
    recent_sales: Recent,
    recent_related: Recent,
    around: Around,
    answer_stall: Duration,
}

/// What else a server has, that is told of.
#[derive(Clone)]
pub struct Around {
    pub connections: Arc<Connections>,
    pub strangers: Arc<Strangers>,
    /// What all of it takes together.
    pub memory: Arc<Memory>,
}

type Answer<M> = Result<Response<Encoded<M>>, Status>;

/// Whoever asks, and the call that they ask in.
struct By {
    asker: Asker,
    call: Option<Arc<Call>>,
}

impl By {
    /// An answer is there, that takes memory until it is sent: from here on, and not only once the caller takes some of it.
    async fn is_owed<M>(&self, answer: Encoded<M>) -> Answer<M>
    where
        Encoded<M>: Message,
    {
        if let Some(call) = &self.call {
            call.will_owe(answer.encoded_len(), self.asker.deadline.at).await.map_err(full)?;
        }
        Ok(Response::new(answer))
    }
}

impl Service {
    pub fn new(settings: &ServeSettings, reads: Reads, metrics: Arc<ServeMetrics>, around: Around) -> Service {
        let stamps = Arc::<Stamps>::default();
        Service {
            reads,
            metrics,
            codec: Arc::new(Proto(stamps.clone())),
            stamps,
            recent_sales: Recent::default(),
            recent_related: Recent::default(),
            around,
            answer_stall: Duration::from_millis(settings.answer_stall_ms),
        }
    }

    /// Gives up what nobody holds any more. To be called every so often.
    pub fn tidy(&self) {
        self.reads.tidy();
        let version = self.reads.board.current();
        for (recent, view) in [(&self.recent_sales, typed::SALES), (&self.recent_related, typed::RELATED)] {
            if let Some(state) = AnswerState::of(&version, view) {
                recent.forget_old(state);
            }
        }
        self.around.connections.close_stalled(self.answer_stall);
    }

    /// What it has done, and does.
    pub fn counts(&self) -> ServeStatus {
        ServeStatus {
            methods: self.metrics.counts(),
            subscriptions: self.reads.subscriptions() as u64,
            connections: self.around.connections.count() as u64,
            draining: self.reads.is_draining(),
        }
    }

    fn by<T>(&self, request: &Request<T>) -> By {
        let deadline = self.reads.deadline(timeout::asked(request.metadata()));
        let call = request.extensions().get::<Arc<Call>>().cloned();
        let connection = call.as_ref().and_then(|call| call.connection().cloned());
        By { asker: Asker { deadline, connection }, call }
    }

    async fn version(
        &self,
        consistency: Option<v1::Consistency>,
        deadline: Deadline,
    ) -> Result<Arc<Published>, ReadError> {
        let admitted = self.reads.admit()?;
        admitted.version(&asked::wanted(consistency)?, deadline).await
    }

    /// A typed read: `write` makes bytes of the rows.
    async fn typed(
        &self,
        question: Question,
        version: &Arc<Published>,
        asker: &Asker,
        write: impl FnOnce(&Table) -> Bytes + Send + 'static,
    ) -> Result<Bytes, ReadError> {
        let advice = "filter, give a limit, or read it page by page with Query";
        self.reads.answer(version, question, asker, advice, write).await
    }

    /// A typed read whose answer may be known already. `question` reads what `asked`, which is the encoded request, asks.
    async fn known_or_typed(
        &self,
        recent: &Recent,
        asked: Vec<u8>,
        view: &str,
        question: impl FnOnce() -> Result<Question, ReadError>,
        (version, asker): (&Arc<Published>, &Asker),
        write: fn(&Table) -> Bytes,
    ) -> Result<Bytes, ReadError> {
        let Some(state) = AnswerState::of(version, view) else {
            return self.typed(question()?, version, asker, write).await;
        };
        if let Some(rows) = recent.get(state, &asked) {
            return Ok(rows);
        }
        let rows = self.typed(question()?, version, asker, write).await?;
        recent.put(state, asked, &rows);
        Ok(rows)
    }

    async fn with_rows<M: Message>(&self, version: &Published, rows: Bytes, by: &By) -> Answer<M> {
        by.is_owed(Encoded::of_pieces([self.stamps.of(version), rows, Bytes::new()])).await
    }

    async fn first_page(&self, asked: v1::QueryRequest, by: &By) -> Answer<v1::QueryResponse> {
        let query = asked.query.ok_or_else(no_query)?;
        let of_token = query.encode_to_vec();
        let question = asked::question(query)?;
        let version = self.version(asked.consistency, by.asker.deadline).await?;
        let at = self.stamps.of(&version);
        self.page(&version, at, (&question, &of_token), 0, asked.page_size, by).await
    }

    async fn next_page(&self, asked: v1::QueryRequest, by: &By) -> Answer<v1::QueryResponse> {
        let query = asked.query.ok_or_else(no_query)?;
        let of_token = query.encode_to_vec();
        let question = asked::question(query)?;
        if asked.consistency.is_some() {
            let text = "consistency does not go with page_token: the first page has settled it";
            return Err(ReadError::invalid(text).into());
        }
        let token = PageToken::parse(&asked.page_token, &of_token)?;
        let version = self.reads.version_of(token)?;
        let is_current = version.epoch == self.reads.board.current().epoch;
        let at = if is_current { self.stamps.of(&version) } else { Stamps::of_old(&version) };
        self.page(&version, at, (&question, &of_token), token.offset, asked.page_size, by).await
    }

    /// `of_token` is the question as its page tokens know it.
    async fn page(
        &self,
        version: &Arc<Published>,
        at: Bytes,
        (question, of_token): (&Question, &[u8]),
        offset: u64,
        page_size: u32,
        by: &By,
    ) -> Answer<v1::QueryResponse> {
        let page_size = (page_size > 0).then_some(page_size as usize);
        let page = self.reads.page(&self.codec, version, question, offset, page_size, &by.asker).await?;
        let token = page.next.map(|next| next.to_text(of_token)).unwrap_or_default();
        by.is_owed(codec::page(at, page, &token)).await
    }
}

fn no_query() -> ReadError {
    ReadError::invalid("query is missing")
}

#[tonic::async_trait]
impl Analytics for Service {
    async fn get_sales(&self, request: Request<v1::GetSalesRequest>) -> Answer<v1::GetSalesResponse> {
        let by = self.by(&request);
        let mut asked = request.into_inner();
        let version = self.version(asked.consistency.take(), by.asker.deadline).await?;
        let (key, at) = (asked.encode_to_vec(), (&version, &by.asker));
        let question = move || typed::sales(asked);
        let rows = self.known_or_typed(&self.recent_sales, key, typed::SALES, question, at, typed::sales_rows).await?;
        self.with_rows(&version, rows, &by).await
    }

    async fn get_funnel(&self, request: Request<v1::GetFunnelRequest>) -> Answer<v1::GetFunnelResponse> {
        let by = self.by(&request);
        let mut asked = request.into_inner();
        let version = self.version(asked.consistency.take(), by.asker.deadline).await?;
        let plan = &version.shared.context.funnel;
        let steps: Vec<String> = plan.steps.iter().map(|step| step.name.clone()).collect();
        let write = move |table: &Table| typed::funnel_rows(table, &steps);
        let rows = self.typed(typed::funnel(asked)?, &version, &by.asker, write).await?;
        self.with_rows(&version, rows, &by).await
    }

    async fn get_related_products(
        &self,
        request: Request<v1::GetRelatedProductsRequest>,
    ) -> Answer<v1::GetRelatedProductsResponse> {
        let by = self.by(&request);
        let mut asked = request.into_inner();
        let version = self.version(asked.consistency.take(), by.asker.deadline).await?;
        let (key, at) = (asked.encode_to_vec(), (&version, &by.asker));
        let question = move || typed::related(asked);
        let rows =
            self.known_or_typed(&self.recent_related, key, typed::RELATED, question, at, typed::related_rows).await?;
        self.with_rows(&version, rows, &by).await
    }

    async fn query(&self, request: Request<v1::QueryRequest>) -> Answer<v1::QueryResponse> {
        let by = self.by(&request);
        let asked = request.into_inner();
        if asked.page_token.is_empty() { self.first_page(asked, &by).await } else { self.next_page(asked, &by).await }
    }

    async fn list_views(
        &self,
        _request: Request<v1::ListViewsRequest>,
    ) -> Result<Response<v1::ListViewsResponse>, Status> {
        let version = self.reads.board.current();
        let views = self.reads.views(&version).into_iter().map(view).collect();
        Ok(Response::new(v1::ListViewsResponse { at: Some(at(&Place::of(&version))), views }))
    }

    type SubscribeStream = Sent;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let admitted = self.reads.admit_subscription()?;
        let given = timeout::asked(request.metadata());
        let (deadline, until) = (self.reads.deadline(given), given.map(|after| Instant::now() + after));
        let asked = request.into_inner();
        let negative = |_| ReadError::invalid("min_interval is negative");
        let min_interval = asked.min_interval.map(Duration::try_from).transpose().map_err(negative)?;
        let question = asked::question(asked.query.ok_or_else(no_query)?)?;
        let subscribe = Subscribe { question, resume_epoch: asked.resume_epoch, min_interval, until, deadline };
        Ok(Response::new(Sent(admitted.subscribe(self.codec.clone(), subscribe).await?)))
    }

    async fn get_status(
        &self,
        _request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let version = self.reads.board.current();
        let (memory, around) = (&self.around.memory, &self.around);
        let server = v1::ServerStatus {
            now: Some(status::instant_of_ms((self.reads.clock)() as i64)),
            draining: self.reads.is_draining(),
            subscriptions: self.reads.subscriptions() as u32,
            live_questions: self.reads.live_questions() as u32,
            methods: self.metrics.counts().into_iter().map(status::method).collect(),
            connections: around.connections.count() as u32,
            wrong_tokens: around.strangers.count(),
            memory_bytes: memory.used() as u64,
            memory_bytes_max: memory.most() as u64,
            refused: memory.refused(),
        };
        Ok(Response::new(v1::GetStatusResponse {
            at: Some(at(&Place::of(&version))),
            engine: Some(status::engine(self.reads.engine.status())),
            server: Some(server),
            accounting: status::accounting(&version),
            building: version.building.as_deref().map(status::building),
        }))
    }
}

fn view(described: ViewDescription) -> v1::View {
    let ViewDescription { name, group_columns, value_columns, version, changed_at, building } = described;
    let building = building.map(|(events, events_total)| v1::Building { events, events_total, views: Vec::new() });
    v1::View { name, group_columns, value_columns, version, changed_at, building }
}
