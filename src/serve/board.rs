//! What is published: the current version of all views, and earlier ones that somebody still reads from.

use super::building::Building;
use super::commit::SourcePositions;
use arc_swap::ArcSwap;
use millrace_dataflows::context::Shared;
use millrace_dataflows::index::Index;
use millrace_dataflows::views::{AnswerContext, View};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// One closed epoch of all views. It never changes.
#[derive(Clone)]
pub struct Published {
    /// They only rise. Those of a running engine are close to their times.
    pub epoch: u64,
    /// The time of the epoch, by the engine's clock, in milliseconds since 1970: whatever was read before that instant is in. Its age is how
    /// old answers are.
    pub at_ms: u64,
    /// How far the sources are complete, UTC microseconds.
    pub watermark: Option<i64>,
    pub positions: Arc<[SourcePositions]>,
    /// It is what an earlier run has left, and the sources have not been read on yet.
    pub restored: bool,
    /// Views that are not there yet, if any are being made.
    pub building: Option<Arc<Building>>,
    pub views: Vec<ViewRows>,
    pub shared: Shared,
}

/// A view and its rows at one epoch.
#[derive(Clone)]
pub struct ViewRows {
    pub view: Arc<dyn View>,
    pub index: Index,
    /// The last epoch that changed anything.
    pub changed_at: u64,
}

impl Published {
    pub fn view(&self, name: &str) -> Option<&ViewRows> {
        self.views.iter().find(|rows| rows.view.name() == name)
    }

    pub fn answer_context(&self) -> AnswerContext {
        AnswerContext { shared: self.shared.clone(), watermark: self.watermark }
    }

    /// Whether everything below these offsets is in. A source or partition that is not known is not covered.
    pub fn covers(&self, wanted: &[SourcePositions]) -> bool {
        wanted.iter().all(|wanted| {
            let known = self.positions.iter().find(|known| known.source == wanted.source);
            wanted.next_offsets.iter().enumerate().all(|(partition, next)| {
                *next == 0 || known.and_then(|known| known.next_offsets.get(partition)).is_some_and(|is| is >= next)
            })
        })
    }
}

/// Versions that are kept for readers who come back, at most.
const KEPT_MOST: usize = 512;

/// Where readers look.
pub struct Board {
    current: ArcSwap<Published>,
    changed: watch::Sender<u64>,
    kept: Mutex<BTreeMap<u64, (Arc<Published>, Instant)>>,
    keep_for: Duration,
}

impl Board {
    pub fn new(first: Published, keep_for: Duration) -> Board {
        let changed = watch::Sender::new(first.epoch);
        Board { current: ArcSwap::from_pointee(first), changed, kept: Mutex::default(), keep_for }
    }

    /// The newest version. One load of a pointer: a reader that uses one version sees one epoch.
    pub fn current(&self) -> Arc<Published> {
        self.current.load_full()
    }

    /// The epoch of the newest version, to wait on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub fn publish(&self, published: Published) {
        let epoch = published.epoch;
        self.current.store(Arc::new(published));
        self.changed.send_replace(epoch);
    }

    /// Keeps a version for a while, for [`Board::at`].
    pub fn keep(&self, version: &Arc<Published>) {
        let mut kept = self.kept();
        if let Some((_, since)) = kept.get_mut(&version.epoch) {
            *since = Instant::now();
            return;
        }
        while kept.len() >= KEPT_MOST {
            kept.pop_first();
        }
        kept.insert(version.epoch, (version.clone(), Instant::now()));
    }

    /// Drops the versions that were kept for long enough.
    pub fn forget_old(&self) {
        self.kept().retain(|_, (_, since)| since.elapsed() < self.keep_for);
    }

    /// The version of an epoch, if it is current or kept.
    pub fn at(&self, epoch: u64) -> Option<Arc<Published>> {
        let current = self.current();
        if current.epoch == epoch {
            return Some(current);
        }
        self.kept().get(&epoch).filter(|(_, since)| since.elapsed() < self.keep_for).map(|(version, _)| version.clone())
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<u64, (Arc<Published>, Instant)>> {
        self.kept.lock().expect("no holder of the kept versions panics")
    }
}
