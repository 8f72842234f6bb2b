//! The service `Analytics`: from a request to the version that answers it, to the question, to the bytes of the answer.

use super::asking::Asking;
use super::at::{Stamp, Stamps};
use super::connections::Connections;
use super::consistency::Wanted;
use super::deadline::{self, Deadline, Limits};
use super::live::{LiveQuestions, Messages, Subscriber, Subscribing};
use super::memory::Memory;
use super::metrics::ServeMetrics;
use super::pages::{EncodedTable, PageCache};
use super::question::{QUARANTINE, Question, misfit, view};
use super::recent::{self, Recent};
use super::strangers::Strangers;
use super::token::PageToken;
use super::{status, typed};
use crate::serve::settings::ServeSettings;
use crate::serve::status::Engine;
use crate::serve::{Board, Published};
use bytes::Bytes;
use millrace_dataflows::table::Table;
use millrace_proto::servers::analytics_server::Analytics;
use millrace_proto::{Encoded, v1};
use prost::Message;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

/// Milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

pub struct Service {
    pub board: Arc<Board>,
    pub engine: Arc<dyn Engine>,
    pub clock: Clock,
    pub metrics: Arc<ServeMetrics>,
    pub draining: watch::Receiver<bool>,
    stamps: Arc<Stamps>,
    limits: Limits,
    asking: Asking,
    pages: PageCache,
    recent_sales: Recent,
    recent_related: Recent,
    live: Arc<LiveQuestions>,
    subscriptions: Arc<AtomicUsize>,
    memory: Arc<Memory>,
    around: Around,
    settings: ServeSettings,
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

impl Service {
    pub fn new(
        settings: &ServeSettings,
        board: Arc<Board>,
        engine: Arc<dyn Engine>,
        clock: Clock,
        metrics: Arc<ServeMetrics>,
        draining: watch::Receiver<bool>,
        around: Around,
    ) -> Service {
        let memory = around.memory.clone();
        let (stamps, asking) = (Arc::<Stamps>::default(), Asking::of(settings));
        let live = LiveQuestions::new(board.clone(), stamps.clone(), asking.clone(), memory.clone(), settings);
        let page_bytes = settings.page_cache_bytes.min(settings.memory_bytes / 4);
        Service {
            board,
            engine,
            clock,
            metrics,
            draining,
            stamps,
            limits: Limits::of(settings),
            asking,
            pages: PageCache::new(page_bytes, settings.keep_epochs()),
            recent_sales: Recent::default(),
            recent_related: Recent::default(),
            live: Arc::new(live),
            subscriptions: Arc::default(),
            memory,
            around,
            settings: settings.clone(),
        }
    }

    /// Gives up what nobody holds any more. To be called every so often.
    pub fn tidy(&self) {
        self.live.forget_idle();
        self.board.forget_old();
        self.pages.forget_old();
        let version = self.board.current();
        for (recent, view) in [(&self.recent_sales, typed::SALES), (&self.recent_related, typed::RELATED)] {
            if let Some(state) = recent::state(&version, view) {
                recent.forget_old(state);
            }
        }
        self.around.connections.close_stalled(Duration::from_millis(self.settings.answer_stall_ms));
    }

    async fn stamp(&self, consistency: Option<v1::Consistency>, deadline: Deadline) -> Result<Arc<Stamp>, Status> {
        self.engine.refuses_reads().map_or(Ok(()), |why| Err(Status::resource_exhausted(why)))?;
        let wanted = Wanted::of(consistency)?;
        wanted.meet(&self.board, &self.stamps, &*self.engine, deadline, &*self.clock).await
    }

    /// A typed read: `write` makes bytes of the rows.
    async fn typed<M>(
        &self,
        question: Question,
        stamp: &Stamp,
        deadline: Deadline,
        write: impl FnOnce(&Table) -> Bytes + Send + 'static,
    ) -> Answer<M> {
        let rows_max = self.settings.max_result_rows;
        let finish = move |table: Table| {
            check_rows(table.rows.len(), rows_max, "filter, give a limit, or read it page by page with Query")?;
            Ok(write(&table))
        };
        let rows = self.asking.ask(&stamp.version, question, deadline, finish).await?;
        Ok(with_rows(stamp, rows))
    }

    /// A typed read whose answer may be known already. `question` reads what `asked`, which is the encoded request, asks.
    async fn known_or_typed<M>(
        &self,
        recent: &Recent,
        asked: Vec<u8>,
        view: &str,
        question: impl FnOnce() -> Result<Question, Status>,
        at: (&Stamp, Deadline),
        write: fn(&Table) -> Bytes,
    ) -> Answer<M> {
        let (stamp, deadline) = at;
        let Some(state) = recent::state(&stamp.version, view) else {
            return self.typed(question()?, stamp, deadline, write).await;
        };
        if let Some(rows) = recent.get(state, &asked) {
            return Ok(with_rows(stamp, rows));
        }
        let answer = self.typed(question()?, stamp, deadline, write).await?;
        recent.put(state, asked, answer.get_ref().piece(ROWS_PIECE));
        Ok(answer)
    }

