//! One subscription: a task that tells its caller what changed, as fast as the caller takes it.

use super::super::wire;
use super::answer::{CHANGE_COLUMNS, PROGRESS_COLUMNS, Position, SNAPSHOT_COLUMNS, Told};
use super::question::{Joined, LiveQuestions, LiveState};
use crate::serve::grpc::at::Stamp;
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

/// A message holds about so much.
const MESSAGE_BYTES: usize = 256 << 10;
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
    /// As [`LiveQuestions::fresh`].
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
        let mut told =
            Telling { sender, stall: self.stall, position: 0, epoch: 0, seen: 0, told_at: now, looked_at: now };
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
            return Ok(told.snapshot(&*live.fresh(&self.question).await?, Reason::New));
        }
        let state = live.fresh_since(&self.question, self.resume_epoch).await?;
        let Some(position) = state.answer.position_at(self.resume_epoch) else {
            return Ok(told.snapshot(&state, Reason::Expired));
        };
        told.position = position;
        let mut news = told.news(&state).unwrap_or_else(|| told.progress(&state));
        if let Kind::Changes | Kind::Progress = news.kind {
            news.columns = Some(state.answer.columns(news.kind.columns()));
        }
        Ok(news)
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
                    let state = live.fresh(&self.question).await?;
                    told.look(&state)
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
    stamp: Arc<Stamp>,
    kind: Kind,
    /// For the first message.
    columns: Option<Vec<u8>>,
    /// Encoded rows or keys, each with its field.
    rows: Vec<(u32, Bytes)>,
}

impl News {
    /// The message that begins at a row, and where the next begins.
    fn message(&self, start: usize) -> (Bytes, usize) {
        let (mut rows, mut end) = (Vec::new(), start);
        while let Some((field, row)) = self.rows.get(end).filter(|_| rows.len() < MESSAGE_BYTES) {
            wire::put_bytes(&mut rows, *field, row);
            end += 1;
        }
        let (first, last) = (start == 0, end == self.rows.len());
        let mut head = self.stamp.encoded.to_vec();
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
        let mut message = Vec::with_capacity(head.len() + rows.len() + 8);
        wire::put_head(&mut message, field, head.len() + rows.len());
        message.extend_from_slice(&head);
        message.extend_from_slice(&rows);
        (message.into(), end)
    }
}

/// The caller's side of a subscription.
struct Telling {
    sender: mpsc::Sender<Message>,
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
        let mut start = 0;
        loop {
            let room = timeout(self.stall, self.sender.reserve()).await.map_err(|_| {
                let seconds = self.stall.as_secs_f32();
                Status::aborted(format!("nothing was taken for {seconds} s: resume from the last epoch"))
            })?;
            let room = room.map_err(|_| gone())?;
            let (message, end) = news.message(start);
            room.send(Encoded::of_pieces([message, Bytes::new(), Bytes::new()]));
            if end == news.rows.len() {
                break;
            }
            start = end;
        }
        self.told_at = Instant::now();
        Ok(())
    }

    /// What there is to tell; progress where that is due.
    fn look(&mut self, state: &LiveState) -> Option<News> {
        let news = self.news(state);
        self.seen = state.stamp.as_ref().map_or(self.seen, |stamp| stamp.version.epoch);
        self.looked_at = Instant::now();
        let due = self.epoch < self.seen && self.told_at.elapsed() >= PROGRESS_EVERY;
        news.or_else(|| due.then(|| self.progress(state)))
    }

    /// What the caller does not know yet.
    fn news(&mut self, state: &LiveState) -> Option<News> {
        let (upserted, removed) = match state.answer.since(self.position) {
            Told::Nothing => return None,
            Told::Expired => return Some(self.snapshot(state, Reason::Expired)),
            Told::ColumnsChanged => return Some(self.snapshot(state, Reason::ColumnsChanged)),
            Told::Changes { upserted, removed } => (upserted, removed),
        };
        let rows = upserted.into_iter().map(|row| (UPSERTED, row));
        let rows = rows.chain(removed.into_iter().map(|key| (REMOVED, key))).collect();
        Some(self.reach(state, Kind::Changes, rows))
    }

    fn snapshot(&mut self, state: &LiveState, reason: Reason) -> News {
        let rows = state.answer.snapshot().into_iter().map(|row| (SNAPSHOT_ROWS, row)).collect();
        let news = self.reach(state, Kind::Snapshot(reason), rows);
        News { columns: Some(state.answer.columns(SNAPSHOT_COLUMNS)), ..news }
    }

    fn progress(&mut self, state: &LiveState) -> News {
        self.reach(state, Kind::Progress, Vec::new())
    }

    /// With this news, the caller knows all that the state does.
    fn reach(&mut self, state: &LiveState, kind: Kind, rows: Vec<(u32, Bytes)>) -> News {
        let stamp = state.stamp.clone().expect("a state that is fresh has a stamp");
        self.position = state.answer.position();
        self.epoch = stamp.version.epoch;
        self.seen = self.epoch;
        News { stamp, kind, columns: None, rows }
    }
}

fn gone() -> Status {
    Status::cancelled("the caller has gone")
}
