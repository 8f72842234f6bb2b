//! A server process of ours: its folder, its log, and how it starts and ends.

use crate::guard::Guard;
use crate::step::{Step, last_lines};
use crate::{PartError, cache};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(10);
const LOG: &str = "server.log";
const TAIL_LINES: usize = 60;

/// May be started many times, one after the other, in one folder. Dropped, it is killed and the folder is removed.
#[derive(Debug)]
pub(crate) struct Server {
    step: Step,
    folder: PathBuf,
    guard: Guard,
    child: Option<Child>,
}

impl Server {
    /// A new folder, whose name is `name` and some letters that no other has.
    pub(crate) fn new(step: Step, name: &str) -> Result<Server, PartError> {
        let run = cache::root().join("run");
        fs::create_dir_all(&run).map_err(PartError::io(step.part, &run))?;
        let folder = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(&run);
        let folder = folder.map_err(PartError::io(step.part, &run))?;
        let guard = Guard::new(folder.path()).map_err(|error| step.not_run(&Command::new("/bin/sh"), &error))?;
        // From here on the guard removes it.
        Ok(Server { step, folder: folder.keep(), guard, child: None })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts it in its folder; what it prints is added to the log.
    pub(crate) fn spawn(&mut self, command: &mut Command) -> Result<(), PartError> {
        assert!(self.child.is_none(), "a server is stopped before it is started again");
        let path = self.log_path();
        let log = File::options().append(true).create(true).open(&path);
        let log = log.and_then(|log| Ok((log.try_clone()?, log))).map_err(PartError::io(self.step.part, &path))?;
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(log.0).stderr(log.1);
        let child = self.guard.spawn(command).map_err(|error| self.step.not_run(command, &error))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits for it to serve.
    pub(crate) fn wait_until(&mut self, deadline: Duration, serves: impl Fn() -> bool) -> Result<(), PartError> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return Err(self.failed(&format!("it ended with {status} before it served")));
            }
            if serves() {
                return Ok(());
            }
            if started.elapsed() > deadline {
                self.kill();
                return Err(self.failed(&format!("it did not serve within {} s", deadline.as_secs())));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(&mut self, deadline: Duration) -> Result<(), PartError> {
        // One that is frozen hears nothing.
        self.thaw();
        self.signal(Signal::TERM);
        let started = Instant::now();
        while self.child.is_some() && self.ended().is_none() {
            if started.elapsed() > deadline {
                self.kill();
                return Err(self.failed(&format!("it did not stop within {} s and was killed", deadline.as_secs())));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only where it has ended already.
            let _ = child.kill();
            let _ = child.wait();
            self.guard.forget();
        }
    }

    /// Stops all of its threads, and waits until they stand: the signal alone is only a wish.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
        if let Some(child) = &self.child {
            // One that has ended answers, too, and is left to be waited for.
            let standing = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            let _ = waitid(WaitId::Pid(Pid::from_child(child)), standing);
        }
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            // It was not waited for yet, so that its id is still its own; one that has ended takes no harm.
            let _ = kill_process(Pid::from_child(child), signal);
        }
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.folder.join(LOG)
    }

    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        last_lines(&String::from_utf8_lossy(&log), TAIL_LINES)
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        self.guard.forget();
        Some(status)
    }

    fn failed(&self, what: &str) -> PartError {
        let log = self.log_tail();
        PartError::Failed { part: self.step.part, what: format!("{what}\n--- the end of its log\n{log}\n---") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        self.guard.close();
    }
}
