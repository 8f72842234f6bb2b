//! What is odd about an order as a whole, booked on each line that takes part.
//!
//! - *Lines disagree* on the session or the user: all purchase lines are warned about.
//! - *More came back than was paid*, by currency: where what came back in it is more than was paid in it, which is 0 where nothing
//!   was. Its return lines and refunds are warned about.

use crate::context::{Buckets, Shared};
use crate::facts::{Account, LineKind, Tally};
use crate::views::sales::Line;
use millrace_schema::{Cents, Currency, Warning};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// Where a line's warnings are counted: the hour in which it is booked, and its partition.
type Booking = (i64, u16);

fn booking(line: &Line, buckets: &mut Buckets) -> Booking {
    (buckets.of(line.booked_at).hour, line.partition)
}

fn count((hour, partition): Booking, warning: Warning, count: i64, shared: &Shared, out: &mut Tally<Account>) {
    let source = shared.partitions.source(partition);
    out.add(Account::warned(hour, source, warning), count);
}

/// Warns `sign` times about all lines of a small order.
pub(super) fn warn(lines: &[Line], shared: &Shared, buckets: &mut Buckets, sign: i64, out: &mut Tally<Account>) {
    let mut add = |line: &Line, warning| count(booking(line, buckets), warning, sign, shared, out);
    let purchased = || lines.iter().filter(|line| line.kind != LineKind::Refunded);
    let mut first_user = 0;
    let mut disagrees = false;
    for line in purchased() {
        disagrees |= purchased().next().is_some_and(|first| first.session != line.session);
        if line.user != 0 {
            disagrees |= first_user != 0 && first_user != line.user;
            first_user = line.user;
        }
    }
    if disagrees {
        purchased().for_each(|line| add(line, Warning::OrderDisagrees));
    }
    if lines.iter().all(|line| line.kind == LineKind::Sold) {
        return;
    }
    // By currency: what was returned beyond what was paid.
    let mut sums: SmallVec<[(Currency, Cents); 4]> = SmallVec::new();
    for line in lines {
        let at = sums.iter().position(|(currency, _)| *currency == line.currency).unwrap_or_else(|| {
            sums.push((line.currency, 0));
            sums.len() - 1
        });
        sums[at].1 += if line.kind == LineKind::Sold { -line.amount } else { line.amount };
    }
    let exceeds = |line: &&Line| sums.iter().any(|(currency, sum)| *currency == line.currency && *sum > 0);
    for line in lines.iter().filter(|line| line.kind != LineKind::Sold).filter(exceeds) {
        add(line, Warning::ReturnedMoreThanPaid);
    }
}

/// The same of an order of many lines, kept so that a line costs as much as it changes.
#[derive(Debug, Default)]
pub(super) struct Oddities {
    /// Of the first purchase line.
    session: Option<u64>,
    /// Of the first purchase line that names one.
    user: u64,
    disagrees: bool,
    /// Purchase lines, while they agree.
    purchased: FxHashMap<Booking, i64>,
    currencies: SmallVec<[OfCurrency; 1]>,
}

#[derive(Debug)]
struct OfCurrency {
    currency: Currency,
    /// What came back, less what was paid.
    over: Cents,
    returned: FxHashMap<Booking, i64>,
}

impl Oddities {
    /// Takes one line more, and counts what it changes.
    pub(super) fn add(&mut self, line: &Line, shared: &Shared, buckets: &mut Buckets, out: &mut Tally<Account>) {
        let at = booking(line, buckets);
        if line.kind != LineKind::Refunded {
            self.disagrees |= *self.session.get_or_insert(line.session) != line.session;
            if line.user != 0 {
                self.disagrees |= self.user != 0 && self.user != line.user;
                self.user = line.user;
            }
            *self.purchased.entry(at).or_default() += 1;
            if self.disagrees {
                // All that have come, and from now on each that comes.
                self.purchased.drain().for_each(|(at, lines)| count(at, Warning::OrderDisagrees, lines, shared, out));
            }
        }
        let of_currency = match self.currencies.iter().position(|known| known.currency == line.currency) {
            Some(position) => &mut self.currencies[position],
            None => {
                let returned = FxHashMap::default();
                self.currencies.push(OfCurrency { currency: line.currency, over: 0, returned });
                self.currencies.last_mut().expect("one has just been added")
            }
        };
        let exceeded = of_currency.over > 0;
        let is_sold = line.kind == LineKind::Sold;
        of_currency.over += if is_sold { -line.amount } else { line.amount };
        let exceeds = of_currency.over > 0;
        let mut warn = |at, lines| count(at, Warning::ReturnedMoreThanPaid, lines, shared, out);
        if exceeded != exceeds {
            let sign = if exceeds { 1 } else { -1 };
            of_currency.returned.iter().for_each(|(at, lines)| warn(*at, sign * lines));
        }
        if !is_sold {
            *of_currency.returned.entry(at).or_default() += 1;
            if exceeds {
                warn(at, 1);
            }
        }
    }
}
