//! The dimension of products: each product's history of categories.
//!
//! ```text
//! product versions ──by product──▶ [histories] ──steps that change──▶ (broadcast) ──▶ whoever maps products
//! ```
//!
//! The version of a product with the greatest `updated_at` is the one in force now; of two with one `updated_at` the
//! later source position. A deleted product keeps the category it had, and so does its past.
//!
//! A *step* of a history is a time from which on a product has another category than before. A version that changes a price makes
//! none, and nobody hears of it; a version that does is one or two steps for all, however many versions there are.

use crate::operators::epochs::{Capabilities, Stash, next_closed, open_epoch};
use crate::operators::scatter::scatter;
use millrace_schema::{Body, Event, Name, Place};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::{Broadcast, Map};

/// Before all times.
const EVER: i64 = i64::MIN;

/// A step of a product's history that is new, other than it was, or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HistoryChange {
    pub product: Name,
    /// UTC microseconds; the first step has been there for [`EVER`].
    since: i64,
    /// The category from then on; `None` where there is no step any more.
    category: Option<Name>,
    /// The product's category now; [`Name::NONE`] where it has none.
    pub as_is: Name,
}

/// The categories of one product over time.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Since when (UTC microseconds) and which; ascending.
    steps: Vec<(i64, Name)>,
    /// Where they are many, all of them in a tree; else empty.
    many: BTreeMap<i64, Name>,
}

impl History {
    /// Where assertions are on, few, so that there are trees in every test.
    const MANY: usize = if cfg!(debug_assertions) { 4 } else { 64 };

    /// Takes a change. A history without any is empty, and can be asked for nothing.
    pub fn apply(&mut self, change: &HistoryChange) {
        let HistoryChange { since, category, .. } = *change;
        if !self.many.is_empty() {
            match category {
                Some(category) => self.many.insert(since, category),
                None => self.many.remove(&since),
            };
            return;
        }
        match (self.steps.binary_search_by_key(&since, |&(since, _)| since), category) {
            (Ok(at), Some(category)) => self.steps[at].1 = category,
            (Ok(at), None) => drop(self.steps.remove(at)),
            (Err(at), Some(category)) => self.steps.insert(at, (since, category)),
            (Err(_), None) => {}
        }
        if self.steps.len() > Self::MANY {
            self.many = std::mem::take(&mut self.steps).into_iter().collect();
        }
    }

    /// Whether it has had another category.
    pub fn has_changed(&self) -> bool {
        self.steps.len() > 1 || !self.many.is_empty()
    }

    /// The category now; [`Name::NONE`] where it has none.
    pub fn as_is(&self) -> Name {
        self.in_force(i64::MAX)
    }

    /// The category in force at an instant; the earliest version reaches back.
    pub fn as_was(&self, time: i64) -> Name {
        self.in_force(time)
    }

