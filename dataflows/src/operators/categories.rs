//! The dimension of products: each product's history of categories, kept by differential `reduce`.
//!
//! ```text
//! product versions ──▶ (product, version) ──reduce──▶ (product, history) ──broadcast──▶ whoever maps products
//! ```
//!
//! The version of a product with the greatest `updated_at` is the one in force now; of two with one `updated_at` the
//! later source position. A deleted product keeps the category it had, and so does its past.

use differential_dataflow::AsCollection;
use millrace_schema::{Body, Event, Name, Place};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::{Broadcast, Map};

/// The categories of one product over time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct History {
    /// Since when (UTC microseconds) and which; ascending, never empty.
    versions: Vec<(i64, Name)>,
}

impl History {
    /// From versions in order of (`updated_at`, source position).
    fn new(ordered: impl IntoIterator<Item = (i64, Name, bool)>) -> History {
        let mut versions: Vec<(i64, Name)> = Vec::new();
        for (since, category, deleted) in ordered {
            if versions.last().is_some_and(|&(last, _)| last == since) {
                versions.pop();
            }
            let kept = versions.last().map_or(Name::NONE, |&(_, category)| category);
            versions.push((since, if deleted && category.is_none() { kept } else { category }));
        }
        History { versions }
    }

    /// The category now; [`Name::NONE`] where it has none.
    pub fn as_is(&self) -> Name {
        self.versions.last().expect("a history is never empty").1
    }

    /// The category in force at an instant; the earliest version reaches back.
    pub fn as_was(&self, time: i64) -> Name {
        let after = self.versions.partition_point(|&(since, _)| since <= time);
        self.versions[after.saturating_sub(1)].1
    }
}

/// A product's new history, on every worker.
pub type HistoryChange = (Name, History);

/// The histories that change, at the epoch of the change, on every worker.
pub fn histories<'s>(dimensions: StreamVec<'s, u64, Event>) -> StreamVec<'s, u64, HistoryChange> {
    let versions = dimensions.flat_map(|event| match event.body {
        Body::Product { category, deleted } => Some((event.product, (event.time, event.place, category, deleted))),
        _ => None,
    });
    type Version = (i64, Place, Name, bool);
    let versions = stamped(versions).as_collection();
    let histories = versions.reduce(|_product, versions: &[(&Version, isize)], output: &mut Vec<(History, isize)>| {
        let ordered = versions.iter().map(|((since, _, category, deleted), _)| (*since, *category, *deleted));
        output.push((History::new(ordered), 1));
    });
    latest(histories.inner).broadcast()
}

/// The new histories, each leaving at the epoch of its change. `reduce` hands out several epochs that close together
/// in one message, stamped with the first.
fn latest<'s>(changes: StreamVec<'s, u64, (HistoryChange, u64, isize)>) -> StreamVec<'s, u64, HistoryChange> {
    changes.unary::<CapacityContainerBuilder<Vec<HistoryChange>>, _, _, _>(Pipeline, "Latest", |_, _| {
        move |input, output| {
            input.for_each(|capability, data| {
                let mut by_epoch: BTreeMap<u64, Vec<HistoryChange>> = BTreeMap::new();
                for (change, epoch, _) in data.drain(..).filter(|(.., difference)| *difference > 0) {
                    by_epoch.entry(epoch).or_default().push(change);
                }
                for (epoch, changes) in by_epoch {
                    output.session(&capability.delayed(&epoch, 0)).give_iterator(changes.into_iter());
                }
            });
        }
    })
}

fn stamped<'s, D: Clone + 'static>(stream: StreamVec<'s, u64, D>) -> StreamVec<'s, u64, (D, u64, isize)> {
    stream.unary(Pipeline, "Stamp", |_, _| {
        move |input, output| {
            input.for_each(|capability, data| {
                let epoch = *capability.least().expect("a message has a time");
                output.session(&capability).give_iterator(data.drain(..).map(|data| (data, epoch, 1)));
            });
        }
    })
}
