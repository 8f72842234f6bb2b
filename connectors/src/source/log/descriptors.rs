//! How many files of a log are open at once: a log may have more partitions than a process may have descriptors.

use std::collections::VecDeque;

/// More would save nothing: opening a file again costs less than reading a chunk of it.
const MOST: u64 = 256;
const LEAST: u64 = 8;

/// So many files a source may have open: a quarter of what the process may have, for it has other things to open.
pub(super) fn most_open() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is written to a variable of ours.
    let is_known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } == 0;
    let limit = if is_known { limit.rlim_cur } else { 0 };
    usize::try_from((limit / 4).clamp(LEAST, MOST)).expect("it is at most 256")
}

/// Whose files are open. Those who have none open one when they need it; then the one that was opened first is closed.
#[derive(Debug)]
pub(super) struct Openings {
    most: usize,
    order: VecDeque<usize>,
}

impl Openings {
    pub(super) fn new(most: usize) -> Openings {
        Openings { most: most.max(1), order: VecDeque::new() }
    }

    /// A holder has opened its file. Returns whose is to be closed.
    pub(super) fn opened(&mut self, holder: usize) -> Option<usize> {
        self.order.push_back(holder);
        if self.order.len() > self.most { self.order.pop_front() } else { None }
    }

    /// Of another number from now on: those that are beyond it are closed as others open.
    pub(super) fn limit(&mut self, most: usize) {
        self.most = most.max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_makes_room_for_the_last() {
        let mut openings = Openings::new(2);
        let closed: Vec<Option<usize>> = [5, 6, 7, 5].map(|holder| openings.opened(holder)).into();
        assert_eq!(closed, [None, None, Some(5), Some(6)]);
        assert!((LEAST as usize..=MOST as usize).contains(&most_open()));
    }
}
