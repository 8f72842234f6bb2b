//! Questions that somebody subscribes to: each is worked out once for all who ask it, at most so often.

use super::super::asking::Asking;
use super::super::at::Stamps;
use super::super::memory::{Charge, Memory, Of};
use super::super::question::{Question, view};
use super::answer::{LiveAnswer, Position};
use super::pieces::Pieces;
use crate::serve::settings::ServeSettings;
use crate::serve::{Board, Published};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};
use tokio::time::Instant;
use tonic::Status;

/// Working out an answer may take this part of the time, so that an expensive one is worked out less often.
const BUSY_PART: u32 = 4;
/// Questions that nobody subscribes to any more and that may still be resumed.
const IDLE_MAX: usize = 64;
/// What a question takes beside its answer.
const QUESTION_BYTES: usize = 2 << 10;

pub struct LiveQuestion {
    question: Question,
    state: AsyncMutex<LiveState>,
    /// Those who subscribe.
    subscribers: AtomicUsize,
}

pub struct LiveState {
    pub answer: LiveAnswer,
    /// The newest version that was looked at.
    pub seen: Option<Seen>,
    charge: Charge,
    /// What was encoded of this answer, as long as somebody holds it: for whom at which position, `None` for everybody.
    encoded: Vec<(Option<Position>, Weak<Pieces>)>,
    encoded_at: Position,
    /// Not before then.
    next_sample: Instant,
    /// When somebody last looked.
    used: Instant,
}

/// What is kept of a version: not its rows.
#[derive(Clone)]
pub struct Seen {
    pub epoch: u64,
    /// The field `at` of messages.
    pub at: Bytes,
    /// The last change of the view.
    changed_at: u64,
    watermark: Option<i64>,
    restored: bool,
}

impl LiveState {
    fn new(memory: &Arc<Memory>) -> LiveState {
        let now = Instant::now();
        LiveState {
            answer: LiveAnswer::default(),
            seen: None,
            charge: Charge::none(memory, Of::Subscriptions),
            encoded: Vec::new(),
            encoded_at: 0,
            next_sample: now,
            used: now,
        }
    }

    pub fn epoch(&self) -> u64 {
        self.seen.as_ref().map_or(0, |seen| seen.epoch)
    }

    /// What `make` encodes of the answer for those who are at a position, made once for all of them.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn encoded(
        &mut self,
        since: Option<Position>,
        make: impl FnOnce(&LiveAnswer) -> Result<Arc<Pieces>, Status>,
    ) -> Result<Arc<Pieces>, Status> {
        if self.encoded_at != self.answer.position() {
            self.encoded.clear();
            self.encoded_at = self.answer.position();
        }
        self.encoded.retain(|(_, pieces)| pieces.strong_count() > 0);
        let known = self.encoded.iter().find(|(of, _)| *of == since);
        if let Some(pieces) = known.and_then(|(_, pieces)| pieces.upgrade()) {
            return Ok(pieces);
        }
        let pieces = make(&self.answer)?;
        self.encoded.push((since, Arc::downgrade(&pieces)));
        Ok(pieces)
    }
}

/// All of them, by their keys.
pub struct LiveQuestions {
    pub board: Arc<Board>,
    pub memory: Arc<Memory>,
    stamps: Arc<Stamps>,
    asking: Asking,
    rows_max: usize,
    interval_min: Duration,
    resume_for: Duration,
    questions: Mutex<HashMap<Bytes, Arc<LiveQuestion>>>,
}

