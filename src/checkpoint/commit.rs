//! The committer: gathers what belongs to a checkpoint, and makes it one.
//!
//! A checkpoint of epoch C is complete when every worker has sealed it and the publisher has cut it. Then, in this order: all files
//! have their names; the views, names and catalog are written; the manifest is put. Only after that is the source told, and only
//! after that is anything deleted.

use super::beside::{Beside, Helper, Job, Task};
use super::change_log::{Cursor, Step, forgotten};
use super::compact::{Compactor, Replacement};
use super::counts::Counts;
use super::current::Current;
use super::files::{FileEntry, Kind};
use super::free::prefix;
use super::listener::{CommitListener, Merging};
use super::manifest::{Accounted, Manifest, PartitionEntry, SourceState, StateEntry, deciding};
use super::names::{Text, write_texts};
use super::open::{Lake, put, put_trail};
use super::protocol::{Decision, Superseded};
use super::sweep::Sweep;
use super::views::{At, ViewFiles, Written};
use crate::numbers::{Epoch, Offset};
use crate::serve::Published;
use crate::settings::Settings;
use anyhow::Context;
use millrace_connectors::lake::{Compression, Unfinished};
use millrace_connectors::source::{PartitionInfo, Remembered};
use millrace_connectors::store::Store;
use millrace_dataflows::views::quality::Accounting;
use millrace_schema::Names;
use millrace_schema::calendar::{Calendar, format_day, rfc3339_micros};
use std::collections::{BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Messages that may wait for the committer before those who write do. Each may be a file that is open with the store.
const QUEUE: usize = 16;
/// So many entries since the last catalog are cheap to repeat in every manifest.
const FEW_ENTRIES: usize = 64;
/// So many are not, however long the list is.
const MANY_ENTRIES: usize = 2_000;

/// What writers say.
pub enum Incoming {
    /// A file that belongs to the checkpoint that its worker seals next.
    File { worker: usize, file: Unfinished },
    /// Likewise, and it is in the store.
    Finished { worker: usize, file: FileEntry },
    /// Everything of the epochs up to this one has been handed over.
    Sealed { worker: usize, epoch: Epoch },
}

/// What the publisher knows at a checkpoint.
pub struct Cut {
    pub version: Published,
    /// The watermark that the records of its last epoch were read under, UTC microseconds.
    pub read_under: Option<i64>,
    /// By partition ordinal: the offset after the last record that is in.
    pub positions: Vec<Offset>,
    /// By partition ordinal.
    pub latests: Vec<Option<i64>>,
    /// By partition ordinal: what is kept with the position.
    pub kept: Vec<Remembered>,
    /// Files of pending records that have been merged since the last.
    pub merged: Vec<String>,
    pub partitions: Vec<PartitionInfo>,
}

/// How a run stands to what the lake holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It goes on where the last one stopped.
    Continue,
    /// Its first checkpoint takes the place of everything.
    Replace,
    /// Likewise, of a lake that goes on: it is made anew from its own records.
    Rebuild,
}

/// Positions that are safe, until the reader takes them.
#[derive(Clone, Default)]
pub struct Released(Arc<Mutex<Option<Positions>>>);

/// The offset after the last record that is safe, by partition ordinal.
type Positions = Vec<(u16, u64)>;

impl Released {
    pub fn take(&self) -> Option<Positions> {
        self.0.lock().expect("no holder of the positions panics").take()
    }

    fn put(&self, positions: &[Offset]) {
        let positions = (0..).zip(positions.iter().map(|position| position.0)).collect();
        *self.0.lock().expect("no holder of the positions panics") = Some(positions);
    }
}

/// Files of a worker that belong to one checkpoint.
#[derive(Default)]
struct Share {
    files: Vec<FileEntry>,
    /// Sealed checkpoints: the epoch, and the files.
    sealed: VecDeque<(Epoch, Vec<FileEntry>)>,
}

pub struct Committer {
    store: Arc<dyn Store>,
    lake: Lake,
    settings: Settings,
    keeps_state: bool,
    counts_whole: bool,
    mode: Mode,
    live: bool,
    names: Arc<Names>,
    shares: Vec<Share>,
    views: Vec<ViewFiles>,
    sweep: Sweep,
    current: Current,
    released: Released,
    now_ms: Box<dyn Fn() -> u64 + Send>,
    /// Of views, names and catalogs.
    next_file: usize,
    helper: Option<Helper>,
    /// Since when nothing was forgotten when pending records were last looked up.
    looked_up: Option<Epoch>,
    /// Files of pending records that are in with the first checkpoint, and with it a state that is written anew.
    repaired: Option<Vec<String>>,
    /// Files that stay as they are, in [`Mode::Rebuild`].
    carried: Vec<FileEntry>,
    /// The texts of the dictionary that the lake has cannot be read: they are written anew.
    names_lost: bool,
    counts: Arc<Counts>,
}

