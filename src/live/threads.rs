//! The threads of an engine.

use super::engine::LiveEngine;
use anyhow::Context;
use std::sync::Arc;
use std::thread::JoinHandle;

/// The threads of an engine. One that fails stops the engine: what is read is closed, and all end.
pub struct Threads {
    pub engine: Arc<LiveEngine>,
    pub started: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Threads {
    /// Starts a thread.
    ///
    /// # Errors
    /// Where there is none to be had.
    pub fn start(
        &mut self,
        name: &str,
        work: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let engine = self.engine.clone();
        let work = move || {
            let result = work();
            result.inspect_err(|error| engine.fail(error))
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
        self.started.push(thread.with_context(|| format!("starting the thread {name}"))?);
        Ok(())
    }

    /// Starts a thread whose error explains those of others.
    ///
    /// # Errors
    /// As [`Threads::start`].
    pub fn first(
        &mut self,
        name: &str,
        work: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        self.start(name, work)?;
        self.started.rotate_right(1);
        Ok(())
    }

    /// Takes a thread that was started elsewhere.
    ///
    /// # Errors
    /// As [`Threads::start`].
    pub fn watch(&mut self, thread: JoinHandle<anyhow::Result<()>>) -> anyhow::Result<()> {
        self.start("watch", move || {
            thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread of the engine panicked")))
        })
    }
}
