//! Answers a question without holding up others: what looks at few rows at once, what looks at more in its turn, aside.
//!
//! ```text
//! question ─▶ few rows? ──at once──────────────────────────▶ answer
//!                └─▶ some? ─▶ turns (light) ─▶ a thread aside ─▶ answer
//!                      └────▶ turns (heavy) ─▶ a thread aside ─▶ answer
//! ```
//! The threads that read from connections and write to them never work for long, so whoever asks little is answered
//! whatever else there is to do. What waits for its turn holds no memory but its question.

use super::asker::Asker;
use super::error::{Kind, ReadError};
use super::question::{Question, misfit, view};
use super::turns::{Turn, Turns};
use crate::serve::Published;
use crate::serve::callers::memory::{Charge, Memory, Of};
use crate::serve::settings::ServeSettings;
use millrace_dataflows::index::Index;
use millrace_dataflows::query::Query;
use millrace_dataflows::row_set::{RowSet, Span};
use millrace_dataflows::rows::{Key, Measures, Sums};
use millrace_dataflows::table::Table;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

/// Where questions are answered.
#[derive(Clone)]
pub struct Asking {
    light_rows_max: usize,
    light: Arc<Turns>,
    heavy: Arc<Turns>,
    /// For what nobody waits for in a call: one at a time.
    aside: Arc<Semaphore>,
    memory: Arc<Memory>,
}

/// A question that looks at no more rows is answered at once: it takes a millisecond or two at most.
const INLINE_ROWS_MAX: usize = 1_000;
/// Answers that are kept up are worked out at once only where they look at few rows: there may be hundreds to be worked
/// out, and readers come first.
const KEPT_UP_ROWS_MAX: usize = 500;
/// About what a row takes in the table that an answer is before it is encoded.
const ROW_BYTES: usize = 512;
/// What a question is charged for its table at most: this part of the budget. Few rows may come of the many that are looked at.
const TABLE_PART: usize = 16;

impl Asking {
    pub fn of(settings: &ServeSettings, memory: Arc<Memory>) -> Asking {
        Asking {
            light_rows_max: settings.light_rows_max,
            light: Turns::new(settings.workers),
            heavy: Turns::new(settings.heavy_queries_max),
            aside: Arc::new(Semaphore::new(1)),
            memory,
        }
    }

    /// The answer, and what `finish` makes of it in the same place. `known` may know that already, once it is the question's turn:
    /// somebody else may have asked the same. Nobody waits for what another has asked: each has a line of its own.
    ///
    /// # Errors
    /// Where the question does not fit, the deadline passes before it has its turn, there is no memory for it, or `finish` fails.
    pub async fn ask<T: Send + 'static>(
        &self,
        version: &Arc<Published>,
        question: Question,
        asker: &Asker,
        known: impl Fn() -> Option<T> + Send,
        finish: impl FnOnce(Table) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        asker.check("not answered")?;
        let looks_at = match answer_within(version, &question, self.light_rows_max.min(INLINE_ROWS_MAX), None)? {
            Looked::Answer(table) => return finish(table),
            Looked::TooMany(rows) => rows,
        };
        let (looks_at, finish) = if looks_at > self.light_rows_max {
            (looks_at, finish)
        } else {
            let held = self.turn(&self.light, looks_at, asker).await?;
            if let Some(known) = known() {
                return Ok(known);
            }
            match aside(version, &question, Some(self.light_rows_max), held, finish).await? {
                Worked::Out(answer) => return Ok(answer),
                Worked::TooMany(rows, finish) => (rows, finish),
            }
        };
        let held = self.turn(&self.heavy, looks_at, asker).await?;
        if let Some(known) = known() {
            return Ok(known);
        }
        aside(version, &question, None, held, finish).await?.out()
    }

    /// A turn, and room for a table of so many rows. Whoever has gone meanwhile gets none.
    async fn turn(&self, turns: &Arc<Turns>, rows: usize, asker: &Asker) -> Result<(Turn, Charge), ReadError> {
        let (connection, until) = (asker.connection.as_deref(), asker.deadline.at);
        let late = |_| asker.deadline.passed("other large questions were before this one; no answer");
        let turn = timeout_at(until, turns.turn(connection)).await.map_err(late)?;
        let bytes = rows.saturating_mul(ROW_BYTES).min(self.memory.most() / TABLE_PART);
        let room = self.memory.room(bytes, Of::Calls, connection, until).await?;
        asker.check("not answered")?;
        Ok((turn, room))
    }

    /// As [`Asking::ask`], for an answer that is kept up: it waits for as long as it takes.
    ///
    /// # Errors
    /// Where the question does not fit, or `finish` fails.
    pub async fn keep_up<T: Send + 'static>(
        &self,
        version: &Arc<Published>,
        question: Question,
        finish: impl FnOnce(Table) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let most = self.light_rows_max.min(KEPT_UP_ROWS_MAX);
        if let Looked::Answer(table) = answer_within(version, &question, most, None)? {
            return finish(table);
        }
        let permit = self.aside.clone().acquire_owned().await;
        let permit = permit.map_err(|_| ReadError::unavailable("the server ends"))?;
        aside(version, &question, None, permit, finish).await?.out()
    }
}

/// What came of working aside.
enum Worked<T, F> {
    Out(T),
    /// So many rows at least are to be looked at; what was to be made of the answer is still to be made.
    TooMany(usize, F),
}

