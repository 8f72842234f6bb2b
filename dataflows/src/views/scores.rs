//! The scores of a pair of products, and which is the better.
//!
//! Scores are printed as doubles; which of two is larger is decided on the integers that they are made of, so that equal scores
//! are equal whatever a division rounds to. All pairs of one list have the same product on their left, hence the same n_a and N.

use crate::table::quotient;
use std::cmp::Ordering;

/// How a list is ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    Count,
    Cosine,
    Jaccard,
    Lift,
    LogLikelihood,
}

impl Score {
    /// `None` where there is no such score.
    pub fn parse(text: &str) -> Option<Score> {
        Some(match text {
            "n_ab" => Score::Count,
            "cosine" => Score::Cosine,
            "jaccard" => Score::Jaccard,
            "lift" => Score::Lift,
            "llr" => Score::LogLikelihood,
            _ => return None,
        })
    }
}

/// The counts of one pair. `both` is at least 1, `a` and `b` at least `both`, `all` at least either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub both: i64,
    pub a: i64,
    pub b: i64,
    pub all: i64,
}

impl Counts {
    /// From the quotient of the squares: it is the same double for equal scores, and so is its root.
    pub fn cosine(self) -> f64 {
        quotient(product(self.both, self.both), product(self.a, self.b)).sqrt()
    }

    pub fn jaccard(self) -> f64 {
        quotient(wide(self.both), wide(self.a + self.b - self.both))
    }

    pub fn lift(self) -> f64 {
        quotient(product(self.both, self.all), product(self.a, self.b))
    }

    /// Dunning's G² of the two-by-two table: 2 Σ k ln(k N / (row × column)), to twelve digits. Equal ones are equal so, also of
    /// tables that have little in common: whether two products of powers are the same cannot be told from doubles.
    pub fn log_likelihood(self) -> f64 {
        let Counts { both, a, b, all } = self;
        let cell = |k: i64, row: i64, column: i64| match k {
            0 => 0.0,
            _ => k as f64 * (product(k, all) as f64 / product(row, column) as f64).ln(),
        };
        let mut cells = [
            cell(both, a, b),
            cell(a - both, a, all - b),
            cell(b - both, all - a, b),
            cell(all - a - b + both, all - a, all - b),
        ];
        cells.sort_unstable_by(f64::total_cmp);
        twelve_digits(2.0 * cells.iter().sum::<f64>())
    }
}

/// A pair with what it is ranked by.
#[derive(Clone, Copy, Debug)]
pub struct Ranked {
    pub counts: Counts,
    /// Computed once: a list compares each pair with many.
    log_likelihood: f64,
}

impl Ranked {
    pub fn of(counts: Counts, score: Score) -> Ranked {
        let log_likelihood = if score == Score::LogLikelihood { counts.log_likelihood() } else { 0.0 };
        Ranked { counts, log_likelihood }
    }

    /// Which of two pairs of one list has the larger score.
    pub fn order(&self, other: &Ranked, score: Score) -> Ordering {
        let (Counts { both, a, b, all }, its) = (self.counts, other.counts);
        debug_assert!((a, all) == (its.a, its.all), "pairs are compared in the list of one product");
        match score {
            Score::Count => both.cmp(&its.both),
            // n_ab² / n_b; n_ab / (n_a + n_b − n_ab); n_ab / n_b: cross-multiplied.
            Score::Cosine => product_of_three(both, both, its.b).cmp(&product_of_three(its.both, its.both, b)),
            Score::Jaccard => product(both, its.a + its.b - its.both).cmp(&product(its.both, a + b - both)),
            Score::Lift => product(both, its.b).cmp(&product(its.both, b)),
            Score::LogLikelihood => self.log_likelihood.total_cmp(&other.log_likelihood),
        }
    }
}

/// Rounded to twelve significant digits, which are right where the last bits of a sum of logarithms are not.
fn twelve_digits(value: f64) -> f64 {
    format!("{value:.11e}").parse().expect("a printed number is one")
}

