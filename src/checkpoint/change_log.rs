//! The log of a view's changes: what leads from the rows of one checkpoint to those of a later one. Decisions without I/O.
//!
//! ```text
//! manifest      1            2            3            4            5
//!          snapshot S ── changes 2 ── changes 3 ── snapshot T ── changes 5      the log begins anew where the view was
//! log       from 1       from 1       from 1       from 4       from 4          made anew, and where changes have gone
//! ```
//! Every checkpoint that changes a view has the exact net change in a file, but for one at which its log begins: there are only all of
//! its rows. A reader holds the place of the checkpoint that it has, and asks what leads to a later one. An epoch alone is no place: the
//! next replay of one file ends with the same, and so does what an engine takes over and a replay then replaces.

use super::files::FileEntry;
use super::manifest::{Manifest, ViewEntry};
use crate::numbers::{Epoch, Generation};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// From where on every change of a view is there: after the checkpoint of this epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStart {
    /// What engines of generations before this one have published may be on another line, which has been lost.
    pub generation: Generation,
    /// Manifests before this one have other rows, where a replay or a repair has made them anew.
    pub manifest: u64,
    pub epoch: Epoch,
}

/// A checkpoint, as a reader remembers the one that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    pub generation: Generation,
    pub manifest: u64,
    pub epoch: Epoch,
}

impl Cursor {
    pub fn of(manifest: &Manifest) -> Cursor {
        Cursor { generation: manifest.generation, manifest: manifest.number, epoch: manifest.epoch }
    }
}

/// What a checkpoint does to the log of a view.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The checkpoint.
    pub at: Cursor,
    /// The one that it follows, of the same engine.
    pub before: Cursor,
    /// Before which generation manifests are missing: see [`super::free::Trail`].
    pub spared: Generation,
    /// Earlier changes are left behind.
    pub drops_all: bool,
}

impl LogStart {
    /// The log at a checkpoint. `is_anew`: no rows from before are the view's; it has only all rows, and no changes.
    pub fn next(log: Option<LogStart>, is_anew: bool, step: &Step) -> LogStart {
        let Step { at, before, spared, drops_all } = *step;
        let begins = |Cursor { generation, manifest, epoch }| LogStart { generation, manifest, epoch };
        match log {
            _ if is_anew => begins(at),
            // An earlier program did not say; or there were manifests that nobody can follow.
            None => begins(before),
            Some(log) if drops_all || log.generation < spared => begins(before),
            Some(log) => log,
        }
    }

    /// The log in a claim, which repeats the checkpoint before: where manifests are missing it may not be the last that readers have.
    pub fn claimed(self, claim: Cursor, spared: Generation) -> LogStart {
        let Cursor { generation, manifest, epoch } = claim;
        if self.generation < spared { LogStart { generation, manifest, epoch } } else { self }
    }

    /// Changes of an epoch have gone.
    pub fn without(self, epoch: Epoch) -> LogStart {
        LogStart { epoch: self.epoch.max(epoch), ..self }
    }
}

/// The log of a view whose changes in these files leave the lake.
pub fn forgotten<'a>(view: &ViewEntry, gone: impl IntoIterator<Item = &'a FileEntry>) -> Option<LogStart> {
    let folder = format!("changes/{}/", view.name);
    let gone = gone.into_iter().filter(|file| file.key.starts_with(&folder));
    gone.fold(view.log, |log, file| log.map(|log| log.without(file.epoch)))
}

/// What leads from one checkpoint to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since<'a> {
    /// Files of net changes, in order. Added to the rows that the reader has they are the rows of the later checkpoint.
    Changes(Vec<&'a FileEntry>),
    /// Nothing does: the rows are those of the snapshot, with the changes since added, whatever the reader has.
    BeginAnew { snapshot: Option<&'a FileEntry>, changes: Vec<&'a FileEntry> },
}

/// What leads a reader of a view from the checkpoint that it has, none where it is new, to `to`, which has these files.
pub fn since<'a>(view: &'a ViewEntry, from: Option<Cursor>, to: &Manifest, files: &'a [FileEntry]) -> Since<'a> {
    let begin_anew = || Since::BeginAnew { snapshot: view.snapshot.as_ref(), changes: view.changes.iter().collect() };
    let (Some(from), Some(log)) = (from, view.log) else { return begin_anew() };
    let is_on_line = log.generation <= from.generation && log.manifest <= from.manifest && from.manifest <= to.number;
    if !is_on_line || from.epoch < log.epoch || from.epoch > to.epoch {
        return begin_anew();
    }
    let folder = format!("changes/{}/", view.name);
    let of_lake = files.iter().filter(|file| file.key.starts_with(&folder));
    // A file is in both lists as long as the rows rest on it.
    let by_epoch: BTreeMap<(Epoch, &str), &FileEntry> =
        of_lake.chain(&view.changes).map(|file| ((file.epoch, &*file.key), file)).collect();
    Since::Changes(by_epoch.into_values().filter(|file| from.epoch < file.epoch && file.epoch <= to.epoch).collect())
}

