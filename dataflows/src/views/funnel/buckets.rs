//! Durations in logarithmic buckets of 5 % relative width.

/// The ratio of neighbouring bounds.
const RATIO: f64 = 1.05;

/// The bucket of a duration in microseconds: 0 for 0, else `1 + ⌊ln d / ln 1.05⌋`.
pub fn bucket_of(micros: i64) -> u16 {
    if micros <= 0 {
        return 0;
    }
    1 + ((micros as f64).ln() / RATIO.ln()).floor() as u16
}

/// The geometric middle of a bucket in seconds.
pub fn seconds_of(bucket: u16) -> f64 {
    if bucket == 0 {
        return 0.0;
    }
    RATIO.powf(f64::from(bucket - 1) + 0.5) / 1e6
}

/// The bucket at so many tenths of all by nearest rank; `None` of nothing. `counts` in order of bucket.
pub fn quantile(counts: &[(u16, i64)], tenths: i64) -> Option<u16> {
    let total: i64 = counts.iter().map(|(_, count)| count).sum();
    let rank = (total * tenths + 9) / 10;
    let mut below = 0;
    counts.iter().find_map(|&(bucket, count)| {
        below += count;
        (total > 0 && below >= rank).then_some(bucket)
    })
}

/// The mean in seconds; `None` of nothing.
pub fn mean(counts: &[(u16, i64)]) -> Option<f64> {
    let total: i64 = counts.iter().map(|(_, count)| count).sum();
    let sum: f64 = counts.iter().map(|&(bucket, count)| count as f64 * seconds_of(bucket)).sum();
    (total > 0).then(|| sum / total as f64)
}
