//! What a lake holds, told to Kafka: each checkpoint's changes of a view, and rejected records, in one transaction each.
//!
//! ```text
//! checkpoint ──▶ pin it ──▶ net changes since the frontier ──▶ one transaction: changes, frontier ──▶ let the pin before go
//!                   ▲                      ▲                                            │
//!                   └── manifests, files   └──────── the topic's last frontier ◀────────┘
//! ```
//! The *frontier* of a topic is the checkpoint up to which it tells everything. It is a message of the topic itself, in the same
//! transaction as the changes; nothing else remembers it. So whoever is killed, at whatever point, goes on from what readers can see. The
//! checkpoint of the frontier is pinned: what leads from it to the newest can be told however long the broker was away, up to
//! `kafka_out.keep_ms`. Each topic has a thread and a producer: one that stands still holds up no other, and none holds up the engine.

mod content;
mod dead_letters;
mod frontier;
mod publisher;
mod render;
mod status;
mod target;
mod view_changes;

pub use status::SinkStatus;

use crate::checkpoint::NowMs;
use crate::numbers::Epoch;
use crate::settings::Settings;
use anyhow::Context;
use content::Content;
use dead_letters::DeadLetters;
use publisher::{End, Parts, Publisher};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use view_changes::ViewChanges;

/// How long the end of a run waits for topics to have its last checkpoint.
const LAST: Duration = Duration::from_secs(10);

/// How much longer the threads may take, which wait for answers.
const GRACE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(10);

/// The epoch of the last checkpoint that was committed.
pub type Committed = Arc<dyn Fn() -> Epoch + Send + Sync>;

/// The threads that publish.
pub struct Sinks {
    publishers: Vec<(Arc<SinkStatus>, JoinHandle<()>)>,
    end: Arc<End>,
}

/// Checks what can be checked without a broker, as a start does it.
///
/// # Errors
/// Where a property of Kafka's client is refused; it names the setting.
pub fn check(settings: &Settings) -> anyhow::Result<()> {
    target::topics(settings).iter().try_for_each(millrace_connectors::sink::check)?;
    Ok(())
}

impl Sinks {
    /// Starts to publish what a lake's checkpoints have, where the settings say so. `committed` tells when there is something new. No broker
    /// needs to be there.
    ///
    /// # Errors
    /// As [`check`]; where no thread can be started.
    pub fn start(settings: &Settings, committed: &Committed, now_ms: &NowMs, quiet: bool) -> anyhow::Result<Sinks> {
        check(settings)?;
        let end = Arc::new(End::default());
        let mut sinks = Sinks { publishers: Vec::new(), end: end.clone() };
        let of_views =
            settings.kafka_out.views.iter().map(|of| -> Box<dyn Content> { Box::new(ViewChanges::new(&of.view)) });
        let dead_letters = std::iter::once_with(|| -> Box<dyn Content> { Box::new(DeadLetters::default()) });
        // In the order of the topics.
        for (target, content) in target::topics(settings).into_iter().zip(of_views.chain(dead_letters)) {
            let status = Arc::new(SinkStatus::new(&target.topic));
            let parts = Parts {
                settings: settings.clone(),
                target,
                content,
                status: status.clone(),
                committed: committed.clone(),
                now_ms: now_ms.clone(),
                end: end.clone(),
                quiet,
            };
            let builder = std::thread::Builder::new().name(format!("sink-{}", sinks.publishers.len()));
            let thread =
                builder.spawn(move || Publisher::new(parts).run()).context("starting a thread that publishes")?;
            sinks.publishers.push((status, thread));
        }
        Ok(sinks)
    }

    /// How far each topic is. It goes on being true while they publish.
    pub fn status(&self) -> Vec<Arc<SinkStatus>> {
        self.publishers.iter().map(|(status, _)| status.clone()).collect()
    }

    /// Lets topics have the last checkpoint, which is committed, and ends. A broker that is away is not waited for long: what is missing
    /// is published after the next start.
    pub fn finish(mut self) {
        self.end.finish_by(LAST);
        self.join();
    }

    /// Waits for the threads, but not for one that a broker holds up: nothing is lost with it.
    fn join(&mut self) {
        let threads: Vec<JoinHandle<()>> = self.publishers.drain(..).map(|(_, thread)| thread).collect();
        threads.iter().for_each(|thread| thread.thread().unpark());
        while threads.iter().any(|thread| !thread.is_finished()) && !self.end.is_over_since(GRACE) {
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        self.end.finish_by(Duration::ZERO);
        self.join();
    }
}