    /// The whole answer to a question, worked out once for all of its pages.
    async fn table(
        &self,
        version: &Arc<Published>,
        question: &Question,
        deadline: Deadline,
    ) -> Result<Arc<EncodedTable>, Status> {
        let slot = self.pages.slot(version.epoch, &question.key);
        if let Some(table) = slot.get() {
            return Ok(table.clone());
        }
        if question.view == QUARANTINE {
            let rejected = self.engine.quarantine();
            let values = rejected.columns.len();
            let table = question.query.list(QUARANTINE, rejected).map_err(misfit)?;
            let table = EncodedTable::of(&table, values, &self.memory).map(Arc::new);
            if table.is_err() {
                self.pages.filled(version.epoch, &question.key);
            }
            let table = table?;
            let table = slot.get_or_init(|| async { table }).await.clone();
            self.pages.filled(version.epoch, &question.key);
            return Ok(table);
        }
        let values = view(version, &question.view)?.view.value_columns().len();
        let memory = self.memory.clone();
        let finish = move |table: Table| EncodedTable::of(&table, values, &memory).map(Arc::new);
        let asking = slot.get_or_try_init(|| self.asking.ask(version, question.clone(), deadline, finish));
        let table = tokio::time::timeout_at(deadline.at, asking).await;
        self.pages.filled(version.epoch, &question.key);
        table.map_err(|_| deadline.passed("the answer was not worked out"))?.cloned()
    }

    async fn first_page(&self, asked: v1::QueryRequest, deadline: Deadline) -> Answer<v1::QueryResponse> {
        let question = Question::of(asked.query.ok_or_else(no_query)?)?;
        let stamp = self.stamp(asked.consistency, deadline).await?;
        self.page(&stamp, &question, 0, asked.page_size, deadline).await
    }

    async fn next_page(&self, asked: v1::QueryRequest, deadline: Deadline) -> Answer<v1::QueryResponse> {
        let question = Question::of(asked.query.ok_or_else(no_query)?)?;
        if asked.consistency.is_some() {
            return Err(Status::invalid_argument(
                "consistency does not go with page_token: the first page has settled it",
            ));
        }
        let token = PageToken::parse(&asked.page_token, &question.key)?;
        let version = self.board.at(token.epoch).ok_or_else(|| {
            let epoch = token.epoch;
            Status::aborted(format!("page_token: epoch {epoch} is no longer kept: start again from the first page"))
        })?;
        let stamp = if version.epoch == self.board.current().epoch {
            self.stamps.of(version)
        } else {
            Arc::new(Stamp::of(version))
        };
        self.page(&stamp, &question, token.offset, asked.page_size, deadline).await
    }

    async fn page(
        &self,
        stamp: &Stamp,
        question: &Question,
        offset: u64,
        page_size: u32,
        deadline: Deadline,
    ) -> Answer<v1::QueryResponse> {
        let table = self.table(&stamp.version, question, deadline).await?;
        let rows_max = self.settings.max_result_rows;
        if page_size == 0 && offset == 0 {
            check_rows(table.rows(), rows_max, "ask for pages with page_size, or filter")?;
        }
        let size = if page_size == 0 { rows_max } else { rows_max.min(page_size as usize) };
        let start = usize::try_from(offset).map_or(table.rows(), |offset| offset.min(table.rows()));
        let end = start.saturating_add(size).min(table.rows());
        let mut next_page_token = String::new();
        if end < table.rows() {
            self.board.keep(&stamp.version);
            next_page_token = PageToken { epoch: stamp.version.epoch, offset: end as u64 }.to_text(&question.key);
        }
        let pieces = [stamp.encoded.clone(), table.page(start..end), table.head(&next_page_token)];
        Ok(Response::new(Encoded::of_pieces(pieces)))
    }

    fn is_draining(&self) -> Result<(), Status> {
        if *self.draining.borrow() { Err(Status::unavailable("the server is draining")) } else { Ok(()) }
    }
}

/// Where the rows of a typed answer are.
const ROWS_PIECE: usize = 1;

fn with_rows<M>(stamp: &Stamp, rows: Bytes) -> Response<Encoded<M>> {
    Response::new(Encoded::of_pieces([stamp.encoded.clone(), rows, Bytes::new()]))
}

fn no_query() -> Status {
    Status::invalid_argument("query is missing")
}

fn check_rows(rows: usize, most: usize, advice: &str) -> Result<(), Status> {
    if rows <= most {
        return Ok(());
    }
    let message = format!("the answer has {rows} rows, and the server gives {most} at once: {advice}");
    Err(Status::resource_exhausted(message))
}

#[tonic::async_trait]
impl Analytics for Service {
    async fn get_sales(&self, request: Request<v1::GetSalesRequest>) -> Answer<v1::GetSalesResponse> {
        let deadline = self.limits.deadline(request.metadata());
        let mut asked = request.into_inner();
        let stamp = self.stamp(asked.consistency.take(), deadline).await?;
        let (key, at) = (asked.encode_to_vec(), (&*stamp, deadline));
        let question = move || typed::sales(asked);
        self.known_or_typed(&self.recent_sales, key, typed::SALES, question, at, typed::sales_rows).await
    }

