//! Epoch by epoch: what arrives waits until its epoch closes, then the epochs are handled in order.
//!
//! Handling at the close makes an operator's output a function of the *set* of records of an epoch, whatever the
//! number of workers, the order of arrival and the number of epochs in flight.

use std::collections::BTreeMap;
use timely::Accountable;
use timely::communication::Pull;
use timely::dataflow::channels::Message;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::InputHandleCore;
use timely::progress::frontier::MutableAntichain;

/// Containers by the epoch they belong to.
#[derive(Debug)]
pub struct Stash<D> {
    waiting: BTreeMap<u64, Vec<Vec<D>>>,
}

impl<D> Default for Stash<D> {
    fn default() -> Stash<D> {
        Stash { waiting: BTreeMap::new() }
    }
}

impl<D: 'static> Stash<D> {
    /// Takes everything that has arrived.
    pub fn fill<P>(&mut self, input: &mut InputHandleCore<u64, Vec<D>, P>)
    where
        P: Pull<Message<u64, Vec<D>>>,
        Vec<D>: Accountable,
    {
        input.for_each(|capability, data| {
            let epoch = *capability.least().expect("a message has a time");
            self.waiting.entry(epoch).or_default().push(std::mem::take(data));
        });
    }

    /// The first epoch that has data.
    pub fn first(&self) -> Option<u64> {
        self.waiting.keys().next().copied()
    }

    /// What has arrived of an epoch so far.
    pub fn waiting(&self, epoch: u64) -> &[Vec<D>] {
        self.waiting.get(&epoch).map_or(&[], Vec::as_slice)
    }

    /// The data of one epoch.
    pub fn take(&mut self, epoch: u64) -> Vec<Vec<D>> {
        self.waiting.remove(&epoch).unwrap_or_default()
    }
}

/// The first epoch that is still open on any input; `u64::MAX` where all are complete.
pub fn open_epoch(frontiers: &[MutableAntichain<u64>]) -> u64 {
    frontiers.iter().filter_map(|frontier| frontier.frontier().first().copied()).min().unwrap_or(u64::MAX)
}

/// The next epoch to handle: the first with data in any stash, if it is closed.
pub fn next_closed(firsts: impl IntoIterator<Item = Option<u64>>, open: u64) -> Option<u64> {
    firsts.into_iter().flatten().min().filter(|&epoch| epoch < open)
}

/// One capability per output, moved along together.
#[derive(Debug)]
pub struct Capabilities(Vec<Capability<u64>>);

impl Capabilities {
    pub fn new(initial: Vec<Capability<u64>>) -> Capabilities {
        Capabilities(initial)
    }

    /// Moves to an epoch that is to be handled.
    pub fn at(&mut self, epoch: u64) -> &[Capability<u64>] {
        self.0.iter_mut().for_each(|capability| capability.downgrade(&epoch));
        &self.0
    }

    /// Gives up everything before the first open epoch, everything at all where that is `u64::MAX`.
    pub fn release(&mut self, open: u64) {
        if open == u64::MAX {
            self.0.clear();
        } else {
            self.0.iter_mut().for_each(|capability| capability.downgrade(&open));
        }
    }
}
