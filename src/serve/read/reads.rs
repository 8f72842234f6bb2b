//! What can be asked of a server, whichever codec stands in front of it.

use super::asker::Asker;
use super::asking::Asking;
use super::codec::Codec;
use super::consistency::Wanted;
use super::deadline::{Deadline, Limits};
use super::error::{Kind, ReadError};
use super::live::{LiveQuestions, Messages, Subscriber, Subscribing};
use super::pages::{EncodedTable, Page, PageCache};
use super::question::{QUARANTINE, Question, misfit, view};
use super::token::PageToken;
use crate::serve::callers::memory::Memory;
use crate::serve::settings::ServeSettings;
use crate::serve::status::Engine;
use crate::serve::{Board, Published};
use millrace_dataflows::table::Table;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Answers readers. One for all codecs: they share what is kept for readers, and its limits.
pub struct Reads {
    pub board: Arc<Board>,
    pub engine: Arc<dyn Engine>,
    pub clock: Clock,
    draining: watch::Receiver<bool>,
    limits: Limits,
    asking: Asking,
    pages: PageCache,
    live: Arc<LiveQuestions>,
    subscriptions: Arc<AtomicUsize>,
    memory: Arc<Memory>,
    settings: ServeSettings,
}

/// Somebody who wants to be told what changes.
pub struct Subscribe {
    pub question: Question,
    /// The epoch that they have the answer of; 0 where they have none.
    pub resume_epoch: u64,
    /// Not more often.
    pub min_interval: Option<Duration>,
    /// When it has to end.
    pub until: Option<Instant>,
    /// By when it has to begin.
    pub deadline: Deadline,
}

/// What can be asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ViewDescription {
    pub name: String,
    pub group_columns: Vec<String>,
    pub value_columns: Vec<String>,
    pub version: u32,
    /// The last epoch that changed anything in it.
    pub changed_at: u64,
    /// While it is being made: the events that have gone in, and all that will.
    pub building: Option<(u64, u64)>,
}

/// Longer waits between changes are no use to anybody.
const INTERVAL_MOST: Duration = Duration::from_secs(3_600);

impl Reads {
    pub fn new(
        settings: &ServeSettings,
        board: Arc<Board>,
        engine: Arc<dyn Engine>,
        clock: Clock,
        draining: watch::Receiver<bool>,
        memory: Arc<Memory>,
    ) -> Reads {
        let asking = Asking::of(settings, memory.clone());
        let live = LiveQuestions::new(board.clone(), asking.clone(), memory.clone(), settings);
        let page_bytes = settings.page_cache_bytes.min(settings.memory_bytes / 4);
        Reads {
            board,
            engine,
            clock,
            draining,
            limits: Limits::of(settings),
            asking,
            pages: PageCache::new(page_bytes, settings.keep_epochs()),
            live: Arc::new(live),
            subscriptions: Arc::default(),
            memory,
            settings: settings.clone(),
        }
    }

    /// Gives up what nobody holds any more. To be called every so often.
    pub fn tidy(&self) {
        self.live.forget_idle();
        self.board.forget_old();
        self.pages.forget_old();
    }

    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    pub fn subscriptions(&self) -> usize {
        self.subscriptions.load(SeqCst)
    }

    pub fn live_questions(&self) -> usize {
        self.live.count()
    }

    /// Of a call that has just arrived, and of the time that it gives.
    pub fn deadline(&self, asked: Option<Duration>) -> Deadline {
        self.limits.deadline(asked)
    }

