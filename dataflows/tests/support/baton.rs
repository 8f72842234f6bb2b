//! Turns: real worker threads of which one moves at a time, in an order that a seed decides.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::sync::{Condvar, Mutex};

/// Passed from worker to worker. Without a seed nobody waits for it.
pub struct Baton {
    state: Option<Mutex<State>>,
    passed: Condvar,
}

struct State {
    random: SmallRng,
    holder: usize,
    running: Vec<usize>,
}

impl Baton {
    pub fn new(seed: Option<u64>, workers: usize) -> Baton {
        let state = seed.map(|seed| {
            let mut random = SmallRng::seed_from_u64(seed);
            let holder = random.random_range(0..workers);
            Mutex::new(State { random, holder, running: (0..workers).collect() })
        });
        Baton { state, passed: Condvar::new() }
    }

    /// Does one turn of `worker` when it is its turn, then passes on. A worker whose turn says that it is through
    /// gets no more.
    pub fn turn(&self, worker: usize, turn: impl FnOnce() -> bool) -> bool {
        let Some(state) = &self.state else { return turn() };
        let held = state.lock().expect("no holder panics");
        drop(self.passed.wait_while(held, |state| state.holder != worker).expect("no holder panics"));
        let more = turn();
        let mut state = state.lock().expect("no holder panics");
        if !more {
            state.running.retain(|&other| other != worker);
        }
        if !state.running.is_empty() {
            // One worker often takes many turns in a row: that is what free threads rarely do.
            if !more || state.random.random_bool(0.4) {
                let running = state.running.len();
                let next = state.random.random_range(0..running);
                state.holder = state.running[next];
            }
        }
        self.passed.notify_all();
        more
    }
}