#[cfg(test)]
mod tests {
    use super::super::definitions::Definition;
    use super::*;
    use crate::settings::Settings;
    use proptest::prelude::*;

    type Rows = BTreeMap<u8, i64>;

    #[derive(Clone, Debug)]
    enum Event {
        /// A checkpoint, so many epochs later, and what it adds to which rows.
        Commit { later: u64, changes: Vec<(u8, i64)> },
        /// As the committer forgets: changes of epochs before the newest by so many.
        Forget { older_than: u64 },
        /// The view is made anew, with other rows.
        Rebuild { rows: Vec<(u8, i64)> },
        /// Another engine goes on.
        Restart,
        /// The newest manifests are torn or removed: another engine goes on before them.
        FallBack { manifests: usize },
        /// A replay takes the place of everything.
        Replace { epoch: u64, rows: Vec<(u8, i64)> },
        /// A program that knows nothing of logs has written the newest manifest.
        Earlier,
    }

    fn rows() -> impl Strategy<Value = Vec<(u8, i64)>> {
        prop::collection::vec((0..4_u8, -3..4_i64), 0..4)
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            10 => (1..4_u64, rows()).prop_map(|(later, changes)| Event::Commit { later, changes }),
            2 => (0..8_u64).prop_map(|older_than| Event::Forget { older_than }),
            1 => rows().prop_map(|rows| Event::Rebuild { rows }),
            2 => Just(Event::Restart),
            1 => (1..3_usize).prop_map(|manifests| Event::FallBack { manifests }),
            1 => (1..4_u64, rows()).prop_map(|(epoch, rows)| Event::Replace { epoch, rows }),
            1 => Just(Event::Earlier),
        ]
    }

    /// A lake with one view, as its newest manifest says.
    #[derive(Clone)]
    struct Lake {
        manifest: Manifest,
        files: Vec<FileEntry>,
        rows: Rows,
    }

    struct World {
        lake: Lake,
        /// All that was ever committed and can still be gone back to.
        line: Vec<Lake>,
        /// What each file holds.
        contents: BTreeMap<String, Rows>,
        /// What readers have: of all manifests that there ever were.
        seen: Vec<(Cursor, Rows)>,
        generations: u64,
        spared: u64,
        made: usize,
    }

    fn add(rows: &mut Rows, changes: &Rows) {
        for (key, change) in changes {
            *rows.entry(*key).or_default() += change;
        }
        rows.retain(|_, value| *value != 0);
    }

    fn summed(rows: &[(u8, i64)]) -> Rows {
        let mut sum = Rows::new();
        rows.iter().for_each(|(key, value)| add(&mut sum, &Rows::from([(*key, *value)])));
        sum
    }

    impl World {
        fn new() -> World {
            let view = ViewEntry {
                name: "sales".to_owned(),
                version: 1,
                definition: Definition::new(),
                rows: 0,
                snapshot: None,
                changes: Vec::new(),
                log: None,
            };
            let manifest =
                Manifest { generation: Generation(1), views: vec![view], ..Manifest::empty(&Settings::default()) };
            let lake = Lake { manifest, files: Vec::new(), rows: Rows::new() };
            let (line, contents, seen) = (vec![lake.clone()], BTreeMap::new(), Vec::new());
            World { lake, line, contents, seen, generations: 1, spared: 0, made: 0 }
        }

        fn file(&mut self, folder: &str, epoch: Epoch, rows: Rows) -> FileEntry {
            self.made += 1;
            let key = format!("{folder}/sales/epoch={epoch}/g{:06}-c-{:06}.parquet", self.generations, self.made);
            self.contents.insert(key.clone(), rows);
            FileEntry { key, rows: 1, bytes: 1, checksum: String::new(), epoch, written_ms: None }
        }

        /// As `ViewFiles` and the committer do.
        fn commit(&mut self, epoch: Epoch, rows: Rows, drops_all: bool) {
            let before = Cursor::of(&self.lake.manifest);
            let mut view = self.lake.manifest.views[0].clone();
            let is_anew = view.snapshot.is_none();
            if drops_all {
                self.lake.files.clear();
            }
            let mut change = rows.clone();
            add(&mut change, &self.lake.rows.iter().map(|(key, value)| (*key, -value)).collect());
            if is_anew {
                view.snapshot = Some(self.file("views", epoch, rows.clone()));
                view.changes.clear();
            } else if !change.is_empty() {
                let file = self.file("changes", epoch, change);
                self.lake.files.push(file.clone());
                view.changes.push(file);
                if view.changes.len() > 3 {
                    view.snapshot = Some(self.file("views", epoch, rows.clone()));
                    view.changes.clear();
                }
            }
            let (generation, spared) = (Generation(self.generations), Generation(self.spared));
            let number = self.lake.manifest.number + 1;
            let step = Step { at: Cursor { generation, manifest: number, epoch }, before, spared, drops_all };
            view.log = Some(LogStart::next(view.log, is_anew, &step));
            self.lake.manifest =
                Manifest { number, generation, epoch, views: vec![view], ..self.lake.manifest.clone() };
            self.lake.rows = rows;
            self.publish();
        }

        fn publish(&mut self) {
            self.line.push(self.lake.clone());
            self.seen.push((Cursor::of(&self.lake.manifest), self.lake.rows.clone()));
        }

        fn start(&mut self) {
            self.generations += 1;
            self.lake.manifest.generation = Generation(self.generations);
            self.lake.manifest.number += 1;
            let claim = Cursor::of(&self.lake.manifest);
            let log = &mut self.lake.manifest.views[0].log;
            *log = log.map(|log| log.claimed(claim, Generation(self.spared)));
            self.publish();
        }

        fn happens(&mut self, event: &Event) {
            match event {
                Event::Commit { later, changes } => {
                    let mut rows = self.lake.rows.clone();
                    add(&mut rows, &summed(changes));
                    self.commit(Epoch(self.lake.manifest.epoch.0 + later), rows, false);
                }
                Event::Forget { older_than } => {
                    let first = Epoch(self.lake.manifest.epoch.0.saturating_sub(*older_than));
                    let view = &mut self.lake.manifest.views[0];
                    let rests: Vec<String> = view.changes.iter().map(|file| file.key.clone()).collect();
                    let goes = |file: &&FileEntry| file.epoch < first && !rests.contains(&file.key);
                    view.log = forgotten(view, self.lake.files.iter().filter(goes));
                    self.lake.files.retain(|file| !goes(&file));
                }
                Event::Rebuild { rows } => {
                    let view = &mut self.lake.manifest.views[0];
                    (view.snapshot, view.changes) = (None, Vec::new());
                    self.commit(self.lake.manifest.epoch.next(), summed(rows), false);
                }
                Event::Restart => self.start(),
                Event::FallBack { manifests } => {
                    let left = self.line.len().saturating_sub(*manifests).max(1);
                    self.line.truncate(left);
                    self.lake = self.line[left - 1].clone();
                    // As the claim does, which finds them torn or the trail too long.
                    self.spared = self.generations + 1;
                    self.start();
                }
                Event::Replace { epoch, rows } => {
                    self.start();
                    let view = &mut self.lake.manifest.views[0];
                    (view.snapshot, view.changes) = (None, Vec::new());
                    self.commit(Epoch(*epoch), summed(rows), true);
                }
                Event::Earlier => self.lake.manifest.views[0].log = None,
            }
        }

        fn fold<'a>(&self, mut rows: Rows, files: impl IntoIterator<Item = &'a FileEntry>) -> Rows {
            files.into_iter().for_each(|file| add(&mut rows, &self.contents[&file.key]));
            rows
        }
    }

    proptest! {
        /// From whatever checkpoint a reader has, of whatever line: what the log gives it are the rows of the newest.
        #[test]
        fn the_log_gives_the_rows_from_any_point(events in prop::collection::vec(event(), 1..60)) {
            let mut world = World::new();
            for event in &events {
                world.happens(event);
                let Lake { manifest, files, rows } = &world.lake;
                let nothing = (None, Rows::new());
                let seen = world.seen.iter().map(|(cursor, rows)| (Some(*cursor), rows.clone()));
                for (from, had) in seen.chain([nothing]) {
                    let view = &manifest.views[0];
                    let given = match since(view, from, manifest, files) {
                        Since::Changes(changes) => world.fold(had.clone(), changes),
                        Since::BeginAnew { snapshot, changes } => {
                            world.fold(Rows::new(), snapshot.into_iter().chain(changes))
                        }
                    };
                    prop_assert_eq!(&given, rows, "from {:?} with {:?} after {:?}", from, had, event);
                }
            }
        }

        /// Without anything out of the ordinary no reader of a kept checkpoint has to begin anew.
        #[test]
        fn the_log_has_no_gap_while_nothing_is_dropped(
            commits in prop::collection::vec((1..4_u64, rows(), any::<bool>()), 1..30),
        ) {
            let mut world = World::new();
            for (later, changes, restarts) in commits {
                if restarts {
                    world.happens(&Event::Restart);
                }
                world.happens(&Event::Commit { later, changes });
                let Lake { manifest, files, .. } = &world.lake;
                for (cursor, _) in world.seen.iter().filter(|(cursor, _)| cursor.epoch > Epoch::NONE) {
                    let since = since(&manifest.views[0], Some(*cursor), manifest, files);
                    let is_contiguous = matches!(since, Since::Changes(_));
                    prop_assert!(is_contiguous, "from {:?} of {:?}", cursor, world.seen);
                }
            }
        }
    }
}
