//! Who is told how far long work has come.

/// Told how far the work has come.
///
/// # Contract
/// - `total` comes at most once, before the first `advance`; `finish` once, last.
/// - The numbers of `advance` are totals so far, not differences: a call that is lost or repeated does no harm.
///   Not asserted.
/// - Calls come from any thread and cost little: many a second are fine.
pub trait Progress: Send + Sync {
    /// All bytes there are to read; `None` where nobody knows (a pipe).
    fn total(&self, bytes: Option<u64>);
    /// `epoch` is the last closed one; 0 where the work has none.
    fn advance(&self, bytes_read: u64, records: u64, epoch: u64);
    fn finish(&self);
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn total(&self, _bytes: Option<u64>) {}
    fn advance(&self, _bytes_read: u64, _records: u64, _epoch: u64) {}
    fn finish(&self) {}
}