    /// A read begins.
    ///
    /// # Errors
    /// Where none is taken for now.
    pub fn admit(&self) -> Result<Admitted<'_>, ReadError> {
        match self.engine.refuses_reads() {
            None => Ok(Admitted(self)),
            Some(why) => Err(ReadError::new(Kind::Busy, why)),
        }
    }

    /// A subscription begins.
    ///
    /// # Errors
    /// As [`Reads::admit`]; and where the server is about to end.
    pub fn admit_subscription(&self) -> Result<Admitted<'_>, ReadError> {
        if self.is_draining() { Err(ReadError::unavailable("the server is draining")) } else { self.admit() }
    }

    /// The version that a later page is of.
    ///
    /// # Errors
    /// Where it is no longer there.
    pub fn version_of(&self, page: PageToken) -> Result<Arc<Published>, ReadError> {
        let epoch = page.epoch;
        self.board.at(epoch).ok_or_else(|| {
            let text = format!("page_token: epoch {epoch} is no longer kept: start again from the first page");
            ReadError::new(Kind::Expired, text).with("epoch", epoch)
        })
    }

    /// The answer to a question, as `write` makes it of the whole table. `advice` says what to do where that is too large.
    ///
    /// # Errors
    /// Where the question does not fit, its answer is too large, or there is no time for it.
    pub async fn answer<T: Send + 'static>(
        &self,
        version: &Arc<Published>,
        question: Question,
        asker: &Asker,
        advice: &'static str,
        write: impl FnOnce(&Table) -> T + Send + 'static,
    ) -> Result<T, ReadError> {
        let rows_max = self.settings.max_result_rows;
        let finish = move |table: Table| {
            check_rows(table.rows.len(), rows_max, advice)?;
            Ok(write(&table))
        };
        self.asking.ask(version, question, asker, || None, finish).await
    }

    /// Some rows of the answer to a question, from a row on: as many as are asked for, or all of them where none are, but
    /// never more than are given at once. The whole answer is worked out once for all pages.
    ///
    /// # Errors
    /// As [`Reads::answer`]; and where there is no memory for it.
    pub async fn page(
        &self,
        codec: &Arc<dyn Codec>,
        version: &Arc<Published>,
        question: &Question,
        offset: u64,
        page_size: Option<usize>,
        asker: &Asker,
    ) -> Result<Page, ReadError> {
        let table = self.table(codec, version, question, asker).await?;
        let total_rows = table.rows();
        let rows_max = self.settings.max_result_rows;
        if page_size.is_none() && offset == 0 {
            check_rows(total_rows, rows_max, "ask for pages with page_size, or filter")?;
        }
        let size = page_size.map_or(rows_max, |size| rows_max.min(size));
        let start = usize::try_from(offset).map_or(total_rows, |offset| offset.min(total_rows));
        let end = start.saturating_add(size).min(total_rows);
        let next = (end < total_rows).then(|| {
            self.board.keep(version);
            PageToken { epoch: version.epoch, offset: end as u64 }
        });
        Ok(Page { columns: table.columns.clone(), rows: table.page(start..end), next, total_rows })
    }

    /// The whole answer to a question, worked out once for all of its pages.
    async fn table(
        &self,
        codec: &Arc<dyn Codec>,
        version: &Arc<Published>,
        question: &Question,
        asker: &Asker,
    ) -> Result<Arc<EncodedTable>, ReadError> {
        let key = (codec.name(), version.epoch, question.key());
        let known = || self.pages.get(&key);
        if let Some(table) = known() {
            return Ok(table);
        }
        let working = async {
            if question.view == QUARANTINE {
                return self.quarantine(&**codec, question).map(Arc::new);
            }
            let values = view(version, &question.view)?.view.value_columns().len();
            let (codec, memory) = (codec.clone(), self.memory.clone());
            let finish = move |table: Table| EncodedTable::of(&table, values, &*codec, &memory).map(Arc::new);
            self.asking.ask(version, question.clone(), asker, known, finish).await
        };
        let table = tokio::time::timeout_at(asker.deadline.at, working).await;
        let table = table.map_err(|_| asker.deadline.passed("the answer was not worked out"))??;
        Ok(self.pages.put(key, table))
    }

    /// The rejected records are the engine's, and of no version.
    fn quarantine(&self, codec: &dyn Codec, question: &Question) -> Result<EncodedTable, ReadError> {
        let rejected = self.engine.quarantine();
        let values = rejected.columns.len();
        let table = question.query.list(QUARANTINE, rejected).map_err(misfit)?;
        EncodedTable::of(&table, values, codec, &self.memory)
    }

    /// The views of a version; and what is asked like one.
    pub fn views(&self, version: &Published) -> Vec<ViewDescription> {
        let views = version.views.iter().map(|rows| ViewDescription {
            name: rows.view.name().to_owned(),
            group_columns: rows.view.group_columns().to_vec(),
            value_columns: rows.view.value_columns().to_vec(),
            version: rows.view.version(),
            changed_at: rows.changed_at,
            building: None,
        });
        let building = version.building.iter().flat_map(|building| {
            let description = |name: &String| ViewDescription {
                name: name.clone(),
                building: Some(building.events()),
                ..ViewDescription::default()
            };
            building.views.iter().map(description)
        });
        let rejected = ViewDescription {
            name: QUARANTINE.to_owned(),
            value_columns: self.engine.quarantine_columns(),
            version: 1,
            ..ViewDescription::default()
        };
        views.chain(building).chain([rejected]).collect()
    }
}

/// A read that was let in.
#[derive(Clone, Copy)]
pub struct Admitted<'a>(&'a Reads);

impl Admitted<'_> {
    /// The newest version that may answer.
    ///
    /// # Errors
    /// Where none is there in time, or it can never be.
    pub async fn version(self, wanted: &Wanted, deadline: Deadline) -> Result<Arc<Published>, ReadError> {
        let Admitted(reads) = self;
        wanted.meet(&reads.board, &*reads.engine, deadline, &*reads.clock).await
    }

    /// Messages that tell what changes, for as long as somebody takes them.
    ///
    /// # Errors
    /// Where the question does not fit, there are too many of them, or what is resumed does not come in time.
    pub async fn subscribe(self, codec: Arc<dyn Codec>, asked: Subscribe) -> Result<Messages, ReadError> {
        let Admitted(reads) = self;
        let Subscribe { question, resume_epoch, min_interval, until, deadline } = asked;
        if question.view == QUARANTINE {
            return Err(ReadError::invalid(
                "quarantine is a list, whose rows have no key to follow: ask for it with Query",
            ));
        }
        let floor = Duration::from_millis(reads.settings.subscription_interval_min_ms);
        let place = Subscribing::begin(&reads.subscriptions, reads.settings.subscriptions_max)?;
        let subscriber = Subscriber {
            question: reads.live.join(question),
            codec,
            resume_epoch,
            deadline,
            min_interval: min_interval.unwrap_or(floor).clamp(floor, INTERVAL_MOST.max(floor)),
            until,
            stall: Duration::from_millis(reads.settings.subscription_stall_ms),
        };
        subscriber.start(reads.live.clone(), reads.draining.clone(), place).await
    }
}

fn check_rows(rows: usize, most: usize, advice: &str) -> Result<(), ReadError> {
    if rows <= most {
        return Ok(());
    }
    let text = format!("the answer has {rows} rows, and the server gives {most} at once: {advice}");
    Err(ReadError::new(Kind::TooLarge, text).with("rows", rows).with("rows_max", most))
}
