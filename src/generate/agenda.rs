//! What happens next: a priority queue of tasks by time, and by order of entry within one microsecond.
//!
//! One entry for each open session, each line held back and each change to come. This is all that the generator
//! remembers of the future, so its memory is that of the open sessions and not of the run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Numbers are places in the slab of that kind, or product numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// The next visitor comes, and the one after is planned.
    Visit,
    BotVisit,
    /// A session takes its next step.
    Step(u32),
    /// A line held back is let go.
    Release(u32),
    /// Units of an order come back.
    Return(u32),
    /// A product's record comes that the opening catalogue left out.
    LateProduct(u32),
    /// A product moves to another category.
    Recategorise(u32),
    /// Stock has fallen below the reorder point.
    LowStock(u32),
    Restock(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    time: i64,
    /// Makes the order of equal times that of their entry, whatever the heap does.
    ordinal: u64,
    task: Task,
}

#[derive(Clone, Debug, Default)]
pub struct Agenda {
    entries: BinaryHeap<Reverse<Entry>>,
    ordinal: u64,
}

impl Agenda {
    #[inline]
    pub fn add(&mut self, time: i64, task: Task) {
        self.ordinal += 1;
        self.entries.push(Reverse(Entry { time, ordinal: self.ordinal, task }));
    }

    #[inline]
    pub fn next(&mut self) -> Option<(i64, Task)> {
        self.entries.pop().map(|Reverse(entry)| (entry.time, entry.task))
    }
}
