//! What a run leaves of a partition beside its position: by what the next one knows it again, and what was lost of it.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ops::Range;

/// What a partition held where it was read. Another place of the same name and length is not taken for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Of a topic, whatever the offset: the id that the brokers gave it when it was made.
    Topic(String),
    /// Of a log: the bytes before an offset.
    Bytes {
        /// Behind the last of them.
        end: u64,
        length: u64,
        xxh3: u64,
    },
}

impl Mark {
    /// From which position on it holds.
    fn from(&self) -> u64 {
        match self {
            Mark::Topic(_) => 0,
            Mark::Bytes { end, .. } => *end,
        }
    }
}

/// The latest marks: a checkpoint is of a position somewhat behind that of reading, and needs the one that belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks(VecDeque<Mark>);

impl Marks {
    /// More than there are chunks between reading and a checkpoint.
    const MOST: usize = 32;

    /// Positions ascend.
    pub fn push(&mut self, mark: Option<Mark>) {
        let Some(mark) = mark.filter(|mark| self.0.back() != Some(mark)) else { return };
        if self.0.len() >= Marks::MOST {
            // Every second: so one that is old enough stays, and those that are near lie close together.
            let mut stays = false;
            self.0.retain(|_| {
                stays = !stays;
                stays
            });
        }
        self.0.push_back(mark);
    }

    /// What belongs to a position: the last mark that is not behind it.
    pub fn at(&self, position: u64) -> Option<&Mark> {
        self.0.iter().rev().find(|mark| mark.from() <= position)
    }
}

/// Records that were gone before they were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// How many, at most: a broker uses up offsets of its own.
    pub records: u64,
    /// The offset of the first.
    pub from: u64,
    /// The offset behind the last.
    pub to: u64,
}

impl Lost {
    pub fn is_nothing(&self) -> bool {
        self.records == 0
    }

    /// These offsets are gone. What was counted before, by a run that ended before it had a checkpoint behind them, is not again.
    pub fn add(&mut self, offsets: Range<u64>) {
        let new = offsets.start.max(self.to)..offsets.end;
        if new.is_empty() {
            return;
        }
        if self.is_nothing() {
            self.from = new.start;
        }
        self.records += new.end - new.start;
        self.to = new.end;
    }
}

/// What is kept of a partition with its position.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    pub mark: Option<Mark>,
    pub lost: Lost,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_has_the_mark_that_is_nearest_before_it() {
        let mut marks = Marks::default();
        assert_eq!(marks.at(5), None);
        let mark = |end| Mark::Bytes { end, length: 1, xxh3: end };
        for end in 1..=1_000 {
            marks.push(Some(mark(end * 10)));
            marks.push(None);
        }
        assert_eq!(marks.at(9), None);
        assert_eq!(marks.at(19), Some(&mark(10)), "the first stays");
        for position in [9_950, 9_999, 10_000, 12_000] {
            assert_eq!(marks.at(position), Some(&mark((position / 10 * 10).min(10_000))));
        }
        assert!(marks.0.len() <= Marks::MOST);
        let mut marks = Marks::default();
        marks.push(Some(Mark::Topic("a".to_owned())));
        assert_eq!(marks.at(0), Some(&Mark::Topic("a".to_owned())));
    }

    #[test]
    fn what_is_lost_is_counted_once() {
        let mut lost = Lost::default();
        lost.add(4..4);
        assert!(lost.is_nothing());
        lost.add(4..10);
        lost.add(4..10);
        assert_eq!(lost, Lost { records: 6, from: 4, to: 10 });
        // Retention went on before the first chunk behind it was safe.
        lost.add(4..12);
        lost.add(30..31);
        assert_eq!(lost, Lost { records: 9, from: 4, to: 31 });
    }
}
