//! From facts to rows: differential's `explode` and the consolidation of each epoch in one step.
//!
//! `explode` sends a row for each fact, which another operator adds up. Here a fact is added to its row where it is: one row leaves
//! for each group and epoch, and a fact costs no message of its own.

use crate::facts::Collection;
use crate::operators::epochs::open_epoch;
use crate::rows::{Change, Key, Netting, Rows};
use differential_dataflow::AsCollection;
use std::collections::BTreeMap;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

/// Where a fact's rows go, so many times as there is of the fact.
pub struct Out<'a> {
    rows: &'a mut Netting,
    times: i64,
}

impl Out<'_> {
    /// Adds to one measure of a row, for one fact.
    #[inline]
    pub fn add(&mut self, key: Key, measure: usize, value: i64) {
        self.rows.add(key, measure, value.wrapping_mul(self.times));
    }
}

/// The rows of facts: `rows` says what one fact adds, which has to be linear: twice a fact is twice its rows.
pub fn rows_of<'s, D: Clone + 'static>(
    facts: Collection<'s, D>,
    name: &str,
    mut rows: impl FnMut(&D, &mut Out<'_>) + 'static,
) -> Rows<'s> {
    let mut builder = OperatorBuilder::new(name.to_owned(), facts.scope());
    let mut input = builder.new_input(facts.inner, Pipeline);
    let (output, stream) = builder.new_output();
    // An epoch without facts costs nothing: nothing is held, so nobody is told that it has closed.
    builder.set_notify_for(0, FrontierInterest::IfCapability);
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Change>>>::from(output);
    builder.build(move |initial| {
        drop(initial);
        let mut open: BTreeMap<u64, (Capability<u64>, Netting)> = BTreeMap::new();
        move |frontiers| {
            input.for_each(|capability, data| {
                for (fact, epoch, times) in data.drain(..) {
                    let (_, netting) =
                        open.entry(epoch).or_insert_with(|| (capability.delayed(&epoch, 0), Netting::default()));
                    rows(&fact, &mut Out { rows: netting, times });
                }
            });
            let first_open = open_epoch(frontiers);
            while let Some(entry) = open.first_entry().filter(|entry| *entry.key() < first_open) {
                let (epoch, (capability, mut netting)) = entry.remove_entry();
                output.activate().session(&capability).give_iterator(netting.drain(epoch));
            }
        }
    });
    stream.as_collection()
}
