//! The thread that works beside the running engine, a job at a time, each on the files of one checkpoint.
//!
//! ```text
//! committer ──checkpoint──▶ merge files ───────────▶ what takes the place of what ──▶ next commit
//!                     └───▶ look up what is pending ─▶ feed
//! ```

use super::compact::{Compactor, Replacement};
use super::files::FileEntry;
use super::late::{Late, find_late};
use super::manifest::Manifest;
use millrace_dataflows::context::Shared;
use millrace_schema::decode::DecodeSettings;
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
    /// Pending records are looked up: the files of the checkpoint stay where they are meanwhile.
    FindLate,
}

/// Takes what is to be merged with the answers; `None` where nothing is to be, or it cannot be.
pub type Merge = Box<dyn Fn(Option<Late>) + Send>;

/// What it takes to merge files and pending records beside the engine.
pub struct Beside {
    pub shared: Shared,
    pub decode: DecodeSettings,
    pub merge: Merge,
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
    for (task, job) in jobs {
        let mut replacement = Replacement::default();
        match task {
            Task::Compact => {
                if let Err(error) = compactor.work(&job, &mut replacement) {
                    eprintln!("warning: files were not merged: {error:#}");
                }
                if !replacement.added.is_empty() {
                    super::crash::point("merged");
                }
                if replacement.state.is_some() || !replacement.joined.is_empty() {
                    super::crash::point("joined");
                }
            }
            Task::FindLate => {
                let late = find_late(&compactor.store, &job, &beside.shared, &beside.decode);
                super::crash::point("late-found");
                (beside.merge)(late.unwrap_or_else(|error| {
                    eprintln!("warning: pending records stay pending: {error:#}");
                    None
                }));
            }
        }
        if done.send(replacement).is_err() {
            return;
        }
    }
}
