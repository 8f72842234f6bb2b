//! Who ordered what in one order: its lines by user, kept so that a line costs as much as it changes.
//!
//! A line that names nobody is of the order's customer: the user of its sold lines, where they name one. Where they name several it is
//! nobody's.

use crate::context::Buckets;
use crate::facts::{CustomerOrder, LineKind, Tally};
use crate::views::magnitude;
use crate::views::sales::Line;
use millrace_schema::{Cents, Currency, Name};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// Of lines that name nobody.
const NOBODY: u64 = 0;

/// The customers of one order.
#[derive(Debug, Default)]
pub(super) struct Customers {
    /// By half of the user's hash.
    users: FxHashMap<u64, Share>,
    /// Users with sold lines, the first two of them.
    sold_to: SmallVec<[u64; 2]>,
    changed: Vec<u64>,
}

/// What is in the name of one user.
#[derive(Debug, Default)]
struct Share {
    first_sold: Option<i64>,
    sums: SmallVec<[(Currency, Sums); 1]>,
    /// What has been counted of it.
    counted: SmallVec<[CustomerOrder; 1]>,
    is_changed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    units: i64,
    spend: Cents,
    units_returned: i64,
    returns: Cents,
    magnitude: i64,
}

fn of_currency(sums: &mut SmallVec<[(Currency, Sums); 1]>, currency: Currency) -> &mut Sums {
    let at = sums.iter().position(|(known, _)| *known == currency).unwrap_or_else(|| {
        sums.push((currency, Sums::default()));
        sums.len() - 1
    });
    &mut sums[at].1
}

impl Share {
    fn add(&mut self, line: &Line) {
        let sums = of_currency(&mut self.sums, line.currency);
        sums.magnitude = sums.magnitude.wrapping_add(magnitude::of_line(line.amount, 0));
        if line.kind == LineKind::Sold {
            sums.units += line.quantity;
            sums.spend = sums.spend.wrapping_add(line.amount);
            self.first_sold = Some(self.first_sold.map_or(line.time, |first| first.min(line.time)));
        } else {
            sums.units_returned += line.quantity;
            sums.returns = sums.returns.wrapping_add(line.amount);
        }
    }

    /// With what is nobody's, where that is theirs, too.
    fn facts(&self, user: u64, nobodys: Option<&Share>, buckets: &mut Buckets) -> SmallVec<[CustomerOrder; 1]> {
        let first = self.first_sold.into_iter().chain(nobodys.and_then(|share| share.first_sold)).min();
        let ordered_on = first.map(|time| buckets.of(time).day as i32);
        let mut sums = self.sums.clone();
        for (currency, more) in nobodys.into_iter().flat_map(|share| &share.sums) {
            let sum = of_currency(&mut sums, *currency);
            sum.units += more.units;
            sum.spend = sum.spend.wrapping_add(more.spend);
            sum.units_returned += more.units_returned;
            sum.returns = sum.returns.wrapping_add(more.returns);
            sum.magnitude = sum.magnitude.wrapping_add(more.magnitude);
        }
        let first_currency = sums.iter().map(|(currency, _)| *currency).min();
        let fact = |(currency, sums): (Currency, Sums)| CustomerOrder {
            user: Name(user),
            currency,
            ordered_on: ordered_on.filter(|_| Some(currency) == first_currency),
            units: sums.units,
            spend: sums.spend,
            units_returned: sums.units_returned,
            returns: sums.returns,
            magnitude: sums.magnitude,
        };
        sums.into_iter().map(fact).collect()
    }
}

impl Customers {
    pub(super) fn of(lines: &[Line]) -> Customers {
        let mut customers = Customers::default();
        lines.iter().for_each(|line| customers.add(line));
        customers
    }

    /// Takes one line more.
    pub(super) fn add(&mut self, line: &Line) {
        if line.kind == LineKind::Sold
            && line.user != NOBODY
            && self.sold_to.len() < 2
            && !self.sold_to.contains(&line.user)
        {
            // Whoever was alone is not any more, or somebody is: what is nobody's goes another way.
            self.sold_to.iter().copied().for_each(|user| note(&mut self.users, user, &mut self.changed));
            self.sold_to.push(line.user);
        }
        self.users.entry(line.user).or_default().add(line);
        let of = if line.user == NOBODY { self.only() } else { Some(line.user) };
        of.into_iter().for_each(|user| note(&mut self.users, user, &mut self.changed));
    }

    /// The user that all sold lines name that name one.
    fn only(&self) -> Option<u64> {
        match self.sold_to[..] {
            [user] => Some(user),
            _ => None,
        }
    }

    /// Counts what has changed since the last time, so many times.
    pub(super) fn count(&mut self, times: i64, buckets: &mut Buckets, out: &mut Tally<CustomerOrder>) {
        for user in std::mem::take(&mut self.changed) {
            let nobodys = self.users.get(&NOBODY).filter(|_| self.only() == Some(user));
            let now = self.users.get(&user).map(|share| share.facts(user, nobodys, buckets)).unwrap_or_default();
            let Some(share) = self.users.get_mut(&user) else { continue };
            share.is_changed = false;
            now.iter().for_each(|fact| out.add(*fact, times));
            std::mem::replace(&mut share.counted, now).iter().for_each(|fact| out.add(*fact, -times));
        }
    }
}

fn note(users: &mut FxHashMap<u64, Share>, user: u64, changed: &mut Vec<u64>) {
    let share = users.entry(user).or_default();
    if !std::mem::replace(&mut share.is_changed, true) {
        changed.push(user);
    }
}
