//! Answers a question without holding up others: what looks at few rows at once, what looks at many aside.

use super::deadline::Deadline;
use super::error::{Kind, ReadError};
use super::question::{Question, misfit, view};
use crate::serve::Published;
use crate::serve::settings::ServeSettings;
use millrace_dataflows::index::Index;
use millrace_dataflows::query::Query;
use millrace_dataflows::row_set::{RowSet, Span};
use millrace_dataflows::rows::{Key, Measures, Sums};
use millrace_dataflows::table::Table;
use std::cell::Cell;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Where questions are answered.
#[derive(Clone)]
pub struct Asking {
    light_rows_max: usize,
    heavy: Arc<Semaphore>,
    /// For what nobody waits for in a call: one at a time.
    aside: Arc<Semaphore>,
}

/// Answers that are kept up are worked out at once only where they look at few rows: there may be hundreds to be worked
/// out, and readers come first.
const KEPT_UP_ROWS_MAX: usize = 500;

impl Asking {
    pub fn of(settings: &ServeSettings) -> Asking {
        let heavy = Arc::new(Semaphore::new(settings.heavy_queries_max));
        Asking { light_rows_max: settings.light_rows_max, heavy, aside: Arc::new(Semaphore::new(1)) }
    }

    /// The answer, and what `finish` makes of it in the same place.
    ///
    /// # Errors
    /// Where the question does not fit, the deadline passes before anybody has time for it, or `finish` fails.
    pub async fn ask<T: Send + 'static>(
        &self,
        version: &Arc<Published>,
        question: Question,
        deadline: Deadline,
        finish: impl FnOnce(Table) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        deadline.check("not answered")?;
        if let Some(table) = answer_light(version, &question, self.light_rows_max)? {
            return finish(table);
        }
        let waiting = tokio::time::timeout_at(deadline.at, self.heavy.clone().acquire_owned());
        let permit =
            waiting.await.map_err(|_| deadline.passed("other large questions were before this one; no answer"))?;
        let permit = permit.map_err(|_| ReadError::unavailable("the server ends"))?;
        answer_aside(version, question, permit, finish).await
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
        if let Some(table) = answer_light(version, &question, most)? {
            return finish(table);
        }
        let permit = self.aside.clone().acquire_owned().await;
        let permit = permit.map_err(|_| ReadError::unavailable("the server ends"))?;
        answer_aside(version, question, permit, finish).await
    }
}

async fn answer_aside<T: Send + 'static>(
    version: &Arc<Published>,
    question: Question,
    permit: OwnedSemaphorePermit,
    finish: impl FnOnce(Table) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    let version = version.clone();
    let working = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        finish(answer(&version, &question.view, &question.query)?)
    });
    let defect = |_| ReadError::new(Kind::Defect, "the answer could not be worked out: this is a defect");
    working.await.map_err(defect)?
}

/// The answer of one version, however many rows are looked at.
///
/// # Errors
/// Where there is no such view, or the question does not fit it.
pub fn answer(version: &Published, name: &str, query: &Query) -> Result<Table, ReadError> {
    answer_from(&Snapshot { version, budget: None }, name, query)
}

/// `None` where too many rows are looked at.
fn answer_light(version: &Published, question: &Question, most: usize) -> Result<Option<Table>, ReadError> {
    let snapshot = Snapshot { version, budget: Some(Budget { left: Cell::new(most), is_spent: Cell::new(false) }) };
    let answer = answer_from(&snapshot, &question.view, &question.query);
    // What came of too few rows is wrong, even that the question does not fit: columns depend on what there is.
    if snapshot.is_spent() { Ok(None) } else { answer.map(Some) }
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
}

struct Budget {
    left: Cell<usize>,
    is_spent: Cell<bool>,
}

impl Snapshot<'_> {
    fn rows<'a>(&'a self, index: &'a Index) -> SnapshotRows<'a> {
        SnapshotRows { index, budget: self.budget.as_ref() }
    }

    fn is_spent(&self) -> bool {
        self.budget.as_ref().is_some_and(|budget| budget.is_spent.get())
    }
}

/// The rows of a view, as long as not too many are looked at. Those of a span that is too long are left out.
struct SnapshotRows<'a> {
    index: &'a Index,
    budget: Option<&'a Budget>,
}

impl SnapshotRows<'_> {
    /// Whether there is enough left for so many rows.
    fn spend(&self, span: &Span) -> bool {
        let Some(budget) = self.budget else { return true };
        match budget.left.get().checked_sub(self.index.rows_at_most(span)) {
            Some(left) if !budget.is_spent.get() => {
                budget.left.set(left);
                true
            }
            _ => {
                budget.is_spent.set(true);
                false
            }
        }
    }
}

impl RowSet for SnapshotRows<'_> {
    fn get(&self, key: &Key) -> Option<Measures> {
        self.index.get(key)
    }

    fn scan(&self, span: &Span, each: &mut dyn FnMut(&Key, Sums<'_>)) {
        if self.spend(span) {
            self.index.scan(span, each);
        }
    }

    fn is_rolled_up(&self, table: u8) -> bool {
        self.index.is_rolled_up(table)
    }
}
