//! Questions that somebody subscribes to: each is worked out once for all who ask it, at most so often.

use super::super::asking::Asking;
use super::super::codec::{Codec, RowRole};
use super::super::error::{Kind, ReadError};
use super::super::place::{AnswerState, Place};
use super::super::question::{Question, view};
use super::answer::{LiveAnswer, Position, Row};
use super::pieces::Pieces;
use crate::serve::callers::memory::{Charge, Memory, Of};
use crate::serve::settings::ServeSettings;
use crate::serve::{Board, Published};
use bytes::Bytes;
use millrace_dataflows::table::Value;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};
use tokio::time::Instant;

/// Working out an answer may take this part of the time, so that an expensive one is worked out less often.
const BUSY_PART: u32 = 4;
/// Questions that nobody subscribes to any more and that may still be resumed.
const IDLE_MAX: usize = 64;
/// What a question holds encoded at most, of which it has no need itself.
const HELD_BYTES: usize = 256 << 10;
/// What a question takes beside its answer and its key.
const QUESTION_BYTES: usize = 2 << 10;

pub struct LiveQuestion {
    question: Question,
    /// What it takes beside its answer.
    base_bytes: usize,
    state: AsyncMutex<LiveState>,
    /// Those who subscribe.
    subscribers: AtomicUsize,
}

pub struct LiveState {
    pub answer: LiveAnswer,
    /// The newest version that was looked at.
    pub seen: Option<Seen>,
    charge: Charge,
    /// What was encoded of this answer.
    encoded: Vec<Encoded>,
    encoded_at: Position,
    /// The place of what was seen, by codec.
    places: Vec<(&'static str, Bytes)>,
    /// Not before then.
    next_sample: Instant,
    /// When somebody last looked.
    used: Instant,
}

/// What is kept of a version: not its rows.
pub struct Seen {
    pub place: Place,
    answer: AnswerState,
}

/// By which codec, and what somebody at a position has to be told; with `None`, all there is.
type What = (&'static str, Option<Position>);

/// What was encoded, for as long as anybody holds it.
struct Encoded {
    what: What,
    pieces: Weak<Pieces>,
    /// Where it is not much, it waits here for those who come a little later: a subscription that has room for a message
    /// lets go of it at once.
    held: Option<Arc<Pieces>>,
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
            places: Vec::new(),
            next_sample: now,
            used: now,
        }
    }

    pub fn epoch(&self) -> u64 {
        self.seen.as_ref().map_or(0, |seen| seen.place.epoch)
    }

    /// Where the answer is true, as a codec has it; `None` before a version was looked at.
    pub fn place(&mut self, codec: &dyn Codec) -> Option<(u64, Bytes)> {
        let seen = self.seen.as_ref()?;
        let known = self.places.iter().find(|(name, _)| *name == codec.name()).map(|(_, bytes)| bytes.clone());
        let bytes = known.unwrap_or_else(|| {
            let bytes = codec.place(&seen.place);
            self.places.push((codec.name(), bytes.clone()));
            bytes
        });
        Some((seen.place.epoch, bytes))
    }

    /// All rows, encoded once for all callers of the codec.
    ///
    /// # Errors
    /// Where there is no memory for them.
    pub async fn snapshot(&mut self, codec: &dyn Codec, memory: &Arc<Memory>) -> Result<Arc<Pieces>, ReadError> {
        let what = (codec.name(), None);
        if let Some(pieces) = self.known(what) {
            return Ok(pieces);
        }
        let rows = self.answer.snapshot().map(|row| (RowRole::Snapshot, row));
        let pieces = Pieces::of(rows, codec, memory).await?;
        self.share(what, &pieces);
        Ok(pieces)
    }

    /// What changed since a position, encoded once for all callers of the codec who are there.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub async fn changes(
        &mut self,
        since: Position,
        codec: &dyn Codec,
        memory: &Arc<Memory>,
    ) -> Result<Arc<Pieces>, ReadError> {
        let what = (codec.name(), Some(since));
        if let Some(pieces) = self.known(what) {
            return Ok(pieces);
        }
        let (upserted, removed) = self.answer.changes(since);
        let upserted = upserted.into_iter().map(|row| (RowRole::Upserted, row));
        let pieces = Pieces::of(upserted.chain(removed.into_iter().map(gone)), codec, memory).await?;
        self.share(what, &pieces);
        Ok(pieces)
    }

    /// What is there of what was encoded of this answer.
    fn known(&mut self, what: What) -> Option<Arc<Pieces>> {
        if self.encoded_at != self.answer.position() {
            self.encoded.clear();
            self.encoded_at = self.answer.position();
        }
        self.encoded.retain(|encoded| encoded.pieces.strong_count() > 0);
        self.encoded.iter().find(|encoded| encoded.what == what).and_then(|encoded| encoded.pieces.upgrade())
    }

    fn share(&mut self, what: What, pieces: &Arc<Pieces>) {
        let held = self.encoded.iter().filter_map(|encoded| encoded.held.as_ref());
        let held_bytes: usize = held.map(|held| held.bytes()).sum();
        let held = (held_bytes + pieces.bytes() <= HELD_BYTES).then(|| pieces.clone());
        self.encoded.push(Encoded { what, pieces: Arc::downgrade(pieces), held });
    }

    /// Keeps only what others hold.
    fn let_go(&mut self) {
        self.encoded.iter_mut().for_each(|encoded| encoded.held = None);
        self.encoded.retain(|encoded| encoded.pieces.strong_count() > 0);
    }
}

