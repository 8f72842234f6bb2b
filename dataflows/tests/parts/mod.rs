//! Single pieces against a search that tries everything.

mod chain;
mod history;
mod names;
mod pairs;

use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::{InputHandleVec, Scope, StreamVec};

/// Runs one operator on one worker: `epochs[e]` goes in at epoch e, several epochs close at once. Returns what leaves
/// with the epoch it leaves at.
fn through<I, O>(
    epochs: Vec<Vec<I>>,
    in_flight: usize,
    build: impl for<'s> FnOnce(Scope<'s, u64>, StreamVec<'s, u64, I>) -> StreamVec<'s, u64, O> + Send + Sync + 'static,
) -> Vec<(u64, O)>
where
    I: Clone + Send + Sync + 'static,
    O: Clone + Send + 'static,
{
    timely::execute_directly(move |worker| {
        let left = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let mut input = InputHandleVec::new();
        worker.dataflow::<u64, _, _>(|scope| {
            let leaving = left.clone();
            build(scope, input.to_stream(scope)).sink(
                timely::dataflow::channels::pact::Pipeline,
                "Keep",
                move |(input, _)| {
                    input.for_each(|capability, data| {
                        let epoch = *capability.least().expect("a message has a time");
                        leaving.borrow_mut().extend(data.drain(..).map(|one| (epoch, one)));
                    });
                },
            );
        });
        for (epoch, data) in (0..).zip(epochs) {
            data.into_iter().for_each(|one| input.send(one));
            input.advance_to(epoch + 1);
            if (epoch as usize).is_multiple_of(in_flight) {
                for _ in 0..20 {
                    worker.step();
                }
            }
        }
        input.close();
        while worker.has_dataflows() {
            worker.step();
        }
        left.take()
    })
}