/// What a committer is made of.
pub struct Parts {
    pub lake: Lake,
    pub settings: Settings,
    pub mode: Mode,
    /// Whether accepted events are written as state.
    pub keeps_state: bool,
    /// Whether sessions are counted whole, and not by visits.
    pub counts_whole: bool,
    pub names: Arc<Names>,
    pub workers: usize,
    /// As the lake has them: what was restored, or nothing.
    pub views: Vec<ViewFiles>,
    pub now_ms: Box<dyn Fn() -> u64 + Send>,
    /// What works beside.
    pub beside: Option<Beside>,
    /// See [`Committer::run`]: files of pending records that this run reads.
    pub repaired: Option<Vec<String>>,
    /// Files that stay as they are, in [`Mode::Rebuild`].
    pub carried: Vec<FileEntry>,
    pub names_lost: bool,
    /// What is counted, for others to read.
    pub counts: Arc<Counts>,
}

impl Committer {
    pub fn new(parts: Parts) -> Committer {
        let Parts { lake, settings, mode, keeps_state, counts_whole, names, workers, views, now_ms, beside, .. } =
            parts;
        let (repaired, carried, names_lost, counts) = (parts.repaired, parts.carried, parts.names_lost, parts.counts);
        Committer {
            store: lake.store.clone(),
            keeps_state,
            counts_whole,
            live: mode != Mode::Replace,
            mode,
            names,
            shares: (0..workers).map(|_| Share::default()).collect(),
            views,
            // What a replay replaces is gone with it.
            sweep: Sweep::new(
                if mode == Mode::Replace { 1 } else { settings.lake.keep_checkpoints as u64 },
                lake.manifest.generation,
                lake.spared,
            ),
            current: Current::default(),
            lake,
            settings,
            released: Released::default(),
            now_ms,
            next_file: 0,
            helper: None,
            looked_up: None,
            repaired,
            carried,
            names_lost,
            counts,
        }
        .with_helper(beside)
    }

    fn with_helper(mut self, beside: Option<Beside>) -> Committer {
        let Some(beside) = beside else { return self };
        let compactor = Compactor {
            store: self.store.clone(),
            shared: beside.shared.clone(),
            compression: compression(&self.settings),
            target_bytes: self.settings.lake.target_file_bytes,
            state_rows_least: self.settings.lake.merge_state_rows as u64,
            next_file: 0,
            gone: BTreeSet::new(),
        };
        self.helper = Helper::start(beside, compactor);
        self
    }

    pub fn channel() -> (SyncSender<Incoming>, Receiver<Incoming>) {
        sync_channel(QUEUE)
    }

    pub fn released(&self) -> Released {
        self.released.clone()
    }

    /// Commits until nobody writes any more. Of a run that was cut short, what is not sealed is left out.
    ///
    /// # Errors
    /// Where the store fails for good, another engine has taken over: [`Superseded`], or the lake is gone: [`super::Gone`].
    pub fn run(
        mut self,
        incoming: &Receiver<Incoming>,
        cuts: &Receiver<Cut>,
        listener: &dyn CommitListener,
    ) -> anyhow::Result<()> {
        for message in incoming {
            match message {
                Incoming::File { worker, file } => {
                    self.lake.check_folder()?;
                    let key = file.key().to_owned();
                    let file = file.finish().with_context(|| format!("writing {key}"))?;
                    super::crash::point("file-written");
                    self.shares[worker].files.push(FileEntry::of(file, Epoch::NONE));
                }
                Incoming::Finished { worker, file } => self.shares[worker].files.push(file),
                Incoming::Sealed { worker, epoch } => {
                    let share = &mut self.shares[worker];
                    let files = std::mem::take(&mut share.files);
                    share.sealed.push_back((epoch, files));
                    if let Some(epoch) = self.complete() {
                        super::crash::point("before-cut");
                        let Ok(cut) = cuts.recv() else { break };
                        assert_eq!(Epoch(cut.version.epoch), epoch, "cuts come in the order of the checkpoints");
                        let started = Instant::now();
                        self.commit(epoch, &cut).inspect_err(|_| self.counts.failed())?;
                        self.counts.committed(&self.lake.manifest, &self.lake.files, started.elapsed());
                        listener.committed(epoch);
                        if !cut.merged.is_empty() {
                            super::crash::point("late-merged");
                            listener.release();
                        }
                        self.begin_job(epoch, listener.merging());
                    }
                }
            }
        }
        Ok(())
    }