    async fn get_funnel(&self, request: Request<v1::GetFunnelRequest>) -> Answer<v1::GetFunnelResponse> {
        let deadline = self.limits.deadline(request.metadata());
        let mut asked = request.into_inner();
        let stamp = self.stamp(asked.consistency.take(), deadline).await?;
        let plan = &stamp.version.shared.context.funnel;
        let steps: Vec<String> = plan.steps.iter().map(|step| step.name.clone()).collect();
        let write = move |table: &Table| typed::funnel_rows(table, &steps);
        self.typed(typed::funnel(asked)?, &stamp, deadline, write).await
    }

    async fn get_related_products(
        &self,
        request: Request<v1::GetRelatedProductsRequest>,
    ) -> Answer<v1::GetRelatedProductsResponse> {
        let deadline = self.limits.deadline(request.metadata());
        let mut asked = request.into_inner();
        let stamp = self.stamp(asked.consistency.take(), deadline).await?;
        let (key, at) = (asked.encode_to_vec(), (&*stamp, deadline));
        let question = move || typed::related(asked);
        self.known_or_typed(&self.recent_related, key, typed::RELATED, question, at, typed::related_rows).await
    }

    async fn query(&self, request: Request<v1::QueryRequest>) -> Answer<v1::QueryResponse> {
        let deadline = self.limits.deadline(request.metadata());
        let asked = request.into_inner();
        if asked.page_token.is_empty() {
            self.first_page(asked, deadline).await
        } else {
            self.next_page(asked, deadline).await
        }
    }

    async fn list_views(
        &self,
        _request: Request<v1::ListViewsRequest>,
    ) -> Result<Response<v1::ListViewsResponse>, Status> {
        let stamp = self.stamps.current(&self.board);
        let views = stamp.version.views.iter().map(|rows| v1::View {
            name: rows.view.name().to_owned(),
            group_columns: rows.view.group_columns().to_vec(),
            value_columns: rows.view.value_columns().to_vec(),
            version: rows.view.version(),
            changed_at: rows.changed_at,
        });
        let rejected = v1::View {
            name: QUARANTINE.to_owned(),
            value_columns: self.engine.quarantine_columns(),
            version: 1,
            ..v1::View::default()
        };
        let views = views.chain([rejected]).collect();
        Ok(Response::new(v1::ListViewsResponse { at: Some(stamp.at.clone()), views }))
    }

    type SubscribeStream = Messages;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        self.is_draining()?;
        self.engine.refuses_reads().map_or(Ok(()), |why| Err(Status::resource_exhausted(why)))?;
        let deadline = self.limits.deadline(request.metadata());
        let until = deadline::asked(request.metadata()).map(|after| Instant::now() + after);
        let asked = request.into_inner();
        let floor = Duration::from_millis(self.settings.subscription_interval_min_ms);
        let min_interval = match asked.min_interval {
            None => floor,
            Some(interval) => Duration::try_from(interval)
                .map_err(|_| Status::invalid_argument("min_interval is negative"))?
                .clamp(floor, INTERVAL_MOST),
        };
        let question = Question::of(asked.query.ok_or_else(no_query)?)?;
        if question.view == QUARANTINE {
            return Err(Status::invalid_argument(
                "quarantine is a list, whose rows have no key to follow: ask for it with Query",
            ));
        }
        let place = Subscribing::begin(&self.subscriptions, self.settings.subscriptions_max)?;
        let subscriber = Subscriber {
            question: self.live.join(question),
            resume_epoch: asked.resume_epoch,
            deadline,
            min_interval,
            until,
            stall: Duration::from_millis(self.settings.subscription_stall_ms),
        };
        Ok(Response::new(subscriber.start(self.live.clone(), self.draining.clone(), place).await?))
    }

    async fn get_status(
        &self,
        _request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let stamp = self.stamps.current(&self.board);
        let server = v1::ServerStatus {
            now: Some(status::instant_of_ms((self.clock)() as i64)),
            draining: *self.draining.borrow(),
            subscriptions: self.subscriptions.load(SeqCst) as u32,
            live_questions: self.live.count() as u32,
            methods: self.metrics.counts().into_iter().map(status::method).collect(),
            connections: self.around.connections.count() as u32,
            wrong_tokens: self.around.strangers.count(),
            memory_bytes: self.memory.used() as u64,
            memory_bytes_max: self.memory.most() as u64,
            refused: self.memory.refused(),
        };
        Ok(Response::new(v1::GetStatusResponse {
            at: Some(stamp.at.clone()),
            engine: Some(status::engine(self.engine.status())),
            server: Some(server),
            accounting: status::accounting(&stamp.version),
        }))
    }
}

/// Longer waits between changes are no use to anybody.
const INTERVAL_MOST: Duration = Duration::from_secs(3_600);
