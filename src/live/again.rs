//! How long what an earlier run may have read is being read again.

use millrace_connectors::source::SourceStatus;

#[derive(Debug)]
pub struct ReadAgain {
    is_on: bool,
    /// By partition, where it ended when that was first known. No earlier run has read further.
    ends_at_start: Vec<Option<u64>>,
}

impl ReadAgain {
    pub fn new(is_on: bool) -> ReadAgain {
        ReadAgain { is_on, ends_at_start: Vec::new() }
    }

    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Looks whether there may still be something that an earlier run has read. Called by the reader alone: what it has read is in
    /// the queue then.
    pub fn look(&mut self, source: &SourceStatus) {
        if !self.is_on {
            return;
        }
        let ends = &mut self.ends_at_start;
        self.is_on = source.with(|source| {
            ends.resize(source.partitions.len(), None);
            let mut left = source.partitions.is_empty();
            for (end, partition) in ends.iter_mut().zip(&source.partitions) {
                *end = end.or(partition.end);
                // One that cannot be read may never be. An end moves back where a line was torn, or a broker has lost records.
                let is_read = partition.fault.is_some() || partition.is_read();
                left |= !is_read && end.is_none_or(|end| partition.next < end);
            }
            left
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line whose end never came was in the length of the log, and is not there to be read.
    #[test]
    fn all_has_been_read_again_where_a_line_was_torn() {
        let source = SourceStatus::default();
        source.with(|source| source.partitions.resize_with(1, Default::default));
        let mut again = ReadAgain::new(true);
        let mut is_on = Vec::new();
        for end in [10, 9] {
            source.with(|source| (source.partitions[0].next, source.partitions[0].end) = (9, Some(end)));
            again.look(&source);
            is_on.push(again.is_on());
        }
        assert_eq!(is_on, [true, false]);
    }
}
