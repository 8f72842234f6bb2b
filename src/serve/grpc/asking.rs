//! Answers a question without holding up others: what looks at few rows at once, what looks at many aside.

use super::deadline::Deadline;
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
use tonic::Status;

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
        finish: impl FnOnce(Table) -> Result<T, Status> + Send + 'static,
    ) -> Result<T, Status> {
        deadline.check("not answered")?;
        if let Some(table) = answer_light(version, &question.view, &question.query, self.light_rows_max)? {
            return finish(table);
        }
        let waiting = tokio::time::timeout_at(deadline.at, self.heavy.clone().acquire_owned());
        let permit =
            waiting.await.map_err(|_| deadline.passed("other large questions were before this one; no answer"))?;
        let permit = permit.map_err(|_| Status::unavailable("the server ends"))?;
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
        finish: impl FnOnce(Table) -> Result<T, Status> + Send + 'static,
    ) -> Result<T, Status> {
        let most = self.light_rows_max.min(KEPT_UP_ROWS_MAX);
        if let Some(table) = answer_light(version, &question.view, &question.query, most)? {
            return finish(table);
        }
        let permit = self.aside.clone().acquire_owned().await;
        let permit = permit.map_err(|_| Status::unavailable("the server ends"))?;
        answer_aside(version, question, permit, finish).await
    }
}

async fn answer_aside<T: Send + 'static>(
    version: &Arc<Published>,
    question: Question,
    permit: OwnedSemaphorePermit,
    finish: impl FnOnce(Table) -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let version = version.clone();
    let working = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        finish(answer(&version, &question.view, &question.query)?)
    });
    working.await.map_err(|_| Status::internal("the answer could not be worked out: this is a defect"))?
}

/// `None` where too many rows are looked at.
fn answer_light(version: &Published, name: &str, query: &Query, most: usize) -> Result<Option<Table>, Status> {
    let rows = view(version, name)?;
    let budget = Budget { index: &rows.index, left: Cell::new(most), spent: Cell::new(false) };
    let answer = rows.view.answer(&budget, &version.answer_context(), query);
    // What came of too few rows is wrong, even that the question does not fit: columns depend on what there is.
    if budget.spent.get() { Ok(None) } else { answer.map(Some).map_err(misfit) }
}

fn answer(version: &Published, name: &str, query: &Query) -> Result<Table, Status> {
    let rows = view(version, name)?;
    rows.view.answer(&rows.index, &version.answer_context(), query).map_err(misfit)
}

/// The rows of an index, as long as not too many are looked at. Those of a span that is too long are left out.
struct Budget<'a> {
    index: &'a Index,
    left: Cell<usize>,
    spent: Cell<bool>,
}

impl RowSet for Budget<'_> {
    fn get(&self, key: &Key) -> Option<Measures> {
        self.index.get(key)
    }

    fn scan(&self, span: &Span, each: &mut dyn FnMut(&Key, Sums<'_>)) {
        match self.left.get().checked_sub(self.index.rows_at_most(span)) {
            Some(left) if !self.spent.get() => {
                self.left.set(left);
                self.index.scan(span, each);
            }
            _ => self.spent.set(true),
        }
    }

    fn is_rolled_up(&self, table: u8) -> bool {
        self.index.is_rolled_up(table)
    }
}