fn wide(count: i64) -> u128 {
    u128::from(count.unsigned_abs())
}

fn product(a: i64, b: i64) -> u128 {
    wide(a) * wide(b)
}

/// The upper 128 bits of a product of 192, and the lower 64.
fn product_of_three(a: i64, b: i64, c: i64) -> (u128, u64) {
    let two = product(a, b);
    let (upper, lower) = (two >> 64, two & u128::from(u64::MAX));
    let lower = lower * wide(c);
    (upper * wide(c) + (lower >> 64), lower as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigUint;

    /// All pairs that a list may have: of a product in `a` of `all` sessions.
    fn pairs(a: i64, all: i64) -> Vec<Counts> {
        let of_b = |b: i64| ((a + b - all).max(1)..=a.min(b)).map(move |both| Counts { both, a, b, all });
        (1..=all).flat_map(of_b).collect()
    }

    fn big(count: i64) -> BigUint {
        BigUint::from(count as u64)
    }

    /// A fraction in the order of the score: its square, or, of `llr`, e to the power of its half.
    fn exact(pair: &Counts, score: Score) -> (BigUint, BigUint) {
        let &Counts { both, a, b, all } = pair;
        match score {
            Score::Count => (big(both), big(1)),
            Score::Cosine => (big(both) * big(both), big(a) * big(b)),
            Score::Jaccard => (big(both), big(a + b - both)),
            Score::Lift => (big(both) * big(all), big(a) * big(b)),
            Score::LogLikelihood => {
                let cells = [
                    (both, a, b),
                    (a - both, a, all - b),
                    (b - both, all - a, b),
                    (all - a - b + both, all - a, all - b),
                ];
                let with_cell = |(above, below): (BigUint, BigUint), (k, row, column): (i64, i64, i64)| {
                    (above * (big(k) * big(all)).pow(k as u32), below * (big(row) * big(column)).pow(k as u32))
                };
                cells.into_iter().fold((big(1), big(1)), with_cell)
            }
        }
    }

    #[test]
    fn every_two_pairs_are_ordered_as_the_exact_scores_are() {
        for all in 1..=10 {
            for a in 1..=all {
                let pairs = pairs(a, all);
                for score in [Score::Count, Score::Cosine, Score::Jaccard, Score::Lift, Score::LogLikelihood] {
                    let scored = |pair: &Counts| (Ranked::of(*pair, score), exact(pair, score));
                    let scored: Vec<_> = pairs.iter().map(scored).collect();
                    for (one, (above, below)) in &scored {
                        for (other, (above_other, below_other)) in &scored {
                            let expected = (above * below_other).cmp(&(above_other * below));
                            assert_eq!(one.order(other, score), expected, "{one:?} {other:?} by {score:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn equal_scores_are_the_same_double() {
        let counts = |both, a, b| Counts { both, a, b, all: 60 };
        // 1/√3, of 1/√(1·3) and 5/√(5·15); jaccard and lift likewise.
        assert_eq!(counts(1, 1, 3).cosine().to_bits(), counts(5, 5, 15).cosine().to_bits());
        assert_eq!(counts(7, 7, 21).cosine().to_bits(), counts(1, 3, 1).cosine().to_bits());
        assert_eq!(counts(1, 1, 3).jaccard().to_bits(), counts(7, 7, 21).jaccard().to_bits());
        assert_eq!(counts(1, 1, 3).lift().to_bits(), counts(2, 2, 3).lift().to_bits());
    }

    #[test]
    fn large_counts_are_compared_whole() {
        let most = i64::MAX / 4;
        let near = Counts { both: most, a: most, b: most, all: most * 2 };
        let further = Counts { b: most + 1, ..near };
        for score in [Score::Cosine, Score::Jaccard, Score::Lift] {
            let [near, further] = [near, further].map(|counts| Ranked::of(counts, score));
            assert_eq!(near.order(&further, score), Ordering::Greater, "{score:?}");
            assert_eq!(near.order(&near, score), Ordering::Equal, "{score:?}");
        }
    }
}
