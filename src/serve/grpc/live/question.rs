//! Questions that somebody subscribes to: each is worked out once for all who ask it, at most so often.

use super::super::asking::Asking;
use super::super::at::{Stamp, Stamps};
use super::super::deadline::Deadline;
use super::super::question::{Question, view};
use super::answer::LiveAnswer;
use crate::serve::settings::ServeSettings;
use crate::serve::{Board, Published};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};
use tokio::time::Instant;
use tonic::Status;

/// Working out an answer may take this part of the time, so that an expensive one is worked out less often.
const BUSY_PART: u32 = 4;
/// A large answer of a subscription is not given up: it has no deadline, and this is beyond any wait.
const FOREVER: Duration = Duration::from_secs(3_600);
/// Questions that nobody subscribes to any more and that may still be resumed.
const IDLE_MAX: usize = 64;

pub struct LiveQuestion {
    question: Question,
    state: AsyncMutex<LiveState>,
    /// Those who subscribe.
    subscribers: AtomicUsize,
}

pub struct LiveState {
    pub answer: LiveAnswer,
    /// Of the newest sample.
    pub stamp: Option<Arc<Stamp>>,
    /// Not before then.
    next_sample: Instant,
    /// When somebody last looked.
    used: Instant,
}

/// All of them, by their keys.
pub struct LiveQuestions {
    pub board: Arc<Board>,
    stamps: Arc<Stamps>,
    asking: Asking,
    rows_max: usize,
    interval_min: Duration,
    resume_for: Duration,
    questions: Mutex<HashMap<Bytes, Arc<LiveQuestion>>>,
}

impl LiveQuestions {
    pub fn new(board: Arc<Board>, stamps: Arc<Stamps>, asking: Asking, settings: &ServeSettings) -> LiveQuestions {
        LiveQuestions {
            board,
            stamps,
            asking,
            rows_max: settings.subscription_rows_max,
            interval_min: Duration::from_millis(settings.subscription_interval_min_ms),
            resume_for: Duration::from_millis(settings.subscription_resume_ms),
            questions: Mutex::default(),
        }
    }

    pub fn count(&self) -> usize {
        self.questions.lock().expect("no holder of the questions panics").len()
    }

    /// A question that is subscribed to until the guard is dropped.
    pub fn join(&self, question: Question) -> Joined {
        let mut questions = self.questions.lock().expect("no holder of the questions panics");
        self.forget_idle(&mut questions);
        let live = questions.entry(question.key.clone()).or_insert_with(|| {
            let now = Instant::now();
            let state = LiveState { answer: LiveAnswer::default(), stamp: None, next_sample: now, used: now };
            Arc::new(LiveQuestion { question, state: AsyncMutex::new(state), subscribers: AtomicUsize::new(0) })
        });
        live.subscribers.fetch_add(1, SeqCst);
        Joined(live.clone())
    }

    /// Those that can no longer be resumed; and the ones idle for longest, where there are too many.
    fn forget_idle(&self, questions: &mut HashMap<Bytes, Arc<LiveQuestion>>) {
        let mut idle: Vec<(Instant, Bytes)> = Vec::new();
        for (key, live) in questions.iter() {
            // A state that is locked is in use.
            if live.subscribers.load(SeqCst) == 0
                && let Ok(state) = live.state.try_lock()
            {
                idle.push((state.used, key.clone()));
            }
        }
        idle.sort_unstable();
        let too_many = idle.len().saturating_sub(IDLE_MAX);
        for (index, (used, key)) in idle.into_iter().enumerate() {
            if index < too_many || used.elapsed() > self.resume_for {
                questions.remove(&key);
            }
        }
    }

    /// The state of a question, brought up to the current version unless that was done just now.
    ///
    /// # Errors
    /// Where the question does not fit, or its answer is too large.
    pub async fn fresh<'a>(&self, live: &'a LiveQuestion) -> Result<AsyncMutexGuard<'a, LiveState>, Status> {
        let mut state = live.state.lock().await;
        state.used = Instant::now();
        let version = self.board.current();
        let known = state.stamp.as_ref().map(|stamp| stamp.version.epoch);
        if known == Some(version.epoch) || known.is_some() && Instant::now() < state.next_sample {
            return Ok(state);
        }
        if version.epoch == 0 {
            return Err(Status::unavailable("no epoch is published yet: try again"));
        }
        self.sample(live, &mut state, version).await?;
        Ok(state)
    }

    /// As [`LiveQuestions::fresh`], for somebody who has the answer of `epoch`: where nobody asked the question then, that
    /// epoch's version is looked at first, if it is still there.
    ///
    /// # Errors
    /// As [`LiveQuestions::fresh`].
    pub async fn fresh_since<'a>(
        &self,
        live: &'a LiveQuestion,
        epoch: u64,
    ) -> Result<AsyncMutexGuard<'a, LiveState>, Status> {
        let mut state = live.state.lock().await;
        if state.answer.is_empty()
            && let Some(version) = self.board.at(epoch).filter(|version| version.epoch > 0)
        {
            self.sample(live, &mut state, version).await?;
            state.next_sample = Instant::now();
        }
        drop(state);
        self.fresh(live).await
    }

    async fn sample(&self, live: &LiveQuestion, state: &mut LiveState, version: Arc<Published>) -> Result<(), Status> {
        let stamp = self.stamps.of(version.clone());
        let name = &live.question.view;
        let rows = view(&version, name)?;
        let before = state.stamp.as_ref().map(|stamp| &stamp.version);
        // The default of `as_of` is the watermark: with another one, the same rows may have another answer.
        let same = before.is_some_and(|before| {
            let changed_at = before.view(name).map(|rows| rows.changed_at);
            changed_at == Some(rows.changed_at)
                && (before.watermark == version.watermark || live.question.query.as_of.is_some())
        });
        if same {
            state.answer.unchanged(version.epoch);
        } else {
            let started = Instant::now();
            let deadline = Deadline { at: started + FOREVER, after: FOREVER };
            let (rows_max, values) = (self.rows_max, rows.view.value_columns().len());
            let epoch = version.epoch;
            // Where it fails, or the caller goes away before it is done, whoever comes next begins anew.
            let nothing = LiveAnswer::after(state.answer.position() + 1);
            let mut answer = std::mem::replace(&mut state.answer, nothing);
            state.stamp = None;
            let sampling = self.asking.ask(&version, live.question.clone(), deadline, move |table| {
                let count = table.rows.len();
                if count > rows_max {
                    return Err(Status::resource_exhausted(format!(
                        "the answer has {count} rows, and a subscription {rows_max} at most: filter, or group by less"
                    )));
                }
                answer.sample(epoch, &table, values);
                Ok(answer)
            });
            state.answer = sampling.await?;
            state.next_sample = Instant::now() + self.interval_min.max(started.elapsed() * BUSY_PART);
        }
        state.stamp = Some(stamp);
        Ok(())
    }
}

/// A live question for as long as somebody subscribes to it.
pub struct Joined(Arc<LiveQuestion>);

impl std::ops::Deref for Joined {
    type Target = LiveQuestion;

    fn deref(&self) -> &LiveQuestion {
        &self.0
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.0.subscribers.fetch_sub(1, SeqCst);
    }
}
