//! What survives: from which rows the state of every operator is built again.
//!
//! ```text
//! accepted events ──▶ (kept whole) ──▶ [compact] ──▶ kept, for what they are still needed · sums of what is forgotten
//!                                                        └────────────── fed in again at one epoch ──────────┘
//! ```
//! The inputs of the state are kept, never what follows from them. An operator is restored by being fed what it was fed
//! before, in any order and at one epoch; what leaves it at that epoch has left before and is dropped.
//!
//! Under horizons most of what an old event was needed for is over. Then only *parts* of it are kept, and of sessions that
//! are forgotten what they add to: counts of pairs, contributions to the funnel, open warnings.

mod codec;
mod compact;
mod recall;

pub use codec::{NoRow, RowWriter, read_rows};
pub use compact::{Base, Compaction};
pub use recall::{Recall, Wanted};

use crate::operators::pairs::RelatedKind;
use millrace_schema::{Event, Id, Kind, Name};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;

/// What an accepted event is still needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needed(u8);

impl Needed {
    /// Its id is remembered.
    pub const ID: Needed = Needed(1);
    /// Its session is open.
    pub const SESSION: Needed = Needed(2);
    /// It is a line of an order.
    pub const ORDER: Needed = Needed(4);
    /// It tells when a user was active, or that there is one.
    pub const USER: Needed = Needed(8);
    /// It is a version of a product.
    pub const DIMENSION: Needed = Needed(16);
    /// Its session was counted as one, whatever pauses there were. Alone it needs nothing.
    pub const WHOLE: Needed = Needed(32);
    /// It was forgotten and is needed again, in order that what comes too late can join it. What a visit of such events contributes
    /// is among what is forgotten, unless they are there as they were, too. Alone it needs nothing.
    pub const RECALLED: Needed = Needed(64);
    pub const ALL: Needed = Needed(31);
    pub const NOTHING: Needed = Needed(0);

    pub fn of_bits(bits: u8) -> Option<Needed> {
        (bits & !(Needed::ALL.0 | Needed::WHOLE.0 | Needed::RECALLED.0) == 0).then_some(Needed(bits))
    }

    pub fn bits(self) -> u8 {
        self.0
    }

    pub fn holds(self, part: Needed) -> bool {
        self.0 & part.0 != 0
    }

    pub fn with(self, part: Needed, holds: bool) -> Needed {
        Needed(if holds { self.0 | part.0 } else { self.0 & !part.0 })
    }
}

/// An accepted event, and what it is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    pub event: Event,
    pub needed: Needed,
}

/// What sessions that are forgotten contribute to the funnel, but for the category of their first product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Settled {
    pub day: i32,
    pub first_product: Name,
    pub referrer: Name,
    pub device: Name,
    /// Steps by bit.
    pub reached: u8,
    pub ordered: u8,
    pub cart: bool,
    pub sold: bool,
    pub capped: bool,
    pub duration_bucket: Option<u16>,
}

/// How many forgotten sessions have touched two products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PairCount {
    pub kind: RelatedKind,
    pub a: Name,
    pub b: Name,
    pub count: u32,
}

/// Whom a warning is about that a record would take back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Unknown {
    Product(Name),
    User(Id),
}

/// Warnings about one that is not known, booked on an hour (UTC microseconds) and a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OpenWarning {
    pub about: Unknown,
    pub hour: i64,
    pub partition: u16,
}

impl OpenWarning {
    /// Of one thing's warnings all go one way.
    pub fn route(&self) -> u64 {
        match self.about {
            Unknown::Product(name) => name.0,
            Unknown::User(id) => id.low,
        }
    }
}

/// What is fed in again, on any worker, all at one epoch before any other.
pub struct Restored<'s> {
    pub kept: StreamVec<'s, u64, Kept>,
    pub pairs: StreamVec<'s, u64, PairCount>,
    pub settled: StreamVec<'s, u64, (Settled, u32)>,
    pub warnings: StreamVec<'s, u64, (OpenWarning, i64)>,
}

/// Whether an event makes its user active.
fn is_activity(event: &Event) -> bool {
    !event.user.is_none() && !event.kind().is_dimension() && event.kind() != Kind::Refund
}
