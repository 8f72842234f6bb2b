//! Views that are being made from a lake's events while the others are served.

use std::sync::atomic::{AtomicU64, Ordering};

/// Which views, and how far they are. Shared by who makes them and who is asked.
#[derive(Debug, Default)]
pub struct Building {
    pub views: Vec<String>,
    done: AtomicU64,
    total: AtomicU64,
}

impl Building {
    pub fn new(views: Vec<String>) -> Building {
        Building { views, ..Building::default() }
    }

    /// It begins, with so many events to go through.
    pub fn begin(&self, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }

    pub fn advance(&self, events: u64) {
        self.done.fetch_add(events, Ordering::Relaxed);
    }

    /// Events that have gone in, and all that will.
    pub fn events(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }

    /// In words: `made from 2,000,000 events, 41 % of which are in`.
    pub fn words(&self) -> String {
        let (done, total) = self.events();
        let percent = (done * 100).checked_div(total).unwrap_or(0).min(100);
        format!("being made from {total} events, {percent} % of which are in")
    }

    pub fn holds(&self, view: &str) -> bool {
        self.views.iter().any(|name| name == view)
    }
}