/// All of them, by their keys.
pub struct LiveQuestions {
    pub board: Arc<Board>,
    pub memory: Arc<Memory>,
    asking: Asking,
    rows_max: usize,
    interval_min: Duration,
    resume_for: Duration,
    questions: Mutex<HashMap<Bytes, Arc<LiveQuestion>>>,
}

impl LiveQuestions {
    pub fn new(board: Arc<Board>, asking: Asking, memory: Arc<Memory>, settings: &ServeSettings) -> LiveQuestions {
        LiveQuestions {
            board,
            memory,
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
        let key = question.key();
        let mut questions = self.questions.lock().expect("no holder of the questions panics");
        let live = questions.entry(key.clone()).or_insert_with(|| {
            let state = AsyncMutex::new(LiveState::new(&self.memory));
            let base_bytes = QUESTION_BYTES + key.len();
            Arc::new(LiveQuestion { question, base_bytes, state, subscribers: AtomicUsize::new(0) })
        });
        live.subscribers.fetch_add(1, SeqCst);
        Joined(live.clone())
    }

    /// Forgets those that can no longer be resumed; and the ones idle for longest, where there are too many. The others let
    /// go of what they hold for others. To be called every so often: nobody need come for memory to be given back.
    pub fn forget_idle(&self) {
        let mut questions = self.questions.lock().expect("no holder of the questions panics");
        let mut idle: Vec<(Instant, Bytes)> = Vec::new();
        for (key, live) in questions.iter() {
            // A state that is locked is in use.
            let Ok(mut state) = live.state.try_lock() else { continue };
            state.let_go();
            if live.subscribers.load(SeqCst) == 0 {
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
    ) -> Result<AsyncMutexGuard<'a, LiveState>, ReadError> {
        let mut state = live.state.lock().await;
        state.used = Instant::now();
        let version = self.board.current();
        let known = state.seen.as_ref().map(|seen| seen.place.epoch);
        let is_early = Instant::now() < state.next_sample && known.is_some_and(|known| known >= least);
        if known == Some(version.epoch) || is_early {
            return Ok(state);
        }
        if version.epoch == 0 {
            return Err(ReadError::unavailable("no epoch is published yet: try again"));
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
    ) -> Result<AsyncMutexGuard<'a, LiveState>, ReadError> {
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

    async fn sample(
        &self,
        live: &LiveQuestion,
        state: &mut LiveState,
        version: Arc<Published>,
    ) -> Result<(), ReadError> {
        let Question { view: name, query } = &live.question;
        let rows = view(&version, name)?;
        let now = AnswerState::of(&version, name).expect("the view is there");
        let place = Place::of(&version);
        match state.seen.as_ref().filter(|before| now.answers_as(before.answer, query)) {
            // What an earlier run published after the checkpoint that was restored is not known.
            Some(before) if before.place.restored && !place.restored => state.answer.found_again(place.epoch),
            Some(_) => state.answer.unchanged(place.epoch),
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
                let base_bytes = live.base_bytes;
                let sampling = self.asking.keep_up(&version, live.question.clone(), move |table| {
                    let count = table.rows.len();
                    if count > rows_max {
                        return Err(too_large(count, rows_max));
                    }
                    answer.sample(epoch, table, values);
                    let of = if charge.is_none() { Of::NewSubscription } else { Of::Subscriptions };
                    charge.resize(base_bytes + answer.bytes(), of, None)?;
                    Ok((answer, charge))
                });
                (state.answer, state.charge) = sampling.await?;
                state.next_sample = Instant::now() + self.interval_min.max(started.elapsed() * BUSY_PART);
            }
        }
        state.places.clear();
        state.seen = Some(Seen { place, answer: now });
        Ok(())
    }
}

/// Of a row that is gone there is its key.
fn gone(key: &[Value]) -> (RowRole, Row<'_>) {
    (RowRole::Removed, (key, &[]))
}

fn too_large(rows: usize, most: usize) -> ReadError {
    let text = format!("the answer has {rows} rows, and a subscription {most} at most: filter, or group by less");
    ReadError::new(Kind::TooLarge, text).with("rows", rows).with("rows_max", most)
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
