//! How much memory there is, and what is done before it is gone.
//!
//! ```text
//! the process's resident bytes ──sampler──▶ level ──▶ feed: smaller epochs, one in flight (backpressure)
//!                                             │  ├──▶ serving: reads are refused
//!                                             │  └──▶ allocator: what is free goes back
//!                                             ▼
//!                                  over for good: said with figures, and the process ends with a code of its own
//! ```
//! The kernel's way to enforce a limit is to kill: nobody is told why, and the next start is killed again.

mod limit;
mod sampler;
pub mod usage;

pub use limit::{available, parse};
pub use sampler::Sampler;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What the process ends with where memory does not suffice.
pub const EXIT_CODE: u8 = 4;

/// How much is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    Free = 0,
    /// Three quarters are in use.
    Tight = 1,
    /// Nine tenths are.
    Scarce = 2,
    /// All is.
    Over = 3,
}

impl Level {
    pub fn of(resident: u64, limit: u64) -> Level {
        let is_over = |tenths: u64| u128::from(resident) * 20 >= u128::from(limit) * u128::from(tenths);
        match () {
            () if is_over(20) => Level::Over,
            () if is_over(18) => Level::Scarce,
            () if is_over(15) => Level::Tight,
            () => Level::Free,
        }
    }
}

/// What is held, by name: for the last words.
type Figures = Box<dyn Fn() -> Vec<(String, u64)> + Send>;

/// The memory of this process, as its parts see it.
#[derive(Default)]
pub struct Memory {
    /// Bytes; 0 where there is none.
    limit: u64,
    level: AtomicU8,
    resident: AtomicU64,
    figures: Mutex<Option<Figures>>,
}

impl Memory {
    /// `None` is without a limit.
    pub fn new(limit: Option<u64>) -> Memory {
        Memory { limit: limit.unwrap_or(0), ..Memory::default() }
    }

    pub fn limit(&self) -> Option<u64> {
        (self.limit > 0).then_some(self.limit)
    }

    pub fn level(&self) -> Level {
        match self.level.load(Ordering::Relaxed) {
            0 => Level::Free,
            1 => Level::Tight,
            2 => Level::Scarce,
            _ => Level::Over,
        }
    }

    /// Why reads are refused, where they are.
    pub fn refuses_reads(&self) -> Option<String> {
        (self.level() >= Level::Scarce).then(|| {
            let resident = self.resident.load(Ordering::Relaxed);
            format!(
                "memory is short: {} of {} are in use (limits.memory). Ask again later",
                megabytes(resident),
                megabytes(self.limit)
            )
        })
    }

    /// What a buffer may take that would take `bytes` where there is enough.
    pub fn share(&self, bytes: usize) -> usize {
        let share = self.limit().map_or(u64::MAX, |limit| limit / 8);
        bytes.min(usize::try_from(share).unwrap_or(usize::MAX))
    }

    /// What is held is told by this from now on.
    pub fn tell_by(&self, figures: impl Fn() -> Vec<(String, u64)> + Send + 'static) {
        *self.figures.lock().expect("no holder of the figures panics") = Some(Box::new(figures));
    }

    fn set(&self, level: Level, resident: u64) {
        self.resident.store(resident, Ordering::Relaxed);
        self.level.store(level as u8, Ordering::Relaxed);
    }

    /// That it is not enough, and what takes it.
    fn last_words(&self, resident: u64) -> String {
        // Whoever holds them may be what takes so much.
        let figures = self.figures.try_lock().ok();
        let held = figures.and_then(|figures| figures.as_ref().map(|figures| figures())).unwrap_or_default();
        let held: Vec<String> = held.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let held = if held.is_empty() { "nothing yet: it was starting".to_owned() } else { held.join(", ") };
        format!(
            "memory does not suffice: {} are in use and limits.memory is {}. Held: {held}. Give more memory, shorten horizons.*, or \
             enable fewer views (views.enabled). What is committed is safe",
            megabytes(resident),
            megabytes(self.limit)
        )
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        let levels = [0, 74, 75, 89, 90, 99, 100, 250].map(|resident| Level::of(resident, 100));
        use Level::*;
        assert_eq!(levels, [Free, Free, Tight, Tight, Scarce, Scarce, Over, Over]);
    }

    #[test]
    fn reads_are_refused_where_it_is_scarce_and_last_words_have_figures() {
        let memory = Memory::new(Some(250_000_000));
        assert_eq!((memory.share(192 << 20), memory.share(1_000)), (31_250_000, 1_000));
        for (level, refuses) in
            [(Level::Free, false), (Level::Tight, false), (Level::Scarce, true), (Level::Over, true)]
        {
            memory.set(level, 240_000_000);
            assert_eq!(
                memory.refuses_reads().is_some_and(|why| why.contains("240 MB of 250 MB")),
                refuses,
                "{level:?}"
            );
        }
        assert!(memory.last_words(262_000_000).contains("262 MB"));
        memory.tell_by(|| vec![("sessions".to_owned(), 12)]);
        let words = memory.last_words(262_000_000);
        assert!(words.contains("limits.memory is 250 MB") && words.contains("sessions 12"), "{words}");
        assert_eq!(Memory::new(None).share(usize::MAX), usize::MAX);
    }
}
