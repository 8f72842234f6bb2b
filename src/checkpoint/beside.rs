//! The thread that works beside the running engine, a job at a time, each on the files of one checkpoint.
//!
//! ```text
//! committer ──checkpoint──▶ merge files ───────────▶ what takes the place of what ──▶ next commit
//!                     └───▶ look up what is pending ──▶ feed
//! ```

use super::compact::{Compactor, Replacement};
use super::files::FileEntry;
use super::late::{LookedUp, Lookup};
use super::manifest::Manifest;
use crate::allocator;
use millrace_connectors::store::Store;
use millrace_dataflows::context::Shared;
use millrace_schema::decode::DecodeSettings;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

/// A checkpoint to look at.
pub struct Job {
    pub manifest: Manifest,
    pub files: Vec<FileEntry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Files are merged.
    Compact,
    /// Most of what pending records join is looked up: until all is, the files of the checkpoint stay where they are.
    LookAhead,
    /// The rest is.
    FindLate,
}

/// Takes how far looking up what is pending has come.
pub type Tell = Box<dyn Fn(LookedUp) + Send>;

/// What it takes to merge files and pending records beside the engine.
pub struct Beside {
    pub shared: Shared,
    pub decode: DecodeSettings,
    pub found: Tell,
}

/// The thread, as the committer sees it.
pub struct Helper {
    jobs: SyncSender<(Task, Job)>,
    done: Receiver<Replacement>,
    is_busy: bool,
}

impl Helper {
    /// `None` where the thread does not start: then files stay as they are.
    pub fn start(beside: Beside, compactor: Compactor) -> Option<Helper> {
        let (jobs, todo) = sync_channel(1);
        let (finished, done) = channel();
        let thread = std::thread::Builder::new().name("compactor".to_owned());
        thread.spawn(move || run(&beside, compactor, &todo, &finished)).ok()?;
        Some(Helper { jobs, done, is_busy: false })
    }

    pub fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Begins a job. False where the thread is gone.
    pub fn begin(&mut self, task: Task, job: Job) -> bool {
        self.is_busy = self.jobs.try_send((task, job)).is_ok();
        self.is_busy
    }

    /// What has been made.
    pub fn take(&mut self) -> Option<Replacement> {
        let replacement = self.done.try_recv().ok()?;
        self.is_busy = false;
        Some(replacement)
    }
}

/// Works until nobody has jobs any more. A job that fails is left out: the files stay as they are.
fn run(beside: &Beside, mut compactor: Compactor, jobs: &Receiver<(Task, Job)>, done: &Sender<Replacement>) {
    let mut ahead = None;
    for (task, job) in jobs {
        let mut replacement = Replacement::default();
        let mut found = None;
        match task {
            Task::Compact => {
                if let Err(error) = compactor.work(&job, &mut replacement) {
                    crate::log::warning(format_args!("files were not merged: {error:#}"));
                }
                if !replacement.added.is_empty() {
                    super::crash::point("merged");
                }
                if replacement.state.is_some() || !replacement.joined.is_empty() {
                    super::crash::point("joined");
                }
            }
            Task::LookAhead | Task::FindLate => {
                let is_last = task == Task::FindLate;
                found = Some(look(beside, &compactor.store, &job, &mut ahead, is_last).unwrap_or_else(|error| {
                    crate::log::warning(format_args!("pending records stay pending: {error:#}"));
                    LookedUp::All(None)
                }));
                super::crash::point(if is_last { "late-found" } else { "looked-ahead" });
            }
        }
        // Before the feed hears of it: the next checkpoint may have the next job.
        if done.send(replacement).is_err() {
            return;
        }
        found.into_iter().for_each(&beside.found);
        // Both a checkpoint and a job have just let go of much.
        allocator::give_back_what_is_free();
    }
}

/// Looks on, and keeps `ahead` where it is not over.
fn look(
    beside: &Beside,
    store: &Arc<dyn Store>,
    job: &Job,
    ahead: &mut Option<Lookup>,
    is_last: bool,
) -> anyhow::Result<LookedUp> {
    let lookup = match ahead.take() {
        None if is_last => None,
        None => Lookup::begin(&**store, &job.files, &beside.shared, &beside.decode)?,
        lookup => lookup,
    };
    let Some(mut lookup) = lookup else { return Ok(LookedUp::All(None)) };
    let is_much = lookup.look(store, job, &beside.decode)?;
    if is_last {
        return Ok(LookedUp::All(Some(lookup.finish())));
    }
    *ahead = Some(lookup);
    Ok(if is_much { LookedUp::Much } else { LookedUp::Most })
}
