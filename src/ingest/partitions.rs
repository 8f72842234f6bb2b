//! The partitions that have been found so far. A partition keeps its ordinal: its place in the table.

use anyhow::Context;
use millrace_connectors::source::PartitionInfo;
use millrace_dataflows::context::Shared;
use std::sync::{Arc, RwLock};

/// The table of partitions, which grows.
pub type PartitionTable = Arc<RwLock<Vec<PartitionInfo>>>;

/// Enters the sources of the partitions from an ordinal on.
///
/// # Errors
/// Where there are more partitions than ordinals, or no room for another name.
pub fn enter_sources(partitions: &[PartitionInfo], from: usize, shared: &Shared) -> anyhow::Result<()> {
    for (ordinal, partition) in partitions.iter().enumerate().skip(from) {
        let source = shared.names.intern(&partition.source)?;
        shared.partitions.set(u16::try_from(ordinal).context("too many partitions")?, source);
    }
    Ok(())
}
