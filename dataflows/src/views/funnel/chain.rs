//! How far one session gets: the longest chain of steps, in one pass over its events.
//!
//! An event is a time and a set of steps that it matches (bit k for step k). A chain visits the mandatory steps in
//! order at non-decreasing times, all within the window of its first event. For each step the pass keeps the *latest*
//! start from which the step is reached: a later start leaves a chain more room, and every earlier one has counted.

use crate::settings::{FunnelPlan, MAX_FUNNEL_STEPS};

/// Steps by bit.
pub type Steps = u8;

/// What one session's events amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Steps of which the session holds an event at all.
    pub reached: Steps,
    /// Steps that lie on a chain.
    pub ordered: Steps,
    /// Microseconds from the first to the last step, where the last is on a chain: of the earliest start from which
    /// the whole chain fits the window, to its earliest completion.
    pub duration: Option<i64>,
}

/// The order of the steps, without names.
#[derive(Clone, Debug)]
pub struct StepOrder {
    pub(super) count: usize,
    /// For each step the mandatory one before it.
    pub(super) previous: Vec<Option<usize>>,
    optional: Steps,
    pub(super) window: i64,
}

impl StepOrder {
    pub fn new(plan: &FunnelPlan) -> StepOrder {
        let mut previous = Vec::new();
        let mut last = None;
        let mut optional = 0;
        for (index, step) in plan.steps.iter().enumerate() {
            previous.push(last);
            if step.optional {
                optional |= 1 << index;
            } else {
                last = Some(index);
            }
        }
        StepOrder { count: plan.steps.len(), previous, optional, window: plan.window_micros.unwrap_or(i64::MAX) }
    }

    pub(super) fn is_optional(&self, step: usize) -> bool {
        self.optional & 1 << step != 0
    }

    /// `events` are in order of time; `matches` gives an event's time and steps.
    pub fn progress<E>(&self, events: &[E], matches: impl Fn(&E) -> (i64, Steps)) -> Progress {
        let mut progress = Progress::default();
        let mut latest_start = [None; MAX_FUNNEL_STEPS];
        // Events of one time may be used in either order: they match as one.
        let (mut now, mut together) = (0, 0);
        for (time, steps) in events.iter().map(&matches).filter(|&(_, steps)| steps != 0) {
            if time != now {
                self.advance(now, together, &mut latest_start, &mut progress);
                (now, together) = (time, 0);
            }
            together |= steps;
        }
        self.advance(now, together, &mut latest_start, &mut progress);
        if progress.ordered & 1 << (self.count - 1) != 0 {
            progress.duration = self.first_completion(events, &matches);
        }
        progress
    }

    /// Takes the steps that the events of one time match.
    #[inline]
    fn advance(
        &self,
        time: i64,
        steps: Steps,
        latest_start: &mut [Option<i64>; MAX_FUNNEL_STEPS],
        progress: &mut Progress,
    ) {
        progress.reached |= steps;
        let mut left = steps;
        while left != 0 {
            let step = left.trailing_zeros() as usize;
            left &= left - 1;
            let start = match self.previous[step] {
                None => Some(time),
                Some(previous) => latest_start[previous].filter(|start| time - start <= self.window),
            };
            if start.is_some() {
                progress.ordered |= 1 << step;
                latest_start[step] = latest_start[step].max(start);
            }
        }
    }

    /// The duration of the chain from the earliest start that completes within the window.
    fn first_completion<E>(&self, events: &[E], matches: &impl Fn(&E) -> (i64, Steps)) -> Option<i64> {
        let mandatory = || (0..self.count).filter(|step| self.optional & 1 << step == 0);
        let times = |step: usize| {
            let of_step = events.iter().map(matches).filter(move |(_, steps)| steps & 1 << step != 0);
            of_step.map(|(time, _)| time).collect::<Vec<i64>>()
        };
        // The common case, without a list: the earliest start completes.
        if let Some(duration) = self.greedy(events, matches) {
            return Some(duration);
        }
        let times: Vec<Vec<i64>> = mandatory().map(times).collect();
        let (starts, rest) = times.split_first().expect("the first step is mandatory");
        starts.iter().find_map(|&start| {
            let end =
                rest.iter().try_fold(start, |now, times| times.get(times.partition_point(|&time| time < now)).copied());
            end.map(|end| end - start).filter(|&duration| duration <= self.window)
        })
    }

    /// The duration of the chain from the very first start by taking each step as early as possible.
    fn greedy<E>(&self, events: &[E], matches: &impl Fn(&E) -> (i64, Steps)) -> Option<i64> {
        let mut start = None;
        let mut now = i64::MIN;
        for step in (0..self.count).filter(|step| self.optional & 1 << step == 0) {
            let next = events.iter().map(matches).find(|&(time, steps)| time >= now && steps & 1 << step != 0);
            now = next?.0;
            start.get_or_insert(now);
        }
        let duration = now - start?;
        (duration <= self.window).then_some(duration)
    }
}