    /// The checkpoint that every worker has sealed and that is not committed.
    fn complete(&self) -> Option<Epoch> {
        let first = |share: &Share| share.sealed.front().map(|(epoch, _)| *epoch);
        let epochs: Option<Vec<Epoch>> = self.shares.iter().map(first).collect();
        let epochs = epochs?;
        assert!(epochs.windows(2).all(|pair| pair[0] == pair[1]), "all workers seal the same checkpoints: {epochs:?}");
        epochs.first().copied()
    }

    fn name(&mut self) -> String {
        self.next_file += 1;
        format!("{}-c-{:06}", prefix(self.lake.manifest.generation), self.next_file)
    }

    fn commit(&mut self, epoch: Epoch, cut: &Cut) -> anyhow::Result<()> {
        self.lake.check_there()?;
        if let Err(error) = self.sweep.look(&*self.store) {
            crate::log::warning(format_args!("what earlier runs have left is not removed yet: {error:#}"));
        }
        let sealed = self.shares.iter_mut().filter_map(|share| share.sealed.pop_front());
        let mut files: Vec<FileEntry> = sealed.flat_map(|(_, files)| files).collect();
        files.iter_mut().for_each(|file| file.epoch = epoch);
        super::crash::point("files-written");

        let before = self.lake.manifest.clone();
        let mut next = match self.mode {
            Mode::Continue => before.clone(),
            Mode::Replace | Mode::Rebuild => {
                let Manifest { generation, run, .. } = before.clone();
                Manifest { generation, run, ..Manifest::empty(&self.settings) }
            }
        };
        let carried = std::mem::take(&mut self.carried);
        let mut lake_files = if self.mode == Mode::Continue { self.lake.files.clone() } else { carried.clone() };
        next.added.extend(carried);
        (next.number, next.epoch, next.epoch_at_ms) = (before.number + 1, epoch, Some(cut.version.at_ms));
        next.live = self.live;
        next.settings = deciding(&self.settings);
        let now_ms = (self.now_ms)();
        next.written_at = rfc3339_micros(now_ms as i64 * 1_000);
        next.watermark = cut.version.watermark;
        next.state.read_under = cut.read_under;
        next.sources = sources(cut);
        next.accounted = accounted(&cut.version);

        let step = Step {
            at: Cursor::of(&next),
            before: Cursor::of(&before),
            spared: self.lake.spared,
            drops_all: self.mode != Mode::Continue,
        };
        for view in self.write_views(&step, now_ms, cut)? {
            files.extend(view);
        }
        next.views = self.views.iter().map(|view| view.entry.clone()).collect();
        super::crash::point("views-written");
        let (state, of_lake): (Vec<FileEntry>, Vec<FileEntry>) =
            files.into_iter().partition(|file| Kind::of(&file.key) == Some(Kind::State));
        if let Some(pending) = self.repaired.take() {
            take_off(pending, &mut next, &mut lake_files);
            next.state = StateEntry { base: Vec::new(), sums: None, deltas: Vec::new(), ..next.state };
        }
        if std::mem::take(&mut self.names_lost) {
            next.state = StateEntry { names: Vec::new(), texts: 0, ..next.state };
        }
        take_off(cut.merged.clone(), &mut next, &mut lake_files);
        next.state.complete &= self.keeps_state;
        if self.counts_whole {
            next.state.whole_until = Some(epoch);
        }
        if self.keeps_state {
            next.state.deltas.extend(state);
            self.write_names(epoch, &mut next)?;
        }
        super::crash::point("names-written");
        lake_files.extend(of_lake.iter().cloned());
        next.added.extend(of_lake);
        self.take_replacements(&mut next, &mut lake_files);
        let forgotten = self.forget(now_ms, &mut next, &mut lake_files)?;
        self.write_catalog(&mut next, &lake_files)?;

        super::crash::point("before-manifest");
        self.lake.check_folder()?;
        put_trail(&*self.store, self.sweep.trail(next.number))?;
        let (decision, entry) = put(&*self.store, &next, self.lake.entry.as_ref())?;
        match decision {
            Decision::Done => self.lake.entry = entry,
            Decision::Gone => return Err(self.lake.gone().into()),
            Decision::Lost { generation, .. } => {
                let (place, ours) = (self.store.place(), next.generation);
                return Err(Superseded { place, ours, theirs: generation }.into());
            }
        }
        super::crash::point("after-manifest");
        self.after(before, next, lake_files, forgotten, cut);
        Ok(())
    }

