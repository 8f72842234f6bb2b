//! Receipts: what a reader counts of its records, as accounts.
//!
//! A reader counts every valid record as accepted; deduplication takes back those that are not, at the same epoch.

use crate::context::{Buckets, Shared};
use crate::facts::{Account, Counted, FactChange, Tally};
use crate::operators::dedup::Verdict;
use millrace_schema::{Event, Name, Rule};

/// The counts of one worker's readers between two drains.
pub struct Receipts {
    shared: Shared,
    buckets: Buckets,
    counts: Tally<Account>,
    /// The hour and the source of the last record, and what is pending for it: neighbouring records share it.
    run: (i64, Name, i64),
}

impl Receipts {
    pub fn new(shared: &Shared) -> Receipts {
        let buckets = Buckets::new(shared.context.calendar.clone());
        let run = (Account::UNKNOWN_HOUR, Name::NONE, 0);
        Receipts { shared: shared.clone(), buckets, counts: Tally::default(), run }
    }

    /// Counts a valid record: read, and accepted until further notice.
    pub fn valid(&mut self, event: &Event, source: Name) {
        let hour = self.buckets.of(event.booked_at()).hour;
        if (hour, source) != (self.run.0, self.run.1) {
            self.flush();
            self.run = (hour, source, 0);
        }
        self.run.2 += 1;
        findings(event, hour, source, &self.shared, 1, &mut self.counts);
    }

    /// Counts a valid record that is older than what is remembered.
    pub fn pending(&mut self, event: &Event, source: Name) {
        let hour = self.buckets.of(event.booked_at()).hour;
        self.count(hour, source, Counted::Read, 1);
        self.count(hour, source, Counted::Pending, 1);
    }

    /// Takes back that a record is pending. What it is now is counted as of any other, but that it has been read before.
    pub fn no_longer_pending(&mut self, event: &Event, source: Name) {
        let hour = self.buckets.of(event.booked_at()).hour;
        self.count(hour, source, Counted::Read, -1);
        self.count(hour, source, Counted::Pending, -1);
    }

    /// Takes back that a record is pending that is rejected now, as no program before this one did. `received_at` in UTC microseconds
    /// where the transport has a clock; else it is taken back of the unknown hour, since nothing else is known of it.
    pub fn rejected_after_all(&mut self, received_at: Option<i64>, source: Name) {
        let hour = received_at.map_or(Account::UNKNOWN_HOUR, |time| self.buckets.of(time).hour);
        self.count(hour, source, Counted::Read, -1);
        self.count(hour, source, Counted::Pending, -1);
    }

    /// Counts a rejected record. `received_at` in UTC microseconds where it is known.
    pub fn rejected(&mut self, rule: Rule, received_at: Option<i64>, source: Name) {
        let hour = received_at.map_or(Account::UNKNOWN_HOUR, |time| self.buckets.of(time).hour);
        self.count(hour, source, Counted::Read, 1);
        self.count(hour, source, Counted::Rejected(rule), 1);
    }

    fn count(&mut self, hour: i64, source: Name, what: Counted, times: i64) {
        self.counts.add(Account { hour, source, what }, times);
    }

    fn flush(&mut self) {
        let (hour, source, count) = self.run;
        if count > 0 {
            self.count(hour, source, Counted::Read, count);
            self.count(hour, source, Counted::Accepted, count);
            self.run.2 = 0;
        }
    }

    /// What was counted since the last call, at `epoch`.
    pub fn drain(&mut self, epoch: u64) -> impl Iterator<Item = FactChange<Account>> + '_ {
        self.flush();
        self.counts.drain(epoch)
    }
}

/// Takes back a valid record that was not accepted.
pub fn lost(event: &Event, verdict: Verdict, shared: &Shared, buckets: &mut Buckets, out: &mut Tally<Account>) {
    let hour = buckets.of(event.booked_at()).hour;
    let source = shared.partitions.source(event.place.partition());
    out.add(Account { hour, source, what: Counted::Accepted }, -1);
    let what = match verdict {
        Verdict::Duplicate => Counted::Duplicate,
        Verdict::Conflict => Counted::Rejected(Rule::IdConflict),
    };
    out.add(Account { hour, source, what }, 1);
    findings(event, hour, source, shared, -1, out);
}

/// What is odd about one record, lateness included.
fn findings(event: &Event, hour: i64, source: Name, shared: &Shared, sign: i64, out: &mut Tally<Account>) {
    for warning in event.warnings.iter() {
        out.add(Account::warned(hour, source, warning), sign);
    }
    let late = event.received != Event::NOT_RECEIVED
        && !event.kind().is_dimension()
        && event.received - event.time > shared.context.allowed_lateness_micros;
    if late {
        out.add(Account { hour, source, what: Counted::Late }, sign);
    }
}
