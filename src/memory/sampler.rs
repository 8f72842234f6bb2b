//! The thread that looks how much is in use.

use super::{Level, Memory};
use crate::allocator;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How often it looks where there is enough, and where there may soon not be.
const SELDOM: Duration = Duration::from_millis(50);
const OFTEN: Duration = Duration::from_millis(5);
/// How often what is free is given back: it holds up whoever allocates.
const GIVE_BACK: Duration = Duration::from_secs(1);
/// How long all may be in use before the process ends, if it is not far more: meanwhile nothing is read, and what is on its way ends.
const GRACE: Duration = Duration::from_millis(500);

/// What a look comes to.
#[derive(Debug, PartialEq, Eq)]
pub struct Decision {
    pub level: Level,
    pub gives_back: bool,
    pub ends: bool,
}

/// Decides by what it has seen, without a clock of its own.
#[derive(Debug, Default)]
pub struct Sampler {
    over_since: Option<Duration>,
    gave_back: Option<Duration>,
}

impl Sampler {
    /// `now` counts from any one moment.
    pub fn look(&mut self, resident: u64, limit: u64, now: Duration) -> Decision {
        let level = Level::of(resident, limit);
        let is_due = self.gave_back.is_none_or(|then| now.saturating_sub(then) >= GIVE_BACK);
        let gives_back = level >= Level::Scarce && is_due;
        if gives_back {
            self.gave_back = Some(now);
        }
        if level < Level::Over {
            self.over_since = None;
            return Decision { level, gives_back, ends: false };
        }
        let since = *self.over_since.get_or_insert(now);
        // A twelfth more is what the default leaves of the control group.
        let is_far = resident >= limit.saturating_add(limit / 12);
        // First what is free goes back: it may be that.
        let ends = !gives_back && (is_far || now.saturating_sub(since) >= GRACE);
        Decision { level, gives_back, ends }
    }

    /// Looks as long as somebody has the memory. `end` is told the last words.
    ///
    /// # Errors
    /// Where there is no thread to be had.
    pub fn start(memory: &Arc<Memory>, end: impl Fn(String) + Send + 'static) -> std::io::Result<()> {
        let Some(limit) = memory.limit() else { return Ok(()) };
        let memory: Weak<Memory> = Arc::downgrade(memory);
        let run = move || {
            let (mut sampler, begun) = (Sampler::default(), Instant::now());
            while let Some(memory) = memory.upgrade() {
                let Some(resident) = resident() else { return };
                let Decision { level, gives_back, ends } = sampler.look(resident, limit, begun.elapsed());
                memory.set(level, resident);
                if gives_back {
                    allocator::give_back_what_is_free();
                }
                if ends {
                    return end(memory.last_words(resident));
                }
                drop(memory);
                std::thread::sleep(if resident >= limit / 2 { OFTEN } else { SELDOM });
            }
        };
        std::thread::Builder::new().name("memory".to_owned()).spawn(run).map(drop)
    }
}

/// The resident bytes of the process; `None` where the system does not say.
fn resident() -> Option<u64> {
    // Much cheaper than the lines of `status`.
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse::<u64>().ok()?;
    // SAFETY: it takes a number and returns one.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.checked_mul(u64::try_from(size).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_no_end_and_what_stays_is() {
        let mut sampler = Sampler::default();
        let mut look = |resident, ms| sampler.look(resident, 1_000, Duration::from_millis(ms));
        let decision = |level, gives_back, ends| Decision { level, gives_back, ends };
        assert_eq!(look(500, 0), decision(Level::Free, false, false));
        assert_eq!(look(920, 10), decision(Level::Scarce, true, false));
        assert_eq!(look(1_000, 20), decision(Level::Over, false, false));
        assert_eq!(look(1_010, 400), decision(Level::Over, false, false));
        // It has passed.
        assert_eq!(look(800, 450), decision(Level::Tight, false, false));
        assert_eq!(look(1_010, 600), decision(Level::Over, false, false));
        // Before the end it is tried once more.
        assert_eq!(look(1_010, 1_105), decision(Level::Over, true, false));
        assert_eq!(look(1_010, 1_110), decision(Level::Over, false, true));
        // There is no time where it is far more.
        assert_eq!(Sampler::default().look(1_100, 1_000, Duration::ZERO), decision(Level::Over, true, false));
        let mut sampler = Sampler { over_since: None, gave_back: Some(Duration::ZERO) };
        assert_eq!(sampler.look(1_100, 1_000, Duration::from_millis(5)), decision(Level::Over, false, true));
    }

    #[test]
    fn this_process_has_some_memory() {
        assert!(resident().is_none_or(|bytes| bytes > 1_000_000));
    }
}
