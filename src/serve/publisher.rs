//! From commits to versions.

use super::board::{Board, Published, ViewRows};
use super::commit::Commit;
use millrace_dataflows::context::Shared;
use millrace_dataflows::index::IndexWriter;
use millrace_dataflows::views::{View, view};
use std::sync::Arc;
use std::time::Duration;

/// Applies commits and publishes versions.
pub struct Publisher {
    board: Arc<Board>,
    next: Published,
    writers: Vec<IndexWriter>,
    /// By view: something was added since the last version.
    dirty: Vec<bool>,
}

impl Publisher {
    /// Views by name, in the order in which commits number them. Versions stay readable for `keep_for` after somebody
    /// asked to keep them.
    pub fn new(shared: &Shared, names: &[&str], keep_for: Duration) -> Publisher {
        let views: Vec<Arc<dyn View>> = names
            .iter()
            .map(|name| view(name, &shared.context).expect("the dataflow renders known views").into())
            .collect();
        let mut writers: Vec<IndexWriter> =
            views.iter().map(|view| IndexWriter::new(&**view, &shared.context)).collect();
        let rows = views.into_iter().zip(&mut writers).map(|(view, writer)| {
            let (index, _) = writer.publish();
            ViewRows { view, index, changed_at: 0 }
        });
        let first = Published {
            epoch: 0,
            watermark: None,
            positions: Arc::default(),
            restored: false,
            views: rows.collect(),
            shared: shared.clone(),
        };
        let dirty = vec![false; names.len()];
        Publisher { board: Arc::new(Board::new(first.clone(), keep_for)), next: first, writers, dirty }
    }

    pub fn board(&self) -> Arc<Board> {
        self.board.clone()
    }

    /// Adds a commit. It shows with the next [`Publisher::publish`].
    pub fn add(&mut self, commit: Commit) {
        debug_assert!(commit.epoch >= self.next.epoch, "commits come in order");
        self.next.epoch = commit.epoch;
        self.next.watermark = commit.watermark.or(self.next.watermark);
        if let Some(positions) = commit.positions {
            self.next.positions = positions;
        }
        for (view, changes) in commit.changes {
            self.writers[view].add(&changes);
            self.dirty[view] |= !changes.is_empty();
        }
    }

    /// Makes everything added so far the current version.
    pub fn publish(&mut self) {
        for (view, writer) in self.writers.iter_mut().enumerate() {
            if std::mem::take(&mut self.dirty[view]) {
                let (index, _) = writer.publish();
                self.next.views[view].index = index;
                self.next.views[view].changed_at = self.next.epoch;
            }
        }
        self.board.publish(self.next.clone());
    }
}
