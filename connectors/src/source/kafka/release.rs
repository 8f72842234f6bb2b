//! Offsets for tools that show lag. One list is under way at a time, so that nothing piles up while the group cannot be
//! reached; what is released meanwhile replaces what waits.

use super::client::Handle;
use super::code::Code;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// What became of the last offsets: none, or written, or why not.
#[derive(Default)]
pub(super) struct Outcome(Mutex<Option<Code>>);

impl Outcome {
    pub(super) fn get(&self) -> Option<Code> {
        *self.0.lock().expect("no holder panics")
    }

    pub(super) fn set(&self, failure: Option<Code>) {
        *self.0.lock().expect("no holder panics") = failure;
    }
}

#[derive(Default)]
pub(super) struct Releases {
    /// By topic and partition.
    waiting: BTreeMap<(usize, u32), u64>,
    is_under_way: bool,
}

impl Releases {
    pub(super) fn add(&mut self, positions: &[(usize, u32, u64)]) {
        self.waiting.extend(positions.iter().map(|&(topic, partition, offset)| ((topic, partition), offset)));
    }

    /// Sends what waits, where nothing is under way.
    pub(super) fn send<'a>(&mut self, handle: &Handle, name: impl Fn(usize) -> &'a str) {
        if self.is_under_way || self.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting);
        let position = |(&(topic, partition), &offset)| (name(topic), partition, offset);
        handle.commit(&waiting.iter().map(position).collect::<Vec<_>>());
        self.is_under_way = true;
    }

    pub(super) fn answered(&mut self) {
        self.is_under_way = false;
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.is_under_way
    }
}
