//! Chance, from the seed alone.
//!
//! The generator is xoshiro256++ by its name, not a "small" or "standard" one that may change between releases and
//! platforms: a seed that someone committed must give the same bytes next year.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// A stream of random numbers; two streams of one seed and one `purpose` are equal.
#[derive(Clone, Debug)]
pub struct Random(Xoshiro256PlusPlus);

/// Scrambles all 64 bits, one to one: distinct inputs have distinct outputs.
pub fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

impl Random {
    /// `purpose` keeps the streams of one seed apart, so that drawing more from one does not disturb the others.
    pub fn new(seed: u64, purpose: u64) -> Random {
        Random(Xoshiro256PlusPlus::seed_from_u64(mix(seed ^ mix(purpose.wrapping_add(0x6d69_6c6c_7261_6365)))))
    }

    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0..bound`, with a bias below `bound` / 2³²; `bound` is above 0.
    #[inline]
    pub fn below(&mut self, bound: u32) -> u32 {
        debug_assert!(bound > 0, "there is no number below 0");
        (((self.bits() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// Uniform in [0, 1).
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    #[inline]
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Uniform in `low..high`; `low` where the range is empty.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.unit() * (high - low).max(0) as f64) as i64
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// Between two positive bounds, every order of magnitude as likely.
    pub fn log_uniform(&mut self, low: f64, high: f64) -> f64 {
        low * (self.unit() * (high / low).max(1.0).ln()).exp()
    }

    /// Normal with mean 0 and deviation 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        (2.0 * self.exponential()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u32) as usize]
    }

    /// The index of a weight, chosen in proportion; the weights are not all 0.
    #[inline]
    pub fn weighted(&mut self, weights: &[u8]) -> usize {
        let total: u32 = weights.iter().map(|&weight| u32::from(weight)).sum();
        let mut left = self.below(total);
        for (index, &weight) in weights.iter().enumerate() {
            if left < u32::from(weight) {
                return index;
            }
            left -= u32::from(weight);
        }
        unreachable!("a number below the sum of the weights falls into one of them")
    }

    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last as u32 + 1) as usize);
        }
    }
}