    fn in_force(&self, time: i64) -> Name {
        if !self.many.is_empty() {
            let step = self.many.range(..=time).next_back().or_else(|| self.many.first_key_value());
            return *step.expect("a history is never empty").1;
        }
        let after = self.steps.partition_point(|&(since, _)| since <= time);
        self.steps[after.saturating_sub(1)].1
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Version {
    product: Name,
    since: i64,
    place: Place,
    category: Name,
    /// Deleted, and says nothing of a category: it has the one before it.
    keeps: bool,
}

/// All versions, and the steps that follow from them; by product and time.
#[derive(Debug, Default)]
struct Versions {
    /// Of the versions of one time the last.
    last: BTreeMap<(Name, i64), (Place, bool)>,
    /// The categories of those that say one.
    said: BTreeMap<(Name, i64), Name>,
    steps: BTreeMap<(Name, i64), Name>,
    /// What changed in the epoch at work, and what it was before.
    changed: BTreeMap<(Name, i64), Option<Name>>,
}

fn of_product(product: Name) -> std::ops::RangeInclusive<(Name, i64)> {
    (product, i64::MIN)..=(product, i64::MAX)
}

impl Versions {
    fn take(&mut self, version: &Version) {
        let &Version { product, since, place, category, keeps } = version;
        let at = (product, since);
        if self.last.get(&at).is_some_and(|(known, _)| *known > place) {
            return;
        }
        let first_before = self.first(product);
        self.last.insert(at, (place, keeps));
        if keeps {
            self.said.remove(&at);
        } else {
            self.said.insert(at, category);
        }
        // A step depends on what is said there and before: here, at the next, and where the first was and is.
        for at in [Some(at), first_before, self.first(product)].into_iter().flatten() {
            let next = self.said.range((product, at.1.saturating_add(1))..=(product, i64::MAX)).next();
            let next = next.map(|(next, _)| *next);
            self.look(at);
            next.into_iter().for_each(|next| self.look(next));
        }
    }

    fn first(&self, product: Name) -> Option<(Name, i64)> {
        self.last.range(of_product(product)).next().map(|(at, _)| *at)
    }

    /// The category that is said at a time. The first version says that there is none, where it keeps what was before.
    fn category(&self, at: (Name, i64)) -> Option<Name> {
        self.said.get(&at).copied().or_else(|| (self.first(at.0) == Some(at)).then_some(Name::NONE))
    }

    /// Makes the step at a time what it is to be.
    fn look(&mut self, at: (Name, i64)) {
        let (product, _) = at;
        let mut step = self.category(at);
        let mut place = at;
        if self.first(product) == Some(at) {
            // It reaches back, whenever it was.
            place = (product, EVER);
            self.put(at, None);
        } else {
            let before = self.said.range((product, i64::MIN)..at).next_back().map(|(_, category)| *category);
            step = step.filter(|category| before.unwrap_or(Name::NONE) != *category);
        }
        self.put(place, step);
    }

    fn put(&mut self, at: (Name, i64), step: Option<Name>) {
        let known = match step {
            Some(category) => self.steps.insert(at, category),
            None => self.steps.remove(&at),
        };
        if known != step {
            self.changed.entry(at).or_insert(known);
        }
    }

    /// What has changed since the last time.
    fn changes(&mut self) -> impl Iterator<Item = HistoryChange> + '_ {
        let steps = &self.steps;
        std::mem::take(&mut self.changed).into_iter().filter_map(move |(at, before)| {
            let ((product, since), category) = (at, steps.get(&at).copied());
            let as_is = *steps.range(of_product(product)).next_back().expect("a history is never empty").1;
            (category != before).then_some(HistoryChange { product, since, category, as_is })
        })
    }
}

/// The changes of histories, at the epoch of the change, on every worker.
pub fn histories<'s>(dimensions: StreamVec<'s, u64, Event>) -> StreamVec<'s, u64, HistoryChange> {
    let versions = dimensions.flat_map(|event| match event.body {
        Body::Product { category, deleted } => {
            let keeps = deleted && category.is_none();
            Some(Version { product: event.product, since: event.time, place: event.place, category, keeps })
        }
        _ => None,
    });
    let mut builder = OperatorBuilder::new("Histories".to_owned(), versions.scope());
    let mut input = builder.new_input(versions, scatter(|version: &Version| version.product.0));
    let (output, changes) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<HistoryChange>>>::from(output);
    let mut state = Versions::default();
    builder.build(move |capabilities| {
        let mut capabilities = Capabilities::new(capabilities);
        let mut stash = Stash::default();
        move |frontiers| {
            stash.fill(&mut input);
            let open = open_epoch(frontiers);
            while let Some(epoch) = next_closed([stash.first()], open) {
                let held = capabilities.at(epoch);
                stash.take(epoch).iter().flatten().for_each(|version| state.take(version));
                output.activate().session(&held[0]).give_iterator(state.changes());
            }
            capabilities.release(open);
        }
    });
    changes.broadcast()
}