    /// What was made beside since the last checkpoint.
    fn take_replacements(&mut self, next: &mut Manifest, files: &mut Vec<FileEntry>) {
        let Some(helper) = &mut self.helper else { return };
        while let Some(Replacement { added, removed, state, joined }) = helper.take() {
            if !added.is_empty() || state.is_some() || !joined.is_empty() {
                self.counts.compacted();
            }
            take_off(removed, next, files);
            files.extend(added.iter().cloned());
            next.added.extend(added);
            if let Some(state) = state {
                state.apply(&mut next.state);
            }
            joined.into_iter().for_each(|joined| joined.apply(&mut next.state));
        }
    }

    /// Takes event files of days that are kept no longer off the list, and changes of views that are, unless who has pinned an earlier
    /// checkpoint may ask for them; returns them.
    fn forget(&mut self, now_ms: u64, next: &mut Manifest, files: &mut Vec<FileEntry>) -> anyhow::Result<Vec<String>> {
        let lake = &self.settings.lake;
        let first_day = match (lake.keep_days as i64, next.watermark) {
            (days @ 1.., Some(watermark)) => {
                Some(format_day(Calendar::of(&self.settings.store.time_zone)?.day(watermark) - days))
            }
            _ => None,
        };
        let first_change = if self.live { now_ms.saturating_sub(lake.keep_changes_ms) } else { 0 };
        // What the rows of a view rest on is a part of its log until a newer snapshot has it.
        let rests: BTreeSet<&str> =
            next.views.iter().flat_map(|view| &view.changes).map(|file| file.key.as_str()).collect();
        let is_old = |file: &FileEntry| {
            let day = file.key.strip_prefix("events/event_date=").and_then(|rest| rest.split('/').next());
            day.zip(first_day.as_deref()).is_some_and(|(day, first)| day < first)
                || file.written_ms() < first_change
                    && Kind::of(&file.key) == Some(Kind::Changes)
                    && !rests.contains(&*file.key)
                    && !self.sweep.holds_changes_of(file.epoch)
        };
        let (gone, kept): (Vec<FileEntry>, Vec<FileEntry>) = std::mem::take(files).into_iter().partition(is_old);
        *files = kept;
        for (named, view) in next.views.iter_mut().zip(&mut self.views) {
            named.log = forgotten(named, &gone);
            view.entry.log = named.log;
        }
        let gone: BTreeSet<String> = gone.into_iter().map(|file| file.key).collect();
        next.removed.extend(gone.iter().cloned());
        next.added.retain(|file| !gone.contains(&file.key));
        Ok(gone.into_iter().collect())
    }

    fn write_views(&mut self, step: &Step, now_ms: u64, cut: &Cut) -> anyhow::Result<Vec<Option<FileEntry>>> {
        let (name, epoch) = (self.name(), step.at.epoch);
        let at =
            At { store: &self.store, name: &name, epoch, names: &self.names, compression: compression(&self.settings) };
        let mut all = Vec::new();
        for (view, rows) in self.views.iter_mut().zip(&cut.version.views) {
            let Written { index, changes, snapshot } = view.write(&rows.index, &at)?;
            let finish = |file: Unfinished| -> anyhow::Result<FileEntry> {
                let key = file.key().to_owned();
                Ok(FileEntry::of(file.finish().with_context(|| format!("writing {key}"))?, epoch))
            };
            let (mut changes, snapshot) = (changes.map(finish).transpose()?, snapshot.map(finish).transpose()?);
            changes.iter_mut().for_each(|changes| changes.written_ms = Some(now_ms));
            all.push(view.finish(index, changes, snapshot, step));
        }
        Ok(all)
    }

    fn write_names(&mut self, epoch: Epoch, next: &mut Manifest) -> anyhow::Result<()> {
        let texts = self.names.since(usize::try_from(next.state.texts).unwrap_or(usize::MAX));
        if texts.is_empty() {
            return Ok(());
        }
        let name = self.name();
        let list: Vec<Text> = texts.iter().map(|(name, text)| Text::of(*name, text)).collect();
        let file = write_texts(&self.store, &name, &list, epoch)?;
        next.state.texts += texts.len() as u64;
        next.state.names.push(file);
        Ok(())
    }

