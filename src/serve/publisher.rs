//! From commits to versions.

use super::board::{Board, Published, ViewRows};
use super::building::Building;
use super::commit::{Changed, Commit, SourcePositions};
use millrace_dataflows::context::Shared;
use millrace_dataflows::index::IndexWriter;
use millrace_dataflows::rows::{Key, Measures};
use millrace_dataflows::views::{View, view};
use std::sync::Arc;
use std::time::Duration;

/// Is told what a publisher does, so that the same can be done elsewhere.
pub trait Tap: Send {
    /// A commit is added.
    fn add(&mut self, commit: &Commit);
    /// What was added so far becomes a version.
    fn version(&mut self);
    /// The version of an epoch is shown.
    fn show(&mut self, epoch: u64);
}

/// Applies commits and publishes versions.
pub struct Publisher {
    board: Arc<Board>,
    next: Published,
    writers: Vec<IndexWriter>,
    /// By view: something was added since the last version.
    dirty: Vec<bool>,
    tap: Option<Box<dyn Tap>>,
}

impl Publisher {
    /// Views by name. Versions stay readable for `keep_for` after somebody
    /// asked to keep them.
    pub fn new(shared: &Shared, names: &[&str], keep_for: Duration) -> Publisher {
        Publisher::with(shared, names, keep_for, |view| IndexWriter::new(view, &shared.context))
    }

    /// Of plain indexes: nobody asks before the end.
    pub fn plain(shared: &Shared, names: &[&str]) -> Publisher {
        Publisher::with(shared, names, Duration::ZERO, IndexWriter::plain)
    }

    fn with(
        shared: &Shared,
        names: &[&str],
        keep_for: Duration,
        writer: impl Fn(&dyn View) -> IndexWriter,
    ) -> Publisher {
        let views: Vec<Arc<dyn View>> = names
            .iter()
            .map(|name| view(name, &shared.context).expect("the dataflow renders known views").into())
            .collect();
        let mut writers: Vec<IndexWriter> = views.iter().map(|view| writer(&**view)).collect();
        let rows = views.into_iter().zip(&mut writers).map(|(view, writer)| {
            let index = writer.publish();
            ViewRows { view, index, changed_at: 0 }
        });
        let first = Published {
            epoch: 0,
            at_ms: 0,
            watermark: None,
            positions: Arc::default(),
            restored: false,
            building: None,
            views: rows.collect(),
            shared: shared.clone(),
        };
        let dirty = vec![false; names.len()];
        Publisher { board: Arc::new(Board::new(first.clone(), keep_for)), next: first, writers, dirty, tap: None }
    }

    pub fn board(&self) -> Arc<Board> {
        self.board.clone()
    }

    /// Whether it has a view.
    pub fn has(&self, view: &str) -> bool {
        self.next.view(view).is_some()
    }

    /// While some views are being made: they are not among those of this publisher.
    #[must_use]
    pub fn while_building(mut self, building: Arc<Building>) -> Publisher {
        self.next.building = Some(building);
        self
    }

    /// On a board that others look at already.
    pub fn onto(self, board: Arc<Board>) -> Publisher {
        Publisher { board, ..self }
    }

    /// With somebody who is told of everything from now on.
    #[must_use]
    pub fn tapped(self, tap: Option<Box<dyn Tap>>) -> Publisher {
        Publisher { tap, ..self }
    }

    /// Adds a commit. It shows with the next [`Publisher::publish`].
    pub fn add(&mut self, commit: Commit) {
        debug_assert!(commit.epoch >= self.next.epoch, "commits come in order");
        self.tap.iter_mut().for_each(|tap| tap.add(&commit));
        (self.next.epoch, self.next.at_ms) = (commit.epoch, commit.at_ms);
        self.next.restored = false;
        self.next.watermark = commit.watermark.or(self.next.watermark);
        if let Some(positions) = commit.positions {
            self.next.positions = positions;
        }
        // Before the rows that use them.
        for (name, text) in &commit.names {
            // A second text for a name is quarantined by its reader, unless a reader of another process had the first.
            if let Err(collision) = self.next.shared.names.enter(*name, text) {
                super::warn(&format!("{collision}: the first is shown for both"));
            }
        }
        for (view, changes) in commit.changes {
            let known = self.next.views.iter().position(|rows| rows.view.name() == view);
            let view = known.expect("what is rendered is published");
            debug_assert!(self.has_texts(view, &changes), "names come with the first rows that use them");
            let writer = &mut self.writers[view];
            self.dirty[view] |= match changes {
                Changed::List(changes) => {
                    writer.add(&changes);
                    !changes.is_empty()
                }
                Changed::Netted(netted) => {
                    let any = !netted.is_empty();
                    writer.add_netted(netted);
                    any
                }
            };
        }
    }

    /// Whether every name of the changes of a view has a text.
    fn has_texts(&self, view: usize, changes: &Changed) -> bool {
        let (schema, names) = (self.next.views[view].view.schema(), &self.next.shared.names);
        let has_texts = |key: &Key| schema.names(key).all(|name| names.get(name).is_some());
        match changes {
            Changed::List(changes) => changes.iter().all(|(key, ..)| has_texts(key)),
            Changed::Netted(netted) => netted.keys().all(has_texts),
        }
    }

    /// Begins with what an earlier run has left: the rows of each view that has some, by key and each once.
    pub fn restore(
        &mut self,
        epoch: u64,
        at_ms: u64,
        watermark: Option<i64>,
        positions: Arc<[SourcePositions]>,
        rows: impl IntoIterator<Item = (usize, Vec<(Key, Measures)>)>,
    ) {
        for (view, rows) in rows {
            self.writers[view].load(&rows);
            self.dirty[view] = true;
        }
        (self.next.epoch, self.next.at_ms) = (epoch, at_ms);
        (self.next.watermark, self.next.positions) = (watermark, positions);
        self.next.restored = true;
        self.publish();
    }

    /// Makes everything added so far the current version.
    pub fn publish(&mut self) {
        let version = self.version();
        self.show(version);
    }

    /// Everything added so far, for whoever is not a reader.
    pub fn version(&mut self) -> Published {
        self.tap.iter_mut().for_each(|tap| tap.version());
        for (view, writer) in self.writers.iter_mut().enumerate() {
            if std::mem::take(&mut self.dirty[view]) {
                let index = writer.publish();
                self.next.views[view].index = index;
                self.next.views[view].changed_at = self.next.epoch;
            }
        }
        self.next.clone()
    }

    /// All views count as changed at an epoch.
    pub fn changed_all(&mut self, epoch: u64) {
        self.next.views.iter_mut().for_each(|rows| rows.changed_at = rows.changed_at.max(epoch));
    }

    /// Makes a version the current one.
    pub fn show(&mut self, version: Published) {
        self.tap.iter_mut().for_each(|tap| tap.show(version.epoch));
        self.board.publish(version);
    }
}
