//! The reader's end of the thread that looks after the client.
//!
//! ```text
//! reader ──Ask──▶ watch: a partition to watch, a position that is gone, offsets to release
//! reader ◀──News── watch: a new partition, where a partition begins and ends now, a topic that is another one
//!                  watch ──▶ status: ends, connection, topics that are gone
//! ```

use super::client::Handle;
use super::code::Code;
use super::release::Outcome;
use super::watch::Watch;
use crate::source::SourceStatus;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Topics are numbered as the settings name them.
pub(super) enum Ask {
    /// A partition that is read.
    Watch {
        topic: usize,
        partition: u32,
        ordinal: u16,
    },
    /// Where does it begin and end now?
    Range(Gone),
    /// (topic, partition, offset)
    Release(Vec<(usize, u32, u64)>),
    End,
}

/// A position that nothing is at any more.
#[derive(Clone, Copy)]
pub(super) struct Gone {
    pub(super) topic: usize,
    pub(super) partition: u32,
    pub(super) ordinal: u16,
    pub(super) wanted: u64,
}

pub(super) enum News {
    Partition { topic: usize, partition: u32, earliest: u64 },
    Range { ordinal: u16, wanted: u64, earliest: u64, end: u64 },
    MadeAnew { topic: usize, now: String },
}

/// Dropped, the thread ends.
pub(super) struct Watcher {
    handle: Arc<Handle>,
    asks: Sender<Ask>,
    news: Receiver<News>,
    /// News that were looked for and not taken yet.
    seen: Option<News>,
    outcome: Arc<Outcome>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Of each topic its name, and its id where it has one.
    pub(super) fn start(
        handle: Arc<Handle>,
        status: Arc<SourceStatus>,
        topics: Vec<(String, Option<String>)>,
        refresh: Duration,
    ) -> Watcher {
        let (asks, asked) = channel();
        let (tell, news) = channel();
        let outcome = Arc::new(Outcome::default());
        let watch = Watch::new(Arc::clone(&handle), status, topics, refresh, asked, tell, Arc::clone(&outcome));
        let thread = std::thread::Builder::new().name("kafka-watch".to_owned()).spawn(|| watch.run());
        let thread = Some(thread.expect("the system has room for a thread"));
        Watcher { handle, asks, news, seen: None, outcome, thread }
    }

    pub(super) fn ask(&self, ask: Ask) {
        // It hears as long as we are here.
        let _ = self.asks.send(ask);
        self.handle.wake();
    }

    pub(super) fn news(&mut self) -> Option<News> {
        self.seen.take().or_else(|| self.news.try_recv().ok())
    }

    pub(super) fn has_news(&mut self) -> bool {
        self.seen = self.news();
        self.seen.is_some()
    }

    /// Why offsets are not written, where they are not.
    pub(super) fn release_failure(&self) -> Option<Code> {
        self.outcome.get()
    }

    /// What the reader heard of the group: no offset can be written to it.
    pub(super) fn group_failed(&self, code: Code) {
        self.outcome.set(Some(code));
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.ask(Ask::End);
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell that anybody would still hear.
            let _ = thread.join();
        }
    }
}
