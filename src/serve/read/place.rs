//! Where an answer is true, and what it depends on: what is kept of a version when its rows are not.

use crate::serve::{Published, SourcePositions};
use millrace_dataflows::query::Query;
use std::sync::Arc;

/// The place of a version in time. Every answer carries it.
#[derive(Clone, Debug)]
pub struct Place {
    pub epoch: u64,
    /// How far the sources are complete, UTC microseconds.
    pub watermark: Option<i64>,
    pub positions: Arc<[SourcePositions]>,
    /// It is what an earlier run has left, and the sources have not been read on yet.
    pub restored: bool,
}

impl Place {
    pub fn of(version: &Published) -> Place {
        Place {
            epoch: version.epoch,
            watermark: version.watermark,
            positions: version.positions.clone(),
            restored: version.restored,
        }
    }

    /// Whether it is certainly that of a version. Positions that are equal and not the same are not compared.
    pub fn is_of(&self, version: &Published) -> bool {
        self.epoch == version.epoch
            && self.watermark == version.watermark
            && self.restored == version.restored
            && Arc::ptr_eq(&self.positions, &version.positions)
    }

    /// As [`Place::is_of`].
    pub fn is(&self, other: &Place) -> bool {
        self.epoch == other.epoch
            && self.watermark == other.watermark
            && self.restored == other.restored
            && Arc::ptr_eq(&self.positions, &other.positions)
    }
}

/// What an answer depends on besides the question: the last change of the rows it is made of, and what "now" is by
/// default. Whatever keeps answers goes by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerState {
    changed_at: u64,
    watermark: Option<i64>,
}

impl AnswerState {
    /// `None` where there is no such view.
    pub fn of(version: &Published, view: &str) -> Option<AnswerState> {
        version.view(view).map(|rows| AnswerState { changed_at: rows.changed_at, watermark: version.watermark })
    }

    /// Whether the answer to a question is certainly the same in both. The default of `as_of` is the watermark: with
    /// another one, the same rows may have another answer.
    pub fn answers_as(&self, other: AnswerState, query: &Query) -> bool {
        self.changed_at == other.changed_at && (self.watermark == other.watermark || query.as_of.is_some())
    }

    #[cfg(test)]
    pub fn new(changed_at: u64, watermark: Option<i64>) -> AnswerState {
        AnswerState { changed_at, watermark }
    }
}
