//! One subscription: a task that tells its caller what changed, as fast as the caller takes it.

use super::super::codec::{Codec, Columns};
use super::super::deadline::Deadline;
use super::super::error::{Kind, ReadError};
use super::answer::{Position, Told};
use super::pieces::Pieces;
use super::question::{Joined, LiveQuestions, LiveState};
use crate::serve::callers::memory::Memory;
use bytes::Bytes;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::Stream;

/// Where nothing changes, callers are told so.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Why the whole answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The subscription is new.
    New,
    /// What the caller had is no longer known.
    Expired,
    ColumnsChanged,
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    Snapshot(Reason),
    /// Since the message before.
    Changes,
    /// There are none: the answer is the same at a later epoch.
    Progress,
}

/// One of the messages that tell of an epoch, with its rows as a codec has encoded them.
#[derive(Clone, Debug)]
pub struct Message {
    pub epoch: u64,
    /// Where it is true, encoded as well.
    pub place: Bytes,
    pub kind: MessageKind,
    /// In the first message, where the caller may have no other way to know them.
    pub columns: Option<Arc<Columns>>,
    pub rows: Bytes,
    pub first: bool,
    /// With it, the caller has the answer of the epoch.
    pub last: bool,
}

/// What a subscription sends: its messages, and at the end always why it ends, however slow the caller is.
pub struct Messages {
    receiver: mpsc::Receiver<Message>,
    /// `None` once it was told.
    end: Option<Arc<OnceLock<ReadError>>>,
}

impl Stream for Messages {
    type Item = Result<Message, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = ready!(self.receiver.poll_recv(context));
        let why = |end: Arc<OnceLock<ReadError>>| {
            let unknown = || ReadError::new(Kind::Defect, "the subscription broke off: this is a defect");
            Err(end.get().cloned().unwrap_or_else(unknown))
        };
        Poll::Ready(message.map(Ok).or_else(|| self.end.take().map(why)))
    }
}

