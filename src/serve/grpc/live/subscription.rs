//! One subscription: a task that tells its caller what changed, as fast as the caller takes it.

use super::super::deadline::Deadline;
use super::super::memory::{Memory, Of};
use super::super::wire;
use super::answer::{CHANGE_COLUMNS, PROGRESS_COLUMNS, Position, SNAPSHOT_COLUMNS, Told};
use super::pieces::Pieces;
use super::question::{Joined, LiveQuestions, LiveState};
use bytes::Bytes;
use millrace_proto::Encoded;
use millrace_proto::v1::SubscribeResponse;
use millrace_proto::v1::snapshot_batch::Reason;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::Stream;
use tonic::Status;

/// Of `SubscribeResponse`.
const SNAPSHOT: u32 = 1;
const CHANGES: u32 = 2;
const PROGRESS: u32 = 3;
/// Of `SnapshotBatch`.
const REASON: u32 = 2;
const FIRST: u32 = 3;
const SNAPSHOT_LAST: u32 = 4;
const SNAPSHOT_ROWS: u32 = 6;
/// Of `ChangeBatch`.
const CHANGE_LAST: u32 = 2;
const UPSERTED: u32 = 3;
const REMOVED: u32 = 4;

/// Where nothing changes, callers are told so.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

type Message = Encoded<SubscribeResponse>;

/// What a subscription sends: its messages, and at the end always why it ends, however slow the caller is.
pub struct Messages {
    receiver: mpsc::Receiver<Message>,
    /// `None` once it was told.
    end: Option<Arc<OnceLock<Status>>>,
}

impl Stream for Messages {
    type Item = Result<Message, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = ready!(self.receiver.poll_recv(context));
        let why = |end: Arc<OnceLock<Status>>| {
            let unknown = || Status::internal("the subscription broke off: this is a defect");
            Err(end.get().cloned().unwrap_or_else(unknown))
        };
        Poll::Ready(message.map(Ok).or_else(|| self.end.take().map(why)))
    }
}

/// How one subscription wants to be told.
pub struct Subscriber {
    pub question: Joined,
    pub resume_epoch: u64,
    /// By when there has to be something to resume from.
    pub deadline: Deadline,
    pub min_interval: Duration,
    /// The end of the call, where it has one.
    pub until: Option<Instant>,
    /// Takes nothing for so long: is ended.
    pub stall: Duration,
}

/// A place among the subscriptions that there may be.
pub struct Subscribing(Arc<AtomicUsize>);

impl Subscribing {
    /// # Errors
    /// RESOURCE_EXHAUSTED where there is none.
    pub fn begin(count: &Arc<AtomicUsize>, most: usize) -> Result<Subscribing, Status> {
        let place = Subscribing(count.clone());
        if count.fetch_add(1, SeqCst) < most {
            return Ok(place);
        }
        Err(Status::resource_exhausted(format!("there are {most} subscriptions already (serve.subscriptions_max)")))
    }
}

