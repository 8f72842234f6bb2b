//! The reader thread: moves chunks from the source to the feed, and keeps the epochs going.

use super::feed::Feeding;
use crate::checkpoint::{self, Released};
use crate::ingest::{PartitionTable, enter_sources};
use crate::numbers::Offset;
use millrace_connectors::source::{Chunk, Deal, LiveSource};
use millrace_dataflows::context::Shared;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long the reader waits at most before it looks whether it is to stop.
const WAIT_MOST: Duration = Duration::from_millis(50);

/// Reads until it is told to stop, or the source fails for good. The feed is finished then.
///
/// # Errors
/// Where the source cannot go on without leaving records out.
pub fn read(
    source: &mut dyn LiveSource,
    feed: &dyn Feeding,
    shared: &Shared,
    partitions: &PartitionTable,
    stop: &AtomicBool,
    released: Option<&Released>,
    deal: Deal,
) -> anyhow::Result<()> {
    let result = read_on(source, feed, shared, partitions, stop, released, deal);
    feed.finish();
    result
}

fn read_on(
    source: &mut dyn LiveSource,
    feed: &dyn Feeding,
    shared: &Shared,
    partitions: &PartitionTable,
    stop: &AtomicBool,
    released: Option<&Released>,
    deal: Deal,
) -> anyhow::Result<()> {
    let (mut read, mut positions, mut moved) = (0, Positions { deal, next: Vec::new() }, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        if let Some(positions) = released.and_then(Released::take) {
            checkpoint::crash::point("before-release");
            // It is for tools that show lag: what fails is repeated with the next checkpoint.
            let _ = source.release(&positions);
            checkpoint::crash::point("released");
        }
        let timeout = feed.tick().min(WAIT_MOST);
        if !feed.wait_for_room(timeout) {
            continue;
        }
        if let Some((infos, begins)) = feed.told_partitions() {
            source.told(&infos, &begins)?;
        }
        let chunk = source.next_chunk()?;
        for warning in source.status().take_warnings() {
            crate::log::warning(&warning);
        }
        // A partition is known before the first of its records is.
        if enter_new(source, shared, partitions)? {
            feed.found_partitions(source.partitions(), &begins(source));
        }
        positions.look(source, &mut moved);
        if let Some(chunk) = &chunk {
            read += u64::from(chunk.records);
            expect(source, shared, read, chunk, deal);
        }
        let nothing = chunk.is_none();
        if !nothing || !moved.is_empty() {
            feed.push(chunk, &moved);
        }
        if nothing {
            if source.ends() {
                break;
            }
            feed.caught_up();
            source.wait(feed.tick().min(WAIT_MOST));
        }
    }
    Ok(())
}

/// How far reading has come, by partition. Those that are read elsewhere are somebody else's to look at.
struct Positions {
    deal: Deal,
    next: Vec<u64>,
}

impl Positions {
    /// The partitions where that has moved since the last look. It moves without records, too: over what marks the end of
    /// a transaction.
    fn look(&mut self, source: &dyn LiveSource, moved: &mut Vec<(u16, Offset)>) {
        moved.clear();
        source.status().with(|state| {
            self.next.resize(state.partitions.len(), 0);
            for (partition, (known, now)) in (0..).zip(self.next.iter_mut().zip(&state.partitions)) {
                if self.deal.reads(usize::from(partition)) && std::mem::replace(known, now.next) != now.next {
                    moved.push((partition, Offset(now.next)));
                }
            }
        });
    }
}

/// Says how many records there may come to be, by what is left to read: tables then grow seldom. Under a horizon most of that
/// is forgotten again, and nothing is said.
fn expect(source: &dyn LiveSource, shared: &Shared, read: u64, chunk: &Chunk, deal: Deal) {
    if shared.context.horizons.deduplication.is_some() {
        return;
    }
    let offsets_a_record = (chunk.next_offset() - chunk.base_offset).div_ceil(u64::from(chunk.records.max(1)));
    let left = source.status().with(|state| {
        state
            .partitions
            .iter()
            .enumerate()
            // Each process has about its share of all keys, and reads about its share of all records.
            .filter(|(ordinal, _)| deal.reads(*ordinal))
            .map(|(_, partition)| Some(partition.end?.saturating_sub(partition.next)))
            .sum::<Option<u64>>()
    });
    let Some(left) = left else { return };
    shared.expected.set(usize::try_from(read + left / offsets_a_record.max(1)).unwrap_or(usize::MAX));
}

/// Where reading begins, by ordinal.
pub fn begins(source: &dyn LiveSource) -> Vec<u64> {
    source.status().with(|state| state.partitions.iter().map(|partition| partition.next).collect())
}

/// Enters partitions that the source has found. Whether there are any.
pub fn enter_new(source: &dyn LiveSource, shared: &Shared, partitions: &PartitionTable) -> anyhow::Result<bool> {
    let found = source.partitions();
    let known = partitions.read().expect("no holder of the partitions panics").len();
    let is_new = found.len() > known;
    if is_new {
        enter_sources(found, known, shared)?;
        partitions.write().expect("no holder of the partitions panics").extend_from_slice(&found[known..]);
    }
    Ok(is_new)
}
