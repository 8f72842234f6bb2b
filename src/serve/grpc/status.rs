//! What `GetStatus` says: the engine's own words and counts, on the wire.

use super::at::timestamp;
use super::metrics::MethodCounts;
use crate::serve::status::{EngineStatus, PartitionStatus};
use crate::serve::{Building, Published};
use millrace_dataflows::views::quality;
use millrace_proto::prost_types::Timestamp;
use millrace_proto::v1;

pub fn instant_of_ms(millis: i64) -> Timestamp {
    timestamp(millis.saturating_mul(1_000))
}

pub fn engine(status: EngineStatus) -> v1::EngineStatus {
    v1::EngineStatus {
        epoch: status.epoch,
        epochs_in_flight: status.epochs_in_flight,
        workers: status.workers as u32,
        started_at: Some(instant_of_ms(status.started_at_ms)),
        memory_bytes: status.memory_bytes,
        cpu_seconds: status.cpu_seconds,
        source_down: status.source_down.unwrap_or_default(),
        partitions: status.partitions.into_iter().map(partition).collect(),
        held: status.held.into_iter().map(|(name, count)| v1::Held { name, count }).collect(),
    }
}

fn partition(status: PartitionStatus) -> v1::PartitionStatus {
    v1::PartitionStatus {
        source: status.source,
        partition: status.partition,
        next_offset: status.next_offset,
        end_offset: status.end_offset,
        watermark: status.watermark.map(timestamp),
        idle: status.idle,
        lost: status.lost,
        fault: status.fault.unwrap_or_default(),
    }
}

pub fn method(counts: MethodCounts) -> v1::MethodStatus {
    let MethodCounts { method, requests, errors, took } = counts;
    v1::MethodStatus { method: method.to_owned(), requests, errors, seconds: took.seconds }
}

pub fn building(building: &Building) -> v1::Building {
    let (events, events_total) = building.events();
    v1::Building { events, events_total, views: building.views.clone() }
}

/// From the view that carries it; nothing before the first epoch.
pub fn accounting(version: &Published) -> Option<v1::Accounting> {
    let rows = version.view("quality").filter(|_| version.epoch > 0)?;
    let quality::Accounting { read, accepted, duplicates, quarantined, pending } = quality::Accounting::of(&rows.index);
    Some(v1::Accounting { read, accepted, duplicates, quarantined, pending })
}