impl<T, F> Worked<T, F> {
    fn out(self) -> Result<T, ReadError> {
        match self {
            Worked::Out(answer) => Ok(answer),
            Worked::TooMany(..) => Err(defect()),
        }
    }
}

/// Works on a thread beside; with `most`, looking at no more rows. `held` is let go of when the work is done.
async fn aside<T, F>(
    version: &Arc<Published>,
    question: &Question,
    most: Option<usize>,
    held: impl Send + 'static,
    finish: F,
) -> Result<Worked<T, F>, ReadError>
where
    T: Send + 'static,
    F: FnOnce(Table) -> Result<T, ReadError> + Send + 'static,
{
    let (version, question) = (version.clone(), question.clone());
    let waits = Waits::default();
    let somebody = waits.clone();
    let working = tokio::task::spawn_blocking(move || {
        let _held = held;
        match answer_within(&version, &question, most.unwrap_or(usize::MAX), Some(&somebody))? {
            _ if somebody.is_over() => Err(ReadError::new(Kind::Gone, "nobody waits for the answer")),
            Looked::Answer(table) => finish(table).map(Worked::Out),
            Looked::TooMany(rows) => Ok(Worked::TooMany(rows, finish)),
        }
    });
    let _until_it_is_there = waits.ends();
    working.await.map_err(|_| defect())?
}

/// Whether somebody still waits for what a thread beside works out.
#[derive(Clone, Default)]
struct Waits(Arc<AtomicBool>);

impl Waits {
    fn is_over(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Whoever waits holds this.
    fn ends(self) -> impl Drop {
        struct Ends(Waits);
        impl Drop for Ends {
            fn drop(&mut self) {
                self.0.0.store(true, Relaxed);
            }
        }
        Ends(self)
    }
}

fn defect() -> ReadError {
    ReadError::new(Kind::Defect, "the answer could not be worked out: this is a defect")
}

/// The answer of one version, however many rows are looked at.
///
/// # Errors
/// Where there is no such view, or the question does not fit it.
pub fn answer(version: &Published, name: &str, query: &Query) -> Result<Table, ReadError> {
    answer_from(&Snapshot { version, budget: None, waits: None }, name, query)
}

/// What came of looking at so many rows at most.
enum Looked {
    Answer(Table),
    /// So many at least are to be looked at.
    TooMany(usize),
}

/// Where nobody waits for it any more, what comes of it is worth nothing.
fn answer_within(
    version: &Published,
    question: &Question,
    most: usize,
    waits: Option<&Waits>,
) -> Result<Looked, ReadError> {
    let snapshot = Snapshot { version, budget: Some(Budget { most, asked: Cell::new(0) }), waits };
    let answer = answer_from(&snapshot, &question.view, &question.query);
    // What came of too few rows is wrong, even that the question does not fit: columns depend on what there is.
    match snapshot.asked() {
        asked if asked > most => Ok(Looked::TooMany(asked)),
        _ => answer.map(Looked::Answer),
    }
}

/// The one place where a view is asked. It has the views of the whole epoch at hand: an answer may be made of several.
fn answer_from(snapshot: &Snapshot<'_>, name: &str, query: &Query) -> Result<Table, ReadError> {
    let asked = view(snapshot.version, name)?;
    let rows = snapshot.rows(&asked.index);
    asked.view.answer(&rows, &snapshot.version.answer_context(), query).map_err(misfit)
}

/// All views of one epoch, as one answer may look at them: at no more rows, of all of them together, than its budget has.
struct Snapshot<'a> {
    version: &'a Published,
    budget: Option<Budget>,
    waits: Option<&'a Waits>,
}

struct Budget {
    most: usize,
    /// Rows that were asked for.
    asked: Cell<usize>,
}

impl Snapshot<'_> {
    fn rows<'a>(&'a self, index: &'a Index) -> SnapshotRows<'a> {
        SnapshotRows { index, budget: self.budget.as_ref(), waits: self.waits }
    }

    fn asked(&self) -> usize {
        self.budget.as_ref().map_or(0, |budget| budget.asked.get())
    }
}

/// The rows of a view, as long as not too many are looked at. Those of a span that is too long are left out, and of all after it.
struct SnapshotRows<'a> {
    index: &'a Index,
    budget: Option<&'a Budget>,
    waits: Option<&'a Waits>,
}

/// Whether somebody still waits is asked each time after so many rows.
const LOOK_AFTER: u32 = 1_024;

impl SnapshotRows<'_> {
    /// Whether there is enough left for so many rows.
    fn spend(&self, span: &Span) -> bool {
        let Some(budget) = self.budget else { return true };
        budget.asked.set(budget.asked.get().saturating_add(self.index.rows_at_most(span)));
        budget.asked.get() <= budget.most
    }
}

impl RowSet for SnapshotRows<'_> {
    fn get(&self, key: &Key) -> Option<Measures> {
        self.index.get(key)
    }

    fn scan(&self, span: &Span, each: &mut dyn FnMut(&Key, Sums<'_>)) {
        if !self.spend(span) {
            return;
        }
        let Some(waits) = self.waits else { return self.index.scan(span, each) };
        let (mut looked, mut is_over) = (0_u32, waits.is_over());
        self.index.scan(span, &mut |key, sums| {
            looked = looked.wrapping_add(1);
            if looked.is_multiple_of(LOOK_AFTER) {
                is_over = waits.is_over();
            }
            if !is_over {
                each(key, sums);
            }
        });
    }

    fn is_rolled_up(&self, table: u8) -> bool {
        self.index.is_rolled_up(table)
    }
}
