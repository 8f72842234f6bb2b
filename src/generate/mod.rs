//! Events of an online shop that never was: `millrace generate`.
//!
//! ```text
//!             ┌─ visits (season) ──▶ open sessions ─┐
//!   agenda ───┤  returns of what was sold           ├─▶ event ─┬─▶ line
//!  (by time)  │  products that change or come late  │          ├─▶ held back, then a late line
//!             └─ lines held back, copies, conflicts ┘          └─▶ also a copy, a conflict, a broken one
//! ```
//!
//! The generator is a simulation with one clock, which only moves forward: lines come in the order of their arrival,
//! which is that of their times but for what is late. It remembers what is open or to come and nothing else, so memory
//! does not grow with the number of events. Everything follows from [`Options`]: equal ones give equal bytes.
//!
//! ```text
//! let mut generator = Generator::new(Options { events: 1_000, ..Options::default() })?;
//! let mut lines = Vec::new();
//! while generator.next_line(&mut lines).is_some() {}
//! ```

mod agenda;
mod alias;
mod catalogue;
mod categories;
pub mod command;
mod delivery;
mod event;
mod faults;
mod line;
mod market;
mod options;
mod random;
mod returns;
mod season;
mod session;
mod simulation;
mod slab;
mod stock;
mod tally;
#[cfg(test)]
mod tests;
mod think;

pub use faults::Fault;
pub use options::{Options, OptionsError};
pub use tally::Tally;

use simulation::Simulation;

/// What a line is, beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineInfo {
    /// `event_time` or `updated_at`, UTC microseconds; of a malformed line what it had before it was spoiled.
    pub time: i64,
    /// When the line arrives: never falls from one line to the next, and is above `time` where the line is late.
    /// A sender that keeps pace waits for it.
    pub arrival: i64,
    /// Equal for the lines of one session with their copies, conflicts and returns, and for those of one product or
    /// user record. All bits are mixed.
    pub partition_key: u64,
    /// Whether it is a product, user or inventory record.
    pub dimension: bool,
    /// Always [`Class::Fresh`] where the line is a dimension record.
    pub class: Class,
}

/// What a reader should make of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Fresh,
    /// Held back, otherwise sound.
    Late,
    /// A copy of an earlier line: byte by byte, or with its keys in another order.
    Duplicate,
    /// Claims the `event_id` of an earlier line of the same partition key, with other content.
    Conflict,
    Malformed(Fault),
}

/// Writes the events of [`Options`], one line a call.
#[derive(Clone, Debug)]
pub struct Generator {
    simulation: Simulation,
}

impl Generator {
    /// # Errors
    /// The first option that is out of its range.
    pub fn new(options: Options) -> Result<Generator, OptionsError> {
        options.check()?;
        Ok(Generator { simulation: Simulation::new(options) })
    }

    /// Appends the next line with its newline to `out`; `None`, and nothing appended, when all is written.
    ///
    /// The product catalogue comes first.
    pub fn next_line(&mut self, out: &mut Vec<u8>) -> Option<LineInfo> {
        self.simulation.next_line(out)
    }

    /// The counts so far.
    pub fn tally(&self) -> &Tally {
        self.simulation.tally()
    }

    /// Sessions that have begun and not ended.
    pub fn sessions_open(&self) -> usize {
        self.simulation.sessions_open()
    }
}
