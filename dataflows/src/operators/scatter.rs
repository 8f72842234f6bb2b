//! Sending data to the worker that owns its key. What timely's `Exchange` does, for data that is copied: once, from where
//! it lies to where it goes.

use timely::communication::Push;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pact::DistributorPact;
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::progress::Stamp;

/// What is on its way to each worker.
pub struct Scatter<D, F> {
    buffers: Vec<Vec<D>>,
    route: F,
}

/// Routes by `route`, whose values are taken modulo the number of workers.
pub fn scatter<D, F>(route: F) -> DistributorPact<impl FnOnce(usize) -> Scatter<D, F>>
where
    D: Copy + 'static,
    F: Fn(&D) -> u64 + 'static,
{
    DistributorPact(move |peers| Scatter { buffers: (0..peers).map(|_| Vec::new()).collect(), route })
}

impl<D, F> Scatter<D, F> {
    /// A message's worth.
    const CAPACITY: usize = {
        const BYTES: usize = 16 << 10;
        if size_of::<D>() < BYTES { BYTES / size_of::<D>() } else { 1 }
    };
}

impl<D: Copy, F: Fn(&D) -> u64> Scatter<D, F> {
    #[inline]
    fn distribute(&mut self, data: &[D], worker: impl Fn(u64) -> u64, mut send: impl FnMut(usize, &mut Vec<D>)) {
        for datum in data {
            let index = worker((self.route)(datum)) as usize;
            let buffer = &mut self.buffers[index];
            if buffer.capacity() == 0 {
                buffer.reserve_exact(Self::CAPACITY);
            }
            buffer.extend_from_slice(std::slice::from_ref(datum));
            if buffer.len() == Self::CAPACITY {
                send(index, buffer);
                buffer.clear();
            }
        }
    }
}

impl<D: Copy, F: Fn(&D) -> u64> Distributor<Vec<D>> for Scatter<D, F> {
    fn partition<T, P>(&mut self, container: &mut Vec<D>, stamp: &Stamp<T>, pushers: &mut [P])
    where
        T: Clone,
        P: Push<Message<T, Vec<D>>>,
    {
        let peers = pushers.len() as u64;
        let send = |index: usize, data: &mut Vec<D>| Message::push_at(data, stamp.clone(), &mut pushers[index]);
        if peers.is_power_of_two() {
            self.distribute(container, |hash| hash & (peers - 1), send);
        } else {
            self.distribute(container, |hash| hash % peers, send);
        }
        container.clear();
    }

    fn flush<T: Clone, P: Push<Message<T, Vec<D>>>>(&mut self, stamp: &Stamp<T>, pushers: &mut [P]) {
        for (buffer, pusher) in self.buffers.iter_mut().zip(pushers) {
            if !buffer.is_empty() {
                Message::push_at(buffer, stamp.clone(), pusher);
                buffer.clear();
            }
        }
    }
}