impl Drop for Subscribing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Subscriber {
    /// Starts the task. The first message is worked out before, so that a question that does not fit fails at once.
    ///
    /// # Errors
    /// As [`LiveQuestions::fresh`]; UNAVAILABLE where the epoch to resume from does not come in time.
    pub async fn start(
        self,
        live: Arc<LiveQuestions>,
        draining: watch::Receiver<bool>,
        place: Subscribing,
    ) -> Result<Messages, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let end = Arc::<OnceLock<Status>>::default();
        let messages = Messages { receiver, end: Some(end.clone()) };
        let now = Instant::now();
        let mut told = Telling {
            sender,
            memory: live.memory.clone(),
            stall: self.stall,
            position: 0,
            epoch: 0,
            seen: 0,
            told_at: now,
            looked_at: now,
        };
        let first = self.first(&live, &mut told).await?;
        tokio::spawn(async move {
            let _place = place;
            if let Err(status) = self.tell(&live, draining, first, &mut told).await {
                // Set once, by this task.
                let _ = end.set(status);
            }
        });
        Ok(messages)
    }

    async fn first(&self, live: &LiveQuestions, told: &mut Telling) -> Result<News, Status> {
        if self.resume_epoch == 0 {
            return told.snapshot(&mut *live.fresh(&self.question, 0).await?, Reason::New);
        }
        self.reached(live).await?;
        let mut state = live.fresh_since(&self.question, self.resume_epoch).await?;
        let Some(position) = state.answer.position_at(self.resume_epoch) else {
            return told.snapshot(&mut state, Reason::Expired);
        };
        told.position = position;
        let mut news = match told.news(&mut state)? {
            Some(news) => news,
            None => told.progress(&state),
        };
        if let Kind::Changes | Kind::Progress = news.kind {
            news.columns = Some(state.answer.columns(news.kind.columns()));
        }
        Ok(news)
    }

    /// Waits until the epoch to resume from is published: an engine that was killed and started again may not be there yet,
    /// and a caller is never told of an epoch before one that it has.
    async fn reached(&self, live: &LiveQuestions) -> Result<(), Status> {
        let mut versions = live.board.changes();
        let reached = versions.wait_for(|epoch| *epoch >= self.resume_epoch);
        match tokio::time::timeout_at(self.deadline.at, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Status::unavailable("nothing more is published")),
            Err(_) => Err(Status::unavailable(format!(
                "resume_epoch = {} is asked, and the newest is {}: try again later, or subscribe anew with 0",
                self.resume_epoch,
                live.board.current().epoch
            ))),
        }
    }

    async fn tell(
        &self,
        live: &LiveQuestions,
        mut draining: watch::Receiver<bool>,
        first: News,
        told: &mut Telling,
    ) -> Result<(), Status> {
        let until = async {
            match self.until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let ends = async {
            tokio::select! {
                // Without anybody who could drain, nobody does.
                Ok(_) = draining.wait_for(|draining| *draining) => {
                    Status::unavailable("the server is draining: resume from the last epoch, elsewhere or later")
                }
                () = until => Status::deadline_exceeded("the call's deadline has passed: resume from the last epoch"),
            }
        };
        let goes_on = async {
            told.send(first).await?;
            let mut versions = live.board.changes();
            loop {
                told.wait(&mut versions, self.min_interval).await?;
                let news = {
                    let mut state = live.fresh(&self.question, 0).await?;
                    told.look(&mut state)?
                };
                if let Some(news) = news {
                    told.send(news).await?;
                }
            }
        };
        tokio::select! {
            status = ends => Err(status),
            result = goes_on => result,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Snapshot(Reason),
    Changes,
    Progress,
}

impl Kind {
    /// The field of the columns.
    fn columns(self) -> u32 {
        match self {
            Kind::Snapshot(_) => SNAPSHOT_COLUMNS,
            Kind::Changes => CHANGE_COLUMNS,
            Kind::Progress => PROGRESS_COLUMNS,
        }
    }
}

/// What is to be told of one epoch, in as many messages as it takes.
struct News {
    /// The field `at`.
    at: Bytes,
    kind: Kind,
    /// For the first message.
    columns: Option<Vec<u8>>,
    /// Encoded rows and keys.
    pieces: Arc<Pieces>,
}

impl News {
    /// One of as many messages as there are pieces.
    fn message(&self, index: usize) -> Message {
        let rows = self.pieces.get(index);
        let (first, last) = (index == 0, index + 1 == self.pieces.count());
        let mut head = self.at.to_vec();
        let field = match self.kind {
            Kind::Snapshot(reason) => {
                wire::put_int(&mut head, REASON, reason as u64);
                wire::put_int(&mut head, FIRST, u64::from(first));
                wire::put_int(&mut head, SNAPSHOT_LAST, u64::from(last));
                SNAPSHOT
            }
            Kind::Changes => {
                wire::put_int(&mut head, CHANGE_LAST, u64::from(last));
                CHANGES
            }
            Kind::Progress => PROGRESS,
        };
        if let Some(columns) = self.columns.as_ref().filter(|_| first) {
            head.extend_from_slice(columns);
        }
        let mut start = Vec::with_capacity(head.len() + 8);
        wire::put_head(&mut start, field, head.len() + rows.len());
        start.extend_from_slice(&head);
        Encoded::of_pieces([start.into(), rows, Bytes::new()])
    }
}

/// The caller's side of a subscription.
struct Telling {
    sender: mpsc::Sender<Message>,
    memory: Arc<Memory>,
    stall: Duration,
    /// What the caller has been told, and when.
    position: Position,
    epoch: u64,
    told_at: Instant,
    /// The newest epoch that was looked at, and when: there was nothing to tell, or it was told.
    seen: u64,
    looked_at: Instant,
}

impl Telling {
    /// Until there may be something to tell, and it is time to.
    async fn wait(&self, versions: &mut watch::Receiver<u64>, min_interval: Duration) -> Result<(), Status> {
        let progress_due = async {
            if self.epoch < self.seen {
                sleep_until(self.told_at + PROGRESS_EVERY).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        let next = async {
            sleep_until(self.looked_at + min_interval).await;
            tokio::select! {
                () = progress_due => Ok(()),
                newer = versions.wait_for(|epoch| *epoch > self.seen) => {
                    newer.map(drop).map_err(|_| Status::unavailable("nothing more is published"))
                }
            }
        };
        tokio::select! {
            () = self.sender.closed() => Err(gone()),
            next = next => next,
        }
    }

    /// Sends messages as the caller makes room for them.
    async fn send(&mut self, news: News) -> Result<(), Status> {
        for index in 0..news.pieces.count() {
            let room = timeout(self.stall, self.sender.reserve()).await.map_err(|_| {
                let seconds = self.stall.as_secs_f32();
                Status::aborted(format!("nothing was taken for {seconds} s: resume from the last epoch"))
            })?;
            let room = room.map_err(|_| gone())?;
            room.send(news.message(index));
        }
        self.told_at = Instant::now();
        Ok(())
    }

    /// What there is to tell; progress where that is due.
    fn look(&mut self, state: &mut LiveState) -> Result<Option<News>, Status> {
        let news = self.news(state)?;
        self.seen = state.epoch().max(self.seen);
        self.looked_at = Instant::now();
        let due = self.epoch < self.seen && self.told_at.elapsed() >= PROGRESS_EVERY;
        Ok(news.or_else(|| due.then(|| self.progress(state))))
    }

    /// What the caller does not know yet.
    fn news(&mut self, state: &mut LiveState) -> Result<Option<News>, Status> {
        let reason = match state.answer.since(self.position) {
            Told::Nothing => return Ok(None),
            Told::Expired => Reason::Expired,
            Told::ColumnsChanged => Reason::ColumnsChanged,
            Told::Changes => {
                let (position, memory) = (self.position, &self.memory);
                let pieces = state.encoded(Some(position), |answer| {
                    let (upserted, removed) = answer.changes(position);
                    let rows = upserted.into_iter().map(|row| (UPSERTED, row));
                    let rows = rows.chain(removed.into_iter().map(|key| (REMOVED, (key, &[][..]))));
                    Pieces::of(rows, memory, Of::Subscriptions)
                })?;
                return Ok(Some(self.reach(state, Kind::Changes, pieces)));
            }
        };
        self.snapshot(state, reason).map(Some)
    }

    fn snapshot(&mut self, state: &mut LiveState, reason: Reason) -> Result<News, Status> {
        let memory = &self.memory;
        let pieces = state.encoded(None, |answer| {
            let rows = answer.snapshot().map(|row| (SNAPSHOT_ROWS, row));
            Pieces::of(rows, memory, Of::Subscriptions)
        })?;
        let news = self.reach(state, Kind::Snapshot(reason), pieces);
        Ok(News { columns: Some(state.answer.columns(SNAPSHOT_COLUMNS)), ..news })
    }

    fn progress(&mut self, state: &LiveState) -> News {
        self.reach(state, Kind::Progress, Pieces::none())
    }

    /// With this news, the caller knows all that the state does.
    fn reach(&mut self, state: &LiveState, kind: Kind, pieces: Arc<Pieces>) -> News {
        let seen = state.seen.clone().expect("a state that is fresh has seen a version");
        self.position = state.answer.position();
        self.epoch = seen.epoch;
        self.seen = self.epoch;
        News { at: seen.at, kind, columns: None, pieces }
    }
}

fn gone() -> Status {
    Status::cancelled("the caller has gone")
}