impl LiveQuestions {
    pub fn new(
        board: Arc<Board>,
        stamps: Arc<Stamps>,
        asking: Asking,
        memory: Arc<Memory>,
        settings: &ServeSettings,
    ) -> LiveQuestions {
        LiveQuestions {
            board,
            memory,
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
        let live = questions.entry(question.key.clone()).or_insert_with(|| {
            let state = AsyncMutex::new(LiveState::new(&self.memory));
            Arc::new(LiveQuestion { question, state, subscribers: AtomicUsize::new(0) })
        });
        live.subscribers.fetch_add(1, SeqCst);
        Joined(live.clone())
    }

    /// Forgets those that can no longer be resumed; and the ones idle for longest, where there are too many. To be called
    /// every so often: nobody need come for memory to be given back.
    pub fn forget_idle(&self) {
        let mut questions = self.questions.lock().expect("no holder of the questions panics");
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

    /// The state of a question at an epoch that is not before `least`, which must be published; the current one, unless
    /// another was looked at just now.
    ///
    /// # Errors
    /// Where the question does not fit, its answer is too large, or there is no memory for it.
    pub async fn fresh<'a>(
        &self,
        live: &'a LiveQuestion,
        least: u64,
    ) -> Result<AsyncMutexGuard<'a, LiveState>, Status> {
        let mut state = live.state.lock().await;
        state.used = Instant::now();
        let version = self.board.current();
        let known = state.seen.as_ref().map(|seen| seen.epoch);
        let is_early = Instant::now() < state.next_sample && known.is_some_and(|known| known >= least);
        if known == Some(version.epoch) || is_early {
            return Ok(state);
        }
        if version.epoch == 0 {
            return Err(Status::unavailable("no epoch is published yet: try again"));
        }
        self.sample(live, &mut state, version).await?;
        Ok(state)
    }

    /// As [`LiveQuestions::fresh`], for somebody who has the answer of `epoch`, which is not before it: where nobody asked the
    /// question then, that epoch's version is looked at first, if it is still there.
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
        self.fresh(live, epoch).await
    }

    async fn sample(&self, live: &LiveQuestion, state: &mut LiveState, version: Arc<Published>) -> Result<(), Status> {
        let rows = view(&version, &live.question.view)?;
        let seen = Seen {
            epoch: version.epoch,
            at: self.stamps.of(version.clone()).encoded.clone(),
            changed_at: rows.changed_at,
            watermark: version.watermark,
            restored: version.restored,
        };
        // The default of `as_of` is the watermark: with another one, the same rows may have another answer.
        let same = state.seen.as_ref().filter(|before| {
            let is_as_of = live.question.query.as_of.is_some();
            before.changed_at == seen.changed_at && (before.watermark == seen.watermark || is_as_of)
        });
        match same {
            // What an earlier run published after the checkpoint that was restored is not known.
            Some(before) if before.restored && !seen.restored => state.answer.found_again(seen.epoch),
            Some(_) => state.answer.unchanged(seen.epoch),
            None => {
                let started = Instant::now();
                let (rows_max, values) = (self.rows_max, rows.view.value_columns().len());
                let epoch = version.epoch;
                // Where it fails, or the caller goes away before it is done, whoever comes next begins anew.
                let nothing = LiveAnswer::after(state.answer.position() + 1);
                let mut answer = std::mem::replace(&mut state.answer, nothing);
                let none = Charge::none(&self.memory, Of::Subscriptions);
                let mut charge = std::mem::replace(&mut state.charge, none);
                state.seen = None;
                let base = QUESTION_BYTES + live.question.key.len();
                let sampling = self.asking.keep_up(&version, live.question.clone(), move |table| {
                    let count = table.rows.len();
                    if count > rows_max {
                        return Err(Status::resource_exhausted(format!(
                            "the answer has {count} rows, and a subscription {rows_max} at most: filter, or group by less"
                        )));
                    }
                    answer.sample(epoch, &table, values);
                    let of = if charge.is_none() { Of::NewSubscription } else { Of::Subscriptions };
                    charge.resize(base + answer.bytes(), of, None)?;
                    Ok((answer, charge))
                });
                (state.answer, state.charge) = sampling.await?;
                state.next_sample = Instant::now() + self.interval_min.max(started.elapsed() * BUSY_PART);
            }
        }
        state.seen = Some(seen);
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
