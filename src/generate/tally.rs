//! What has been generated so far: the counts that a reader's accounting can be checked against.

use std::fmt;

use super::event::{Body, Event};
use super::{Class, LineInfo};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All lines, and those of them that are dimension records.
    pub lines: u64,
    pub dimension_lines: u64,
    pub bytes: u64,
    /// Event lines by class: sound ones in time and late, and what is to be found out.
    pub fresh: u64,
    pub late: u64,
    pub duplicates: u64,
    pub conflicts: u64,
    pub malformed: u64,
    /// Sound events by type.
    pub page_views: u64,
    pub cart_additions: u64,
    pub cart_removals: u64,
    pub checkouts: u64,
    pub sold_lines: u64,
    pub return_lines: u64,
    pub refunds: u64,
    /// Sessions that began and orders that were placed, by how many lines were meant to be in them.
    pub sessions: u64,
    pub bot_sessions: u64,
    pub orders_by_lines: [u64; 5],
}

impl Tally {
    pub fn events(&self) -> u64 {
        self.lines - self.dimension_lines
    }

    pub fn orders(&self) -> u64 {
        self.orders_by_lines.iter().sum()
    }

    /// Orders of two lines or more.
    pub fn orders_of_several_lines(&self) -> u64 {
        self.orders_by_lines[1..].iter().sum()
    }

    pub(super) fn count_line(&mut self, info: &LineInfo, bytes: usize) {
        self.lines += 1;
        self.bytes += bytes as u64;
        let counter = match info.class {
            _ if info.dimension => &mut self.dimension_lines,
            Class::Fresh => &mut self.fresh,
            Class::Late => &mut self.late,
            Class::Duplicate => &mut self.duplicates,
            Class::Conflict => &mut self.conflicts,
            Class::Malformed(_) => &mut self.malformed,
        };
        *counter += 1;
    }

    pub(super) fn count_sound(&mut self, event: &Event) {
        let counter = match &event.body {
            Body::PageView { .. } => &mut self.page_views,
            Body::AddToCart { .. } => &mut self.cart_additions,
            Body::RemoveFromCart { .. } => &mut self.cart_removals,
            Body::CheckoutStarted => &mut self.checkouts,
            Body::Purchase(line) if line.quantity < 0 => &mut self.return_lines,
            Body::Purchase(_) => &mut self.sold_lines,
            Body::Refund { .. } => &mut self.refunds,
        };
        *counter += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sound = self.fresh + self.late;
        writeln!(
            formatter,
            "{} lines, {} MB: {} events, {} dimension records",
            self.lines,
            self.bytes / 1_000_000,
            self.events(),
            self.dimension_lines
        )?;
        writeln!(
            formatter,
            "{sound} sound events ({} late), {} duplicates, {} conflicts, {} malformed",
            self.late, self.duplicates, self.conflicts, self.malformed
        )?;
        write!(
            formatter,
            "{} sessions ({} of bots), {} orders ({} of several lines) with {} lines, {} return lines, {} refunds",
            self.sessions,
            self.bot_sessions,
            self.orders(),
            self.orders_of_several_lines(),
            self.sold_lines,
            self.return_lines,
            self.refunds
        )
    }
}
