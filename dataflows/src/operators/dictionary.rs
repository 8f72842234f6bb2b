//! The texts of names on one worker, as readers tell them.
//!
//! ```text
//! names (of any reader) ──▶ every worker: [dictionary] ──▶ texts, of this worker alone ──▶ operators
//!                                              └──▶ nothing: its frontier says up to which epoch all names are in
//! ```
//! A name comes at the epoch of the first event of its reader that carries it, or before. An operator that needs texts waits for the
//! dictionary as for any input, and handles an epoch once all names up to it are in.

use crate::context::{NONE_TEXT, Shared, UNKNOWN_TEXT};
use millrace_schema::{ByName, Name, Named, Names};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::{Map, ToStream};
use timely::dataflow::{Scope, StreamVec};

/// Where the texts of names are looked up.
#[derive(Clone, Debug)]
pub enum Texts {
    /// Told through the dataflow.
    OfWorker(Rc<RefCell<ByName<Arc<str>>>>),
    /// Of a process, for what is computed beside the dataflow.
    OfProcess(Arc<Names>),
}

impl Texts {
    /// The text of a name; empty for [`Name::NONE`].
    ///
    /// # Panics
    /// Where nobody has told it.
    pub fn of(&self, name: Name) -> Arc<str> {
        if name.is_none() {
            return Arc::from("");
        }
        let text = match self {
            Texts::OfWorker(told) => told.borrow().get(&name.0).cloned(),
            Texts::OfProcess(names) => names.get(name),
        };
        text.expect("a name is told at the epoch of the first event that carries it, and waited for")
    }
}

impl From<Arc<Names>> for Texts {
    fn from(names: Arc<Names>) -> Texts {
        Texts::OfProcess(names)
    }
}

/// The texts on a worker, and when they are complete.
#[derive(Clone)]
pub struct Dictionary<'s> {
    texts: Texts,
    /// Nothing.
    complete: StreamVec<'s, u64, ()>,
}

impl<'s> Dictionary<'s> {
    /// Of texts that are all there already.
    pub fn complete(scope: Scope<'s, u64>, texts: impl Into<Texts>) -> Dictionary<'s> {
        Dictionary { texts: texts.into(), complete: std::iter::empty().to_stream(scope) }
    }

    /// The texts, for an operator that is being built and waits for them from now on.
    pub fn texts(&self, builder: &mut OperatorBuilder<'s, u64>) -> Texts {
        // Nothing ever comes, so that nobody has to look: what counts is the frontier.
        drop(builder.new_input(self.complete.clone(), Pipeline));
        self.texts.clone()
    }
}

/// Builds the operator.
pub fn dictionary<'s>(names: StreamVec<'s, u64, Named>, shared: &Shared) -> Dictionary<'s> {
    let told = [NONE_TEXT, UNKNOWN_TEXT].map(|text| (Name::of(text).0, Arc::from(text)));
    let told = Rc::new(RefCell::new(ByName::from_iter(told)));
    let (texts, of_process) = (told.clone(), shared.names.clone());
    let peers = names.scope().peers() as u64;
    let to_all = names.flat_map(move |named| (0..peers).map(move |worker| (worker, named.clone())));
    let route = Exchange::new(|(worker, _): &(u64, Named)| *worker);
    let complete = to_all.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(route, "Dictionary", move |_, _| {
        move |input, _output| {
            input.for_each(|_, data| {
                let mut told = told.borrow_mut();
                for (_, Named { name, text }) in data.drain(..) {
                    // Of two texts with one name the first stays: readers of one process put the second into the quarantine, those of
                    // two processes may both have accepted theirs.
                    told.entry(name.0).or_insert_with(|| one_copy(name, &text, &of_process));
                }
            });
        }
    });
    Dictionary { texts: Texts::OfWorker(texts), complete }
}

/// The process's copy of a text where it has one, for memory's sake. Nothing else depends on whether it has.
fn one_copy(name: Name, text: &str, of_process: &Names) -> Arc<str> {
    of_process.get(name).filter(|known| **known == *text).unwrap_or_else(|| Arc::from(text))
}