/// How one subscription wants to be told.
pub struct Subscriber {
    pub question: Joined,
    pub codec: Arc<dyn Codec>,
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
    /// Where there is none.
    pub fn begin(count: &Arc<AtomicUsize>, most: usize) -> Result<Subscribing, ReadError> {
        let place = Subscribing(count.clone());
        if count.fetch_add(1, SeqCst) < most {
            return Ok(place);
        }
        let text = format!("there are {most} subscriptions already (serve.subscriptions_max)");
        Err(ReadError::new(Kind::Busy, text).with("setting", "serve.subscriptions_max").with("most", most))
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
    /// As [`LiveQuestions::fresh`]; and where the epoch to resume from does not come in time.
    pub async fn start(
        self,
        live: Arc<LiveQuestions>,
        draining: watch::Receiver<bool>,
        place: Subscribing,
    ) -> Result<Messages, ReadError> {
        let (sender, receiver) = mpsc::channel(1);
        let end = Arc::<OnceLock<ReadError>>::default();
        let messages = Messages { receiver, end: Some(end.clone()) };
        let now = Instant::now();
        let mut told = Telling {
            sender,
            codec: self.codec.clone(),
            memory: live.memory.clone(),
            stall: self.stall,
            position: 0,
            epoch: self.resume_epoch,
            seen: 0,
            told_at: now,
            looked_at: now,
        };
        let first = self.first(&live, &mut told).await?;
        tokio::spawn(async move {
            let _place = place;
            if let Err(why) = self.tell(&live, draining, first, &mut told).await {
                // Set once, by this task.
                let _ = end.set(why);
            }
        });
        Ok(messages)
    }

    async fn first(&self, live: &LiveQuestions, told: &mut Telling) -> Result<News, ReadError> {
        if self.resume_epoch == 0 {
            let mut state = live.fresh(&self.question, 0).await?;
            return told.snapshot(&mut state, Reason::New).await;
        }
        self.reached(live).await?;
        let mut state = live.fresh_since(&self.question, self.resume_epoch).await?;
        let Some(position) = state.answer.position_at(self.resume_epoch) else {
            return told.snapshot(&mut state, Reason::Expired).await;
        };
        told.position = position;
        let news = match told.news(&mut state).await? {
            Some(news) => news,
            None => told.progress(&mut state),
        };
        Ok(News { columns: Some(state.answer.columns().clone()), ..news })
    }

    /// Waits until the epoch to resume from is published: an engine that was killed and started again may not be there yet,
    /// and a caller is never told of an epoch before one that it has.
    async fn reached(&self, live: &LiveQuestions) -> Result<(), ReadError> {
        let mut versions = live.board.changes();
        let reached = versions.wait_for(|epoch| *epoch >= self.resume_epoch);
        match tokio::time::timeout_at(self.deadline.at, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ReadError::unavailable("nothing more is published")),
            Err(_) => Err(ReadError::unavailable(format!(
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
    ) -> Result<(), ReadError> {
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
                    ReadError::unavailable("the server is draining: resume from the last epoch, elsewhere or later")
                }
                () = until => {
                    ReadError::new(Kind::Late, "the call's deadline has passed: resume from the last epoch")
                }
            }
        };
        let goes_on = async {
            told.send(first).await?;
            let mut versions = live.board.changes();
            loop {
                told.wait(&mut versions, self.min_interval).await?;
                let news = {
                    let mut state = live.fresh(&self.question, 0).await?;
                    told.due(&mut state).await?
                };
                if let Some(news) = news {
                    told.send(news).await?;
                }
            }
        };
        tokio::select! {
            why = ends => Err(why),
            result = goes_on => result,
        }
    }
}

/// What is to be told of one epoch, in as many messages as it takes.
struct News {
    epoch: u64,
    place: Bytes,
    kind: MessageKind,
    /// For the first message.
    columns: Option<Arc<Columns>>,
    /// Encoded rows and keys.
    pieces: Arc<Pieces>,
}

impl News {
    /// One of as many messages as there are pieces.
    fn message(&self, index: usize) -> Message {
        let (first, last) = (index == 0, index + 1 == self.pieces.count());
        Message {
            epoch: self.epoch,
            place: self.place.clone(),
            kind: self.kind,
            columns: self.columns.clone().filter(|_| first),
            rows: self.pieces.get(index),
            first,
            last,
        }
    }
}

/// The caller's side of a subscription.
struct Telling {
    sender: mpsc::Sender<Message>,
    codec: Arc<dyn Codec>,
    memory: Arc<Memory>,
    stall: Duration,
    /// What the caller has, and since when.
    position: Position,
    epoch: u64,
    told_at: Instant,
    /// The newest epoch that was looked at, and when: there was nothing to tell, or it was told.
    seen: u64,
    looked_at: Instant,
}

impl Telling {
    /// Until there may be something to tell, and it is time to.
    async fn wait(&self, versions: &mut watch::Receiver<u64>, min_interval: Duration) -> Result<(), ReadError> {
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
                    newer.map(drop).map_err(|_| ReadError::unavailable("nothing more is published"))
                }
            }
        };
        tokio::select! {
            () = self.sender.closed() => Err(gone()),
            next = next => next,
        }
    }

    /// Sends messages as the caller makes room for them.
    async fn send(&mut self, news: News) -> Result<(), ReadError> {
        for index in 0..news.pieces.count() {
            let room = timeout(self.stall, self.sender.reserve()).await.map_err(|_| {
                let seconds = self.stall.as_secs_f32();
                ReadError::new(Kind::Stalled, format!("nothing was taken for {seconds} s: resume from the last epoch"))
            })?;
            let room = room.map_err(|_| gone())?;
            room.send(news.message(index));
        }
        self.told_at = Instant::now();
        Ok(())
    }

    /// What there is to tell; progress where that is due.
    async fn due(&mut self, state: &mut LiveState) -> Result<Option<News>, ReadError> {
        let news = self.news(state).await?;
        self.seen = state.epoch().max(self.seen);
        self.looked_at = Instant::now();
        let due = self.epoch < self.seen && self.told_at.elapsed() >= PROGRESS_EVERY;
        Ok(news.or_else(|| due.then(|| self.progress(state))))
    }

    /// What the caller does not know yet.
    async fn news(&mut self, state: &mut LiveState) -> Result<Option<News>, ReadError> {
        let reason = match state.answer.since(self.position) {
            Told::Nothing => return Ok(None),
            Told::Expired => Reason::Expired,
            Told::ColumnsChanged => Reason::ColumnsChanged,
            Told::Changes => {
                let pieces = state.changes(self.position, &*self.codec, &self.memory).await?;
                return Ok(Some(self.reach(state, MessageKind::Changes, pieces)));
            }
        };
        self.snapshot(state, reason).await.map(Some)
    }

    async fn snapshot(&mut self, state: &mut LiveState, reason: Reason) -> Result<News, ReadError> {
        let pieces = state.snapshot(&*self.codec, &self.memory).await?;
        let news = self.reach(state, MessageKind::Snapshot(reason), pieces);
        Ok(News { columns: Some(state.answer.columns().clone()), ..news })
    }

    fn progress(&mut self, state: &mut LiveState) -> News {
        self.reach(state, MessageKind::Progress, Pieces::none())
    }

    /// With this news, the caller knows all that the state does.
    fn reach(&mut self, state: &mut LiveState, kind: MessageKind, pieces: Arc<Pieces>) -> News {
        let (epoch, place) = state.place(&*self.codec).expect("a state that is fresh has seen a version");
        assert!(epoch >= self.epoch, "no subscription goes back: {epoch} after {}", self.epoch);
        self.position = state.answer.position();
        self.epoch = epoch;
        self.seen = epoch;
        News { epoch, place, kind, columns: None, pieces }
    }
}

fn gone() -> ReadError {
    ReadError::new(Kind::Gone, "the caller has gone")
}
