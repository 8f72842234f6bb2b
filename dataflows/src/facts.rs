//! Facts: the collections that views are made of, as they come out of deduplication and of the operators behind it.
//!
//! ```text
//! events ─▶ dedup ─▶ accept ─┬─────────────────────────────▶ events, dimensions, accounts ─┐
//!                            ├─▶ sessions ─▶ visits, presence, accounts, pairs ─────────────┤
//!                            ├─▶ orders ───▶ lines, orders, cells, accounts, pairs ─────────┼─▶ views ─▶ rows
//!                            └─▶ users ────▶ presence, accounts ────────────────────────────┘
//! ```
//! A fact is (what, epoch, how often): how often is negative where one is taken back, and no view may assume 1. What is restored
//! comes again at the epochs of the restart, whose changes are in the rows of the views already. What was forgotten and is recalled
//! comes no second time.
//!
//! After a restart those facts are whole that follow from orders and dimension records, which are never forgotten; a view that
//! keeps state of its own rests on them alone. Of `events` and `presence` only those come again whose state is still held, so what
//! is made of them has to be linear.

use crate::context::Bucket;
use crate::rows::Rows;
use differential_dataflow::VecCollection;
use millrace_schema::{Cents, Currency, Event, Name, Rule, Warning};
use serde::{Deserialize, Serialize};

/// A collection of facts.
pub type Collection<'s, D> = VecCollection<'s, u64, D, i64>;

/// One change of a collection of facts.
pub type FactChange<D> = (D, u64, i64);

/// What views are made of.
pub struct Facts<'s> {
    /// Accepted events and dimension records, on the worker that read them.
    pub events: Collection<'s, Event>,
    /// Accepted dimension records: each product's and user's history.
    pub dimensions: Collection<'s, Event>,
    /// Sold lines, return lines and refunds.
    pub lines: Collection<'s, OrderLine>,
    /// What orders come to, by who ordered.
    pub orders: Collection<'s, CustomerOrder>,
    /// When sessions and users are active.
    pub presence: Collection<'s, Presence>,
    /// What became of records, and what is odd about them.
    pub accounts: Collection<'s, Account>,
    /// What orders contribute to the sales: see [`crate::views::sales`].
    pub cells: Rows<'s>,
    /// What visits contribute to the funnel: see [`crate::views::funnel`].
    pub visits: Rows<'s>,
    /// Products together in a session or an order, as far as they are listed: see [`crate::operators::pairs`].
    pub together: Rows<'s>,
}

/// Which facts a view is made of. Those that no enabled view uses are empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    pub events: bool,
    pub dimensions: bool,
    pub lines: bool,
    pub orders: bool,
    pub presence: bool,
    /// Beyond what readers count, which is always there.
    pub accounts: bool,
    pub cells: bool,
    pub visits: bool,
    pub together: bool,
}

impl Uses {
    pub const NOTHING: Uses = Uses {
        events: false,
        dimensions: false,
        lines: false,
        orders: false,
        presence: false,
        accounts: false,
        cells: false,
        visits: false,
        together: false,
    };

    /// What either of two uses.
    #[must_use]
    pub fn and(self, other: Uses) -> Uses {
        Uses {
            events: self.events || other.events,
            dimensions: self.dimensions || other.dimensions,
            lines: self.lines || other.lines,
            orders: self.orders || other.orders,
            presence: self.presence || other.presence,
            accounts: self.accounts || other.accounts,
            cells: self.cells || other.cells,
            visits: self.visits || other.visits,
            together: self.together || other.together,
        }
    }
}

/// What a line of an order does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LineKind {
    Sold,
    /// A purchase of negative quantity.
    Returned,
    Refunded,
}

/// A line of an order. Of returns and refunds quantity and amount are what came back, 0 or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OrderLine {
    pub kind: LineKind,
    /// [`Name::NONE`] for a refund of the whole order.
    pub product: Name,
    /// UTC microseconds.
    pub time: i64,
    pub quantity: i64,
    /// Minor units of the currency.
    pub amount: Cents,
    pub currency: Currency,
}

/// What one customer has in one order, by currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CustomerOrder {
    /// The user, by the name that [`millrace_schema::Names`] has a text for.
    pub user: Name,
    pub currency: Currency,
    /// The day of the customer's earliest sold line in the order, in the store's calendar; `None` where there is none, or where this
    /// is not the first of several currencies: so that an order is counted once.
    pub ordered_on: Option<i32>,
    pub units: i64,
    pub spend: Cents,
    pub units_returned: i64,
    pub returns: Cents,
    /// How large all of its amounts are together: see [`crate::views::magnitude`].
    pub magnitude: i64,
}

/// Who, or what of theirs, is present at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Present {
    /// An event of a session, by what it is.
    PageView,
    CartAddition,
    OtherEvent,
    /// A user.
    User,
}

/// An event of a session, or a user in a minute; and in which buckets it is the only one of theirs so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Presence {
    pub bucket: Bucket,
    pub what: Present,
    /// A bit for each length of time, by its number.
    pub first_in: u8,
}

/// What is counted of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Counted {
    Read,
    Accepted,
    Duplicate,
    Pending,
    /// Later than allowed.
    Late,
    Rejected(Rule),
    Warned(Warning),
}

/// A unit in the accounts of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Account {
    /// The hour in which the record is booked: its first instant, UTC microseconds; [`Account::UNKNOWN_HOUR`] where that is not known.
    pub hour: i64,
    pub source: Name,
    pub what: Counted,
}

impl Account {
    pub const UNKNOWN_HOUR: i64 = -1;

    /// A warning of a record.
    pub fn warned(hour: i64, source: Name, warning: Warning) -> Account {
        Account { hour, source, what: Counted::Warned(warning) }
    }
}

/// Facts of one kind, netted before they leave an operator: each once an epoch, with how often it is to be added.
#[derive(Debug)]
pub struct Tally<D>(rustc_hash::FxHashMap<D, i64>);

impl<D> Default for Tally<D> {
    fn default() -> Tally<D> {
        Tally(rustc_hash::FxHashMap::default())
    }
}

impl<D: Copy + Eq + std::hash::Hash> Tally<D> {
    pub fn add(&mut self, fact: D, times: i64) {
        if times != 0 {
            *self.0.entry(fact).or_default() += times;
        }
    }

    /// What does not cancel, at an epoch; the tally is empty then.
    pub fn drain(&mut self, epoch: u64) -> impl Iterator<Item = FactChange<D>> + '_ {
        self.0.drain().filter(|(_, times)| *times != 0).map(move |(fact, times)| (fact, epoch, times))
    }
}
