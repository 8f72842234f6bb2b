//! How long a visitor looks at a page: log-normal, a table of samples instead of a logarithm an event.

use super::options::{MICROS_PER_MINUTE, MICROS_PER_SECOND};
use super::random::Random;

const SAMPLES: u32 = 1_024;
const MEDIAN_MICROS: f64 = 24.0 * MICROS_PER_SECOND as f64;
/// Of the logarithm: one look in twenty takes more than two minutes.
const DEVIATION: f64 = 1.05;
const MIN_MICROS: f64 = 0.4 * MICROS_PER_SECOND as f64;
/// Below the half hour after which a session counts as over.
const MAX_MICROS: f64 = 20.0 * MICROS_PER_MINUTE as f64;

#[derive(Clone, Debug)]
pub struct ThinkTimes {
    micros: Vec<u32>,
}

impl ThinkTimes {
    pub fn new(random: &mut Random) -> ThinkTimes {
        let mut sample = || (MEDIAN_MICROS * (DEVIATION * random.normal()).exp()).clamp(MIN_MICROS, MAX_MICROS) as u32;
        ThinkTimes { micros: (0..SAMPLES).map(|_| sample()).collect() }
    }

    /// One of the samples, give or take a fifth.
    #[inline]
    pub fn draw(&self, random: &mut Random) -> i64 {
        let bits = random.bits();
        let sample = u64::from(self.micros[(bits % u64::from(SAMPLES)) as usize]);
        let stretch = 52_429 + (bits >> 40) % 26_214;
        ((sample * stretch) >> 16) as i64
    }
}