    /// Once there is much since the last catalog, there is a new one.
    fn write_catalog(&mut self, next: &mut Manifest, files: &[FileEntry]) -> anyhow::Result<()> {
        let since = next.added.len() + next.removed.len();
        let listed = next.catalog.as_ref().map_or(0, |catalog| catalog.rows as usize);
        if since <= FEW_ENTRIES.max((listed / 8).min(MANY_ENTRIES)) {
            return Ok(());
        }
        let key = format!("_manifests/catalogs/{}.json", self.name());
        let bytes = serde_json::to_vec(files).context("writing the catalog")?;
        let file = Unfinished::of_bytes(&self.store, key.clone(), bytes, files.len() as u64);
        let file = file.finish().with_context(|| format!("writing {key}"))?;
        next.catalog = Some(FileEntry::of(file, next.epoch));
        next.added.clear();
        next.removed.clear();
        Ok(())
    }

    /// What follows a commit. None of it can undo it.
    fn after(&mut self, before: Manifest, next: Manifest, files: Vec<FileEntry>, forgotten: Vec<String>, cut: &Cut) {
        let named: BTreeSet<&String> = next.own_files().chain(&files).map(|file| &file.key).collect();
        let earlier = before.own_files().chain(&self.lake.files).map(|file| &file.key).chain(&forgotten);
        let dropped = earlier.filter(|key| !named.contains(key)).cloned().collect();
        self.sweep.dropped(before.number, dropped);
        self.released.put(&cut.positions);
        // Before anything is removed that is shown now.
        self.current.show(&*self.store, &next);
        // Not before this run has a checkpoint of its own: one that cannot take up the last may need those before.
        if let Err(error) = self.sweep.committed(&*self.store, &next, &files, (self.now_ms)()) {
            crate::log::warning(format_args!("what is no longer needed could not be removed: {error:#}"));
        }
        super::crash::point("swept");
        (self.lake.manifest, self.lake.files, self.mode) = (next, files, Mode::Continue);
    }

    /// Has the helper work on the checkpoint. While pending records are merged, no files are: those that have been looked through stay
    /// the same, and what is recalled stays in the state until that is done.
    fn begin_job(&mut self, epoch: Epoch, merging: Merging) {
        let Some(helper) = self.helper.as_mut().filter(|helper| !helper.is_busy()) else { return };
        let task = match merging {
            Merging::No if self.settings.lake.compaction => Task::Compact,
            Merging::Asked => Task::LookAhead,
            // All that may be forgotten again is in the files of the checkpoint.
            Merging::Held(since) if since <= epoch && self.looked_up != Some(since) => Task::FindLate,
            _ => return,
        };
        let job = Job { manifest: self.lake.manifest.clone(), files: self.lake.files.clone() };
        if let (true, Merging::Held(since)) = (helper.begin(task, job), merging) {
            self.looked_up = Some(since);
        }
    }
}

/// Takes files of the lake off its list.
fn take_off(gone: Vec<String>, next: &mut Manifest, files: &mut Vec<FileEntry>) {
    if gone.is_empty() {
        return;
    }
    let keys: BTreeSet<&String> = gone.iter().collect();
    files.retain(|file| !keys.contains(&file.key));
    next.added.retain(|file| !keys.contains(&file.key));
    next.removed.extend(gone);
}

fn sources(cut: &Cut) -> SourceState {
    let entry = |(ordinal, info): (usize, &PartitionInfo)| {
        let Remembered { mark, lost } = cut.kept.get(ordinal).cloned().unwrap_or_default();
        PartitionEntry {
            source: info.source.clone(),
            partition: info.partition,
            path: info.path.to_string_lossy().into_owned(),
            next_offset: cut.positions.get(ordinal).copied().unwrap_or_default(),
            latest: cut.latests.get(ordinal).copied().flatten(),
            mark,
            lost,
        }
    };
    SourceState { partitions: cut.partitions.iter().enumerate().map(entry).collect() }
}

fn accounted(version: &Published) -> Accounted {
    let Some(quality) = version.view("quality") else { return Accounted::default() };
    let Accounting { read, accepted, duplicates, quarantined, pending } = Accounting::of(&quality.index);
    Accounted { read, accepted, duplicates, quarantined, pending }
}

/// As the settings have it.
pub fn compression(settings: &Settings) -> Compression {
    match settings.lake.compression {
        crate::settings::Compression::Snappy => Compression::Snappy,
        crate::settings::Compression::Zstd => Compression::Zstd,
    }
}
